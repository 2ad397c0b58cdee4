//! A search that goes on generation by generation.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::copies::{Copies, Rows, hash_of};
use super::reference::Extremes;
use super::survival::{COPY, Niching, Pool, Rule, Survival, beyond_worst};
use super::{
    ConfigError, EvolutionError, Front, GENES_MAX, Individual, OBJECTIVES_MAX, POPULATION_MAX,
    Problem, Variation,
};
use crate::indicators::{HYPERVOLUME_OBJECTIVES_MAX, hypervolume};
use crate::random::{Stream, shuffle};
use crate::sort::lexicographic;

/// What to optimise, a whole population at a time: genomes in, objectives out, all of them
/// minimised.
///
/// For evaluations that are vectorised, or that go to threads or machines of the caller's own. What
/// comes back must not depend on how they were spread. [`OneByOne`] makes one of a [`Problem`].
pub trait BatchProblem {
    /// What an evaluation may fail with. It stops the run and comes back unchanged.
    type Error;

    /// How many objectives an evaluation fills in. Read once, at the start of a run.
    fn objective_count(&self) -> usize;

    /// Evaluates as many genomes as `violations` has places. `genes` and `objectives` are matrices
    /// with a row for each genome; a violation is by how much constraints are violated in total, 0
    /// when all are met. Every value must be finite, and both hold NaN before: what is forgotten is
    /// an error, not a 0.
    ///
    /// # Errors
    ///
    /// Whatever should stop the run.
    fn evaluate(
        &mut self,
        genes: &[f64],
        objectives: &mut [f64],
        violations: &mut [f64],
    ) -> Result<(), Self::Error>;

    /// Changes the rows of `genes` to meet the constraints better, before they are evaluated, and
    /// returns whether it may have. The way it stands, it leaves them as they are. A row that is no
    /// genome is mended by the variation.
    fn repair(&mut self, genes: &mut [f64]) -> bool {
        let _ = genes;
        false
    }
}

/// A [`Problem`], whose genomes are evaluated one after the other.
#[derive(Debug)]
pub struct OneByOne<'a, P> {
    problem: &'a mut P,
    gene_count: usize,
}

impl<'a, P: Problem> OneByOne<'a, P> {
    /// Evaluates by `problem`.
    pub fn new(problem: &'a mut P) -> Self {
        let gene_count = problem.variables().len();
        Self {
            problem,
            gene_count,
        }
    }
}

impl<P: Problem> BatchProblem for OneByOne<'_, P> {
    type Error = P::Error;

    fn objective_count(&self) -> usize {
        self.problem.objective_count()
    }

    fn evaluate(
        &mut self,
        genes: &[f64],
        objectives: &mut [f64],
        violations: &mut [f64],
    ) -> Result<(), P::Error> {
        let m = objectives.len() / violations.len().max(1);
        let rows = genes.chunks_exact(self.gene_count);
        let targets = objectives.chunks_exact_mut(m).zip(violations);
        for (genes, (objectives, violation)) in rows.zip(targets) {
            *violation = self.problem.evaluate(genes, objectives)?;
            if !violation.is_finite() || objectives.iter().any(|value| !value.is_finite()) {
                // The run ends with this one; what follows need not be evaluated.
                break;
            }
        }
        Ok(())
    }

    fn repair(&mut self, genes: &mut [f64]) -> bool {
        for genes in genes.chunks_exact_mut(self.gene_count) {
            self.problem.repair(genes);
        }
        true
    }
}

/// Who survives of a front that does not fit whole.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Selection {
    /// Those whose neighbours are far: NSGA-II, good for two objectives. Up to three, distances are
    /// measured anew whenever one is left out.
    ///
    /// Source: besides Deb's, Kukkonen and Deb 2006, "Improved pruning of non-dominated solutions
    /// based on crowding distance for bi-objective optimization problems".
    #[default]
    Crowding,
    /// Those that are near to directions with few others: NSGA-III, for three objectives and more.
    /// [`das_dennis`](super::das_dennis) makes directions; there should be about as many as
    /// individuals.
    Directions(Vec<Vec<f64>>),
    /// Those without which most hypervolume would be lost, one going after the other: the
    /// population is an archive of the best by that measure. For up to
    /// [`HYPERVOLUME_OBJECTIVES_MAX`] objectives, and for evaluations that take longer than it
    /// does.
    ///
    /// Source: Beume et al. 2007, "SMS-EMOA: multiobjective selection based on dominated
    /// hypervolume", here with whole generations.
    Hypervolume,
}

/// When a search that finds no more is given up.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stagnation {
    /// After so many generations without progress; at least one.
    pub generations: u32,
    /// Progress is a hypervolume that has grown by this share, at least 0. It is measured from a
    /// point somewhat beyond the worst of the first front of the first generation with a feasible
    /// solution.
    pub tolerance: f64,
}

/// How long and how a population evolves.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Individuals kept from one generation to the next: even, 4 to [`POPULATION_MAX`].
    pub population: u32,
    /// How many times the population has children.
    pub generations: u32,
    /// Most evaluations, if there is such a limit: no generation begins that would go beyond. The
    /// first population is evaluated in any case.
    pub evaluations_max: Option<u64>,
    /// When to stop early, if ever.
    pub stagnation: Option<Stagnation>,
    /// Who survives.
    pub selection: Selection,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            population: 100,
            generations: 250,
            evaluations_max: None,
            stagnation: None,
            selection: Selection::Crowding,
        }
    }
}

