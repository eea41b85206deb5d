//! Faults that are put into the planner on purpose, one at a time, to see that the tests notice each of them. Only the
//! feature `mutants` has them, for tests alone: without it a hook is the word `false`, and a release cannot be built with it.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("the feature `mutants` breaks the planner on purpose: build what is shipped without it");

/// Whether this fault is in.
macro_rules! mutant {
    ($name:ident) => {{
        #[cfg(feature = "mutants")]
        let active = crate::mutant::is_active(crate::mutant::Mutant::$name);
        #[cfg(not(feature = "mutants"))]
        let active = false;
        active
    }};
}
pub(crate) use mutant;

#[cfg(feature = "mutants")]
pub use active::{Mutant, activate, is_active};

#[cfg(feature = "mutants")]
mod active {
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// A fault.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Mutant {
        /// A hop begins by what a cache says of window, feed and places.
        GateFromCache,
        /// What was stored of agents that left is not read back.
        MemoryLostOnRestart,
        /// Two that claimed the last place at once both go on.
        SlotCountedLate,
        /// Blockers are told in the order in which they are found.
        BlockerOrder,
        /// The new version is published before everything runs it.
        PublishBeforeVerify,
        /// Proxy is replaced first.
        ProxyBeforeAuth,
        /// A window judges the end of a hop: one that has begun waits when it closes.
        WindowEndsHops,
        /// A hop may begin until an hour after the window's end.
        WindowEndInsteadOfStart,
        /// A hop leads over as many majors as are wanted.
        MajorsAtOnce,
        /// A new major of Auth starts beside the old one.
        MajorBesideOld,
        /// What starts stands in status only afterwards.
        HighWaterLate,
        /// Another rendering is applied without a hop.
        TemplateAtOnce,
        /// Every run makes a backup.
        BackupOnEveryRun,
    }

    impl Mutant {
        /// All of them.
        pub const ALL: [Mutant; 13] = [
            Mutant::GateFromCache,
            Mutant::MemoryLostOnRestart,
            Mutant::SlotCountedLate,
            Mutant::BlockerOrder,
            Mutant::PublishBeforeVerify,
            Mutant::ProxyBeforeAuth,
            Mutant::WindowEndsHops,
            Mutant::WindowEndInsteadOfStart,
            Mutant::MajorsAtOnce,
            Mutant::MajorBesideOld,
            Mutant::HighWaterLate,
            Mutant::TemplateAtOnce,
            Mutant::BackupOnEveryRun,
        ];
    }

    /// Puts a fault into everything that this thread plans from now on, or takes it out.
    pub fn activate(mutant: Option<Mutant>) {
        ACTIVE.set(mutant);
    }

    /// Whether this fault is in.
    pub fn is_active(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }
}
