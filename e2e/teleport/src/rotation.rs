//! A rotation of an authority, as `tctl auth rotate` leaves it in the state table, step by step.

use super::auth::authority::{self, Authority};

/// One step of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Another one is trusted beside the one that signs (phase `init`).
    Begin,
    /// The other one signs, the former one is trusted (`update_clients`, `update_servers`).
    Swap,
    /// Only the one that signs is trusted (`standby`).
    End,
}

/// Key of the item, as `FullPath` has it.
pub fn path(kind: &str, cluster: &str) -> String {
    crate::state::full_path(&authority::key(kind, cluster))
}

/// The value of the item after one more step; none when it cannot be read.
pub fn after(value: &[u8], step: Step) -> Option<Vec<u8>> {
    let mut found: Authority = serde_json::from_slice(value).ok()?;
    let spec = &mut found.spec;
    match step {
        Step::Begin => {
            let made = authority::generate(&spec.kind, &spec.cluster_name).ok()?;
            spec.additional_trusted_keys = made.spec.active_keys;
        }
        Step::Swap => std::mem::swap(&mut spec.active_keys, &mut spec.additional_trusted_keys),
        Step::End => spec.additional_trusted_keys = authority::Keys::default(),
    }
    serde_json::to_vec(&found).ok()
}
