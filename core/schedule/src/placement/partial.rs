//! Placing what fits when not everything does.

use std::fmt;

use fogcompute_base::{NodeId, TaskId};
use rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::evaluate::Queue;
use super::instance::{
    Constraint, Counts, Instance, Job, Lacks, List, NEEDS, Node, PlacementError, RESOURCES, Rule,
    Rules, Sharing, Tasks, check_jobs, check_nodes, eligible,
};
use super::plan::Plan;
use super::relations::{Relations, Sets};
use super::room::Room;
use super::search::LOOKS_PER_PAIR;
use crate::evolution::Nsga2;

/// How many jobs may be asked to make way for others, in one batch, each counted once more for each
/// node to which it could go. About a second.
const ASKS_MAX: u64 = 1 << 26;

/// How many pairs of a job and a node may be looked at to place anew those that are in, with one
/// that found no place among them. As many again whenever nobody is in yet.
const LOOKS_MAX: u64 = 1 << 26;

/// Why a job was left out.
///
/// All reasons there are: whoever hands them on, to another language for one, must have an answer to
/// each, and learns of a new one from the compiler.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No node may take it; see [`PlacementError::Infeasible`].
    NoNode {
        /// How many nodes each constraint removes, in the order of [`Constraint::ALL`].
        removed_by: [u32; Constraint::ALL.len()],
        /// The node that fails the fewest constraints.
        nearest: NodeId,
        /// Those constraints.
        nearest_fails: Vec<Constraint>,
    },
    /// No node may take it together with those that must be with it.
    NoCommonNode {
        /// All of them.
        jobs: Vec<TaskId>,
        /// How many nodes may take each of them alone.
        shared: u32,
    },
    /// Beside the more urgent jobs no node has room for it.
    NoRoom {
        /// The node that lacks least.
        node: NodeId,
        /// What it lacks.
        lacks: Lacks,
    },
    /// Wherever it has room, it would be with others that it must not be with.
    Crowded {
        /// What forbids that, each of them somewhere.
        rules: Vec<Rule>,
    },
    /// Wherever it ran, it or a more urgent job would be late.
    Late {
        /// By how much at best, in milliseconds.
        late_ms: u64,
    },
    /// This job, which it must be with or which is of its gang, was left out.
    With(TaskId),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNode {
                removed_by,
                nearest,
                nearest_fails,
            } => write!(
                f,
                "no node may take it: {}; node {nearest} comes nearest, failing on {}",
                Counts(removed_by),
                List(nearest_fails)
            ),
            Self::NoCommonNode { jobs, shared } => write!(
                f,
                "no node has room for all of {}, which must be together; {shared} may take each \
                 of them alone",
                Tasks(jobs)
            ),
            Self::NoRoom { node, lacks } => write!(
                f,
                "no node has room beside the more urgent: node {node} comes nearest and lacks \
                 {lacks}"
            ),
            Self::Crowded { rules } => write!(
                f,
                "where there is room, there are others that it must not be with{}",
                Rules(": ", rules)
            ),
            Self::Late { late_ms } => {
                write!(
                    f,
                    "behind the more urgent it would be {late_ms} ms late at best"
                )
            }
            Self::With(job) => write!(f, "it goes with job {job}, which was left out"),
        }
    }
}

/// A placement of those jobs that fit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartialPlan {
    /// Where they run; `None` if none fits.
    pub plan: Option<Plan>,
    /// The others in the order given, each with the reason.
    pub left_out: Vec<(TaskId, Reason)>,
}

impl Instance {
    /// Places all jobs if they fit, like [`Instance::place`], and otherwise leaves some out: those
    /// that no node may take, then of those that do not fit together the less urgent, by priority,
    /// then by tier, then in the order given. A gang is left out whole, and so are jobs that must
    /// be together.
    ///
    /// The urgent are let in one after another, each if there is room; if there is none, those that
    /// are in make way, one where jobs run at once, or are all placed anew, within bounds. So what
    /// is left out is not proven to have no place, but whatever fits when nobody is in yet is let
    /// in, unless jobs are too many to try everything.
    ///
    /// # Errors
    ///
    /// [`PlacementError`] if the jobs or nodes make no sense or are too many, see
    /// [`Instance::new`], or the configuration makes none.
    pub fn place_what_fits(
        jobs: &[Job],
        nodes: &[Node],
        sharing: Sharing,
        config: &Nsga2,
        rng: &mut impl Rng,
    ) -> Result<PartialPlan, PlacementError> {
        Self::place_what_fits_while(jobs, nodes, sharing, config, rng, &mut || true)
    }

