//! What counts as a recovery point, and what may be deleted.

use proptest::prelude::*;

use super::*;
use crate::names::tenant_id;

const POLICY: &str = r#"
id: eu1
aws: {accounts: [{id: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com/id/1, rolePath: /tenancy/eu1/}]}
images: {enterprise: example.com/ent, community: example.com/oss}
"#;

fn source(uid: &str) -> Source {
    let installation = Installation::parse(POLICY).expect("a good policy");
    let tenant = Identity { slug: "acme".into(), namespace: "acme".into(), uid: uid.into(), id: tenant_id(uid) };
    Source::new(
        &installation,
        &tenant,
        &CloudNames::new(&installation, &installation.aws.accounts[0], &tenant, "us-west-2"),
    )
}

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + minutes * 60, 0).expect("in range")
}

fn version(text: &str) -> Version {
    Version::parse(text).expect("a version")
}

/// Name of the recovery point of a hop that started then.
fn hop(source: &Source, minutes: i64) -> String {
    source.name(&version("17.5.2"), &version("18.1.0"), at(minutes))
}

/// An available backup of the tenant's state table, with the time of its creation as its identity.
fn backup(source: &Source, name: &str, minutes: i64) -> BackupFacts {
    BackupFacts {
        arn: format!("{}/backup/{minutes:08}", source.table_arn),
        name: name.to_owned(),
        table_arn: source.table_arn.clone(),
        status: BackupStatus::Available,
        kind: BackupKind::User,
        created: at(minutes),
        size: Some(4096),
    }
}

/// The ids of the backups that these steps delete.
fn deleted(steps: &[CloudStep]) -> Vec<i64> {
    let id = |step: &CloudStep| match step {
        CloudStep::DeleteBackup { arn, .. } => arn.rsplit('/').next().and_then(|id| id.parse().ok()).expect("an id"),
        other => panic!("{other} deletes no backup"),
    };
    steps.iter().map(id).collect()
}

fn expired_at(source: &Source, backups: &[BackupFacts], now: i64, in_use: &[&BackupFacts]) -> Vec<CloudStep> {
    let in_use = in_use.iter().map(|backup| backup.arn.clone()).collect();
    expired(source, &Fact::Known(backups.to_vec()), KEEP, at(now), &in_use)
}

const DAY: i64 = 24 * 60;

#[test]
fn a_name_belongs_to_one_hop_of_one_tenant_and_keeps_the_rules_of_dynamodb() {
    let acme = source("one");
    assert_eq!(hop(&acme, 0), format!("eu1-{}-17.5.2-to-18.1.0-20231114T221320Z", tenant_id("one")));
    assert_eq!(hop(&acme, 0), hop(&acme, 0), "every attempt of a hop finds its own");
    assert_ne!(hop(&acme, 0), hop(&acme, 1), "another hop never does");
    assert_ne!(hop(&acme, 0), hop(&source("two"), 0), "nor another tenant");

    let long = format!("18.1.0-{}+{}", "a".repeat(28), "b".repeat(28));
    let name = acme.name(&version(&long), &version(&long), at(0));
    assert!((3..=255).contains(&name.len()), "{name}");
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)), "{name}");
    assert!(acme.named(&name), "{name} is known again");
}

#[test]
fn a_recovery_point_is_made_once_and_waited_for() {
    let acme = source("one");
    let name = hop(&acme, 0);
    let make = BackupState::Create(Box::new(CloudStep::CreateBackup {
        region: "us-west-2".into(),
        table: format!("eu1-{}-state", tenant_id("one")),
        name: name.clone(),
    }));
    let mut made = backup(&acme, &name, 1);
    let state = |backups: &[BackupFacts]| step(&name, &acme, &Fact::Known(backups.to_vec()));

    assert_eq!(step(&name, &acme, &Fact::Unknown), BackupState::Unknown);
    assert_eq!(step(&name, &acme, &Fact::Absent), make);
    assert_eq!(state(&[backup(&acme, &hop(&acme, -60), -60)]), make, "that of an earlier hop is another one");
    assert_eq!(state(&[BackupFacts { status: BackupStatus::Deleted, ..made.clone() }]), make);
    assert_eq!(state(&[BackupFacts { table_arn: "another".into(), ..made.clone() }]), make);
    made.status = BackupStatus::Creating;
    assert_eq!(state(std::slice::from_ref(&made)), BackupState::Wait);
    made.status = BackupStatus::Available;
    assert_eq!(state(std::slice::from_ref(&made)), BackupState::Available { arn: made.arn });
}