impl Settings {
    /// Checks that the settings make sense.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let population = self.population;
        if !(4..=POPULATION_MAX).contains(&population) {
            return Err(ConfigError::Population { population });
        }
        if !population.is_multiple_of(2) {
            return Err(ConfigError::PopulationOdd { population });
        }
        if let Some(stagnation) = self.stagnation {
            let Stagnation {
                generations,
                tolerance,
            } = stagnation;
            if generations == 0 || !tolerance.is_finite() || tolerance < 0.0 {
                return Err(ConfigError::Stagnation {
                    generations,
                    tolerance,
                });
            }
        }
        Ok(())
    }
}

/// Why a search ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// All generations are made.
    Generations,
    /// Another generation would take more evaluations than allowed.
    Evaluations,
    /// The hypervolume has not grown for as long as was to be waited.
    Stagnation,
    /// The caller said so.
    Caller,
}

/// Why a saved search cannot go on.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum SavedError {
    /// A list has another length than the settings and the problem call for.
    #[error("{field} holds {actual} values, {expected} are expected")]
    Length {
        /// The list.
        field: &'static str,
        /// Values expected.
        expected: usize,
        /// Values there.
        actual: usize,
    },
    /// A value cannot come from a search.
    #[error("value {index} of {field} is {value}")]
    Value {
        /// The list.
        field: &'static str,
        /// Index of the value.
        index: usize,
        /// The value.
        value: f64,
    },
}

/// A search between two generations: all that it takes to go on elsewhere as if nothing had
/// happened, together with the same settings, variation and problem.
///
/// Numbers are serialised by their bits, so that no format loses any.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    seed: u64,
    generation: u32,
    evaluations: u64,
    #[serde(with = "super::bits")]
    genes: Vec<f64>,
    #[serde(with = "super::bits")]
    objectives: Vec<f64>,
    #[serde(with = "super::bits")]
    violations: Vec<f64>,
    ranks: Vec<u32>,
    #[serde(with = "super::bits")]
    crowding: Vec<f64>,
    extremes: Extremes,
    progress: Progress,
}

/// The best hypervolume so far.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Progress {
    /// Empty before the first feasible solution.
    #[serde(with = "super::bits")]
    reference: Vec<f64>,
    /// One value: the best hypervolume at the last progress.
    #[serde(with = "super::bits")]
    best: Vec<f64>,
    /// Generations since then.
    idle: u32,
}

/// A population that evolves: NSGA-II, NSGA-III or by hypervolume, with whatever operators.
///
/// [`Nsga2::run`](super::Nsga2::run) is the short way. This is for what it does not do: other
/// selections and genomes, evaluation of whole populations, looking at each generation, early ends,
/// and going on later. A feasible solution is preferred to an infeasible one, of two infeasible
/// ones the less violating, of two feasible ones the dominating.
///
/// It starts no threads, reads no clock and draws from streams that belong to one seed, so the same
/// seed gives the same front on every platform as long as the problem does.
///
/// Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II". Unlike
/// there, parents try again where a child equals somebody who is evaluated already (as in Blank and
/// Deb 2020, "pymoo: multi-objective optimization in Python"), and copies that are left do not
/// compete.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use std::ops::ControlFlow;
///
/// use fogcompute_schedule::evolution::{
///     BatchProblem, Bounded, Ended, Evolution, Rates, Settings, Variable,
/// };
///
/// /// Many ones at the front of a word, and many zeros at its end.
/// struct Word;
///
/// impl BatchProblem for Word {
///     type Error = Infallible;
///     fn objective_count(&self) -> usize {
///         2
///     }
///     fn evaluate(
///         &mut self,
///         genes: &[f64],
///         objectives: &mut [f64],
///         violations: &mut [f64],
///     ) -> Result<(), Infallible> {
///         for (word, out) in genes.chunks(12).zip(objectives.chunks_mut(2)) {
///             out[0] = 12.0 - word.iter().take_while(|&&bit| bit > 0.5).count() as f64;
///             out[1] = 12.0 - word.iter().rev().take_while(|&&bit| bit < 0.5).count() as f64;
///         }
///         violations.fill(0.0);
///         Ok(())
///     }
/// }
///
/// let settings = Settings { population: 40, ..Settings::default() };
/// let variation = Bounded::new(vec![Variable::BINARY; 12], &Rates::default())?;
/// let mut evolution = Evolution::start(settings, variation, &mut Word, &[], 1)?;
/// let ended = evolution.run(&mut Word, |evolution| {
///     match evolution.front().individuals.len() {
///         13 => ControlFlow::Break(()),
///         _ => ControlFlow::Continue(()),
///     }
/// })?;
/// assert_eq!(ended, Ended::Caller);
/// # Ok::<(), fogcompute_schedule::evolution::EvolutionError<Infallible>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Evolution<V> {
    settings: Settings,
    niching: Niching,
    variation: V,
    seed: u64,
    generation: u32,
    evaluations: u64,
    n: usize,
    m: usize,
    /// The population, then room for as many children: rows of genes and of objectives.
    genes: Vec<f64>,
    objectives: Vec<f64>,
    violations: Vec<f64>,
    hashes: Vec<u64>,
    copies: Copies,
    /// Of the population alone.
    ranks: Vec<u32>,
    crowding: Vec<f64>,
    extremes: Extremes,
    progress: Progress,
    survival: Survival,
    order: Vec<u32>,
    winners: Vec<u32>,
}

