use proptest::prelude::*;

use super::super::inventory::tests::{instance, read};
use super::*;
use crate::teleport::Instance;

const DAY: TimeDelta = TimeDelta::hours(24);

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(&format!("2026-11-22T{text}:00Z")).expect("a time").to_utc()
}

fn rules(forget: Option<&Forget>) -> Rules<'_> {
    Rules { major: 18, remember_for: DAY, forget }
}

fn forget(ids: &[&str], requested_at: DateTime<Utc>) -> Forget {
    Forget { ids: ids.iter().map(|id| (*id).to_owned()).collect(), requested_at }
}

fn after(before: &Memory, agents: &[Instance], now: DateTime<Utc>) -> Memory {
    remember(before, &read(agents, now), &rules(None), now)
}

fn old() -> Instance {
    instance("old", "17.5.2", &["Node"])
}

fn gone(memory: &Memory) -> Vec<(&str, DateTime<Utc>)> {
    memory.entries.iter().filter_map(|(id, entry)| Some((id.as_str(), entry.left?))).collect()
}

#[test]
fn only_agents_below_the_major_are_listed_and_unreadable_ones_are() {
    let agents =
        [old(), instance("new", "18.0.0", &["Node"]), instance("odd", "weird", &[]), instance("next", "19.0.0", &[])];
    let memory = after(&Memory::default(), &agents, at("10:30"));
    assert_eq!(memory.entries.keys().collect::<Vec<_>>(), ["odd", "old"]);
    assert!(gone(&memory).is_empty());
}

#[test]
fn one_that_is_missing_left_in_the_hour_of_the_reading_and_the_hour_stays() {
    let memory = after(&Memory::default(), &[old()], at("10:30"));
    let memory = after(&memory, &[], at("10:45"));
    assert_eq!(gone(&memory), [("old", at("10:00"))]);
    assert_eq!(after(&memory, &[], at("15:20")), memory, "nothing is written while nothing changes");
}

#[test]
fn one_that_comes_back_old_is_live_again_and_one_that_comes_back_new_is_forgotten() {
    let memory = after(&after(&Memory::default(), &[old()], at("10:30")), &[], at("10:45"));
    assert!(gone(&after(&memory, &[old()], at("11:00"))).is_empty());
    assert_eq!(after(&memory, &[instance("old", "18.1.0", &["Node"])], at("11:00")), Memory::default());
}

#[test]
fn one_that_left_is_forgotten_after_the_whole_time_and_not_earlier() {
    let memory = after(&after(&Memory::default(), &[old()], at("10:30")), &[], at("10:45"));
    let late = at("10:00") + DAY;
    assert_eq!(after(&memory, &[], late + TimeDelta::minutes(59)), memory, "it may have left at 10:59");
    assert_eq!(after(&memory, &[], late + TimeDelta::minutes(60)), Memory::default());
}

#[test]
fn a_higher_major_brings_everybody_below_it_in() {
    let reading = read(&[old(), instance("new", "18.1.0", &["Node"])], at("10:30"));
    let memory = remember(&Memory::default(), &reading, &Rules { major: 19, ..rules(None) }, at("10:30"));
    assert_eq!(memory.entries.keys().collect::<Vec<_>>(), ["new", "old"]);
}

#[test]
fn a_request_to_forget_is_carried_out_once_and_only_on_those_that_have_left() {
    let memory = after(&Memory::default(), &[old(), instance("live", "17.0.0", &[])], at("10:30"));
    let live = [instance("live", "17.0.0", &[])];
    let memory = after(&memory, &live, at("10:45"));
    let request = forget(&["old", "live"], at("11:00"));
    let early = remember(&memory, &read(&live, at("10:50")), &rules(Some(&request)), at("10:50"));
    assert_eq!(early, memory, "not before it was asked for");
    let memory = remember(&memory, &read(&live, at("11:05")), &rules(Some(&request)), at("11:05"));
    assert_eq!(
        (memory.entries.keys().map(String::as_str).collect::<Vec<_>>(), memory.forgotten),
        (vec!["live"], Some(at("11:00")))
    );
    // It comes back and leaves again within the hour: the same request does not speak of that.
    let back = remember(&memory, &read(&[old(), live[0].clone()], at("11:10")), &rules(Some(&request)), at("11:10"));
    let again = remember(&back, &read(&live, at("11:20")), &rules(Some(&request)), at("11:20"));
    assert_eq!(gone(&again), [("old", at("11:00"))]);
    let everybody = forget(&["*"], at("12:00"));
    let none = remember(&again, &read(&live, at("12:01")), &rules(Some(&everybody)), at("12:01"));
    assert_eq!(none.entries.keys().collect::<Vec<_>>(), ["live"]);
}

fn crowd(count: usize) -> Vec<Instance> {
    (0..count).map(|number| instance(&format!("{number:0>4}"), "17.0.0", &["Node"])).collect()
}

#[test]
fn too_many_to_remember_close_the_gate_until_they_fit_and_the_time_is_over() {
    let memory = after(&Memory::default(), &crowd(MOST), at("10:30"));
    assert_eq!((memory.entries.len(), memory.overflow), (MOST, None));
    let memory = after(&memory, &crowd(MOST + 1), at("10:40"));
    assert_eq!(memory.overflow, Some(Overflow::Lasting));
    assert_eq!(after(&memory, &crowd(MOST + 1), at("13:40")), memory, "nothing is written while nothing changes");
    let memory = after(&memory, &crowd(3), at("14:10"));
    assert_eq!((memory.entries.len(), memory.overflow), (3, Some(Overflow::Ended(at("14:00")))));
    let over = at("15:00") + DAY;
    assert_eq!(memory.overflow.and_then(|overflow| overflow.ends(DAY)), Some(over));
    assert_eq!(after(&memory, &crowd(3), over - TimeDelta::minutes(1)), memory);
    assert_eq!(after(&memory, &crowd(3), over).overflow, None);
}

