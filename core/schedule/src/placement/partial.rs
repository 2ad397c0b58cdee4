//! Placing what fits when not everything does.

use fogcompute_base::{NodeId, TaskId};
use rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::instance::{
    Constraint, Instance, Job, Lacks, Node, PlacementError, Sharing, check_jobs, check_nodes,
    eligible,
};
use super::plan::Plan;
use super::relations::{Relations, Sets};
use super::room::Room;
use super::search::Lines;
use crate::evolution::Nsga2;

/// Why a job was left out.
#[non_exhaustive]
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
    Crowded,
    /// Behind the more urgent jobs it would be late everywhere.
    Late {
        /// By how much at best, in milliseconds.
        late_ms: u64,
    },
    /// This job, which it must be with or which is of its gang, was left out.
    With(TaskId),
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
    /// The urgent are let in one after another, each if there is room, another job making way if
    /// need be. So what is left out is not proven to have no place.
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
        match instance.place(config, rng) {
            Ok(plan) => return Ok(admission.plan(Some(plan))),
            Err(
                PlacementError::Impossible { .. }
                | PlacementError::OverCommitted { .. }
                | PlacementError::Crowded { .. }
                | PlacementError::Late { .. },
            ) => {}
            Err(error) => return Err(error),
        }
        let refuge = match sharing {
            Sharing::Concurrent => admission.admit(&instance),
            Sharing::Queued => admission.admit_to_queues()?,
        };
        let Some(instance) = admission.instance()? else {
            return Ok(admission.plan(None));
        };
        let plan = instance.place_from(Some(refuge), config, rng, &mut || true)?;
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

    /// Lets jobs that run at once in, the urgent first. Returns the choices of the copies of those
    /// that are in.
    fn admit(&mut self, instance: &Instance) -> Vec<u32> {
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
        let mut guests = Guests {
            instance,
            room: Room::new(instance),
            chosen: vec![None; instance.copies.len()],
        };
        for bundle in order {
            let before = guests.chosen.clone();
            let failed = copies_of[bundle].iter().find(|&&copy| !guests.let_in(copy));
            let Some(&copy) = failed else { continue };
            let job = kept[instance.jobs_of(copy)[0]];
            let reason = match guests.room.nearest(copy) {
                Some((choice, lacks)) if lacks != [0; 5] => Reason::NoRoom {
                    node: instance.nodes[instance.node(copy, choice)].id,
                    lacks: lacks.into(),
                },
                _ => Reason::Crowded,
            };
            self.leave_out(job, reason);
            guests.reset(before);
        }
        guests.chosen.into_iter().flatten().collect()
    }

    /// Leaves out, one bundle after another, whose jobs would be late or where they must not be.
    /// Returns the choices of the copies of those that are in.
    fn admit_to_queues(&mut self) -> Result<Vec<u32>, PlacementError> {
        loop {
            let Some(instance) = self.instance()? else {
                return Ok(Vec::new());
            };
            let kept = self.kept();
            match queue_up(&instance) {
                Ok(choices) => return Ok(choices),
                Err((job, reason)) => self.leave_out(kept[job], reason),
            }
        }
    }
}

/// Lets each job queue where it is done first, or names the first that has no place.
fn queue_up(instance: &Instance) -> Result<Vec<u32>, (usize, Reason)> {
    let mut lines = Lines::new(instance);
    let mut chosen: Vec<Option<u32>> = vec![None; instance.copies.len()];
    for &(job, copy) in &instance.order {
        let choice = match chosen[copy] {
            Some(choice) => choice,
            None => {
                let open = instance
                    .choices(copy)
                    .filter(|&choice| lines.room.is_open(copy, choice));
                let first =
                    open.min_by(|&a, &b| lines.done_ms(job, a).total_cmp(&lines.done_ms(job, b)));
                let Some(choice) = first else {
                    return Err((job, Reason::Crowded));
                };
                lines.room.put(copy, choice);
                chosen[copy] = Some(choice);
                choice
            }
        };
        let late_ms = instance.late_ms(job, lines.push(job, choice));
        if late_ms > 0.0 {
            let late_ms = late_ms.ceil() as u64;
            return Err((job, Reason::Late { late_ms }));
        }
    }
    Ok(chosen.into_iter().flatten().collect())
}

/// Copies that are in.
struct Guests<'a> {
    instance: &'a Instance,
    room: Room<'a>,
    chosen: Vec<Option<u32>>,
}

impl Guests<'_> {
    /// Puts a copy where it fits tightest, or where one other can make way. Says whether it could.
    fn let_in(&mut self, copy: usize) -> bool {
        if let Some(choice) = self.room.tightest(copy) {
            self.put(copy, choice);
            return true;
        }
        for choice in self.instance.choices(copy) {
            let node = self.instance.node(copy, choice);
            for other in 0..self.chosen.len() {
                let Some(from) = self.chosen[other] else {
                    continue;
                };
                if self.instance.node(other, from) != node {
                    continue;
                }
                self.room.take(other, from);
                if self.room.fits(copy, choice) {
                    self.room.put(copy, choice);
                    if let Some(onward) = self.room.tightest(other) {
                        self.put(other, onward);
                        self.chosen[copy] = Some(choice);
                        return true;
                    }
                    self.room.take(copy, choice);
                }
                self.room.put(other, from);
            }
        }
        false
    }

    fn put(&mut self, copy: usize, choice: u32) {
        self.room.put(copy, choice);
        self.chosen[copy] = Some(choice);
    }

    /// Goes back to an earlier state.
    fn reset(&mut self, before: Vec<Option<u32>>) {
        for copy in 0..before.len() {
            if let Some(choice) = self.chosen[copy] {
                self.room.take(copy, choice);
            }
        }
        for (copy, choice) in before.iter().enumerate() {
            if let Some(choice) = *choice {
                self.room.put(copy, choice);
            }
        }
        self.chosen = before;
    }
}

#[cfg(test)]
mod tests {
    use fogcompute_base::{Priority, Tier};
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
            assert_eq!(partial.left_out, [(job(2).id, Reason::Crowded)]);
        }
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
