//! What a spec may ask for only where the platform team consents, or the tenant's account allows it: what the schema alone cannot
//! know.

use std::collections::BTreeMap;

use crds::Reason;

use crate::fleet::{Account, Installation};
use crate::stage::Stall;
use crate::wanted::Wanted;

/// Whether the tenant can be made as its spec asks.
///
/// # Errors
/// What is not allowed, with what to do.
pub fn given(wanted: &Wanted, account: &Account) -> Result<(), Stall> {
    key(wanted, account).map_or(Ok(()), |message| Err(Stall { reason: Reason::InvalidSpec, message }))
}

/// Rights to a key end at the account, on both sides.
fn key(wanted: &Wanted, account: &Account) -> Option<String> {
    let key = wanted.pod_inputs.kms_key_arn.as_deref()?;
    let owner = key.split(':').nth(4).unwrap_or_default();
    (owner != account.id).then(|| {
        format!(
            "spec.storage.kmsKeyArn: the key is of account {owner}, and the tenant's data is in account {}: make a key there, or a replica of a multi-Region key",
            account.id
        )
    })
}

/// The annotations of the public Service that the platform team allows; and what to say of the others. By annotations load
/// balancers are given addresses, certificates and security groups: whose those are only the platform team knows. What it takes away
/// later leaves the Service, and stops nothing else of a tenant that runs.
pub fn annotations(wanted: &Wanted, installation: &Installation) -> (BTreeMap<String, String>, Option<String>) {
    let allowed = |key: &String| installation.network.service_annotations.contains(key);
    let (kept, refused): (BTreeMap<_, _>, BTreeMap<_, _>) =
        wanted.balancer.annotations.clone().into_iter().partition(|(key, _)| allowed(key));
    let refused: Vec<String> = refused.into_keys().collect();
    let message = (!refused.is_empty()).then(|| {
        format!(
            "spec.network.annotations: {} may not be set by tenants, and the Service is without: leave them out, or have them added to network.serviceAnnotations of the fleet policy",
            refused.join(", ")
        )
    });
    (kept, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const POLICY: &str = r#"
id: eu1
aws:
  accounts:
    - {id: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com/id/1, rolePath: /tenancy/eu1/}
images: {enterprise: example.com/teleport-ent-distroless, community: example.com/teleport-distroless}
network: {serviceAnnotations: [example.com/zone]}
"#;

    #[test]
    fn what_is_refused_is_named_with_the_remedy() {
        let installation = Installation::parse(POLICY).expect("a good policy");
        let wanted = |spec: serde_json::Value| {
            let mut tenant = json!({
                "metadata": {"name": "a", "namespace": "a"},
                "spec": {"domain": "a.example.com", "edition": "Community", "version": "18.1.0", "region": "us-west-2"},
            });
            for (key, value) in spec.as_object().expect("a map") {
                tenant["spec"][key] = value.clone();
            }
            Wanted::parse(&serde_json::from_value(tenant).expect("a Tenant")).expect("a good spec")
        };
        let of = |account: &str| {
            let arn = format!("arn:aws:kms:us-west-2:{account}:key/k");
            let wanted = wanted(json!({"storage": {"kmsKeyArn": arn}}));
            given(&wanted, &installation.aws.accounts[0]).map_err(|stall| stall.message)
        };
        assert_eq!(of("123456789012"), Ok(()));
        let refused = of("210987654321").expect_err("of another account");
        assert!(refused.starts_with("spec.storage.kmsKeyArn") && refused.contains("account 123456789012"), "{refused}");
        let both =
            json!({"example.com/zone": "a", "service.beta.kubernetes.io/aws-load-balancer-eip-allocations": "x"});
        let (kept, refused) = annotations(&wanted(json!({"network": {"annotations": both}})), &installation);
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["example.com/zone"]);
        let refused = refused.expect("nobody allowed it");
        assert!(refused.contains("eip-allocations") && refused.contains("network.serviceAnnotations"), "{refused}");
        assert_eq!(annotations(&wanted(json!({})), &installation), (BTreeMap::new(), None));
    }
}
