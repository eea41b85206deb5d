//! Key material of nobody, for what is rendered.

use chrono::DateTime;
use plan::keys::{Authorities, Authority, MetricsKeys, Sensitive, WebIssuer};

pub fn authorities() -> Authorities {
    let authority = |name: &str| Authority {
        certificate: format!("{name} certificate\n"),
        key: Sensitive(format!("{name} key\n")),
        ssh_public: format!("ssh-ed25519 {name}\n"),
        ssh_key: Sensitive(format!("{name} ssh key\n")),
        trusted: String::new(),
    };
    Authorities {
        host: authority("host"),
        user: authority("user"),
        web: WebIssuer { certificate: "web\n".into(), key: Sensitive("web key\n".into()), trusted: String::new() },
    }
}

pub fn metrics() -> MetricsKeys {
    MetricsKeys {
        authority: "metrics authority\n".into(),
        server_certificate: "metrics certificate\n".into(),
        server_key: Sensitive("metrics key\n".into()),
        server_name: "0123456789abcdef.metrics.tenancy.dev".into(),
        scraper_certificate: "scraper certificate\n".into(),
        scraper_key: Sensitive("scraper key\n".into()),
        not_after: DateTime::from_timestamp(1_820_000_000, 0).expect("in range"),
    }
}
