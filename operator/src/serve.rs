//! Probes and metrics over HTTP, and what the probes are judged by. Nothing here touches a tenant.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::{self, Metrics};

/// Open connections are given this long after a stop.
const GRACE: Duration = Duration::from_secs(2);

/// What the process knows about its own state.
#[derive(Debug, Default)]
pub struct Health {
    loops: Mutex<BTreeMap<&'static str, Loop>>,
    standby: AtomicBool,
    policy_loaded: AtomicBool,
    synced: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Loop {
    last: Instant,
    limit: Duration,
}

/// The pulse of one loop. Dropped, the loop has ended and is no longer watched.
#[derive(Debug)]
pub struct Pulse {
    health: Arc<Health>,
    name: &'static str,
}

impl Pulse {
    /// The loop makes progress.
    pub fn beat(&self) {
        if let Some(watched) = self.health.loops().get_mut(self.name) {
            watched.last = Instant::now();
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.health.loops().remove(self.name);
    }
}

impl Health {
    /// Watches a loop: it counts as stuck when it has not beaten for `limit`. One pulse per name.
    pub fn watch(self: &Arc<Health>, name: &'static str, limit: Duration) -> Pulse {
        let before = self.loops().insert(name, Loop { last: Instant::now(), limit });
        assert!(before.is_none(), "two loops are called {name}");
        Pulse { health: Arc::clone(self), name }
    }

    /// Whether this process waits for the lead; a standby is ready.
    pub fn set_standby(&self, standby: bool) {
        self.standby.store(standby, Ordering::Relaxed);
    }

    /// Whether a fleet policy is in force.
    pub fn set_policy_loaded(&self, loaded: bool) {
        self.policy_loaded.store(loaded, Ordering::Relaxed);
    }

    /// Whether the caches hold the whole cluster.
    pub fn set_synced(&self, synced: bool) {
        self.synced.store(synced, Ordering::Relaxed);
    }

    /// Loops that have not beaten in time.
    fn stuck(&self, now: Instant) -> Vec<String> {
        let loops = self.loops();
        let silent = loops.iter().map(|(name, watched)| (name, now.saturating_duration_since(watched.last), watched));
        let stuck = silent.filter(|(_, silence, watched)| *silence > watched.limit);
        stuck.map(|(name, silence, _)| format!("{name} has made no progress for {} s", silence.as_secs())).collect()
    }

    /// What this process still waits for.
    fn missing(&self) -> Vec<String> {
        if self.standby.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let facts =
            [(&self.policy_loaded, "the fleet policy is not loaded"), (&self.synced, "the caches are not synced")];
        let missing = facts.into_iter().filter(|(fact, _)| !fact.load(Ordering::Relaxed));
        missing.map(|(_, text)| text.to_owned()).collect()
    }

    fn loops(&self) -> MutexGuard<'_, BTreeMap<&'static str, Loop>> {
        self.loops.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Answers `/healthz`, `/readyz` and `/metrics` until `stop`.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(async |State(health): State<Arc<Health>>| verdict(health.stuck(Instant::now()))))
        .route("/readyz", get(async |State(health): State<Arc<Health>>| verdict(health.missing())))
        .with_state(health)
        .route("/metrics", get(async move || ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text())));
    let stopped = stop.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { stopped.cancelled().await });
    tokio::select! {
        result = async { server.await } => result,
        // A client that keeps its request open must not keep the process.
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

fn verdict(problems: Vec<String>) -> impl IntoResponse {
    match problems.as_slice() {
        [] => (StatusCode::OK, "ok\n".to_owned()),
        problems => (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    use super::*;

    struct Running {
        address: std::net::SocketAddr,
        health: Arc<Health>,
        stop: CancellationToken,
        server: JoinHandle<io::Result<()>>,
    }

    async fn running() -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (health, stop) = (Arc::new(Health::default()), CancellationToken::new());
        let server = serve(listener, Arc::clone(&health), Arc::new(Metrics::default()), stop.clone());
        Running { address, health, stop, server: tokio::spawn(server) }
    }

    impl Running {
        async fn get(&self, path: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.expect("connect");
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("ask");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("answer");
            answer
        }
    }

    #[tokio::test]
    async fn a_stuck_loop_fails_the_liveness_probe() {
        let running = running().await;
        assert!(running.get("/healthz").await.starts_with("HTTP/1.1 200"));
        let _alive = running.health.watch("renewal", Duration::from_secs(3600));
        let stuck = running.health.watch("queue", Duration::ZERO);
        let answer = running.get("/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("queue has made no progress") && !answer.contains("renewal"), "{answer}");
        drop(stuck);
        assert!(running.get("/healthz").await.starts_with("HTTP/1.1 200"), "a loop that ended is not watched");
    }

    fn last(health: &Health) -> Instant {
        health.loops()["queue"].last
    }

    #[test]
    fn a_beat_counts_as_progress() {
        let health = Arc::new(Health::default());
        let pulse = health.watch("queue", Duration::from_secs(10));
        let begun = last(&health);
        assert_eq!(health.stuck(begun + Duration::from_secs(12)), ["queue has made no progress for 12 s"]);
        while last(&health) == begun {
            pulse.beat();
        }
        assert!(health.stuck(last(&health) + Duration::from_secs(9)).is_empty());
    }

    #[tokio::test]
    async fn ready_is_a_standby_or_a_leader_that_knows_everything() {
        let running = running().await;
        let answer = running.get("/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("policy is not loaded") && answer.contains("caches are not synced"), "{answer}");
        running.health.set_standby(true);
        assert!(running.get("/readyz").await.starts_with("HTTP/1.1 200"));
        running.health.set_standby(false);
        running.health.set_policy_loaded(true);
        running.health.set_synced(true);
        assert!(running.get("/readyz").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn metrics_come_in_their_format_and_a_stop_ends_the_server() {
        let running = running().await;
        let answer = running.get("/metrics").await;
        assert!(answer.contains(metrics::CONTENT_TYPE) && answer.contains("# EOF"), "{answer}");
        // A client that never finishes its request.
        let mut idle = TcpStream::connect(running.address).await.expect("connect");
        idle.write_all(b"GET /metr").await.expect("half a request");
        running.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), running.server).await;
        ended.expect("it ends").expect("no panic").expect("no error");
    }
}
