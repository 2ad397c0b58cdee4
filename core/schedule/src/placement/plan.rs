//! The placements that were found, and which is taken.

use std::collections::BTreeSet;
use std::fmt;

use fogcompute_base::{NodeId, TaskId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{OBJECTIVE_COUNT, OBJECTIVE_NAMES};

/// One placement of all jobs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Point {
    /// Where each replica of each job runs, in the order in which jobs were given.
    pub assignment: Vec<(TaskId, NodeId)>,
    /// What it is worth, see [`OBJECTIVE_NAMES`].
    pub objectives: [f64; OBJECTIVE_COUNT],
    /// What it costs, in base units. The objective of this name is only near to it when large.
    pub cost: u128,
    /// What it costs on the market, in base units, likewise exact.
    pub price: u128,
}

/// How one placement is chosen among those that nothing beats.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// The one nearest to the best of every objective, each measured from its best to its worst on
    /// the front.
    #[default]
    Knee,
    /// The one with the least sum of objectives, measured likewise and weighted in the order of
    /// [`OBJECTIVE_NAMES`].
    Weights([f64; OBJECTIVE_COUNT]),
    /// The best by the first objective named, of equals the best by the second, and so on.
    Lexicographic([usize; OBJECTIVE_COUNT]),
}

/// Why a preference makes no sense.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum PreferenceError {
    /// A weight is negative or not finite.
    #[error("weight {objective} is {value:?}, not a finite number from 0")]
    Weight {
        /// Index of the objective.
        objective: usize,
        /// Its weight.
        value: f64,
    },
    /// All weights are zero, so nothing is preferred.
    #[error("all weights are zero")]
    NoWeight,
    /// An order does not name each objective once.
    #[error("the order {order:?} does not name each objective once")]
    Order {
        /// What was given.
        order: [usize; OBJECTIVE_COUNT],
    },
}

impl Preference {
    /// Whether a plan can be asked for this.
    ///
    /// # Errors
    ///
    /// [`PreferenceError`] if a weight is negative or not finite, all weights are zero, or an order
    /// does not name each objective once.
    pub fn validate(&self) -> Result<(), PreferenceError> {
        match self {
            Self::Knee => Ok(()),
            Self::Weights(weights) => check_weights(weights),
            Self::Lexicographic(order) => {
                let mut sorted = *order;
                sorted.sort_unstable();
                if sorted.into_iter().eq(0..OBJECTIVE_COUNT) {
                    Ok(())
                } else {
                    Err(PreferenceError::Order { order: *order })
                }
            }
        }
    }
}

/// Placements that no other beats, and the one chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Never empty.
    front: Vec<Point>,
    /// An index into it.
    chosen: usize,
}

impl Plan {
    /// A plan of the points of `front`, which is not empty, with the knee chosen.
    pub(super) fn new(front: Vec<Point>) -> Self {
        let chosen = nearest_to_ideal(&normalised(&front));
        Self { front, chosen }
    }

    /// All placements found of which none is beaten by another in every objective. Each respects
    /// all constraints. In lexicographic order of objectives; never empty.
    #[must_use]
    pub fn front(&self) -> &[Point] {
        &self.front
    }

    /// The placement chosen.
    #[must_use]
    pub fn chosen(&self) -> &Point {
        &self.front[self.chosen]
    }

    /// Its place in [`front`](Self::front).
    #[must_use]
    pub const fn chosen_index(&self) -> usize {
        self.chosen
    }

    /// The same front with the placement chosen by `preference`. Of equals, the first is taken.
    ///
    /// # Errors
    ///
    /// [`PreferenceError`] if a weight is negative or not finite, all weights are zero, or an order
    /// does not name each objective once.
    pub fn prefer(mut self, preference: Preference) -> Result<Self, PreferenceError> {
        preference.validate()?;
        self.chosen = match preference {
            Preference::Knee => nearest_to_ideal(&normalised(&self.front)),
            Preference::Weights(weights) => {
                // Divided by the largest first: the sum of huge weights stays finite.
                let largest = weights.into_iter().fold(0.0, f64::max);
                least(normalised(&self.front).iter().map(|point| {
                    let weighted = point.iter().zip(&weights);
                    weighted.map(|(x, weight)| x * (weight / largest)).sum()
                }))
            }
            Preference::Lexicographic(order) => {
                let key = |index: usize| order.map(|o| self.front[index].objectives[o]);
                (1..self.front.len()).fold(
                    0,
                    |best, index| {
                        if key(index) < key(best) { index } else { best }
                    },
                )
            }
        };
        Ok(self)
    }

