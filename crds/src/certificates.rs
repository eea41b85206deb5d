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
pub struct WebCertificate {
    /// `Tenant`: an authority of the tenant's own, which every client has to be told to trust. `Acme`: the ACME server of the
    /// fleet policy, such as Let's Encrypt; the domain must lie in a Route 53 zone that the fleet policy names. A certificate of
    /// the former issuer serves until the one of the new issuer is there; neither restarts anything. Default `Tenant`.
    #[serde(default)]
    pub issuer: Issuer,
}

/// Who issues the web certificate.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Issuer {
    /// An authority of the tenant's own.
    #[default]
    Tenant,
    /// The ACME server of the fleet policy.
    Acme,
}

impl Issuer {
    /// The word as it stands in the API.
    pub fn word(self) -> &'static str {
        match self {
            Issuer::Tenant => "Tenant",
            Issuer::Acme => "Acme",
        }
    }
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
