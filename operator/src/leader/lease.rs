//! The record as a Lease of the API server. Writes are patches that name the version they are based on, so that
//! labels and annotations of others stay and no concurrent change is overwritten.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Config, ResourceExt};
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde_json::{Value, json};

use super::LeaseRecord;
use super::election::{Answer, Call, Record, Timing};
use crate::clock;
use crate::error::chain;

/// A Lease by its name.
#[derive(Clone, Debug)]
pub struct KubeLease {
    api: Api<Lease>,
    name: String,
}

impl KubeLease {
    /// The Lease of this name, through a client that does not retry (see [`client`]).
    pub fn new(client: Client, namespace: &str, name: &str) -> KubeLease {
        KubeLease { api: Api::namespaced(client, namespace), name: name.to_owned() }
    }
}

/// A client for the lease alone. The usual client repeats a call that the API server put off, for longer than a lease
/// lasts, and shares connections that a busy reconciler may fill.
pub fn client(mut config: Config, timing: &Timing) -> kube::Result<Client> {
    config.default_retry = false;
    config.connect_timeout = Some(timing.call);
    config.read_timeout = Some(timing.call);
    config.write_timeout = Some(timing.call);
    Client::try_from(config)
}

/// A name that no other process has or had: the pod's, which people know, and a random part.
pub fn identity(pod: &str) -> String {
    let mut random = [0; 8];
    OsRng.try_fill_bytes(&mut random).expect("a system without random bytes cannot run this program at all");
    format!("{pod}_{}", hex::encode(random))
}

#[async_trait]
impl LeaseRecord for KubeLease {
    async fn call(&self, me: &str, call: &Call, timing: &Timing) -> Answer {
        match call {
            Call::Look => match self.api.get(&self.name).await {
                Ok(lease) => Answer::Found(record(&lease)),
                Err(error) => refused(&error),
            },
            Call::Create => {
                let lease = Lease {
                    metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                    spec: Some(LeaseSpec {
                        holder_identity: Some(me.to_owned()),
                        lease_duration_seconds: Some(seconds(timing.lease)),
                        acquire_time: Some(MicroTime(clock::wall_timestamp())),
                        renew_time: Some(MicroTime(clock::wall_timestamp())),
                        lease_transitions: Some(0),
                        ..LeaseSpec::default()
                    }),
                };
                written(self.api.create(&PostParams::default(), &lease).await)
            }
            Call::Take { version, transitions } => {
                let spec = json!({
                    "holderIdentity": me,
                    "leaseDurationSeconds": seconds(timing.lease),
                    "leaseTransitions": transitions,
                    "acquireTime": MicroTime(clock::wall_timestamp()),
                    "renewTime": MicroTime(clock::wall_timestamp()),
                });
                self.patch(version, spec).await
            }
            Call::Renew { version } => {
                self.patch(version, json!({"renewTime": MicroTime(clock::wall_timestamp())})).await
            }
            // The API server wants a duration above zero; nobody waits for it while there is no holder.
            Call::Release { version } => {
                let spec = json!({"holderIdentity": "", "renewTime": MicroTime(clock::wall_timestamp())});
                self.patch(version, spec).await
            }
        }
    }
}

