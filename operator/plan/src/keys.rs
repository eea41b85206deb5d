//! Key material of one tenant as it lies in its Secrets, and its layout there. Making keys needs randomness and
//! happens in the operator; this module only names, carries and checks them.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use crds::tenant_status::TenantStatus;

/// Keys of the authority Secret. PEM text, but for the `.pub` entries, which are authorized_keys lines.
pub mod entry {
    /// Host authority, X.509 certificate (P-256).
    pub const HOST_CERTIFICATE: &str = "host-ca.crt";
    /// Host authority, X.509 private key, PKCS#8.
    pub const HOST_KEY: &str = "host-ca.key";
    /// Further X.509 certificates of host authorities that are trusted and do not sign; only while they are being rotated.
    pub const HOST_TRUSTED: &str = "host-ca-trusted.crt";
    /// The same of user authorities.
    pub const USER_TRUSTED: &str = "user-ca-trusted.crt";
    /// Certificates of former issuers of web certificates; only where the issuer was lost.
    pub const WEB_TRUSTED: &str = "web-ca-trusted.crt";
    /// Host authority, SSH public key (Ed25519).
    pub const HOST_SSH_PUBLIC: &str = "host-ca-ssh.pub";
    /// Host authority, SSH private key, PKCS#8.
    pub const HOST_SSH_KEY: &str = "host-ca-ssh.key";
    /// User authority, X.509 certificate (P-256).
    pub const USER_CERTIFICATE: &str = "user-ca.crt";
    /// User authority, X.509 private key, PKCS#8.
    pub const USER_KEY: &str = "user-ca.key";
    /// User authority, SSH public key (Ed25519).
    pub const USER_SSH_PUBLIC: &str = "user-ca-ssh.pub";
    /// User authority, SSH private key, PKCS#8.
    pub const USER_SSH_KEY: &str = "user-ca-ssh.key";
    /// Issuer of the tenant's own web certificates, X.509 certificate (P-256).
    pub const WEB_CERTIFICATE: &str = "web-ca.crt";
    /// Issuer of the tenant's own web certificates, private key, PKCS#8.
    pub const WEB_KEY: &str = "web-ca.key";
}

/// Text that must not reach a log: `Debug` prints only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Sensitive(pub String);

impl fmt::Debug for Sensitive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<{} bytes withheld>", self.0.len())
    }
}

/// One authority of the cluster: an X.509 pair and an SSH pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// X.509 certificate, PEM.
    pub certificate: String,
    /// X.509 private key, PKCS#8 PEM.
    pub key: Sensitive,
    /// SSH public key, authorized_keys line.
    pub ssh_public: String,
    /// SSH private key, PKCS#8 PEM.
    pub ssh_key: Sensitive,
    /// Certificates that are trusted beside it, PEM: of the authority before or after it while Teleport rotates them.
    pub trusted: String,
}

impl Authority {
    /// Everything that is trusted, PEM.
    pub fn trusts(&self) -> String {
        format!("{}{}", self.certificate, self.trusted)
    }
}

/// The authorities as Teleport keeps them in its state table: those that count. The issuer of web certificates is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAuthorities {
    /// Signs hosts.
    pub host: Authority,
    /// Signs users.
    pub user: Authority,
}

/// Which generation of the authorities' Secret counts: a Secret is never changed, and each change is a new one.
pub fn generation(status: Option<&TenantStatus>) -> i64 {
    status.and_then(|status| status.authority_generation).unwrap_or(1)
}

/// Issuer of the tenant's own web certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebIssuer {
    /// X.509 certificate, PEM.
    pub certificate: String,
    /// Private key, PKCS#8 PEM.
    pub key: Sensitive,
    /// Certificates of former issuers, PEM: what they issued is served until Proxy reads its certificate again.
    pub trusted: String,
}

impl WebIssuer {
    /// Everything that is trusted, PEM.
    pub fn trusts(&self) -> String {
        format!("{}{}", self.certificate, self.trusted)
    }
}

/// Everything in the authority Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// Signs hosts, Auth and the operator's own client certificates.
    pub host: Authority,
    /// Signs users.
    pub user: Authority,
    /// Signs the web certificate.
    pub web: WebIssuer,
}

