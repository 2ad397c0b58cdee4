//! Placement as numbers alone: who may go where, what that adds, and how much fits.

use thiserror::Error;

use super::limits::Slots;
pub use super::limits::{Limit, Membership};
use super::{JOBS_MAX, NODES_MAX};

/// How many resources a node has unless a batch says otherwise: processor in thousandths of a core,
/// memory and disk, the latter two in any unit.
pub const RESOURCES: usize = 3;

/// Index of the resource whose use is to be balanced.
const CPU: usize = 0;

/// Index of the objective that is the imbalance; the others are sums over jobs.
pub const IMBALANCE: usize = 1;

/// The imbalance that counts as much as an average placement does in the other objectives.
pub(super) const IMBALANCE_REFERENCE: f64 = 0.5;

/// Most pairs of a job and a node that may take it, in one batch, each counted once more for each
/// limit that the job is under. Each takes about a hundred bytes.
pub const PAIRS_MAX: usize = 1 << 25;

/// What a node has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Supply<const R: usize = RESOURCES> {
    /// What is free of each resource, processor first.
    pub free: [u64; R],
    /// Processor that is taken already.
    pub cpu_taken: u64,
}

/// A node that may take a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice<const M: usize> {
    /// Index of the node.
    pub node: u32,
    /// What the job adds to each objective there. That of [`IMBALANCE`] is not read.
    pub adds: [f64; M],
}

/// What a job needs and where it may go.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand<const M: usize, const R: usize = RESOURCES> {
    /// What it needs of each resource.
    pub needs: [u64; R],
    /// The nodes that may take it, ascending. Those it does not fit even alone are left out.
    pub choices: Vec<Choice<M>>,
    /// The limits it is under, each once.
    pub limits: Vec<Membership>,
}

/// Why numbers make no batch.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum BatchError {
    /// There are no jobs or no nodes, or too many.
    #[error("{jobs} jobs on {nodes} nodes are not from 1 to {JOBS_MAX} on from 1 to {NODES_MAX}")]
    Size {
        /// Jobs given.
        jobs: usize,
        /// Nodes given.
        nodes: usize,
    },
    /// Too many pairs of a job and a node that may take it.
    #[error("more than {PAIRS_MAX} pairs of a job and a node that may take it")]
    TooManyPairs,
    /// There must be processor at least.
    #[error("there are no resources")]
    Resources,
    /// Two objectives at least are needed: the imbalance has index 1.
    #[error("{objectives} objectives are fewer than two")]
    Objectives {
        /// How many there are.
        objectives: usize,
    },
    /// The choices of a job are not nodes of the batch in ascending order.
    #[error("choice {node} of job {job} is not a node above the one before")]
    Node {
        /// Index of the job.
        job: usize,
        /// What was given.
        node: u32,
    },
    /// A partition does not give each node a domain below the number of nodes.
    #[error("partition {partition} does not give each node a domain")]
    Partition {
        /// Its index.
        partition: usize,
    },
    /// A limit names a partition that there is not.
    #[error("limit {limit} names partition {partition}, which there is not")]
    Limit {
        /// Index of the limit.
        limit: usize,
        /// What it names.
        partition: u32,
    },
    /// A job is under a limit that there is not, under one twice, or counts for more than its cap.
    #[error("job {job} cannot be under limit {limit}")]
    Membership {
        /// Index of the job.
        job: usize,
        /// The limit it names.
        limit: u32,
    },
    /// What a job adds is not finite.
    #[error("job {job} adds {value} on node {node}")]
    Adds {
        /// Index of the job.
        job: usize,
        /// Index of the node.
        node: u32,
        /// What it adds.
        value: f64,
    },
    /// No node may take a job, or it fits none of those that may.
    #[error("no node can take job {job}")]
    NoChoice {
        /// Index of the job.
        job: usize,
    },
    /// What the jobs need together does not fit 64 bits.
    #[error("the jobs together need more than can be counted")]
    DemandOverflow,
    /// What is taken and free of a node's processor does not fit 64 bits together.
    #[error("node {node} has more processor than can be counted")]
    SupplyOverflow {
        /// Index of the node.
        node: usize,
    },
}

