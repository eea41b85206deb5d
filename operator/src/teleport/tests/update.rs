//! What agents are told, over the wire: created and changed under revisions, with everything that is not ours left as it
//! was.

use chrono::{DateTime, TimeDelta};
use plan::publish::alert::{Withheld, alert, raise};
use plan::publish::{AutoUpdateConfigSpec, AutoUpdateVersionSpec, Found, Maintenance, PublishStep, UpdateGroup};
use plan::version::Version;
use plan::{Fact, keys::Authorities};
use tonic::Code;

use super::super::kept::Kept;
use super::super::{AuthTarget, Network, Teleport, TeleportError, Told};
use super::stand_in::{self, AuthBehaviour, Server};
use super::{DOMAIN, auth_target, keys};
use crate::error::{Class, chain};

pub fn version() -> AutoUpdateVersionSpec {
    AutoUpdateVersionSpec {
        start_version: "17.5.2".into(),
        target_version: "18.1.0".into(),
        schedule: "regular".into(),
        mode: "enabled".into(),
    }
}

fn group(name: &str, wait_hours: i32) -> UpdateGroup {
    UpdateGroup { name: name.into(), days: vec!["Sun".into()], start_hour: 3, wait_hours }
}

pub fn config() -> AutoUpdateConfigSpec {
    AutoUpdateConfigSpec {
        mode: "enabled".into(),
        strategy: "halt-on-error".into(),
        window_seconds: None,
        groups: vec![group("prod", 0), group("not-enrolled", 87_600)],
    }
}

pub fn window() -> Maintenance {
    Maintenance { utc_start_hour: 0, weekdays: vec!["Sun".into()] }
}

fn steps(seen: Option<&str>) -> [PublishStep; 3] {
    let seen = seen.map(str::to_owned);
    [
        PublishStep::Version { seen: seen.clone(), spec: version() },
        PublishStep::Config { seen: seen.clone(), spec: config() },
        PublishStep::Maintenance { seen, spec: window() },
    ]
}

struct Bed {
    auth: Server,
    target: AuthTarget,
    network: Network,
}

impl Bed {
    async fn new() -> Bed {
        let keys: Authorities = keys(DOMAIN);
        let auth = stand_in::auth(&keys, DOMAIN, AuthBehaviour::Answers(vec![])).await;
        let target = auth_target(auth.address, DOMAIN, &keys.host);
        Bed { auth, target, network: Network::default() }
    }

    async fn publish(&self, step: &PublishStep) -> Result<Told, TeleportError> {
        self.network.publish(&self.target, step).await
    }
}

#[tokio::test]
async fn what_is_not_there_is_created_and_read_back() {
    let bed = Bed::new().await;
    let live = bed.network.published(&bed.target).await.expect("read");
    assert_eq!((live.version, live.config, live.maintenance), (Found::Absent, Found::Absent, Found::Absent));
    assert!(!live.cloud);
    for step in steps(None) {
        assert_eq!(bed.publish(&step).await.expect("written"), Told::Done);
    }
    let live = bed.network.published(&bed.target).await.expect("read");
    assert_eq!(live.version, Found::There { revision: "r1".into(), agents: Some(version()) });
    assert_eq!(live.config, Found::There { revision: "r2".into(), agents: Some(config()) });
    assert_eq!(live.maintenance, Found::There { revision: "1".into(), agents: Some(window()) });
    let told = bed.auth.told();
    for (kind, name) in [("autoupdate_version", "autoupdate-version"), ("autoupdate_config", "autoupdate-config")] {
        let kept = &told.resources[kind];
        assert_eq!((kept.text(1).as_str(), kept.text(3).as_str()), (kind, "v1"));
        assert_eq!(kept.part(4).expect("a message").expect("metadata").text(1), name);
    }
}

/// A message with a field of every kind that nobody here knows.
fn with_unknown(mut kept: Kept, mark: u64) -> Kept {
    kept.set_number(990, mark);
    kept.set_text(991, "kept");
    kept
}

fn unknown(kept: &Kept) -> u64 {
    assert_eq!(kept.text(991), "kept");
    kept.number(990)
}

fn within(kept: &Kept, path: &[u32]) -> Kept {
    path.iter().fold(kept.clone(), |kept, field| kept.part(*field).expect("a message").expect("it is there"))
}

