//! Hosted zones and their records in Route 53. AWS takes five of its calls a second from one account ("Quotas"), so that all tenants
//! share one pace.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use aws_config::Region;
use aws_sdk_route53::Client;
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType,
};
use plan::acme::policy::HostedZone;
use plan::acme::record_name;
use tokio::sync::Mutex;

use super::error::AcmeError;
use crate::cloud::{self, CloudError, timeouts};

/// Between two calls.
const PACE: Duration = Duration::from_millis(200);
/// Whoever would wait longer comes again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long a list of zones is good for.
const ZONES: Duration = Duration::from_secs(600);
/// Seconds for which a record may be kept by others: it is only looked at once.
const TTL: i64 = 60;
/// Route 53 is global; its requests are signed for this region.
const REGION: &str = "us-east-1";

/// A public hosted zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    /// Its id, without a prefix.
    pub(super) id: String,
    /// Its name, without the trailing dot.
    name: String,
}

/// All that is known of Route 53.
#[derive(Default)]
pub(super) struct Route53 {
    state: Mutex<State>,
    next: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct State {
    /// By the role that is taken.
    clients: HashMap<Option<String>, Client>,
    zones: HashMap<Option<String>, (Instant, Vec<Zone>)>,
    /// By id of the zone.
    servers: HashMap<String, Vec<String>>,
}

impl Route53 {
    async fn client(&self, zone: &HostedZone) -> Client {
        let mut state = self.state.lock().await;
        if let Some(client) = state.clients.get(&zone.role_arn) {
            return client.clone();
        }
        let config = cloud::config(zone.role_arn.as_deref()).await;
        let config = aws_sdk_route53::config::Builder::from(&config)
            .region(Region::new(REGION))
            .timeout_config(timeouts())
            .build();
        let client = Client::from_conf(config);
        state.clients.insert(zone.role_arn.clone(), client.clone());
        client
    }

    /// Waits for the turn of one call.
    async fn turn(&self) -> Result<(), AcmeError> {
        let until = {
            let mut next = self.next.lock().await;
            let now = Instant::now();
            let until = next.filter(|next| *next > now).unwrap_or(now);
            if until - now > LONGEST_WAIT {
                return Err(AcmeError::Paced);
            }
            *next = Some(until + PACE);
            until
        };
        tokio::time::sleep_until(until.into()).await;
        Ok(())
    }

    /// The hosted zone of a domain: the longest public one below the one that the policy names.
    pub(super) async fn zone(&self, policy: &HostedZone, domain: &str) -> Result<Option<Zone>, AcmeError> {
        let zones = self.zones(policy).await?;
        let ends =
            |name: &str, end: &str| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let fitting = zones.iter().filter(|zone| ends(domain, &zone.name) && ends(&zone.name, &policy.zone));
        let Some(longest) = fitting.clone().max_by_key(|zone| zone.name.len()) else { return Ok(None) };
        match fitting.filter(|zone| zone.name == longest.name).count() {
            1 => Ok(Some(longest.clone())),
            count => Err(AcmeError::Ambiguous { zone: longest.name.clone(), count }),
        }
    }

    async fn zones(&self, policy: &HostedZone) -> Result<Vec<Zone>, AcmeError> {
        const ACTION: &str = "route53:ListHostedZones";
        {
            let state = self.state.lock().await;
            let known = state.zones.get(&policy.role_arn).filter(|(at, _)| at.elapsed() < ZONES);
            if let Some((_, zones)) = known {
                return Ok(zones.clone());
            }
        }
        let client = self.client(policy).await;
        let (mut zones, mut marker) = (Vec::new(), None);
        loop {
            self.turn().await?;
            let page = client.list_hosted_zones().set_marker(marker).send().await;
            let page = page.map_err(|error| CloudError::call(ACTION, "*", &error))?;
            let public =
                page.hosted_zones().iter().filter(|zone| !zone.config().is_some_and(|config| config.private_zone()));
            zones.extend(public.map(|zone| Zone {
                id: zone.id().trim_start_matches("/hostedzone/").to_owned(),
                name: zone.name().trim_end_matches('.').to_ascii_lowercase(),
            }));
            marker = page.next_marker().map(str::to_owned);
            if marker.is_none() {
                break;
            }
        }
        self.state.lock().await.zones.insert(policy.role_arn.clone(), (Instant::now(), zones.clone()));
        Ok(zones)
    }

    /// The zones are read again before they are used next: one of them was not as it was known.
    pub(super) async fn forget(&self) {
        self.state.lock().await.zones.clear();
    }