impl KubeLease {
    async fn patch(&self, version: &str, spec: Value) -> Answer {
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": spec});
        written(self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await)
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    Record {
        version: lease.resource_version().unwrap_or_default(),
        holder: spec.holder_identity.unwrap_or_default(),
        lease: Duration::from_secs(seconds),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

fn written(answer: kube::Result<Lease>) -> Answer {
    match answer {
        Ok(lease) => Answer::Written(lease.resource_version().unwrap_or_default()),
        Err(error) => refused(&error),
    }
}

fn refused(error: &kube::Error) -> Answer {
    match error {
        kube::Error::Api(status) if status.code == 404 => Answer::Missing,
        kube::Error::Api(status) if status.code == 409 => Answer::Conflict,
        error => Answer::Failed(chain(error)),
    }
}

/// Whole seconds, rounded up, and at least one.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http_body_util::BodyExt;
    use hyper::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// Method and path of each request, and its body.
    type Asked = Arc<Mutex<Vec<(String, Value)>>>;

    /// An API server that answers every request with this, and what it was asked.
    fn server(status: u16, answer: Value) -> (KubeLease, Asked) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let (log, answer) = (Arc::clone(&log), answer.clone());
            async move {
                let line = format!("{} {}", request.method(), request.uri().path());
                let body = request.into_body().collect().await.expect("a body").to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                log.lock().expect("no panic").push((line, body));
                let answer = Response::builder().status(status).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, Infallible>(answer.expect("an answer"))
            }
        });
        (KubeLease::new(Client::new(service, "default"), "tenants", "operator"), asked)
    }

    fn lease(spec: &Value) -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "operator", "namespace": "tenants", "resourceVersion": "12"}, "spec": spec,
        })
    }

    fn status(code: u16, reason: &str) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code})
    }

    async fn call(lease: &KubeLease, call: Call) -> Answer {
        lease.call("me", &call, &Timing::default()).await
    }

    #[tokio::test]
    async fn a_record_is_read_also_when_nobody_ever_held_it() {
        let spec = json!({"holderIdentity": "other", "leaseDurationSeconds": 15, "leaseTransitions": 3});
        let (held, _) = server(200, lease(&spec));
        let (holder, seconds) = ("other".to_owned(), Duration::from_secs(15));
        let expected = Record { version: "12".to_owned(), holder, lease: seconds, transitions: 3 };
        assert_eq!(call(&held, Call::Look).await, Answer::Found(expected));
        let (fresh, _) = server(200, lease(&json!({})));
        let Answer::Found(record) = call(&fresh, Call::Look).await else { panic!("it is there") };
        assert_eq!((record.holder.as_str(), record.transitions), ("", 0));
    }

    #[tokio::test]
    async fn every_write_names_the_version_that_it_is_based_on_and_nothing_of_others() {
        let version = || "11".to_owned();
        for (write, holder, transitions) in [
            (Call::Take { version: version(), transitions: 4 }, Some("me"), Some(4)),
            (Call::Renew { version: version() }, None, None),
            (Call::Release { version: version() }, Some(""), None),
        ] {
            let (lease, asked) = server(200, lease(&json!({})));
            assert_eq!(call(&lease, write).await, Answer::Written("12".to_owned()));
            let (line, body) = asked.lock().expect("no panic").remove(0);
            assert_eq!(line, "PATCH /apis/coordination.k8s.io/v1/namespaces/tenants/leases/operator");
            assert_eq!(body["metadata"], json!({"resourceVersion": "11"}));
            assert_eq!(body["spec"]["holderIdentity"].as_str(), holder);
            assert_eq!(body["spec"]["leaseTransitions"].as_i64(), transitions);
            assert!(body["spec"]["renewTime"].is_string(), "{body}");
        }
    }

    #[tokio::test]
    async fn a_new_record_is_made_by_a_post_that_fails_when_it_exists() {
        let (lease, asked) = server(409, status(409, "AlreadyExists"));
        assert_eq!(call(&lease, Call::Create).await, Answer::Conflict);
        let (line, body) = asked.lock().expect("no panic").remove(0);
        assert_eq!(line, "POST /apis/coordination.k8s.io/v1/namespaces/tenants/leases");
        assert_eq!(body["spec"]["holderIdentity"], "me");
        assert_eq!(body["spec"]["leaseDurationSeconds"], 9);
    }

    #[tokio::test]
    async fn refusals_are_told_apart() {
        let renew = || Call::Renew { version: "11".to_owned() };
        for (code, reason, expected) in [(404, "NotFound", Answer::Missing), (409, "Conflict", Answer::Conflict)] {
            assert_eq!(call(&server(code, status(code, reason)).0, renew()).await, expected);
        }
        let (busy, asked) = server(429, status(429, "TooManyRequests"));
        assert!(matches!(call(&busy, renew()).await, Answer::Failed(reason) if reason.contains("TooManyRequests")));
        assert_eq!(asked.lock().expect("no panic").len(), 1, "asked once");
    }

    #[test]
    fn no_two_processes_share_a_name() {
        let [one, other] = [identity("operator-0"), identity("operator-0")];
        assert!(one.starts_with("operator-0_") && one != other);
    }
}
