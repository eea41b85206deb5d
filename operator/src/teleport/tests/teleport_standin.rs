//! The same calls against the stand-in's Auth, which reads Teleport's protocols on its own and checks who asks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use plan::Fact;
use plan::keys::{Authorities, Sensitive};
use plan::manifest::bootstrap::{apply_on_startup, bootstrap};
use plan::publish::alert::{Withheld, alert, raise};
use plan::publish::{Found, Live, PublishStep};
use plan::version::Version;
use serde_json::json;
use teleport_standin::{Process, Resolve, World};
use tokio_util::sync::CancellationToken;

use super::super::{AuthTarget, Network, Teleport, TeleportError, Told};
use super::update::{config, version, window};
use super::{DOMAIN, auth_target, keys};
use crate::error::{Class, chain};

struct Nowhere;

impl Resolve for Nowhere {
    fn resolve(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// An Auth process that serves until it is dropped.
struct Running {
    world: Arc<World>,
    target: AuthTarget,
    stop: CancellationToken,
    _files: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An address of its own, apart from those of other test programs.
fn address() -> Ipv4Addr {
    let share = u8::try_from(std::process::id() % 250).expect("below 250");
    Ipv4Addr::new(127, 180, share, 1)
}

async fn start() -> Running {
    let keys: Authorities = keys(DOMAIN);
    let config = json!({
        "version": "v3",
        "teleport": {"storage": {
            "type": "dynamodb", "region": "eu-central-1", "table_name": "state",
            "audit_events_uri": ["dynamodb://events"], "audit_sessions_uri": "s3://bucket/records?region=eu-central-1",
        }},
        "auth_service": {
            "enabled": true, "cluster_name": DOMAIN, "proxy_listener_mode": "multiplex",
            "authentication": {"type": "local", "second_factors": ["webauthn", "otp"], "webauthn": {"rp_id": DOMAIN}},
        },
        "proxy_service": {"enabled": false},
        "ssh_service": {"enabled": false},
    });
    let files = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: String| std::fs::write(files.path().join(name), content).expect("a file");
    write("teleport.yaml", config.to_string());
    write("bootstrap.yaml", bootstrap(DOMAIN, &keys));
    write("apply.yaml", apply_on_startup(&Sensitive("0123456789abcdef".repeat(4))));
    let world = World::new();
    let log = Arc::new(Mutex::new(String::new()));
    let lines = Arc::clone(&log);
    let process = Process {
        image: "r/teleport-distroless:18.1.0".to_owned(),
        argv: [
            "teleport",
            "start",
            "-c",
            "/teleport.yaml",
            "--bootstrap=/bootstrap.yaml",
            "--apply-on-startup=/apply.yaml",
        ]
        .map(str::to_owned)
        .to_vec(),
        env: BTreeMap::new(),
        root: files.path().to_owned(),
        address: IpAddr::V4(address()),
        hostname: "acme-auth-0".to_owned(),
        resolver: Arc::new(Nowhere),
        scale: 200.0,
        world: Arc::clone(&world),
        log: Arc::new(move |line| lines.lock().expect("no panic").push_str(&format!("{line}\n"))),
    };
    let stop = CancellationToken::new();
    let process = tokio::spawn(teleport_standin::run_in_memory(process, stop.clone()));
    let target = auth_target(SocketAddr::from((address(), 3025)), DOMAIN, &keys.host);
    let serving = async {
        while Network::default().ping(&target).await.is_err() {
            assert!(!process.is_finished(), "it ended:\n{}", log.lock().expect("no panic"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), serving).await.expect("Auth serves within 30 s");
    Running { world, target, stop, _files: files }
}

fn steps(live: &Live) -> [PublishStep; 3] {
    let seen = |revision: Option<&str>| revision.map(str::to_owned);
    [
        PublishStep::Maintenance { seen: seen(live.maintenance.revision()), spec: window() },
        PublishStep::Config { seen: seen(live.config.revision()), spec: config() },
        PublishStep::Version { seen: seen(live.version.revision()), spec: version() },
    ]
}

#[tokio::test]
async fn a_teleport_that_judges_for_itself_takes_what_is_published_and_refuses_what_is_stale() {
    let auth = start().await;
    let network = Network::default();
    let before = network.published(&auth.target).await.expect("read");
    assert_eq!((&before.version, &before.config), (&Found::Absent, &Found::Absent));
    for step in steps(&before) {
        assert_eq!(network.publish(&auth.target, &step).await.expect("written"), Told::Done, "{step}");
    }
    let after = network.published(&auth.target).await.expect("read");
    assert_eq!(after.version.agents(), Some(&version()));
    assert_eq!(after.config.agents(), Some(&config()));
    assert_eq!(after.maintenance.agents(), Some(&window()));
    for step in steps(&after) {
        assert_eq!(network.publish(&auth.target, &step).await.expect("written again"), Told::Done, "{step}");
    }
    for step in [steps(&before), steps(&after)].concat() {
        let error = network.publish(&auth.target, &step).await.expect_err("of an older reading");
        assert!(matches!(error, TeleportError::Changed { .. }), "{step}: {}", chain(&error));
        assert_eq!(error.class(), Class::Conflict);
    }

    let now = DateTime::from_timestamp(Utc::now().timestamp(), 0).expect("an instant");
    let withheld = Withheld { to: Version::new(19, 0, 0), behind: 1, first: vec!["a".into()] };
    let wanted = alert(Some(&withheld)).expect("an alert");
    let step = raise(Some(&wanted), &Fact::Absent, now).expect("it is not there");
    network.publish(&auth.target, &step).await.expect("raised");
    let raised = network.alerts(&auth.target).await.expect("read");
    assert_eq!(raise(Some(&wanted), &Fact::Known(raised), now), None, "it stands as it was raised");

    let calls = auth.world.calls(DOMAIN);
    let writes: Vec<_> =
        calls.iter().filter(|call| !call.method.contains("/Get") && !call.method.ends_with("/Ping")).collect();
    assert!(!writes.is_empty());
    for call in writes {
        let identity = call.identity.as_ref().expect("a certificate");
        assert_eq!((identity.organizations.as_slice(), call.refused.as_str()), (&["Admin".to_owned()][..], ""));
        assert!(!call.method.contains("/UpsertAutoUpdate"), "{}: overwrites unseen", call.method);
    }
}