#[test]
fn of_two_with_one_name_the_older_counts_and_the_younger_goes_when_it_is_not_the_newest() {
    let acme = source("one");
    let (name, later) = (hop(&acme, 0), hop(&acme, 10));
    let mut first = backup(&acme, &name, 1);
    let second = backup(&acme, &name, 2);
    first.status = BackupStatus::Creating;
    let state = |backups: &[BackupFacts]| step(&name, &acme, &Fact::Known(backups.to_vec()));
    assert_eq!(state(&[second.clone(), first.clone()]), BackupState::Wait, "the choice must not depend on the moment");
    assert!(expired_at(&acme, &[first.clone(), second.clone()], 100 * DAY, &[]).is_empty());

    first.status = BackupStatus::Available;
    assert_eq!(state(&[second.clone(), first.clone()]), BackupState::Available { arn: first.arn.clone() });
    assert!(expired_at(&acme, &[first.clone(), second.clone()], 100 * DAY, &[]).is_empty(), "the newest stays");
    let all = [first, second.clone(), backup(&acme, &later, 11)];
    assert_eq!(deleted(&expired_at(&acme, &all, 12, &[])), [2], "the surplus does not wait for its age");
    assert!(expired_at(&acme, &all, 12, &[&second]).is_empty(), "unless a hop refers to it");
}

#[test]
fn recovery_points_end_after_five_weeks_but_for_the_newest_and_those_in_use() {
    let acme = source("one");
    let all: Vec<_> = [0, DAY, 40 * DAY].iter().map(|start| backup(&acme, &hop(&acme, *start), *start)).collect();
    assert!(expired_at(&acme, &all, 35 * DAY - 1, &[]).is_empty());
    assert_eq!(deleted(&expired_at(&acme, &all, 35 * DAY, &[])), [0]);
    assert_eq!(deleted(&expired_at(&acme, &all, 400 * DAY, &[])), [0, DAY]);
    assert_eq!(deleted(&expired_at(&acme, &all, 400 * DAY, &[&all[0]])), [DAY]);
    assert!(expired(&acme, &Fact::Unknown, KEEP, at(400 * DAY), &BTreeSet::new()).is_empty());
}

#[test]
fn a_backup_that_a_person_made_is_nobody_elses_to_delete() {
    let acme = source("one");
    let prefix = format!("eu1-{}", tenant_id("one"));
    let started = "20231114T221320Z";
    for name in [
        "before-surgery".to_owned(),
        format!("{prefix}-before-surgery"),
        format!("{prefix}-17.5.2-to-18.1.0"),
        format!("{prefix}-17.5.2-to-18.1.0-tuesday"),
        format!("{prefix}-17.5-to-18-{started}"),
        format!("{prefix}0-17.5.2-to-18.1.0-{started}"),
        format!("my-{prefix}-17.5.2-to-18.1.0-{started}"),
        format!("eu2-{}-17.5.2-to-18.1.0-{started}", tenant_id("one")),
        hop(&source("two"), 0),
    ] {
        let all = [backup(&acme, &name, 0), backup(&acme, &hop(&acme, 50 * DAY), 50 * DAY)];
        assert!(expired_at(&acme, &all, 100 * DAY, &[]).is_empty(), "{name}");
    }
}

#[test]
fn a_day_of_a_tenant_begins_at_a_time_of_its_own_and_has_24_hours() {
    let days = |uid: &str| {
        let tenant = Identity { slug: "acme".into(), namespace: "acme".into(), uid: uid.into(), id: tenant_id(uid) };
        (0..3 * DAY).map(|minute| day(&tenant, at(minute))).collect::<Vec<_>>()
    };
    let begins = |uid: &str| {
        let days = days(uid);
        let changes: Vec<_> = (1..days.len()).filter(|minute| days[*minute] != days[minute - 1]).collect();
        assert_eq!(changes.len(), 3, "{uid}: {changes:?}");
        assert!(changes.windows(2).all(|pair| pair[1] - pair[0] == 24 * 60), "{uid}: {changes:?}");
        changes[0]
    };
    let mut hours: Vec<usize> = (0..240).map(|tenant| begins(&format!("tenant {tenant}")) / 60).collect();
    hours.sort_unstable();
    hours.dedup();
    assert!(hours.len() >= 22, "240 tenants leave hours of the day empty: {hours:?}");
}

