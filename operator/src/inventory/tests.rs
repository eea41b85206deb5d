use std::collections::BTreeSet;
use std::net::SocketAddr;

use plan::agents::Reading;
use plan::keys::Authority;
use plan::keys::Sensitive;
use plan::teleport::Instance;

use super::*;
use crate::teleport::memory::Memory;

const INTERVAL: Duration = Duration::from_secs(300);
const TTL: TimeDelta = TimeDelta::minutes(60);

fn tenant(name: &str) -> Identity {
    Identity { slug: name.into(), namespace: "n".into(), uid: name.into(), id: "0".repeat(16) }
}

fn target(name: &str) -> AuthTarget {
    let nothing = || Sensitive(String::new());
    AuthTarget {
        address: SocketAddr::from(([127, 0, 0, 1], 9)),
        domain: name.into(),
        host: Authority {
            certificate: String::new(),
            key: nothing(),
            ssh_public: String::new(),
            ssh_key: nothing(),
            trusted: String::new(),
        },
    }
}

fn agent(version: &str) -> Instance {
    Instance {
        id: "a".into(),
        hostname: "host".into(),
        version: version.into(),
        services: vec!["Node".into()],
        updater: String::new(),
        update_group: String::new(),
    }
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).expect("in range")
}

fn read(version: &str, second: i64) -> Inventory {
    let mut reading = Reading::default();
    reading.add(&agent(version)).expect("a good entry");
    reading.finish(at(second))
}

fn ask(readings: &Readings, name: &str, pace: Pace, now: DateTime<Utc>) {
    readings.ask(&Ask { tenant: &tenant(name), target: &target(name), pace, report_ttl: TTL }, now);
}

/// Asks, and answers at once with this; how long until the next one, in seconds.
fn after(readings: &Readings, pace: Pace, outcome: Result<Inventory, ()>, now: i64) -> i64 {
    ask(readings, "t", pace, at(now));
    readings.ended("t", outcome, at(now));
    readings.settle("t", at(now));
    ask(readings, "t", pace, at(now));
    (readings.due("t").expect("a time") - at(now)).num_seconds()
}

fn about(seconds: i64, wanted: i64) -> bool {
    seconds <= wanted && seconds * 100 >= wanted * 85 - 100
}

#[test]
fn readings_become_rarer_while_nothing_changes_and_no_rarer_than_four_times() {
    let (readings, _requests) = Readings::new(INTERVAL);
    for (number, (version, wanted)) in
        [("17.0.0", 300), ("17.0.0", 600), ("17.0.0", 1200), ("17.0.0", 1200), ("18.0.0", 300)].into_iter().enumerate()
    {
        let now = i64::try_from(number).expect("small") * 10_000;
        let wait = after(&readings, Pace::Relaxed, Ok(read(version, now)), now);
        assert!(about(wait, wanted), "reading {number}: {wait} s instead of {wanted}");
    }
}

#[test]
fn readings_become_frequent_before_an_update_at_once() {
    let (readings, _requests) = Readings::new(INTERVAL);
    after(&readings, Pace::Relaxed, Ok(read("17.0.0", 0)), 0);
    let due = |pace| {
        ask(&readings, "t", pace, at(0));
        (readings.due("t").expect("a time") - at(0)).num_seconds()
    };
    assert!(about(due(Pace::Close), 60), "{}", due(Pace::Close));
    assert!(about(due(Pace::Now), 5), "{}", due(Pace::Now));
}

#[test]
fn no_reading_gets_older_than_two_thirds_of_what_is_allowed() {
    let (readings, _requests) = Readings::new(INTERVAL);
    after(&readings, Pace::Relaxed, Ok(read("17.0.0", 0)), 0);
    let ask =
        Ask { tenant: &tenant("t"), target: &target("t"), pace: Pace::Relaxed, report_ttl: TimeDelta::minutes(3) };
    readings.ask(&ask, at(0));
    let wait = (readings.due("t").expect("a time") - at(0)).num_seconds();
    assert!(about(wait, 120), "{wait} s");
}

#[test]
fn failures_wait_ever_longer_and_keep_what_was_read() {
    let (readings, _requests) = Readings::new(INTERVAL);
    after(&readings, Pace::Relaxed, Ok(read("17.0.0", 0)), 0);
    let waits: Vec<i64> = (1..10).map(|number| after(&readings, Pace::Relaxed, Err(()), number * 10_000)).collect();
    assert!(about(waits[0], 5) && about(waits[8], 300), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 300), "{waits:?}");
    assert_eq!(readings.reading("t").map(|reading| reading.read_at), Some(at(0)));
}

