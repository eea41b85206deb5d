//! One seed from beginning to end: who acts when, what is lost, who dies, and how time goes on.

use chrono::{DateTime, TimeDelta, Utc};
use crds::update_status::HopStage;
use fastrand::Rng;
use plan::clock::from_jiff;
use plan::object::Kind;
use plan::version::Version;

use super::Totals;
use super::fleet::{Fleet, running};
use super::operator::{Draft, Lapse, Operator, RELAXED};
use super::promises::{self, Broken};
use super::scene;
use super::story::Story;

/// Turns until everything must have come to rest.
const TURNS: usize = 1500;
/// The two operators of a fleet; the second acts only when they overlap.
const FIRST: usize = 0;
const SECOND: usize = 1;

pub struct Simulation {
    pub story: Story,
    pub totals: Totals,
    pub(super) rng: Rng,
    pub(super) fleet: Fleet,
    pub(super) operators: Vec<Operator>,
    /// What may still go wrong.
    pub(super) faults: u32,
    /// When something happens.
    events: Vec<DateTime<Utc>>,
    pub(super) due: Vec<bool>,
    /// How long to wait while nothing but waiting goes on.
    pause: TimeDelta,
    pub(super) undisturbed: bool,
}

/// How a run ended.
pub enum Ended {
    /// Nothing was done.
    Idle,
    /// Something was.
    Active,
}

impl Simulation {
    pub fn new(seed: u64) -> Simulation {
        let mut rng = Rng::with_seed(seed);
        let fleet = scene::fleet(&mut rng);
        let operators = vec![Operator::new("operator", &fleet), Operator::new("second", &fleet)];
        let undisturbed = rng.u32(0..6) == 0;
        let faults = if undisturbed { 0 } else { rng.u32(1..16) };
        let hours = rng.i64(12..100);
        let mut events: Vec<_> =
            (0..rng.usize(2..9)).map(|_| fleet.now + TimeDelta::minutes(rng.i64(0..hours * 60))).collect();
        events.sort_unstable_by(|one, other| other.cmp(one));
        let due = vec![true; fleet.hosted.len()];
        let totals = Totals { seeds: 1, ..Totals::default() };
        Simulation {
            story: Story::default(),
            totals,
            rng,
            fleet,
            operators,
            faults,
            events,
            due,
            pause: TimeDelta::zero(),
            undisturbed,
        }
    }

    pub fn run(&mut self) -> Result<(), Broken> {
        for t in 0..self.fleet.hosted.len() {
            let hosted = &self.fleet.hosted[t];
            let goal = hosted.world.tenant.spec.version.clone().unwrap_or_else(|| "stable".into());
            let told = format!("runs {} and wants {goal}", hosted.status().version.clone().unwrap_or_default());
            self.story.tell(self.fleet.now, &hosted.name(), told);
        }
        let mut turns = 0;
        while !self.events.is_empty() {
            self.turn()?;
            turns += 1;
            if turns > TURNS {
                return Err("the time stands still".into());
            }
        }
        self.faults = 0;
        let goals = scene::heal(&mut self.rng, &mut self.fleet, &mut self.operators);
        self.story.tell(self.fleet.now, "all", "the disturbances end");
        self.due.fill(true);
        for _ in 0..TURNS {
            self.turn()?;
            if !self.due.contains(&true) && self.at_rest(&goals) {
                return self.rests(&goals);
            }
        }
        let stuck: Vec<String> = self
            .fleet
            .hosted
            .iter()
            .zip(&goals)
            .map(|(hosted, goal)| {
                let status = hosted.status();
                format!(
                    "{} wants {goal}, runs {:?}, update {:?}, next {:?}",
                    hosted.name(),
                    status.version,
                    status.update,
                    status.next
                )
            })
            .collect();
        Err(format!("the goal is not reached: {}", stuck.join("; ")))
    }

    fn at_rest(&self, goals: &[Version]) -> bool {
        self.fleet.hosted.iter().zip(goals).all(|(hosted, goal)| {
            let status = hosted.status();
            status.update.is_none() && status.next.is_none() && status.version == Some(goal.to_string())
        })
    }

