//! How full the AWS accounts are. Counted from the tenants' own statuses, so that a restart forgets nothing; only an account
//! that was just entered, and that the watch may not show yet, is kept in this process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crds::Tenant;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use plan::fleet::Account;

/// Who is in which account.
pub struct Accounts {
    tenants: Store<DeserializeGuard<Tenant>>,
    /// By uid, the account that this process has put a tenant into.
    entered: Mutex<HashMap<String, String>>,
}

impl Accounts {
    /// Of the tenants that this watch shows.
    pub fn new(tenants: Store<DeserializeGuard<Tenant>>) -> Accounts {
        Accounts { tenants, entered: Mutex::default() }
    }

    /// How many tenants each account holds, this one apart.
    pub fn held(&self, uid: &str) -> BTreeMap<String, u32> {
        let tenants = self.tenants.state();
        held(&tenants, &self.entered(), uid)
    }

    /// Takes a place for this tenant, if there is room. From here on it counts, whatever the watch shows.
    pub fn enter(&self, uid: &str, account: &Account) -> bool {
        let tenants = self.tenants.state();
        let mut entered = self.entered();
        let others = held(&tenants, &entered, uid).get(&account.id).copied().unwrap_or_default();
        let room = others < account.max_tenants;
        if room {
            entered.insert(uid.to_owned(), account.id.clone());
        }
        room
    }

    /// Forgets tenants that are gone.
    pub fn retain(&self, uids: &HashSet<String>) {
        self.entered().retain(|uid, _| uids.contains(uid));
    }

    fn entered(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.entered.lock().expect("no holder of this lock panics")
    }
}

/// Tenants by account, one apart: as recorded, or as they have just been put there. Whoever the watch no longer shows is gone, and
/// has left its place. One that this operator cannot read, such as of a newer schema, is not counted.
fn held(
    tenants: &[Arc<DeserializeGuard<Tenant>>],
    entered: &HashMap<String, String>,
    but: &str,
) -> BTreeMap<String, u32> {
    let mut held = BTreeMap::new();
    for tenant in tenants {
        let (Some(uid), Ok(tenant)) = (tenant.uid(), &tenant.0) else { continue };
        let recorded = tenant.status.as_ref().and_then(|status| status.storage.as_ref());
        let account = recorded.map(|storage| &storage.account).or_else(|| entered.get(&uid));
        if let Some(account) = account.filter(|_| uid != but) {
            *held.entry(account.clone()).or_insert(0) += 1;
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    fn tenant(uid: &str, account: Option<&str>) -> DeserializeGuard<Tenant> {
        let storage = account.map(|account| {
            json!({
                "account": account, "region": "us-west-2", "stateTable": "s", "eventsTable": "e", "bucket": "b", "roleArn": "r",
            })
        });
        let status = storage.map_or(Value::Null, |storage| json!({"conditions": [], "storage": storage}));
        let object = json!({
            "apiVersion": "tenancy.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": uid, "namespace": "n", "uid": uid},
            "spec": {"domain": "a.example.com", "edition": "Community", "version": "18.1.0", "region": "us-west-2"},
            "status": status,
        });
        serde_json::from_value(object).expect("a guarded tenant")
    }

    fn of(tenants: Vec<DeserializeGuard<Tenant>>) -> (Accounts, reflector::store::Writer<DeserializeGuard<Tenant>>) {
        let (store, mut writer) = reflector::store();
        for tenant in tenants {
            assert!(tenant.0.is_ok(), "it does not parse");
            writer.apply_watcher_event(&Event::Apply(tenant));
        }
        (Accounts::new(store), writer)
    }

    fn account(max_tenants: u32) -> Account {
        let text = format!("{{id: 'one', regions: [], oidcProvider: o, rolePath: /, maxTenants: {max_tenants}}}");
        serde_saphyr::from_str(&text).expect("an account")
    }

    #[test]
    fn who_is_recorded_counts_and_nobody_counts_itself() {
        let (accounts, _writer) = of(vec![tenant("a", Some("one")), tenant("b", Some("two")), tenant("c", None)]);
        assert_eq!(accounts.held("c"), BTreeMap::from([("one".into(), 1), ("two".into(), 1)]));
        assert_eq!(accounts.held("a"), BTreeMap::from([("two".into(), 1)]));
    }

    #[test]
    fn the_last_place_is_taken_once() {
        let (accounts, mut writer) = of(vec![tenant("a", Some("one")), tenant("b", None), tenant("c", None)]);
        assert!(accounts.enter("b", &account(2)), "one of two");
        assert!(!accounts.enter("c", &account(2)), "the watch does not show it yet");
        assert!(accounts.enter("b", &account(2)), "its own place again, after a write that was lost");
        writer.apply_watcher_event(&Event::Apply(tenant("b", Some("one"))));
        assert_eq!(accounts.held("c"), BTreeMap::from([("one".into(), 2)]), "counted once");
        writer.apply_watcher_event(&Event::Delete(tenant("b", Some("one"))));
        assert_eq!(accounts.held("c"), BTreeMap::from([("one".into(), 1)]), "whoever is gone has left its place");
        assert!(accounts.enter("c", &account(2)), "at once");
    }
}
