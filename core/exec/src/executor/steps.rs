//! Tasks go from state to state, and get slots.

use std::collections::VecDeque;

use fogcompute_base::{Priority, Rng, UnixMillis};

use super::{
    AHEAD_PACE_MS, Budget, Command, Executor, FITTING_MAX, Holder, PACE_OF, Permission, Record,
    Start, Target,
};
use crate::Input;
use crate::job::ms;
use crate::lifecycle::{Attempt, Cause, State, Stop, Transition};

impl Executor {
    /// Takes a task to its next state, and all that wait for it with it if it ends.
    pub(super) fn step(&mut self, number: u64, to: State, cause: Cause, now: u64) {
        let mut steps = VecDeque::from([(number, to, cause)]);
        while let Some((number, to, cause)) = steps.pop_front() {
            self.step_one(number, to, cause, now);
            if !to.is_terminal() {
                continue;
            }
            let entry = self.entry(number);
            let (task, dependents) = (entry.id, entry.dependents.clone());
            let succeeded = matches!(to, State::Succeeded { .. });
            for dependent in dependents {
                let Some(entry) = self.entries.get_mut(&dependent) else {
                    continue;
                };
                entry.waiting -= u32::from(succeeded);
                if entry.life.state != State::Admitted {
                    continue;
                }
                if !succeeded {
                    let cause = Cause::DependencyEnded { task };
                    // It may wait for several that end in this very step.
                    if !steps.iter().any(|(queued, ..)| *queued == dependent) {
                        steps.push_back((dependent, State::Skipped, cause));
                    }
                } else if entry.waiting == 0 {
                    steps.push_back((dependent, State::Queued, Cause::Ready));
                }
            }
        }
    }

    pub(super) fn step_one(&mut self, number: u64, to: State, cause: Cause, now: u64) {
        let every = ms(self.config.checkpoint_every).max(1);
        let entry = self.entry_mut(number);
        let from = entry.life.state;
        debug_assert!(from.may_become(&to), "{from:?} to {to:?}");
        if matches!(from, State::Running(_)) {
            let ran = now.saturating_sub(entry.life.changed.0);
            entry.life.ran_ms = entry.life.ran_ms.saturating_add(ran);
        }
        match to {
            State::Assigned(attempt) => {
                entry.life.attempts = attempt.number;
                entry.life.ran_ms = 0;
                entry.start_by = None;
                entry.suspend_asked = false;
                entry.vacate_by = None;
            }
            State::Running(_) => entry.checkpoint_due = now.saturating_add(every),
            _ => {}
        }
        entry.life.state = to;
        entry.life.changed = UnixMillis(now);
        entry.life.steps = entry.life.steps.saturating_add(1);
        let transition = Transition {
            task: entry.id,
            number: entry.life.steps,
            time: UnixMillis(now),
            to,
            cause,
        };
        let life = Box::new(entry.life.clone());
        let priority = entry.task.priority;
        self.record(Record::Step {
            number,
            transition,
            life,
        });
        if matches!(from, State::Running(_)) && to.is_terminal() {
            self.keep_pace(number);
        }
        if from == State::Queued {
            self.queue.remove(&(priority, number));
        }
        if to == State::Queued {
            self.queue.insert((priority, number));
        }
        if to.is_terminal() {
            self.open -= 1;
        }
        self.rearm(number);
    }

    /// Tells the runtime to stop an attempt that it has, unless it was told already.
    pub(super) fn stop(&mut self, number: u64, stop: Stop, cause: Cause, now: u64) {
        let state = self.entry(number).life.state;
        let Some(attempt) = state.attempt() else {
            return;
        };
        let told = matches!(state, State::Stopping { .. });
        let target = Target {
            task: self.entry(number).id,
            attempt: attempt.number,
            slot: attempt.slot,
        };
        self.step(number, State::Stopping { attempt, stop }, cause, now);
        let start = self
            .starts
            .iter()
            .position(|(_, start)| start.target == target);
        if let Some(start) = start {
            // The runtime does not know it: it is taken back, and has stopped.
            self.starts.remove(start);
            self.slots.remove(&target.slot);
            let cause = Cause::StopConfirmed;
            match stop {
                Stop::Cancel => self.step(number, State::Cancelled, cause, now),
                Stop::TimeOut => self.step(number, State::TimedOut, cause, now),
                Stop::Preempt | Stop::Restart => self.preempt_attempt(number, cause, now),
            }
        } else if !told {
            self.commands.push_back(Command::Cancel(target));
        }
    }

    /// What becomes of a task that has stopped, or was given up.
    pub(super) fn end_stop(
        &mut self,
        number: u64,
        stop: Stop,
        cause: Cause,
        rng: &mut impl Rng,
        now: u64,
    ) {
        match stop {
            Stop::Cancel => self.step(number, State::Cancelled, cause, now),
            Stop::TimeOut => self.step(number, State::TimedOut, cause, now),
            Stop::Preempt => self.preempt_attempt(number, cause, now),
            Stop::Restart => self.fail_attempt(number, cause, rng, now),
        }
    }

