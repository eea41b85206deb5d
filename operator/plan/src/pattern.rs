//! What the texts of the fleet policy look like: one regular expression each, by which the policy is checked and which its
//! JSON Schema shows to editors and to helm. `$` is the end of the text: none of them holds a line break.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

/// Declares each as a text, and all of them together.
macro_rules! patterns {
    ($($(#[$what:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$what])* pub const $name: &str = $text;)*
        const ALL: &[&str] = &[$($text),*];
    };
}

patterns! {
    /// Installation id.
    ID = "^[a-z][a-z0-9]{1,7}$";
    /// AWS account id.
    ACCOUNT = "^[0-9]{12}$";
    /// AWS region.
    REGION = "^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$";
    /// Issuer of tokens without its scheme.
    ISSUER = "^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$";
    /// IAM path.
    ROLE_PATH = "^/([A-Za-z0-9._+=,@-]+/)*$";
    /// ARN of an IAM policy.
    POLICY_ARN = "^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9._+=,@/-]+$";
    /// ARN of an IAM role.
    ROLE_ARN = "^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9._+=,@/-]+$";
    /// ARN of a KMS key, and of no alias.
    KMS_KEY = "^arn:aws(-cn|-us-gov)?:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$";
    /// What tenants refer to: a port pool, a channel.
    NAME = "^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$";
    /// Duration; `duration::parse` reads it.
    DURATION = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$";
    /// Image without tag and digest.
    REPOSITORY = "^[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$";
    /// Key of a label or annotation.
    LABEL_KEY = "^([a-z0-9.-]{1,200}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$";
    /// Value of a label.
    LABEL_VALUE = "^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$";
    /// Name of a Kubernetes object.
    OBJECT_NAME = "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$";
    /// Kind of a Kubernetes object.
    KIND = "^[A-Z][A-Za-z0-9]{0,62}$";
    /// A domain under which others lie.
    DOMAIN = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$";
    /// Name of a namespace.
    NAMESPACE = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
    /// Range of addresses in CIDR notation; `ipnet` reads it.
    RANGE = "^[0-9A-Fa-f:.]+/[0-9]{1,3}$";
    /// IP address.
    ADDRESS = "^[0-9A-Fa-f:.]+$";
    /// URL of a server that is asked with TLS.
    HTTPS = "^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$";
    /// Address of electronic mail.
    EMAIL = "^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+([.][A-Za-z0-9-]+)+$";
    /// DNS domain.
    DNS = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$";
    /// Released version.
    VERSION = "^(0|[1-9][0-9]*)([.](0|[1-9][0-9]*)){2}$";
    /// Instant of RFC 3339.
    INSTANT = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$";
    /// Image digest.
    DIGEST = "^sha256:[0-9a-f]{64}$";
}

/// Compiled once: a tenant's labels are looked at on every run.
static COMPILED: LazyLock<HashMap<&str, Regex>> =
    LazyLock::new(|| ALL.iter().map(|pattern| (*pattern, Regex::new(pattern).expect("it compiles"))).collect());

/// Whether a text is as one of them says.
pub fn matches(pattern: &str, text: &str) -> bool {
    COMPILED.get(pattern).is_some_and(|regex| regex.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_takes_what_it_is_for_and_no_second_line() {
        let examples = [
            (ID, "eu1"),
            (ACCOUNT, "123456789012"),
            (REGION, "us-gov-west-1"),
            (ISSUER, "oidc.eks.us-west-2.amazonaws.com/id/EXAMPLE"),
            (ROLE_PATH, "/tenancy/eu1/"),
            (POLICY_ARN, "arn:aws:iam::123456789012:policy/path/boundary"),
            (ROLE_ARN, "arn:aws:iam::123456789012:role/path/operator"),
            (KMS_KEY, "arn:aws:kms:us-west-2:123456789012:key/1234abcd"),
            (NAME, "default"),
            (DURATION, "1h30m"),
            (REPOSITORY, "registry.example.com:5000/gravitational/teleport-ent-distroless"),
            (LABEL_KEY, "example.com/team"),
            (LABEL_VALUE, "payments"),
            (OBJECT_NAME, "high.priority"),
            (KIND, "ClusterIssuer"),
            (DOMAIN, "corp.example.com"),
            (DNS, "cluster.local"),
            (HTTPS, "https://acme-v02.api.letsencrypt.org/directory"),
            (EMAIL, "platform+acme@example.com"),
            (VERSION, "18.1.0"),
            (INSTANT, "2026-10-12T00:00:00Z"),
            (DIGEST, "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        ];
        for (pattern, example) in examples {
            assert!(matches(pattern, example), "{pattern}: {example}");
            for wrong in [format!("{example}\n"), format!("{example}\" "), format!("\u{e9}{example}")] {
                assert!(!matches(pattern, &wrong), "{pattern}: {wrong:?}");
            }
        }
    }
}