/// Jobs and nodes, compiled for searching: only pairs that may be, in flat rows.
#[derive(Clone, Debug)]
pub struct Batch<const M: usize, const R: usize = RESOURCES> {
    pub(super) supplies: Vec<Supply<R>>,
    /// One over the processor of each node, 0 of none.
    pub(super) inverse_cpu: Vec<f64>,
    pub(super) needs: Vec<[u64; R]>,
    /// Where the pairs of each job start, and where those of the last end.
    pub(super) starts: Vec<u32>,
    /// The node of each pair.
    pub(super) nodes: Vec<u32>,
    /// What each pair adds.
    pub(super) adds: Vec<[f64; M]>,
    /// What each pair adds from the least of its job on, in units of [`Self::spans`].
    pub(super) excess: Vec<[f32; M]>,
    /// Sum over jobs of the least each adds.
    pub(super) ideal: [f64; M],
    /// From the ideal to where every job adds its mean.
    pub(super) spans: [f64; M],
    /// The largest [`Self::inverse_cpu`] among the nodes that may take a job.
    pub(super) largest_inverse_cpu: Vec<f64>,
    /// Jobs with few nodes to go to first, and of those alike the ones that need most.
    pub(super) hardest_first: Vec<u32>,
    pub(super) slots: Slots,
}

impl<const M: usize, const R: usize> Batch<M, R> {
    /// Compiles what nodes have and what jobs, which are under no limits, need.
    ///
    /// # Errors
    ///
    /// [`BatchError`], each as its name says.
    pub fn new(
        supplies: Vec<Supply<R>>,
        demands: impl IntoIterator<Item = Demand<M, R>>,
    ) -> Result<Self, BatchError> {
        Self::with_limits(supplies, &[], &[], demands)
    }

    /// Compiles what nodes have, what jobs need and which of them may share what.
    ///
    /// A partition gives each node its domain, a number below the number of nodes.
    ///
    /// # Errors
    ///
    /// [`BatchError`], each as its name says.
    pub fn with_limits(
        supplies: Vec<Supply<R>>,
        partitions: &[Vec<u32>],
        limits: &[Limit],
        demands: impl IntoIterator<Item = Demand<M, R>>,
    ) -> Result<Self, BatchError> {
        if M < 2 {
            return Err(BatchError::Objectives { objectives: M });
        }
        if R == 0 {
            return Err(BatchError::Resources);
        }
        check_limits(supplies.len(), partitions, limits)?;
        let (mut memberships, mut slot_count) = (Vec::new(), 0);
        let (mut needs, mut starts) = (Vec::new(), vec![0]);
        let (mut nodes, mut adds) = (Vec::new(), Vec::new());
        let mut total = [0_u64; R];
        for (job, demand) in demands.into_iter().enumerate() {
            if job == JOBS_MAX {
                return Err(BatchError::Size {
                    jobs: job + 1,
                    nodes: supplies.len(),
                });
            }
            let before = nodes.len();
            let mut next = 0;
            for choice in &demand.choices {
                let supply = supplies.get(choice.node as usize);
                let (Some(supply), true) = (supply, choice.node >= next) else {
                    return Err(BatchError::Node {
                        job,
                        node: choice.node,
                    });
                };
                next = choice.node + 1;
                if !has_room(&supply.free, &demand.needs) {
                    continue;
                }
                let mut added = choice.adds;
                added[IMBALANCE] = 0.0;
                if let Some(&value) = added.iter().find(|value| !value.is_finite()) {
                    return Err(BatchError::Adds {
                        job,
                        node: choice.node,
                        value,
                    });
                }
                nodes.push(choice.node);
                adds.push(added);
            }
            if nodes.len() == before {
                return Err(BatchError::NoChoice { job });
            }
            check_memberships(job, limits, &demand.limits)?;
            slot_count += (nodes.len() - before) * demand.limits.len();
            if nodes.len() + slot_count > PAIRS_MAX {
                return Err(BatchError::TooManyPairs);
            }
            memberships.push(demand.limits);
            for (total, need) in total.iter_mut().zip(demand.needs) {
                *total = total.checked_add(need).ok_or(BatchError::DemandOverflow)?;
            }
            needs.push(demand.needs);
            starts.push(nodes.len() as u32);
        }
        if needs.is_empty() || !(1..=NODES_MAX).contains(&supplies.len()) {
            return Err(BatchError::Size {
                jobs: needs.len(),
                nodes: supplies.len(),
            });
        }
        let mut inverse_cpu = Vec::with_capacity(supplies.len());
        for (node, supply) in supplies.iter().enumerate() {
            let cpu = supply.free[CPU]
                .checked_add(supply.cpu_taken)
                .ok_or(BatchError::SupplyOverflow { node })?;
            inverse_cpu.push(if cpu > 0 { 1.0 / cpu as f64 } else { 0.0 });
        }
        let mut batch = Self {
            supplies,
            inverse_cpu,
            needs,
            starts,
            nodes,
            adds,
            excess: Vec::new(),
            ideal: [0.0; M],
            spans: [0.0; M],
            largest_inverse_cpu: Vec::new(),
            hardest_first: Vec::new(),
            slots: Slots::default(),
        };
        if slot_count > 0 {
            batch.slots = Slots::new(partitions, limits, &memberships, |job| {
                batch.nodes[batch.pairs(job)].to_vec()
            });
        }
        batch.measure();
        batch.order(total);
        Ok(batch)
    }

