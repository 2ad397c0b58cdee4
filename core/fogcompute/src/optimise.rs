//! Optimisation and placement from one seed.

use fogcompute_schedule::evolution::{Front, Nsga2, Problem};
use fogcompute_schedule::{Instance, Job, Node, Plan, Preference, Sharing};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use thiserror::Error;

use crate::Error;

/// Why an optimisation ended early.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum Nsga2Failure<E> {
    /// The problem's own error, unchanged.
    #[error("the problem failed")]
    Problem(E),
    /// The parameters, the bounds or the values do not work.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Minimises a problem with NSGA-II. One seed gives one front, on every platform.
///
/// `initial` holds genomes to start from; the rest of the first population is random.
///
/// ```
/// use fogcompute::{Nsga2, Problem, Variable, nsga2};
/// use std::convert::Infallible;
///
/// /// Schaffer's problem: x² against (x - 2)².
/// struct Schaffer([Variable; 1]);
///
/// impl Problem for Schaffer {
///     type Error = Infallible;
///     fn variables(&self) -> &[Variable] { &self.0 }
///     fn objective_count(&self) -> usize { 2 }
///     fn evaluate(&mut self, genes: &[f64], objectives: &mut [f64]) -> Result<f64, Infallible> {
///         objectives[0] = genes[0] * genes[0];
///         objectives[1] = (genes[0] - 2.0) * (genes[0] - 2.0);
///         Ok(0.0)
///     }
/// }
///
/// let mut problem = Schaffer([Variable::Real { low: -1000.0, high: 1000.0 }]);
/// let config = Nsga2 { population: 40, generations: 80, ..Nsga2::default() };
/// let front = nsga2(&mut problem, &config, &[], 1)?;
/// assert!(front.individuals.iter().all(|point| point.genes[0] > -0.1 && point.genes[0] < 2.1));
/// # Ok::<(), fogcompute::Nsga2Failure<Infallible>>(())
/// ```
///
/// # Errors
/// [`Nsga2Failure`].
pub fn nsga2<P: Problem>(
    problem: &mut P,
    config: &Nsga2,
    initial: &[Vec<f64>],
    seed: u64,
) -> Result<Front, Nsga2Failure<P::Error>> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    config
        .run(problem, initial, &mut rng)
        .map_err(|error| match error.into_problem() {
            Ok(error) => Nsga2Failure::Problem(error),
            Err(error) => Nsga2Failure::Failed(Error::Evolution(error)),
        })
}

/// Places jobs on nodes with NSGA-II and chooses one placement. One seed gives one plan.
///
/// # Errors
/// [`Error::Placement`], [`Error::Preference`].
pub fn place(
    jobs: Vec<Job>,
    nodes: Vec<Node>,
    sharing: Sharing,
    config: &Nsga2,
    preference: Preference,
    seed: u64,
) -> Result<Plan, Error> {
    place_while(jobs, nodes, sharing, config, preference, seed, &mut || true)
}

/// The same, and asks between generations whether to go on: for hosts where somebody may lose
/// patience.
///
/// # Errors
/// [`Error::Placement`], with [`PlacementError::Stopped`](fogcompute_schedule::PlacementError) and
/// the code [`Cancelled`](crate::ErrorCode::Cancelled) if not to; [`Error::Preference`].
pub fn place_while(
    jobs: Vec<Job>,
    nodes: Vec<Node>,
    sharing: Sharing,
    config: &Nsga2,
    preference: Preference,
    seed: u64,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Plan, Error> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let plan = Instance::new(jobs, nodes, sharing)?.place_while(config, &mut rng, go_on)?;
    Ok(plan.prefer(preference)?)
}