#[test]
fn an_overflow_that_is_over_can_be_forgotten_by_all_ids_only() {
    let memory = Memory { overflow: Some(Overflow::Ended(at("14:00"))), ..Memory::default() };
    let now = at("15:30");
    for (ids, expected) in [(["0001"], memory.overflow), (["*"], None)] {
        let request = forget(&ids, at("15:00"));
        assert_eq!(remember(&memory, &read(&[], now), &rules(Some(&request)), now).overflow, expected);
    }
}

#[test]
fn an_edit_cannot_make_an_agent_stay_for_ever() {
    let entry = Entry {
        version: "17.0.0".into(),
        hostname: String::new(),
        services: vec![],
        update_group: String::new(),
        left: Some(at("23:00") + TimeDelta::days(9000)),
    };
    let memory = Memory { entries: BTreeMap::from([("x".into(), entry)]), ..Memory::default() };
    assert_eq!(gone(&after(&memory, &[], at("10:30"))), [("x", at("10:00"))]);
}

#[test]
fn what_cannot_be_read_is_said_with_its_line() {
    let data = |agents: &str| BTreeMap::from([(AGENTS.to_owned(), agents.to_owned())]);
    let good = r#"{"id":"a","version":"17.0.0"}"#;
    assert!(Memory::parse(&data(&format!("{good}\n\n"))).is_ok());
    for (text, fault) in [
        ("{".to_owned(), "line 1 of agents cannot be read"),
        (format!("{good}\n{good}"), "line 2 of agents has no id of its own"),
        (r#"{"id":"a"}"#.to_owned(), "missing field `version`"),
        (r#"{"id":"a","version":"17.0.0","left":"yesterday"}"#.to_owned(), "line 1 of agents"),
        (
            (0..=MOST).map(|number| format!("{{\"id\":\"{number}\",\"version\":\"17.0.0\"}}\n")).collect(),
            "more than 500",
        ),
    ] {
        let said = Memory::parse(&data(&text)).expect_err(&text);
        assert!(said.contains(fault), "{said}");
    }
    assert!(Memory::parse(&BTreeMap::new()).is_err(), "an emptied object is not an empty memory");
    let mut overflow = data("");
    overflow.insert(OVERFLOW.into(), "soon".into());
    assert!(Memory::parse(&overflow).is_err());
}

#[test]
fn the_longest_memory_fits_into_a_config_map() {
    let longest = |number: usize| Instance {
        hostname: "\"".repeat(300),
        update_group: "\\".repeat(100),
        ..instance(&format!("{number:0>64}"), &"\"".repeat(100), &[])
    };
    let services: Vec<String> = (0..30).map(|number| format!("{number}{}", "\"".repeat(60))).collect();
    let agents: Vec<Instance> =
        (0..MOST).map(|number| Instance { services: services.clone(), ..longest(number) }).collect();
    let memory = after(&Memory::default(), &agents, at("10:30"));
    let memory = after(&memory, &[], at("10:45"));
    assert_eq!((memory.entries.len(), memory.overflow), (MOST, None));
    let size: usize = memory.render().iter().map(|(key, text)| key.len() + text.len()).sum();
    assert!(size < 1 << 20, "{size} bytes");
}

/// One agent at one moment: whether it is there, and on which version.
fn moments() -> impl Strategy<Value = Vec<[Option<&'static str>; 4]>> {
    let version =
        prop_oneof![Just(None), Just(Some("16.4.3")), Just(Some("17.5.2")), Just(Some("18.1.0")), Just(Some("?"))];
    proptest::collection::vec(proptest::array::uniform4(version), 1..40)
}

fn agents(moment: &[Option<&'static str>; 4]) -> Vec<Instance> {
    let present = moment.iter().enumerate().filter_map(|(number, version)| Some((number, (*version)?)));
    present.map(|(number, version)| instance(&number.to_string(), version, &["Node"])).collect()
}

proptest! {
    /// Whatever comes and goes, with a restart after every reading: whoever was last seen below the major within the time is
    /// listed, live or gone, and nobody else; and the same reading again changes nothing.
    #[test]
    fn nobody_is_forgotten_too_early(moments in moments(), step in 5_i64..300) {
        let begin = at("00:30");
        let mut memory = Memory::default();
        let mut seen: BTreeMap<String, (&str, DateTime<Utc>)> = BTreeMap::new();
        for (number, moment) in (0..).zip(&moments) {
            let now = begin + TimeDelta::minutes(step * number);
            let reading = read(&agents(moment), now);
            memory = Memory::parse(&memory.render()).expect("what was rendered can be read");
            memory = remember(&memory, &reading, &rules(None), now);
            prop_assert_eq!(&remember(&memory, &reading, &rules(None), now), &memory);
            for (id, version) in moment.iter().enumerate().filter_map(|(id, version)| Some((id.to_string(), (*version)?))) {
                seen.insert(id, (version, now));
            }
            for (id, (version, last)) in &seen {
                let behind = *version != "18.1.0";
                let within = now - *last < DAY;
                prop_assert!(!behind || !within || memory.entries.contains_key(id), "{} was forgotten", id);
                prop_assert!(behind || !memory.entries.contains_key(id), "{} is not behind", id);
            }
        }
    }
}