/// Numbers of streams that are not a pair's.
const TOURNAMENT_STREAM: u32 = u32::MAX;
const SURVIVAL_STREAM: u32 = u32::MAX - 1;

/// How often a pair of parents tries to have children that nobody equals, before copies are
/// accepted: there may be no others.
const TRIES_MAX: u32 = 8;

impl<V: Variation> Evolution<V> {
    /// Makes and evaluates the first population: `seeds`, filled up at random.
    ///
    /// # Errors
    ///
    /// [`EvolutionError`] if the settings or a seed make no sense for the genomes and the problem,
    /// if the problem returns a value that is not finite, or with the problem's own error.
    pub fn start<P: BatchProblem>(
        settings: Settings,
        variation: V,
        problem: &mut P,
        seeds: &[Vec<f64>],
        seed: u64,
    ) -> Result<Self, EvolutionError<P::Error>> {
        let mut evolution = Self::empty(settings, variation, problem, seed)?;
        evolution.check_seeds(seeds)?;
        let size = evolution.size();
        for (index, genes) in evolution.genes[..size * evolution.n]
            .chunks_exact_mut(evolution.n)
            .enumerate()
        {
            match seeds.get(index) {
                Some(seed) => genes.copy_from_slice(seed),
                None => {
                    let mut rng = Stream::new(seed, 0, index as u32);
                    evolution.variation.draw(genes, &mut rng);
                }
            }
        }
        evolution.evaluate(problem, 0)?;
        evolution.select(size);
        evolution.note_progress();
        Ok(evolution)
    }

    /// Goes on with a search that was saved.
    ///
    /// # Errors
    ///
    /// [`EvolutionError::Saved`] if what was saved does not belong to these settings, this
    /// variation and this problem; others as in [`Evolution::start`].
    pub fn resume<P: BatchProblem>(
        settings: Settings,
        variation: V,
        problem: &P,
        saved: Saved,
    ) -> Result<Self, EvolutionError<P::Error>> {
        let mut evolution = Self::empty(settings, variation, problem, saved.seed)?;
        let (size, n, m) = (evolution.size(), evolution.n, evolution.m);
        saved.check(size, n, m)?;
        for (row, genes) in saved.genes.chunks_exact(n).enumerate() {
            if let Some(gene) = evolution.variation.find_invalid(genes) {
                return Err(EvolutionError::Saved(SavedError::Value {
                    field: "genes",
                    index: row * n + gene,
                    value: genes[gene],
                }));
            }
        }
        evolution.generation = saved.generation;
        evolution.evaluations = saved.evaluations;
        evolution.genes[..size * n].copy_from_slice(&saved.genes);
        evolution.objectives[..size * m].copy_from_slice(&saved.objectives);
        evolution.violations[..size].copy_from_slice(&saved.violations);
        for (hash, genes) in evolution.hashes.iter_mut().zip(saved.genes.chunks_exact(n)) {
            *hash = hash_of(genes);
        }
        evolution.ranks = saved.ranks;
        evolution.crowding = saved.crowding;
        evolution.extremes = saved.extremes;
        evolution.progress = saved.progress;
        Ok(evolution)
    }

    fn empty<P: BatchProblem>(
        settings: Settings,
        variation: V,
        problem: &P,
        seed: u64,
    ) -> Result<Self, EvolutionError<P::Error>> {
        settings.validate()?;
        let (n, m) = (variation.gene_count(), problem.objective_count());
        if n == 0 {
            return Err(EvolutionError::NoVariables);
        }
        if m == 0 {
            return Err(EvolutionError::NoObjectives);
        }
        if m > OBJECTIVES_MAX {
            return Err(EvolutionError::TooManyObjectives { actual: m });
        }
        let measures_volume =
            settings.selection == Selection::Hypervolume || settings.stagnation.is_some();
        if measures_volume && m > HYPERVOLUME_OBJECTIVES_MAX {
            return Err(EvolutionError::HypervolumeObjectives { actual: m });
        }
        let niching = Niching::new(&settings.selection, m)?;
        let size = settings.population as usize;
        if n > GENES_MAX / size {
            return Err(EvolutionError::TooManyGenes {
                population: settings.population,
                genes: n,
            });
        }
        Ok(Self {
            niching,
            variation,
            seed,
            generation: 0,
            evaluations: 0,
            n,
            m,
            genes: vec![0.0; 2 * size * n],
            objectives: vec![0.0; 2 * size * m],
            violations: vec![0.0; 2 * size],
            hashes: vec![0; 2 * size],
            copies: Copies::default(),
            ranks: Vec::new(),
            crowding: Vec::new(),
            extremes: Extremes::default(),
            progress: Progress::default(),
            survival: Survival::default(),
            order: Vec::new(),
            winners: Vec::new(),
            settings,
        })
    }

