//! A way into a running test bed from another terminal: agents and the operator's clock live in its process, and whoever
//! looks at the demo wants to move both. HTTP on loopback, for as long as the server is not dropped.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use teleport_standin::World;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::testbed::{Clock, agent, move_agents};

/// More than any list of agents that a person writes.
const LARGEST_REQUEST: usize = 1 << 20;

/// `POST /agents`: what to do with the agents of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agents {
    /// Teleport cluster name.
    pub domain: String,
    /// What to do.
    #[serde(flatten)]
    pub change: Change,
}

/// What to do with agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// These take the place of all there are.
    Agents(Vec<NewAgent>),
    /// Some run another version from now on.
    Move(Move),
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAgent {
    /// Host name.
    pub hostname: String,
    /// Version.
    pub version: String,
    /// Services, such as `Node` and `Kube`.
    pub services: Vec<String>,
}

/// Which agents, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Move {
    /// Version.
    pub to: String,
    /// Host names; none = all.
    #[serde(default)]
    pub hostnames: Vec<String>,
}

/// `POST /clock`: how to set the clock by which the operator decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SetClock {
    /// By so many seconds, back if negative.
    AdvanceSeconds(i64),
    /// To this time.
    To(DateTime<Utc>),
}

/// The running server.
#[derive(Debug)]
pub struct Remote {
    url: String,
    task: JoinHandle<()>,
}

impl Remote {
    /// Serves on a free port of this address.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn start(address: Ipv4Addr, world: Arc<World>, clock: Clock) -> anyhow::Result<Remote> {
        let listener = TcpListener::bind((address, 0)).await.with_context(|| format!("cannot listen on {address}"))?;
        let url = format!("http://{}", listener.local_addr().context("a listener has an address")?);
        let task = tokio::spawn(serve(listener, Levers { world, clock }));
        Ok(Remote { url, task })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Levers {
    world: Arc<World>,
    clock: Clock,
}

async fn serve(listener: TcpListener, levers: Levers) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let levers = levers.clone();
                let service = service_fn(move |request| answer(levers.clone(), request));
                // Whoever hangs up early has no interest in the outcome.
                connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(levers: Levers, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (status, body) = match levers.handle(request).await {
        Ok(Some(answer)) => (StatusCode::OK, answer),
        Ok(None) => (StatusCode::NOT_FOUND, json!({"error": "there are POST /agents and POST /clock"})),
        Err(error) => (StatusCode::BAD_REQUEST, json!({"error": format!("{error:#}")})),
    };
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = status;
    Ok(response)
}

impl Levers {
    async fn handle(&self, request: Request<Incoming>) -> anyhow::Result<Option<Value>> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            return Ok(None);
        }
        let body = Limited::new(body, LARGEST_REQUEST).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
        match head.uri.path() {
            "/agents" => self.agents(serde_json::from_slice(&body).context("this is no request for agents")?).map(Some),
            "/clock" => self.clock(serde_json::from_slice(&body).context("this is no time")?).await.map(Some),
            _ => Ok(None),
        }
    }

    fn agents(&self, Agents { domain, change }: Agents) -> anyhow::Result<Value> {
        let changed = match change {
            Change::Agents(agents) => {
                let made = agents.iter().map(|NewAgent { hostname, version, services }| {
                    let services: Vec<&str> = services.iter().map(String::as_str).collect();
                    agent(hostname, version, &services)
                });
                self.world.set_agents(&domain, made.collect());
                agents.len()
            }
            Change::Move(Move { to, hostnames }) => match move_agents(&self.world, &domain, &hostnames, &to) {
                0 => bail!("{domain} has no such agent"),
                moved => moved,
            },
        };
        Ok(json!({"changed": changed, "agents": self.world.agents(&domain).len()}))
    }

    async fn clock(&self, request: SetClock) -> anyhow::Result<Value> {
        let now = match request {
            SetClock::AdvanceSeconds(seconds) => {
                let by = TimeDelta::try_seconds(seconds).context("nobody lives that long")?;
                self.clock.advance(by).await?
            }
            SetClock::To(time) => self.clock.set(time).await?,
        };
        Ok(json!({"now": now}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Http;
    use crate::testbed::pretended_clock;

    const DOMAIN: &str = "acme.example.com";

    #[tokio::test]
    async fn agents_are_set_and_moved_from_outside() {
        let (directory, world) = (tempfile::tempdir().unwrap(), World::new());
        let clock = pretended_clock(directory.path(), "with a test clock");
        let remote = Remote::start(Ipv4Addr::LOCALHOST, world.clone(), clock).await.unwrap();
        let http = Http::new("").unwrap();
        let ask = async |body: Value| {
            let answer = http.post(&format!("{}/agents", remote.url()), &body).await.unwrap();
            (answer.status.as_u16(), serde_json::from_slice::<Value>(&answer.body).unwrap())
        };
        let nodes =
            ["node-1", "node-2"].map(|name| json!({"hostname": name, "version": "17.5.2", "services": ["Node"]}));
        let set = ask(json!({"domain": DOMAIN, "agents": nodes})).await;
        assert_eq!(set, (200, json!({"changed": 2, "agents": 2})));
        let moved = ask(json!({"domain": DOMAIN, "move": {"to": "18.1.0", "hostnames": ["node-2"]}})).await;
        assert_eq!(moved, (200, json!({"changed": 1, "agents": 2})));
        let versions: Vec<String> = world.agents(DOMAIN).into_iter().map(|agent| agent.version).collect();
        assert_eq!(versions, ["17.5.2", "18.1.0"]);
        let (status, refused) = ask(json!({"domain": "nobody.example.com", "move": {"to": "18.1.0"}})).await;
        assert_eq!((status, &refused["error"]), (400, &json!("nobody.example.com has no such agent")));
        assert_eq!(ask(json!({"domain": DOMAIN})).await.0, 400);
    }

    #[tokio::test]
    async fn the_clock_is_moved_from_outside() {
        let directory = tempfile::tempdir().unwrap();
        let clock = pretended_clock(directory.path(), "with a test clock");
        let remote = Remote::start(Ipv4Addr::LOCALHOST, World::new(), clock.clone()).await.unwrap();
        let http = Http::new("").unwrap();
        let request = serde_json::to_value(SetClock::AdvanceSeconds(28_800)).unwrap();
        http.post(&format!("{}/clock", remote.url()), &request).await.unwrap().success().unwrap();
        let ahead = clock.now().unwrap() - Utc::now();
        assert!((28_795..=28_800).contains(&ahead.num_seconds()), "{ahead}");
        assert_eq!(http.get(&format!("{}/clock", remote.url())).await.unwrap().status, 404);
    }
}