#[tokio::test]
async fn a_write_leaves_everything_that_is_not_ours_at_every_depth() {
    let bed = Bed::new().await;
    let mut prod = with_unknown(Kept::default(), 1);
    prod.set_text(1, "prod");
    let mut schedules = with_unknown(Kept::default(), 2);
    schedules.set_parts(1, &[prod]);
    let mut agents = with_unknown(Kept::default(), 3);
    agents.set_text(1, "suspended");
    agents.set_part(6, Some(&schedules));
    let mut spec = with_unknown(Kept::default(), 4);
    spec.set_part(2, Some(&with_unknown(Kept::default(), 5)));
    spec.set_part(3, Some(&agents));
    let mut resource = with_unknown(Kept::default(), 6);
    resource.set_part(4, Some(&with_unknown(Kept::default(), 7)));
    resource.set_part(5, Some(&spec));
    let revision = {
        let kept = bed.auth.told().keep("autoupdate_config", resource);
        within(&kept, &[4]).text(8)
    };
    bed.publish(&PublishStep::Config { seen: Some(revision), spec: config() }).await.expect("written");

    let after = bed.auth.told().resources["autoupdate_config"].clone();
    assert_eq!(unknown(&after), 6);
    assert_eq!(unknown(&within(&after, &[4])), 7, "metadata");
    assert_eq!(unknown(&within(&after, &[5])), 4, "spec");
    assert_eq!(unknown(&within(&after, &[5, 2])), 5, "the part for client tools");
    assert_eq!(unknown(&within(&after, &[5, 3])), 3, "the part for agents");
    assert_eq!(within(&after, &[5, 3]).text(1), "enabled");
    let schedules = within(&after, &[5, 3, 6]);
    assert_eq!(unknown(&schedules), 2);
    let groups = schedules.parts(1).expect("messages");
    assert_eq!(groups.iter().map(|group| group.text(1)).collect::<Vec<_>>(), ["prod", "not-enrolled"]);
    assert_eq!(unknown(&groups[0]), 1, "a group keeps what it had");
}

#[tokio::test]
async fn a_window_keeps_what_is_not_ours_and_its_hour_may_be_midnight() {
    let bed = Bed::new().await;
    let mut window_before = with_unknown(Kept::default(), 1);
    window_before.set_number(1, 7);
    window_before.set_texts(2, &["Monday".to_owned(), "Fri".to_owned()]);
    let mut spec = with_unknown(Kept::default(), 2);
    spec.set_part(1, Some(&window_before));
    let mut resource = with_unknown(Kept::default(), 3);
    resource.set_part(2, Some(&spec));
    bed.auth.told().keep("cluster_maintenance_config", resource);
    let live = bed.network.published(&bed.target).await.expect("read");
    let found = Maintenance { utc_start_hour: 7, weekdays: vec!["Mon".into(), "Fri".into()] };
    assert_eq!(live.maintenance, Found::There { revision: "1".into(), agents: Some(found) });

    bed.publish(&PublishStep::Maintenance { seen: Some("1".into()), spec: window() }).await.expect("written");
    let live = bed.network.published(&bed.target).await.expect("read");
    assert_eq!(live.maintenance, Found::There { revision: "2".into(), agents: Some(window()) });
    let after = bed.auth.told().resources["cluster_maintenance_config"].clone();
    assert_eq!([unknown(&after), unknown(&within(&after, &[2])), unknown(&within(&after, &[2, 1]))], [3, 2, 1]);
}

#[tokio::test]
async fn what_changed_since_it_was_seen_is_a_conflict_and_not_written() {
    let bed = Bed::new().await;
    for step in steps(Some("of yesterday")) {
        let error = bed.publish(&step).await.expect_err("nothing is there");
        assert_eq!(error.class(), Class::Conflict, "{step}: {}", chain(&error));
    }
    for step in steps(None) {
        bed.publish(&step).await.expect("written");
    }
    let before = bed.auth.told().resources.clone();
    for step in [steps(None), steps(Some("of yesterday"))].concat() {
        let error = bed.publish(&step).await.expect_err("another revision is there");
        assert!(matches!(error, TeleportError::Changed { source: None, .. }), "{step}: {}", chain(&error));
        assert_eq!(error.class(), Class::Conflict);
    }
    assert_eq!(bed.auth.told().resources, before);
}

