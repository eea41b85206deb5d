//! Key material of nobody, for what is rendered.

use plan::keys::{Authorities, Authority, Sensitive, WebIssuer};

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
