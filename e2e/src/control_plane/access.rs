//! How to reach an API server: the administrator's kubeconfig, tokens of ServiceAccounts, and the keys that verify them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde::Deserialize;
use serde_json::Value;

use super::kubeconfig::{self, Credentials, Server};

/// An API server as seen by its administrator.
pub(super) struct Access {
    pub(super) kubeconfig: PathBuf,
    pub(super) client: kube::Client,
    pub(super) url: String,
    /// File, PEM.
    pub(super) authority: PathBuf,
    directory: PathBuf,
}

/// Who signs the tokens of ServiceAccounts.
pub(super) struct Issuer {
    pub(super) name: String,
    /// JSON Web Key Set.
    pub(super) keys: Value,
}

impl Access {
    /// Reads the administrator's kubeconfig; files for others are written to `directory`.
    pub(super) async fn open(kubeconfig: &Path, directory: &Path) -> anyhow::Result<Access> {
        let config = kubeconfig::config(kubeconfig).await?;
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let authority = directory.join("ca.crt");
        let pem = match (&config.root_cert, &config.root_cert_file) {
            (Some(certificates), _) => certificates.iter().map(|der| certificate_pem(der)).collect(),
            (None, Some(file)) => {
                fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
            }
            (None, None) => String::new(),
        };
        ensure!(!pem.is_empty(), "{} names no certificate authority for {url}", kubeconfig.display());
        fs::write(&authority, pem).with_context(|| format!("cannot write {}", authority.display()))?;
        let client = kubeconfig::client(kubeconfig).await?;
        let kubeconfig = kubeconfig.to_owned();
        Ok(Access { kubeconfig, client, url, authority, directory: directory.to_owned() })
    }

    pub(super) async fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
        lifetime: Duration,
    ) -> anyhow::Result<PathBuf> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(i64::try_from(lifetime.as_secs()).context("the lifetime is too long")?),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("cannot get a token of ServiceAccount {namespace}/{name}"))?;
        let token = answer.status.and_then(|status| status.token);
        let token = token.with_context(|| format!("no token of ServiceAccount {namespace}/{name}"))?;
        let authority =
            fs::read_to_string(&self.authority).with_context(|| format!("cannot read {}", self.authority.display()))?;
        let path = self.directory.join(format!("{namespace}.{name}.kubeconfig"));
        kubeconfig::write(&path, &Server { url: self.url.clone(), authority }, &Credentials::Token(&token))?;
        Ok(path)
    }

    /// What the discovery endpoints say, which is all that a cloud provider learns about a cluster.
    pub(super) async fn token_issuer(&self) -> anyhow::Result<Issuer> {
        #[derive(Deserialize)]
        struct Configuration {
            issuer: String,
        }
        let configuration: Configuration = self.document("/.well-known/openid-configuration").await?;
        Ok(Issuer { name: configuration.issuer, keys: self.document("/openid/v1/jwks").await? })
    }

    async fn document<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let request = Request::get(path).body(Vec::new()).context("cannot make a request")?;
        // As text: the key set is of a media type of its own.
        let text = self.client.request_text(request).await;
        let text = text.with_context(|| format!("the API server does not answer {path}"))?;
        serde_json::from_str(&text).with_context(|| format!("cannot read the API server's {path}"))
    }
}

/// RFC 7468: 64 characters per line.
fn certificate_pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn pem_reads_back() {
        let der: Vec<u8> = (0..=200).collect();
        let pem = certificate_pem(&der);
        assert_eq!(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().as_ref(), der);
        assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
    }
}
