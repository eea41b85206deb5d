//! How far this machine's clock is off the API server's. A window opens by our clock; one that is wrong opens it at the
//! wrong time, so what is decided by time is not decided while the two differ.
//!
//! Every answer of the API server carries its time in whole seconds, so half a second either way, and half of the time
//! that the call took, is the least that can be told. Whoever judges leaves much more than that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{Stream, stream};
use hyper::Request;
use hyper::header::DATE;
use kube::Client;
use kube::client::Body;
use plan::Fact;

use crate::clock;
use crate::error::chain;
use crate::metrics::Metrics;

/// How often it is measured; a clock that is set in between shows at once (see [`Skew::current`]).
const PERIOD: Duration = Duration::from_secs(60);
/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// An answer that took longer says too little.
const CALL: Duration = Duration::from_secs(8);
/// A measure that is older is none.
const GOOD_FOR: Duration = Duration::from_secs(300);
/// Whoever waits for the clocks to agree wants to hear of a change as large as this.
const NEWS: TimeDelta = TimeDelta::seconds(5);

/// The last measure.
#[derive(Clone, Debug, Default)]
pub struct Skew {
    last: Arc<Mutex<Option<Measure>>>,
}

#[derive(Clone, Copy, Debug)]
struct Measure {
    ahead: TimeDelta,
    /// Our clock when it was measured, and the time that nobody can set.
    wall: DateTime<Utc>,
    at: Instant,
}

impl Skew {
    /// By how many whole seconds our clock is ahead of the API server's; Unknown before the first measure and when the
    /// last is minutes old. What our own clock was set by since the measure counts as well.
    pub fn current(&self) -> Fact<TimeDelta> {
        match *self.last() {
            Some(measure) => measure.told(measure.at.elapsed(), clock::wall(), clock::setting().skew),
            None => Fact::Unknown,
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Measure>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures again and again; yields when what [`Skew::current`] says has changed by so much that a decision may.
    pub fn follow(&self, client: Client, metrics: Arc<Metrics>) -> impl Stream<Item = ()> + Send + use<> {
        // The first measure comes at once.
        let state = (self.clone(), client, metrics, Duration::ZERO, true, Fact::Unknown);
        stream::unfold(state, |(skew, client, metrics, mut pause, mut answers, told)| async move {
            loop {
                tokio::time::sleep(pause).await;
                match measure(&client).await {
                    Ok(measure) => {
                        *skew.last() = Some(measure);
                        (pause, answers) = (PERIOD, true);
                    }
                    Err(error) => {
                        if answers {
                            tracing::warn!(%error, "the API server's time is not to be had");
                        }
                        (pause, answers) = (RETRY, false);
                    }
                }
                let current = skew.current();
                if let Fact::Known(ahead) = current {
                    metrics.set_clock_skew(ahead);
                }
                if is_news(&told, &current) {
                    return Some(((), (skew, client, metrics, pause, answers, current)));
                }
            }
        })
    }
}

impl Measure {
    fn told(&self, passed: Duration, wall: DateTime<Utc>, pretended: TimeDelta) -> Fact<TimeDelta> {
        if passed > GOOD_FOR {
            return Fact::Unknown;
        }
        let was_set = wall - self.wall - TimeDelta::from_std(passed).unwrap_or_default();
        Fact::Known(TimeDelta::seconds((self.ahead + was_set + pretended).num_seconds()))
    }
}

fn is_news(told: &Fact<TimeDelta>, current: &Fact<TimeDelta>) -> bool {
    match (told, current) {
        (Fact::Known(told), Fact::Known(current)) => (*told - *current).abs() >= NEWS,
        (told, current) => told != current,
    }
}

async fn measure(client: &Client) -> Result<Measure, String> {
    let request = Request::get("/version").body(Body::empty()).expect("a request without a body can be made");
    let (wall, at) = (clock::wall(), Instant::now());
    let answer = tokio::time::timeout(CALL, client.send(request))
        .await
        .map_err(|_| format!("no answer in {} s", CALL.as_secs()))?
        .map_err(|error| chain(&error))?;
    let took = TimeDelta::from_std(at.elapsed()).unwrap_or_default();
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let date = date.ok_or("the answer carries no time")?.to_utc();
    Ok(Measure { ahead: ahead(wall, took, date), wall, at })
}

/// The date was written at some moment of the call, and some part of a second was cut off: the middle of both is the
/// best guess.
fn ahead(asked: DateTime<Utc>, took: TimeDelta, date: DateTime<Utc>) -> TimeDelta {
    asked + took / 2 - (date + TimeDelta::milliseconds(500))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;

    use futures::StreamExt;
    use hyper::Response;

    use super::*;

    /// An API server whose answers are dated like this.
    fn server(date: impl Fn() -> Option<String> + Clone + Send + Sync + 'static) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            assert_eq!(request.uri().path(), "/version");
            let mut answer = Response::new(Body::empty());
            if let Some(date) = date() {
                answer.headers_mut().insert(DATE, date.parse().expect("a header"));
            }
            futures::future::ready(Ok::<_, Infallible>(answer))
        });
        Client::new(service, "default")
    }

