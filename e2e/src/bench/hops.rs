//! The hops of a crowd, as a watch of their statuses tells of them: how many ran at once, how busy the places were, and who
//! went before whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use crds::Tenant;
use crds::update_status::{HopRecord, HopResult};
use kube::ResourceExt;
use kube::runtime::watcher;

use super::crowd::Crowd;
use crate::follow::{Change, Follower};
use crate::testbed::TestBed;

/// How often to say how far it is.
const TELL: Duration = Duration::from_secs(30);

/// What holds back all that wait alike.
const OF_THE_LINE: [&str; 3] = ["ConcurrencyReached", "WindowClosed", "Excluded"];

/// Since when a hop has been due, and whose it is: the order in which they are to begin.
type Turn = (i64, String);

/// What was seen so far.
#[derive(Debug)]
pub struct Hops {
    opened: Instant,
    seen: Instant,
    /// Those that wait, by uid.
    waiting: BTreeMap<String, i64>,
    /// Those that run, with the last that ended before.
    running: BTreeMap<String, (Instant, Option<HopRecord>)>,
    /// In the order in which they began for the first time.
    begun: Vec<Turn>,
    /// What else than a place or the window held back those that waited, by uid: they lose their turn to those behind.
    held: BTreeMap<String, BTreeSet<String>>,
    last_begun: Instant,
    ended: usize,
    failed: Vec<String>,
    given_up: usize,
    most: usize,
    /// Time that hops ran, all together, and what of it was before the last one began.
    ran: Duration,
    ran_in_line: Duration,
    /// The same without those that were given up.
    whole: Duration,
    last_ended: Instant,
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Hops that succeeded.
    pub finished: usize,
    /// Hops that ended otherwise, with their tenants.
    pub failed: Vec<String>,
    /// Claims that were given up before anything was touched.
    pub given_up: usize,
    /// The most that ran at the same instant.
    pub most: usize,
    /// Share of the places that was taken, from the opening to the beginning of the last hop: as long as somebody waited.
    pub busy: f64,
    /// Hops that began before one that had been due for longer.
    pub overtook: usize,
    /// By how many places the one that was farthest from its turn was off, of those that only waited for it.
    pub displaced: usize,
    /// How many waited for something else, too, by what it was.
    pub held: BTreeMap<String, usize>,
    /// How long a hop took on average.
    pub hop: Duration,
    /// From the opening to the end of the last hop.
    pub total: Duration,
}

impl Hops {
    fn new(opened: Instant) -> Hops {
        Hops {
            opened,
            seen: opened,
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            begun: Vec::new(),
            held: BTreeMap::new(),
            last_begun: opened,
            ended: 0,
            failed: Vec::new(),
            given_up: 0,
            most: 0,
            ran: Duration::ZERO,
            ran_in_line: Duration::ZERO,
            whole: Duration::ZERO,
            last_ended: opened,
        }
    }

    fn see(&mut self, at: Instant, tenant: &Tenant) {
        let (Some(uid), Some(status)) = (tenant.uid(), &tenant.status) else { return };
        let among = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        self.ran += at.saturating_duration_since(self.seen) * among;
        self.seen = at;
        if let Some(since) = status.next.as_ref().and_then(|next| next.due_since.as_ref()) {
            self.waiting.insert(uid.clone(), since.0.as_second());
        }
        let blockers = status.next.iter().flat_map(|next| &next.blockers).map(|blocker| blocker.reason.clone());
        let others: Vec<String> = blockers.filter(|reason| !OF_THE_LINE.contains(&reason.as_str())).collect();
        if others.is_empty() && status.update.is_none() && status.next.is_some() {
            // What held it back has passed: from here on it only waits for its turn.
            self.held.remove(&uid);
        } else if !others.is_empty() && !self.begun.iter().any(|(_, before)| *before == uid) {
            self.held.entry(uid.clone()).or_default().extend(others);
        }
        let last = status.history.first();
        match (&status.update, self.running.contains_key(&uid)) {
            (Some(_), false) => {
                self.running.insert(uid.clone(), (at, last.cloned()));
                self.most = self.most.max(self.running.len());
                if !self.begun.iter().any(|(_, before)| *before == uid) {
                    self.begun.push((self.waiting.get(&uid).copied().unwrap_or_default(), uid));
                }
                (self.last_begun, self.ran_in_line) = (at, self.ran);
            }
            (None, true) => {
                let (began, before) = self.running.remove(&uid).unwrap_or((at, None));
                match last.map(|record| record.result) {
                    // A hop that was given up leaves no record.
                    _ if last == before.as_ref() => self.given_up += 1,
                    Some(HopResult::Succeeded) => {
                        self.ended += 1;
                        self.whole += at.saturating_duration_since(began);
                        self.last_ended = at;
                    }
                    _ => self.failed.push(tenant.name_any()),
                }
            }
            (Some(_), true) | (None, false) => {}
        }
    }