    /// An attempt is over without a result.
    pub(super) fn fail_attempt(&mut self, number: u64, cause: Cause, rng: &mut impl Rng, now: u64) {
        let entry = self.entry_mut(number);
        entry.life.failures = entry.life.failures.saturating_add(1);
        let failures = entry.life.failures;
        let to = if failures < entry.task.retry.attempts_max {
            let wait = entry.task.retry.backoff_ms(failures, rng);
            State::Retrying {
                due: UnixMillis(now.saturating_add(wait)),
            }
        } else if cause == Cause::TaskFailed {
            State::Failed
        } else {
            State::Lost
        };
        self.step(number, to, cause, now);
    }

    /// An attempt is over because it made way.
    pub(super) fn preempt_attempt(&mut self, number: u64, cause: Cause, now: u64) {
        let entry = self.entry_mut(number);
        entry.life.preemptions = entry.life.preemptions.saturating_add(1);
        if entry.life.preemptions > entry.task.retry.preemptions_max {
            self.step(number, State::Lost, cause, now);
            return;
        }
        let due = UnixMillis(now);
        self.step(number, State::Retrying { due }, cause, now);
        self.step(number, State::Queued, Cause::BackoffOver, now);
    }

    /// Sets the one timer of a task to what is due next.
    pub(super) fn rearm(&mut self, number: u64) {
        let Some(entry) = self.entries.get(&number) else {
            return;
        };
        let due = entry.due(&self.config);
        if entry.timer == due {
            return;
        }
        if let Some(old) = entry.timer {
            self.timers.remove(&(old, number));
        }
        if let Some(due) = due {
            self.timers.insert((due, number));
        }
        self.entry_mut(number).timer = due;
    }

    /// Takes into account how long the last attempt at a task ran.
    fn keep_pace(&mut self, number: u64) {
        let ran = self.entry(number).life.ran_ms;
        self.pace = Some(match self.pace {
            None => ran.saturating_mul(PACE_OF),
            Some(pace) => (pace - pace / PACE_OF).saturating_add(ran),
        });
    }

    /// Attempts that the runtime may have: those that run, and those that it is given ahead.
    pub(super) fn handed_over_max(&self, budget: Budget) -> usize {
        let short = self
            .pace
            .is_some_and(|pace| pace <= AHEAD_PACE_MS * PACE_OF);
        let ahead = if short { self.config.ahead_per_slot } else { 0 };
        budget.slots.saturating_mul(ahead.saturating_add(1)) as usize
    }

    /// Whether the runtime has so much to run that an attempt waits for its turn.
    pub(super) fn waits_for_turn(&self) -> bool {
        let Permission::Run(budget) = self.permission else {
            return false;
        };
        let begun = self.slots.values().filter(|holder| {
            let entry = self.entries.get(&holder.number);
            !entry.is_some_and(|entry| matches!(entry.life.state, State::Assigned(_)))
        });
        begun.count() >= budget.slots as usize
    }

    /// Gives free slots to waiting tasks.
    pub(super) fn dispatch(&mut self, now: u64) {
        let Permission::Run(budget) = self.permission else {
            return;
        };
        let handed_over_max = self.handed_over_max(budget);
        if self.slots.len() >= handed_over_max || self.queue.is_empty() {
            return;
        }
        let held = self.slots.values().map(|holder| holder.memory_bytes);
        let mut used = held.fold(0, u64::saturating_add);
        while self.slots.len() < handed_over_max {
            let ahead = self.slots.len() >= budget.slots as usize;
            let room = budget.memory_bytes.saturating_sub(used);
            let fits = |(_, number): &&(Priority, u64)| {
                let entry = self.entry(*number);
                entry.task.limits.memory_bytes <= room && !(ahead && entry.life.attempts > 0)
            };
            let first = self.queue.iter().take(FITTING_MAX).find(fits);
            let Some((_, number)) = first.copied() else {
                return;
            };
            used += self.entry(number).task.limits.memory_bytes;
            self.assign(number, budget, now);
        }
    }

    fn assign(&mut self, number: u64, budget: Budget, now: u64) {
        let taken = self
            .slots
            .keys()
            .zip(0..)
            .take_while(|(slot, at)| *slot == at);
        let slot = u32::try_from(taken.count()).expect("fewer slots are taken than there are");
        let entry = self.entry(number);
        let attempt = Attempt {
            number: entry.life.attempts.saturating_add(1),
            slot,
        };
        let holder = Holder {
            number,
            attempt: attempt.number,
            memory_bytes: entry.task.limits.memory_bytes,
        };
        let inputs = entry.task.inputs.iter().map(|input| match input {
            Input::Content(content) => *content,
            Input::Output(task) => {
                let source = self.entry(self.numbers[&task.resolve(entry.job)]);
                match source.life.state {
                    State::Succeeded { output } => output,
                    _ => unreachable!("a task is queued when all it waits for have succeeded"),
                }
            }
        });
        let start = Start {
            target: Target {
                task: entry.id,
                attempt: attempt.number,
                slot,
            },
            runtime: entry.task.runtime.clone(),
            program: entry.task.program,
            inputs: inputs.collect(),
            options: entry.task.options.clone(),
            limits: entry.task.limits,
            resume: entry.life.checkpoint,
            cpu_permille: budget.cpu_permille,
            bits_per_second: budget.bits_per_second,
        };
        self.slots.insert(slot, holder);
        self.step(number, State::Assigned(attempt), Cause::SlotFree, now);
        self.starts.push_back((self.records_made, start));
    }
}
