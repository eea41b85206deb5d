//! Public DNS as the platform team keeps it: hosted zones of Route 53, and what stands in them.

use anyhow::Context;
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, HostedZoneConfig, ResourceRecord, ResourceRecordSet, RrType,
};
use serde_json::json;

use super::Cloud;
use crate::http::Http;

impl Cloud {
    /// Makes a public hosted zone; answers its id.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn create_zone(&self, zone: &str) -> anyhow::Result<String> {
        let config = HostedZoneConfig::builder().private_zone(false).build();
        let create = self.route53.create_hosted_zone().name(zone).caller_reference(zone).hosted_zone_config(config);
        let made = create.send().await.with_context(|| format!("cannot create the hosted zone {zone}"))?;
        let id = made.hosted_zone().context("a zone was created without being described")?.id();
        Ok(id.trim_start_matches("/hostedzone/").to_owned())
    }

    /// The TXT records of all zones: names without a trailing dot, with their values.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn texts(&self) -> anyhow::Result<Vec<(String, Vec<String>)>> {
        let zones = self.route53.list_hosted_zones().send().await.context("cannot list the hosted zones")?;
        let mut texts = Vec::new();
        for zone in zones.hosted_zones() {
            let list = self.route53.list_resource_record_sets().hosted_zone_id(zone.id()).send().await?;
            let sets = list.resource_record_sets.into_iter().filter(|set| *set.r#type() == RrType::Txt);
            texts.extend(sets.map(|set| {
                let values = set.resource_records().iter().map(|record| record.value().trim_matches('"').to_owned());
                (set.name().trim_end_matches('.').to_owned(), values.collect())
            }));
        }
        Ok(texts)
    }

    /// Makes a TXT record that is nobody's.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn put_text(&self, zone: &str, name: &str, value: &str) -> anyhow::Result<()> {
        self.change_text(zone, name, value, ChangeAction::Upsert).await
    }

    /// Removes it.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn remove_text(&self, zone: &str, name: &str, value: &str) -> anyhow::Result<()> {
        self.change_text(zone, name, value, ChangeAction::Delete).await
    }

    async fn change_text(&self, zone: &str, name: &str, value: &str, action: ChangeAction) -> anyhow::Result<()> {
        let zones = self.route53.list_hosted_zones().send().await?;
        let hosted = zones.hosted_zones().iter().find(|found| found.name().trim_end_matches('.') == zone);
        let hosted = hosted.with_context(|| format!("there is no zone {zone}"))?;
        let record = ResourceRecord::builder().value(format!("\"{value}\"")).build()?;
        let set =
            ResourceRecordSet::builder().name(name).r#type(RrType::Txt).ttl(60).resource_records(record).build()?;
        let change = Change::builder().action(action).resource_record_set(set).build()?;
        let batch = ChangeBatch::builder().changes(change).build()?;
        let change = self.route53.change_resource_record_sets().hosted_zone_id(hosted.id()).change_batch(batch);
        change.send().await.with_context(|| format!("cannot change the record {name}"))?;
        Ok(())
    }

    /// How long a change of a zone takes to show at its name servers.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn spread_names_late(&self, milliseconds: u32) -> anyhow::Result<()> {
        let body = json!({"delayMs": milliseconds});
        let answer = Http::new("")?.post(&format!("{}/testbed/names", self.endpoint()), &body).await?;
        answer.success().map(drop)
    }
}
