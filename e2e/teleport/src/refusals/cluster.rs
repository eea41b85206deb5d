//! What the processes of one cluster share: the inventory, the authorities, the record of calls.

use std::time::Duration;

use super::client::{Client, HOST_ID};
use super::fixture::{CLUSTER, Good};
use crate::pki;
use crate::wire::proto::InventoryStatusRequest;
use crate::wire::proto::auth_service_client::AuthServiceClient;
use crate::wire::types::InstanceFilter;
use crate::world::Agent;

#[tokio::test]
async fn the_inventory_has_processes_and_agents_and_calls_are_recorded() {
    let good = Good::auth();
    let agents = (0..5).map(|n| Agent {
        id: format!("agent-{n}"),
        hostname: format!("node-{n}"),
        version: if n == 0 { "17.5.2".to_owned() } else { "v18.1.0".to_owned() },
        services: vec!["Node".to_owned()],
        upgrader: if n == 1 { "kube".to_owned() } else { String::new() },
        // One has been silent for longer than a heartbeat lives, even scaled.
        last_seen: (n == 4).then(|| chrono::Utc::now() - chrono::Duration::hours(1)),
        ..Agent::default()
    });
    good.world.set_agents(CLUSTER, agents.collect());
    let running = good.sibling().start_at(good.address);
    running.readiness(200).await;
    let address = (running.address, 3025).into();
    let mut client = AuthServiceClient::new(Client::admin(&good).channel(&good, address));
    let deadline = tokio::time::Instant::now() + super::running::DEADLINE;
    let summary = loop {
        // Auth itself appears with its first heartbeat.
        let summary =
            client.get_inventory_status(InventoryStatusRequest { connected: false }).await.unwrap().into_inner();
        if summary.instance_count == 5 {
            break summary;
        }
        assert!(tokio::time::Instant::now() < deadline, "{summary:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(summary.version_counts, [("v18.1.0".to_owned(), 4), ("v17.5.2".to_owned(), 1)].into());
    assert_eq!(summary.upgrader_counts, [("none".to_owned(), 4), ("kube".to_owned(), 1)].into());
    assert_eq!(summary.service_counts, [("Node".to_owned(), 4), ("Auth".to_owned(), 1)].into());

    let connected = client.get_inventory_status(InventoryStatusRequest { connected: true }).await.unwrap().into_inner();
    assert_eq!(
        (connected.connected.len(), connected.instance_count),
        (4, 0),
        "one Auth has every stream, and no counts"
    );

    let filter = InstanceFilter { older_than_version: "18.0.0".to_owned(), ..InstanceFilter::default() };
    let mut stream = client.get_instances(filter).await.unwrap().into_inner();
    let old = stream.message().await.unwrap().unwrap();
    assert_eq!(old.header.unwrap().metadata.unwrap().name, "agent-0");
    assert!(stream.message().await.unwrap().is_none());
    let exact = InstanceFilter { version: "18.1.0".to_owned(), ..InstanceFilter::default() };
    let mut stream = client.get_instances(exact).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_none(), "the version filter is an exact string, and versions have a v");

    let calls = good.world.calls(CLUSTER);
    let call = calls.iter().find(|call| call.method == "/proto.AuthService/GetInstances").unwrap();
    let identity = call.identity.clone().unwrap();
    assert_eq!(
        (identity.common_name, identity.organizations),
        (format!("{HOST_ID}.{CLUSTER}"), vec!["Admin".to_owned()])
    );
    assert_eq!((call.refused.as_str(), call.version.as_str()), ("", "18.1.0"));
    assert!(running.text().contains("\"method\":\"/proto.AuthService/GetInstances\""));
    assert_eq!(running.stopped().await.0, 0);
}

/// Two Auths started together share authorities, and so clients.
#[tokio::test]
async fn two_auths_share_one_cluster() {
    let good = Good::auth();
    let (one, two) = (good.sibling().start(), good.sibling().start());
    one.readiness(200).await;
    two.readiness(200).await;
    for running in [&one, &two] {
        assert_eq!(Client::admin(&good).ping(&good, running).await.unwrap(), "18.1.0");
    }
    assert_eq!(one.stopped().await.0, 0);
    assert_eq!(Client::admin(&good).ping(&good, &two).await.unwrap(), "18.1.0", "the other one goes on");
    assert_eq!(two.stopped().await.0, 0);
}

/// Rotation: what another process writes to the table is trusted as soon as the stream tells.
#[tokio::test]
async fn a_new_trusted_key_is_honoured_without_a_restart() {
    use crate::cloud::{Cloud, Condition};
    use base64::Engine;
    let good = Good::auth();
    let running = good.sibling().start_at(good.address);
    running.readiness(200).await;
    let mut client = Client::admin(&good);
    client.signer = pki::new_authority(CLUSTER).unwrap();
    client.ping(&good, &running).await.expect_err("not trusted yet");

    let path = format!("teleport/authorities/host/{CLUSTER}");
    let mut item = good.memory.get("state", &path).await.unwrap().unwrap();
    let mut authority: serde_json::Value = serde_json::from_slice(&item.value).unwrap();
    let certificate = base64::engine::general_purpose::STANDARD.encode(&client.signer.certificate);
    authority["spec"]["additional_trusted_keys"] = serde_json::json!({ "tls": [{ "cert": certificate }] });
    item.value = authority.to_string().into_bytes();
    good.memory.put("state", &item, Condition::Any).await.unwrap();

    let deadline = tokio::time::Instant::now() + super::running::DEADLINE;
    while client.ping(&good, &running).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "{}", running.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(running.stopped().await.0, 0);
}
