//! Tenants from YAML to Ready and back, with everything real or standing in for it: what the operator promises, seen
//! from outside. One test bed for all scenarios; every failure is collected, and all are reported at the end.
//!
//! `SCENARIOS=name,name` runs some of them only.

mod tenant {
    pub mod accounts;
    pub mod acme;
    pub mod agents;
    pub mod allowed;
    pub mod authorities;
    pub mod budget;
    pub mod clock;
    pub mod cloud;
    pub mod cluster;
    pub mod covered;
    pub mod crash;
    pub mod documented;
    pub mod domains;
    pub mod drains;
    pub mod drift;
    pub mod editions;
    pub mod edits;
    pub mod effects;
    pub mod exposures;
    pub mod fields;
    pub mod fleet;
    pub mod history;
    pub mod hostile;
    pub mod isolation;
    pub mod keyed;
    pub mod managed;
    pub mod manifest;
    pub mod needed;
    pub mod placement;
    pub mod probes;
    pub mod published;
    pub mod reachable;
    pub mod ready;
    pub mod remedies;
    pub mod removal;
    pub mod runner;
    pub mod rush;
    pub mod scraped;
    pub mod silence;
    pub mod taken;
}

use serde_json::json;
use tenant::runner::{Runner, scenario};
use tenant::{
    accounts, acme, agents, allowed, authorities, budget, clock, covered, crash, domains, drains, drift, editions,
    edits, effects, exposures, fleet, hostile, isolation, keyed, managed, needed, placement, probes, published,
    reachable, ready, remedies, removal, runner, rush, scraped, silence, taken,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_are_what_was_promised() {
    // Facts outside the cluster send no events; what waits for one to be read again waits this long.
    let releases =
        ["18.1.0", "18.2.0"].map(|version| json!({"version": version, "releasedAt": "2026-01-01T00:00:00Z"}));
    let releases = json!({"releases": releases});
    // The API server's node ports end at 32767, which this policy gets wrong.
    let installation =
        json!({"portPools": exposures::pools(), "network": {"nodePorts": {"start": 30000, "end": 40000}}});
    let fleet = json!({"releases": releases, "installation": installation});
    let values = json!({"fleet": fleet, "cloudResync": "10s", "inventoryInterval": "5s"});
    runner::run(values, scenarios).await;
}

/// Those that stand together have tenants of their own and do not meet. A wave is as large as two cores bear without
/// the waiting times of one scenario becoming those of another.
async fn scenarios(runner: &mut Runner<'_>) {
    let bed = runner.bed();
    runner
        .together(vec![
            scenario("ready rests on evidence", &["acme"], ready::rests_on_evidence(bed)),
            scenario("a domain of sixty characters", &["long"], editions::longest_domain(bed)),
            scenario("the enterprise edition", &["licensed"], editions::licensed(bed)),
            scenario("an enterprise tenant without its licence", &["unlicensed"], editions::unlicensed(bed)),
            scenario("agents are counted", &["agents"], agents::are_counted(bed)),
            scenario("a public authority issues", &["acme-issued"], acme::issues(bed)),
        ])
        .await;
    runner
        .together(vec![
            scenario("what is taken from Auth comes back", &["taken-pair"], taken::from_auth(bed)),
            scenario("what is taken from a single Auth comes back", &["taken-single"], taken::from_single(bed)),
            scenario("what is taken from the cloud comes back", &["taken-cloud"], taken::from_cloud(bed)),
            scenario("secrets that are taken come back", &["taken-keys"], taken::from_keys(bed)),
        ])
        .await;
    runner
        .together(vec![
            scenario("a domain has one holder", &["first", "second"], domains::have_one_holder(bed)),
            scenario("versions wait, pods follow", &["edits"], edits::versions_wait_and_pods_follow(bed)),
            scenario("the Service is as the spec says", &["published"], published::as_the_spec_says(bed)),
            scenario("data lies under a key of the customer", &["keyed"], keyed::by_the_customer(bed)),
            scenario("node ports are those of the block", &["noded"], exposures::on_the_nodes(bed)),
            scenario("replicas follow", &["replicas"], edits::replicas_follow(bed)),
            scenario("a drain takes one pod at a time", &["drained"], drains::take_one_pod(bed)),
            scenario("removal gives up the address alone", &["removal"], removal::gives_up_the_address_alone(bed)),
        ])
        .await;
    runner.together(vec![scenario("a new tenant costs what it may", &["budget"], budget::of_one(bed))]).await;
    runner.together(vec![scenario("pods are placed", &["placed"], placement::of_pods(bed))]).await;
    runner
        .together(vec![
            scenario("silence at rest", &[], silence::at_rest(bed)).within(silence::LIMIT),
            scenario("a role reaches its own table alone", &[], isolation::of_two_tenants(bed)),
            scenario("probes and metrics answer", &[], probes::answer(bed)),
        ])
        .await;
    runner.together(vec![scenario("a bad fleet policy changes nothing", &["abroad"], fleet::bad_edit(bed))]).await;
    runner.together(vec![scenario("domains are for namespaces", &["allowed"], allowed::domains(bed))]).await;
    runner
        .together(vec![scenario(
            "accounts are filled in order",
            &["roomless", "assumed"],
            accounts::are_filled_in_order(bed),
        )])
        .await;
    runner
        .together(vec![scenario(
            "metrics are read by their own scraper",
            &["scraped"],
            scraped::by_its_own_scraper(bed),
        )])
        .await;
    // Each of these waits more than it works, and none touches what all share.
    runner
        .together(vec![
            scenario("a hand in the account is mended", &["drift"], drift::is_mended(bed)),
            scenario("a Gateway stands before", &["behind"], exposures::behind_a_gateway(bed)),
            scenario("tenants cannot reach each other", &["reachable", "elsewhere"], reachable::pairs(bed)),
            scenario("authorities are kept", &["authorities"], authorities::are_kept(bed)),
        ])
        .await;
    runner
        .together(vec![
            scenario("what is broken says what mends it", &[], remedies::stand_on_the_object(bed)),
            scenario("fields have their effects", &["fielded"], effects::of_fields(bed)),
            scenario("cert-manager issues", &[managed::SPACE], managed::by_cert_manager(bed)),
        ])
        .await;
    runner
        .together(vec![scenario(
            "hostile values are refused or meant",
            &["hostile"],
            hostile::values_are_refused_or_meant(bed),
        )])
        .await;
    runner
        .together(vec![scenario("the clock moves decisions alone", &["clock"], clock::moves_decisions_alone(bed))])
        .await;
    runner.together(vec![scenario("the operator is killed", &["crash"], crash::while_tenants_are_made(bed))]).await;
    runner.together(vec![scenario("five hundred at once", &[], rush::of_five_hundred(bed)).within(rush::LIMIT)]).await;
    // Of all the others: alone it finds nothing used. What recovery points need is used by updates.
    runner.together(vec![scenario("each right is used", &[], needed::rights(bed))]).await;
    let every_field = covered::every_field(bed, covered::Suite::Tenants);
    runner.together(vec![scenario("each field is seen", &[], every_field)]).await;
}
