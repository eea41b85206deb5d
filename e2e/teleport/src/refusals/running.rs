//! A process under test: its log, its end, and what its diagnostic address says.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// No test waits longer for a fact.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A started process with the directory that is its root.
pub(super) struct Running {
    pub(super) address: IpAddr,
    pub(super) log: Arc<Mutex<String>>,
    pub(super) terminate: CancellationToken,
    pub(super) handle: JoinHandle<i32>,
    pub(super) _root: tempfile::TempDir,
}

impl Running {
    /// Waits for its end; the exit code and the whole log.
    pub(super) async fn ended(self) -> (i32, String) {
        let ended = tokio::time::timeout(DEADLINE, self.handle).await;
        let log = self.log.lock().unwrap().clone();
        match ended {
            Ok(code) => (code.unwrap(), log),
            Err(_) => panic!("still running:\n{log}"),
        }
    }

    /// SIGTERM, then its end.
    pub(super) async fn stopped(self) -> (i32, String) {
        self.terminate.cancel();
        self.ended().await
    }

    pub(super) fn text(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has a text after some position.
    pub(super) async fn says(&self, text: &str, from: usize) {
        self.until(|| async { self.text()[from..].contains(text) }, text).await;
    }

    /// Waits until `/readyz` answers with a status.
    pub(super) async fn readiness(&self, status: u16) {
        let wanted = || async { self.diag("/readyz").await.is_some_and(|(code, _)| code == status) };
        self.until(wanted, &format!("/readyz {status}")).await;
    }

    pub(super) async fn diag(&self, path: &str) -> Option<(u16, String)> {
        get(SocketAddr::new(self.address, 3000), path).await
    }

    async fn until<Check, Answer>(&self, check: Check, what: &str)
    where
        Check: Fn() -> Answer,
        Answer: Future<Output = bool>,
    {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !check().await {
            assert!(!self.handle.is_finished(), "ended before {what}:\n{}", self.text());
            assert!(tokio::time::Instant::now() < deadline, "no {what} in time:\n{}", self.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A plain HTTP GET: status and body.
pub(super) async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let stream = TcpStream::connect(address).await.ok()?;
    get_over(stream, path).await
}

/// The same over any stream.
pub(super) async fn get_over<S>(mut stream: S, path: &str) -> Option<(u16, String)>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let request = format!("GET {path} HTTP/1.1\r\nHost: acme.example.com\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // A peer that closes without TLS's goodbye has said all the same.
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
}
