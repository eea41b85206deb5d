//! What the operator counts about itself. Labels hold one of a handful of words, never a name, so that the number of
//! series does not grow with the number of tenants.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use chrono::TimeDelta;
use plan::acme::problem;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::clock;

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindOutcome {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepOutcome {
    step: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HopEnd {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Missed {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TimeZones {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unlisted {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    mended_by: &'static str,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<KindOutcome, Counter>,
    durations: Family<Kind, Histogram, fn() -> Histogram>,
    steps: Family<StepOutcome, Counter>,
    queue_errors: Counter,
    leader: Gauge<i64, AtomicI64>,
    policy_valid: Gauge<i64, AtomicI64>,
    feed_valid: Gauge<i64, AtomicI64>,
    tenants: Family<Phase, Gauge<i64, AtomicI64>>,
    unlisted: Family<Unlisted, Gauge<i64, AtomicI64>>,
    acme_waiting: Gauge<i64, AtomicI64>,
    acme_issued: Counter,
    acme_refused: Family<Refused, Counter>,
    hops: Family<HopEnd, Counter>,
    hop_seconds: Family<HopEnd, Histogram, fn() -> Histogram>,
    missed: Family<Missed, Counter>,
    clock_skew: Gauge<f64, AtomicU64>,
    clock_offset: Gauge<f64, AtomicU64>,
}

/// From 5 ms, a run that finds nothing to do, to 80 s, longer than any run may take.
fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 15))
}

/// From 10 s, the shortest update in a test, to 6 h.
fn hop_buckets() -> Histogram {
    Histogram::new(exponential_buckets(10.0, 2.0, 12))
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("tenant_operator");
        let reconciles = Family::default();
        registry.register("reconcile", "Runs of a reconciler, by kind of object and outcome", reconciles.clone());
        let durations = Family::new_with_constructor(buckets as fn() -> Histogram);
        registry.register("reconcile_seconds", "Duration of a run, by kind of object", durations.clone());
        let steps = Family::default();
        registry.register("step", "Effects on the cluster, the cloud and Teleport, by outcome", steps.clone());
        let queue_errors = Counter::default();
        registry.register("queue_errors", "Errors of the watches that feed the queue", queue_errors.clone());
        let leader = Gauge::default();
        registry.register("leader", "1 while this process leads", leader.clone());
        let policy_valid = Gauge::default();
        registry.register("policy_valid", "1 while installation.yaml as written is in force", policy_valid.clone());
        let feed_valid = Gauge::default();
        registry.register("feed_valid", "1 while the release feed as written is in force", feed_valid.clone());
        let tenants = Family::default();
        registry.register("tenants", "Tenants by phase", tenants.clone());
        let unlisted = Family::default();
        let help = "Tenants that run a release which is not in the feed, or was withdrawn";
        registry.register("unlisted_release_tenants", help, unlisted.clone());
        let acme_waiting = Gauge::default();
        let help = "Tenants whose web certificate waits for the limits of the ACME server";
        registry.register("acme_waiting_tenants", help, acme_waiting.clone());
        let acme_issued = Counter::default();
        registry.register("acme_certificates", "Web certificates that the ACME server has issued", acme_issued.clone());
        let acme_refused = Family::default();
        registry.register("acme_refusals", "Refusals of the ACME server, by what mends them", acme_refused.clone());
        let clock_skew = Gauge::default();
        registry.register("clock_skew_seconds", "Our clock less the API server's", clock_skew.clone());
        let clock_settable = Gauge::<i64, AtomicI64>::default();
        clock_settable.set(i64::from(clock::SETTABLE));
        registry.register(
            "test_clock",
            "1 in a test build, whose clock can be set; never in production",
            clock_settable,
        );
        let clock_offset = Gauge::default();
        registry.register("test_clock_offset_seconds", "By how much tests have set the clock", clock_offset.clone());
        let hops = Family::default();
        registry.register("hops", "Updates that ended, by kind and result", hops.clone());
        let hop_seconds = Family::new_with_constructor(hop_buckets as fn() -> Histogram);
        registry.register("hop_seconds", "Duration of an update, by kind and result", hop_seconds.clone());
        let missed = Family::default();
        registry.register(
            "missed_windows",
            "Windows that passed without a due update, by what held it",
            missed.clone(),
        );
        let tz: Family<TimeZones, Gauge<i64, AtomicI64>> = Family::default();
        tz.get_or_create(&TimeZones { version: plan::window::tz_version() }).set(1);
        registry.register("time_zones_info", "The version of the time zone database", tz);
        Metrics {
            registry,
            hops,
            hop_seconds,
            missed,
            reconciles,
            durations,
            steps,
            queue_errors,
            leader,
            policy_valid,
            feed_valid,
            tenants,
            unlisted,
            acme_waiting,
            acme_issued,
            acme_refused,
            clock_skew,
            clock_offset,
        }
    }
}

impl Metrics {
    /// A reconciler has run; `outcome` is `ok` or the label of an error class.
    pub fn reconciled(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&KindOutcome { kind, outcome }).inc();
        self.durations.get_or_create(&Kind { kind }).observe(took.as_secs_f64());
    }

    /// A step was performed; `outcome` is `ok` or the label of an error class.
    pub fn stepped(&self, step: &'static str, outcome: &'static str) {
        self.steps.get_or_create(&StepOutcome { step, outcome }).inc();
    }

    /// An update ended after this many seconds.
    pub fn hop_ended(&self, kind: &'static str, result: &'static str, seconds: i64) {
        let end = HopEnd { kind, result };
        self.hops.get_or_create(&end).inc();
        self.hop_seconds
            .get_or_create(&end)
            .observe(std::time::Duration::from_secs(seconds.unsigned_abs()).as_secs_f64());
    }

    /// A window passed without a due update; `reason` is the word of a blocker.
    pub fn window_missed(&self, reason: &str) {
        self.missed.get_or_create(&Missed { reason: reason.to_owned() }).inc();
    }

    /// A watch failed and will be begun again.
    pub fn queue_failed(&self) {
        self.queue_errors.inc();
    }

    /// Whether this process leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Whether the fleet policy as written is the one in force.
    pub fn set_policy_valid(&self, valid: bool) {
        self.policy_valid.set(i64::from(valid));
    }

    /// Whether the release feed as written is the one in force.
    pub fn set_feed_valid(&self, valid: bool) {
        self.feed_valid.set(i64::from(valid));
    }

    /// How many tenants are in each phase; phases that are not named have none.
    pub fn set_tenants(&self, phases: &BTreeMap<&'static str, usize>) {
        self.tenants.clear();
        for (phase, count) in phases {
            self.tenants.get_or_create(&Phase { phase }).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }

    /// How many tenants run a release that the feed does not list, by the reason; reasons that are not named have none.
    pub fn set_unlisted(&self, reasons: &BTreeMap<String, usize>) {
        self.unlisted.clear();
        for (reason, count) in reasons {
            let gauge = self.unlisted.get_or_create(&Unlisted { reason: reason.clone() });
            gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }

    /// How many tenants wait for the limits of the ACME server.
    pub fn set_acme_waiting(&self, count: usize) {
        self.acme_waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A web certificate came from the ACME server.
    pub fn acme_issued(&self) {
        self.acme_issued.inc();
    }

    /// The ACME server refused.
    pub fn acme_refused(&self, kind: problem::Kind) {
        let mended_by = match kind {
            problem::Kind::Person => "person",
            problem::Kind::Wait(_) => "time",
            problem::Kind::Again | problem::Kind::Replaced => "retry",
        };
        self.acme_refused.get_or_create(&Refused { mended_by }).inc();
    }

    /// By how much our clock is ahead of the API server's.
    pub fn set_clock_skew(&self, ahead: TimeDelta) {
        self.clock_skew.set(ahead.as_seconds_f64());
    }

    /// By how much tests have moved the clock by which is decided.
    pub fn set_clock_offset(&self, offset: TimeDelta) {
        self.clock_offset.set(offset.as_seconds_f64());
    }

    /// All metrics in the text format of OpenMetrics.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a String does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_can_be_read() {
        let metrics = Metrics::default();
        metrics.reconciled("Tenant", "ok", Duration::from_millis(7));
        metrics.reconciled("Tenant", "Throttled", Duration::from_millis(7));
        metrics.stepped("CreateTable", "ok");
        metrics.queue_failed();
        metrics.set_leader(true);
        metrics.set_policy_valid(false);
        metrics.set_feed_valid(true);
        metrics.set_clock_skew(TimeDelta::seconds(-2));
        let text = metrics.text();
        for line in [
            "tenant_operator_reconcile_total{kind=\"Tenant\",outcome=\"ok\"} 1",
            "tenant_operator_reconcile_total{kind=\"Tenant\",outcome=\"Throttled\"} 1",
            "tenant_operator_reconcile_seconds_count{kind=\"Tenant\"} 2",
            "tenant_operator_step_total{step=\"CreateTable\",outcome=\"ok\"} 1",
            "tenant_operator_queue_errors_total 1",
            "tenant_operator_leader 1",
            "tenant_operator_policy_valid 0",
            "tenant_operator_feed_valid 1",
            "tenant_operator_clock_skew_seconds -2.0",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_release_that_is_listed_again_is_not_left_behind() {
        let metrics = Metrics::default();
        metrics.set_unlisted(&[("ReleaseWithdrawn".to_owned(), 2)].into());
        let text = metrics.text();
        let line = "tenant_operator_unlisted_release_tenants{reason=\"ReleaseWithdrawn\"} 2";
        assert!(text.lines().any(|written| written == line), "{text}");
        metrics.set_unlisted(&BTreeMap::new());
        assert!(!metrics.text().contains("ReleaseWithdrawn"));
    }

    #[test]
    fn a_phase_without_tenants_is_not_left_behind() {
        let metrics = Metrics::default();
        metrics.set_tenants(&[("Pending", 2), ("Ready", 1)].into());
        metrics.set_tenants(&[("Ready", 3)].into());
        let text = metrics.text();
        assert!(text.contains("tenant_operator_tenants{phase=\"Ready\"} 3"), "{text}");
        assert!(!text.contains("Pending"), "{text}");
    }
}
