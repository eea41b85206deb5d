//! Kubeconfig files and the clients that come from them.

use std::fs;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::pki::Pair;

/// An API server and whom to trust for it.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) url: String,
    /// PEM.
    pub(super) authority: String,
}

/// How a client shows who it is.
pub(super) enum Credentials<'a> {
    Certificate(&'a Pair),
    Token(&'a str),
}

/// Writes a kubeconfig that holds everything inline, so that it can be copied.
pub(super) fn write(path: &Path, server: &Server, credentials: &Credentials<'_>) -> anyhow::Result<()> {
    let user = match credentials {
        Credentials::Certificate(pair) => json!({
            "client-certificate-data": STANDARD.encode(&pair.public),
            "client-key-data": STANDARD.encode(&pair.private),
        }),
        Credentials::Token(token) => json!({ "token": token }),
    };
    // JSON is YAML, and no writer folds long tokens in it.
    fs::write(path, format!("{:#}\n", document(server, &user)))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn document(server: &Server, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "test-bed",
            "cluster": {
                "server": server.url,
                "certificate-authority-data": STANDARD.encode(&server.authority),
            },
        }],
        "users": [{ "name": "test-bed", "user": user }],
        "contexts": [{ "name": "test-bed", "context": { "cluster": "test-bed", "user": "test-bed" } }],
        "current-context": "test-bed",
    })
}

/// A client that is what the kubeconfig says.
pub(super) async fn client(path: &Path) -> anyhow::Result<kube::Client> {
    let config = config(path).await?;
    kube::Client::try_from(config).with_context(|| format!("cannot make a client from {}", path.display()))
}

/// The client configuration that the kubeconfig asks for.
pub(super) async fn config(path: &Path) -> anyhow::Result<kube::Config> {
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.with_context(|| format!("cannot use {}", path.display()))?;
    // Variables such as HTTPS_PROXY are for the world outside.
    config.proxy_url = None;
    Ok(config)
}
