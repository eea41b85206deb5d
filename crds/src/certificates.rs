//! `Tenant.spec.certificates`: who issues what users see; and `Tenant.status.issuance`: how far that is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who issues the tenant's certificates.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The certificate that browsers and clients see.
    #[serde(default)]
    pub web: WebCertificate,
}

/// The web certificate: for the domain and, by a wildcard, for everything right below it.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.issuer != 'CertManager' || has(self.issuerRef)")
    .message("spec.certificates.web.issuerRef is required for issuer CertManager: name the Issuer or ClusterIssuer of cert-manager"))]
#[x_kube(validation = Rule::new("self.issuer == 'CertManager' || !has(self.issuerRef)")
    .message("spec.certificates.web.issuerRef needs spec.certificates.web.issuer CertManager: leave it out, or change the issuer"))]
pub struct WebCertificate {
    /// `Tenant`: an authority of the tenant's own, which every client has to be told to trust. `Acme`: the ACME server of the
    /// fleet policy, such as Let's Encrypt; the domain must lie in a Route 53 zone that the fleet policy names. `CertManager`:
    /// the issuer of cert-manager that `issuerRef` names. A certificate of the former issuer serves until the one of the new
    /// issuer is there; neither restarts anything. Default `Tenant`.
    #[serde(default)]
    pub issuer: Issuer,
    /// The issuer of cert-manager; with issuer `CertManager`, and only there. One that is named instead of another issues a new
    /// certificate, and the former one serves until it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

/// An issuer of cert-manager.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("self.group != 'cert-manager.io' || self.kind == 'Issuer' || self.kind == 'ClusterIssuer'")
    .message("spec.certificates.web.issuerRef.kind must be Issuer or ClusterIssuer: another kind needs its own spec.certificates.web.issuerRef.group"))]
pub struct IssuerRef {
    /// Its name, such as `letsencrypt`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$')")
        .message("spec.certificates.web.issuerRef.name must be the name of an object: lower-case letters, digits, '-' and '.'"))]
    pub name: String,
    /// `Issuer`: one in the tenant's own namespace. `ClusterIssuer`: one of the whole cluster. Issuers that others have made for
    /// cert-manager have kinds of their own, in a group of their own. Default `Issuer`, as in cert-manager itself.
    #[serde(default = "issuer_kind")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z][A-Za-z0-9]{0,62}$')")
        .message("spec.certificates.web.issuerRef.kind must be a kind such as ClusterIssuer: a capital letter, then letters and digits"))]
    pub kind: String,
    /// The API group of the kind. Default `cert-manager.io`.
    #[serde(default = "issuer_group")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$')")
        .message("spec.certificates.web.issuerRef.group must be an API group such as cert-manager.io"))]
    pub group: String,
}

fn issuer_kind() -> String {
    "Issuer".into()
}

fn issuer_group() -> String {
    "cert-manager.io".into()
}

/// Who issues the web certificate.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Issuer {
    /// An authority of the tenant's own.
    #[default]
    Tenant,
    /// The ACME server of the fleet policy.
    Acme,
    /// An issuer of cert-manager.
    CertManager,
}

impl Issuer {
    /// The word as it stands in the API.
    pub fn word(self) -> &'static str {
        match self {
            Issuer::Tenant => "Tenant",
            Issuer::Acme => "Acme",
            Issuer::CertManager => "CertManager",
        }
    }
}

/// What cert-manager makes the web certificate from, and into.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CertManagerObjects {
    /// Name of the Certificate in the tenant's namespace: `kubectl describe certificate` tells what cert-manager makes of it.
    #[schemars(length(max = 253))]
    pub certificate: String,
    /// Name of the Secret that cert-manager writes. The operator copies it into the Secret that Proxy reads.
    #[schemars(length(max = 253))]
    pub secret_name: String,
}

/// A web certificate that is being issued by an ACME server.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Issuance {
    /// Why it is issued.
    pub kind: IssuanceKind,
    /// Since when it is wanted: of two first certificates, the one that was wanted first is ordered first.
    pub requested_at: Time,
    /// The certificate that it replaces, as the server knows it (RFC 9773): such an order counts against no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub replaces: Option<String>,
    /// Place in the line of those that wait for the limits of the ACME server, from 1; absent when it is not in line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<i32>,
    /// When it is ordered at the latest, as things stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_at: Option<Time>,
    /// URL of the order that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub order: Option<String>,
    /// The Route 53 zone in which the records of the challenges are made, recorded before they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub zone: Option<String>,
    /// Orders of it that failed.
    #[serde(default)]
    pub failures: i32,
    /// What the last one failed of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub problem: Option<String>,
    /// Whether that is for a person to mend; else it is a matter of time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_person: bool,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
}

/// Why a certificate is issued.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuanceKind {
    /// There is none of this issuer yet.
    First,
    /// The one that is there nears its end.
    Renewal,
}
