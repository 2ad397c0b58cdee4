//! Optimisation and placement from one seed.

use std::convert::Infallible;
use std::ops::ControlFlow;

use fogcompute_schedule::evolution::{
    BatchProblem, Bounded, Ended, Evolution, EvolutionError, Front, Nsga2, Permutation, Rates,
    Saved, Settings, Stream, Variable, Variation,
};
use fogcompute_schedule::strategy::Name as Strategy;
use fogcompute_schedule::{Instance, Job, Node, PartialPlan, Plan, Preference, Sharing};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Error;

/// Why a search failed. `E` is the problem's own error.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum SearchFailure<E> {
    /// The problem's own error, unchanged.
    #[error("the problem failed")]
    Problem(E),
    /// The settings, the genomes or the values do not work.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl<E> From<EvolutionError<E>> for SearchFailure<E> {
    fn from(error: EvolutionError<E>) -> Self {
        match error.into_problem() {
            Ok(error) => Self::Problem(error),
            Err(error) => Self::Failed(Error::Evolution(error)),
        }
    }
}

/// What the genomes of a [`Search`] are.
#[derive(Clone, Debug, PartialEq)]
pub enum Genome {
    /// One gene for each variable.
    Variables(Vec<Variable>),
    /// An order of `length` things, each gene being the index of one.
    Permutation {
        /// How many things there are.
        length: u32,
    },
}

impl Genome {
    fn variation(&self, rates: &Rates) -> Result<AnyVariation, EvolutionError<Infallible>> {
        Ok(match self {
            Self::Variables(variables) => {
                AnyVariation::Bounded(Bounded::new(variables.clone(), rates)?)
            }
            Self::Permutation { length } => {
                rates.validate()?;
                AnyVariation::Permutation(Permutation::new(
                    *length,
                    rates.crossover_probability,
                    // One change in each child on average, as of variables.
                    rates.mutation_probability.unwrap_or(1.0),
                )?)
            }
        })
    }
}

/// How a [`Search`] goes: which algorithm, for how long, and how children come from parents.
///
/// The algorithm is the `selection` of the settings: NSGA-II, NSGA-III or by hypervolume. For a
/// permutation the `mutation_probability` is that of a child and not of a gene, and the
/// distribution indices mean nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchConfig {
    /// How long and how the population evolves.
    pub settings: Settings,
    /// How often and how far operators change genes.
    pub rates: Rates,
}

/// The operators of either kind of genome.
#[derive(Clone, Debug)]
enum AnyVariation {
    Bounded(Bounded),
    Permutation(Permutation),
}

impl Variation for AnyVariation {
    fn gene_count(&self) -> usize {
        match self {
            Self::Bounded(variation) => variation.gene_count(),
            Self::Permutation(variation) => variation.gene_count(),
        }
    }

    fn draw(&mut self, genes: &mut [f64], rng: &mut Stream) {
        match self {
            Self::Bounded(variation) => variation.draw(genes, rng),
            Self::Permutation(variation) => variation.draw(genes, rng),
        }
    }

    fn vary(&mut self, a: &mut [f64], b: &mut [f64], rng: &mut Stream) {
        match self {
            Self::Bounded(variation) => variation.vary(a, b, rng),
            Self::Permutation(variation) => variation.vary(a, b, rng),
        }
    }

    fn find_invalid(&mut self, genes: &[f64]) -> Option<usize> {
        match self {
            Self::Bounded(variation) => variation.find_invalid(genes),
            Self::Permutation(variation) => variation.find_invalid(genes),
        }
    }

    fn mend(&mut self, genes: &mut [f64]) {
        match self {
            Self::Bounded(variation) => variation.mend(genes),
            Self::Permutation(variation) => variation.mend(genes),
        }
    }
}

/// What [`Search::save`] writes. A later form gets another name.
#[derive(Deserialize, Serialize)]
enum State {
    #[serde(rename = "search_1")]
    First(Saved),
}