    fn check_seeds<E>(&mut self, seeds: &[Vec<f64>]) -> Result<(), EvolutionError<E>> {
        if seeds.len() > self.size() {
            return Err(EvolutionError::TooManySeeds {
                seeds: seeds.len(),
                population: self.settings.population,
            });
        }
        for (seed, genes) in seeds.iter().enumerate() {
            if genes.len() != self.n {
                return Err(EvolutionError::SeedLength {
                    seed,
                    expected: self.n,
                    actual: genes.len(),
                });
            }
            if let Some(gene) = self.variation.find_invalid(genes) {
                let value = genes[gene];
                return Err(EvolutionError::SeedValue { seed, gene, value });
            }
        }
        Ok(())
    }

    /// Makes generations until the search ends, and shows each to `observe`, which may end it. A
    /// search that has ended can be run again: it ends again at once, unless the caller had ended
    /// it.
    ///
    /// # Errors
    ///
    /// As [`Evolution::step`].
    pub fn run<P: BatchProblem>(
        &mut self,
        problem: &mut P,
        mut observe: impl FnMut(&Self) -> ControlFlow<()>,
    ) -> Result<Ended, EvolutionError<P::Error>> {
        loop {
            if let Some(ended) = self.ended() {
                return Ok(ended);
            }
            self.step(problem)?;
            if observe(self).is_break() {
                return Ok(Ended::Caller);
            }
        }
    }

    /// Makes one generation, even beyond what the settings allow.
    ///
    /// # Errors
    ///
    /// [`EvolutionError::Objective`] and [`EvolutionError::Violation`] if the problem returns a
    /// value that is not finite, [`EvolutionError::Problem`] with its own error. The population is
    /// then the one before, and the step can be made again.
    pub fn step<P: BatchProblem>(
        &mut self,
        problem: &mut P,
    ) -> Result<(), EvolutionError<P::Error>> {
        let (size, n) = (self.size(), self.n);
        let generation = self.generation.saturating_add(1);
        self.hold_tournaments(generation);
        let population = Rows {
            genes: &self.genes[..size * n],
            hashes: &self.hashes[..size],
        };
        self.copies.restart(population, 2 * size);
        for number in 0..size / 2 {
            self.make_children(generation, number);
        }
        self.evaluate(problem, size)?;
        self.generation = generation;
        self.select(2 * size);
        self.note_progress();
        Ok(())
    }

    /// Makes the two children of the pair of winners of this number, and their hashes.
    fn make_children(&mut self, generation: u32, number: usize) {
        let n = self.n;
        let first = self.size() + 2 * number;
        let (known, children) = self.genes.split_at_mut(first * n);
        let (known_hashes, hashes) = self.hashes.split_at_mut(first);
        let known = Rows {
            genes: known,
            hashes: known_hashes,
        };
        let (a, b) = children[..2 * n].split_at_mut(n);
        let parents = [0, 1].map(|side| self.winners[2 * number + side] as usize);
        let mut rng = Stream::new(self.seed, generation, number as u32);
        for _ in 0..TRIES_MAX {
            a.copy_from_slice(&known.genes[parents[0] * n..][..n]);
            b.copy_from_slice(&known.genes[parents[1] * n..][..n]);
            self.variation.vary(a, b, &mut rng);
            hashes[0] = hash_of(a);
            hashes[1] = hash_of(b);
            let is_known = |genome: &[f64], hash| self.copies.has(known, genome, hash);
            let are_twins = hashes[0] == hashes[1] && a == b;
            if !are_twins && !is_known(a, hashes[0]) && !is_known(b, hashes[1]) {
                break;
            }
        }
        let rows = Rows {
            genes: &self.genes[..(first + 2) * n],
            hashes: &self.hashes[..first + 2],
        };
        self.copies.add(rows);
    }

    /// Everybody stands in exactly two binary tournaments; the winners are in `winners`.
    fn hold_tournaments(&mut self, generation: u32) {
        let mut rng = Stream::new(self.seed, generation, TOURNAMENT_STREAM);
        self.winners.clear();
        for _ in 0..2 {
            self.order.clear();
            self.order.extend(0..self.settings.population);
            shuffle(&mut self.order, &mut rng);
            for pair in self.order.chunks_exact(2) {
                let standing =
                    |index: u32| (self.ranks[index as usize], self.crowding[index as usize]);
                let ((rank_a, crowding_a), (rank_b, crowding_b)) =
                    (standing(pair[0]), standing(pair[1]));
                // The order is random, so the first of two equals is a random one.
                let second = rank_b < rank_a || (rank_b == rank_a && crowding_b > crowding_a);
                self.winners.push(pair[usize::from(second)]);
            }
        }
    }

