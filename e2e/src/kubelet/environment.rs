//! A container's environment and the expansion of `$(VARIABLE)`, as a kubelet does both. It is a function of what was
//! gathered before; it asks nobody.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use super::fields;
use super::objects::{Content, Kind};

/// Variables by name.
pub(super) type Environment = BTreeMap<String, String>;

/// Content of the objects that a container refers to; those that do not exist are not in it.
pub(super) type Gathered = BTreeMap<(Kind, String), Content>;

/// The objects to which the environment of a container refers.
pub(super) fn references(container: &Container) -> Vec<(Kind, String)> {
    let mut names = Vec::new();
    for source in container.env_from.iter().flatten() {
        names.extend(source.secret_ref.iter().map(|source| (Kind::Secret, source.name.clone())));
        names.extend(source.config_map_ref.iter().map(|source| (Kind::ConfigMap, source.name.clone())));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        names.extend(source.secret_key_ref.iter().map(|source| (Kind::Secret, source.name.clone())));
        names.extend(source.config_map_key_ref.iter().map(|source| (Kind::ConfigMap, source.name.clone())));
    }
    names
}

/// The environment that the pod's author wrote, on top of `services`, which a kubelet adds and a variable may refer to.
///
/// # Errors
/// What is missing, in the words of a kubelet.
pub(super) fn build(
    pod: &Pod,
    container: &Container,
    address: Ipv4Addr,
    services: &Environment,
    gathered: &Gathered,
) -> Result<Environment, String> {
    let mut built = Environment::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let secret = source.secret_ref.as_ref().map(|source| (Kind::Secret, &source.name, source.optional));
        let map = source.config_map_ref.as_ref().map(|source| (Kind::ConfigMap, &source.name, source.optional));
        for (kind, name, optional) in secret.into_iter().chain(map) {
            match gathered.get(&(kind, name.clone())) {
                Some(content) => {
                    built.extend(content.iter().map(|(key, value)| (format!("{prefix}{key}"), text(value))));
                }
                None if optional == Some(true) => {}
                None => return Err(format!("{} {name:?} not found", kind.word())),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value {
            Some(value) => Some(expand(value, |name| built.get(name).or_else(|| services.get(name)).cloned())),
            None => sourced(pod, container, address, gathered, variable)?,
        };
        if let Some(value) = value {
            built.insert(variable.name.clone(), value);
        }
    }
    for (name, value) in services {
        built.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(built)
}

/// The value of a variable that comes from elsewhere; `None` leaves it unset.
fn sourced(
    pod: &Pod,
    container: &Container,
    address: Ipv4Addr,
    gathered: &Gathered,
    variable: &EnvVar,
) -> Result<Option<String>, String> {
    let Some(source) = &variable.value_from else { return Ok(Some(String::new())) };
    if let Some(field) = &source.field_ref {
        return fields::field(pod, address, &field.field_path).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return fields::resource(std::slice::from_ref(container), Some(&container.name), selector).map(Some);
    }
    let secret = source.secret_key_ref.as_ref().map(|key| (Kind::Secret, &key.name, &key.key, key.optional));
    let map = source.config_map_key_ref.as_ref().map(|key| (Kind::ConfigMap, &key.name, &key.key, key.optional));
    let Some((kind, name, key, optional)) = secret.or(map) else {
        return Err(format!("the source of variable {} is not supported here", variable.name));
    };
    let content = gathered.get(&(kind, name.clone()));
    match content.and_then(|content| content.get(key)) {
        Some(value) => Ok(Some(text(value))),
        None if optional == Some(true) => Ok(None),
        None if content.is_none() => Err(format!("{} {name:?} not found", kind.word())),
        None => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            Err(format!("couldn't find key {key} in {} {namespace}/{name}", kind.word()))
        }
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// Replaces each `$(NAME)` that is defined; `$$` is a dollar sign, and everything else stays as it is.
pub(super) fn expand(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        expanded.push_str(before);
        if let Some(after) = from.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = from.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(value) => expanded.push_str(&value),
                None => expanded.push_str(&from[..name.len() + 3]),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = &from[1..];
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn environment(env: Value, env_from: Value) -> Result<Environment, String> {
        let container: Container =
            serde_json::from_value(json!({"name": "c", "env": env, "envFrom": env_from})).unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}})).unwrap();
        let content = |pairs: &[(&str, &str)]| -> Content {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
        };
        let gathered = Gathered::from([
            ((Kind::Secret, "s".into()), content(&[("password", "pa$$")])),
            ((Kind::ConfigMap, "m".into()), content(&[("mode", "fast"), ("A", "from map")])),
        ]);
        let services = Environment::from([("KUBERNETES_SERVICE_HOST".into(), "127.32.0.1".into())]);
        build(&pod, &container, Ipv4Addr::new(127, 96, 0, 3), &services, &gathered)
    }

    fn value(env: Value, name: &str) -> Option<String> {
        environment(env, json!([])).unwrap().remove(name)
    }

    #[test]
    fn later_variables_see_earlier_ones_and_those_of_services() {
        let env = json!([
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(LATER)-$$(A)-$(KUBERNETES_SERVICE_HOST)"},
            {"name": "LATER", "value": "2"},
        ]);
        assert_eq!(value(env, "B").unwrap(), "1-$(LATER)-$(A)-127.32.0.1");
    }

    #[test]
    fn values_come_from_fields_secrets_and_config_maps() {
        let env = json!([
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
            {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "mode"}}},
            {"name": "URL", "value": "https://$(IP)/$(PASSWORD)"},
        ]);
        assert_eq!(value(env.clone(), "URL").unwrap(), "https://127.96.0.3/pa$$", "values are not expanded twice");
        assert_eq!(value(env, "MODE").unwrap(), "fast");
    }

    #[test]
    fn what_is_missing_is_named_unless_it_is_optional() {
        let keyed = |name: &str, key: &str, optional: bool| json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": name, "key": key, "optional": optional}}}]);
        let refused = |env| environment(env, json!([])).unwrap_err();
        assert_eq!(refused(keyed("none", "k", false)), "secret \"none\" not found");
        assert_eq!(refused(keyed("s", "k", false)), "couldn't find key k in secret n/s");
        assert_eq!(value(keyed("none", "k", true), "X"), None);
        assert_eq!(value(keyed("s", "k", true), "X"), None);
        let from = |optional: bool| json!([{"configMapRef": {"name": "none", "optional": optional}}]);
        assert_eq!(environment(json!([]), from(false)).unwrap_err(), "configmap \"none\" not found");
        assert!(environment(json!([]), from(true)).is_ok());
    }

    #[test]
    fn a_variable_wins_over_a_whole_object() {
        let from = json!([{"configMapRef": {"name": "m"}, "prefix": "P_"}, {"configMapRef": {"name": "m"}}]);
        let built = environment(json!([{"name": "A", "value": "own"}]), from).unwrap();
        assert_eq!((built["A"].as_str(), built["P_A"].as_str()), ("own", "from map"));
    }

    #[test]
    fn expansion_leaves_what_it_does_not_know() {
        let known = |name: &str| (name == "A").then(|| "1".to_owned());
        let cases = [
            ("$(A)$(A)", "11"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$()", "$()"),
            ("ünicode$(A)", "ünicode1"),
        ];
        for (template, expected) in cases {
            assert_eq!(expand(template, known), expected, "{template}");
        }
    }

    #[test]
    fn every_reference_is_found() {
        let container = json!({"name": "c",
            "envFrom": [{"secretRef": {"name": "a"}}, {"configMapRef": {"name": "b"}}],
            "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "c", "key": "k"}}},
                    {"name": "Y", "valueFrom": {"configMapKeyRef": {"name": "d", "key": "k"}}}]});
        let names = references(&serde_json::from_value(container).unwrap());
        assert_eq!(names.iter().map(|(_, name)| name.as_str()).collect::<String>(), "abcd");
    }
}
