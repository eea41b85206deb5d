//! Resources that Auth reads from files: the certificate authorities at its first start, the join token at every start.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::config::yaml;
use crate::keys::{Authorities, Authority, Sensitive};

/// `--bootstrap`: both authorities. Auth 18 writes the resources one by one and never reads the file again once the host
/// authority is there, so that one comes last.
pub fn bootstrap(domain: &str, authorities: &Authorities) -> String {
    let Authorities { host, user, web: _ } = authorities;
    [("user", user), ("host", host)]
        .map(|(kind, authority)| yaml(authority_resource(domain, kind, authority)))
        .join("---\n")
}

/// `--apply-on-startup`: the token by which Proxy joins. Its name is the secret itself.
pub fn apply_on_startup(token: &Sensitive) -> String {
    yaml(json!({
        "kind": "token",
        "version": "v2",
        "metadata": {"name": token.0, "expires": "2050-01-01T00:00:00Z"},
        "spec": {"roles": ["Proxy"], "join_method": "token"},
    }))
}

/// One `cert_authority` resource: key material is the base64 of its text form.
fn authority_resource(domain: &str, kind: &str, authority: &Authority) -> Value {
    // Auth reads the file when it has no authorities yet, of which none is being rotated then.
    let Authority { certificate, key, ssh_public, ssh_key, trusted: _ } = authority;
    let encoded = |text: &str| STANDARD.encode(text);
    json!({
        "kind": "cert_authority",
        "version": "v2",
        "sub_kind": kind,
        "metadata": {"name": domain},
        "spec": {
            "type": kind,
            "cluster_name": domain,
            "active_keys": {
                "ssh": [{"public_key": encoded(ssh_public), "private_key": encoded(&ssh_key.0)}],
                "tls": [{"cert": encoded(certificate), "key": encoded(&key.0)}],
            },
        },
    })
}
