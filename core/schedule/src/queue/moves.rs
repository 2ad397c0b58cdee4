//! Which running jobs would be better off elsewhere.

use fogcompute_base::{Instant, NodeId, TaskId};

use super::fit::Spot;
use super::preempt::notice_ms;
use super::{Cause, Decision, Queue, QueueError, Run, Turn};

/// A running job that would be better off on another node, although it starts over there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// The job.
    pub job: TaskId,
    /// Where it runs.
    pub from: NodeId,
    /// Where it would start again.
    pub to: NodeId,
    /// By how much that lessens the weighted sum of what is minimised, what the move costs not
    /// taken off. It may be negative if the node is drained.
    pub gain: f64,
}

/// The turn of nobody: what runs is not in line.
const NOBODY: Turn = Turn {
    at: u64::MAX,
    rank: u8::MAX,
    number: u64::MAX,
};

impl Queue {
    /// At most `limit` moves that each gain more than [`Config::move_cost`](super::Config), the best
    /// first, or that leave a drained node; those come before others. They can be made one after
    /// another and delay no reservation. Only jobs that may be preempted and are in no gang move.
    ///
    /// A job that moves starts over: what it has done so far is lost, which is weighed. Nothing is
    /// done until [`move_job`](Self::move_job). Waiting jobs need no plan: their reservations are
    /// the best there are whenever something changes.
    ///
    /// Holds each running job against up to 64 nodes that have room for it.
    #[must_use]
    pub fn plan_moves(&self, now: Instant, limit: usize) -> Vec<Move> {
        let mut after = self.clone();
        let runs: Vec<(TaskId, usize)> = self.runs.keys().copied().collect();
        let found = runs.into_iter().filter_map(|(job, host)| {
            let (spot, gain, must) = after.best_move(job, host, now.as_nanos())?;
            Some((job, host, spot, gain, must))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by(|a, b| b.4.cmp(&a.4).then(b.3.total_cmp(&a.3)).then(a.0.cmp(&b.0)));
        let mut moves = Vec::new();
        for (job, host, ..) in found {
            if moves.len() == limit {
                break;
            }
            // Those before may have taken its place, or made a better one.
            let Some((spot, gain, _)) = after.best_move(job, host, now.as_nanos()) else {
                continue;
            };
            let ids =
                [host, spot.host].map(|index| after.hosts[index].as_ref().map(|it| it.node.id));
            if let [Some(from), Some(to)] = ids {
                let step = Move {
                    job,
                    from,
                    to,
                    gain,
                };
                if after.move_job(&step, now).is_ok() {
                    moves.push(step);
                }
            }
        }
        moves
    }

    /// Moves a running job: [`poll`](Self::poll) says to stop it and to start it again.
    ///
    /// # Errors
    ///
    /// [`QueueError::JobUnknown`], [`QueueError::NodeUnknown`], [`QueueError::NotRunning`], and
    /// [`QueueError::MoveRefused`] if the job may not be moved or has no room there now.
    pub fn move_job(&mut self, step: &Move, now: Instant) -> Result<(), QueueError> {
        let (from, to) = (self.host(step.from)?, self.host(step.to)?);
        let job = step.job;
        let known = self.jobs.get(&job).ok_or(QueueError::JobUnknown { job })?;
        let refused = QueueError::MoveRefused { job, to: step.to };
        let may = notice_ms(&known.job).is_some() && known.gang.is_empty() && from != to;
        let Some(run) = self.runs.get(&(job, from)) else {
            let node = step.from;
            return Err(QueueError::NotRunning { job, node });
        };
        if !may || run.notice.is_some() {
            return Err(refused);
        }
        let at = now.as_nanos();
        let Some(spot) = self.without(job, from, |queue| queue.spot_on(job, to, at)) else {
            return Err(refused);
        };
        self.decisions.push_back(Decision::Stop {
            job,
            node: step.from,
            cause: Cause::Moved,
        });
        self.end_run(job, from, at);
        self.start_run(job, spot.host, at, spot.until);
        self.wake_related(job);
        self.is_stirred = true;
        Ok(())
    }

    /// Where a running job would best go, what it would gain, and whether its node is drained.
    fn best_move(&mut self, job: TaskId, from: usize, now: u64) -> Option<(Spot, f64, bool)> {
        let run = self
            .runs
            .get(&(job, from))
            .filter(|run| run.notice.is_none())?
            .clone();
        let known = self.jobs.get(&job).filter(|known| known.gang.is_empty())?;
        notice_ms(&known.job)?;
        let host = self.hosts[from].as_ref()?;
        let must = !host.is_open;
        let stays = self.score_of_rest(job, from, &run, now)?;
        let spot = self.without(job, from, |queue| {
            let known = queue.jobs.get(&job)?;
            let seek = queue.seek(&known.job, known.submitted, NOBODY);
            queue.spot_now(&seek, now, None)
        });
        let spot = spot.filter(|spot| spot.host != from)?;
        let gain = stays - spot.score();
        (must || gain > self.config.move_cost).then_some((spot, gain, must))
    }

    /// The weighted sum for what is left of a run where it is.
    fn score_of_rest(&self, job: TaskId, from: usize, run: &Run, now: u64) -> Option<f64> {
        let host = self.hosts[from].as_ref()?;
        let known = self.jobs.get(&job)?;
        let rates = &self.config.rates;
        let rest_ms = run.held_until.saturating_sub(now) as f64 / 1e6;
        let rest_core_seconds = rest_ms * known.job.cpu_millis as f64 * 1e-6;
        let node = &host.node;
        let others = (node.cpu_millis_total - node.cpu_millis_free) as f64;
        let node_use = (others + host.used[0] as f64) / f64::max(node.cpu_millis_total as f64, 1.0);
        let multiplier = known.job.tier.terms().price_permille as f64 * 1e-3;
        Some(
            rates.completion_ms * (rest_ms + node.latency_ms)
                + rates.node_use * node_use
                + rates.distrust * (1.0 - node.trust)
                + rates.cost * rest_core_seconds * node.price_per_cpu_second as f64
                + rates.price * rest_core_seconds * node.ask() as f64 * multiplier,
        )
    }

    /// A job on a node from now on, if it has room there.
    fn spot_on(&self, job: TaskId, index: usize, now: u64) -> Option<Spot> {
        let known = self.jobs.get(&job)?;
        let seek = self.seek(&known.job, known.submitted, NOBODY);
        self.earliest_on(&seek, index, now, None)
            .filter(|spot| spot.at == now)
    }

    /// What `look` sees where a run is not.
    fn without<T>(&mut self, job: TaskId, index: usize, look: impl Fn(&Self) -> T) -> T {
        let run = self.runs.get(&(job, index)).cloned();
        let take = |queue: &mut Self, is_back: bool| {
            let known = queue.jobs.get_mut(&job);
            if let (Some(run), Some(known), Some(host)) = (&run, known, queue.hosts[index].as_mut())
            {
                if is_back {
                    known.runs.insert(index);
                    host.profile.add(run.started, run.held_until, &run.need);
                } else {
                    known.runs.remove(&index);
                    host.profile.remove(run.started, run.held_until, &run.need);
                }
            }
        };
        take(self, false);
        let seen = look(self);
        take(self, true);
        seen
    }
}
