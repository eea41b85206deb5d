//! Runs scenarios side by side, says how each went, and shows what a person would look at first when one failed.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use chrono::DateTime;
use e2e::testbed::{Options, TestBed};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;

use super::cluster;

/// A scenario that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(300);
/// Lines of a log that are shown.
const TAIL: usize = 15;

/// Runs scenarios on a test bed of their own, whose operator has these values of its chart. Ends in a panic that names all
/// that failed.
pub async fn run(values: Value, scenarios: impl AsyncFnOnce(&mut Runner<'_>)) {
    let bed = TestBed::with_operator(&Options { values, ..Options::default() }).await.expect("the test bed starts");
    let mut runner = Runner::new(&bed);
    tokio::select! {
        () = scenarios(&mut runner) => {}
        exit = bed.control_plane().failure() => runner.broke(&exit.to_string()),
    }
    let outcome = runner.finish();
    bed.stop().await;
    outcome.unwrap();
}

/// One scenario, not yet run.
pub struct Scenario<'a> {
    name: &'static str,
    namespaces: &'static [&'static str],
    limit: Duration,
    run: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>,
}

impl Scenario<'_> {
    /// One that is large, and may take so long.
    pub fn within(self, limit: Duration) -> Self {
        Scenario { limit, ..self }
    }
}

/// A scenario with its name and the namespaces to look into when it fails.
pub fn scenario<'a>(
    name: &'static str,
    namespaces: &'static [&'static str],
    run: impl Future<Output = anyhow::Result<()>> + Send + 'a,
) -> Scenario<'a> {
    Scenario { name, namespaces, limit: LIMIT, run: Box::pin(run) }
}

/// Runs scenarios on one test bed and remembers what failed.
pub struct Runner<'a> {
    bed: &'a TestBed,
    chosen: Option<Vec<String>>,
    ran: usize,
    failures: Vec<String>,
    started: Instant,
}

impl<'a> Runner<'a> {
    pub fn new(bed: &'a TestBed) -> Runner<'a> {
        let chosen = std::env::var("SCENARIOS").ok();
        let chosen = chosen.map(|names| names.split(',').map(|name| name.trim().to_owned()).collect());
        Runner { bed, chosen, ran: 0, failures: Vec::new(), started: Instant::now() }
    }

    pub fn bed(&self) -> &'a TestBed {
        self.bed
    }

    /// Runs these side by side, to the end of the last.
    pub async fn together(&mut self, scenarios: Vec<Scenario<'_>>) {
        let chosen =
            |name: &str| self.chosen.as_ref().is_none_or(|chosen| chosen.iter().any(|some| name.contains(some)));
        let mut running: FuturesUnordered<_> = scenarios
            .into_iter()
            .filter(|scenario| chosen(scenario.name))
            .map(async |Scenario { name, namespaces, limit, run }| {
                let started = Instant::now();
                let outcome = match tokio::time::timeout(limit, run).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(anyhow::anyhow!("it does not end within {} s", limit.as_secs())),
                };
                (name, namespaces, outcome, started.elapsed())
            })
            .collect();
        while let Some((name, namespaces, outcome, took)) = running.next().await {
            self.ran += 1;
            let Err(error) = outcome else {
                self.bed.say(&format!("scenario {name} … ok ({:.1} s)", took.as_secs_f32()));
                continue;
            };
            self.bed.say(&format!("scenario {name} … FAILED ({:.1} s): {error:#}", took.as_secs_f32()));
            for namespace in namespaces {
                self.show(namespace).await;
            }
            self.bed.say(&format!("--- log of the operator\n{}", tail(&self.bed.operator_log().await, namespaces)));
            self.failures.push(format!("{name}: {error:#}"));
        }
    }

    /// The tenants of a namespace and the logs of its pods.
    async fn show(&self, namespace: &str) {
        let tenants = self.bed.kubectl(["-n", namespace, "get", "tenants", "-o", "yaml"]).await;
        self.bed.say(&format!("--- tenants of {namespace}\n{}", tenants.unwrap_or_else(|error| format!("{error:#}"))));
        let pods = self.bed.kubectl(["-n", namespace, "get", "pods", "-o", "wide"]).await;
        self.bed.say(&format!("--- pods of {namespace}\n{}", pods.unwrap_or_else(|error| format!("{error:#}"))));
        for pod in cluster::names(self.bed, namespace, "pods", "").await.unwrap_or_default() {
            let log = self.bed.kubelet().log(namespace, &pod, "teleport");
            self.bed.say(&format!("--- log of {namespace}/{pod}\n{}", tail(&log, &[])));
        }
    }

    /// Something that all of them stand on broke.
    pub fn broke(&mut self, what: &str) {
        self.failures.push(what.to_owned());
    }

    /// All failures as one error.
    pub fn finish(self) -> anyhow::Result<()> {
        // Each claim of a hop makes a Job of its own, and nothing else makes Jobs.
        let writes = self.bed.writes_since(DateTime::UNIX_EPOCH)?;
        let hops = writes.iter().filter(|write| write.resource == "jobs" && write.code == 201).count();
        let (ran, seconds, kills) = (self.ran, self.started.elapsed().as_secs_f32(), self.bed.kills());
        println!("counted: {ran} scenarios in {seconds:.0} s, {hops} hops begun, {kills} kills of the operator");
        anyhow::ensure!(self.ran > 0, "no scenario was chosen");
        anyhow::ensure!(self.failures.is_empty(), "{} failed:\n{}", self.failures.len(), self.failures.join("\n"));
        Ok(())
    }
}

/// The last lines, of those that name one of these words if there are any to look for.
fn tail(log: &str, words: &[&str]) -> String {
    let lines: Vec<&str> =
        log.lines().filter(|line| words.is_empty() || words.iter().any(|word| line.contains(word))).collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}
