//! Jobs come, are admitted or refused, and are cancelled.

use fogcompute_base::{Instant, JobId, Rng, TaskId, UnixMillis};

use super::{Entry, Executor, JobEntry, Record, SubmitError, Submitted, TaskCallError, TaskEntry};
use crate::job::{ms, task_id};
use crate::lifecycle::{Cause, Life, State, Stop};
use crate::{Job, Task};

impl Executor {
    /// Takes a job, or finds that it has it already.
    ///
    /// Acknowledge it only when its records are saved. Submitted again with its key, it is the same
    /// job, so a submitter who got no answer simply asks again.
    ///
    /// # Errors
    /// [`SubmitError`]: nothing changed.
    pub fn submit(
        &mut self,
        job: &Job,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Submitted, SubmitError> {
        job.validate()?;
        let content = job.content();
        if let Some(key) = &job.key
            && let Some(known) = self.keys.get(&(job.owner, key.clone()))
            && let Some(known) = self.jobs.get(known)
        {
            if known.content != content {
                return Err(SubmitError::KeyReused { job: known.id });
            }
            return Ok(Submitted {
                job: known.id,
                tasks: known.tasks,
                replayed: true,
            });
        }
        self.check_room(job)?;
        let id = loop {
            let mut id = [0; JobId::LEN];
            rng.fill_bytes(&mut id);
            let id = JobId::from_bytes(id);
            if !self.jobs.contains_key(&id) {
                break id;
            }
        };
        let now = self.tick(now);
        let entry = JobEntry {
            id,
            owner: job.owner,
            key: job.key.clone(),
            content,
            first: self.next_number,
            // At most JOB_TASKS_MAX, as validated.
            tasks: u32::try_from(job.tasks.len()).unwrap_or(u32::MAX),
        };
        let submitted = Submitted {
            job: id,
            tasks: entry.tasks,
            replayed: false,
        };
        self.insert(entry, &job.tasks, now);
        if self.config.admit_at_once {
            self.admit_tasks(id, now);
        }
        self.dispatch(now);
        Ok(submitted)
    }

    fn check_room(&self, job: &Job) -> Result<(), SubmitError> {
        let asked = job.tasks.len();
        if self.open + asked > self.config.open_max {
            return Err(SubmitError::QueueFull {
                open: self.open,
                asked,
                limit: self.config.open_max,
            });
        }
        if self.entries.len() + asked > self.config.tasks_max {
            return Err(SubmitError::MemoryFull {
                held: self.entries.len(),
                asked,
                limit: self.config.tasks_max,
            });
        }
        let earlier = job.tasks.iter().flat_map(Task::waits);
        for wait in earlier {
            if let crate::TaskRef::Task(task) = wait
                && !self.numbers.contains_key(&task)
            {
                return Err(SubmitError::UnknownTask { task });
            }
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, job: JobEntry, tasks: &[Task], now: u64) {
        let mut stored = Vec::with_capacity(tasks.len());
        for (place, task) in (0..).zip(tasks) {
            let number = job.first + u64::from(place);
            let deadline = task
                .deadline
                .map(|deadline| UnixMillis(now.saturating_add(ms(deadline))));
            let life = Life::new(UnixMillis(now), deadline);
            stored.push(TaskEntry {
                number,
                task: task.clone(),
                life: life.clone(),
                log_bytes: 0,
            });
            let entry = Entry::new(task_id(job.id, place), job.id, task.clone(), life, 0);
            self.numbers.insert(entry.id, number);
            self.entries.insert(number, entry);
        }
        self.open += tasks.len();
        self.next_number += u64::from(job.tasks);
        if let Some(key) = job.key.clone() {
            self.keys.insert((job.owner, key), job.id);
        }
        self.record(Record::Job {
            job: job.clone(),
            tasks: stored,
        });
        for number in job.numbers() {
            let mut waiting = 0;
            for task in self.entry(number).dependencies() {
                let dependency = self.numbers[&task];
                let dependency = self.entry_mut(dependency);
                dependency.dependents.push(number);
                waiting += u32::from(!matches!(dependency.life.state, State::Succeeded { .. }));
            }
            self.entry_mut(number).waiting = waiting;
            self.rearm(number);
        }
        self.jobs.insert(job.id, job);
    }

    /// Accepts a job that waits for that.
    ///
    /// # Errors
    /// [`TaskCallError::UnknownJob`], [`TaskCallError::NotWaiting`].
    pub fn admit(&mut self, job: JobId, now: Instant) -> Result<(), TaskCallError> {
        self.check_waiting(job)?;
        let now = self.tick(now);
        self.admit_tasks(job, now);
        self.dispatch(now);
        Ok(())
    }

    /// Does not accept a job that waits for that: its tasks fail.
    ///
    /// # Errors
    /// [`TaskCallError::UnknownJob`], [`TaskCallError::NotWaiting`].
    pub fn refuse(&mut self, job: JobId, now: Instant) -> Result<(), TaskCallError> {
        let waiting = self.check_waiting(job)?;
        let now = self.tick(now);
        for number in waiting {
            self.step(number, State::Failed, Cause::Refused, now);
        }
        self.dispatch(now);
        Ok(())
    }

    fn check_waiting(&self, job: JobId) -> Result<Vec<u64>, TaskCallError> {
        let entry = self
            .jobs
            .get(&job)
            .ok_or(TaskCallError::UnknownJob { job })?;
        let waiting: Vec<u64> = entry
            .numbers()
            .filter(|number| self.entry(*number).life.state == State::Submitted)
            .collect();
        if waiting.is_empty() {
            return Err(TaskCallError::NotWaiting { job });
        }
        Ok(waiting)
    }

    pub(super) fn admit_tasks(&mut self, job: JobId, now: u64) {
        let numbers: Vec<u64> = self.jobs[&job].numbers().collect();
        for number in numbers {
            if self.entry(number).life.state == State::Submitted {
                self.step(number, State::Admitted, Cause::Admitted, now);
                self.settle_admitted(number, now);
            }
        }
    }

    /// Queues or skips a task whose dependencies are over.
    pub(super) fn settle_admitted(&mut self, number: u64, now: u64) {
        let entry = self.entry(number);
        if entry.life.state != State::Admitted {
            return;
        }
        if entry.waiting == 0 {
            self.step(number, State::Queued, Cause::Ready, now);
            return;
        }
        let ended = entry.dependencies().into_iter().find(|task| {
            let state = self.entry(self.numbers[task]).life.state;
            state.is_terminal() && !matches!(state, State::Succeeded { .. })
        });
        if let Some(task) = ended {
            self.step(number, State::Skipped, Cause::DependencyEnded { task }, now);
        }
    }

    /// Ends a task: at once if the runtime does not have it, otherwise when the runtime has stopped
    /// it, or has not for [`Config::stop_grace`](super::Config::stop_grace). From now on it cannot
    /// succeed. Asking again is fine.
    ///
    /// # Errors
    /// [`TaskCallError::UnknownTask`], [`TaskCallError::Ended`].
    pub fn cancel(&mut self, task: TaskId, now: Instant) -> Result<(), TaskCallError> {
        let number = self.number(task)?;
        let state = self.entry(number).life.state;
        if state.is_terminal() {
            return Err(TaskCallError::Ended { task, state });
        }
        let now = self.tick(now);
        self.cancel_number(number, now);
        self.dispatch(now);
        Ok(())
    }

    /// Ends all tasks of a job that have not ended, as [`Executor::cancel`] does, and says how many
    /// they are.
    ///
    /// # Errors
    /// [`TaskCallError::UnknownJob`].
    pub fn cancel_job(&mut self, job: JobId, now: Instant) -> Result<usize, TaskCallError> {
        let entry = self
            .jobs
            .get(&job)
            .ok_or(TaskCallError::UnknownJob { job })?;
        let open: Vec<u64> = entry
            .numbers()
            .filter(|number| !self.entry(*number).life.state.is_terminal())
            .collect();
        let now = self.tick(now);
        // From the end, so that few are skipped because another was cancelled.
        for number in open.iter().rev() {
            self.cancel_number(*number, now);
        }
        self.dispatch(now);
        Ok(open.len())
    }

    pub(super) fn cancel_number(&mut self, number: u64, now: u64) {
        let cause = Cause::CancelAsked;
        match self.entry(number).life.state {
            state if state.is_terminal() => {}
            State::Stopping {
                stop: Stop::Cancel | Stop::TimeOut,
                ..
            } => {}
            state if state.attempt().is_none() => {
                self.step(number, State::Cancelled, cause, now);
            }
            _ => self.stop(number, Stop::Cancel, cause, now),
        }
    }
}
