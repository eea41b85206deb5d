//! Many elections in invented time: candidates with clocks of their own that run too fast or too slow, calls that are
//! slow, lost, carried out late or twice conflicting, processes that are paused or killed, a record that is deleted or
//! touched. At no moment may two lead, and when the trouble ends one must.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Timing;
use super::election::{Answer, Call, Election, Next, Record};

/// Time of the world, in microseconds.
type World = u64;

const SECOND: World = 1_000_000;
const TROUBLE_ENDS: World = 120 * SECOND;
const PEACE_ENDS: World = TROUBLE_ENDS + 40 * SECOND;

/// One process: its clock shows `rate` parts of a million per microsecond of the world.
struct Process {
    election: Election,
    rate: u64,
    epoch: Instant,
    paused_until: World,
    /// The call it waits for, by number, and what it was.
    waits_for: Option<(u64, Call, Instant)>,
    /// Wakes that were set for something else are void.
    wake: u64,
}

impl Process {
    fn clock(&self, world: World) -> Instant {
        self.epoch + Duration::from_micros(world * self.rate / 1_000_000)
    }

    /// When the world reaches what its clock calls `local`.
    fn world(&self, local: Instant) -> World {
        let micros = local.saturating_duration_since(self.epoch).as_micros();
        u64::try_from(micros).expect("a short simulation") * 1_000_000 / self.rate + 1
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A process looks at its clock.
    Wake { process: usize, wake: u64 },
    /// A call reaches the server.
    Arrive { process: usize, call: u64 },
    /// An answer reaches its process.
    Return { process: usize, call: u64 },
    /// Something goes wrong.
    Trouble,
}

struct Simulation {
    random: StdRng,
    now: World,
    queue: BinaryHeap<Reverse<(World, u64, Event)>>,
    numbers: u64,
    processes: Vec<Process>,
    record: Option<Record>,
    calls: Vec<(Call, String, Option<Answer>)>,
    timing: Timing,
    leaders_so_far: usize,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut simulation = Simulation {
            random: StdRng::seed_from_u64(seed),
            now: 0,
            queue: BinaryHeap::new(),
            numbers: 0,
            processes: Vec::new(),
            record: None,
            calls: Vec::new(),
            timing: Timing::default(),
            leaders_so_far: 0,
        };
        for _ in 0..3 {
            simulation.start();
        }
        simulation.at(SECOND, Event::Trouble);
        simulation
    }

    fn at(&mut self, world: World, event: Event) {
        self.numbers += 1;
        self.queue.push(Reverse((world, self.numbers, event)));
    }

    fn start(&mut self) {
        let number = self.processes.len();
        // Clocks that differ by more than lease and deadline do would break any election.
        let rate = self.random.random_range(850_000..=1_150_000);
        // Far apart, as clocks of machines are.
        let epoch = Instant::now() + Duration::from_secs(self.random.random_range(0..1_000_000));
        let mut process = Process {
            election: Election::new(format!("p{number}"), self.timing, epoch),
            rate,
            epoch,
            paused_until: 0,
            waits_for: None,
            wake: 0,
        };
        process.election = Election::new(format!("p{number}"), self.timing, process.clock(self.now));
        self.processes.push(process);
        self.wake(number, self.now);
    }

    fn wake(&mut self, process: usize, world: World) {
        self.numbers += 1;
        let wake = self.numbers;
        self.processes[process].wake = wake;
        self.at(world, Event::Wake { process, wake });
    }

    fn run(&mut self) {
        while let Some(Reverse((world, _, event))) = self.queue.pop() {
            if world > PEACE_ENDS {
                break;
            }
            self.now = world;
            match event {
                Event::Wake { process, wake } if self.processes[process].wake == wake => self.turn(process),
                Event::Wake { .. } => {}
                Event::Arrive { process, call } => self.arrive(process, call),
                Event::Return { process, call } => self.answer(process, call),
                Event::Trouble => self.trouble(),
            }
            self.check();
        }
    }

    /// Never two. Only what a process itself believes counts: that is what makes it act.
    fn check(&self) {
        let leading = self.processes.iter().filter(|process| process.election.leads(process.clock(self.now)));
        let names: Vec<_> = leading.map(|process| process.election.me()).collect();
        assert!(names.len() <= 1, "{names:?} lead at {} µs", self.now);
    }

    /// The process acts on its clock.
    fn turn(&mut self, number: usize) {
        let world = self.now;
        let process = &mut self.processes[number];
        if world < process.paused_until {
            let until = process.paused_until;
            return self.wake(number, until);
        }
        let local = process.clock(world);
        if let Some((_, call, sent)) = &process.waits_for {
            let bound = process.election.answer_until(*sent);
            if local < bound {
                let until = process.world(bound);
                return self.wake(number, until);
            }
            let (call, sent) = (call.clone(), *sent);
            process.waits_for = None;
            process.election.answered(&call, Answer::Failed("too late".to_owned()), sent, local);
        }
        match self.processes[number].election.next(local) {
            Next::Wait(until) => {
                let until = self.processes[number].world(until);
                self.wake(number, until);
            }
            Next::Call(call) => self.send(number, call, local),
            Next::Leading => {
                self.leaders_so_far += 1;
                self.wake(number, world);
            }
            // The process ends; the kubelet starts another.
            Next::Lost(_) => self.start(),
        }
    }

