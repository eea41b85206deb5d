//! The place in line of a claim, by what became of the write: freed when the claim did not come about, kept while nobody
//! knows.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use crds::tenant_status::TenantStatus;
use hyper::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::runtime::events::{Recorder, Reporter};
use plan::line::Place;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::accounts::Accounts;
use crate::context::{Clouds, Periods};
use crate::fleet::Fleet;
use crate::inventory::Readings;
use crate::leader::{self, Answer, Call, LeaseRecord, Record, Timing};
use crate::teleport::Network;

/// A lease that everybody gets.
#[derive(Debug)]
struct Lease;

#[async_trait]
impl LeaseRecord for Lease {
    async fn call(&self, _: &str, call: &Call, timing: &Timing) -> Answer {
        let (version, holder) = ("1".to_owned(), String::new());
        match call {
            Call::Look => Answer::Found(Record { version, holder, lease: timing.lease, transitions: 0 }),
            _ => Answer::Written(version),
        }
    }
}

/// How the API server answers the claim.
#[derive(Clone, Copy)]
enum Answers {
    With(StatusCode),
    Never,
}

async fn context(answers: Answers) -> Context {
    let service = tower::service_fn(move |_: Request<Body>| async move {
        let Answers::With(code) = answers else { return Err("the connection broke off") };
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "no",
            "code": code.as_u16()});
        Ok(Response::builder().status(code).body(Body::from(status.to_string().into_bytes())).expect("an answer"))
    });
    let client = Client::new(service, "n");
    let (readings, _) = Readings::new(Duration::from_secs(60));
    let (_, tenants) = kube::runtime::reflector::store();
    Context {
        namespace: "tenancy-system".into(),
        policy: Default::default(),
        fleet_config_map: "fleet".into(),
        windows: Default::default(),
        fleet: Fleet::new(tenants.as_reader()),
        acme: crate::acme::Acme::default(),
        accounts: Accounts::new(tenants.as_reader()),
        trigger_window: mpsc::unbounded_channel().0,
        claims: Default::default(),
        children: Default::default(),
        pools: crate::pools::Pools::new(mpsc::unbounded_channel().0),
        clouds: Clouds::default(),
        teleport: Arc::new(Network::default()),
        skew: Default::default(),
        readings: Arc::new(readings),
        memory: Default::default(),
        metrics: Default::default(),
        recorder: Recorder::new(client.clone(), Reporter { controller: "test".into(), instance: None }),
        periods: Periods { cloud: Duration::from_secs(60) },
        leadership: Arc::new(leader::acquire(Arc::new(Lease), "me".into(), Timing::default()).await),
        watching: client.clone(),
        client,
    }
}

fn tenant() -> Tenant {
    serde_json::from_value(json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": "acme", "namespace": "n", "uid": "u-acme"},
        "spec": {"domain": "a.example.com", "edition": "Community", "version": "18.1.1", "region": "r"},
    }))
    .expect("a tenant")
}

fn identity() -> Identity {
    Identity { slug: "acme".into(), namespace: "n".into(), uid: "u-acme".into(), id: "0".repeat(16) }
}

fn now() -> DateTime<Utc> {
    "2026-11-02T02:00:00Z".parse().expect("RFC 3339")
}

/// The status with which a hop begins.
fn claiming() -> TenantStatus {
    serde_json::from_value(json!({"version": "18.1.0", "update": {
        "kind": "Patch", "from": "18.1.0", "to": "18.1.1", "stage": "Preflight", "startedAt": now(), "stageSince": now(),
        "window": "n/default", "downSecondsBefore": 0,
    }}))
    .expect("a status")
}

/// What another tenant finds where one may be updated at once.
fn place_of_another(context: &Context) -> Place {
    let other = Asker { uid: "u-other", window: "n/default", due_since: now() };
    context.fleet.place(other, &context.windows, 1)
}

const TAKEN: Place = Place::WindowFull { limit: 1 };

async fn claim_answered(answers: Answers) -> Context {
    let context = context(answers).await;
    assert_eq!(place_of_another(&context), Place::Free);
    report(&tenant(), &identity(), claiming(), &context, now()).await.expect_err("the claim is not written");
    context
}

#[tokio::test]
async fn a_claim_that_was_refused_frees_its_place() {
    for refusal in [StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY, StatusCode::TOO_MANY_REQUESTS] {
        let context = claim_answered(Answers::With(refusal)).await;
        assert_eq!(place_of_another(&context), Place::Free, "{refusal}");
    }
}

#[tokio::test]
async fn a_claim_that_may_have_been_written_keeps_its_place_until_the_next_run_knows() {
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    for answers in [Answers::With(failed), Answers::With(StatusCode::GATEWAY_TIMEOUT), Answers::Never] {
        let context = claim_answered(answers).await;
        assert_eq!(place_of_another(&context), TAKEN);
        // The next run sees a Tenant without a hop, and plans none.
        let as_it_was = tenant().status.unwrap_or_default();
        let _ = report(&tenant(), &identity(), as_it_was, &context, now()).await;
        assert_eq!(place_of_another(&context), Place::Free);
    }
}

#[tokio::test]
async fn a_claim_that_was_written_after_all_keeps_its_place() {
    let context = claim_answered(Answers::Never).await;
    let claimed = Tenant { status: Some(claiming()), ..tenant() };
    report(&claimed, &identity(), claiming(), &context, now()).await.expect("nothing to write");
    assert_eq!(place_of_another(&context), TAKEN);
}
