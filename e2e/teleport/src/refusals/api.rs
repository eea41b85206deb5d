//! Resources written over the API: managed updates, maintenance window, alerts.

use tonic::Code;

use super::client::Client;
use super::fixture::Good;
use super::running::Running;
use crate::rule::Rule;
use crate::wire::proto::UpsertClusterAlertRequest;
use crate::wire::proto::auth_service_client::AuthServiceClient;
use crate::wire::teleport::autoupdate::v1 as update;
use crate::wire::types::{
    AgentUpgradeWindow, ClusterAlert, ClusterAlertSpec, ClusterMaintenanceConfigSpecV1, ClusterMaintenanceConfigV1,
    GetClusterAlertsRequest, Metadata, ResourceHeader,
};
use tonic::transport::Channel;
use update::auto_update_service_client::AutoUpdateServiceClient;

/// Good requests and what is done with them.
pub(super) struct Requests {
    version: update::AutoUpdateVersion,
    config: update::AutoUpdateConfig,
    window: ClusterMaintenanceConfigV1,
    alert: ClusterAlert,
}

/// A request that breaks one rule.
pub(super) struct ApiCase {
    pub(super) rule: Rule,
    name: &'static str,
    code: Code,
    call: Call,
    breaks: fn(&mut Requests),
}

#[derive(Clone, Copy)]
enum Call {
    CreateVersion,
    UpdateVersion,
    UpsertVersion,
    DeleteConfig,
    UpsertConfig,
    UpdateWindow,
    UpsertAlert,
}

const fn case(rule: Rule, name: &'static str, code: Code, call: Call, breaks: fn(&mut Requests)) -> ApiCase {
    ApiCase { rule, name, code, call, breaks }
}

const INVALID: Code = Code::InvalidArgument;

/// In order: the good version and window are in the backend, the configuration is not.
pub(super) const CASES: &[ApiCase] = &[
    case(Rule::VersionTarget, "a leading v", INVALID, Call::UpsertVersion, |r| {
        agents(r).target_version = "v18.1.0".to_owned()
    }),
    case(Rule::VersionTarget, "another schedule", INVALID, Call::UpsertVersion, |r| {
        agents(r).schedule = "soon".to_owned()
    }),
    case(Rule::VersionTarget, "another mode", INVALID, Call::UpsertVersion, |r| agents(r).mode = "on".to_owned()),
    case(Rule::VersionTarget, "another name", INVALID, Call::UpsertVersion, |r| {
        r.version.metadata.get_or_insert_default().name = "mine".to_owned();
    }),
    case(Rule::Exists, "create what is there", Code::AlreadyExists, Call::CreateVersion, |_| {}),
    case(Rule::Revision, "update an old revision", Code::FailedPrecondition, Call::UpdateVersion, |r| {
        r.version.metadata.get_or_insert_default().revision = "old".to_owned();
    }),
    case(Rule::Absent, "delete what is not there", Code::NotFound, Call::DeleteConfig, |_| {}),
    case(Rule::UpdateConfig, "another strategy", INVALID, Call::UpsertConfig, |r| {
        rollout(r).strategy = "hope".to_owned()
    }),
    case(Rule::UpdateConfig, "eleven groups", INVALID, Call::UpsertConfig, |r| {
        groups(r, 11);
    }),
    case(Rule::UpdateConfig, "one name twice", INVALID, Call::UpsertConfig, |r| groups(r, 2)[1].name = "g0".to_owned()),
    case(Rule::UpdateConfig, "hour 24", INVALID, Call::UpsertConfig, |r| groups(r, 1)[0].start_hour = 24),
    case(Rule::UpdateConfig, "an unknown day", INVALID, Call::UpsertConfig, |r| {
        groups(r, 1)[0].days = vec!["Monday".to_owned()]
    }),
    case(Rule::UpdateConfig, "wait_hours with time-based", INVALID, Call::UpsertConfig, |r| {
        rollout(r).strategy = "time-based".to_owned();
        rollout(r).maintenance_window_duration = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
        groups(r, 1)[0].wait_hours = 1;
    }),
    case(Rule::UpdateConfig, "a window of 5 minutes", INVALID, Call::UpsertConfig, |r| {
        rollout(r).strategy = "time-based".to_owned();
        rollout(r).maintenance_window_duration = Some(prost_types::Duration { seconds: 300, nanos: 0 });
    }),
    case(Rule::Nonce, "nonce 0 over an existing one", Code::FailedPrecondition, Call::UpdateWindow, |r| {
        r.window.nonce = 0
    }),
    case(Rule::Nonce, "another nonce", Code::FailedPrecondition, Call::UpdateWindow, |r| r.window.nonce = 7),
    case(Rule::MaintenanceWindow, "hour 24", INVALID, Call::UpdateWindow, |r| window(r).utc_start_hour = 24),
    case(Rule::MaintenanceWindow, "an unknown day", INVALID, Call::UpdateWindow, |r| {
        window(r).weekdays = vec!["Someday".to_owned()]
    }),
    case(Rule::Alert, "no name", INVALID, Call::UpsertAlert, |r| r.alert.header = None),
    case(Rule::Alert, "severity 7", INVALID, Call::UpsertAlert, |r| r.alert.spec.get_or_insert_default().severity = 7),
    case(Rule::Alert, "a line break", INVALID, Call::UpsertAlert, |r| {
        r.alert.spec.get_or_insert_default().message = "a\nb".to_owned()
    }),
    case(Rule::Alert, "an upper-case label", INVALID, Call::UpsertAlert, |r| {
        label(r, "teleport.internal/alert-on-login", "Yes")
    }),
    case(Rule::Alert, "a link elsewhere", INVALID, Call::UpsertAlert, |r| {
        label(r, "teleport.internal/link", "https://example.com/x")
    }),
];

