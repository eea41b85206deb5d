//! One attempt of a probe: it asks once and says whether that was a success. When to ask, and what follows from the
//! answers, is for `health`. Probes never leave loopback.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::launch::Launch;

mod trust;

/// How much of a body is read.
const BODY: usize = 10 * 1024;

/// Asks once, without a time limit.
///
/// # Errors
/// Why the answer does not count as a success, in the words of a kubelet.
pub(super) async fn attempt(launch: &Launch, probe: &Probe) -> Result<(), String> {
    if let Some(get) = &probe.http_get {
        let status = http_get(launch, get).await?;
        // A redirect that is not followed is a success; a kubelet follows none to another host.
        if (200..400).contains(&status) { Ok(()) } else { Err(format!("HTTP probe failed with statuscode: {status}")) }
    } else if let Some(socket) = &probe.tcp_socket {
        let address = address(launch, socket.host.as_deref(), &socket.port)?;
        TcpStream::connect(address).await.map(drop).map_err(|error| format!("dial tcp {address}: {error}"))
    } else if let Some(exec) = &probe.exec {
        match launch.exec(exec.command.clone().unwrap_or_default())?.exit().await {
            0 => Ok(()),
            code => Err(format!("command exited with {code}")),
        }
    } else {
        Err("probes of this type are not supported here".into())
    }
}

/// The status of a GET.
///
/// # Errors
/// Why there is none.
pub(super) async fn http_get(launch: &Launch, get: &HTTPGetAction) -> Result<u16, String> {
    let address = address(launch, get.host.as_deref(), &get.port)?;
    let asked = Get { address, get }.status().await;
    asked.map_err(|error| format!("Get \"{}\": {error:#}", Get { address, get }.url()))
}

fn address(launch: &Launch, host: Option<&str>, port: &IntOrString) -> Result<SocketAddr, String> {
    let ip: IpAddr = match host.filter(|host| !host.is_empty()) {
        None => launch.sandbox.address.into(),
        Some(host) => host.parse().map_err(|_| format!("{host} is no address"))?,
    };
    let port = number(&launch.container, port).ok_or_else(|| format!("container has no port {port:?}"))?;
    if ip.is_loopback() { Ok(SocketAddr::new(ip, port)) } else { Err(format!("{ip} is not on loopback")) }
}

/// A port by number or by its name in the container.
fn number(container: &Container, port: &IntOrString) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number != 0)
}

struct Get<'a> {
    address: SocketAddr,
    get: &'a HTTPGetAction,
}

impl Get<'_> {
    fn secure(&self) -> bool {
        self.get.scheme.as_deref() == Some("HTTPS")
    }

    fn path(&self) -> String {
        let path = self.get.path.as_deref().unwrap_or_default();
        if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
    }

    fn url(&self) -> String {
        format!("{}://{}{}", if self.secure() { "https" } else { "http" }, self.address, self.path())
    }

    async fn status(&self) -> anyhow::Result<u16> {
        let stream = TcpStream::connect(self.address).await?;
        if self.secure() {
            let connector = TlsConnector::from(Arc::new(trust::anybody()?));
            self.talk(connector.connect(ServerName::from(self.address.ip()), stream).await?).await
        } else {
            self.talk(stream).await
        }
    }

    async fn talk<S>(&self, stream: S) -> anyhow::Result<u16>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut request = Request::get(self.path());
        let mut host = self.address.to_string();
        for header in self.get.http_headers.iter().flatten() {
            if header.name.eq_ignore_ascii_case("host") {
                host.clone_from(&header.value);
            } else {
                request = request.header(&header.name, &header.value);
            }
        }
        let request = request
            .header(HOST, host)
            .header(USER_AGENT, "kube-probe/1.37")
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            ensure!(!status.is_redirection() || response.headers().contains_key(LOCATION), "a redirect to nowhere");
            // To read it is what tells a server that broke off from one that answered.
            let (mut body, mut read) = (response.into_body(), 0);
            while read < BODY
                && let Some(frame) = body.frame().await
            {
                read += frame.context("the response broke off")?.data_ref().map_or(0, Bytes::len);
            }
            Ok(status.as_u16())
        };
        // The connection has to be driven while the exchange runs. When it breaks the exchange learns it by itself.
        let (status, _) = futures::join!(exchange, connection);
        status
    }
}

#[cfg(test)]
mod tests;