    /// The same, and asks whether to go on as [`Instance::place_while`] does, and before each job
    /// that is let in. Asking changes nothing in the plan.
    ///
    /// # Errors
    ///
    /// [`PlacementError::Stopped`] if not; the others of [`Instance::place_what_fits`].
    pub fn place_what_fits_while(
        jobs: &[Job],
        nodes: &[Node],
        sharing: Sharing,
        config: &Nsga2,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<PartialPlan, PlacementError> {
        config.validate()?;
        check_jobs(jobs)?;
        check_nodes(nodes)?;
        let mut admission = Admission {
            bundles: bundles(jobs, &Relations::new(jobs)?.together),
            left: vec![None; jobs.len()],
            jobs,
            nodes,
            sharing,
        };
        admission.leave_out_the_impossible()?;
        let Some(instance) = admission.instance()? else {
            return Ok(admission.plan(None));
        };
        match instance.place_while(config, rng, go_on) {
            Ok(plan) => return Ok(admission.plan(Some(plan))),
            Err(
                PlacementError::Impossible { .. }
                | PlacementError::OverCommitted { .. }
                | PlacementError::Crowded { .. }
                | PlacementError::Late { .. },
            ) => {}
            Err(error) => return Err(error),
        }
        let refuge = admission.admit(&instance, go_on)?;
        let Some(instance) = admission.instance()? else {
            return Ok(admission.plan(None));
        };
        let plan = instance.place_from(Some(refuge), config, rng, go_on)?;
        Ok(admission.plan(Some(plan)))
    }
}

/// Jobs that are left out together: of one gang or on one node.
struct Bundles {
    members: Vec<Vec<usize>>,
    /// Where each job is among them.
    of: Vec<usize>,
}

fn bundles(jobs: &[Job], together: &[Vec<usize>]) -> Bundles {
    let mut sets = Sets::new(jobs.len());
    for unit in together {
        for &job in unit {
            sets.join(unit[0], job);
        }
    }
    let mut gangs = std::collections::BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        if let Some(gang) = &job.gang {
            sets.join(*gangs.entry(gang).or_insert(index), index);
        }
    }
    let (members, of) = sets.groups();
    Bundles { members, of }
}

struct Admission<'a> {
    jobs: &'a [Job],
    nodes: &'a [Node],
    sharing: Sharing,
    bundles: Bundles,
    /// Why each job is left out, if it is.
    left: Vec<Option<Reason>>,
}