    /// Repairs and evaluates as many individuals as there are in a population, from `first` on.
    fn evaluate<P: BatchProblem>(
        &mut self,
        problem: &mut P,
        first: usize,
    ) -> Result<(), EvolutionError<P::Error>> {
        let (size, n, m) = (self.size(), self.n, self.m);
        let genes = &mut self.genes[first * n..][..size * n];
        let may_differ = problem.repair(genes);
        if may_differ {
            for genes in genes.chunks_exact_mut(n) {
                self.variation.mend(genes);
            }
        }
        if may_differ || first == 0 {
            let hashes = &mut self.hashes[first..][..size];
            for (hash, genes) in hashes.iter_mut().zip(genes.chunks_exact(n)) {
                *hash = hash_of(genes);
            }
            let count = first + size;
            let rows = Rows {
                genes: &self.genes[..count * n],
                hashes: &self.hashes[..count],
            };
            self.copies.restart(rows, count);
        }
        let genes = &self.genes[first * n..][..size * n];
        // What an evaluation forgets to write is no value of 0.
        let objectives = &mut self.objectives[first * m..][..size * m];
        let violations = &mut self.violations[first..][..size];
        objectives.fill(f64::NAN);
        violations.fill(f64::NAN);
        problem
            .evaluate(genes, objectives, violations)
            .map_err(EvolutionError::Problem)?;
        for (objectives, &violation) in objectives.chunks_exact(m).zip(&*violations) {
            if let Some(objective) = objectives.iter().position(|value| !value.is_finite()) {
                let value = objectives[objective];
                return Err(EvolutionError::Objective { objective, value });
            }
            if !violation.is_finite() || violation < 0.0 {
                return Err(EvolutionError::Violation { value: violation });
            }
        }
        self.evaluations = self.evaluations.saturating_add(size as u64);
        Ok(())
    }

    /// Keeps the best of the first `count` individuals.
    fn select(&mut self, count: usize) {
        let (size, n, m) = (self.size(), self.n, self.m);
        let pool = Pool {
            objectives: &self.objectives[..count * m],
            m,
            violations: &self.violations[..count],
            is_copy: self.copies.as_slice(),
        };
        let rule = Rule {
            niching: &self.niching,
            extremes: &mut self.extremes,
            rng: &mut Stream::new(self.seed, self.generation, SURVIVAL_STREAM),
        };
        self.survival.choose(&pool, size, rule);
        // Surviving parents stay where they are; surviving children take the places of the others.
        self.order.clear();
        self.order.resize(size, COPY);
        for &index in &self.survival.chosen {
            if let Some(place) = self.order.get_mut(index as usize) {
                *place = index;
            }
        }
        let children = self
            .survival
            .chosen
            .iter()
            .filter(|&&index| index as usize >= size);
        let free = self.order.iter_mut().filter(|place| **place == COPY);
        for (place, &child) in free.zip(children) {
            *place = child;
        }
        self.ranks.resize(size, COPY);
        self.crowding.resize(size, 0.0);
        for (place, &from) in self.order.iter().enumerate() {
            let from = from as usize;
            self.ranks[place] = self.survival.ranks[from];
            self.crowding[place] = self.survival.crowding[from];
            if from != place {
                self.genes.copy_within(from * n..(from + 1) * n, place * n);
                self.objectives
                    .copy_within(from * m..(from + 1) * m, place * m);
                self.violations[place] = self.violations[from];
                self.hashes[place] = self.hashes[from];
            }
        }
    }

    /// Looks whether the hypervolume has grown, if somebody wants to know.
    fn note_progress(&mut self) {
        let Some(stagnation) = self.settings.stagnation else {
            return;
        };
        let m = self.m;
        let points: Vec<f64> = (0..self.size())
            .filter(|&index| self.ranks[index] == 0 && self.violations[index] <= 0.0)
            .flat_map(|index| &self.objectives[index * m..][..m])
            .copied()
            .collect();
        if points.is_empty() {
            return;
        }
        if self.progress.reference.is_empty() {
            self.progress.reference = beyond_worst(&points, m);
        }
        let volume = hypervolume(&points, &self.progress.reference)
            .expect("objectives are finite and as many as the reference's, which were checked");
        match self.progress.best.first_mut() {
            Some(best) if volume <= *best * (1.0 + stagnation.tolerance) => {
                self.progress.idle = self.progress.idle.saturating_add(1);
            }
            _ => {
                self.progress.best = vec![volume];
                self.progress.idle = 0;
            }
        }
    }

    /// Whether the settings end the search here, and which.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        let next = self.evaluations.saturating_add(self.size() as u64);
        if self.generation >= self.settings.generations {
            Some(Ended::Generations)
        } else if self
            .settings
            .evaluations_max
            .is_some_and(|most| next > most)
        {
            Some(Ended::Evaluations)
        } else if self
            .settings
            .stagnation
            .is_some_and(|stagnation| self.progress.idle >= stagnation.generations)
        {
            Some(Ended::Stagnation)
        } else {
            None
        }
    }

    fn size(&self) -> usize {
        self.settings.population as usize
    }

    /// Generations made.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Evaluations made.
    #[must_use]
    pub fn evaluations(&self) -> u64 {
        self.evaluations
    }

    /// The genomes of the population, row by row.
    #[must_use]
    pub fn genes(&self) -> &[f64] {
        &self.genes[..self.size() * self.n]
    }

    /// The objectives of the population, row by row.
    #[must_use]
    pub fn objectives(&self) -> &[f64] {
        &self.objectives[..self.size() * self.m]
    }

    /// By how much each of the population violates constraints.
    #[must_use]
    pub fn violations(&self) -> &[f64] {
        &self.violations[..self.size()]
    }

    /// What was found up to now.
    #[must_use]
    pub fn front(&self) -> Front {
        let mut individuals: Vec<Individual> = (0..self.size())
            .filter(|&index| self.ranks[index] == 0)
            .map(|index| Individual {
                genes: self.genes[index * self.n..][..self.n].to_vec(),
                objectives: self.objectives[index * self.m..][..self.m].to_vec(),
                violation: self.violations[index],
            })
            .collect();
        individuals.sort_by(|a, b| {
            lexicographic(&a.objectives, &b.objectives).then(lexicographic(&a.genes, &b.genes))
        });
        Front {
            individuals,
            evaluations: self.evaluations,
            generations: self.generation,
        }
    }

    /// The search as it stands between two generations.
    #[must_use]
    pub fn save(&self) -> Saved {
        Saved {
            seed: self.seed,
            generation: self.generation,
            evaluations: self.evaluations,
            genes: self.genes().to_vec(),
            objectives: self.objectives().to_vec(),
            violations: self.violations().to_vec(),
            ranks: self.ranks.clone(),
            crowding: self.crowding.clone(),
            extremes: self.extremes.clone(),
            progress: self.progress.clone(),
        }
    }
}

