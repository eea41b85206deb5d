//! What the operator wrote, as the API server's audit log has it.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{NAMESPACE, TestBed};

const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// One request of the operator; of most interest are its writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// When the API server was done with it.
    pub at: DateTime<Utc>,
    /// `create`, `update`, `patch`, `delete` …
    pub verb: String,
    /// Resource with its subresource, such as `tenants/status`.
    pub resource: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object; empty where the API server has not told.
    pub name: String,
    /// Status code of the answer.
    pub code: i64,
}

impl Write {
    /// Whether it changes anything, or would if it changed something.
    pub fn is_write(&self) -> bool {
        WRITES.contains(&&*self.verb)
    }

    /// `patch deployments acme/acme-auth-0`.
    pub fn what(&self) -> String {
        format!("{} {} {}/{}", self.verb, self.resource, self.namespace, self.name)
    }
}

/// The operator's writes as they are made: the audit log, read from where the last look ended.
#[derive(Debug)]
pub struct Writes {
    audit: PathBuf,
    read: u64,
}

impl Writes {
    /// Those since the last look.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn more(&mut self) -> anyhow::Result<Vec<Write>> {
        let mut file = std::fs::File::open(&self.audit).context("cannot open the audit log")?;
        file.seek(SeekFrom::Start(self.read)).context("cannot read the audit log")?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).context("cannot read the audit log")?;
        // Its last line may be half written.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        Ok(writes(&String::from_utf8_lossy(&bytes[..whole])))
    }
}

impl TestBed {
    /// The operator's writes from now on.
    ///
    /// # Errors
    /// When this cluster has no audit log.
    pub fn follow_writes(&self) -> anyhow::Result<Writes> {
        let audit = self.control_plane().audit_log().context("this cluster has no audit log")?.to_owned();
        let read = audit.metadata().context("cannot read the audit log")?.len();
        Ok(Writes { audit, read })
    }

    /// The operator's requests since a moment in order, those that were refused too; watches and the lease of its leader apart.
    ///
    /// # Errors
    /// When this cluster has no audit log.
    pub fn requests_since(&self, since: DateTime<Utc>) -> anyhow::Result<Vec<Write>> {
        let audit = self.control_plane().audit_log().context("this cluster has no audit log")?;
        let text = std::fs::read_to_string(audit).context("cannot read the audit log")?;
        // Its last line may be half written, and is left for the next look.
        let requests = text.lines().filter_map(request);
        Ok(requests.filter(|request| request.at >= since && request.verb != "watch").collect())
    }

    /// Those of them that are writes.
    ///
    /// # Errors
    /// When this cluster has no audit log.
    pub fn writes_since(&self, since: DateTime<Utc>) -> anyhow::Result<Vec<Write>> {
        Ok(self.requests_since(since)?.into_iter().filter(Write::is_write).collect())
    }

    /// The same, counted by what was written.
    ///
    /// # Errors
    /// When this cluster has no audit log.
    pub fn write_counts_since(&self, since: DateTime<Utc>) -> anyhow::Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        for write in self.writes_since(since)? {
            *counts.entry(write.what()).or_default() += 1;
        }
        Ok(counts)
    }
}

/// Its last line may be half written, and is left for the next look.
fn writes(audit: &str) -> Vec<Write> {
    audit.lines().filter_map(request).filter(Write::is_write).collect()
}

/// What a line of the audit log says, if it is a request of the operator; the lease of its leader apart.
pub(crate) fn request(line: &str) -> Option<Write> {
    let operator = format!("system:serviceaccount:{NAMESPACE}:tenant-operator");
    let entry: Value = serde_json::from_str(line).ok()?;
    let object = &entry["objectRef"];
    let leading = object["resource"] == "leases" && object["name"] == "tenant-operator";
    if leading || entry["user"]["username"] != *operator {
        return None;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // What has no readable time counts as of now: a write must not be overlooked.
    let at = entry["stageTimestamp"].as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    let subresource = object["subresource"].as_str().map(|sub| format!("/{sub}")).unwrap_or_default();
    Some(Write {
        at: at.map_or_else(Utc::now, |at| at.to_utc()),
        verb: text(&entry["verb"]),
        resource: format!("{}{subresource}", text(&object["resource"])),
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: entry["responseStatus"]["code"].as_i64().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(user: &str, verb: &str, object: Value) -> String {
        json!({"user": {"username": user}, "verb": verb, "objectRef": object, "responseStatus": {"code": 200},
            "stageTimestamp": "2026-11-27T05:00:00.123456Z"})
        .to_string()
    }

    #[test]
    fn a_look_begins_where_the_last_one_ended() {
        let directory = tempfile::tempdir().unwrap();
        let audit = directory.path().join("audit.log");
        let operator = "system:serviceaccount:tenancy-system:tenant-operator";
        let line = |name| entry(operator, "patch", json!({"resource": "deployments", "namespace": "n", "name": name}));
        let (first, second) = (line("a") + "\n", line("b") + "\n");
        std::fs::write(&audit, first.clone() + &second[..30]).unwrap();
        let mut follow = Writes { audit: audit.clone(), read: 0 };
        let mut names = || follow.more().unwrap().into_iter().map(|write| write.name).collect::<Vec<_>>();
        assert_eq!(names(), ["a"]);
        assert!(names().is_empty());
        std::fs::write(&audit, first + &second).unwrap();
        assert_eq!(names(), ["b"]);
    }

    #[test]
    fn the_operators_writes_are_told_from_all_others() {
        let operator = "system:serviceaccount:tenancy-system:tenant-operator";
        let status = json!({"resource": "tenants", "subresource": "status", "namespace": "acme", "name": "acme"});
        let deployment = json!({"resource": "deployments", "namespace": "acme", "name": "acme-auth-0"});
        let lease = json!({"resource": "leases", "namespace": "tenancy-system", "name": "tenant-operator"});
        let claim = json!({"resource": "leases", "namespace": "tenancy-system", "name": "domain-0123"});
        let log = [
            entry(operator, "update", status),
            entry(operator, "get", deployment.clone()),
            entry("system:serviceaccount:kube-system:deployment-controller", "update", deployment.clone()),
            entry(operator, "patch", lease),
            entry(operator, "create", claim),
            entry(operator, "patch", deployment)[..40].to_owned(),
        ]
        .join("\n");
        let found: Vec<String> = writes(&log).iter().map(Write::what).collect();
        assert_eq!(found, ["update tenants/status acme/acme", "create leases tenancy-system/domain-0123"]);
        assert_eq!(writes(&log)[0].at.to_rfc3339(), "2026-11-27T05:00:00.123456+00:00");
    }
}