/// Backups of every kind, each with whether the operator made it for the tenant.
fn backups() -> impl Strategy<Value = Vec<(BackupFacts, bool)>> {
    use BackupKind::{AwsBackup, System, User};
    use BackupStatus::{Available, Creating, Deleted};
    let name = prop::sample::select(vec![Some(0), Some(0), Some(1), Some(2), Some(3), None]);
    let status = prop::sample::select(vec![Available, Available, Available, Creating, Deleted]);
    let kind = prop::sample::select(vec![User, User, User, System, AwsBackup]);
    let one = (name, status, kind, prop::bool::weighted(0.8), 0..80 * DAY);
    prop::collection::vec(one, 0..12).prop_map(|all| {
        let (acme, other) = (source("one"), source("two"));
        let facts = |(index, (start, status, kind, of_table, created))| {
            let name = match start {
                Some(start) => hop(&acme, start * DAY),
                None => hop(&other, 0),
            };
            let table = if of_table { &acme } else { &other };
            let arn = format!("{}/backup/{index:08}", table.table_arn);
            let facts = BackupFacts { arn, status, kind, ..backup(table, &name, created) };
            (facts, start.is_some() && of_table && kind == User)
        };
        all.into_iter().enumerate().map(facts).collect()
    })
}

proptest! {
    #[test]
    fn nothing_foreign_nothing_in_use_and_never_the_newest_is_deleted(
        all in backups(),
        in_use in prop::collection::btree_set(0..12_usize, 0..4),
        now in 0..200 * DAY,
        keep in 0..90_i64,
    ) {
        let acme = source("one");
        let facts: Vec<BackupFacts> = all.iter().map(|(facts, _)| facts.clone()).collect();
        let in_use: BTreeSet<String> = in_use.iter().filter_map(|index| facts.get(*index)).map(|one| one.arn.clone()).collect();
        let keep = TimeDelta::days(keep);
        let plan = |facts: Vec<BackupFacts>| expired(&acme, &Fact::Known(facts), keep, at(now), &in_use);
        let gone: BTreeSet<usize> = deleted(&plan(facts.clone())).into_iter().map(|id| id as usize).collect();
        let usable = |index: &usize| all[*index].1 && facts[*index].status == BackupStatus::Available;
        for index in &gone {
            prop_assert!(usable(index), "{:?} is not ours, or in motion", facts[*index]);
            prop_assert!(!in_use.contains(&facts[*index].arn), "{:?} is in use", facts[*index]);
        }
        let newest = (0..facts.len()).filter(usable).max_by_key(|index| (facts[*index].created, *index));
        if let Some(newest) = newest {
            prop_assert!(!gone.contains(&newest), "the newest");
            let counts = |index: &usize| usable(index) && facts[*index].name == facts[newest].name;
            let first = (0..facts.len()).filter(counts).min_by_key(|index| (facts[*index].created, *index));
            prop_assert!(first.is_some_and(|first| !gone.contains(&first)), "the one of the newest hop that counts");
        }
        let left = facts.iter().enumerate().filter(|(index, _)| !gone.contains(index)).map(|(_, one)| one.clone());
        prop_assert!(plan(left.collect()).is_empty(), "once is enough");
    }

    /// Creations land whenever they like, also after their hop gave them up, and take as long as they like.
    #[test]
    fn once_a_recovery_point_is_seen_it_stays_the_one(events in prop::collection::vec((0..4_u8, 0..6_usize), 1..40)) {
        let acme = source("one");
        let name = hop(&acme, 0);
        let mut world: Vec<BackupFacts> = Vec::new();
        let mut in_flight = 0;
        let mut chosen: Option<String> = None;
        for (minute, (event, which)) in (1..).zip(events) {
            match event {
                0 => match step(&name, &acme, &Fact::Known(world.clone())) {
                    // The answer is lost: it is carried out at some time.
                    BackupState::Create(_) => in_flight += 1,
                    BackupState::Available { arn } => {
                        prop_assert_eq!(chosen.get_or_insert_with(|| arn.clone()), &arn);
                    }
                    BackupState::Wait => prop_assert!(!world.is_empty()),
                    BackupState::Unknown => prop_assert!(false, "the backups were read"),
                },
                1 => prop_assert_eq!(step(&name, &acme, &Fact::Unknown), BackupState::Unknown),
                2 if in_flight > 0 => {
                    in_flight -= 1;
                    world.push(BackupFacts { status: BackupStatus::Creating, ..backup(&acme, &name, minute) });
                }
                _ => {
                    if let Some(one) = world.get_mut(which) {
                        one.status = BackupStatus::Available;
                    }
                }
            }
        }
    }
}
