//! A fleet of tenants with windows, a feed, agents and a moving clock; people and the world change all of that at random,
//! answers fail, caches lag, two operators overlap and processes die at any step. After every effect the promises of the
//! design are checked; when the disturbances end, every tenant must reach its goal and then write nothing.
//!
//! Every run follows from its seed. `SEED=7 cargo test -p plan --test convergence simulation -- --nocapture` tells the story
//! of one; `SEEDS=100000` runs more of them.

#![expect(clippy::disallowed_types, reason = "the planner has no state, and its simulation has")]

#[path = "simulation/acts.rs"]
mod acts;
#[path = "simulation/fleet.rs"]
mod fleet;
#[cfg(feature = "mutants")]
#[path = "simulation/mutants.rs"]
mod mutants;
#[path = "simulation/operator.rs"]
mod operator;
#[path = "simulation/promises.rs"]
mod promises;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/scene.rs"]
mod scene;
#[path = "simulation/story.rs"]
mod story;

use std::fmt;
use std::ops::{AddAssign, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use run::Simulation;

/// Seeds of a run that nobody chose otherwise.
const SEEDS: u64 = 2000;
/// Failures after which no more are looked for.
const MOST: usize = 20;
/// Seeds are independent of each other; more threads than this are not worth their memory.
const THREADS: usize = 2;

/// What was done, for the people who ask how much was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub seeds: u64,
    pub crashes: u64,
    pub lapses: u64,
    pub hops: u64,
    pub majors: u64,
    pub effects: u64,
    pub plans: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        let Totals { seeds, crashes, lapses, hops, majors, effects, plans } = other;
        self.seeds += seeds;
        self.crashes += crashes;
        self.lapses += lapses;
        self.hops += hops;
        self.majors += majors;
        self.effects += effects;
        self.plans += plans;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { seeds, crashes, lapses, hops, majors, effects, plans } = self;
        write!(
            formatter,
            "{seeds} seeds, {crashes} crashes, {lapses} lost or late answers, {hops} hops ({majors} majors), {effects} effects, {plans} runs"
        )
    }
}

/// A seed in which a promise was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub broken: String,
    pub story: String,
}

/// Runs one seed.
pub fn simulate(seed: u64, whole: bool) -> Result<Totals, Box<Failure>> {
    let mut simulation = Simulation::new(seed);
    simulation.story.whole = whole;
    let outcome = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let broken = match outcome {
        Ok(Ok(())) => {
            if whole {
                println!("{}", simulation.story);
            }
            return Ok(simulation.totals);
        }
        Ok(Err(broken)) => broken,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "a panic".into())
        }
    };
    Err(Box::new(Failure { seed, broken, story: simulation.story.to_string() }))
}

/// Runs seeds until so many have failed; answers those, the lowest first.
pub fn search(seeds: Range<u64>, most: usize, prepare: impl Fn() + Sync) -> (Totals, Vec<Failure>) {
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new((Totals::default(), Vec::<Failure>::new()));
    let work = || {
        prepare();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || found.lock().expect("nobody panics here").1.len() >= most {
                return;
            }
            let outcome = simulate(seed, false);
            let mut found = found.lock().expect("nobody panics here");
            match outcome {
                Ok(done) => found.0 += done,
                Err(failure) => found.1.push(*failure),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let (totals, mut failures) = found.into_inner().expect("nobody panics here");
    failures.sort_by_key(|failure| failure.seed);
    (totals, failures)
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, broken, story } = self;
        writeln!(formatter, "seed {seed}: {broken}\n{story}")?;
        write!(formatter, "again: SEED={seed} cargo test --locked -p plan --test convergence simulation -- --nocapture")
    }
}

#[expect(clippy::disallowed_methods, reason = "a person chooses the seeds")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {text:?}")))
}

#[test]
fn whatever_happens_every_promise_holds_and_every_tenant_reaches_its_goal() {
    let (totals, failures) = match number("SEED") {
        Some(seed) => match simulate(seed, true) {
            Ok(totals) => (totals, Vec::new()),
            Err(failure) => (Totals::default(), vec![*failure]),
        },
        None => search(0..number("SEEDS").unwrap_or(SEEDS), MOST, || {}),
    };
    if let Some(first) = failures.first() {
        for other in &failures[1..] {
            println!("seed {} too: {}", other.seed, other.broken);
        }
        panic!("{first}");
    }
    println!("counted: simulation of {totals}");
}