    fn dated(behind: TimeDelta) -> Client {
        server(move || Some((clock::wall() - behind).format("%a, %d %b %Y %H:%M:%S GMT").to_string()))
    }

    #[tokio::test]
    async fn the_difference_is_known_once_it_was_measured() {
        let skew = Skew::default();
        assert_eq!(skew.current(), Fact::Unknown);
        pin!(skew.follow(dated(TimeDelta::seconds(40)), Arc::default())).next().await.expect("a measure");
        let Fact::Known(ahead) = skew.current() else { panic!("not known") };
        assert!((39..=41).contains(&ahead.num_seconds()), "{ahead}");
    }

    #[tokio::test]
    async fn a_clock_that_is_behind_has_a_negative_difference() {
        let measure = measure(&dated(TimeDelta::seconds(-90))).await.expect("a measure");
        assert!((-91..=-89).contains(&measure.ahead.num_seconds()), "{measure:?}");
    }

    #[tokio::test]
    async fn an_answer_without_a_time_measures_nothing() {
        for date in [None, Some("yesterday".to_owned())] {
            let refused = measure(&server(move || date.clone())).await.expect_err("no time");
            assert_eq!(refused, "the answer carries no time");
        }
    }

    #[test]
    fn a_measure_is_good_for_a_while_and_knows_when_our_clock_was_set_since() {
        let measure = Measure { ahead: TimeDelta::seconds(2), wall: clock::wall(), at: Instant::now() };
        let told = |seconds, wall_seconds| {
            measure.told(
                Duration::from_secs(seconds),
                measure.wall + TimeDelta::seconds(wall_seconds),
                TimeDelta::zero(),
            )
        };
        let known = |seconds| Fact::Known(TimeDelta::seconds(seconds));
        assert_eq!(told(60, 60), known(2));
        assert_eq!(told(60, 3660), known(3602));
        assert_eq!(told(60, 0), known(-58));
        assert_eq!(told(301, 301), Fact::Unknown);
    }

    #[test]
    fn only_what_may_change_a_decision_is_news() {
        let seconds = |seconds| Fact::Known(TimeDelta::seconds(seconds));
        assert!(is_news(&Fact::Unknown, &seconds(0)) && is_news(&seconds(0), &Fact::Unknown));
        assert!(is_news(&seconds(0), &seconds(-5)));
        assert!(!is_news(&seconds(0), &seconds(4)) && !is_news(&Fact::Unknown, &Fact::Unknown));
    }

    #[test]
    fn a_slow_answer_was_dated_in_the_middle_and_a_date_is_cut_off() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("in range");
        assert_eq!(ahead(at(100), TimeDelta::seconds(4), at(102)), TimeDelta::milliseconds(-500));
    }
}
