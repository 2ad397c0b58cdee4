//! What happens: the budget changes, the runtime has something to tell, time passes.

use fogcompute_base::{Instant, Rng, TaskId};

use super::{Budget, Command, Event, EventError, Executor, Permission, Record, Target};
use crate::ContentId;
use crate::job::ms;
use crate::lifecycle::{Attempt, Cause, CheckpointError, CheckpointRecord, State, Stop};

impl Executor {
    /// What the device lends from now on. Running tasks are throttled, suspended, resumed, or make
    /// way, as it says.
    pub fn handle_permission(&mut self, permission: Permission, now: Instant) {
        let now = self.tick(now);
        let before = std::mem::replace(&mut self.permission, permission);
        let active: Vec<u64> = self.active();
        match permission {
            Permission::Run(budget) => {
                let throttled = !matches!(before, Permission::Run(old)
                    if (old.cpu_permille, old.bits_per_second)
                        == (budget.cpu_permille, budget.bits_per_second));
                for number in active {
                    let Some(target) = self.target(number) else {
                        continue;
                    };
                    self.entry_mut(number).vacate_by = None;
                    if throttled {
                        self.throttle(target, budget);
                    }
                    if std::mem::take(&mut self.entry_mut(number).suspend_asked) {
                        self.commands.push_back(Command::Resume(target));
                    }
                    self.rearm(number);
                }
                self.shed(budget, now);
                self.dispatch(now);
            }
            Permission::Suspend => {
                for number in active {
                    let Some(target) = self.target(number) else {
                        continue;
                    };
                    if self.starts.iter().any(|(_, start)| start.target == target) {
                        self.stop(number, Stop::Preempt, Cause::Preempted, now);
                        continue;
                    }
                    let entry = self.entry_mut(number);
                    entry.vacate_by = None;
                    if !std::mem::replace(&mut entry.suspend_asked, true) {
                        self.commands.push_back(Command::Suspend(target));
                    }
                    self.rearm(number);
                }
            }
            Permission::Vacate => {
                for number in active {
                    self.vacate(number, now);
                }
            }
            Permission::Stop => {
                for number in active {
                    self.stop(number, Stop::Preempt, Cause::Preempted, now);
                }
            }
        }
    }

    /// Tasks that the runtime has and was not told to stop.
    pub(super) fn active(&self) -> Vec<u64> {
        let held = self.slots.values().filter(|holder| {
            let entry = self.entries.get(&holder.number);
            entry.is_some_and(|entry| {
                let state = entry.life.state;
                let same = state.attempt().map(|attempt| attempt.number) == Some(holder.attempt);
                same && !matches!(state, State::Stopping { .. })
            })
        });
        held.map(|holder| holder.number).collect()
    }

    /// Lets the least urgent make way until what is left fits the budget.
    fn shed(&mut self, budget: Budget, now: u64) {
        let mut active = self.active();
        active.sort_unstable_by_key(|number| (self.entry(*number).task.priority, *number));
        // Those that are stopping make room by themselves.
        let handed_over_max = self.handed_over_max(budget);
        let mut memory = 0_u64;
        let mut slots = 0;
        for number in active {
            let needs = self.entry(number).task.limits.memory_bytes;
            let with = memory.saturating_add(needs);
            if slots < handed_over_max && with <= budget.memory_bytes {
                slots += 1;
                memory = with;
            } else if self.entry(number).vacate_by.is_none() {
                self.vacate(number, now);
            }
        }
    }

    /// Asks a running task for a checkpoint, after which it is stopped. Others are stopped now.
    fn vacate(&mut self, number: u64, now: u64) {
        let entry = self.entry(number);
        if entry.vacate_by.is_some() {
            return;
        }
        let suspended = entry.suspend_asked || matches!(entry.life.state, State::Suspended(_));
        match (entry.life.state, self.target(number)) {
            (State::Running(_), Some(target)) if !suspended => {
                let by = now.saturating_add(ms(self.config.vacate_grace));
                self.entry_mut(number).vacate_by = Some(by);
                self.commands.push_back(Command::Checkpoint(target));
                self.rearm(number);
            }
            _ => self.stop(number, Stop::Preempt, Cause::Preempted, now),
        }
    }