impl Saved {
    fn check(&self, size: usize, n: usize, m: usize) -> Result<(), SavedError> {
        let optional = |values: &[f64], length| if values.is_empty() { 0 } else { length };
        let Self {
            extremes, progress, ..
        } = self;
        for (field, actual, expected) in [
            ("genes", self.genes.len(), size * n),
            ("objectives", self.objectives.len(), size * m),
            ("violations", self.violations.len(), size),
            ("ranks", self.ranks.len(), size),
            ("crowding", self.crowding.len(), size),
            ("ideal", extremes.ideal.len(), optional(&extremes.ideal, m)),
            (
                "points",
                extremes.points.len(),
                optional(&extremes.ideal, m * m),
            ),
            (
                "reference",
                progress.reference.len(),
                optional(&progress.reference, m),
            ),
            (
                "best",
                progress.best.len(),
                optional(&progress.reference, 1),
            ),
        ] {
            if actual != expected {
                return Err(SavedError::Length {
                    field,
                    expected,
                    actual,
                });
            }
        }
        let bad = |field, values: &[f64], is_good: fn(f64) -> bool| {
            let index = values.iter().position(|&value| !is_good(value));
            index.map_or(Ok(()), |index| {
                let value = values[index];
                Err(SavedError::Value {
                    field,
                    index,
                    value,
                })
            })
        };
        bad("objectives", &self.objectives, f64::is_finite)?;
        bad("violations", &self.violations, |v| {
            v.is_finite() && v >= 0.0
        })?;
        bad("crowding", &self.crowding, |v| v >= 0.0)?;
        bad("ideal", &extremes.ideal, f64::is_finite)?;
        bad("points", &extremes.points, f64::is_finite)?;
        bad("reference", &progress.reference, f64::is_finite)?;
        bad("best", &progress.best, f64::is_finite)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::convert::Infallible;

    use super::*;
    use crate::evolution::{Bounded, Permutation, Rates, Variable, das_dennis};

    /// DTLZ2 of 12 variables and 3 objectives, evaluated by as many threads as it says. None: not
    /// at all.
    struct Dtlz2 {
        threads: usize,
    }

    fn dtlz2(genes: &[f64], objectives: &mut [f64]) {
        let g: f64 = genes[2..].iter().map(|x| (x - 0.5) * (x - 0.5)).sum();
        let (sin_a, cos_a) = libm::sincos(genes[0] * std::f64::consts::FRAC_PI_2);
        let (sin_b, cos_b) = libm::sincos(genes[1] * std::f64::consts::FRAC_PI_2);
        objectives[0] = (1.0 + g) * cos_a * cos_b;
        objectives[1] = (1.0 + g) * cos_a * sin_b;
        objectives[2] = (1.0 + g) * sin_a;
    }

    impl BatchProblem for Dtlz2 {
        type Error = &'static str;

        fn objective_count(&self) -> usize {
            3
        }

        fn evaluate(
            &mut self,
            genes: &[f64],
            objectives: &mut [f64],
            violations: &mut [f64],
        ) -> Result<(), &'static str> {
            if self.threads == 0 {
                return Err("nobody is there");
            }
            violations.fill(0.0);
            let rows = violations.len().div_ceil(self.threads);
            std::thread::scope(|scope| {
                let parts = genes.chunks(rows * 12).zip(objectives.chunks_mut(rows * 3));
                for (genes, objectives) in parts {
                    scope.spawn(move || {
                        for (genes, out) in genes.chunks(12).zip(objectives.chunks_mut(3)) {
                            dtlz2(genes, out);
                        }
                    });
                }
            });
            Ok(())
        }
    }

    fn alone() -> Dtlz2 {
        Dtlz2 { threads: 1 }
    }

    const UNIT: Variable = Variable::Real {
        low: 0.0,
        high: 1.0,
    };

    fn bounded() -> Bounded {
        Bounded::new(vec![UNIT; 12], &Rates::default()).unwrap()
    }

    fn short(selection: Selection) -> Settings {
        Settings {
            population: 24,
            generations: 30,
            selection,
            ..Settings::default()
        }
    }

    fn selections() -> [Selection; 3] {
        [
            Selection::Crowding,
            Selection::Directions(das_dennis(3, 5).unwrap()),
            Selection::Hypervolume,
        ]
    }

