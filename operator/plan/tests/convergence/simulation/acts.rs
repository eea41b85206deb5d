//! One run of an operator as the world sees it: steps, then the status, while processes die and answers get lost.

use crds::tenant_status::TenantStatus;
use crds::update_status::{HopKind, HopResult};
use plan::agents::Recall;
use plan::step::Step;
use plan::version::{Version, parse_reported};

use super::fleet::Promise;
use super::operator::Draft;
use super::promises::{self, Broken};
use super::run::{Ended, Simulation};

impl Simulation {
    /// Steps, then the status; the process may die before and after each, and each answer may be lost.
    pub(super) fn carry_out(&mut self, o: usize, t: usize, mut draft: Draft) -> Result<Ended, Broken> {
        // Such a plan would be drawn again and again, and never be more than a draft.
        if !draft.plan.needs.is_empty() {
            return Err(format!("the plan asks once more, for {:?}", draft.plan.needs));
        }
        let mut failed = false;
        for (_, step) in &draft.plan.steps {
            if self.dies(o, "before", step) {
                return Ok(Ended::Active);
            }
            let done = self.perform(t, step, &mut draft.resource_version)?;
            if self.dies(o, "after", step) {
                return Ok(Ended::Active);
            }
            let lost = self.strikes(1);
            if lost {
                self.totals.lapses += 1;
                self.story.tell(self.fleet.now, self.operators[o].name, format!("the answer to {step} is lost"));
            }
            failed |= !done || lost;
            if failed && !matches!(step, Step::RememberAgents { .. }) {
                break;
            }
        }
        let written = self.report(o, t, &draft)?;
        let Some(written) = written else { return Ok(Ended::Active) };
        self.settle(o, t, &draft);
        Ok(if written || failed || !draft.plan.steps.is_empty() { Ended::Active } else { Ended::Idle })
    }

    fn dies(&mut self, o: usize, when: &str, what: impl std::fmt::Display) -> bool {
        let dies = self.strikes(2);
        if dies {
            self.totals.crashes += 1;
            self.story.tell(self.fleet.now, self.operators[o].name, format!("dies {when} {what}"));
            self.operators[o].restart(&self.fleet);
        }
        dies
    }

    fn perform(&mut self, t: usize, step: &Step, resource_version: &mut u64) -> Result<bool, Broken> {
        let hosted = &mut self.fleet.hosted[t];
        let before = match step {
            Step::Apply(object) => hosted.world.objects.get(&object.reference).cloned(),
            _ => None,
        };
        let done = hosted.world.perform(step);
        if matches!(step, Step::AddFinalizer) {
            *resource_version = hosted.world.resource_version;
        }
        hosted.note();
        self.totals.effects += 1;
        let told = match done {
            Ok(()) => step.to_string(),
            Err(refusal) => format!("{step}: refused, {refusal}"),
        };
        self.story.tell(self.fleet.now, &hosted.name(), told);
        promises::step(hosted, step, before.as_deref())?;
        Ok(done.is_ok())
    }

    /// Writes the status to the Tenant that was seen. None: the process died.
    fn report(&mut self, o: usize, t: usize, draft: &Draft) -> Result<Option<bool>, Broken> {
        let uid = self.fleet.hosted[t].world.identity().uid;
        let seen = draft.tenant.status.clone().unwrap_or_default();
        let status = &draft.plan.status;
        if status.update.is_none() && seen.update.is_none() {
            self.operators[o].release(&uid);
        }
        if seen == *status {
            return Ok(Some(false));
        }
        if seen.update.is_none() && status.update.is_some() && !self.operators[o].claim(&self.fleet, t, draft) {
            self.story.tell(self.fleet.now, &self.fleet.hosted[t].name(), "somebody else took the place");
            return Ok(Some(true));
        }
        if self.dies(o, "before", "the status") {
            return Ok(None);
        }
        let hosted = &mut self.fleet.hosted[t];
        if hosted.world.resource_version != draft.resource_version {
            self.story.tell(self.fleet.now, &hosted.name(), "the status is refused: it is of another Tenant");
            if seen.update.is_none() {
                self.operators[o].release(&uid);
            }
            return Ok(Some(true));
        }
        let before = hosted.status().clone();
        hosted.world.write(&draft.plan);
        hosted.note();
        self.totals.effects += 1;
        self.tell_status(t, &before);
        promises::status(&self.fleet, t, &before, draft)?;
        self.ended(t, &before)?;
        if self.dies(o, "after", "the status") {
            return Ok(None);
        }
        if seen.update.is_some() && status.update.is_none() {
            self.operators[o].release(&uid);
        }
        let status = self.fleet.hosted[t].status();
        if before.update != status.update {
            // Somebody else may take the place.
            for (other, hosted) in self.fleet.hosted.iter().enumerate() {
                self.due[other] |= hosted.status().next.is_some();
            }
        }
        Ok(Some(true))
    }

