//! Two majors at once are two steps, of which the first is shown with where it leads.

use e2e::testbed::TestBed;
use serde_json::{Value, json};

use super::super::covered::says;
use super::super::manifest::edit;
use super::setting::{SHOWS, sunday, with_window};

const NAME: &str = "steps";

/// The window is far away, so that nothing begins.
pub async fn lead_to_the_goal(bed: &TestBed) -> anyhow::Result<()> {
    with_window(bed, NAME, "16.4.3", &sunday(NAME, "default")).await?;
    edit(bed, NAME, NAME, json!({"version": "18.2.0"})).await?;
    let due = |status: &Value| status["next"]["kind"] == "Major";
    let next = bed.await_status(NAME, NAME, "the first step to be due", SHOWS, due).await?;
    says("Tenant", &next, &json!({"next": {"kind": "Major", "to": "17.5.3", "goal": "18.2.0", "hops": 2}}))?;
    edit(bed, NAME, NAME, json!({"version": "16.4.3"})).await
}
