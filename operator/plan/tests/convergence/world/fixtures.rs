//! What every world begins with: the fleet policy, the feed and the key material.

use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use plan::feed::Feed;
use plan::fleet::Installation;
use plan::keys::{
    Authorities, Authority, CertificateFacts, METRICS_LIFETIME, METRICS_RENEWAL, MetricsKeys, Sensitive, WebIssuer,
};
use plan::observed::AuthoritySecret;

pub const INSTALLATION: &str = r#"
id: eu1
aws: {accounts: [{id: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com/id/1, rolePath: /tenancy/eu1/}]}
acme: {directory: "https://acme.example.com/directory", dns: {route53: [{zone: example.com}]}}
portPools: [{name: default, start: 11100, end: 31099}]
images: {enterprise: example.com/teleport-ent-distroless, community: example.com/teleport-distroless}
"#;

pub const FEED: &str = r#"
releases:
  - {version: 16.4.3, releasedAt: 2026-01-01T00:00:00Z}
  - {version: 17.5.2, releasedAt: 2026-03-01T00:00:00Z}
  - {version: 17.5.3, releasedAt: 2026-03-10T00:00:00Z}
  - {version: 18.1.0, releasedAt: 2026-05-01T00:00:00Z}
  - {version: 18.1.1, releasedAt: 2026-06-01T00:00:00Z}
  - {version: 18.2.0, releasedAt: 2026-07-01T00:00:00Z}
channels: {stable: {soak: {patch: 24h, minor: 72h, major: 720h}}}
"#;

/// Read once: worlds are made by the thousand.
pub static INSTALLED: LazyLock<Installation> =
    LazyLock::new(|| Installation::parse(INSTALLATION).expect("a fleet policy"));
pub static FED: LazyLock<Feed> = LazyLock::new(|| Feed::parse(FEED).expect("a feed"));

/// When every world begins.
pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).expect("in range")
}

pub fn certificate(now: DateTime<Utc>) -> CertificateFacts {
    CertificateFacts {
        not_before: now,
        not_after: now + TimeDelta::days(3650),
        names: Vec::new(),
        issuer: "CN=acme".into(),
        subject: "CN=acme".into(),
    }
}

pub fn authorities(number: u32) -> AuthoritySecret {
    let made = start();
    let authority = |name: &str| Authority {
        certificate: format!("{name} certificate {number}\n"),
        key: Sensitive(format!("{name} key {number}\n")),
        ssh_public: format!("ssh-ed25519 {name}{number}\n"),
        ssh_key: Sensitive(format!("{name} ssh key {number}\n")),
        trusted: String::new(),
    };
    AuthoritySecret {
        authorities: Authorities {
            host: authority("host"),
            user: authority("user"),
            web: WebIssuer {
                certificate: "web certificate\n".into(),
                key: Sensitive("web key\n".into()),
                trusted: String::new(),
            },
        },
        host: certificate(made),
        user: certificate(made),
        metrics: metrics(number, 0),
    }
}

/// What follows from the authorities of this number; a `renewal` is another one.
pub fn metrics(number: u32, renewal: i32) -> MetricsKeys {
    let text = |what: &str| format!("{what} {number} {renewal}\n");
    MetricsKeys {
        authority: format!("metrics authority {number}\n"),
        server_certificate: text("metrics certificate"),
        server_key: Sensitive(text("metrics key")),
        server_name: "acme.metrics.tenancy.dev".into(),
        scraper_certificate: text("scraper certificate"),
        scraper_key: Sensitive(text("scraper key")),
        not_after: start() + METRICS_RENEWAL * renewal + METRICS_LIFETIME,
    }
}
