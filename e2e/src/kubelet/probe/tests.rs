use std::net::Ipv4Addr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Answers one request with these bytes and returns what was asked.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> String {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(asked).unwrap()
}

async fn asked(action: serde_json::Value, bytes: &[u8]) -> (anyhow::Result<u16>, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let get: HTTPGetAction = serde_json::from_value(action).unwrap();
    let get = Get { address: listener.local_addr().unwrap(), get: &get };
    let serve = async {
        let stream = listener.accept().await.unwrap().0;
        answer(stream, bytes).await
    };
    tokio::join!(get.status(), serve)
}

#[tokio::test]
async fn a_probe_asks_as_a_kubelet_does() {
    let action = json!({"port": 1, "path": "readyz?verbose", "httpHeaders": [
        {"name": "Host", "value": "acme.example.com"}, {"name": "X-Probe", "value": "1"}]});
    let (status, asked) = asked(action, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno").await;
    assert_eq!(status.unwrap(), 503);
    let asked = asked.to_lowercase();
    for line in ["get /readyz?verbose http/1.1", "host: acme.example.com", "x-probe: 1", "user-agent: kube-probe/"] {
        assert!(asked.contains(line), "{line} in {asked}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let (status, _) = asked(json!({"port": 1}), b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nno").await;
    assert!(status.unwrap_err().to_string().contains("broke off"));
    let (status, _) = asked(json!({"port": 1}), b"").await;
    assert!(status.is_err());
}

#[tokio::test]
async fn a_long_body_is_cut() {
    let mut long = b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n".to_vec();
    long.resize(long.len() + 20_000, b'x');
    assert_eq!(asked(json!({"port": 1}), &long).await.0.unwrap(), 200);
}

#[tokio::test]
async fn https_accepts_any_certificate() {
    let key = rcgen::generate_simple_self_signed(["whoever".to_owned()]).unwrap();
    let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private.into())
        .unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let action: HTTPGetAction = serde_json::from_value(json!({"port": 1, "scheme": "HTTPS"})).unwrap();
    let get = Get { address: listener.local_addr().unwrap(), get: &action };
    let serve = async {
        let stream = listener.accept().await.unwrap().0;
        let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await
    };
    let (status, _) = tokio::join!(get.status(), serve);
    assert_eq!(status.unwrap(), 200);
}

#[test]
fn ports_have_numbers_or_names() {
    let container: Container =
        serde_json::from_value(json!({"name": "c", "ports": [{"name": "diag", "containerPort": 3000}]})).unwrap();
    let cases = [
        (IntOrString::Int(8080), Some(8080)),
        (IntOrString::String("diag".into()), Some(3000)),
        (IntOrString::String("8080".into()), Some(8080)),
        (IntOrString::String("web".into()), None),
        (IntOrString::Int(70_000), None),
        (IntOrString::Int(0), None),
    ];
    for (port, expected) in cases {
        assert_eq!(number(&container, &port), expected, "{port:?}");
    }
}