    fn send(&mut self, number: usize, call: Call, local: Instant) {
        let id = self.calls.len() as u64;
        self.calls.push((call.clone(), self.processes[number].election.me().to_owned(), None));
        self.processes[number].waits_for = Some((id, call, local));
        let until = self.processes[number].world(self.processes[number].election.answer_until(local));
        self.wake(number, until);
        if !self.trouble_with(0.05) {
            let arrival = self.now + self.delay();
            self.at(arrival, Event::Arrive { process: number, call: id });
        }
    }

    fn trouble_with(&mut self, probability: f64) -> bool {
        self.now < TROUBLE_ENDS && self.random.random_bool(probability)
    }

    /// Mostly milliseconds; at times longer than anybody waits.
    fn delay(&mut self) -> World {
        if self.trouble_with(0.1) {
            self.random.random_range(0..5 * SECOND)
        } else {
            self.random.random_range(500..20_000)
        }
    }

    /// The server carries a call out.
    fn arrive(&mut self, process: usize, id: u64) {
        let (call, me, _) = self.calls[id as usize].clone();
        let answer = if self.trouble_with(0.03) { Answer::Failed("500".to_owned()) } else { self.serve(&call, &me) };
        self.calls[id as usize].2 = Some(answer);
        if !self.trouble_with(0.05) {
            let arrival = self.now + self.delay();
            self.at(arrival, Event::Return { process, call: id });
        }
    }

    fn serve(&mut self, call: &Call, me: &str) -> Answer {
        self.numbers += 1;
        let (version, lease) = (self.numbers.to_string(), self.timing.lease);
        let Some(record) = self.record.as_mut() else {
            if *call != Call::Create {
                return Answer::Missing;
            }
            self.record = Some(Record { version: version.clone(), holder: me.to_owned(), lease, transitions: 0 });
            return Answer::Written(version);
        };
        let (base, holder) = match call {
            Call::Look => return Answer::Found(record.clone()),
            Call::Create => return Answer::Conflict,
            Call::Take { version, transitions } => {
                if record.version == *version {
                    record.transitions = *transitions;
                }
                (version, Some(me))
            }
            Call::Renew { version } => (version, None),
            Call::Release { version } => (version, Some("")),
        };
        if record.version != *base {
            return Answer::Conflict;
        }
        record.version.clone_from(&version);
        if let Some(holder) = holder {
            holder.clone_into(&mut record.holder);
        }
        Answer::Written(version)
    }

    fn answer(&mut self, number: usize, id: u64) {
        let process = &mut self.processes[number];
        if self.now < process.paused_until {
            let until = process.paused_until;
            return self.at(until, Event::Return { process: number, call: id });
        }
        let local = process.clock(self.now);
        // An answer that comes when its call was given up is not heard.
        let Some((_, call, sent)) = process.waits_for.take_if(|(waiting, _, _)| *waiting == id) else { return };
        if local >= process.election.answer_until(sent) {
            process.election.answered(&call, Answer::Failed("too late".to_owned()), sent, local);
        } else {
            let answer = self.calls[id as usize].2.clone().expect("it was carried out");
            process.election.answered(&call, answer, sent, local);
        }
        self.turn(number);
    }

    fn trouble(&mut self) {
        if self.now >= TROUBLE_ENDS {
            return;
        }
        let number = self.random.random_range(0..self.processes.len());
        match self.random.random_range(0..10) {
            0 => self.record = None,
            1 => {
                self.numbers += 1;
                let version = self.numbers.to_string();
                if let Some(record) = self.record.as_mut() {
                    record.version = version;
                }
            }
            2..=4 => {
                let pause = self.random.random_range(0..15 * SECOND);
                self.processes[number].paused_until = self.now + pause;
            }
            5 => {
                // A graceful stop: the process releases, ends, and another starts.
                let local = self.processes[number].clock(self.now);
                if self.processes[number].election.leads(local)
                    && self.processes[number].paused_until <= self.now
                    && let Some(call) = self.processes[number].election.release(local)
                {
                    self.send(number, call, local);
                }
            }
            _ => {}
        }
        let next = self.now + self.random.random_range(SECOND / 2..5 * SECOND);
        self.at(next, Event::Trouble);
    }
}

#[test]
fn two_never_lead_and_in_the_end_one_does() {
    let mut leaders = 0;
    for seed in 0..400 {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        let at_last = PEACE_ENDS - SECOND / 1_000;
        simulation.now = at_last;
        let leading =
            simulation.processes.iter().filter(|process| process.election.leads(process.clock(at_last))).count();
        assert_eq!(leading, 1, "seed {seed}: when the trouble has ended, one leads");
        leaders += simulation.leaders_so_far;
    }
    assert!(leaders > 800, "the lead must have changed hands for this to prove anything: {leaders}");
}