    /// Counts hops that ended, and judges those that nothing has disturbed.
    fn ended(&mut self, t: usize, before: &TenantStatus) -> Result<(), Broken> {
        let hosted = &self.fleet.hosted[t];
        let status = hosted.status();
        let Some(last) = status.history.first().filter(|last| before.history.first() != Some(*last)) else {
            return Ok(());
        };
        self.totals.hops += 1;
        self.totals.majors += u64::from(last.kind == HopKind::Major);
        let ill = hosted.world.broken.contains(&last.to) || hosted.world.refused.contains(&last.to);
        if self.undisturbed && !ill && last.result != HopResult::Succeeded {
            return Err(format!("a hop to {}, which is well, ends as {:?}: {}", last.to, last.result, last.message));
        }
        Ok(())
    }

    fn tell_status(&mut self, t: usize, before: &TenantStatus) {
        let hosted = &self.fleet.hosted[t];
        let (name, status) = (hosted.name(), hosted.status());
        let mut told = Vec::new();
        if before.update != status.update {
            told.push(match &status.update {
                Some(update) if update.halted_at.is_some() => format!("hop to {} halts", update.to),
                Some(update) => format!(
                    "{:?} from {} to {}: {:?} {:?}",
                    update.kind, update.from, update.to, update.stage, update.skipped
                ),
                None => match status.history.first().filter(|last| before.history.first() != Some(*last)) {
                    Some(last) => format!("hop to {} has {:?}", last.to, last.result),
                    None => "hop is given up".into(),
                },
            });
        }
        if before.version != status.version {
            told.push(format!("runs {}", status.version.clone().unwrap_or_default()));
        }
        let words = |status: &TenantStatus| {
            let next = status.next.as_ref()?;
            let words: Vec<&str> = next.blockers.iter().map(|blocker| blocker.reason.as_str()).collect();
            Some(format!("{} waits: {}", next.to, words.join(", ")))
        };
        if words(before) != words(status) {
            told.extend(words(status));
        }
        for line in told {
            self.story.tell(self.fleet.now, &name, line);
        }
    }

    /// What a reading says is written down: from now on whoever it names as behind must not be forgotten.
    fn settle(&mut self, o: usize, t: usize, draft: &Draft) {
        self.operators[o].settle_reading(t, &draft.plan);
        let open = draft.plan.steps.iter().any(|(_, step)| matches!(step, Step::RememberAgents { .. }));
        let loaded = draft.plan.agents.as_ref().is_some_and(|view| view.recall == Recall::Loaded);
        let (Some(inventory), false, true) = (&draft.inventory, open, loaded) else { return };
        let hosted = &mut self.fleet.hosted[t];
        let major = hosted
            .status()
            .version
            .as_deref()
            .and_then(|text| Version::parse(text).ok())
            .map_or(0, |version| version.major);
        for agent in &inventory.agents {
            let profile = inventory.profile(agent);
            if parse_reported(&profile.reported).is_some_and(|version| version.major >= major) {
                continue;
            }
            let live = hosted.world.agents.iter().find(|found| *found.id == *agent.id);
            let promise = match live {
                Some(found) => Promise { version: found.version.clone(), gone: None },
                None => Promise { version: profile.reported.clone(), gone: Some(self.fleet.now) },
            };
            hosted.promised.entry(agent.id.to_string()).or_insert(promise);
        }
    }
}
