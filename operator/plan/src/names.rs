//! Every name, label and selector in one place. Cloud names come from the tenant id, so that a tenant deleted and made
//! again never meets its predecessor's data; names inside the namespace come from the slug, so that people can read them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use sha2::{Digest, Sha256};

/// The finalizer on every Tenant.
pub const FINALIZER: &str = "tenancy.dev/tenant";
/// Label with the tenant id, on everything that belongs to a tenant.
pub const TENANT_ID: &str = "tenancy.dev/tenant-id";
/// Label on the Leases that are claims: `domain` or `ports`.
pub const CLAIM: &str = "tenancy.dev/claim";
/// Annotation on a domain claim: the domain itself, since the name holds only its digest.
pub const CLAIM_DOMAIN: &str = "tenancy.dev/domain";
/// Annotation with the digest of the object as it was last applied, which also tells of fields that were dropped since.
pub const APPLIED: &str = "tenancy.dev/applied";
/// Cloud tag: which installation made a resource.
pub const TAG_INSTALLATION: &str = "tenancy.dev/installation";
/// Cloud tag: for which tenant.
pub const TAG_TENANT: &str = "tenancy.dev/tenant-id";
/// Label on a Tenant: the wave in which it gets a release, `1` to `3`.
pub const WAVE: &str = "tenancy.dev/wave";
/// Who applies objects (server-side apply), and the value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "tenant-operator";

/// The two kinds of Teleport process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// Holds the state, issues certificates.
    Auth,
    /// What users and agents connect to.
    Proxy,
}

impl Component {
    /// The value of `app.kubernetes.io/component`.
    pub fn label(self) -> &'static str {
        match self {
            Component::Auth => "auth",
            Component::Proxy => "proxy",
        }
    }
}

/// A tenant as far as names go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the Tenant.
    pub slug: String,
    /// Namespace of the Tenant.
    pub namespace: String,
    /// uid of the Tenant object.
    pub uid: String,
    /// Tenant id: 16 hexadecimal digits.
    pub id: String,
}

/// The tenant id: derived from the uid of the first object, so that it needs no randomness and is the same after a crash.
pub fn tenant_id(uid: &str) -> String {
    digest(uid.as_bytes())[..16].to_owned()
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Identity {
    /// `namespace/slug`, as a person writes it.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.slug)
    }

    /// What stands in a claim: namespace/name/tenant id.
    pub fn holder(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.slug, self.id)
    }

    /// Name of an Auth Deployment; `ordinal` is 0 or 1.
    pub fn auth_deployment(&self, ordinal: i32) -> String {
        format!("{}-auth-{ordinal}", self.slug)
    }

    /// Name of the Proxy Deployment.
    pub fn proxy_deployment(&self) -> String {
        format!("{}-proxy", self.slug)
    }

    /// Name of the internal Service of Auth, and of its ServiceAccount.
    pub fn auth(&self) -> String {
        format!("{}-auth", self.slug)
    }

    /// Name of the public Service.
    pub fn public_service(&self) -> String {
        self.slug.clone()
    }

    /// Name of the Service that carries the block of a tenant whose port 443 is on a Gateway.
    pub fn block_service(&self) -> String {
        format!("{}-proxy", self.slug)
    }

    /// Name of the Secret with the certificate authorities of this generation.
    pub fn authorities(&self, generation: i64) -> String {
        format!("{}-ca-{generation}", self.slug)
    }

    /// Name of the Secret with the web certificate.
    pub fn web_certificate(&self) -> String {
        format!("{}-web", self.slug)
    }

    /// Name of the Secret with the private key of a web certificate that is being issued.
    pub fn next_web_key(&self) -> String {
        format!("{}-web-next", self.slug)
    }

    /// Name of the Secret with which processes serve their metrics.
    pub fn metrics(&self, content: &str) -> String {
        format!("{}-metrics-{}", self.slug, &digest(content.as_bytes())[..10])
    }

    /// Name of the Secret with which a scraper reads the metrics.
    pub fn scraper(&self) -> String {
        format!("{}-scraper", self.slug)
    }

    /// Name of the Secret into which cert-manager writes a web certificate.
    pub fn issued_web_certificate(&self) -> String {
        format!("{}-web-issued", self.slug)
    }

    /// Name of the ConfigMap in which vanished agents are remembered.
    pub fn agents(&self) -> String {
        format!("{}-agents", self.slug)
    }

    /// Name of an immutable object with this content.
    pub fn hashed(&self, component: Component, content: &str) -> String {
        format!("{}-{}-{}", self.slug, component.label(), &digest(content.as_bytes())[..10])
    }

    /// Name of the Job that checks a configuration; the content is all that it is made from.
    pub fn preflight(&self, content: &str) -> String {
        format!("{}-preflight-{}", self.slug, &digest(content.as_bytes())[..10])
    }

    /// Labels of everything that belongs to the tenant.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name", "teleport"),
            ("app.kubernetes.io/instance", &self.slug),
            ("app.kubernetes.io/managed-by", MANAGER),
            (TENANT_ID, &self.id),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }

    /// Labels of one component.
    pub fn component_labels(&self, component: Component) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.insert("app.kubernetes.io/component".into(), component.label().into());
        labels
    }

    /// Labels of the Job that checks a configuration, and of its pod, which no selector of a component must find.
    pub fn preflight_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.insert("app.kubernetes.io/component".into(), "preflight".into());
        labels
    }

    /// Selects the pods of one component. Never changes.
    pub fn selector(&self, component: Component) -> BTreeMap<String, String> {
        BTreeMap::from([
            (TENANT_ID.to_owned(), self.id.clone()),
            ("app.kubernetes.io/component".to_owned(), component.label().to_owned()),
        ])
    }

    /// The same as a label selector.
    pub fn label_selector(&self, component: Component) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selector(component)), ..LabelSelector::default() }
    }

    /// The Tenant as controller owner.
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: "tenancy.dev/v1alpha1".into(),
            kind: "Tenant".into(),
            name: self.slug.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// Metadata of an owned object.
    pub fn metadata(&self, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }
}

/// Name of the Lease that claims a domain. The digest keeps it a valid name for every domain.
pub fn domain_claim(domain: &str) -> String {
    format!("domain-{}", &digest(domain.as_bytes())[..32])
}

/// Name of the Lease that claims a block of ports.
pub fn ports_claim(pool: &str, base: u16) -> String {
    format!("ports-{pool}-{base}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_id_is_a_function_of_the_uid() {
        let id = tenant_id("5f0b8a4e-7f6c-4a55-9f6f-000000000001");
        assert_eq!(id.len(), 16);
        assert_eq!(id, tenant_id("5f0b8a4e-7f6c-4a55-9f6f-000000000001"));
        assert_ne!(id, tenant_id("5f0b8a4e-7f6c-4a55-9f6f-000000000002"));
    }

    #[test]
    fn the_longest_slug_gives_valid_service_names() {
        let identity = Identity { slug: "a".repeat(40), namespace: "n".into(), uid: "u".into(), id: "0".repeat(16) };
        for name in [
            identity.auth(),
            identity.proxy_deployment(),
            identity.hashed(Component::Proxy, "x"),
            identity.authorities(9),
            identity.preflight("x"),
            identity.agents(),
            identity.next_web_key(),
            identity.metrics("x"),
            identity.scraper(),
            identity.issued_web_certificate(),
        ] {
            assert!(name.len() <= 63, "{name}");
        }
    }
}
