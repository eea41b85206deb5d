use super::*;

const GOOD: &str = "
releases:
  - {version: 17.5.2, releasedAt: 2026-10-01T00:00:00Z}
  - {version: 18.1.0, releasedAt: 2026-10-12T02:00:00+02:00, critical: true}
channels:
  stable: {soak: {patch: 12h}, maxMajor: 18}
waves: {soak: 48h}
freeze: {until: 2026-12-28T00:00:00Z, reason: holidays}
";

#[test]
fn what_is_not_written_has_its_default() {
    let feed = parse(GOOD).expect("good");
    let release = &feed.releases[&Version::new(18, 1, 0)];
    assert_eq!(release.released_at, "2026-10-12T00:00:00Z".parse::<DateTime<Utc>>().expect("an instant"));
    assert!(release.critical && !release.withdrawn);
    let stable = &feed.channels["stable"];
    assert_eq!(stable.max_major, Some(18));
    let hours = [stable.soak.patch, stable.soak.minor, stable.soak.major].map(|soak| soak.num_hours());
    assert_eq!(hours, [12, 72, 720]);
    assert_eq!(feed.waves, Waves { soak: TimeDelta::hours(48), ..Waves::default() });
}

#[test]
fn an_empty_text_is_a_feed_without_releases() {
    for empty in ["", "\n", "# nothing yet\n", "{}", "---\n", "null\n"] {
        assert_eq!(parse(empty), Ok(Feed::default()), "{empty:?}");
    }
}

#[test]
fn every_fault_is_named_with_its_field() {
    let cases = [
        ("17.5.2", "v17.5.2", "releases[0].version:"),
        ("17.5.2", "17.5", "releases[0].version:"),
        ("18.1.0", "18.1.0-rc.1", "releases[1].version:"),
        ("18.1.0", "18.1.0+build", "releases[1].version:"),
        ("18.1.0", "17.5.2", "releases[1].version: 17.5.2 is listed twice"),
        ("2026-10-01T00:00:00Z", "2026-10-01", "releases[0].releasedAt:"),
        ("critical: true", "resumedAt: today", "releases[1].resumedAt:"),
        ("critical: true", "digests: {community: 'sha256:abc'}", "releases[1].digests.community:"),
        ("critical: true", "digests: {enterprise: abc}", "releases[1].digests.enterprise:"),
        ("critical: true", "urgent: true", "urgent"),
        ("  stable:", "  Stable:", "channels: \"Stable\""),
        ("patch: 12h", "patch: 1d", "channels.stable.soak.patch:"),
        ("patch: 12h", "minor: soon", "channels.stable.soak.minor:"),
        ("patch: 12h", "major: 30", "channels.stable.soak.major:"),
        ("maxMajor: 18", "maxMajor: 0", "channels.stable.maxMajor:"),
        ("soak: 48h", "soak: never", "waves.soak:"),
        ("soak: 48h", "haltAfterFailures: 0", "waves.haltAfterFailures:"),
        ("soak: 48h", "maxWait: ''", "waves.maxWait:"),
        ("2026-12-28T00:00:00Z", "Christmas", "freeze.until:"),
        ("reason: holidays", "reason: ' '", "freeze.reason:"),
        ("waves:", "maxConcurrentUpdates: 0\nwaves:", "maxConcurrentUpdates:"),
        ("waves:", "monthlyDowntimeBudget: 0.1%\nwaves:", "monthlyDowntimeBudget:"),
        ("waves:", "errorBudget: {}\nwaves:", "errorBudget"),
    ];
    for (good, bad, field) in cases {
        let yaml = GOOD.replacen(good, bad, 1);
        assert_ne!(yaml, GOOD, "{bad} replaces nothing");
        let faults = parse(&yaml).expect_err(bad);
        assert!(faults.iter().any(|fault| fault.contains(field)), "{bad}: {faults:?}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let yaml = GOOD.replace("17.5.2", "next").replace("48h", "2 days").replace("holidays", "''");
    assert_eq!(parse(&yaml).expect_err("three faults").len(), 3);
}

#[test]
fn a_feed_that_grew_beyond_use_is_refused() {
    let list: Vec<String> = (0..=MOST_RELEASES)
        .map(|patch| format!("{{version: 18.0.{patch}, releasedAt: 2026-10-01T00:00:00Z}}"))
        .collect();
    let faults = parse(&format!("releases: [{}]", list.join(", "))).expect_err("too many");
    assert!(faults[0].contains("releases: 501 are too many"), "{faults:?}");
}