    fn over(&self) -> usize {
        self.ended + self.failed.len()
    }

    fn summary(&self, limit: usize) -> Summary {
        let line: Vec<&Turn> = self.begun.iter().filter(|(_, uid)| !self.held.contains_key(uid)).collect();
        let mut order = line.clone();
        order.sort();
        let off = line.iter().enumerate().map(|(at, turn)| at.abs_diff(order.binary_search(turn).unwrap_or_default()));
        let mut held = BTreeMap::new();
        for reason in self.held.values().flatten() {
            *held.entry(reason.clone()).or_default() += 1;
        }
        let mut overtook = 0;
        let mut longest = i64::MAX;
        for (since, _) in line.iter().rev() {
            overtook += usize::from(*since > longest);
            longest = longest.min(*since);
        }
        let places = self.last_begun.saturating_duration_since(self.opened).as_secs_f64() * limit as f64;
        Summary {
            finished: self.ended,
            failed: self.failed.clone(),
            given_up: self.given_up,
            most: self.most,
            busy: if places > 0.0 { self.ran_in_line.as_secs_f64() / places } else { 1.0 },
            overtook,
            displaced: off.max().unwrap_or_default(),
            held,
            hop: self.whole.checked_div(u32::try_from(self.ended).unwrap_or(u32::MAX)).unwrap_or_default(),
            total: self.last_ended.saturating_duration_since(self.opened),
        }
    }
}

impl Summary {
    /// How long it would take if no place were ever free.
    pub fn ideal(&self, limit: usize) -> Duration {
        self.hop.mul_f64(self.finished as f64 / limit.max(1) as f64)
    }

    /// What must hold whatever the machine is like.
    ///
    /// # Errors
    /// With the promise that was broken.
    pub fn check(&self, crowd: usize, limit: usize) -> anyhow::Result<()> {
        ensure!(self.most <= limit, "{} hops ran at once, and {limit} may", self.most);
        ensure!(self.failed.is_empty(), "{} hops did not succeed, such as of {}", self.failed.len(), self.failed[0]);
        ensure!(self.finished == crowd, "{} of {crowd} hops ended", self.finished);
        // Those that find a place at the same moment may begin in any order, and while a claim that met a conflict is tried
        // again the others go on.
        let Summary { displaced, held, .. } = self;
        let others: usize = held.values().sum();
        ensure!(10 * others <= crowd, "{others} of {crowd} waited for something else: {held:?}");
        ensure!(*displaced <= 2 * limit, "one hop began {displaced} places away from its turn; held back: {held:?}");
        Ok(())
    }
}

