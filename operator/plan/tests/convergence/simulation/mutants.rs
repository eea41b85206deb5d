//! Faults in the planner, put in one at a time: the simulation must notice each.

use plan::mutant::{Mutant, activate};

use super::{Failure, search};

/// Seeds in which a fault must show.
const SEEDS: u64 = 1000;

#[test]
fn every_fault_in_the_planner_breaks_a_promise() {
    let mut unnoticed = Vec::new();
    for mutant in Mutant::ALL {
        let name = format!("{mutant:?}");
        let (totals, failures) = search(0..SEEDS, 1, || activate(Some(mutant)));
        match failures.first() {
            Some(Failure { seed, broken, story: _ }) => {
                println!("{name:<24} seed {seed:<4} {}", broken.lines().next().unwrap_or_default());
            }
            None => {
                println!("{name:<24} not noticed in {totals}");
                unnoticed.push(name);
            }
        }
    }
    let all = Mutant::ALL.len();
    println!("counted: {} of {all} faults in the planner noticed", all - unnoticed.len());
    assert!(unnoticed.is_empty(), "no promise is broken by {unnoticed:?}");
}
