//! Three tenants out of the examples: acme runs what it should, initech has a patch due that waits for Sunday night, and
//! hooli a major that its agents hold back although its window is open.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{DateTime, Datelike, Days, TimeDelta, Utc, Weekday};
use e2e::remote::Remote;
use e2e::testbed::{TestBed, blockers, root};
use serde_json::{Value, json};

/// How long the examples may take to become ready, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long what was decided may take to show.
const SHOWS: Duration = Duration::from_secs(60);
/// The examples, and the tenant in each. The file tells the version.
const TENANTS: [(&str, &str); 3] =
    [("examples/community.yaml", "acme"), ("examples/maintenance.yaml", "initech"), ("examples/pools.yaml", "hooli")];
/// What hooli ran until today.
const BEFORE: &str = "17.5.2";
/// What its agents ran.
const AGENTS: &str = "16.4.3";
/// hooli's window is open then, and initech's opens next.
const SATURDAY_NIGHT: TimeDelta = TimeDelta::minutes(22 * 60 + 30);

/// Values of the operator's chart: the releases that there are.
pub(super) fn values() -> Value {
    let releases = [AGENTS, BEFORE, "18.1.0", "18.1.1"]
        .map(|version| json!({"version": version, "releasedAt": "2026-01-01T00:00:00Z"}));
    json!({"fleet": {"releases": {"releases": releases}}, "inventoryInterval": "2s"})
}

/// All three run, hooli its former version with agents that are a major behind.
pub(super) async fn before(bed: &TestBed, started: Instant) -> anyhow::Result<()> {
    for (file, name) in TENANTS {
        let text = example(file)?;
        if name == "hooli" {
            println!("kubectl apply -f {file}    # with version {BEFORE}, to begin with");
            let wanted = "version: 18.1.0";
            ensure!(text.matches(wanted).count() == 1, "{file} has no single line {wanted}");
            bed.apply(&text.replace(wanted, &format!("version: {BEFORE}"))).await?;
        } else {
            println!("kubectl apply -f {file}");
            bed.apply(&text).await?;
        }
    }
    let agents: [(&str, &str, &[&str]); 3] =
        [("build-1", AGENTS, &["Node"]), ("build-2", AGENTS, &["Node"]), ("shop", BEFORE, &["App", "Db"])];
    bed.agents("hooli.example.com", &agents);
    for (_, name) in TENANTS {
        bed.await_condition(name, name, "Ready", "True", PATIENCE).await?;
        println!("tenant {name}/{name} is Ready after {:.0} s", started.elapsed().as_secs_f32());
    }
    Ok(())
}

/// It is Saturday night, and newer versions are wanted.
pub(super) async fn due(bed: &TestBed) -> anyhow::Result<()> {
    let now = bed.clock().set(saturday(Utc::now())).await?;
    println!("\nthe operator decides as if it was {}", now.format("%A %F %H:%M UTC"));
    let patch = json!({"spec": {"version": "18.1.1"}}).to_string();
    println!("kubectl -n initech patch tenant initech --type=merge -p '{patch}'");
    bed.kubectl(["-n", "initech", "patch", "tenant", "initech", "--type=merge", "-p", &patch]).await?;
    println!("kubectl apply -f examples/pools.yaml    # version 18.1.0");
    bed.apply(&example("examples/pools.yaml")?).await?;
    bed.await_blockers("hooli", "hooli", &["AgentsBehind"], SHOWS).await?;
    let waits = |status: &Value| matches!(*blockers(status), ["WindowClosed" | "Excluded"]);
    bed.await_status("initech", "initech", "a patch that waits for its window", SHOWS, waits).await?;
    // Pools and windows follow what their tenants say.
    settled(bed, "hooli", "agentpool/production", "{.status.behind}=2").await?;
    settled(bed, "hooli", "mw/default", "{.status.open}=true").await?;
    settled(bed, "hooli", "mw/default", "{.status.due}=1").await?;
    settled(bed, "initech", "mw/sunday-night", "{.status.due}=1").await
}

