//! Two majors at once are two steps, of which the first is shown with where it leads; agents of a pool that is not required hold up neither.

use e2e::testbed::{TestBed, agent};
use serde_json::{Value, json};

use super::super::covered::{says, seen};
use super::super::manifest::edit;
use super::setting::{SHOWS, sunday, with_window};

const NAME: &str = "steps";

/// The window is far away, so that nothing begins.
pub async fn lead_to_the_goal(bed: &TestBed) -> anyhow::Result<()> {
    let domain = with_window(bed, NAME, "16.4.3", &sunday(NAME, "default")).await?;
    bed.world().set_agents(&domain, ["Node", "App"].map(|service| agent(service, "15.4.0", &[service])).to_vec());
    edit(bed, NAME, NAME, json!({"version": "18.2.0"})).await?;
    let behind = |count: u64| {
        move |status: &Value| {
            let blockers = status["next"]["blockers"].as_array();
            let found = blockers.into_iter().flatten().find(|blocker| blocker["reason"] == "AgentsBehind");
            let message = found.and_then(|found| found["message"].as_str()).unwrap_or_default();
            message.starts_with(&format!("{count} of the required agents"))
        }
    };
    let held = bed.await_status(NAME, NAME, "both agents to hold it", SHOWS, behind(2)).await?;
    says("Tenant", &held, &json!({"next": {"kind": "Major", "to": "17.5.3", "goal": "18.2.0", "hops": 2}}))?;
    let pool = json!({
        "apiVersion": "tenancy.dev/v1alpha1",
        "kind": "AgentPool",
        "metadata": {"namespace": NAME, "name": "apps"},
        "spec": {"tenantRef": {"name": NAME}, "match": {"services": ["App"]}, "required": false},
    });
    bed.apply(&pool.to_string()).await?;
    bed.await_status(NAME, NAME, "one agent to hold it", SHOWS, behind(1)).await?;
    seen("AgentPool", "spec.required", false);
    edit(bed, NAME, NAME, json!({"version": "16.4.3"})).await
}