    /// What the chosen placement gives up in each objective against the best found.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let chosen = self.chosen();
        let jobs: BTreeSet<TaskId> = chosen.assignment.iter().map(|&(job, _)| job).collect();
        let nodes: BTreeSet<NodeId> = chosen.assignment.iter().map(|&(_, node)| node).collect();
        Explanation {
            jobs: jobs.len(),
            replicas: chosen.assignment.len(),
            nodes_used: nodes.len(),
            front_size: self.front.len(),
            trade_offs: std::array::from_fn(|objective| {
                let (best, worst) = range(&self.front, objective);
                TradeOff {
                    objective: OBJECTIVE_NAMES[objective],
                    chosen: chosen.objectives[objective],
                    best,
                    worst,
                }
            }),
        }
    }
}

fn check_weights(weights: &[f64; OBJECTIVE_COUNT]) -> Result<(), PreferenceError> {
    for (objective, &value) in weights.iter().enumerate() {
        if !value.is_finite() || value < 0.0 {
            return Err(PreferenceError::Weight { objective, value });
        }
    }
    if weights.iter().all(|&weight| weight <= 0.0) {
        return Err(PreferenceError::NoWeight);
    }
    Ok(())
}

/// The best and the worst value of an objective.
fn range(front: &[Point], objective: usize) -> (f64, f64) {
    front.iter().map(|point| point.objectives[objective]).fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(best, worst), value| (best.min(value), worst.max(value)),
    )
}

/// Each point's objectives from 0 at the best on the front to 1 at the worst.
fn normalised(front: &[Point]) -> Vec<[f64; OBJECTIVE_COUNT]> {
    let ranges: [(f64, f64); OBJECTIVE_COUNT] = std::array::from_fn(|o| range(front, o));
    front
        .iter()
        .map(|point| {
            std::array::from_fn(|objective| {
                let (best, worst) = ranges[objective];
                if worst > best {
                    (point.objectives[objective] - best) / (worst - best)
                } else {
                    0.0
                }
            })
        })
        .collect()
}

fn nearest_to_ideal(points: &[[f64; OBJECTIVE_COUNT]]) -> usize {
    least(points.iter().map(|point| point.iter().map(|x| x * x).sum()))
}

/// Index of the first least value.
fn least(values: impl Iterator<Item = f64>) -> usize {
    values
        .enumerate()
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map_or(0, |(index, _)| index)
}

/// What a chosen placement gives up. Its text is for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Jobs placed.
    pub jobs: usize,
    /// Replicas of them, at least one of each.
    pub replicas: usize,
    /// Nodes that got at least one.
    pub nodes_used: usize,
    /// Placements there were to choose from.
    pub front_size: usize,
    /// One entry for each objective, in the order of [`OBJECTIVE_NAMES`].
    pub trade_offs: [TradeOff; OBJECTIVE_COUNT],
}

/// The chosen placement in one objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TradeOff {
    /// Name of the objective.
    pub objective: &'static str,
    /// Value of the chosen placement.
    pub chosen: f64,
    /// Best value on the front.
    pub best: f64,
    /// Worst value on the front.
    pub worst: f64,
}

impl TradeOff {
    /// How far the chosen value is from the best towards the worst, 0 to 1.
    #[must_use]
    pub fn given_up(&self) -> f64 {
        if self.worst > self.best {
            (self.chosen - self.best) / (self.worst - self.best)
        } else {
            0.0
        }
    }
}