/// A population that evolves, generation by generation: [`minimize`] for those who want to look at
/// each generation, end early, or go on later. One seed gives one search, on every platform.
///
/// ```
/// use std::convert::Infallible;
///
/// use fogcompute::{BatchProblem, Genome, Search, SearchConfig};
///
/// /// The length of a round trip through places on a line.
/// struct Trip([f64; 6]);
///
/// impl BatchProblem for Trip {
///     type Error = Infallible;
///     fn objective_count(&self) -> usize { 1 }
///     fn evaluate(
///         &mut self, genes: &[f64], objectives: &mut [f64], violations: &mut [f64],
///     ) -> Result<(), Infallible> {
///         for (order, length) in genes.chunks(6).zip(objectives) {
///             let place = |at: usize| self.0[order[at % 6] as usize];
///             *length = (0..6).map(|at| (place(at) - place(at + 1)).abs()).sum();
///         }
///         violations.fill(0.0);
///         Ok(())
///     }
/// }
///
/// let mut trip = Trip([3.0, 0.0, 8.0, 1.0, 5.0, 2.0]);
/// let genome = Genome::Permutation { length: 6 };
/// let config = SearchConfig::default();
/// let mut search = Search::start(&mut trip, &genome, &config, &[], 1)?;
/// let mut saved = Vec::new();
/// while search.ended().is_none() && search.generation() < 30 {
///     search.step(&mut trip)?;
///     saved = search.save();
/// }
/// assert_eq!(search.front().individuals[0].objectives, [16.0]);
/// let resumed = Search::resume(&trip, &genome, &config, &saved)?;
/// assert_eq!(resumed.front(), search.front());
/// # Ok::<(), fogcompute::SearchFailure<Infallible>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Search {
    evolution: Evolution<AnyVariation>,
}

impl Search {
    /// Makes and evaluates the first population: `initial`, filled up at random.
    ///
    /// # Errors
    /// [`SearchFailure`].
    pub fn start<P: BatchProblem>(
        problem: &mut P,
        genome: &Genome,
        config: &SearchConfig,
        initial: &[Vec<f64>],
        seed: u64,
    ) -> Result<Self, SearchFailure<P::Error>> {
        let variation = genome.variation(&config.rates).map_err(Error::Evolution)?;
        let seed = ChaCha20Rng::seed_from_u64(seed).next_u64();
        let settings = config.settings.clone();
        let evolution = Evolution::start(settings, variation, problem, initial, seed)?;
        Ok(Self { evolution })
    }

    /// Goes on with a search of which [`save`](Self::save) gave `state`, as if nothing had happened.
    /// The problem, the genome and the configuration must be the same; only for how long the search
    /// goes may differ.
    ///
    /// # Errors
    /// [`SearchFailure::Failed`] if the state is damaged or belongs to another search.
    pub fn resume<P: BatchProblem>(
        problem: &P,
        genome: &Genome,
        config: &SearchConfig,
        state: &[u8],
    ) -> Result<Self, SearchFailure<P::Error>> {
        let State::First(saved) = serde_json::from_slice(state).map_err(Error::SearchState)?;
        let variation = genome.variation(&config.rates).map_err(Error::Evolution)?;
        let evolution = Evolution::resume(config.settings.clone(), variation, problem, saved)?;
        Ok(Self { evolution })
    }

    /// Makes one generation, even beyond what the settings allow. When it fails, the population is
    /// the one before.
    ///
    /// # Errors
    /// [`SearchFailure`].
    pub fn step<P: BatchProblem>(
        &mut self,
        problem: &mut P,
    ) -> Result<(), SearchFailure<P::Error>> {
        Ok(self.evolution.step(problem)?)
    }

    /// Makes generations until the settings or `observe` end the search. `observe` sees the
    /// population as it is now and after each generation; what it fails with comes back unchanged.
    ///
    /// # Errors
    /// [`SearchFailure`].
    pub fn run<P: BatchProblem>(
        &mut self,
        problem: &mut P,
        mut observe: impl FnMut(&Self) -> Result<ControlFlow<()>, P::Error>,
    ) -> Result<Ended, SearchFailure<P::Error>> {
        loop {
            if observe(self).map_err(SearchFailure::Problem)?.is_break() {
                return Ok(Ended::Caller);
            }
            if let Some(ended) = self.ended() {
                return Ok(ended);
            }
            self.step(problem)?;
        }
    }

    /// Whether the settings end the search here, and which.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.evolution.ended()
    }

    /// Generations made, the first population not counted.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.evolution.generation()
    }

    /// Evaluations made.
    #[must_use]
    pub fn evaluations(&self) -> u64 {
        self.evolution.evaluations()
    }

    /// The genomes of the population, row by row.
    #[must_use]
    pub fn genes(&self) -> &[f64] {
        self.evolution.genes()
    }

    /// The objectives of the population, row by row.
    #[must_use]
    pub fn objectives(&self) -> &[f64] {
        self.evolution.objectives()
    }

    /// By how much each of the population violates constraints.
    #[must_use]
    pub fn violations(&self) -> &[f64] {
        self.evolution.violations()
    }

    /// The solutions of the population that no other dominates.
    #[must_use]
    pub fn front(&self) -> Front {
        self.evolution.front()
    }

    /// The search as bytes, for [`resume`](Self::resume). They hold nothing of the problem.
    ///
    /// # Panics
    /// Never: what is written has no keys that JSON cannot have.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        serde_json::to_vec(&State::First(self.evolution.save()))
            .expect("numbers are written as their bits, and keys are names of fields")
    }
}