async fn settled(bed: &TestBed, namespace: &str, object: &str, path: &str) -> anyhow::Result<()> {
    let path = format!("--for=jsonpath={path}");
    bed.kubectl(["-n", namespace, "wait", &path, object, "--timeout=60s"]).await.map(drop)
}

/// What a person sees.
pub(super) async fn look(bed: &TestBed) -> anyhow::Result<()> {
    println!("\n$ kubectl get tenants,mw,ap -A");
    print!("{}", bed.kubectl(["get", "tenants,mw,ap", "-A"]).await?);
    for name in ["initech", "hooli"] {
        let path = "jsonpath={range .status.next.blockers[*]}{.reason}: {.message}{\"\\n\"}{end}";
        println!("\n$ kubectl -n {name} get tenant {name} -o '{path}'");
        print!("{}", bed.kubectl(["-n", name, "get", "tenant", name, "-o", path]).await?);
    }
    let reach = bed.reach("acme", "acme").await?;
    println!("\n$ {}", bed.curl(&reach, "/webapi/ping")?.join(" "));
    println!("{}", bed.ask(&reach, "/webapi/ping").await?);
    Ok(())
}

/// What is left to the onlooker: move the agents, and let time pass.
pub(super) struct Levers {
    url: String,
    kubeconfig: String,
    opens: DateTime<Utc>,
}

impl Levers {
    pub(super) async fn new(bed: &TestBed, remote: &Remote) -> anyhow::Result<Levers> {
        let status = bed.status("initech", "initech").await?;
        let opens = status["next"]["notBefore"].as_str().context("initech's update has no earliest start")?.parse()?;
        let kubeconfig = bed.control_plane().kubeconfig().display().to_string();
        Ok(Levers { url: remote.url().to_owned(), kubeconfig, opens })
    }

    pub(super) fn tell(&self) {
        let program = std::env::current_exe().map_or_else(|_| "e2e".to_owned(), |path| path.display().to_string());
        println!("\nTo look around and to go on, in another terminal:");
        println!("export KUBECONFIG={} E2E_DEMO={}", self.kubeconfig, self.url);
        println!("\n# the agents that hold hooli back follow; its major update starts at once, for its window is open");
        println!("{program} agents hooli.example.com --move-to {BEFORE}");
        println!("\n# initech's window opens");
        println!("{program} clock {}", self.opens.format("%FT%TZ"));
    }

    /// Does both, and waits for the end of both updates.
    pub(super) async fn pull(&self, bed: &TestBed) -> anyhow::Result<()> {
        println!("\nhooli's agents move to {BEFORE}");
        bed.agents_move_to("hooli.example.com", BEFORE);
        bed.await_version("hooli", "hooli", "18.1.0", PATIENCE).await?;
        println!("\ninitech's window opens");
        bed.clock().set(self.opens).await?;
        bed.await_version("initech", "initech", "18.1.1", PATIENCE).await?;
        settled(bed, "initech", "mw/sunday-night", "{.status.updating}=0").await?;
        println!("\n$ kubectl get tenants,mw,ap -A");
        print!("{}", bed.kubectl(["get", "tenants,mw,ap", "-A"]).await?);
        Ok(())
    }
}

fn example(file: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(root().join(file)).with_context(|| format!("cannot read {file}"))
}

/// The next Saturday night that is far enough ahead for every agent to have reported to an Auth of now.
fn saturday(now: DateTime<Utc>) -> DateTime<Utc> {
    let soonest = now + TimeDelta::hours(1);
    let mut day = soonest.date_naive();
    loop {
        let night = day.and_time(chrono::NaiveTime::MIN).and_utc() + SATURDAY_NIGHT;
        if day.weekday() == Weekday::Sat && night >= soonest {
            return night;
        }
        day = day + Days::new(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_told_on_the_next_saturday_night() {
        let night = |now: &str| saturday(now.parse().unwrap()).format("%FT%R").to_string();
        assert_eq!(night("2026-11-27T08:00:00Z"), "2026-11-28T22:30");
        assert_eq!(night("2026-11-28T21:29:00Z"), "2026-11-28T22:30");
        assert_eq!(night("2026-11-28T21:31:00Z"), "2026-12-05T22:30");
    }
}