    fn all<P: BatchProblem>(evolution: &mut Evolution<Bounded>, problem: &mut P) -> Ended
    where
        P::Error: std::fmt::Debug,
    {
        evolution
            .run(problem, |_| ControlFlow::Continue(()))
            .unwrap()
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        for selection in selections() {
            let run = |threads| {
                let (problem, settings) = (&mut Dtlz2 { threads }, short(selection.clone()));
                let mut evolution = Evolution::start(settings, bounded(), problem, &[], 3).unwrap();
                assert_eq!(all(&mut evolution, problem), Ended::Generations);
                assert_eq!(evolution.evaluations(), 24 * 31);
                evolution.save()
            };
            assert_eq!(run(1), run(5));
        }
    }

    #[test]
    fn a_saved_search_goes_on_as_if_nothing_had_happened() {
        for selection in selections() {
            let settings = Settings {
                stagnation: Some(Stagnation {
                    generations: 1_000,
                    tolerance: 1e-6,
                }),
                ..short(selection)
            };
            let start =
                || Evolution::start(settings.clone(), bounded(), &mut alone(), &[], 4).unwrap();
            let mut whole = start();
            all(&mut whole, &mut alone());
            let mut first = start();
            let ended = first
                .run(&mut alone(), |evolution| match evolution.generation() {
                    11 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                })
                .unwrap();
            assert_eq!(ended, Ended::Caller);
            let text = serde_json::to_string(&first.save()).unwrap();
            let saved = serde_json::from_str(&text).unwrap();
            let mut second =
                Evolution::resume(settings.clone(), bounded(), &alone(), saved).unwrap();
            all(&mut second, &mut alone());
            assert_eq!(whole.save(), second.save());
        }
    }

    #[test]
    fn what_was_saved_elsewhere_is_refused() {
        let settings = short(Selection::Crowding);
        let evolution =
            Evolution::start(settings.clone(), bounded(), &mut alone(), &[], 4).unwrap();
        let refused = |settings: &Settings, change: fn(&mut Saved)| {
            let mut saved = evolution.save();
            change(&mut saved);
            match Evolution::resume(settings.clone(), bounded(), &alone(), saved) {
                Err(EvolutionError::Saved(error)) => error,
                other => panic!("{other:?}"),
            }
        };
        let larger = Settings {
            population: 26,
            ..settings.clone()
        };
        assert_eq!(
            refused(&larger, |_| {}),
            SavedError::Length {
                field: "genes",
                expected: 26 * 12,
                actual: 24 * 12
            }
        );
        assert_eq!(
            refused(&settings, |saved| saved.genes[25] = 1.5),
            SavedError::Value {
                field: "genes",
                index: 25,
                value: 1.5
            }
        );
        assert_eq!(
            refused(&settings, |saved| saved.violations[2] = -1.0),
            SavedError::Value {
                field: "violations",
                index: 2,
                value: -1.0
            }
        );
    }

    #[test]
    fn a_failed_step_can_be_made_again() {
        let start = || {
            Evolution::start(short(Selection::Crowding), bounded(), &mut alone(), &[], 5).unwrap()
        };
        let (mut whole, mut interrupted) = (start(), start());
        whole.step(&mut alone()).unwrap();
        assert_eq!(
            interrupted.step(&mut Dtlz2 { threads: 0 }),
            Err(EvolutionError::Problem("nobody is there"))
        );
        assert_eq!(interrupted.save(), start().save());
        interrupted.step(&mut alone()).unwrap();
        assert_eq!(whole.save(), interrupted.save());
    }

    #[test]
    fn a_search_ends_at_the_limit_of_evaluations_and_when_nothing_is_gained() {
        let settings = Settings {
            evaluations_max: Some(100),
            ..short(Selection::Crowding)
        };
        let mut evolution = Evolution::start(settings, bounded(), &mut alone(), &[], 6).unwrap();
        assert_eq!(all(&mut evolution, &mut alone()), Ended::Evaluations);
        assert_eq!(evolution.evaluations(), 96);
        let settings = Settings {
            generations: 100_000,
            stagnation: Some(Stagnation {
                generations: 10,
                tolerance: 0.01,
            }),
            ..short(Selection::Crowding)
        };
        let mut evolution = Evolution::start(settings, bounded(), &mut alone(), &[], 6).unwrap();
        assert_eq!(all(&mut evolution, &mut alone()), Ended::Stagnation);
        assert!((10..1_000).contains(&evolution.generation()));
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let refused =
            |settings| Evolution::start(settings, bounded(), &mut alone(), &[], 1).unwrap_err();
        let stagnation = Stagnation {
            generations: 0,
            tolerance: 0.0,
        };
        let error = refused(Settings {
            stagnation: Some(stagnation),
            ..Settings::default()
        });
        assert!(matches!(
            error,
            EvolutionError::Config(ConfigError::Stagnation { .. })
        ));
        let error = refused(short(Selection::Directions(vec![vec![1.0]])));
        assert!(matches!(error, EvolutionError::Directions(_)));
        let many = Objectives(6);
        let error = Evolution::resume(
            short(Selection::Hypervolume),
            bounded(),
            &many,
            Evolution::start(short(Selection::Crowding), bounded(), &mut alone(), &[], 1)
                .unwrap()
                .save(),
        );
        assert!(matches!(
            error,
            Err(EvolutionError::HypervolumeObjectives { actual: 6 })
        ));
    }

    struct Objectives(usize);

    impl BatchProblem for Objectives {
        type Error = Infallible;