/// Minimises the objectives of a problem. One seed gives one front, on every platform.
///
/// `initial` holds genomes to start from; the rest of the first population is random. A [`Problem`]
/// is evaluated by [`OneByOne`](crate::OneByOne). [`Search`] is the same step by step.
///
/// ```
/// use std::convert::Infallible;
///
/// use fogcompute::{Genome, OneByOne, Problem, SearchConfig, Variable, minimize};
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
/// let genome = Genome::Variables(problem.0.to_vec());
/// let mut config = SearchConfig::default();
/// (config.settings.population, config.settings.generations) = (40, 80);
/// let front = minimize(&mut OneByOne::new(&mut problem), &genome, &config, &[], 1)?;
/// assert!(front.individuals.iter().all(|point| point.genes[0] > -0.1 && point.genes[0] < 2.1));
/// # Ok::<(), fogcompute::SearchFailure<Infallible>>(())
/// ```
///
/// [`Problem`]: crate::Problem
///
/// # Errors
/// [`SearchFailure`].
pub fn minimize<P: BatchProblem>(
    problem: &mut P,
    genome: &Genome,
    config: &SearchConfig,
    initial: &[Vec<f64>],
    seed: u64,
) -> Result<Front, SearchFailure<P::Error>> {
    let mut search = Search::start(problem, genome, config, initial, seed)?;
    search.run(problem, |_| Ok(ControlFlow::Continue(())))?;
    Ok(search.front())
}

/// How jobs are placed, and which of the placements found is chosen.
///
/// ```
/// use fogcompute::schedule::{Job, Node};
/// use fogcompute::{NodeId, Placing, Sharing, Strategy, TaskId, Tier};
///
/// let home = Node::new(NodeId::from_bytes([1; 32]), 4_000, 1 << 30);
/// let job = |id, tier| Job { tier, ..Job::new(TaskId::from_bytes([id; 16]), 1_000, 1 << 20, 500) };
/// let placing = Placing::new(Sharing::Queued);
/// let partial = placing.place_what_fits(&[job(1, Tier::Bronze), job(2, Tier::Gold)], &[home])?;
/// assert_eq!(partial.plan.map(|plan| plan.chosen().assignment.len()), Some(1));
/// let (left, why) = &partial.left_out[0];
/// assert_eq!(*left, TaskId::from_bytes([2; 16]));
/// assert!(why.to_string().contains("the tier's availability"));
/// # Ok::<(), fogcompute::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placing {
    /// How jobs share a node.
    pub sharing: Sharing,
    /// How placements are found.
    pub strategy: Strategy,
    /// How much [`Strategy::NsgaIi`] searches; the others read nothing of it.
    pub search: Nsga2,
    /// Which of the placements found is chosen.
    pub preference: Preference,
    /// One seed gives one plan.
    pub seed: u64,
}

impl Placing {
    /// The usual search, the knee and seed 0.
    #[must_use]
    pub fn new(sharing: Sharing) -> Self {
        Self {
            sharing,
            strategy: Strategy::NsgaIi,
            search: Nsga2::default(),
            preference: Preference::default(),
            seed: 0,
        }
    }