    /// Nothing is written any more, and all is as if nothing had gone wrong.
    fn rests(&mut self, goals: &[Version]) -> Result<(), Broken> {
        // Until agents were read once more, since what they run now is news, and those that left are forgotten.
        for by in [RELAXED, TimeDelta::hours(25), RELAXED] {
            self.pass(by)?;
            for t in 0..self.fleet.hosted.len() {
                while let Ended::Active = self.reconcile(FIRST, t)? {}
            }
        }
        for minutes in [1, 11, 60] {
            self.pass(TimeDelta::minutes(minutes))?;
            for t in 0..self.fleet.hosted.len() {
                let draft = self.draw(FIRST, t);
                let steps: Vec<String> = draft.plan.steps.iter().map(|(_, step)| step.to_string()).collect();
                let hosted = &self.fleet.hosted[t];
                if !steps.is_empty() || draft.plan.status != *hosted.status() {
                    return Err(format!(
                        "{} does not rest: steps {steps:?}, status {:?} after {:?}",
                        hosted.name(),
                        draft.plan.status,
                        hosted.status()
                    ));
                }
                self.operators[FIRST].settle_reading(t, &draft.plan);
            }
        }
        for (t, (hosted, goal)) in self.fleet.hosted.iter().zip(goals).enumerate() {
            let world = &hosted.world;
            let as_it_was = world.made_authorities == 1 && world.tables.len() == 2 && world.claims.len() == 2;
            if !as_it_was {
                return Err(format!("{} has something twice", hosted.name()));
            }
            let plain = world.tenant.spec.size == crds::tenant::Size::Small
                && *self.fleet.installation == scene::mirrored(false);
            if !plain {
                continue;
            }
            let undisturbed = scene::settled(t, &goal.to_string());
            for (reference, wanted) in
                undisturbed.objects.iter().filter(|(reference, _)| reference.kind == Kind::Deployment)
            {
                let found = world.objects.get(reference).map(|live| &live["spec"]);
                if found != Some(&wanted["spec"]) {
                    return Err(format!(
                        "{reference} is not as it is without disturbances: {found:?}, not {}",
                        wanted["spec"]
                    ));
                }
            }
        }
        Ok(())
    }

    /// Everybody who has a reason acts once; then time goes on.
    fn turn(&mut self) -> Result<(), Broken> {
        while self.events.last().is_some_and(|at| *at <= self.fleet.now) {
            self.events.pop();
            let (whom, told) = scene::happen(&mut self.rng, &mut self.fleet, &mut self.operators);
            let who = whom.map_or_else(|| "all".to_owned(), |t| self.fleet.hosted[t].name());
            self.story.tell(self.fleet.now, &who, told);
            match whom {
                Some(t) => self.due[t] = true,
                None => self.due.fill(true),
            }
        }
        let mut order: Vec<usize> = (0..self.due.len()).filter(|t| self.due[*t]).collect();
        self.rng.shuffle(&mut order);
        let mut active = false;
        for t in order {
            self.due[t] = false;
            // Two of them act at once most often where both want the same place.
            let rival = self.rival(t);
            let ended = match self.strikes(if rival.is_some() { 10 } else { 3 }) {
                true => self.overlap(t, rival)?,
                false => self.reconcile(FIRST, t)?,
            };
            if let Ended::Active = ended {
                self.due[t] = true;
                active = true;
            }
        }
        self.go_on(active)
    }

    fn go_on(&mut self, active: bool) -> Result<(), Broken> {
        let hop = self.fleet.hosted.iter().any(|hosted| running(&hosted.world.tenant).is_some());
        let (by, jump) = if active {
            self.pause = TimeDelta::seconds(20);
            (TimeDelta::seconds(self.rng.i64(1..25)), false)
        } else if hop {
            self.pause = (self.pause * 2).clamp(TimeDelta::seconds(20), TimeDelta::minutes(6));
            (self.pause, false)
        } else {
            (self.jump(), true)
        };
        self.pass(by)?;
        for (due, hosted) in self.due.iter_mut().zip(&self.fleet.hosted) {
            let status = hosted.status();
            // A hop is looked at all the time; those that wait, and those at rest, now and then.
            let (waiting, resting) = if jump { (100, 25) } else { (20, 0) };
            let percent = if status.next.is_some() { waiting } else { resting };
            *due |= status.update.is_some() || self.rng.u32(0..100) < percent;
        }
        Ok(())
    }

