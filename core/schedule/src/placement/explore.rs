//! The search of a batch: placements under many weights, each walked downhill, the best front kept.

use rand_core::Rng;
use thiserror::Error;

use super::archive::Archive;
use super::batch::Batch;
use super::descend::Walker;
use super::feasible::{Outcome, settle};
use crate::random::{below, simplex, unit};

/// Most placements of a front that can be asked for.
pub const FRONT_MAX: usize = 1_000;

/// What the other objectives weigh in a placement that seeks one: enough to settle ties.
const CORNER_REST: f64 = 1e-4;

/// Most rounds in which tolls adapt to the weights of a placement that seeks one objective.
const ROUNDS_CORNER_MAX: u64 = 60;

/// The same for other placements, which start from the tolls of the one before.
const ROUNDS: u32 = 3;

/// The part of the work, one in so many, that goes into the best of each objective.
const POLISH_SHARE: u64 = 5;

/// The part of the work, one in so many, that goes into the tolls of the first placements.
const TOLL_SHARE: u64 = 20;

/// Rounds of a descent in which jobs make way for others. The first gains most by far.
const CHAIN_ROUNDS: u32 = 1;

/// Most tries to better the best of an objective.
const SHAKES_MAX: u32 = 500;

/// Rounds without gain after which a search ends before its work is done.
const STAGNANT_ROUNDS: u32 = 3;

/// How long a search goes on, measured in what it does and not in time: the same everywhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Effort {
    /// Most placements of the front, 1 to [`FRONT_MAX`].
    pub front_max: usize,
    /// About how many times a job and a node that may take it are looked at. The first placements,
    /// one for each objective, are made in any case, if only roughly. A hundred million take a fraction of a second.
    pub work: u64,
}

impl Default for Effort {
    /// A front of 100 placements and work of a fraction of a second.
    fn default() -> Self {
        Self {
            front_max: 100,
            work: 100_000_000,
        }
    }
}

/// Why a search found nothing.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SearchError {
    /// The size of the front makes no sense.
    #[error("a front of {front_max} placements is not one of 1 to {FRONT_MAX}")]
    Front {
        /// What was asked for.
        front_max: usize,
    },
    /// These jobs do not fit together, whatever else is done: there are too many of them, or all ways
    /// to place them were tried.
    #[error("{} jobs cannot be placed together, whatever becomes of the others", jobs.len())]
    Impossible {
        /// Indices of the jobs, ascending. Without any one of them the others were placed, or it
        /// was not found out whether they can be.
        jobs: Vec<usize>,
    },
    /// No placement was found in which all jobs fit, and no proof that there is none.
    #[error("no placement of all jobs was found; job {job} was the last to find no room")]
    NotFound {
        /// Index of the job.
        job: usize,
    },
    /// The host did not want to go on.
    #[error("the search was stopped")]
    Stopped,
}

/// One placement of all jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement<const M: usize> {
    /// Index of the node of each job.
    pub nodes: Vec<u32>,
    /// What it is worth; all are minimised.
    pub objectives: [f64; M],
}

impl<const M: usize, const R: usize> Batch<M, R> {
    /// Finds placements of which none beats another and which together dominate much: at most
    /// `effort.front_max`, the best found of each objective among them.
    ///
    /// Under each of many weight vectors, jobs are placed greedily, the hardest first; then jobs
    /// move, make way for others and change places as long as the weighted sum falls. The best of
    /// each objective is shaken and walked downhill again. The front is then bred on: each of its
    /// placements goes on downhill under weights on the way to those of another. In every placement
    /// returned, everything fits. The same generator gives the same front on every platform.
    ///
    /// # Errors
    ///
    /// [`SearchError`], but never [`SearchError::Stopped`].
    pub fn search(
        &self,
        effort: &Effort,
        rng: &mut impl Rng,
    ) -> Result<Vec<Placement<M>>, SearchError> {
        self.search_while(effort, rng, &mut || true)
    }