#[test]
fn no_reading_takes_the_place_of_one_that_was_not_written_down() {
    let (readings, mut requests) = Readings::new(INTERVAL);
    ask(&readings, "t", Pace::Relaxed, at(0));
    assert!(requests.try_recv().is_ok());
    readings.ended("t", Ok(read("17.0.0", 0)), at(0));
    ask(&readings, "t", Pace::Now, at(10_000));
    assert!(requests.try_recv().is_err() && readings.due("t").is_none());
    readings.settle("t", at(1));
    assert!(readings.due("t").is_none(), "that was another reading");
    readings.settle("t", at(0));
    ask(&readings, "t", Pace::Now, at(10_000));
    assert!(requests.try_recv().is_ok());
}

#[test]
fn a_tenant_that_is_gone_leaves_nothing_behind() {
    let (readings, _requests) = Readings::new(INTERVAL);
    ask(&readings, "t", Pace::Relaxed, at(0));
    readings.retain(&HashSet::new());
    readings.ended("t", Ok(read("17.0.0", 0)), at(0));
    assert!(readings.lock().is_empty());
}

/// Lets the readers run until this many readings have ended; how they ended, by tenant.
async fn told(
    readings: &Readings,
    requests: mpsc::UnboundedReceiver<Request>,
    teleport: &Arc<Memory>,
    count: usize,
) -> Vec<(String, bool)> {
    let (sender, mut ends) = mpsc::unbounded_channel();
    let teleport: Arc<dyn Teleport> = Arc::<Memory>::clone(teleport);
    let tell = move |tenant: &Identity, outcome: Result<(), TeleportError>| {
        let _ = sender.send((tenant.slug.clone(), outcome.is_ok()));
    };
    let mut ended = Vec::new();
    tokio::select! {
        () = work(readings, requests, teleport, tell) => panic!("the readers ended"),
        () = async { while ended.len() < count { ended.push(ends.recv().await.expect("an end")) } } => {}
    }
    ended
}

#[tokio::test]
async fn an_auth_that_hangs_delays_nobody_else() {
    let (readings, requests) = Readings::new(INTERVAL);
    let teleport = Arc::new(Memory::default());
    let names: Vec<String> = (0..100).map(|number| format!("t{number:0>2}")).collect();
    for name in &names {
        teleport.state().inventories.insert(name.clone(), vec![agent("17.0.0")]);
    }
    teleport.state().hanging = BTreeSet::from(["t00".to_owned(), "t01".to_owned()]);
    for name in &names {
        ask(&readings, name, Pace::Relaxed, crate::clock::now());
        ask(&readings, name, Pace::Relaxed, crate::clock::now());
    }
    let ended = told(&readings, requests, &teleport, 98).await;
    assert!(ended.iter().all(|(name, ok)| *ok && name != "t00" && name != "t01"), "{ended:?}");
    assert_eq!(teleport.state().log.len(), 100, "each is asked once");
}

#[tokio::test]
async fn those_that_hung_before_wait_for_each_other_only() {
    let (readings, requests) = Readings::new(INTERVAL);
    let teleport = Arc::new(Memory::default());
    let hanging: Vec<String> = (0..40).map(|number| format!("h{number:0>2}")).collect();
    teleport.state().hanging = hanging.iter().cloned().collect();
    teleport.state().inventories.insert("good".into(), vec![agent("17.0.0")]);
    for name in &hanging {
        ask(&readings, name, Pace::Relaxed, at(0));
        readings.ended(name, Err(()), at(0));
        ask(&readings, name, Pace::Relaxed, at(10_000));
    }
    // What was asked before they failed is not what this is about.
    let mut requests = requests;
    for _ in &hanging {
        requests.try_recv().expect("a request");
        let again = requests.try_recv().expect("a second request");
        assert!(again.suspect);
        readings.requests.send(again).expect("open");
    }
    ask(&readings, "good", Pace::Relaxed, crate::clock::now());
    let ended = told(&readings, requests, &teleport, 1).await;
    assert_eq!(ended, [("good".to_owned(), true)]);
}
