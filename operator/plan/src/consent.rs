//! What a spec may ask for only where the platform team consents, or the tenant's account allows it: what the schema alone cannot
//! know.

use crds::Reason;

use crate::fleet::{Account, Installation};
use crate::stage::Stall;
use crate::wanted::Wanted;

/// Whether all of it is allowed.
///
/// # Errors
/// What is not, with what to do.
pub fn given(wanted: &Wanted, installation: &Installation, account: &Account) -> Result<(), Stall> {
    let faults: Vec<String> = key(wanted, account).into_iter().chain(annotations(wanted, installation)).collect();
    if faults.is_empty() { Ok(()) } else { Err(Stall { reason: Reason::InvalidSpec, message: faults.join("; ") }) }
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

/// By annotations load balancers are given addresses, certificates and security groups: whose those are only the platform team
/// knows.
fn annotations(wanted: &Wanted, installation: &Installation) -> Option<String> {
    let allowed = &installation.network.service_annotations;
    let refused: Vec<&str> =
        wanted.balancer.annotations.keys().filter(|key| !allowed.contains(key)).map(String::as_str).collect();
    (!refused.is_empty()).then(|| {
        format!(
            "spec.network.annotations: {} may not be set by tenants: leave them out, or have them added to network.serviceAnnotations of the fleet policy",
            refused.join(", ")
        )
    })
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
        let answer = |spec: serde_json::Value| {
            let mut tenant = json!({
                "metadata": {"name": "a", "namespace": "a"},
                "spec": {"domain": "a.example.com", "edition": "Community", "version": "18.1.0", "region": "us-west-2"},
            });
            for (key, value) in spec.as_object().expect("a map") {
                tenant["spec"][key] = value.clone();
            }
            let wanted = Wanted::parse(&serde_json::from_value(tenant).expect("a Tenant")).expect("a good spec");
            given(&wanted, &installation, &installation.aws.accounts[0]).map_err(|stall| stall.message)
        };
        let key = |account: &str| json!({"storage": {"kmsKeyArn": format!("arn:aws:kms:us-west-2:{account}:key/k")}});
        assert_eq!(answer(key("123456789012")), Ok(()));
        let refused = answer(key("210987654321")).expect_err("of another account");
        assert!(refused.starts_with("spec.storage.kmsKeyArn") && refused.contains("account 123456789012"), "{refused}");
        let annotation = |key: &str| json!({"network": {"annotations": {key: "x"}}});
        assert_eq!(answer(annotation("example.com/zone")), Ok(()));
        let refused = answer(annotation("service.beta.kubernetes.io/aws-load-balancer-eip-allocations"));
        let refused = refused.expect_err("nobody allowed it");
        assert!(refused.contains("eip-allocations") && refused.contains("network.serviceAnnotations"), "{refused}");
    }
}