    /// How many jobs there are.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.needs.len()
    }

    /// Finds the ideal and the mean, and each pair's excess over its job's best.
    fn measure(&mut self) {
        let mut least = Vec::with_capacity(self.jobs());
        let mut mean = [0.0; M];
        for job in 0..self.jobs() {
            let adds = &self.adds[self.pairs(job)];
            let mut best = [f64::INFINITY; M];
            for pair in adds {
                for objective in 0..M {
                    best[objective] = best[objective].min(pair[objective]);
                    mean[objective] += pair[objective] / adds.len() as f64;
                }
            }
            for (ideal, best) in self.ideal.iter_mut().zip(best) {
                *ideal += best;
            }
            least.push(best);
        }
        self.spans = std::array::from_fn(|objective| {
            let span = mean[objective] - self.ideal[objective];
            // What is the same everywhere, up to rounding, is no objective.
            if span > mean[objective].abs() * 1e-12 {
                span
            } else {
                0.0
            }
        });
        self.spans[IMBALANCE] = IMBALANCE_REFERENCE;
        self.excess = (0..self.jobs())
            .flat_map(|job| {
                let (adds, best, spans) = (&self.adds[self.pairs(job)], least[job], self.spans);
                adds.iter().map(move |pair| {
                    std::array::from_fn(|objective| {
                        if spans[objective] > 0.0 {
                            ((pair[objective] - best[objective]) / spans[objective]) as f32
                        } else {
                            0.0
                        }
                    })
                })
            })
            .collect();
    }

    /// Finds the smallest node of each job and the order in which jobs are placed.
    fn order(&mut self, total: [u64; R]) {
        let share = |job: usize| {
            let needs = self.needs[job].iter().zip(total);
            needs
                .map(|(&need, total)| need as f64 / f64::max(total as f64, 1.0))
                .fold(0.0, f64::max)
        };
        let mut order: Vec<u32> = (0..self.jobs() as u32).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            let choices = self.pairs(a).len().cmp(&self.pairs(b).len());
            choices.then(share(b).total_cmp(&share(a)))
        });
        self.hardest_first = order;
        self.largest_inverse_cpu = (0..self.jobs())
            .map(|job| {
                let nodes = self.nodes[self.pairs(job)].iter();
                nodes
                    .map(|&node| self.inverse_cpu[node as usize])
                    .fold(0.0, f64::max)
            })
            .collect();
    }

    /// Indices of the pairs of `job`.
    pub(super) fn pairs(&self, job: usize) -> std::ops::Range<usize> {
        self.starts[job] as usize..self.starts[job + 1] as usize
    }

    /// The slots that `job` takes with one of its pairs, with how much of each.
    pub(super) fn slots_of(&self, job: usize, pair: u32) -> impl Iterator<Item = (usize, u32)> {
        self.slots.of(job, (pair - self.starts[job]) as usize)
    }

    /// Whether `job`, of all limits it is under, finds what it takes with one of its pairs free.
    pub(super) fn is_open(&self, free_slots: &[u32], job: usize, pair: usize) -> bool {
        self.slots
            .open(free_slots, job, pair - self.starts[job] as usize)
    }

    /// Whether limits concern `job`.
    pub(super) fn is_limited(&self, job: usize) -> bool {
        !self.slots.memberships(job).is_empty()
    }

    /// The objectives of the placement that puts each job where its pair says.
    pub(super) fn objectives(&self, chosen: &[u32]) -> [f64; M] {
        let mut objectives = [0.0; M];
        let mut cpu: Vec<u64> = self
            .supplies
            .iter()
            .map(|supply| supply.cpu_taken)
            .collect();
        for (job, &pair) in chosen.iter().enumerate() {
            let pair = pair as usize;
            for (sum, adds) in objectives.iter_mut().zip(self.adds[pair]) {
                *sum += adds;
            }
            // What is free and taken together fits 64 bits, and a placement takes no more.
            let cpu = &mut cpu[self.nodes[pair] as usize];
            *cpu = cpu.saturating_add(self.needs[job][CPU]);
        }
        let uses = || {
            cpu.iter()
                .zip(&self.inverse_cpu)
                .map(|(&cpu, inverse)| cpu as f64 * inverse)
        };
        let count = self.supplies.len() as f64;
        let mean = uses().sum::<f64>() / count;
        let squares: f64 = uses().map(|share| (share - mean) * (share - mean)).sum();
        objectives[IMBALANCE] = (squares / count).sqrt();
        objectives
    }

    /// Objectives measured from the ideal, 0, to an average placement, 1. An objective that is the
    /// same everywhere is 0.
    pub(super) fn normalise(&self, objectives: &[f64; M]) -> [f64; M] {
        std::array::from_fn(|objective| {
            if self.spans[objective] > 0.0 {
                (objectives[objective] - self.ideal[objective]) / self.spans[objective]
            } else {
                0.0
            }
        })
    }
}