        fn objective_count(&self) -> usize {
            self.0
        }

        fn evaluate(
            &mut self,
            _: &[f64],
            objectives: &mut [f64],
            violations: &mut [f64],
        ) -> Result<(), Infallible> {
            objectives.fill(1.0);
            violations.fill(0.0);
            Ok(())
        }
    }

    #[test]
    fn where_everything_is_equal_every_selection_goes_on() {
        for selection in selections() {
            let mut flat = Objectives(3);
            let mut evolution =
                Evolution::start(short(selection), bounded(), &mut flat, &[], 2).unwrap();
            assert_eq!(all(&mut evolution, &mut flat), Ended::Generations);
            assert_eq!(evolution.front().individuals.len(), 24);
        }
    }

    #[test]
    fn directions_and_hypervolume_beat_crowding_at_three_objectives() {
        let volume = |selection, population, generations| {
            let settings = Settings {
                population,
                generations,
                selection,
                ..Settings::default()
            };
            let mut evolution =
                Evolution::start(settings, bounded(), &mut alone(), &[], 7).unwrap();
            all(&mut evolution, &mut alone());
            hypervolume(evolution.objectives(), &[1.1; 3]).unwrap()
        };
        let crowding = volume(Selection::Crowding, 100, 250);
        let directions = volume(Selection::Directions(das_dennis(3, 12).unwrap()), 100, 250);
        // pygmo's NSGA-II has 0.704 in the median; the true front 0.789.
        assert!(crowding > 0.69, "{crowding}");
        assert!(directions > 0.72, "{directions}");
        let few = volume(Selection::Crowding, 40, 60);
        let by_volume = volume(Selection::Hypervolume, 40, 60);
        assert!(by_volume > few, "{by_volume} against {few}");
    }

    /// Remembers whom it evaluated.
    struct Remembering {
        seen: HashSet<Vec<u64>>,
        repeated: usize,
        gene_count: usize,
    }

    impl BatchProblem for Remembering {
        type Error = Infallible;

        fn objective_count(&self) -> usize {
            2
        }

        fn evaluate(
            &mut self,
            genes: &[f64],
            objectives: &mut [f64],
            violations: &mut [f64],
        ) -> Result<(), Infallible> {
            violations.fill(0.0);
            let rows = genes.chunks(self.gene_count);
            for (genome, objectives) in rows.zip(objectives.chunks_mut(2)) {
                let bits = genome.iter().map(|gene| gene.to_bits()).collect();
                self.repeated += usize::from(!self.seen.insert(bits));
                objectives.copy_from_slice(&[
                    genome[0],
                    1.0 - genome[0] + genome[1..].iter().sum::<f64>(),
                ]);
            }
            Ok(())
        }
    }

    #[test]
    fn nobody_is_evaluated_twice_unless_there_is_nobody_else() {
        // Two in nine children equal a parent at the first try.
        let rates = Rates {
            crossover_probability: 0.7,
            mutation_probability: Some(0.1),
            ..Rates::default()
        };
        let repeated = |variables: Vec<Variable>| {
            let mut problem = Remembering {
                seen: HashSet::new(),
                repeated: 0,
                gene_count: variables.len(),
            };
            let variation = Bounded::new(variables, &rates).unwrap();
            // One generation: later ones know only those who are still there.
            let settings = Settings {
                generations: 1,
                ..short(Selection::Crowding)
            };
            let mut evolution =
                Evolution::start(settings, variation, &mut problem, &[], 9).unwrap();
            all(&mut evolution, &mut problem);
            problem.repeated
        };
        assert_eq!(repeated(vec![UNIT; 4]), 0);
        assert_eq!(repeated(vec![Variable::BINARY; 2]), 48 - 4);
    }

    /// Towns on a circle, known in a jumbled order: the shortest tour is the circle.
    struct Tour;

    impl BatchProblem for Tour {
        type Error = Infallible;

        fn objective_count(&self) -> usize {
            1
        }

        fn evaluate(
            &mut self,
            genes: &[f64],
            objectives: &mut [f64],
            violations: &mut [f64],
        ) -> Result<(), Infallible> {
            violations.fill(0.0);
            let place = |town: f64| {
                let (sin, cos) = libm::sincos(town * 5.0 % 12.0 / 12.0 * std::f64::consts::TAU);
                [sin, cos]
            };
            for (tour, length) in genes.chunks(12).zip(objectives) {
                let ways = (0..12).map(|at| {
                    let (a, b) = (place(tour[at]), place(tour[(at + 1) % 12]));
                    ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)).sqrt()
                });
                *length = ways.sum();
            }
            Ok(())
        }
    }

    #[test]
    fn orders_evolve() {
        let settings = Settings {
            population: 60,
            generations: 150,
            ..Settings::default()
        };
        let variation = Permutation::new(12, 0.9, 0.5).unwrap();
        let mut evolution = Evolution::start(settings, variation, &mut Tour, &[], 8).unwrap();
        evolution
            .run(&mut Tour, |_| ControlFlow::Continue(()))
            .unwrap();
        let circle = 24.0 * libm::sin(std::f64::consts::PI / 12.0);
        let found = evolution.front().individuals[0].objectives[0];
        assert!((found - circle).abs() < 1e-9, "{found} against {circle}");
    }
}