    /// The same, and asks before each placement whether to go on. Asking changes nothing.
    ///
    /// # Errors
    ///
    /// [`SearchError`].
    pub fn search_while(
        &self,
        effort: &Effort,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Placement<M>>, SearchError> {
        self.search_from(None, effort, rng, go_on)
    }

    /// The same from a placement, as the pair of each job, in which all fit.
    pub(super) fn search_from(
        &self,
        refuge: Option<Vec<u32>>,
        effort: &Effort,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Placement<M>>, SearchError> {
        if !(1..=FRONT_MAX).contains(&effort.front_max) {
            return Err(SearchError::Front {
                front_max: effort.front_max,
            });
        }
        let mut explorer = Explorer {
            batch: self,
            // What is begun within the work may end well, and what is begun anyway must end.
            walker: Walker::new(self, effort.work.saturating_mul(2)),
            archive: Archive::new(),
            refuge,
        };
        explorer.sow(effort, rng, go_on)?;
        explorer.polish(effort, rng, go_on)?;
        explorer.breed(effort, rng, go_on)?;
        explorer.archive.prune(effort.front_max);
        Ok(explorer.front())
    }
}

/// Weights of a placement that seeks one objective.
fn corner_weights<const M: usize>(objective: usize) -> [f64; M] {
    std::array::from_fn(|other| if other == objective { 1.0 } else { CORNER_REST })
}

struct Explorer<'a, const M: usize, const R: usize> {
    batch: &'a Batch<M, R>,
    walker: Walker<'a, M, R>,
    archive: Archive<M>,
    /// A placement in which everything fits, if one had to be sought.
    refuge: Option<Vec<u32>>,
}

impl<const M: usize, const R: usize> Explorer<'_, M, R> {
    /// Greedy placements, walked downhill: one for each objective, one for all, then by chance.
    fn sow(
        &mut self,
        effort: &Effort,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), SearchError> {
        for index in 0..effort.front_max.max(M + 1) {
            if index > M && self.walker.work >= effort.work {
                break;
            }
            if !go_on() {
                return Err(SearchError::Stopped);
            }
            let weights = match index {
                corner if corner < M => corner_weights(corner),
                middle if middle == M => [1.0 / M as f64; M],
                _ => simplex(rng),
            };
            self.walker.weigh(&weights);
            self.walker.adapt_tolls(if index <= M {
                self.corner_rounds(effort)
            } else {
                ROUNDS
            });
            self.walker.price();
            if !self.walker.build() {
                self.take_refuge(go_on)?;
            }
            self.finish(weights);
        }
        Ok(())
    }

    /// How many rounds tolls adapt for one of the first placements, within their part of the work.
    fn corner_rounds(&self, effort: &Effort) -> u32 {
        let round = self.batch.nodes.len() * (M + 1);
        let rounds = effort.work / TOLL_SHARE / round as u64;
        rounds.clamp(u64::from(ROUNDS), ROUNDS_CORNER_MAX) as u32
    }

