//! Whether the Gateway takes the route of a tenant's port 443. Its controller says so in the status of the TLSRoute.

use serde_json::Value;

use crate::object::{Object, Ref, condition};

/// What the controller of the Gateway makes of the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It takes it, and knows the Service behind it.
    Yes,
    /// It has not said anything of this route as it is now.
    NotYet(String),
    /// It does not: what it says, and what to do.
    No(String),
}

/// Reads the status of a route.
pub fn taken(wanted: &Object, live: &Value) -> Taken {
    let parent = &wanted.manifest["spec"]["parentRefs"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let gateway = format!("Gateway {}/{}", text(&parent["namespace"]), text(&parent["name"]));
    let Ref { name, .. } = &wanted.reference;
    let waits = Taken::NotYet(format!("the controller of {gateway} to accept TLSRoute {name}"));
    let parents = live["status"]["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = |entry: &&Value| {
        ["name", "namespace", "sectionName"].into_iter().all(|field| entry["parentRef"][field] == parent[field])
    };
    let Some(entry) = parents.iter().find(own) else { return waits };
    let generation = live["metadata"]["generation"].as_i64().unwrap_or_default();
    for question in ["Accepted", "ResolvedRefs"] {
        let Some(condition) = condition(&entry["conditions"], question, generation) else { return waits };
        match condition["status"].as_str() {
            Some("True") => {}
            Some("False") => {
                return Taken::No(format!(
                    "{gateway} does not take TLSRoute {name}: {question} is False, {}: {}: it needs a listener of protocol TLS in mode Passthrough that admits routes of this namespace and the names of the domain",
                    text(&condition["reason"]),
                    text(&condition["message"])
                ));
            }
            Some(_) | None => return waits,
        }
    }
    Taken::Yes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Kind;

    #[test]
    fn a_route_is_taken_when_its_own_gateway_says_so_of_what_it_is_now() {
        let parent = json!({"name": "edge", "namespace": "gateways", "sectionName": "tls"});
        let wanted =
            Object::new(Kind::TLSRoute, &json!({"metadata": {"name": "acme"}, "spec": {"parentRefs": [parent]}}));
        let with = |parent: &Value, accepted: (&str, i64), resolved: (&str, i64)| {
            let condition = |type_: &str, (status, seen): (&str, i64)| json!({"type": type_, "status": status, "observedGeneration": seen, "reason": "Because", "message": "of it"});
            let conditions = [condition("Accepted", accepted), condition("ResolvedRefs", resolved)];
            let entry = json!({"parentRef": parent, "controllerName": "example.com/c", "conditions": conditions});
            taken(&wanted, &json!({"metadata": {"generation": 2}, "status": {"parents": [entry]}}))
        };
        assert_eq!(with(&parent, ("True", 2), ("True", 2)), Taken::Yes);
        let other = json!({"name": "edge", "namespace": "gateways", "sectionName": "other"});
        for waits in [
            with(&other, ("True", 2), ("True", 2)),
            with(&parent, ("True", 1), ("True", 2)),
            with(&parent, ("False", 1), ("True", 2)),
            with(&parent, ("True", 2), ("Unknown", 2)),
            taken(&wanted, &json!({"metadata": {"generation": 2}})),
        ] {
            assert_eq!(
                waits,
                Taken::NotYet("the controller of Gateway gateways/edge to accept TLSRoute acme".to_owned())
            );
        }
        let Taken::No(told) = with(&parent, ("True", 2), ("False", 2)) else { panic!("it is refused") };
        for part in ["Gateway gateways/edge", "TLSRoute acme", "ResolvedRefs is False, Because: of it", "Passthrough"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