    fn throttle(&mut self, target: Target, budget: Budget) {
        let unknown = self
            .starts
            .iter_mut()
            .find(|(_, start)| start.target == target);
        if let Some((_, start)) = unknown {
            start.cpu_permille = budget.cpu_permille;
            start.bits_per_second = budget.bits_per_second;
        } else {
            self.commands.push_back(Command::Throttle {
                target,
                cpu_permille: budget.cpu_permille,
                bits_per_second: budget.bits_per_second,
            });
        }
    }

    /// What happened to an attempt.
    ///
    /// # Errors
    /// [`EventError`]: drop the event. A slot is free all the same if the event ends the attempt
    /// that has it.
    pub fn handle_event(
        &mut self,
        task: TaskId,
        attempt: u32,
        event: Event,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<(), EventError> {
        let number = *self
            .numbers
            .get(&task)
            .ok_or(EventError::UnknownTask { task })?;
        let now = self.tick(now);
        let held = self
            .slots
            .iter()
            .find(|(_, holder)| (holder.number, holder.attempt) == (number, attempt))
            .map(|(slot, _)| *slot);
        if let Some(slot) = held
            && event.ends_attempt()
        {
            self.slots.remove(&slot);
            // What it was still to be told is too late.
            let over = Target {
                task,
                attempt,
                slot,
            };
            self.commands.retain(|command| command.target() != over);
        }
        let life = &self.entry(number).life;
        let current = life.attempts;
        let result = if life.state.attempt().map(|now| now.number) == Some(attempt) {
            self.apply(number, event, rng, now)
        } else if attempt > current || attempt == 0 {
            Err(EventError::NotBegun { attempt, current })
        } else {
            Err(EventError::Stale { attempt, current })
        };
        self.rearm(number);
        self.dispatch(now);
        result
    }

    /// Applies an event of the attempt that the runtime has.
    fn apply(
        &mut self,
        number: u64,
        event: Event,
        rng: &mut impl Rng,
        now: u64,
    ) -> Result<(), EventError> {
        let state = self.entry(number).life.state;
        let Some(attempt) = state.attempt() else {
            return Err(EventError::NotAllowed { state });
        };
        match (event, state) {
            (Event::Started, State::Assigned(_)) => {
                self.step(number, State::Running(attempt), Cause::Started, now);
            }
            (Event::Suspended, State::Assigned(_) | State::Running(_)) => {
                self.step(number, State::Suspended(attempt), Cause::Suspended, now);
            }
            (Event::Resumed, State::Suspended(_)) => {
                self.step(number, State::Running(attempt), Cause::Resumed, now);
            }
            (Event::Started | Event::Suspended | Event::Resumed, _) => {}
            (Event::Log { bytes }, _) => self.log(number, attempt.number, bytes),
            (
                Event::Checkpointed {
                    content,
                    bytes,
                    fuel,
                },
                _,
            ) => {
                let found = (content, bytes, fuel);
                return self.checkpoint(number, state, attempt, found, now);
            }
            (
                event,
                State::Stopping {
                    stop: stop @ (Stop::Cancel | Stop::TimeOut),
                    ..
                },
            ) => {
                debug_assert!(event.ends_attempt(), "all others are above");
                self.end_stop(number, stop, Cause::StopConfirmed, rng, now);
            }
            (Event::Succeeded { output, usage }, _) => {
                self.entry_mut(number).life.usage = usage;
                self.step(number, State::Succeeded { output }, Cause::Returned, now);
            }
            (Event::Failed { error }, _) if error.is_deterministic() => {
                self.entry_mut(number).life.error = Some(error);
                self.step(number, State::Failed, Cause::TaskFailed, now);
            }
            (_, State::Stopping { stop, .. }) => {
                self.end_stop(number, stop, Cause::StopConfirmed, rng, now);
            }
            (Event::Failed { error }, _) => {
                self.entry_mut(number).life.error = Some(error);
                self.fail_attempt(number, Cause::TaskFailed, rng, now);
            }
            (Event::Stopped | Event::Lost, _) => {
                self.fail_attempt(number, Cause::AttemptLost, rng, now);
            }
        }
        Ok(())
    }

    fn checkpoint(
        &mut self,
        number: u64,
        state: State,
        attempt: Attempt,
        (content, bytes, fuel): (ContentId, u64, u64),
        now: u64,
    ) -> Result<(), EventError> {
        match state {
            State::Assigned(_) => return Err(EventError::NotAllowed { state }),
            // Nobody goes on from it.
            State::Stopping {
                stop: Stop::Cancel | Stop::TimeOut,
                ..
            } => return Ok(()),
            _ => {}
        }
        let limit = self.config.checkpoint_bytes_max;
        if bytes > limit {
            return Err(CheckpointError::TooLong {
                actual: bytes,
                limit,
            }
            .into());
        }
        let entry = self.entry_mut(number);
        let last = entry.life.checkpoint;
        let fuel_before = last.map_or(0, |last| last.fuel);
        if fuel < fuel_before {
            return Err(CheckpointError::Backwards {
                actual: fuel,
                last: fuel_before,
            }
            .into());
        }
        let sequence = last.map_or(0, |last| last.sequence).saturating_add(1);
        entry.life.checkpoint = Some(CheckpointRecord {
            sequence,
            content,
            bytes,
            fuel,
            attempt: attempt.number,
        });
        let vacates = entry.vacate_by.is_some();
        self.step(number, state, Cause::Checkpointed { sequence }, now);
        if vacates && !matches!(state, State::Stopping { .. }) {
            self.stop(number, Stop::Preempt, Cause::Preempted, now);
        }
        Ok(())
    }

    fn log(&mut self, number: u64, attempt: u32, mut bytes: Vec<u8>) {
        let entry = self.entry_mut(number);
        let room = u64::from(entry.task.log_bytes_max).saturating_sub(entry.log_bytes);
        let kept = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        entry.log_bytes_dropped += (bytes.len() - kept) as u64;
        bytes.truncate(kept);
        if bytes.is_empty() {
            return;
        }
        let offset = entry.log_bytes;
        entry.log_bytes += bytes.len() as u64;
        let task = entry.id;
        self.record(Record::Log {
            number,
            task,
            attempt,
            offset,
            bytes,
        });
    }

    /// Does what is due: see [`Executor::poll_timeout`].
    pub fn handle_timeout(&mut self, rng: &mut impl Rng, now: Instant) {
        let now = self.tick(now);
        while let Some((due, number)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.remove(&(due, number));
            self.entry_mut(number).timer = None;
            self.fire(number, rng, now);
            self.rearm(number);
        }
        self.dispatch(now);
    }

    /// Does what is due for one task. One thing at a time: `rearm` finds what else is.
    fn fire(&mut self, number: u64, rng: &mut impl Rng, now: u64) {
        let entry = self.entry(number);
        let life = &entry.life;
        let late = life.deadline.is_some_and(|deadline| deadline.0 <= now);
        match life.state {
            state if state.is_terminal() => {}
            State::Stopping { stop, .. } => {
                if late && matches!(stop, Stop::Preempt | Stop::Restart) {
                    self.stop(number, Stop::TimeOut, Cause::DeadlinePassed, now);
                } else if life.changed.0.saturating_add(ms(self.config.stop_grace)) <= now {
                    self.end_stop(number, stop, Cause::StopUnconfirmed, rng, now);
                }
            }
            state if late => match state.attempt() {
                None => self.step(number, State::TimedOut, Cause::DeadlinePassed, now),
                Some(_) => self.stop(number, Stop::TimeOut, Cause::DeadlinePassed, now),
            },
            State::Retrying { due } if due.0 <= now => {
                self.step(number, State::Queued, Cause::BackoffOver, now);
            }
            State::Assigned(_) if entry.start_by.is_some_and(|by| by <= now) => {
                if self.waits_for_turn() {
                    let by = now.saturating_add(ms(self.config.start_grace));
                    self.entry_mut(number).start_by = Some(by);
                    return;
                }
                self.stop(number, Stop::Restart, Cause::NotStarted, now);
            }
            State::Running(_) => {
                if entry.run_time_over().is_some_and(|over| over <= now) {
                    self.stop(number, Stop::TimeOut, Cause::RunTimeOver, now);
                } else if entry.vacate_by.is_some_and(|by| by <= now) {
                    self.stop(number, Stop::Preempt, Cause::Preempted, now);
                } else if entry.checkpoint_due <= now {
                    let every = ms(self.config.checkpoint_every).max(1);
                    self.entry_mut(number).checkpoint_due = now.saturating_add(every);
                    if let Some(target) = self.target(number) {
                        self.commands.push_back(Command::Checkpoint(target));
                    }
                }
            }
            _ => {}
        }
    }
}