fn agents(requests: &mut Requests) -> &mut update::VersionSpecAgents {
    requests.version.spec.get_or_insert_default().agents.get_or_insert_default()
}

fn rollout(requests: &mut Requests) -> &mut update::ConfigSpecAgents {
    requests.config.spec.get_or_insert_default().agents.get_or_insert_default()
}

fn groups(requests: &mut Requests, count: usize) -> &mut Vec<update::Group> {
    let groups = (0..count).map(|n| update::Group {
        name: format!("g{n}"),
        days: vec!["Mon".to_owned()],
        start_hour: 3,
        wait_hours: 0,
    });
    let schedules = rollout(requests).schedules.get_or_insert_default();
    schedules.regular = groups.collect();
    &mut schedules.regular
}

fn window(requests: &mut Requests) -> &mut AgentUpgradeWindow {
    requests.window.spec.get_or_insert_default().agent_upgrades.get_or_insert_default()
}

fn label(requests: &mut Requests, key: &str, value: &str) {
    let metadata = requests.alert.header.get_or_insert_default().metadata.get_or_insert_default();
    metadata.labels.insert(key.to_owned(), value.to_owned());
}

fn named(name: &str) -> Option<Metadata> {
    Some(Metadata { name: name.to_owned(), ..Metadata::default() })
}

impl Requests {
    fn good() -> Requests {
        let mut requests = Requests {
            version: update::AutoUpdateVersion { metadata: named("autoupdate-version"), ..Default::default() },
            config: update::AutoUpdateConfig { metadata: named("autoupdate-config"), ..Default::default() },
            window: ClusterMaintenanceConfigV1 {
                spec: Some(ClusterMaintenanceConfigSpecV1::default()),
                ..Default::default()
            },
            alert: ClusterAlert {
                header: Some(ResourceHeader { metadata: named("agents-behind"), ..Default::default() }),
                spec: Some(ClusterAlertSpec { severity: 5, message: "3 agents are behind".to_owned(), created: None }),
            },
        };
        *agents(&mut requests) = update::VersionSpecAgents {
            start_version: "17.5.2".to_owned(),
            target_version: "18.1.0".to_owned(),
            schedule: "regular".to_owned(),
            mode: "enabled".to_owned(),
        };
        *rollout(&mut requests) = update::ConfigSpecAgents {
            mode: "enabled".to_owned(),
            strategy: "halt-on-error".to_owned(),
            ..Default::default()
        };
        groups(&mut requests, 2);
        *window(&mut requests) =
            AgentUpgradeWindow { utc_start_hour: 2, weekdays: vec!["Mon".to_owned(), "Friday".to_owned()] };
        label(&mut requests, "teleport.internal/alert-on-login", "yes");
        label(&mut requests, "teleport.internal/link", "https://goteleport.com/docs");
        requests
    }
}

struct Admin {
    updates: AutoUpdateServiceClient<Channel>,
    auth: AuthServiceClient<Channel>,
}