    /// Names of the name servers to which a zone is delegated.
    pub(super) async fn servers(&self, policy: &HostedZone, zone: &str) -> Result<Vec<String>, AcmeError> {
        const ACTION: &str = "route53:GetHostedZone";
        if let Some(known) = self.state.lock().await.servers.get(zone) {
            return Ok(known.clone());
        }
        let client = self.client(policy).await;
        self.turn().await?;
        let answer = client.get_hosted_zone().id(zone).send().await;
        let answer = answer.map_err(|error| CloudError::call(ACTION, zone, &error))?;
        let servers: Vec<String> = answer.delegation_set().map(|set| set.name_servers().to_vec()).unwrap_or_default();
        if servers.is_empty() {
            let (resource, field) = (zone.to_owned(), "DelegationSet");
            return Err(CloudError::Incomplete { action: ACTION, resource, field }.into());
        }
        self.state.lock().await.servers.insert(zone.to_owned(), servers.clone());
        Ok(servers)
    }

    /// The TXT values that stand where a domain is proved.
    pub(super) async fn values(
        &self,
        policy: &HostedZone,
        zone: &str,
        domain: &str,
    ) -> Result<BTreeSet<String>, AcmeError> {
        Ok(self.record(policy, zone, domain).await?.iter().flat_map(values_of).collect())
    }

    async fn record(
        &self,
        policy: &HostedZone,
        zone: &str,
        domain: &str,
    ) -> Result<Option<ResourceRecordSet>, AcmeError> {
        const ACTION: &str = "route53:ListResourceRecordSets";
        let name = record_name(domain);
        let client = self.client(policy).await;
        self.turn().await?;
        let list = client.list_resource_record_sets().hosted_zone_id(zone).start_record_name(&name);
        let list = list.start_record_type(RrType::Txt).max_items(1).send().await;
        let list = list.map_err(|error| CloudError::call(ACTION, zone, &error))?;
        let found = list
            .resource_record_sets
            .into_iter()
            .find(|set| set.name().trim_end_matches('.').eq_ignore_ascii_case(&name) && *set.r#type() == RrType::Txt);
        Ok(found)
    }

    /// Makes the records; answers the id of the change.
    pub(super) async fn present(
        &self,
        policy: &HostedZone,
        zone: &str,
        domain: &str,
        values: &BTreeSet<String>,
    ) -> Result<String, AcmeError> {
        let records = values.iter().map(|value| ResourceRecord::builder().value(format!("\"{value}\"")).build());
        let records = records.collect::<Result<Vec<_>, _>>().map_err(|source| build(zone, source))?;
        let set = ResourceRecordSet::builder().name(record_name(domain)).r#type(RrType::Txt).ttl(TTL);
        let set = set.set_resource_records(Some(records)).build().map_err(|source| build(zone, source))?;
        self.change(policy, zone, ChangeAction::Upsert, set).await
    }

    /// Takes the records away, if the mark stands among them. Gone already = done.
    pub(super) async fn remove(
        &self,
        policy: &HostedZone,
        zone: &str,
        domain: &str,
        mark: &str,
    ) -> Result<(), AcmeError> {
        let Some(found) = self.record(policy, zone, domain).await? else { return Ok(()) };
        if !values_of(&found).any(|value| value == mark) {
            return Ok(());
        }
        self.change(policy, zone, ChangeAction::Delete, found).await.map(drop)
    }

    async fn change(
        &self,
        policy: &HostedZone,
        zone: &str,
        action: ChangeAction,
        set: ResourceRecordSet,
    ) -> Result<String, AcmeError> {
        const ACTION: &str = "route53:ChangeResourceRecordSets";
        let change = Change::builder().action(action).resource_record_set(set).build();
        let change = change.map_err(|source| build(zone, source))?;
        let batch = ChangeBatch::builder().changes(change).build().map_err(|source| build(zone, source))?;
        let client = self.client(policy).await;
        self.turn().await?;
        let answer = client.change_resource_record_sets().hosted_zone_id(zone).change_batch(batch).send().await;
        let answer = answer.map_err(|error| CloudError::call(ACTION, zone, &error))?;
        let id = answer.change_info().map(|info| info.id().trim_start_matches("/change/").to_owned());
        Ok(id.unwrap_or_default())
    }

    /// Whether all name servers of AWS know of a change.
    pub(super) async fn in_sync(&self, policy: &HostedZone, change: &str) -> Result<bool, AcmeError> {
        const ACTION: &str = "route53:GetChange";
        let client = self.client(policy).await;
        self.turn().await?;
        let answer = client.get_change().id(change).send().await;
        let answer = answer.map_err(|error| CloudError::call(ACTION, change, &error))?;
        Ok(answer.change_info().is_some_and(|info| *info.status() == ChangeStatus::Insync))
    }
}

/// Each value stands in quotes.
fn values_of(set: &ResourceRecordSet) -> impl Iterator<Item = String> + '_ {
    set.resource_records().iter().map(|record| record.value().trim_matches('"').to_owned())
}

fn build(zone: &str, source: aws_sdk_route53::error::BuildError) -> AcmeError {
    const ACTION: &str = "route53:ChangeResourceRecordSets";
    CloudError::Request { action: ACTION, resource: zone.to_owned(), source }.into()
}