impl fmt::Display for TradeOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, chosen) = (self.objective, self.chosen);
        write!(f, "{name} {chosen:.3}: ")?;
        if self.worst <= self.best {
            f.write_str("the same in all of them")
        } else if self.chosen <= self.best {
            write!(f, "the best, the worst is {:.3}", self.worst)
        } else {
            write!(
                f,
                "{:.0} % of the way from the best, {:.3}, to the worst, {:.3}",
                100.0 * self.given_up(),
                self.best,
                self.worst
            )
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |f: &mut fmt::Formatter<'_>, number: usize, noun: &str| {
            let ending = if number == 1 { "" } else { "s" };
            write!(f, "{number} {noun}{ending}")
        };
        count(f, self.jobs, "job")?;
        if self.replicas > self.jobs {
            f.write_str(" in ")?;
            count(f, self.replicas, "replica")?;
        }
        f.write_str(" on ")?;
        count(f, self.nodes_used, "node")?;
        f.write_str(", chosen from ")?;
        count(f, self.front_size, "placement")?;
        f.write_str(" that no other beats")?;
        for trade_off in &self.trade_offs {
            write!(f, "\n  {trade_off}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let point = |node, [a, b, c, d]: [f64; 4]| Point {
            assignment: vec![
                (TaskId::from_bytes([1; 16]), NodeId::from_bytes([node; 32])),
                (TaskId::from_bytes([2; 16]), NodeId::from_bytes([2; 32])),
            ],
            objectives: [a, b, c, d, 7.0],
            cost: d as u128,
            price: 7,
        };
        Plan::new(vec![
            point(1, [100.0, 0.0, 0.5, 90.0]),
            point(2, [120.0, 0.0, 0.3, 50.0]),
            point(3, [200.0, 0.0, 0.2, 40.0]),
        ])
    }

    #[test]
    fn the_knee_is_nearest_to_the_best_of_everything() {
        assert_eq!(plan().chosen_index(), 1);
        assert_eq!(plan().prefer(Preference::Knee).unwrap(), plan());
        assert_eq!(plan().front().len(), 3);
    }

    #[test]
    fn weights_and_orders_choose_the_corners() {
        let chosen = |preference| plan().prefer(preference).unwrap().chosen_index();
        assert_eq!(chosen(Preference::Weights([1.0, 0.0, 0.0, 0.0, 0.0])), 0);
        assert_eq!(chosen(Preference::Weights([0.0, 0.0, 1.0, 0.0, 0.0])), 2);
        assert_eq!(chosen(Preference::Weights([f64::MAX; 5])), 1);
        assert_eq!(chosen(Preference::Lexicographic([0, 1, 2, 3, 4])), 0);
        assert_eq!(chosen(Preference::Lexicographic([4, 1, 3, 0, 2])), 2);
    }

    #[test]
    fn preferences_that_make_no_sense_are_named() {
        assert_eq!(
            plan().prefer(Preference::Weights([1.0, -1.0, 0.0, 0.0, 0.0])),
            Err(PreferenceError::Weight {
                objective: 1,
                value: -1.0
            })
        );
        assert!(
            plan()
                .prefer(Preference::Weights([f64::NAN, 1.0, 0.0, 0.0, 0.0]))
                .is_err()
        );
        assert_eq!(
            plan().prefer(Preference::Weights([0.0; 5])),
            Err(PreferenceError::NoWeight)
        );
        for order in [[0, 1, 2, 2, 3], [1, 2, 3, 4, 5]] {
            assert_eq!(
                plan().prefer(Preference::Lexicographic(order)),
                Err(PreferenceError::Order { order })
            );
        }
    }

    #[test]
    fn an_explanation_says_what_is_given_up() {
        let text = plan().explain().to_string();
        assert_eq!(
            text,
            "2 jobs on 1 node, chosen from 3 placements that no other beats\n  \
             completion_ms 120.000: 20 % of the way from the best, 100.000, to the worst, 200.000\n  \
             imbalance 0.000: the same in all of them\n  \
             distrust 0.300: 33 % of the way from the best, 0.200, to the worst, 0.500\n  \
             cost 50.000: 20 % of the way from the best, 40.000, to the worst, 90.000\n  \
             price 7.000: the same in all of them"
        );
        let cheapest = plan()
            .prefer(Preference::Lexicographic([3, 0, 1, 2, 4]))
            .unwrap();
        let explanation = cheapest.explain();
        assert_eq!(explanation.nodes_used, 2);
        assert_eq!(
            explanation.trade_offs[3].to_string(),
            "cost 40.000: the best, the worst is 90.000"
        );
        assert!(explanation.trade_offs[3].given_up() <= 0.0);
    }

    #[test]
    fn an_explanation_tells_jobs_from_their_replicas() {
        let mut plan = plan();
        let (job, node) = (TaskId::from_bytes([1; 16]), NodeId::from_bytes([9; 32]));
        plan.front[1].assignment.insert(1, (job, node));
        let text = plan.explain().to_string();
        assert!(text.starts_with("2 jobs in 3 replicas on 2 nodes, chosen"));
    }
}
