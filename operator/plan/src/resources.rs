//! CPU and memory of pods: Teleport's scaling figures by size, or what the user says instead.

use crds::pod::Resources;
use crds::tenant::Size;

use crate::names::Component;

/// What one pod requests and may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a core requested. There is no limit: throttling makes Teleport unstable.
    pub milli_cpu: i64,
    /// MiB requested.
    pub requested_mebibytes: i64,
    /// MiB allowed.
    pub mebibytes: i64,
}

/// By size and component: Teleport's scaling figures, scaled down to the bounds of each size. `XLarge` has none.
fn by_size(size: Size, component: Component) -> Option<(i64, i64)> {
    Some(match (size, component) {
        (Size::Small, _) => (500, 1024),
        (Size::Medium, Component::Auth) => (2000, 4096),
        (Size::Medium, Component::Proxy) => (1000, 2048),
        (Size::Large, Component::Auth) => (8000, 16384),
        (Size::Large, Component::Proxy) => (4000, 8192),
        (Size::XLarge, _) => return None,
    })
}

/// What the pods of a component get.
///
/// # Errors
/// What to do where that cannot be told.
pub fn amounts(size: Size, component: Component, resources: Option<&Resources>) -> Result<Amounts, String> {
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let text = |text: Option<&String>, read: fn(&str) -> Option<i64>, form: &str| {
        text.map(|text| read(text).ok_or_else(|| format!("{text:?} cannot be read: write it as {form}"))).transpose()
    };
    let cpu = text(requests.and_then(|requests| requests.cpu.as_ref()), milli, "2 or 500m")?;
    let requested = text(requests.and_then(|requests| requests.memory.as_ref()), mebibytes, "512Mi or 2Gi")?;
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let limit = text(limits.and_then(|limits| limits.memory.as_ref()), mebibytes, "512Mi or 2Gi")?;
    let default = by_size(size, component);
    let missing = || "size XLarge has no resources of its own: set requests.cpu and requests.memory".to_owned();
    let milli_cpu = cpu.or(default.map(|(cpu, _)| cpu)).ok_or_else(missing)?;
    let mebibytes = limit.or(requested).or(default.map(|(_, memory)| memory)).ok_or_else(missing)?;
    let requested_mebibytes = requested.unwrap_or(mebibytes);
    if requested_mebibytes > mebibytes {
        return Err(format!(
            "limits.memory is lower than requests.memory: raise it to {}",
            memory(requested_mebibytes)
        ));
    }
    Ok(Amounts { milli_cpu, requested_mebibytes, mebibytes })
}

fn milli(text: &str) -> Option<i64> {
    match text.strip_suffix('m') {
        Some(milli) => milli.parse().ok(),
        None => text.parse::<i64>().ok()?.checked_mul(1000),
    }
}

fn mebibytes(text: &str) -> Option<i64> {
    match text.strip_suffix("Gi") {
        Some(gibibytes) => gibibytes.parse::<i64>().ok()?.checked_mul(1024),
        None => text.strip_suffix("Mi")?.parse().ok(),
    }
}

/// Thousandths of a core in the form in which the API server stores them.
pub fn cpu(milli: i64) -> String {
    if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") }
}

/// MiB in the form in which the API server stores them.
pub fn memory(mebibytes: i64) -> String {
    if mebibytes % 1024 == 0 { format!("{}Gi", mebibytes / 1024) } else { format!("{mebibytes}Mi") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(size: Size, resources: Value) -> Result<(String, String, String), String> {
        let resources = serde_json::from_value(resources).expect("resources");
        let found = amounts(size, Component::Auth, Some(&resources))?;
        Ok((cpu(found.milli_cpu), memory(found.requested_mebibytes), memory(found.mebibytes)))
    }

    #[test]
    fn what_is_not_said_goes_by_size() {
        let told = |cpu: &str, requested: &str, limit: &str| Ok((cpu.into(), requested.into(), limit.into()));
        assert_eq!(of(Size::Medium, json!({})), told("2", "4Gi", "4Gi"));
        assert_eq!(of(Size::Medium, json!({"requests": {"cpu": "1500m"}})), told("1500m", "4Gi", "4Gi"));
        assert_eq!(of(Size::Small, json!({"requests": {"memory": "1536Mi"}})), told("500m", "1536Mi", "1536Mi"));
        assert_eq!(of(Size::Small, json!({"limits": {"memory": "2048Mi"}})), told("500m", "2Gi", "2Gi"));
        let both = json!({"requests": {"cpu": "2000m", "memory": "1Gi"}, "limits": {"memory": "3Gi"}});
        assert_eq!(of(Size::XLarge, both), told("2", "1Gi", "3Gi"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_remedy() {
        for (resources, remedy) in [
            (json!({"requests": {"cpu": "1"}}), "set requests.cpu and requests.memory"),
            (json!({"requests": {"cpu": "1", "memory": "1G"}}), "512Mi or 2Gi"),
            (json!({"requests": {"cpu": "1.5", "memory": "1Gi"}}), "2 or 500m"),
            (json!({"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "1Gi"}}), "raise it to 2Gi"),
        ] {
            let refusal = of(Size::XLarge, resources.clone()).expect_err("it cannot be");
            assert!(refusal.contains(remedy), "{resources}: {refusal}");
        }
    }
}