    /// Starts from a placement that fits, however bad, and seeks one if there is none.
    fn take_refuge(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<(), SearchError> {
        if let Some(refuge) = &self.refuge {
            self.walker.load(refuge);
            return Ok(());
        }
        match settle(self.batch, go_on) {
            Outcome::Settled(chosen) => {
                self.walker.load(&chosen);
                self.refuge = Some(chosen);
                Ok(())
            }
            Outcome::Impossible(jobs) => Err(SearchError::Impossible { jobs }),
            Outcome::Unknown(job) => Err(SearchError::NotFound { job }),
            Outcome::Stopped => Err(SearchError::Stopped),
        }
    }

    fn finish(&mut self, weights: [f64; M]) {
        self.walker.descend(CHAIN_ROUNDS);
        let objectives = self.batch.objectives(self.walker.chosen());
        let point = self.batch.normalise(&objectives);
        self.archive.add(self.walker.chosen(), point, weights);
    }

    /// Shakes the best of each objective: a few jobs are placed anew, and what becomes of it is
    /// kept if it is no worse.
    fn polish(
        &mut self,
        effort: &Effort,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), SearchError> {
        let jobs = self.batch.jobs() as u64;
        let share = effort.work / POLISH_SHARE / M as u64;
        for corner in 0..M {
            let end = self.walker.work.saturating_add(share);
            let kept = self.archive.kept.iter();
            let best = kept.min_by(|a, b| a.point[corner].total_cmp(&b.point[corner]));
            let Some(mut best) = best.map(|best| best.chosen.clone()) else {
                continue;
            };
            let weights = corner_weights(corner);
            self.walker.weigh(&weights);
            self.walker.adapt_tolls(ROUNDS);
            self.walker.price();
            self.walker.load(&best);
            let mut lowest = self.walker.height();
            for _ in 0..SHAKES_MAX {
                if self.walker.work >= end {
                    break;
                }
                if !go_on() {
                    return Err(SearchError::Stopped);
                }
                let count = 2 + below(rng, 8 + jobs / 25);
                let leave: Vec<u32> = (0..count).map(|_| below(rng, jobs) as u32).collect();
                if self.walker.replace(&leave) {
                    self.walker.descend(CHAIN_ROUNDS);
                    let height = self.walker.height();
                    if height <= lowest {
                        lowest = height;
                        best.copy_from_slice(self.walker.chosen());
                        continue;
                    }
                }
                self.walker.load(&best);
            }
            self.finish(weights);
        }
        Ok(())
    }

    /// Goes on from each placement of the front under other weights, round after round.
    fn breed(
        &mut self,
        effort: &Effort,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), SearchError> {
        let (mut most, mut stagnant) = (0, 0);
        while self.walker.work < effort.work && stagnant < STAGNANT_ROUNDS {
            let dominated = self.archive.prune(effort.front_max);
            stagnant = if dominated > most + most / 2_000 {
                0
            } else {
                stagnant + 1
            };
            most = most.max(dominated);
            let parents = self.archive.kept.clone();
            for parent in &parents {
                if self.walker.work >= effort.work {
                    break;
                }
                if !go_on() {
                    return Err(SearchError::Stopped);
                }
                let other = &parents[below(rng, parents.len() as u64) as usize];
                let step = 0.7 * unit(rng);
                let fresh: [f64; M] = simplex(rng);
                let weights: [f64; M] = std::array::from_fn(|objective| {
                    let mixed = 0.7 * other.weights[objective] + 0.3 * fresh[objective];
                    (1.0 - step) * parent.weights[objective] + step * mixed
                });
                self.walker.weigh(&weights);
                self.walker.price();
                self.walker.load(&parent.chosen);
                self.finish(weights);
            }
        }
        Ok(())
    }

    fn front(self) -> Vec<Placement<M>> {
        let batch = self.batch;
        let mut front: Vec<Placement<M>> = self
            .archive
            .kept
            .into_iter()
            .map(|kept| Placement {
                objectives: batch.objectives(&kept.chosen),
                nodes: kept
                    .chosen
                    .iter()
                    .map(|&pair| batch.nodes[pair as usize])
                    .collect(),
            })
            .collect();
        front.sort_by(|a, b| crate::sort::lexicographic(&a.objectives, &b.objectives));
        front
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::super::batch::tests::{demand, supply};
    use super::*;

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(1)
    }

    fn effort(work: u64) -> Effort {
        Effort {
            front_max: 50,
            work,
        }
    }

    #[test]
    fn fronts_of_no_size_are_refused() {
        let batch = Batch::new(vec![supply(1, 1)], [demand(1, 1, &[1.0])]).unwrap();
        for front_max in [0, FRONT_MAX + 1] {
            let effort = Effort { front_max, work: 1 };
            let refused = batch.search(&effort, &mut rng());
            assert_eq!(refused, Err(SearchError::Front { front_max }));
        }
    }

    #[test]
    fn two_jobs_exchange_their_nodes_when_neither_can_move() {
        // Each node has room for one. The harder job, placed first, takes the node on which the
        // other would save more.
        let supplies = vec![supply(3, 3), supply(3, 3)];
        let demands = [demand(3, 3, &[1.0, 2.0]), demand(2, 2, &[1.0, 9.0])];
        let batch = Batch::new(supplies, demands).unwrap();
        let front = batch.search(&effort(1), &mut rng()).unwrap();
        assert!(front.iter().any(|placement| placement.nodes == [1, 0]));
    }

    #[test]
    fn jobs_that_cannot_be_together_are_the_reason_and_no_others() {
        let supplies = vec![supply(4, 4), supply(9, 9)];
        let demands = [
            demand(1, 1, &[1.0, 1.0]),
            demand(3, 1, &[1.0]),
            demand(1, 1, &[1.0, 1.0]),
            demand(2, 1, &[1.0]),
        ];
        let batch = Batch::new(supplies, demands).unwrap();
        let refused = batch.search(&effort(1_000), &mut rng());
        assert_eq!(refused, Err(SearchError::Impossible { jobs: vec![1, 3] }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// Small batches are enumerated: whether there is a placement, and the least of each
        /// objective.
        #[test]
        fn small_batches_are_placed_as_well_as_can_be(
            rooms in proptest::collection::vec((1_u64..8, 1_u64..8), 3),
            jobs in proptest::collection::vec(
                (0_u64..4, 0_u64..4, proptest::array::uniform3(0_u8..20)), 1..6),
        ) {
            let supplies = rooms.iter().map(|&(cpu, memory)| supply(cpu, memory)).collect();
            let demands = jobs.iter().map(|(cpu, memory, costs)| {
                demand(*cpu, *memory, &costs.map(f64::from))
            });
            let Ok(batch) = Batch::new(supplies, demands) else {
                return Ok(());
            };
            let fits = |nodes: &[usize]| (0..rooms.len()).all(|node| {
                let on = || nodes.iter().zip(&jobs).filter(|&(&at, _)| at == node);
                on().map(|(_, job)| job.0).sum::<u64>() <= rooms[node].0
                    && on().map(|(_, job)| job.1).sum::<u64>() <= rooms[node].1
            });
            let all = (0..3_usize.pow(jobs.len() as u32)).map(|code| -> Vec<usize> {
                (0..jobs.len()).map(|job| code / 3_usize.pow(job as u32) % 3).collect()
            });
            let cost = |nodes: &[usize]| -> f64 {
                nodes.iter().zip(&jobs).map(|(&node, job)| f64::from(job.2[node])).sum()
            };
            let least = all.filter(|nodes| fits(nodes)).map(|nodes| cost(&nodes)).reduce(f64::min);
            match (batch.search(&effort(200_000), &mut rng()), least) {
                (Ok(front), Some(least)) => {
                    let mut best = f64::INFINITY;
                    for placement in &front {
                        let nodes: Vec<usize> =
                            placement.nodes.iter().map(|&node| node as usize).collect();
                        prop_assert!(fits(&nodes));
                        prop_assert!((placement.objectives[0] - cost(&nodes)).abs() < 1e-9);
                        best = best.min(placement.objectives[0]);
                    }
                    prop_assert!(best <= least + 1e-9, "{best} is not {least}");
                }
                (Err(SearchError::Impossible { .. }), None) => {}
                (found, least) => prop_assert!(false, "{found:?} where {least:?} is best"),
            }
        }
    }
}