    /// To the next moment at which anything can change.
    fn jump(&mut self) -> TimeDelta {
        let now = self.fleet.now;
        let mut moments: Vec<DateTime<Utc>> = self.events.last().copied().into_iter().collect();
        for next in self.fleet.hosted.iter().filter_map(|hosted| hosted.status().next.as_ref()) {
            match &next.not_before {
                Some(at) => moments.push(from_jiff(at.0) + TimeDelta::seconds(self.rng.i64(1..90))),
                None => {
                    moments.extend(self.fleet.windows.values().filter_map(|window| window.schedule.next_boundary(now)))
                }
            }
        }
        let next = moments.into_iter().filter(|at| *at > now).min();
        next.map_or(TimeDelta::hours(1), |at| at - now)
    }

    fn pass(&mut self, by: TimeDelta) -> Result<(), Broken> {
        let changed = self.fleet.pass(by);
        for (t, changed) in changed.into_iter().enumerate() {
            self.due[t] |= changed;
            promises::processes(&self.fleet.hosted[t])?;
            promises::deadline(&self.fleet.hosted[t])?;
        }
        Ok(())
    }

    pub(super) fn strikes(&mut self, percent: u32) -> bool {
        let strikes = self.faults > 0 && self.rng.u32(0..100) < percent;
        self.faults -= u32::from(strikes);
        strikes
    }

    /// A tenant that waits for a place as this one does.
    fn rival(&mut self, t: usize) -> Option<usize> {
        let waits = |t: &usize| {
            let status = self.fleet.hosted[*t].status();
            status.next.is_some() && status.update.is_none()
        };
        let others: Vec<usize> = (0..self.due.len()).filter(|other| *other != t && waits(other)).collect();
        waits(&t).then(|| self.rng.choice(others)).flatten()
    }

    /// Both operators act upon the same state, one after the other.
    fn overlap(&mut self, t: usize, rival: Option<usize>) -> Result<Ended, Broken> {
        let other = match rival {
            Some(rival) if self.rng.bool() => rival,
            _ if self.rng.bool() => t,
            _ => self.rng.usize(0..self.due.len()),
        };
        let told = format!("acts too, upon {} as it was before the other acted", self.fleet.hosted[other].name());
        self.story.tell(self.fleet.now, "second", told);
        // It has just begun, or its watches have shown it nothing of others since it last acted.
        match self.rng.bool() {
            true => self.operators[SECOND].restart(&self.fleet),
            false => self.operators[SECOND].knows_only(&self.fleet, other),
        }
        let draft = self.draw(SECOND, other);
        let hosted = &mut self.fleet.hosted[other];
        let backs_up = hosted.status().update.as_ref().is_some_and(|update| update.stage == HopStage::RecoveryPoint);
        hosted.crossed_backups += usize::from(other == t && backs_up);
        self.reconcile(FIRST, t)?;
        self.carry_out(SECOND, other, draft)?;
        self.due[other] = true;
        Ok(Ended::Active)
    }

    fn draw(&mut self, o: usize, t: usize) -> Draft {
        self.totals.plans += 1;
        let lapse = self.strikes(6).then(|| Lapse::ALL[self.rng.usize(0..Lapse::ALL.len())]);
        if let Some(lapse) = lapse {
            self.totals.lapses += 1;
            self.story.tell(self.fleet.now, &self.fleet.hosted[t].name(), format!("{lapse:?}"));
        }
        self.fleet.hosted[t].world.turn = self.rng.usize(0..2);
        let Simulation { operators, fleet, rng, .. } = self;
        operators[o].draw(fleet, t, lapse, &mut |below| rng.usize(0..below))
    }

    fn reconcile(&mut self, o: usize, t: usize) -> Result<Ended, Broken> {
        let draft = self.draw(o, t);
        self.carry_out(o, t, draft)
    }
}