impl Admin {
    fn of(good: &Good, running: &Running) -> Admin {
        let channel = Client::admin(good).channel(good, (running.address, 3025).into());
        Admin { updates: AutoUpdateServiceClient::new(channel.clone()), auth: AuthServiceClient::new(channel) }
    }

    async fn call(&mut self, call: Call, requests: Requests) -> Result<(), tonic::Status> {
        let version = || update::VersionRequest { version: Some(requests.version.clone()) };
        match call {
            Call::CreateVersion => self.updates.create_auto_update_version(version()).await.map(drop),
            Call::UpdateVersion => self.updates.update_auto_update_version(version()).await.map(drop),
            Call::UpsertVersion => self.updates.upsert_auto_update_version(version()).await.map(drop),
            Call::DeleteConfig => {
                self.updates.delete_auto_update_config(update::DeleteAutoUpdateConfigRequest {}).await.map(drop)
            }
            Call::UpsertConfig => self
                .updates
                .upsert_auto_update_config(update::ConfigRequest { config: Some(requests.config) })
                .await
                .map(drop),
            Call::UpdateWindow => self.auth.update_cluster_maintenance_config(requests.window).await.map(drop),
            Call::UpsertAlert => self
                .auth
                .upsert_cluster_alert(UpsertClusterAlertRequest { alert: Some(requests.alert) })
                .await
                .map(drop),
        }
    }
}

#[tokio::test]
async fn a_broken_request_is_refused_and_the_good_one_is_kept() {
    let good = Good::auth();
    let running = good.sibling().start_at(good.address);
    running.readiness(200).await;
    let mut admin = Admin::of(&good, &running);

    admin.call(Call::CreateVersion, Requests::good()).await.unwrap();
    let stored =
        admin.updates.get_auto_update_version(update::GetAutoUpdateVersionRequest {}).await.unwrap().into_inner();
    let mut same_revision = Requests::good();
    same_revision.version = stored;
    admin.call(Call::UpdateVersion, same_revision).await.unwrap();
    admin.call(Call::UpdateWindow, Requests::good()).await.unwrap();
    let window = admin.auth.get_cluster_maintenance_config(()).await.unwrap().into_inner();
    assert_eq!(window.nonce, 1);
    admin.call(Call::UpdateWindow, Requests { window, ..Requests::good() }).await.unwrap();
    let mut regardless = Requests::good();
    regardless.window.nonce = u64::MAX;
    admin.call(Call::UpdateWindow, regardless).await.unwrap();

    for case in CASES {
        let mut requests = Requests::good();
        if !matches!(case.rule, Rule::Nonce) {
            requests.window.nonce = u64::MAX;
        }
        (case.breaks)(&mut requests);
        let refused = admin.call(case.call, requests).await.expect_err(case.name);
        assert_eq!(refused.code(), case.code, "{}: {refused}", case.name);
        assert!(refused.message().contains(case.rule.text()), "{}: {refused}", case.name);
    }

    admin.call(Call::UpsertConfig, Requests::good()).await.unwrap();
    let rollout = admin
        .updates
        .get_auto_update_agent_rollout(update::GetAutoUpdateAgentRolloutRequest {})
        .await
        .unwrap()
        .into_inner();
    let spec = rollout.spec.unwrap();
    assert_eq!((spec.target_version.as_str(), spec.strategy.as_str()), ("18.1.0", "halt-on-error"));
    assert_eq!(rollout.status.unwrap().groups.len(), 2);
    admin.call(Call::UpsertAlert, Requests::good()).await.unwrap();
    let alerts = admin.auth.get_cluster_alerts(GetClusterAlertsRequest::default()).await.unwrap().into_inner().alerts;
    assert_eq!(alerts.len(), 1);
    let lasts =
        alerts[0].header.clone().unwrap().metadata.unwrap().expires.unwrap().seconds - chrono::Utc::now().timestamp();
    assert!((86_300..=86_400).contains(&lasts), "24 h if unset: {lasts}");
    admin.call(Call::DeleteConfig, Requests::good()).await.unwrap();
    admin.auth.delete_cluster_maintenance_config(()).await.unwrap();
    assert_eq!(admin.auth.get_cluster_maintenance_config(()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(admin.auth.get_domain_name(()).await.unwrap().into_inner().domain_name, super::fixture::CLUSTER);
    let ca = admin.auth.get_cluster_ca_cert(()).await.unwrap().into_inner().tls_ca;
    assert_eq!(String::from_utf8(ca).unwrap(), good.host.certificate);
    assert_eq!(running.stopped().await.0, 0);
}
