//! What the world's Teleport holds for agents and users.

use plan::Fact;
use plan::observed::Told;
use plan::publish::alert::Raised;
use plan::publish::{Found, PublishStep};

/// Does to Teleport what a step says, if what stands there is what the step has seen.
pub(super) fn perform(told: &mut Told, step: &PublishStep, revision: u64) {
    if let PublishStep::Alert { alert, expires, .. } = step {
        told.alerts = Fact::Known(vec![Raised { alert: alert.clone(), expires: Some(*expires) }]);
        return;
    }
    let Fact::Known(live) = &mut told.agents else { panic!("{step} without having looked") };
    match step {
        PublishStep::Version { seen, spec } => put(&mut live.version, seen.as_deref(), spec, revision),
        PublishStep::Config { seen, spec } => put(&mut live.config, seen.as_deref(), spec, revision),
        PublishStep::Maintenance { seen, spec } => put(&mut live.maintenance, seen.as_deref(), spec, revision),
        PublishStep::Alert { .. } => {}
    }
}

fn put<T: Clone>(found: &mut Found<T>, seen: Option<&str>, spec: &T, revision: u64) {
    assert_eq!(found.revision(), seen, "a blind write");
    *found = Found::There { revision: revision.to_string(), agents: Some(spec.clone()) };
}