/// Opens the window by `open` and follows the hops of the crowd to the end of the last.
///
/// # Errors
/// When they do not end in time.
pub async fn follow(
    bed: &TestBed,
    crowd: &Crowd,
    places: usize,
    limit: Duration,
    open: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Summary> {
    let mut tenants = Follower::<Tenant>::new(bed.tenants(&crowd.namespace), watcher::Config::default());
    let mut known = Vec::new();
    loop {
        match tenants.next().await {
            Change::Applied(tenant) => known.push(tenant),
            Change::Gone(_) => {}
            Change::Complete => break,
        }
    }
    open.await?;
    let mut hops = Hops::new(Instant::now());
    known.iter().for_each(|tenant| hops.see(hops.opened, tenant));
    let mut told = Instant::now();
    while hops.over() < crowd.size {
        let change = tokio::time::timeout(TELL, tenants.next()).await;
        if let Ok(Change::Applied(tenant)) = change {
            hops.see(Instant::now(), &tenant);
        }
        if hops.opened.elapsed() > limit {
            bail!("{} of {} hops ended within {} s", hops.over(), crowd.size, limit.as_secs());
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            let after = hops.opened.elapsed().as_secs_f32();
            bed.say(&format!("hops: {} ended, {} run after {after:.0} s", hops.over(), hops.running.len()));
        }
    }
    Ok(hops.summary(places))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct Seen {
        hops: Hops,
        opened: Instant,
    }

    impl Seen {
        fn new() -> Seen {
            let opened = Instant::now();
            Seen { hops: Hops::new(opened), opened }
        }

        fn see(&mut self, second: u64, name: &str, status: Value) {
            let tenant = json!({
                "metadata": {"name": name, "uid": name},
                "spec": {"domain": "a.example.com", "edition": "Community", "version": "18.1.0", "region": "us-west-2"},
                "status": status,
            });
            let tenant = serde_json::from_value(tenant).expect("a Tenant");
            self.hops.see(self.opened + Duration::from_secs(second), &tenant);
        }

        fn due(&mut self, name: &str, since: i64) {
            let since = format!("2026-11-27T00:00:{since:02}Z");
            let next = json!({"kind": "Patch", "to": "18.1.1", "hops": 1, "dueSince": since, "actionable": false,
                "missed": 0});
            self.see(0, name, json!({ "next": next }));
        }

        fn begins(&mut self, second: u64, name: &str) {
            let (at, stage) = ("2026-11-27T00:01:00Z", "Preflight");
            let update = json!({"kind": "Patch", "from": "18.1.0", "to": "18.1.1", "stage": stage, "startedAt": at,
                "stageSince": at, "downSecondsBefore": 0});
            self.see(second, name, json!({ "update": update }));
        }

        fn ends(&mut self, second: u64, name: &str, result: &str) {
            let at = "2026-11-27T00:02:00Z";
            let record = json!({"kind": "Patch", "from": "18.1.0", "to": "18.1.1", "startedAt": at, "finishedAt": at,
                "result": result, "generation": 1, "pauseSeconds": 0, "message": ""});
            self.see(second, name, json!({"history": [record]}));
        }
    }

    #[test]
    fn places_order_and_times_are_told() {
        let mut seen = Seen::new();
        for (name, since) in [("a", 1), ("b", 2), ("c", 3)] {
            seen.due(name, since);
        }
        seen.begins(0, "b");
        seen.begins(0, "a");
        seen.ends(10, "a", "Succeeded");
        seen.begins(20, "c");
        seen.ends(20, "b", "Succeeded");
        seen.ends(30, "c", "Succeeded");
        let summary = seen.hops.summary(2);
        assert_eq!((summary.finished, summary.most, summary.overtook, summary.displaced), (3, 2, 1, 1));
        // 30 of 40 seconds of two places, until c began.
        assert!((summary.busy - 0.75).abs() < 1e-9, "{summary:?}");
        assert_eq!((summary.hop, summary.total), (Duration::from_secs(40) / 3, Duration::from_secs(30)));
        assert_eq!(summary.ideal(2), Duration::from_secs(20));
        summary.check(3, 2).expect("two places suffice");
        assert!(summary.check(3, 1).unwrap_err().to_string().contains("2 hops ran at once"));
        assert!(summary.check(4, 2).unwrap_err().to_string().contains("3 of 4 hops ended"));
    }

    #[test]
    fn one_that_waits_for_something_else_loses_its_turn_and_is_told_of() {
        let mut seen = Seen::new();
        for (name, since) in [("a", 1), ("b", 2), ("c", 3)] {
            seen.due(name, since);
        }
        let blocker = json!({"reason": "NotSettled", "message": "a pod is not ready"});
        let next = json!({"kind": "Patch", "to": "18.1.1", "hops": 1, "dueSince": "2026-11-27T00:00:01Z",
            "actionable": false, "missed": 0, "blockers": [blocker]});
        seen.see(0, "a", json!({ "next": next }));
        seen.begins(0, "b");
        seen.begins(0, "c");
        seen.begins(1, "a");
        let summary = seen.hops.summary(3);
        assert_eq!((summary.overtook, summary.displaced), (0, 0));
        assert_eq!(summary.held, [("NotSettled".to_owned(), 1)].into());
    }

    #[test]
    fn one_that_goes_back_has_not_finished_and_one_that_is_given_up_stays_due() {
        let mut seen = Seen::new();
        seen.begins(0, "a");
        seen.due("a", 1);
        seen.begins(1, "a");
        seen.ends(2, "a", "RolledBack");
        let summary = seen.hops.summary(1);
        assert_eq!((summary.finished, summary.given_up, summary.failed.len()), (0, 1, 1));
        assert!(summary.check(1, 1).unwrap_err().to_string().contains("such as of a"));
    }
}