impl Admission<'_> {
    fn plan(self, plan: Option<Plan>) -> PartialPlan {
        let left = self.jobs.iter().zip(self.left);
        PartialPlan {
            plan,
            left_out: left
                .filter_map(|(job, reason)| Some((job.id, reason?)))
                .collect(),
        }
    }

    /// Leaves out a job and with it its bundle.
    fn leave_out(&mut self, job: usize, reason: Reason) {
        for &other in &self.bundles.members[self.bundles.of[job]] {
            self.left[other].get_or_insert(Reason::With(self.jobs[job].id));
        }
        self.left[job] = Some(reason);
    }

    /// Jobs still to be placed, which name no others.
    fn kept(&self) -> Vec<usize> {
        (0..self.jobs.len())
            .filter(|&job| self.left[job].is_none())
            .collect()
    }

    /// The instance of some jobs, which no longer speak of others.
    fn instance_of(&self, chosen: &[usize]) -> Result<Instance, PlacementError> {
        let ids: std::collections::BTreeSet<TaskId> =
            chosen.iter().map(|&job| self.jobs[job].id).collect();
        let jobs = chosen.iter().map(|&job| {
            let mut job = self.jobs[job].clone();
            job.affinity.retain(|other| ids.contains(other));
            job.anti_affinity.retain(|other| ids.contains(other));
            job
        });
        Instance::new(jobs.collect(), self.nodes.to_vec(), self.sharing)
    }

    fn instance(&self) -> Result<Option<Instance>, PlacementError> {
        let kept = self.kept();
        if kept.is_empty() {
            return Ok(None);
        }
        self.instance_of(&kept).map(Some)
    }

    /// Leaves out what has no node, alone or with those it must be with.
    fn leave_out_the_impossible(&mut self) -> Result<(), PlacementError> {
        for job in 0..self.jobs.len() {
            if let Err(PlacementError::Infeasible {
                removed_by,
                nearest,
                nearest_fails,
                ..
            }) = eligible(&self.jobs[job], self.nodes)
            {
                self.leave_out(
                    job,
                    Reason::NoNode {
                        removed_by,
                        nearest,
                        nearest_fails,
                    },
                );
            }
        }
        for unit in Relations::new(self.jobs)?.together {
            if unit.len() < 2 || self.left[unit[0]].is_some() {
                continue;
            }
            match self.instance_of(&unit) {
                Ok(_) => {}
                Err(PlacementError::NoCommonNode { jobs, shared }) => {
                    for job in unit {
                        let jobs = jobs.clone();
                        self.leave_out(job, Reason::NoCommonNode { jobs, shared });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets jobs in, the urgent first, and leaves out those that find no place. Returns the choices
    /// of the copies of those that are in.
    fn admit(
        &mut self,
        instance: &Instance,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<u32>, PlacementError> {
        let kept = self.kept();
        let mut copies_of: Vec<Vec<usize>> = vec![Vec::new(); self.bundles.members.len()];
        for copy in 0..instance.copies.len() {
            let job = kept[instance.jobs_of(copy)[0]];
            copies_of[self.bundles.of[job]].push(copy);
        }
        let mut order: Vec<usize> = (0..copies_of.len())
            .filter(|&bundle| !copies_of[bundle].is_empty())
            .collect();
        order.sort_by_key(|&bundle| {
            let members = self.bundles.members[bundle].iter();
            members
                .map(|&job| (self.jobs[job].priority, self.jobs[job].tier, job))
                .min()
        });
        let mut guests = Guests::new(instance);
        for bundle in order {
            if !go_on() {
                return Err(PlacementError::Stopped);
            }
            let failed = copies_of[bundle].iter().find_map(|&copy| {
                let reason = match self.sharing {
                    Sharing::Concurrent => guests.let_in(copy),
                    Sharing::Queued => guests.let_queue(copy),
                };
                Some((copy, reason.err()?))
            });
            if let Some((copy, reason)) = failed {
                guests.undo();
                if !guests.rearrange(&copies_of[bundle], go_on)? {
                    guests.undo();
                    self.leave_out(kept[instance.jobs_of(copy)[0]], reason);
                }
            }
            guests.moves.clear();
        }
        Ok(guests.chosen.into_iter().flatten().collect())
    }
}

/// Copies that are in.
struct Guests<'a> {
    instance: &'a Instance,
    room: Room<'a>,
    chosen: Vec<Option<u32>>,
    /// Copies on each node.
    on: Vec<Vec<usize>>,
    /// Where each copy was before each change since the last bundle.
    moves: Vec<(usize, Option<u32>)>,
    /// How many more guests may be asked to make way.
    asks: u64,
    /// How many more pairs may be looked at to place all anew.
    looks: u64,
    needs: Vec<[u64; RESOURCES]>,
    /// The places of each copy's jobs in the order in which queues serve them.
    turns: Vec<Vec<usize>>,
    /// Whose turn it is on each node, one after another, ascending.
    served: Vec<Vec<usize>>,
    /// The queue of each node behind them.
    queues: Vec<Queue>,
}

impl<'a> Guests<'a> {
    fn new(instance: &'a Instance) -> Self {
        let nodes = instance.nodes.len();
        let mut turns = vec![Vec::new(); instance.copies.len()];
        for (turn, &(_, copy)) in instance.order.iter().enumerate() {
            turns[copy].push(turn);
        }
        Self {
            room: Room::new(instance),
            chosen: vec![None; instance.copies.len()],
            on: vec![Vec::new(); nodes],
            moves: Vec::new(),
            asks: ASKS_MAX,
            looks: LOOKS_MAX,
            needs: instance
                .jobs
                .iter()
                .map(|job| NEEDS.map(|of| of(job)))
                .collect(),
            turns,
            served: vec![Vec::new(); nodes],
            queues: vec![Queue::default(); nodes],
            instance,
        }
    }

    /// Puts a copy that runs at once with others where it fits tightest, or where one other can make
    /// way.
    fn let_in(&mut self, copy: usize) -> Result<(), Reason> {
        if let Some(choice) = self.room.tightest(copy) {
            self.set(copy, Some(choice));
            return Ok(());
        }
        for choice in self.instance.choices(copy) {
            let node = self.instance.node(copy, choice);
            for at in 0..self.on[node].len() {
                let Some(left) = self.asks.checked_sub(1) else {
                    return Err(self.no_room(copy));
                };
                self.asks = left;
                if self.make_way(self.on[node][at], copy, choice) {
                    return Ok(());
                }
            }
        }
        Err(self.no_room(copy))
    }

    /// Moves `guest` elsewhere if `copy` then fits with its choice, and puts that there.
    fn make_way(&mut self, guest: usize, copy: usize, choice: u32) -> bool {
        let Some(from) = self.chosen[guest] else {
            return false;
        };
        self.room.take(guest, from);
        let mut onward = None;
        if self.room.fits(copy, choice) {
            self.room.put(copy, choice);
            onward = self.room.tightest(guest);
            self.room.take(copy, choice);
            self.asks = self
                .asks
                .saturating_sub(self.instance.pairs(guest).len() as u64);
        }
        self.room.put(guest, from);
        if onward.is_some() {
            self.set(guest, onward);
            self.set(copy, Some(choice));
        }
        onward.is_some()
    }

    /// Places those that are in anew, with some more. Says whether that came off; what it moved is
    /// to be undone if not.
    fn rearrange(
        &mut self,
        more: &[usize],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool, PlacementError> {
        // Nothing but limits tells one placement of jobs that queue from another here.
        let binds = match self.instance.sharing {
            Sharing::Concurrent => self.room.holds(more),
            Sharing::Queued => !self.instance.limits.is_empty(),
        };
        if !binds {
            return Ok(false);
        }
        let inside: Vec<usize> = (0..self.chosen.len())
            .filter(|&copy| self.chosen[copy].is_some())
            .collect();
        let mut looks = if inside.is_empty() {
            LOOKS_MAX
        } else {
            self.looks
        };
        let all: Vec<usize> = inside.iter().chain(more).copied().collect();
        let pairs = all.iter().map(|&copy| self.instance.pairs(copy).len());
        let cost = LOOKS_PER_PAIR * pairs.sum::<usize>() as u64;
        match looks.checked_sub(cost) {
            Some(left) => looks = left,
            None if inside.is_empty() => {}
            None => return Ok(false),
        }
        let settled = self.instance.settled_of(&all, &mut looks, go_on)?;
        if !inside.is_empty() {
            self.looks = looks;
        }
        let Some(choices) = settled else {
            return Ok(false);
        };
        for copy in inside {
            self.set(copy, None);
        }
        for (&copy, choice) in all.iter().zip(choices) {
            self.set(copy, Some(choice));
        }
        Ok(self.instance.sharing == Sharing::Concurrent || self.is_in_time())
    }

    /// Whether of those who queue nobody is late.
    fn is_in_time(&self) -> bool {
        self.served.iter().all(|served| {
            let mut queue = Queue::default();
            served.iter().all(|&turn| {
                let (job, copy) = self.instance.order[turn];
                self.chosen[copy].is_none_or(|choice| {
                    let done_ms = self.push(&mut queue, job, choice);
                    self.instance.late_ms(job, done_ms) <= 0.0
                })
            })
        })
    }

    /// What a copy lacks that found no room.
    fn no_room(&self, copy: usize) -> Reason {
        match self.room.nearest(copy) {
            Some((choice, lacks)) if lacks != [0; RESOURCES] => Reason::NoRoom {
                node: self.instance.nodes[self.instance.node(copy, choice)].id,
                lacks: lacks.into(),
            },
            _ => Reason::Crowded {
                rules: self.room.shut_by(copy),
            },
        }
    }

    /// Lets a copy queue where its jobs are done first and nobody is late.
    fn let_queue(&mut self, copy: usize) -> Result<(), Reason> {
        let mut best: Option<(f64, u32)> = None;
        let mut late_ms_min = f64::INFINITY;
        for choice in self.instance.choices(copy) {
            if !self.room.is_open(copy, choice) {
                continue;
            }
            let (done_ms, late_ms) = self.wait(copy, choice);
            late_ms_min = late_ms_min.min(late_ms);
            if late_ms <= 0.0 && best.is_none_or(|(least, _)| done_ms < least) {
                best = Some((done_ms, choice));
            }
        }
        match best {
            Some((_, choice)) => {
                self.set(copy, Some(choice));
                Ok(())
            }
            None if late_ms_min.is_finite() => Err(Reason::Late {
                late_ms: late_ms_min.ceil() as u64,
            }),
            None => Err(Reason::Crowded {
                rules: self.room.shut_by(copy),
            }),
        }
    }

    /// When the jobs of a copy would be done, added up, and how late the latest on that node.
    fn wait(&self, copy: usize, choice: u32) -> (f64, f64) {
        let node = self.instance.node(copy, choice);
        let turns = &self.turns[copy];
        let behind = self.served[node].last() < turns.first();
        if let (true, [turn]) = (behind, turns.as_slice()) {
            let (job, _) = self.instance.order[*turn];
            let pair = self.instance.pair(job, choice);
            let free = &self.instance.free[node];
            let end_ms = self.queues[node].end_ms(&self.needs[job], pair.held_ms(), free);
            let done_ms = end_ms as f64 + self.instance.nodes[node].latency_ms;
            return (done_ms, self.instance.late_ms(job, done_ms));
        }
        let mut served = self.served[node].clone();
        served.extend(turns);
        served.sort_unstable();
        let mut queue = Queue::default();
        let (mut sum_ms, mut late_ms) = (0.0, 0.0);
        for turn in served {
            let (job, other) = self.instance.order[turn];
            let taken = if other == copy { Some(choice) } else { None };
            let Some(choice) = taken.or(self.chosen[other]) else {
                continue;
            };
            let done_ms = self.push(&mut queue, job, choice);
            late_ms = f64::max(late_ms, self.instance.late_ms(job, done_ms));
            if other == copy {
                sum_ms += done_ms;
            }
        }
        (sum_ms, late_ms)
    }

    /// Lets a job queue. Returns when it is done and its node has been reached.
    fn push(&self, queue: &mut Queue, job: usize, choice: u32) -> f64 {
        let pair = self.instance.pair(job, choice);
        let free = &self.instance.free[pair.node];
        let end_ms = queue.push(self.needs[job], pair.held_ms(), free);
        end_ms as f64 + self.instance.nodes[pair.node].latency_ms
    }

    /// Puts a copy somewhere, or nowhere.
    fn set(&mut self, copy: usize, choice: Option<u32>) {
        let before = std::mem::replace(&mut self.chosen[copy], choice);
        self.moves.push((copy, before));
        if let Some(before) = before {
            let node = self.instance.node(copy, before);
            self.room.take(copy, before);
            self.on[node].retain(|&other| other != copy);
            if self.instance.sharing == Sharing::Queued {
                let turns = &self.turns[copy];
                self.served[node].retain(|turn| !turns.contains(turn));
                self.serve_again(node);
            }
        }
        if let Some(choice) = choice {
            let node = self.instance.node(copy, choice);
            self.room.put(copy, choice);
            self.on[node].push(copy);
            if self.instance.sharing == Sharing::Queued {
                self.serve(node, copy, choice);
            }
        }
    }

    /// Lets the jobs of a copy queue on its node.
    fn serve(&mut self, node: usize, copy: usize, choice: u32) {
        let behind = self.served[node].last() < self.turns[copy].first();
        self.served[node].extend(&self.turns[copy]);
        if !behind {
            self.served[node].sort_unstable();
            self.serve_again(node);
            return;
        }
        let mut queue = std::mem::take(&mut self.queues[node]);
        for &turn in &self.turns[copy] {
            self.push(&mut queue, self.instance.order[turn].0, choice);
        }
        self.queues[node] = queue;
    }

    /// Lets all of a node queue from the start.
    fn serve_again(&mut self, node: usize) {
        let mut queue = Queue::default();
        for &turn in &self.served[node] {
            let (job, copy) = self.instance.order[turn];
            if let Some(choice) = self.chosen[copy] {
                self.push(&mut queue, job, choice);
            }
        }
        self.queues[node] = queue;
    }

    /// Goes back to where the last bundle was done.
    fn undo(&mut self) {
        for (copy, before) in std::mem::take(&mut self.moves).into_iter().rev() {
            self.set(copy, before);
        }
        self.moves.clear();
    }
}

#[cfg(test)]
mod tests {
    use fogcompute_base::{Domain, Priority, Tier};
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::super::instance::Spread;
    use super::super::instance::tests::{job, node};
    use super::*;

    fn place(jobs: &[Job], nodes: &[Node], sharing: Sharing) -> PartialPlan {
        let config = Nsga2 {
            population: 20,
            generations: 10,
            ..Nsga2::default()
        };
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        Instance::place_what_fits(jobs, nodes, sharing, &config, rng).unwrap()
    }

    fn placed(partial: &PartialPlan) -> Vec<TaskId> {
        let plan = partial.plan.as_ref().unwrap();
        plan.chosen()
            .assignment
            .iter()
            .map(|&(job, _)| job)
            .collect()
    }

    #[test]
    fn what_fits_is_placed_whole() {
        for sharing in [Sharing::Concurrent, Sharing::Queued] {
            let partial = place(&[job(1), job(2)], &[node(1)], sharing);
            assert_eq!(partial.left_out, []);
            assert_eq!(placed(&partial), [job(1).id, job(2).id]);
        }
    }

    #[test]
    fn the_least_urgent_has_no_room_and_learns_what_is_lacking() {
        let large = |id, priority| Job {
            cpu_millis: 2_500,
            priority,
            ..job(id)
        };
        let jobs = [
            large(1, Priority::Low),
            large(2, Priority::High),
            large(3, Priority::Normal),
        ];
        let partial = place(&jobs, &[node(1), node(2)], Sharing::Concurrent);
        assert_eq!(placed(&partial), [job(2).id, job(3).id]);
        let [(id, Reason::NoRoom { lacks, .. })] = &partial.left_out[..] else {
            panic!("{:?}", partial.left_out);
        };
        assert_eq!((*id, lacks.cpu_millis), (job(1).id, 1_000));
    }

    #[test]
    fn of_equal_priority_the_higher_tier_is_let_in() {
        let whole = |id| Job {
            cpu_millis: 4_000,
            ..job(id)
        };
        let silver = Job {
            tier: Tier::Silver,
            replicas: Some(1),
            ..whole(2)
        };
        let known = Node {
            availability: Some(0.999),
            error_rate: Some(0.0),
            ..node(1)
        };
        let partial = place(&[whole(1), silver], &[known], Sharing::Concurrent);
        assert_eq!(placed(&partial), [job(2).id]);
    }

    #[test]
    fn gangs_and_those_who_must_be_together_are_left_out_whole() {
        let gang = |id, cpu_millis| Job {
            cpu_millis,
            gang: Some("g".to_owned()),
            ..job(id)
        };
        let friend = Job {
            affinity: vec![job(1).id],
            ..job(4)
        };
        let impossible = gang(2, 9_000);
        let jobs = [gang(1, 100), impossible, job(3), friend];
        for sharing in [Sharing::Concurrent, Sharing::Queued] {
            let partial = place(&jobs, &[node(1)], sharing);
            assert_eq!(placed(&partial), [job(3).id]);
            let with = Reason::With(job(2).id);
            assert_eq!(partial.left_out[0], (job(1).id, with.clone()));
            assert!(matches!(partial.left_out[1].1, Reason::NoNode { .. }));
            assert_eq!(partial.left_out[2], (job(4).id, with));
        }
        // Room for two of three, which helps none of them, but another.
        let jobs = [gang(1, 2_000), gang(2, 2_000), gang(3, 2_000), job(4)];
        let partial = place(&jobs, &[node(1)], Sharing::Concurrent);
        assert_eq!(placed(&partial), [job(4).id]);
        assert_eq!(partial.left_out.len(), 3);
    }

    #[test]
    fn jobs_that_fit_no_node_together_are_left_out() {
        let half = |id, other| Job {
            cpu_millis: 3_000,
            affinity: vec![job(other).id],
            ..job(id)
        };
        let partial = place(&[half(1, 2), half(2, 1)], &[node(1)], Sharing::Concurrent);
        assert_eq!(partial.plan, None);
        let jobs = vec![job(1).id, job(2).id];
        assert_eq!(
            partial.left_out[0].1,
            Reason::NoCommonNode { jobs, shared: 1 }
        );
        let partial = place(&[half(1, 2), half(2, 1)], &[node(1)], Sharing::Queued);
        assert_eq!(partial.left_out, []);
    }

    #[test]
    fn who_would_be_late_or_in_a_crowd_does_not_queue() {
        let whole = |id| Job {
            cpu_millis: 4_000,
            deadline_ms: Some(2_500),
            ..job(id)
        };
        let jobs = [whole(1), whole(2), whole(3)];
        let partial = place(&jobs, &[node(1)], Sharing::Queued);
        assert_eq!(
            partial.left_out,
            [(job(3).id, Reason::Late { late_ms: 510 })]
        );
        let shy = |id| Job {
            spread: Some(Spread {
                group: "shy".to_owned(),
                over: fogcompute_base::Domain::Node,
                most: 1,
            }),
            ..job(id)
        };
        for sharing in [Sharing::Concurrent, Sharing::Queued] {
            let partial = place(&[shy(1), shy(2)], &[node(1)], sharing);
            let rules = shy(1).spread.map(Rule::Spread).into_iter().collect();
            assert_eq!(partial.left_out, [(job(2).id, Reason::Crowded { rules })]);
        }
    }

    #[test]
    fn who_is_served_before_may_not_make_the_higher_tier_late() {
        let hurried = |id, tier| Job {
            cpu_millis: 4_000,
            deadline_ms: Some(1_500),
            tier,
            replicas: Some(1),
            ..job(id)
        };
        let known = Node {
            availability: Some(0.999),
            error_rate: Some(0.0),
            ..node(1)
        };
        let jobs = [hurried(1, Tier::Bronze), hurried(2, Tier::Silver)];
        let partial = place(&jobs, &[known], Sharing::Queued);
        assert_eq!(placed(&partial), [job(2).id]);
        let late = Reason::Late { late_ms: 510 };
        assert_eq!(partial.left_out, [(job(1).id, late)]);
    }

    #[test]
    fn a_gang_that_is_late_gives_back_its_turns() {
        let gang = |id, duration_ms| Job {
            cpu_millis: 4_000,
            duration_ms,
            priority: Priority::High,
            deadline_ms: Some(3_000),
            gang: Some("g".to_owned()),
            ..job(id)
        };
        let alone = Job {
            cpu_millis: 4_000,
            deadline_ms: Some(1_100),
            ..job(3)
        };
        let jobs = [gang(1, 1_500), gang(2, 1_500), alone];
        let partial = place(&jobs, &[node(1)], Sharing::Queued);
        assert_eq!(placed(&partial), [job(3).id]);
        let late = Reason::Late { late_ms: 10 };
        let expected = [(job(1).id, Reason::With(job(2).id)), (job(2).id, late)];
        assert_eq!(partial.left_out, expected);
    }

    #[test]
    fn it_can_be_stopped_whenever_it_asks() {
        let whole = |id| Job {
            cpu_millis: 4_000,
            ..job(id)
        };
        let jobs = [whole(1), whole(2), whole(3)];
        let config = Nsga2 {
            population: 4,
            generations: 2,
            ..Nsga2::default()
        };
        let run = |go_on: &mut dyn FnMut() -> bool| {
            let nodes = [node(1), node(2)];
            let rng = &mut ChaCha8Rng::seed_from_u64(1);
            Instance::place_what_fits_while(&jobs, &nodes, Sharing::Concurrent, &config, rng, go_on)
        };
        let mut asked = 0_u32;
        let partial = run(&mut || {
            asked += 1;
            true
        });
        assert_eq!(partial.unwrap().left_out.len(), 1);
        for last in 0..asked {
            let mut left = last;
            let stopped = run(&mut || {
                let go_on = left > 0;
                left = left.saturating_sub(1);
                go_on
            });
            assert_eq!(stopped, Err(PlacementError::Stopped));
        }
    }

    #[test]
    fn replicas_that_fit_alone_are_not_left_out_for_where_the_first_was_put() {
        let gold = |id, replicas| Job {
            tier: Tier::Gold,
            replicas: Some(replicas),
            cpu_millis: 500,
            ..job(id)
        };
        let place_of = |id, zone: &str, operator: &str| Node {
            cpu_millis_free: 8_000,
            cpu_millis_total: 8_000,
            availability: Some(0.999),
            error_rate: Some(0.001),
            zone: zone.to_owned(),
            operator: operator.to_owned(),
            ..node(id)
        };
        // Only the last two differ in both.
        let nodes = [
            place_of(0, "q", "x"),
            place_of(1, "p", "x"),
            place_of(2, "q", "y"),
        ];
        for sharing in [Sharing::Concurrent, Sharing::Queued] {
            let partial = place(&[gold(1, 2), gold(2, 3)], &nodes, sharing);
            assert_eq!(placed(&partial), [job(1).id, job(1).id]);
            let rules = [Domain::Zone, Domain::Operator].map(Rule::Replicas);
            let crowded = Reason::Crowded {
                rules: rules.to_vec(),
            };
            assert_eq!(partial.left_out, [(job(2).id, crowded)]);
            let alone = Instance::new(vec![gold(2, 3)], nodes.to_vec(), sharing).unwrap();
            let rng = &mut ChaCha8Rng::seed_from_u64(1);
            let error = alone.place(&Nsga2::default(), rng).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "job {} has no placement, whatever becomes of the others: replicas of a job \
                     must be in different zones",
                    job(2).id
                )
            );
        }
    }

    #[test]
    fn those_who_are_in_are_placed_anew_for_another() {
        let of = |id, cpu_millis, priority| Job {
            cpu_millis,
            priority,
            ..job(id)
        };
        // 6 + 4 and 5 + 3 + 2 are the only way; the urgent alone would be packed 6 + 3 and 5 + 4.
        let jobs = [
            of(1, 600, Priority::High),
            of(2, 300, Priority::High),
            of(3, 500, Priority::High),
            of(4, 400, Priority::High),
            of(5, 200, Priority::Low),
            of(6, 900, Priority::Bulk),
        ];
        let room = |id| Node {
            cpu_millis_free: 1_000,
            cpu_millis_total: 1_000,
            ..node(id)
        };
        let partial = place(&jobs, &[room(1), room(2)], Sharing::Concurrent);
        assert_eq!(partial.left_out.len(), 1);
        assert_eq!(partial.left_out[0].0, job(6).id);
    }

    #[test]
    fn another_makes_way_for_one_that_has_no_other_place() {
        let here_only = Job {
            excluded: vec![node(2).id],
            cpu_millis: 4_000,
            ..job(2)
        };
        let first = Job {
            priority: Priority::High,
            ..job(1)
        };
        let jobs = [
            first,
            here_only,
            Job {
                cpu_millis: 9_000,
                ..job(3)
            },
        ];
        let large = Node {
            cpu_millis_free: 6_000,
            cpu_millis_total: 6_000,
            ..node(2)
        };
        let partial = place(&jobs, &[node(1), large], Sharing::Concurrent);
        assert_eq!(placed(&partial), [job(1).id, job(2).id]);
    }
}