impl Authorities {
    /// The entries of the Secret.
    pub fn entries(&self) -> BTreeMap<String, String> {
        let Authorities { host, user, web } = self;
        [
            (entry::HOST_CERTIFICATE, &host.certificate),
            (entry::HOST_KEY, &host.key.0),
            (entry::HOST_SSH_PUBLIC, &host.ssh_public),
            (entry::HOST_SSH_KEY, &host.ssh_key.0),
            (entry::USER_CERTIFICATE, &user.certificate),
            (entry::USER_KEY, &user.key.0),
            (entry::USER_SSH_PUBLIC, &user.ssh_public),
            (entry::USER_SSH_KEY, &user.ssh_key.0),
            (entry::WEB_CERTIFICATE, &web.certificate),
            (entry::WEB_KEY, &web.key.0),
        ]
        .into_iter()
        .chain([
            (entry::HOST_TRUSTED, &host.trusted),
            (entry::USER_TRUSTED, &user.trusted),
            (entry::WEB_TRUSTED, &web.trusted),
        ])
        .filter(|(name, text)| !text.is_empty() || !name.ends_with("-trusted.crt"))
        .map(|(name, text)| (name.to_owned(), text.clone()))
        .collect()
    }

    /// Reads the entries of the Secret.
    ///
    /// # Errors
    /// The name of the first entry that is missing.
    pub fn from_entries(entries: &BTreeMap<String, String>) -> Result<Authorities, &'static str> {
        let text = |name: &'static str| entries.get(name).cloned().ok_or(name);
        Ok(Authorities {
            host: Authority {
                certificate: text(entry::HOST_CERTIFICATE)?,
                key: Sensitive(text(entry::HOST_KEY)?),
                ssh_public: text(entry::HOST_SSH_PUBLIC)?,
                ssh_key: Sensitive(text(entry::HOST_SSH_KEY)?),
                trusted: text(entry::HOST_TRUSTED).unwrap_or_default(),
            },
            user: Authority {
                certificate: text(entry::USER_CERTIFICATE)?,
                key: Sensitive(text(entry::USER_KEY)?),
                ssh_public: text(entry::USER_SSH_PUBLIC)?,
                ssh_key: Sensitive(text(entry::USER_SSH_KEY)?),
                trusted: text(entry::USER_TRUSTED).unwrap_or_default(),
            },
            web: WebIssuer {
                certificate: text(entry::WEB_CERTIFICATE)?,
                key: Sensitive(text(entry::WEB_KEY)?),
                trusted: text(entry::WEB_TRUSTED).unwrap_or_default(),
            },
        })
    }
}

impl Authorities {
    /// Whether Teleport has other ones.
    pub fn differ(&self, stored: &StoredAuthorities) -> bool {
        self.host != stored.host || self.user != stored.user
    }

    /// Whether Teleport is about to put one in the place of another.
    pub fn is_rotated(&self) -> bool {
        !self.host.trusted.is_empty() || !self.user.trusted.is_empty()
    }

    /// The token by which Proxy joins Auth: 256 bits that follow from the host authority's key, so that it needs no Secret
    /// of its own that could be lost, and comes back the same with the authorities.
    pub fn join_token(&self) -> Sensitive {
        Sensitive(crate::names::digest(format!("tenancy.dev/proxy-join/v1\n{}", self.host.key.0).as_bytes()))
    }
}

/// A web certificate with its key, as in its Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebCertificate {
    /// Certificate chain, PEM, leaf first.
    pub certificate: String,
    /// Private key, PKCS#8 PEM.
    pub key: Sensitive,
}

/// Name of the certificate of metrics among those in status.
pub const METRICS_CERTIFICATE: &str = "metrics";
/// How long certificates of metrics are good. A pod reads its own when it starts, so that a new one is a restart.
pub const METRICS_LIFETIME: TimeDelta = TimeDelta::days(360);
/// How often there are new ones: the pods have 180 days to be restarted in a maintenance window.
pub const METRICS_RENEWAL: TimeDelta = TimeDelta::days(120);
/// With less left than this, a sixth, they are restarted outside of it.
pub const METRICS_LAST: TimeDelta = TimeDelta::days(60);

/// With what a tenant's processes serve their metrics, and a scraper reads them. All of it follows from the host authority and the
/// time, so that there is nothing more to lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsKeys {
    /// Certificate of the authority that both trust, PEM. Its key is kept nowhere.
    pub authority: String,
    /// Certificate of the processes, PEM.
    pub server_certificate: String,
    /// Its private key, PKCS#8 PEM.
    pub server_key: Sensitive,
    /// The name in it.
    pub server_name: String,
    /// Certificate of a scraper, PEM.
    pub scraper_certificate: String,
    /// Its private key, PKCS#8 PEM.
    pub scraper_key: Sensitive,
    /// Until when both are good.
    pub not_after: DateTime<Utc>,
}

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Valid from.
    pub not_before: DateTime<Utc>,
    /// Valid until.
    pub not_after: DateTime<Utc>,
    /// DNS names among the subject alternative names, in the certificate's order.
    pub names: Vec<String>,
    /// Distinguished name of the issuer, as text.
    pub issuer: String,
    /// Distinguished name of the subject, as text.
    pub subject: String,
}