    fn rng(&self) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(self.seed)
    }

    /// Places all jobs and chooses one placement.
    ///
    /// # Errors
    /// [`Error::Placement`], [`Error::Preference`].
    pub fn place(&self, jobs: Vec<Job>, nodes: Vec<Node>) -> Result<Plan, Error> {
        self.place_while(jobs, nodes, &mut || true)
    }

    /// The same, and asks between generations whether to go on: for hosts where somebody may lose
    /// patience. The strategies that search nothing do not ask.
    ///
    /// # Errors
    /// [`Error::Placement`], with [`PlacementError::Stopped`](fogcompute_schedule::PlacementError)
    /// and the code [`Cancelled`](crate::ErrorCode::Cancelled) if not to; [`Error::Preference`].
    pub fn place_while(
        &self,
        jobs: Vec<Job>,
        nodes: Vec<Node>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Plan, Error> {
        self.preference.validate()?;
        let instance = Instance::new(jobs, nodes, self.sharing)?;
        let plan = match self.strategy {
            Strategy::NsgaIi => instance.place_while(&self.search, &mut self.rng(), go_on)?,
            rule => rule.strategy().place(&instance, &mut self.rng())?,
        };
        Ok(plan.prefer(self.preference)?)
    }

    /// Places the jobs that fit and says why the others are left out, the less urgent first, as
    /// [`Instance::place_what_fits`] does.
    ///
    /// # Errors
    /// [`Error::Placement`], but not if jobs have no placement; [`Error::Preference`];
    /// [`Error::AllOrNone`] with another strategy than [`Strategy::NsgaIi`].
    pub fn place_what_fits(&self, jobs: &[Job], nodes: &[Node]) -> Result<PartialPlan, Error> {
        self.place_what_fits_while(jobs, nodes, &mut || true)
    }

    /// The same, and asks whether to go on as [`place_while`](Self::place_while) does.
    ///
    /// # Errors
    /// Those of both.
    pub fn place_what_fits_while(
        &self,
        jobs: &[Job],
        nodes: &[Node],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<PartialPlan, Error> {
        self.preference.validate()?;
        if self.strategy != Strategy::NsgaIi {
            return Err(Error::AllOrNone {
                strategy: self.strategy,
            });
        }
        let (search, mut rng) = (&self.search, self.rng());
        let partial =
            Instance::place_what_fits_while(jobs, nodes, self.sharing, search, &mut rng, go_on)?;
        let plan = partial.plan.map(|plan| plan.prefer(self.preference));
        Ok(PartialPlan {
            plan: plan.transpose()?,
            ..partial
        })
    }
}

/// Places jobs on nodes by [`Strategy::NsgaIi`] and chooses one placement. One seed gives one plan.
/// [`Placing`] has other ways.
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

/// The same, and asks whether to go on as [`Placing::place_while`] does.
///
/// # Errors
/// Those of [`Placing::place_while`].
pub fn place_while(
    jobs: Vec<Job>,
    nodes: Vec<Node>,
    sharing: Sharing,
    config: &Nsga2,
    preference: Preference,
    seed: u64,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Plan, Error> {
    let placing = Placing {
        search: *config,
        preference,
        seed,
        ..Placing::new(sharing)
    };
    placing.place_while(jobs, nodes, go_on)
}

#[cfg(test)]
mod tests {
    use fogcompute_schedule::evolution::{Selection, Stagnation, das_dennis};

    use super::*;
    use crate::{ErrorCode, NodeId, TaskId};

    /// The sum and the spread of the genes, which must sum to at least 1.
    struct Sums;

    impl BatchProblem for Sums {
        type Error = &'static str;

        fn objective_count(&self) -> usize {
            2
        }

        fn evaluate(
            &mut self,
            genes: &[f64],
            objectives: &mut [f64],
            violations: &mut [f64],
        ) -> Result<(), &'static str> {
            let rows = genes.chunks_exact(3).zip(objectives.chunks_exact_mut(2));
            for ((genes, objectives), violation) in rows.zip(violations) {
                let sum: f64 = genes.iter().sum();
                objectives[0] = sum;
                objectives[1] = genes.iter().map(|gene| (gene - 1.0) * (gene - 1.0)).sum();
                *violation = (1.0 - sum).max(0.0);
            }
            Ok(())
        }
    }

    fn genome() -> Genome {
        let unit = Variable::Real {
            low: 0.0,
            high: 1.0,
        };
        Genome::Variables(vec![unit; 3])
    }

    fn config(selection: Selection) -> SearchConfig {
        SearchConfig {
            settings: Settings {
                population: 12,
                generations: 10,
                selection,
                ..Settings::default()
            },
            ..SearchConfig::default()
        }
    }

    #[test]
    fn every_algorithm_goes_on_from_a_saved_state_as_if_nothing_had_happened() {
        let directions = Selection::Directions(das_dennis(2, 11).unwrap());
        for selection in [Selection::Crowding, directions, Selection::Hypervolume] {
            let config = config(selection);
            let whole = minimize(&mut Sums, &genome(), &config, &[], 3).unwrap();
            let mut search = Search::start(&mut Sums, &genome(), &config, &[], 3).unwrap();
            let ended = search.run(&mut Sums, |search| {
                Ok(if search.generation() == 4 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            });
            assert_eq!(ended.unwrap(), Ended::Caller);
            let mut search = Search::resume(&Sums, &genome(), &config, &search.save()).unwrap();
            let ended = search.run(&mut Sums, |_| Ok(ControlFlow::Continue(())));
            assert_eq!(ended.unwrap(), Ended::Generations);
            assert_eq!(search.front(), whole);
            assert!(whole.individuals.iter().all(|found| found.violation <= 0.0));
        }
    }

    #[test]
    fn an_observer_sees_each_population_once_and_its_error_comes_back() {
        let config = config(Selection::Crowding);
        let mut search = Search::start(&mut Sums, &genome(), &config, &[], 3).unwrap();
        let mut seen = Vec::new();
        let failure = search.run(&mut Sums, |search| {
            seen.push((search.generation(), search.evaluations()));
            if seen.len() == 3 {
                Err("enough")
            } else {
                Ok(ControlFlow::Continue(()))
            }
        });
        assert!(matches!(failure, Err(SearchFailure::Problem("enough"))));
        assert_eq!(seen, [(0, 12), (1, 24), (2, 36)]);
    }

    #[test]
    fn what_was_saved_of_another_search_is_refused() {
        let config = config(Selection::Crowding);
        let saved = Search::start(&mut Sums, &genome(), &config, &[], 3)
            .unwrap()
            .save();
        let refused =
            |genome: &Genome, state: &[u8]| match Search::resume(&Sums, genome, &config, state)
                .unwrap_err()
            {
                SearchFailure::Failed(error) => assert_eq!(error.code(), ErrorCode::InvalidProblem),
                SearchFailure::Problem(error) => panic!("{error}"),
            };
        refused(&genome(), &saved[..saved.len() / 2]);
        refused(&genome(), b"{\"search_2\":{}}");
        refused(&Genome::Permutation { length: 3 }, &saved);
        refused(&Genome::Permutation { length: 4 }, &saved);
    }

    #[test]
    fn more_genes_than_memory_are_refused_before_they_are_made() {
        // Their place in memory was asked for, which ended the program.
        let genome = Genome::Permutation { length: u32::MAX };
        let failure = minimize(&mut Sums, &genome, &config(Selection::Crowding), &[], 1);
        assert!(matches!(
            failure,
            Err(SearchFailure::Failed(Error::Evolution(
                EvolutionError::TooManyGenes { .. }
            )))
        ));
    }

    #[test]
    fn a_search_that_finds_no_more_ends() {
        let mut config = config(Selection::Crowding);
        config.settings.generations = 10_000;
        config.settings.stagnation = Some(Stagnation {
            generations: 5,
            tolerance: 0.01,
        });
        let mut search = Search::start(&mut Sums, &genome(), &config, &[], 3).unwrap();
        let ended = search.run(&mut Sums, |_| Ok(ControlFlow::Continue(())));
        assert_eq!(ended.unwrap(), Ended::Stagnation);
    }

    fn batch() -> (Vec<Job>, Vec<Node>) {
        let job = |id| Job::new(TaskId::from_bytes([id; 16]), 1_000, 1 << 20, 500);
        let node = |id| Node::new(NodeId::from_bytes([id; 32]), 2_000, 1 << 30);
        ((1..=5).map(job).collect(), vec![node(1), node(2)])
    }

    #[test]
    fn every_strategy_places_a_batch() {
        let (jobs, nodes) = batch();
        for strategy in Strategy::ALL {
            let placing = Placing {
                strategy,
                ..Placing::new(Sharing::Queued)
            };
            let plan = placing.place(jobs.clone(), nodes.clone()).unwrap();
            assert_eq!(plan.chosen().assignment.len(), 5, "{strategy}");
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_by_the_search_alone() {
        let (jobs, nodes) = batch();
        let mut placing = Placing::new(Sharing::Concurrent);
        let error = placing.place(jobs.clone(), nodes.clone()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Infeasible);
        placing.preference = Preference::Lexicographic([1, 0, 2, 3, 4]);
        let partial = placing.place_what_fits(&jobs, &nodes).unwrap();
        assert_eq!(partial.plan.unwrap().chosen().assignment.len(), 4);
        assert_eq!(partial.left_out[0].0, jobs[4].id);
        let error = placing.place_what_fits_while(&jobs, &nodes, &mut || false);
        assert_eq!(error.unwrap_err().code(), ErrorCode::Cancelled);
        placing.strategy = Strategy::BinPack;
        let error = placing.place_what_fits(&jobs, &nodes).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert_eq!(
            error.to_string(),
            "bin_pack places all jobs or none; nsga_ii leaves out what does not fit"
        );
    }
}