#[tokio::test]
async fn what_changes_between_the_look_and_the_write_is_a_conflict_too() {
    let bed = Bed::new().await;
    for step in steps(None) {
        bed.publish(&step).await.expect("written");
    }
    bed.auth.told().contended = true;
    for (step, seen) in steps(None).into_iter().zip(["r1", "r2", "1"]) {
        let step = match step {
            PublishStep::Version { spec, .. } => PublishStep::Version { seen: Some(seen.into()), spec },
            PublishStep::Config { spec, .. } => PublishStep::Config { seen: Some(seen.into()), spec },
            PublishStep::Maintenance { spec, .. } => PublishStep::Maintenance { seen: Some(seen.into()), spec },
            PublishStep::Alert { .. } => step,
        };
        let error = bed.publish(&step).await.expect_err("somebody was faster");
        assert!(matches!(error, TeleportError::Changed { source: Some(_), .. }), "{step}: {}", chain(&error));
        assert_eq!(error.class(), Class::Conflict);
        assert!(chain(&error).contains("was changed meanwhile: FailedPrecondition: another"), "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_resource_that_this_teleport_does_not_have_is_no_failure() {
    let bed = Bed::new().await;
    bed.auth.told().hides = Some(Code::Unimplemented);
    let live = bed.network.published(&bed.target).await.expect("read");
    assert_eq!((live.version, live.maintenance), (Found::NotOffered, Found::NotOffered));
    for step in steps(None) {
        assert_eq!(bed.publish(&step).await.expect("tolerated"), Told::NotOffered);
    }
}

#[tokio::test]
async fn a_licence_with_the_cloud_feature_is_seen_and_its_refusal_is_no_failure() {
    let bed = Bed::new().await;
    bed.auth.told().cloud = true;
    bed.auth.told().refuses = Some(Code::Unimplemented);
    assert!(bed.network.published(&bed.target).await.expect("read").cloud);
    let step = PublishStep::Maintenance { seen: None, spec: window() };
    assert_eq!(bed.publish(&step).await.expect("tolerated"), Told::NotOffered);
}

#[tokio::test]
async fn refusals_are_sorted_by_what_helps() {
    let bed = Bed::new().await;
    for (code, class) in [
        (Code::PermissionDenied, Class::Denied),
        (Code::InvalidArgument, Class::Invalid),
        (Code::Unavailable, Class::Transient),
    ] {
        bed.auth.told().refuses = Some(code);
        for step in steps(None) {
            let error = bed.publish(&step).await.expect_err("refused");
            assert_eq!(error.class(), class, "{step}: {}", chain(&error));
        }
        bed.auth.told().hides = Some(code);
        let error = bed.network.published(&bed.target).await.expect_err("refused");
        assert_eq!(error.class(), class, "{}", chain(&error));
        bed.auth.told().hides = None;
    }
}

#[tokio::test]
async fn an_alert_is_raised_with_its_labels_and_end_and_found_again() {
    let bed = Bed::new().await;
    assert_eq!(bed.network.alerts(&bed.target).await.expect("read"), []);
    let now = DateTime::from_timestamp(crate::clock::wall().timestamp(), 0).expect("an instant");
    let withheld = Withheld { to: Version::new(18, 1, 0), behind: 2, first: vec!["a".into(), "b".into()] };
    let wanted = alert(Some(&withheld)).expect("an alert");
    let step = raise(Some(&wanted), &Fact::Absent, now).expect("nothing is there yet");
    assert_eq!(bed.publish(&step).await.expect("raised"), Told::Done);
    let raised = bed.network.alerts(&bed.target).await.expect("read");
    assert_eq!((&raised[0].alert, raised[0].expires), (&wanted, Some(now + TimeDelta::hours(24))));
    assert_eq!(raise(Some(&wanted), &Fact::Known(raised), now), None, "it stands");
    let told = bed.auth.told();
    let header = told.alerts[0].header.as_ref().expect("a header");
    assert_eq!((header.kind.as_str(), header.version.as_str()), ("cluster_alert", "v1"));
    let created = told.alerts[0].spec.as_ref().and_then(|spec| spec.created).expect("created");
    assert_eq!(created.seconds, now.timestamp());
}
