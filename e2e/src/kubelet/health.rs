//! The schedule and the thresholds of a container's probes: when it has started, whether it is ready, when it is to be
//! killed. It asks through a function, so that its rules can be tested without a container.

use std::convert::Infallible;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Probe;
use tokio::time::{Instant, sleep_until, timeout};

use super::crowd::Crowd;
use super::pace::Pace;

/// Between two attempts at least: at a high pace, hundreds of containers would do nothing but answer probes.
const SHORTEST_PERIOD: Duration = Duration::from_millis(50);
/// The shortest time for an answer, whatever the pace: the machine is not faster than a real one.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);

/// After so many good answers in a row a container is well, and is asked more rarely where many are.
const STEADY: u32 = 20;

/// Asks one probe once.
pub(super) type Ask<'a> = dyn Fn(&Probe) -> BoxFuture<'a, Result<(), String>> + Sync + 'a;

/// The probes of one container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probes<'a> {
    pub(super) startup: Option<&'a Probe>,
    pub(super) liveness: Option<&'a Probe>,
    pub(super) readiness: Option<&'a Probe>,
    /// How many times as many failures as the probes say it takes to kill: a program that does not keep the pace is given
    /// the time of a real one.
    pub(super) patience: u32,
    /// Those that are probed beside it.
    pub(super) crowd: &'a Crowd,
}

/// What the probes found, when it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    Started,
    Ready,
    Unready(String),
}

/// Why a container is to be killed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unhealthy {
    /// `Liveness` or `Startup`.
    pub(super) probe: &'static str,
    pub(super) message: String,
    /// The probe's own grace period in seconds.
    pub(super) grace: Option<i64>,
}

/// Watches a running container until it is to be killed; never ends otherwise.
pub(super) async fn watch(
    probes: Probes<'_>,
    began: Instant,
    pace: Pace,
    ask: &Ask<'_>,
    tell: &(dyn Fn(Finding) + Sync),
) -> Unhealthy {
    let schedule = Schedule { began, pace, ask, crowd: probes.crowd };
    if let Some(startup) = probes.startup {
        let (mut result, mut first) = (None, true);
        if let Err(message) = schedule.flip(startup, probes.patience, &mut result, &mut first).await {
            return Unhealthy { probe: "Startup", message, grace: startup.termination_grace_period_seconds };
        }
    }
    tell(Finding::Started);
    let liveness = async {
        let Some(probe) = probes.liveness else { return std::future::pending().await };
        let (mut result, mut first) = (Some(true), true);
        match schedule.flip(probe, probes.patience, &mut result, &mut first).await {
            Ok(()) => std::future::pending().await,
            Err(message) => Unhealthy { probe: "Liveness", message, grace: probe.termination_grace_period_seconds },
        }
    };
    tokio::select! {
        biased;
        never = schedule.readiness(probes.readiness, false, tell) => match never {},
        unhealthy = liveness => unhealthy,
    }
}

/// Watches the readiness of a container that is being stopped: its other probes are over.
pub(super) async fn watch_stopping(
    probes: Probes<'_>,
    began: Instant,
    ready: bool,
    pace: Pace,
    ask: &Ask<'_>,
    tell: &(dyn Fn(Finding) + Sync),
) -> Infallible {
    Schedule { began, pace, ask, crowd: probes.crowd }.readiness(probes.readiness, ready, tell).await
}

struct Schedule<'s, 'a> {
    began: Instant,
    pace: Pace,
    ask: &'s Ask<'a>,
    crowd: &'s Crowd,
}

impl Schedule<'_, '_> {
    async fn readiness(&self, probe: Option<&Probe>, ready: bool, tell: &(dyn Fn(Finding) + Sync)) -> Infallible {
        let Some(probe) = probe else {
            tell(Finding::Ready);
            return std::future::pending().await;
        };
        let (mut result, mut first) = (Some(ready), true);
        loop {
            tell(match self.flip(probe, 1, &mut result, &mut first).await {
                Ok(()) => Finding::Ready,
                Err(message) => Finding::Unready(message),
            });
        }
    }

    /// Asks until the result, after thresholds, is another than it was.
    async fn flip(
        &self,
        probe: &Probe,
        patience: u32,
        result: &mut Option<bool>,
        first: &mut bool,
    ) -> Result<(), String> {
        let positive = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        let period = self.pace.seconds(positive(probe.period_seconds, 10)).max(SHORTEST_PERIOD);
        let limit = self.pace.seconds(positive(probe.timeout_seconds, 1)).max(SHORTEST_TIMEOUT);
        let mut streak = (false, 0_u32);
        loop {
            if *first {
                *first = false;
                sleep_until(self.began + self.pace.seconds(probe.initial_delay_seconds.unwrap_or(0))).await;
            } else {
                let well = streak.0 && streak.1 >= STEADY;
                tokio::time::sleep(if well { self.crowd.period(period) } else { period }).await;
            }
            let answer = timeout(limit, (self.ask)(probe)).await;
            let answer = answer.unwrap_or_else(|_| Err("context deadline exceeded while awaiting an answer".into()));
            let good = answer.is_ok();
            streak = if streak.0 == good { (good, streak.1 + 1) } else { (good, 1) };
            let threshold = match good {
                true => positive(probe.success_threshold, 1),
                false => positive(probe.failure_threshold, 3).saturating_mul(patience),
            };
            if streak.1 >= threshold && *result != Some(good) {
                *result = Some(good);
                return answer;
            }
        }
    }
}

#[cfg(test)]
mod tests;
