//! Benchmarks on the real control plane: how much a number of tenants costs, and whether what is promised of one holds for
//! all of them. Each prints what it found, fails when a promise is broken, and writes into `BENCHMARKS.md` when asked to.

pub mod book;
pub mod create;
pub mod crowd;
pub mod hops;
pub mod measure;
pub mod rest;
pub mod updates;