fn check_limits(nodes: usize, partitions: &[Vec<u32>], limits: &[Limit]) -> Result<(), BatchError> {
    for (partition, domains) in partitions.iter().enumerate() {
        if domains.len() != nodes || domains.iter().any(|&domain| domain as usize >= nodes) {
            return Err(BatchError::Partition { partition });
        }
    }
    for (limit, named) in limits.iter().enumerate() {
        if named.partition as usize >= partitions.len() {
            return Err(BatchError::Limit {
                limit,
                partition: named.partition,
            });
        }
    }
    Ok(())
}

fn check_memberships(
    job: usize,
    limits: &[Limit],
    memberships: &[Membership],
) -> Result<(), BatchError> {
    let mut named: Vec<u32> = memberships.iter().map(|one| one.limit).collect();
    named.sort_unstable();
    let twice = named.windows(2).find(|pair| pair[0] == pair[1]);
    let wrong = memberships.iter().find(|one| {
        let limit = limits.get(one.limit as usize);
        limit.is_none_or(|limit| one.count > limit.cap)
    });
    match wrong.map(|one| one.limit).or(twice.map(|pair| pair[0])) {
        Some(limit) => Err(BatchError::Membership { job, limit }),
        None => Ok(()),
    }
}

/// Whether `needs` fits into what is `free`.
pub(super) fn has_room<const R: usize>(free: &[u64; R], needs: &[u64; R]) -> bool {
    // Not `all`: comparisons without a branch are faster than fewer with.
    let pairs = needs.iter().zip(free);
    pairs.fold(true, |fits, (need, free)| fits & (need <= free))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn supply(cpu: u64, memory: u64) -> Supply {
        Supply {
            free: [cpu, memory, 0],
            cpu_taken: 0,
        }
    }

    /// A job that adds the given costs on the first nodes, and their squares in a third objective.
    pub(in super::super) fn demand(cpu: u64, memory: u64, costs: &[f64]) -> Demand<3> {
        let choices = (0..).zip(costs).map(|(node, &cost)| Choice {
            node,
            adds: [cost, f64::NAN, cost * cost],
        });
        Demand {
            needs: [cpu, memory, 0],
            choices: choices.collect(),
            limits: vec![],
        }
    }

    #[test]
    fn objectives_are_sums_and_the_deviation_of_use() {
        let supplies = vec![
            Supply {
                free: [3, 9, 0],
                cpu_taken: 1,
            },
            supply(4, 9),
        ];
        let demands = [demand(1, 1, &[1.0, 2.0]), demand(2, 1, &[5.0, 3.0])];
        let batch = Batch::new(supplies, demands).unwrap();
        // Both use 2 of 4.
        let objectives = batch.objectives(&[0, 3]);
        assert!((objectives[0] - 4.0).abs() < 1e-12);
        assert!(objectives[IMBALANCE].abs() < 1e-12);
        assert!((objectives[2] - 10.0).abs() < 1e-12);
        let normalised = batch.normalise(&objectives);
        assert!(normalised[0].abs() < 1e-12);
        // The other two on their dearer nodes are twice as far from the best as the average.
        assert!((batch.normalise(&batch.objectives(&[1, 2]))[0] - 2.0).abs() < 1e-12);
    }

    #[test]
    fn numbers_that_make_no_batch_are_named() {
        let refused = |supplies: &[Supply], demands: Vec<Demand<3>>| {
            Batch::new(supplies.to_vec(), demands).unwrap_err()
        };
        let two = [supply(4, 4), supply(2, 4)];
        let size = |jobs, nodes| BatchError::Size { jobs, nodes };
        assert_eq!(refused(&two, vec![]), size(0, 2));
        assert_eq!(refused(&[], vec![]), size(0, 0));
        assert_eq!(
            refused(
                &two,
                vec![demand(3, 1, &[1.0, 1.0]), demand(5, 1, &[1.0, 1.0])]
            ),
            BatchError::NoChoice { job: 1 }
        );
        assert_eq!(
            refused(&two, vec![demand(1, 1, &[1.0, 1.0, 1.0])]),
            BatchError::Node { job: 0, node: 2 }
        );
        let mut twice = demand(1, 1, &[1.0, 1.0]);
        twice.choices[1].node = 0;
        assert_eq!(
            refused(&two, vec![twice]),
            BatchError::Node { job: 0, node: 0 }
        );
        assert!(matches!(
            refused(&two, vec![demand(1, 1, &[f64::NAN])]),
            BatchError::Adds {
                job: 0,
                node: 0,
                ..
            }
        ));
        let huge = [supply(u64::MAX, 1)];
        let half = demand(u64::MAX / 2 + 1, 0, &[1.0]);
        assert_eq!(
            refused(&huge, vec![half.clone(), half]),
            BatchError::DemandOverflow
        );
        let more = Supply {
            cpu_taken: 1,
            ..huge[0]
        };
        assert_eq!(
            refused(&[more], vec![demand(1, 0, &[1.0])]),
            BatchError::SupplyOverflow { node: 0 }
        );
        let one: Demand<1> = Demand {
            needs: [0; RESOURCES],
            choices: vec![],
            limits: vec![],
        };
        assert_eq!(
            Batch::new(vec![], [one]).unwrap_err(),
            BatchError::Objectives { objectives: 1 }
        );
        let nothing: Demand<3, 0> = Demand {
            needs: [],
            choices: vec![],
            limits: vec![],
        };
        assert_eq!(
            Batch::new(vec![], [nothing]).unwrap_err(),
            BatchError::Resources
        );
    }

    #[test]
    fn limits_that_make_no_sense_are_named() {
        let refused = |partitions: &[Vec<u32>], limits: &[Limit], under: &[(u32, u32)]| {
            let mut demand = demand(1, 1, &[1.0]);
            demand.limits = under
                .iter()
                .map(|&(limit, count)| Membership { limit, count })
                .collect();
            Batch::with_limits(vec![supply(4, 4)], partitions, limits, [demand]).unwrap_err()
        };
        let limit = |partition| Limit { cap: 2, partition };
        let partition = BatchError::Partition { partition: 0 };
        assert_eq!(refused(&[vec![]], &[], &[]), partition);
        assert_eq!(refused(&[vec![1]], &[], &[]), partition);
        assert_eq!(
            refused(&[vec![0]], &[limit(0), limit(1)], &[]),
            BatchError::Limit {
                limit: 1,
                partition: 1
            }
        );
        for (under, limit) in [
            (vec![(1, 1)], 1),
            (vec![(0, 3)], 0),
            (vec![(0, 1), (0, 1)], 0),
        ] {
            assert_eq!(
                refused(
                    &[vec![0]],
                    &[Limit {
                        cap: 2,
                        partition: 0
                    }],
                    &under
                ),
                BatchError::Membership { job: 0, limit }
            );
        }
    }
}
