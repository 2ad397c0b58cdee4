//! Optimisation and placement.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fogcompute::base::Priority;
use fogcompute::schedule::{self, Lacks, OBJECTIVE_COUNT};
use fogcompute::{
    BatchProblem, Constraint, Domain, Front, Individual, Placing, Preemption, Rates, SearchFailure,
    Settings, Sharing, Strategy, Tier, Variable, indicators,
};
use thiserror::Error;

use crate::FogError;
use crate::error::{first_line, guarded, invalid_argument};

/// What one gene may be.
#[uniffi::remote(Enum)]
pub enum Variable {
    /// A real number from `low` to `high`, both inclusive.
    Real {
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
    },
    /// A whole number from `low` to `high`, both inclusive, where near values act alike.
    Integer {
        /// Smallest value.
        low: i64,
        /// Largest value.
        high: i64,
    },
    /// One of `count` things without an order, as its index from 0.
    Choice {
        /// How many there are.
        count: u32,
    },
}

/// What the genomes of a problem are.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Genome {
    /// One gene for each variable.
    Variables {
        /// The variables.
        variables: Vec<Variable>,
    },
    /// An order of `length` things, each gene being the index of one.
    Permutation {
        /// How many things there are.
        length: u32,
    },
}

impl From<Genome> for fogcompute::Genome {
    fn from(genome: Genome) -> Self {
        match genome {
            Genome::Variables { variables } => Self::Variables(variables),
            Genome::Permutation { length } => Self::Permutation { length },
        }
    }
}

/// A solution and what it is worth.
#[uniffi::remote(Record)]
pub struct Individual {
    /// One value for each variable.
    pub genes: Vec<f64>,
    /// What the problem evaluated, smaller being better.
    pub objectives: Vec<f64>,
    /// By how much constraints are violated; 0 when all are met.
    pub violation: f64,
}

/// What an optimisation found.
#[uniffi::remote(Record)]
pub struct Front {
    /// The solutions that no other dominates, in lexicographic order of their objectives. When no
    /// feasible one was found: those of the least violation.
    pub individuals: Vec<Individual>,
    /// Evaluations made.
    pub evaluations: u64,
    /// Generations made.
    pub generations: u32,
}

/// Parameters of a placement by NSGA-II. What is left out keeps the library's default.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Nsga2 {
    /// Individuals kept from one generation to the next: even, 4 to 65,536.
    #[uniffi(default = None)]
    pub population: Option<u32>,
    /// How many times the population has children.
    #[uniffi(default = None)]
    pub generations: Option<u32>,
    /// Probability that a pair of parents is recombined, 0 to 1.
    #[uniffi(default = None)]
    pub crossover_probability: Option<f64>,
    /// Distribution index of simulated binary crossover: larger keeps children nearer to parents.
    #[uniffi(default = None)]
    pub crossover_eta: Option<f64>,
    /// Probability that a gene mutates, 0 to 1; left out, one gene in each child on average.
    #[uniffi(default = None)]
    pub mutation_probability: Option<f64>,
    /// Distribution index of polynomial mutation: larger makes smaller steps.
    #[uniffi(default = None)]
    pub mutation_eta: Option<f64>,
}

impl From<Nsga2> for fogcompute::Nsga2 {
    fn from(config: Nsga2) -> Self {
        let default = Self::default();
        Self {
            population: config.population.unwrap_or(default.population),
            generations: config.generations.unwrap_or(default.generations),
            crossover_probability: config
                .crossover_probability
                .unwrap_or(default.crossover_probability),
            crossover_eta: config.crossover_eta.unwrap_or(default.crossover_eta),
            mutation_probability: config.mutation_probability,
            mutation_eta: config.mutation_eta.unwrap_or(default.mutation_eta),
        }
    }
}

/// Who survives of a generation.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Selection {
    /// Those whose neighbours are far: NSGA-II, good for two objectives.
    Crowding,
    /// Those that are near to directions with few others: NSGA-III, for three objectives or more.
    Directions {
        /// One component for each objective; `reference_directions` makes them. There should be
        /// about as many as individuals.
        directions: Vec<Vec<f64>>,
    },
    /// Those that add hypervolume: SMS-EMOA with whole generations, for up to five objectives and
    /// evaluations that take longer than it does.
    Hypervolume,
}

impl From<Selection> for fogcompute::Selection {
    fn from(selection: Selection) -> Self {
        match selection {
            Selection::Crowding => Self::Crowding,
            Selection::Directions { directions } => Self::Directions(directions),
            Selection::Hypervolume => Self::Hypervolume,
        }
    }
}

/// When a search that finds no more is given up.
#[derive(Clone, Copy, Debug, PartialEq, uniffi::Record)]
pub struct Stagnation {
    /// After so many generations without progress; at least one.
    pub generations: u32,
    /// Progress is a hypervolume that has grown by this share, at least 0.
    pub tolerance: f64,
}

/// How a search goes. What is left out keeps the library's default: NSGA-II.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct SearchConfig {
    /// Who survives.
    #[uniffi(default = None)]
    pub selection: Option<Selection>,
    /// Individuals kept from one generation to the next: even, 4 to 65,536.
    #[uniffi(default = None)]
    pub population: Option<u32>,
    /// How many times the population has children.
    #[uniffi(default = None)]
    pub generations: Option<u32>,
    /// No generation begins that would go beyond so many evaluations.
    #[uniffi(default = None)]
    pub evaluations_max: Option<u64>,
    /// When to stop early, if ever.
    #[uniffi(default = None)]
    pub stagnation: Option<Stagnation>,
    /// Probability that a pair of parents is recombined, 0 to 1.
    #[uniffi(default = None)]
    pub crossover_probability: Option<f64>,
    /// Distribution index of simulated binary crossover: larger keeps children nearer to parents.
    #[uniffi(default = None)]
    pub crossover_eta: Option<f64>,
    /// Probability that a gene mutates, 0 to 1; of a permutation, that a child does. Left out, a
    /// child has one change on average.
    #[uniffi(default = None)]
    pub mutation_probability: Option<f64>,
    /// Distribution index of polynomial mutation: larger makes smaller steps.
    #[uniffi(default = None)]
    pub mutation_eta: Option<f64>,
}

impl From<SearchConfig> for fogcompute::SearchConfig {
    fn from(config: SearchConfig) -> Self {
        let (settings, rates) = (Settings::default(), Rates::default());
        Self {
            settings: Settings {
                population: config.population.unwrap_or(settings.population),
                generations: config.generations.unwrap_or(settings.generations),
                evaluations_max: config.evaluations_max,
                stagnation: config.stagnation.map(|given| fogcompute::Stagnation {
                    generations: given.generations,
                    tolerance: given.tolerance,
                }),
                selection: config.selection.map_or(settings.selection, Into::into),
            },
            rates: Rates {
                crossover_probability: config
                    .crossover_probability
                    .unwrap_or(rates.crossover_probability),
                crossover_eta: config.crossover_eta.unwrap_or(rates.crossover_eta),
                mutation_probability: config.mutation_probability,
                mutation_eta: config.mutation_eta.unwrap_or(rates.mutation_eta),
            },
        }
    }
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum Ended {
    /// All generations are made.
    Generations,
    /// Another generation would take more evaluations than allowed.
    Evaluations,
    /// The hypervolume has not grown for as long as was to be waited.
    Stagnation,
}

/// What a problem says of one solution.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Evaluation {
    /// One value for each objective, smaller being better.
    pub objectives: Vec<f64>,
    /// By how much constraints are violated in total; 0 when all are met.
    #[uniffi(default = 0.0)]
    pub violation: f64,
}

/// Why a problem stopped an optimisation. Anything else that a problem throws counts as it.
#[derive(Clone, Debug, Eq, Error, PartialEq, uniffi::Error)]
pub enum ProblemError {
    /// The host's own code failed.
    #[error("{reason}")]
    Host {
        /// What happened.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for ProblemError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        let reason = first_line(&error);
        Self::Host { reason }
    }
}

fn stopped(error: ProblemError) -> FogError {
    let ProblemError::Host { reason } = error;
    FogError::HostCallback { message: reason }
}

/// What to optimise. Implemented by the application; called on the thread that asks.
#[uniffi::export(foreign)]
pub trait Problem: Send + Sync {
    /// What the genomes are. Read once, at the start of a run.
    ///
    /// # Errors
    /// [`ProblemError`] stops the run.
    fn genome(&self) -> Result<Genome, ProblemError>;

    /// How many objectives an evaluation has. Read once, at the start of a run.
    ///
    /// # Errors
    /// [`ProblemError`] stops the run.
    fn objective_count(&self) -> Result<u32, ProblemError>;

    /// What a solution is worth.
    ///
    /// # Errors
    /// [`ProblemError`] stops the run.
    fn evaluate(&self, genes: Vec<f64>) -> Result<Evaluation, ProblemError>;
}

struct HostProblem {
    host: Arc<dyn Problem>,
    objective_count: usize,
}

impl HostProblem {
    fn new(host: Arc<dyn Problem>) -> Result<(Self, fogcompute::Genome), FogError> {
        let genome = host.genome().map_err(stopped)?.into();
        let objective_count = host.objective_count().map_err(stopped)? as usize;
        let problem = Self {
            host,
            objective_count,
        };
        Ok((problem, genome))
    }
}

impl BatchProblem for HostProblem {
    type Error = FogError;

    fn objective_count(&self) -> usize {
        self.objective_count
    }

    fn evaluate(
        &mut self,
        genes: &[f64],
        objectives: &mut [f64],
        violations: &mut [f64],
    ) -> Result<(), FogError> {
        let gene_count = genes.len() / violations.len().max(1);
        let rows = genes.chunks_exact(gene_count);
        let targets = objectives.chunks_exact_mut(self.objective_count);
        for (genes, (objectives, violation)) in rows.zip(targets.zip(violations)) {
            let evaluation = self.host.evaluate(genes.to_vec()).map_err(stopped)?;
            let (actual, expected) = (evaluation.objectives.len(), objectives.len());
            if actual != expected {
                let message = format!("evaluation has {actual} objectives, must have {expected}");
                return Err(FogError::InvalidProblem { message });
            }
            objectives.copy_from_slice(&evaluation.objectives);
            *violation = evaluation.violation;
            if !violation.is_finite() || objectives.iter().any(|value| !value.is_finite()) {
                // The run ends with this one; what follows need not be evaluated.
                break;
            }
        }
        Ok(())
    }
}

fn failed(failure: SearchFailure<FogError>) -> FogError {
    match failure {
        SearchFailure::Problem(error) => error,
        SearchFailure::Failed(error) => error.into(),
        other => FogError::InvalidProblem {
            message: other.to_string(),
        },
    }
}

/// Minimises the objectives of a problem. One seed gives one front, on every platform.
///
/// `initial` holds genomes to start from; the rest of the first population is random. The call
/// returns when the search is done: make it on a thread that may wait. `Search` is for those who
/// want to look at each generation, end early or go on later.
///
/// # Errors
/// [`FogError::InvalidProblem`], [`FogError::NotFinite`], and [`FogError::HostCallback`] if the
/// problem failed.
#[uniffi::export(default(initial = []))]
pub fn minimize(
    problem: Arc<dyn Problem>,
    config: SearchConfig,
    seed: u64,
    initial: Vec<Vec<f64>>,
) -> Result<Front, FogError> {
    guarded(|| {
        let (mut problem, genome) = HostProblem::new(problem)?;
        fogcompute::minimize(&mut problem, &genome, &config.into(), &initial, seed).map_err(failed)
    })
}

/// A population that evolves, generation by generation.
#[derive(uniffi::Object)]
pub struct Search {
    inner: Mutex<(fogcompute::Search, HostProblem)>,
}

impl Search {
    fn lock(&self) -> MutexGuard<'_, (fogcompute::Search, HostProblem)> {
        // A step that panicked leaves the population as it was, or half of its children.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[uniffi::export]
impl Search {
    /// Makes and evaluates the first population; the arguments are those of `minimize`.
    ///
    /// # Errors
    /// [`FogError::InvalidProblem`], [`FogError::NotFinite`], and [`FogError::HostCallback`] if the
    /// problem failed.
    #[uniffi::constructor(default(initial = []))]
    pub fn new(
        problem: Arc<dyn Problem>,
        config: SearchConfig,
        seed: u64,
        initial: Vec<Vec<f64>>,
    ) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let (mut problem, genome) = HostProblem::new(problem)?;
            let config = config.into();
            let search = fogcompute::Search::start(&mut problem, &genome, &config, &initial, seed)
                .map_err(failed)?;
            let inner = Mutex::new((search, problem));
            Ok(Arc::new(Self { inner }))
        })
    }

    /// Goes on with a search that `save` saved, as if nothing had happened. The problem and the
    /// configuration must be the same; only for how long the search goes may differ.
    ///
    /// # Errors
    /// [`FogError::InvalidProblem`] if the state is damaged or belongs to another search;
    /// [`FogError::HostCallback`].
    #[uniffi::constructor]
    pub fn resume(
        problem: Arc<dyn Problem>,
        config: SearchConfig,
        state: Vec<u8>,
    ) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let (problem, genome) = HostProblem::new(problem)?;
            let search = fogcompute::Search::resume(&problem, &genome, &config.into(), &state)
                .map_err(failed)?;
            let inner = Mutex::new((search, problem));
            Ok(Arc::new(Self { inner }))
        })
    }

    /// Makes one generation, even beyond what the configuration allows. When it fails, the
    /// population is the one before. The problem must not use the search.
    ///
    /// # Errors
    /// [`FogError::NotFinite`], and [`FogError::HostCallback`] if the problem failed.
    pub fn step(&self) -> Result<(), FogError> {
        guarded(|| {
            let (search, problem) = &mut *self.lock();
            search.step(problem).map_err(failed)
        })
    }

    /// Why the configuration ends the search here, if it does.
    ///
    /// # Errors
    /// Only that of a defect of the library.
    pub fn ended(&self) -> Result<Option<Ended>, FogError> {
        guarded(|| {
            Ok(self.lock().0.ended().map(|ended| match ended {
                fogcompute::Ended::Evaluations => Ended::Evaluations,
                fogcompute::Ended::Stagnation => Ended::Stagnation,
                _ => Ended::Generations,
            }))
        })
    }

    /// The solutions of the population that no other dominates.
    ///
    /// # Errors
    /// Only that of a defect of the library.
    pub fn front(&self) -> Result<Front, FogError> {
        guarded(|| Ok(self.lock().0.front()))
    }

    /// The search as bytes, for `resume`. They hold nothing of the problem.
    ///
    /// # Errors
    /// Only that of a defect of the library.
    pub fn save(&self) -> Result<Vec<u8>, FogError> {
        guarded(|| Ok(self.lock().0.save()))
    }
}

/// Points one after another.
fn flat(points: &[Vec<f64>], objective_count: usize) -> Result<Vec<f64>, FogError> {
    match points
        .iter()
        .position(|point| point.len() != objective_count)
    {
        None => Ok(points.concat()),
        Some(index) => Err(invalid_argument(format!(
            "point {index} has {} objectives, expected {objective_count}",
            points[index].len()
        ))),
    }
}

/// The rank of each point: 0 where no other dominates it, 1 where only points of rank 0 do, and so
/// on. All objectives are minimised; infinities are allowed.
///
/// # Errors
/// [`FogError::InvalidArgument`] if points differ in length or a value is not a number.
#[uniffi::export]
pub fn non_dominated_sort(points: Vec<Vec<f64>>) -> Result<Vec<u32>, FogError> {
    guarded(|| {
        let Some(m) = points.first().map(Vec::len) else {
            return Ok(Vec::new());
        };
        Ok(fogcompute::non_dominated_sort(&flat(&points, m)?, m)
            .map_err(fogcompute::Error::from)?)
    })
}

/// The volume that points dominate up to `reference`, exactly, for up to five objectives. Points
/// that are not better than it in every objective add nothing.
///
/// # Errors
/// [`FogError::InvalidArgument`].
#[uniffi::export]
pub fn hypervolume(points: Vec<Vec<f64>>, reference: Vec<f64>) -> Result<f64, FogError> {
    guarded(|| {
        let points = flat(&points, reference.len())?;
        Ok(indicators::hypervolume(&points, &reference).map_err(fogcompute::Error::from)?)
    })
}

/// The mean distance from the points of a known front to the nearest of `points`: less is better.
///
/// # Errors
/// [`FogError::InvalidArgument`].
#[uniffi::export]
pub fn igd(points: Vec<Vec<f64>>, known: Vec<Vec<f64>>) -> Result<f64, FogError> {
    guarded(|| {
        let m = points.first().map_or(0, Vec::len);
        let (points, known) = (flat(&points, m)?, flat(&known, m)?);
        Ok(indicators::igd(&points, &known, m).map_err(fogcompute::Error::from)?)
    })
}

/// As `igd`, where only that counts by which points are worse than known ones (IGD+).
///
/// # Errors
/// [`FogError::InvalidArgument`].
#[uniffi::export]
pub fn igd_plus(points: Vec<Vec<f64>>, known: Vec<Vec<f64>>) -> Result<f64, FogError> {
    guarded(|| {
        let m = points.first().map_or(0, Vec::len);
        let (points, known) = (flat(&points, m)?, flat(&known, m)?);
        Ok(indicators::igd_plus(&points, &known, m).map_err(fogcompute::Error::from)?)
    })
}

/// The standard deviation of the distances between neighbours (Schott): 0 when all are alike.
///
/// # Errors
/// [`FogError::InvalidArgument`].
#[uniffi::export]
pub fn spacing(points: Vec<Vec<f64>>) -> Result<f64, FogError> {
    guarded(|| {
        let m = points.first().map_or(0, Vec::len);
        Ok(indicators::spacing(&flat(&points, m)?, m).map_err(fogcompute::Error::from)?)
    })
}

/// How unevenly points are spread between `ends`, the ends of the known front: 0 when the ends are
/// reached and distances between neighbours are equal.
///
/// # Errors
/// [`FogError::InvalidArgument`].
#[uniffi::export]
pub fn spread(points: Vec<Vec<f64>>, ends: Vec<Vec<f64>>) -> Result<f64, FogError> {
    guarded(|| {
        let m = points.first().map_or(0, Vec::len);
        let (points, ends) = (flat(&points, m)?, flat(&ends, m)?);
        Ok(indicators::spread(&points, &ends, m).map_err(fogcompute::Error::from)?)
    })
}

/// Directions for NSGA-III, evenly spread over the simplex (Das and Dennis): 91 for 3 objectives
/// and 12 divisions.
///
/// # Errors
/// [`FogError::InvalidArgument`] beyond 65,536.
#[uniffi::export]
pub fn reference_directions(
    objective_count: u32,
    divisions: u32,
) -> Result<Vec<Vec<f64>>, FogError> {
    guarded(|| {
        let directions = fogcompute::das_dennis(objective_count as usize, divisions);
        Ok(directions.map_err(fogcompute::Error::from)?)
    })
}

/// How urgent something is.
#[uniffi::remote(Enum)]
pub enum Priority {
    /// Must go before everything else.
    Critical,
    /// Interactive work somebody waits for.
    High,
    /// The default.
    Normal,
    /// May wait.
    Low,
    /// Fills what is left.
    Bulk,
}

/// How jobs share a node.
#[uniffi::remote(Enum)]
pub enum Sharing {
    /// All jobs run at once: together they must fit what is free. For services.
    Concurrent,
    /// Jobs queue: each alone must fit what is free. For batches with more jobs than cores.
    Queued,
}

/// How placements are found. All of them respect every constraint.
#[uniffi::remote(Enum)]
pub enum Strategy {
    /// Searches for placements that no other beats; the others make one in one pass.
    NsgaIi,
    /// Each job where it is done first.
    LatencyFirst,
    /// Each job where it leaves the use of nodes most even.
    LoadBalance,
    /// Each job on the node that is trusted most.
    TrustFirst,
    /// Each job where it costs least.
    CostOptimize,
    /// Each job on the next node in the order given that may take it.
    RoundRobin,
    /// Each job on a node that has others already, if there is one, where it leaves least unused.
    BinPack,
    /// Each job in the zone with the fewest, there with the operator and on the node with them.
    TopologySpread,
}

/// What a job is promised.
#[uniffi::remote(Enum)]
pub enum Tier {
    /// For what must not fail.
    Platinum,
    /// For what somebody depends on.
    Gold,
    /// For what should not be done twice.
    Silver,
    /// The default: best effort on one node.
    Bronze,
}

/// What nodes are told apart by.
#[uniffi::remote(Enum)]
pub enum Domain {
    /// Each node is a domain of its own.
    Node,
    /// Nodes that share power and network.
    Zone,
    /// Nodes of one part of the world.
    Region,
    /// Nodes that one party runs.
    Operator,
}

/// What a tier promises and what it costs.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Terms {
    /// How many nodes run the job, each on its own.
    pub replicas: u8,
    /// What the nodes of two replicas must differ in, all of it.
    pub distinct: Vec<Domain>,
    /// Latency of a node that at most one answer in twenty exceeds, in milliseconds.
    pub latency_ms_p95: f64,
    /// Share of the time for which at least one replica is there, 0 to 1.
    pub availability: f64,
    /// Largest share of wrong or missing answers, 0 to 1.
    pub error_rate: f64,
    /// The notice after which the job gives up its place, in milliseconds; without, it never does.
    pub preemption_notice_ms: Option<u64>,
    /// What a node's asking price is multiplied by, in thousandths.
    pub price_permille: u64,
}

/// What a tier promises and what it costs.
#[uniffi::export]
pub fn tier_terms(tier: Tier) -> Terms {
    let terms = tier.terms();
    Terms {
        replicas: terms.replicas,
        distinct: terms.distinct.to_vec(),
        latency_ms_p95: terms.latency_ms_p95,
        availability: terms.availability,
        error_rate: terms.error_rate,
        preemption_notice_ms: match terms.preemption {
            Preemption::Never => None,
            Preemption::AfterNotice { notice_ms } => Some(notice_ms),
        },
        price_permille: terms.price_permille,
    }
}

/// A bound on how many jobs of a group share a domain.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Spread {
    /// Name of the group. All its jobs say the same of `over` and `most`.
    pub group: String,
    /// What is a domain.
    pub over: Domain,
    /// Most jobs of the group in one domain, each replica counted, at least 1.
    pub most: u32,
}

impl From<Spread> for schedule::Spread {
    fn from(Spread { group, over, most }: Spread) -> Self {
        Self { group, over, most }
    }
}

/// A job to be placed.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Job {
    /// Id of the task, 32 hexadecimal digits.
    pub id: String,
    /// Processor it needs, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory it needs, in bytes.
    pub memory_bytes: u64,
    /// How long it runs on a node of speed 1, in milliseconds.
    pub duration_ms: u64,
    /// How urgent it is; normal if that is left out.
    #[uniffi(default = None)]
    pub priority: Option<Priority>,
    /// Least trust of its node, 0 to 1.
    #[uniffi(default = 0.0)]
    pub min_trust: f64,
    /// Most it may cost, in base units. Each of its replicas may cost as much.
    #[uniffi(default = None)]
    pub max_cost: Option<u64>,
    /// Highest latency of its node, in milliseconds.
    #[uniffi(default = None)]
    pub max_latency_ms: Option<f64>,
    /// Ids of nodes it must not run on.
    #[uniffi(default = [])]
    pub excluded: Vec<String>,
    /// Disk it needs, in bytes.
    #[uniffi(default = 0)]
    pub disk_bytes: u64,
    /// Whole GPUs it needs.
    #[uniffi(default = 0)]
    pub gpus: u64,
    /// Bandwidth it needs while it runs, in bits per second.
    #[uniffi(default = 0)]
    pub bandwidth_bps: u64,
    /// Size of what it reads, in bytes. Where that is not yet, it is fetched before the job runs.
    #[uniffi(default = 0)]
    pub input_bytes: u64,
    /// Ids of nodes that hold its input already. They need not be among those offered.
    #[uniffi(default = [])]
    pub input_on: Vec<String>,
    /// Highest market price of one replica, in base units.
    #[uniffi(default = None)]
    pub max_price: Option<u64>,
    /// When it must be done and its node have been reached, from now, in milliseconds.
    #[uniffi(default = None)]
    pub deadline_ms: Option<u64>,
    /// Regions it may run in; none stands for any.
    #[uniffi(default = [])]
    pub regions: Vec<String>,
    /// What it is promised; Bronze if that is left out. Nodes that cannot keep the promise are no
    /// choice for it.
    #[uniffi(default = None)]
    pub tier: Option<Tier>,
    /// Ids of jobs that must be on the same node as this one. Saying so of one of two is enough.
    #[uniffi(default = [])]
    pub affinity: Vec<String>,
    /// Ids of jobs that must be on another node than this one. Saying so of one of two is enough.
    #[uniffi(default = [])]
    pub anti_affinity: Vec<String>,
    /// How thinly it is spread together with others.
    #[uniffi(default = None)]
    pub spread: Option<Spread>,
    /// The gang it is part of: all jobs of a gang are placed, or none.
    #[uniffi(default = None)]
    pub gang: Option<String>,
    /// How many nodes run it; left out, as many as its tier has.
    #[uniffi(default = None)]
    pub replicas: Option<u8>,
    /// Whether it may be preempted at once, whatever its tier says.
    #[uniffi(default = false)]
    pub preemptible: bool,
}

fn ids<T>(ids: &[String]) -> Result<Vec<T>, FogError>
where
    T: std::str::FromStr,
    FogError: From<T::Err>,
{
    ids.iter().map(|id| Ok(id.parse()?)).collect()
}

impl TryFrom<Job> for schedule::Job {
    type Error = FogError;

    fn try_from(job: Job) -> Result<Self, FogError> {
        Ok(Self {
            id: job.id.parse()?,
            cpu_millis: job.cpu_millis,
            memory_bytes: job.memory_bytes,
            duration_ms: job.duration_ms,
            priority: job.priority.unwrap_or_default(),
            min_trust: job.min_trust,
            max_cost: job.max_cost,
            max_latency_ms: job.max_latency_ms,
            excluded: ids(&job.excluded)?,
            disk_bytes: job.disk_bytes,
            gpus: job.gpus,
            bandwidth_bps: job.bandwidth_bps,
            input_bytes: job.input_bytes,
            input_on: ids(&job.input_on)?,
            max_price: job.max_price,
            deadline_ms: job.deadline_ms,
            regions: job.regions,
            tier: job.tier.unwrap_or_default(),
            affinity: ids(&job.affinity)?,
            anti_affinity: ids(&job.anti_affinity)?,
            spread: job.spread.map(Into::into),
            gang: job.gang,
            replicas: job.replicas,
            preemptible: job.preemptible,
        })
    }
}

/// A node that takes jobs.
///
/// Region, zone and operator may be empty if they are not known. All nodes of which one is not
/// known count as one domain of it, for nobody can show that they differ.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Node {
    /// Id, 64 hexadecimal digits.
    pub id: String,
    /// Processor that is free, in thousandths of a core.
    pub cpu_millis_free: u64,
    /// Processor there is, in thousandths of a core.
    pub cpu_millis_total: u64,
    /// Memory that is free, in bytes.
    pub memory_bytes_free: u64,
    /// How fast it is: a job takes its duration divided by this. More than 0.
    #[uniffi(default = 1.0)]
    pub speed: f64,
    /// Time to reach it and back, in milliseconds.
    #[uniffi(default = 0.0)]
    pub latency_ms: f64,
    /// How far it is trusted, 0 to 1.
    #[uniffi(default = 0.0)]
    pub trust: f64,
    /// Price of one core for one second, in base units.
    #[uniffi(default = 0)]
    pub price_per_cpu_second: u64,
    /// Disk that is free, in bytes.
    #[uniffi(default = 0)]
    pub disk_bytes_free: u64,
    /// Whole GPUs that are free.
    #[uniffi(default = 0)]
    pub gpus_free: u64,
    /// Bandwidth that is free, in bits per second.
    #[uniffi(default = 0)]
    pub bandwidth_bps_free: u64,
    /// What it asks on the market for one core for one second, in base units; left out, its price.
    #[uniffi(default = None)]
    pub ask_per_cpu_second: Option<u64>,
    /// The part of the world it is in.
    #[uniffi(default = "")]
    pub region: String,
    /// What it shares power and network with.
    #[uniffi(default = "")]
    pub zone: String,
    /// Who runs it.
    #[uniffi(default = "")]
    pub operator: String,
    /// Share of the time for which it is there, 0 to 1, if known.
    #[uniffi(default = None)]
    pub availability: Option<f64>,
    /// Share of its answers that are wrong or missing, 0 to 1, if known.
    #[uniffi(default = None)]
    pub error_rate: Option<f64>,
}

impl TryFrom<Node> for schedule::Node {
    type Error = FogError;

    fn try_from(node: Node) -> Result<Self, FogError> {
        Ok(Self {
            id: node.id.parse()?,
            cpu_millis_free: node.cpu_millis_free,
            cpu_millis_total: node.cpu_millis_total,
            memory_bytes_free: node.memory_bytes_free,
            speed: node.speed,
            latency_ms: node.latency_ms,
            trust: node.trust,
            price_per_cpu_second: node.price_per_cpu_second,
            disk_bytes_free: node.disk_bytes_free,
            gpus_free: node.gpus_free,
            bandwidth_bps_free: node.bandwidth_bps_free,
            ask_per_cpu_second: node.ask_per_cpu_second,
            region: node.region,
            zone: node.zone,
            operator: node.operator,
            availability: node.availability,
            error_rate: node.error_rate,
        })
    }
}

/// How one placement is chosen among those that nothing beats.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Preference {
    /// The one nearest to the best of every objective.
    Knee,
    /// The one with the least weighted sum of objectives.
    Weights {
        /// Five weights: completion time, imbalance, distrust, cost, price.
        weights: Vec<f64>,
    },
    /// The best by the first objective named, of equals the best by the second, and so on.
    Lexicographic {
        /// The objectives 0 to 4, each once.
        order: Vec<u32>,
    },
}

impl TryFrom<Preference> for fogcompute::Preference {
    type Error = FogError;

    fn try_from(preference: Preference) -> Result<Self, FogError> {
        Ok(match preference {
            Preference::Knee => Self::Knee,
            Preference::Weights { weights } => Self::Weights(per_objective(weights)?),
            Preference::Lexicographic { order } => {
                Self::Lexicographic(per_objective(order)?.map(|objective| objective as usize))
            }
        })
    }
}

fn per_objective<T>(values: Vec<T>) -> Result<[T; OBJECTIVE_COUNT], FogError> {
    values.try_into().map_err(|values: Vec<T>| {
        let actual = values.len();
        invalid_argument(format!(
            "preference has {actual} numbers, must have {OBJECTIVE_COUNT}"
        ))
    })
}

/// Where one replica of a job runs.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Assignment {
    /// Id of the task, 32 hexadecimal digits.
    pub task: String,
    /// Id of the node, 64 hexadecimal digits.
    pub node: String,
}

/// One placement of all jobs.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Point {
    /// Where each replica of each job runs, in the order in which jobs were given.
    pub assignment: Vec<Assignment>,
    /// What it is worth: mean completion time in milliseconds, imbalance, distrust, cost, price.
    pub objectives: Vec<f64>,
    /// What it costs, as decimal text of base units.
    pub cost: String,
    /// What it costs on the market, as decimal text of base units.
    pub price: String,
}

/// Placements that no other beats, and the one chosen.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Plan {
    /// All placements found of which none is beaten by another in every objective.
    pub front: Vec<Point>,
    /// Index of the chosen one.
    pub chosen: u32,
    /// What the chosen one gives up in each objective, for people.
    pub explanation: String,
}

impl From<&fogcompute::Plan> for Plan {
    fn from(plan: &fogcompute::Plan) -> Self {
        let assignment = |(task, node): &(fogcompute::TaskId, fogcompute::NodeId)| Assignment {
            task: task.to_string(),
            node: node.to_string(),
        };
        let point = |point: &fogcompute::Point| Point {
            assignment: point.assignment.iter().map(assignment).collect(),
            objectives: point.objectives.to_vec(),
            cost: point.cost.to_string(),
            price: point.price.to_string(),
        };
        Self {
            front: plan.front().iter().map(point).collect(),
            chosen: plan.chosen_index() as u32,
            explanation: plan.explain().to_string(),
        }
    }
}

/// A reason why a node may not take a job.
#[uniffi::remote(Enum)]
pub enum Constraint {
    /// The job excludes the node.
    Excluded,
    /// The node is not trusted enough.
    Trust,
    /// The node is too far away.
    Latency,
    /// The job would cost more than it may, or more than an account can hold.
    Cost,
    /// The job needs more processor than is free.
    Cpu,
    /// The job needs more memory than is free.
    Memory,
    /// The job would run, or fetch its input, for longer than can be counted.
    RunTime,
    /// The job needs more disk than is free.
    Disk,
    /// The job needs more GPUs than are free.
    Gpu,
    /// The job needs more bandwidth than is free, or any at all to fetch its input.
    Bandwidth,
    /// The node is in none of the job's regions.
    Region,
    /// The market price is higher than the job may pay, or more than an account can hold.
    Price,
    /// The job could not be done in time even if it started at once.
    Deadline,
    /// The node is farther away than the job's tier allows.
    TierLatency,
    /// Nodes like this one are not there as often as the job's tier promises, or nobody knows.
    TierAvailability,
    /// The node errs more often than the job's tier allows, or nobody knows.
    TierErrors,
}

/// How many nodes a constraint removes.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Removed {
    /// The constraint.
    pub constraint: Constraint,
    /// How many nodes, at least 1. A node may be removed by several constraints.
    pub nodes: u32,
}

/// What a node lacks for a job.
#[uniffi::remote(Record)]
pub struct Lacks {
    /// Processor, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Disk, in bytes.
    pub disk_bytes: u64,
    /// Whole GPUs.
    pub gpus: u64,
    /// Bandwidth, in bits per second.
    pub bandwidth_bps: u64,
}

/// What can forbid that jobs are placed together.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Rule {
    /// Replicas of a job must be in different domains.
    Replicas {
        /// What is a domain.
        over: Domain,
    },
    /// Jobs must avoid each other.
    AntiAffinity,
    /// A group is spread.
    Spread {
        /// Name of the group.
        group: String,
        /// What is a domain.
        over: Domain,
        /// Most jobs of the group in one domain.
        most: u32,
    },
    /// Nodes have only so much of something.
    Capacity {
        /// What there is too little of.
        of: Constraint,
    },
}

impl From<schedule::Rule> for Rule {
    fn from(rule: schedule::Rule) -> Self {
        match rule {
            schedule::Rule::Replicas(over) => Self::Replicas { over },
            schedule::Rule::AntiAffinity => Self::AntiAffinity,
            schedule::Rule::Spread(schedule::Spread { group, over, most }) => {
                Self::Spread { group, over, most }
            }
            schedule::Rule::Capacity(of) => Self::Capacity { of },
        }
    }
}

/// Why a job was left out.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum LeftOutReason {
    /// No node may take it.
    NoNode {
        /// The constraints that remove nodes.
        removed_by: Vec<Removed>,
        /// Id of the node that fails the fewest constraints.
        nearest: String,
        /// Those constraints.
        nearest_fails: Vec<Constraint>,
    },
    /// No node may take it together with those that must be with it.
    NoCommonNode {
        /// Ids of all of them.
        jobs: Vec<String>,
        /// How many nodes may take each of them alone.
        shared: u32,
    },
    /// Beside the more urgent jobs no node has room for it.
    NoRoom {
        /// Id of the node that lacks least.
        node: String,
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
    /// Another job, which it must be with or which is of its gang, was left out.
    GoesWith {
        /// Id of the other.
        job: String,
    },
}

impl From<schedule::Reason> for LeftOutReason {
    fn from(reason: schedule::Reason) -> Self {
        match reason {
            schedule::Reason::NoNode {
                removed_by,
                nearest,
                nearest_fails,
            } => {
                let removed_by = Constraint::ALL.into_iter().zip(removed_by);
                let removed_by =
                    removed_by.map(|(constraint, nodes)| Removed { constraint, nodes });
                Self::NoNode {
                    removed_by: removed_by.filter(|removed| removed.nodes > 0).collect(),
                    nearest: nearest.to_string(),
                    nearest_fails,
                }
            }
            schedule::Reason::NoCommonNode { jobs, shared } => Self::NoCommonNode {
                jobs: jobs.iter().map(ToString::to_string).collect(),
                shared,
            },
            schedule::Reason::NoRoom { node, lacks } => Self::NoRoom {
                node: node.to_string(),
                lacks,
            },
            schedule::Reason::Crowded { rules } => Self::Crowded {
                rules: rules.into_iter().map(Into::into).collect(),
            },
            schedule::Reason::Late { late_ms } => Self::Late { late_ms },
            schedule::Reason::With(job) => Self::GoesWith {
                job: job.to_string(),
            },
        }
    }
}

/// A job that was left out.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct LeftOut {
    /// Id of the task, 32 hexadecimal digits.
    pub task: String,
    /// Why.
    pub reason: LeftOutReason,
    /// The same for people.
    pub explanation: String,
}

/// A placement of those jobs that fit.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct PartialPlan {
    /// Where they run, if any fits.
    pub plan: Option<Plan>,
    /// The others in the order given.
    pub left_out: Vec<LeftOut>,
}

impl From<fogcompute::PartialPlan> for PartialPlan {
    fn from(partial: fogcompute::PartialPlan) -> Self {
        let left_out = partial.left_out.into_iter().map(|(task, reason)| LeftOut {
            task: task.to_string(),
            explanation: reason.to_string(),
            reason: reason.into(),
        });
        Self {
            plan: partial.plan.as_ref().map(Into::into),
            left_out: left_out.collect(),
        }
    }
}

fn read_all<T, U: TryFrom<T, Error = FogError>>(items: Vec<T>) -> Result<Vec<U>, FogError> {
    items.into_iter().map(TryInto::try_into).collect()
}

/// Places jobs on nodes and chooses one placement. One seed gives one plan.
///
/// Without a strategy, `NsgaIi` searches, as much as `config` says; the others read nothing of
/// that.
///
/// # Errors
/// [`FogError::Infeasible`] if there is no placement, [`FogError::InvalidProblem`] for numbers
/// that make no sense, [`FogError::InvalidArgument`] for ids and preferences that do not.
#[uniffi::export(default(strategy = None))]
pub fn place(
    jobs: Vec<Job>,
    nodes: Vec<Node>,
    sharing: Sharing,
    config: Nsga2,
    preference: Preference,
    seed: u64,
    strategy: Option<Strategy>,
) -> Result<Plan, FogError> {
    guarded(|| {
        let placing = Placing {
            strategy: strategy.unwrap_or(Strategy::NsgaIi),
            ..placing(sharing, config, preference, seed)?
        };
        let plan = placing.place(read_all(jobs)?, read_all(nodes)?)?;
        Ok((&plan).into())
    })
}

/// Places the jobs that fit and says why the others are left out: those that no node may take, then
/// the less urgent, by priority, by tier, then in the order given. A gang is left out whole, and so
/// are jobs that must be together. What is left out is not proven to have no place.
///
/// # Errors
/// [`FogError::InvalidProblem`] for numbers that make no sense, [`FogError::InvalidArgument`] for
/// ids and preferences that do not.
#[uniffi::export]
pub fn place_what_fits(
    jobs: Vec<Job>,
    nodes: Vec<Node>,
    sharing: Sharing,
    config: Nsga2,
    preference: Preference,
    seed: u64,
) -> Result<PartialPlan, FogError> {
    guarded(|| {
        let placing = placing(sharing, config, preference, seed)?;
        let (jobs, nodes): (Vec<_>, Vec<_>) = (read_all(jobs)?, read_all(nodes)?);
        Ok(placing.place_what_fits(&jobs, &nodes)?.into())
    })
}

fn placing(
    sharing: Sharing,
    config: Nsga2,
    preference: Preference,
    seed: u64,
) -> Result<Placing, FogError> {
    Ok(Placing {
        search: config.into(),
        preference: preference.try_into()?,
        seed,
        ..Placing::new(sharing)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: SearchConfig = SearchConfig {
        selection: None,
        population: Some(8),
        generations: Some(4),
        evaluations_max: None,
        stagnation: None,
        crossover_probability: None,
        crossover_eta: None,
        mutation_probability: None,
        mutation_eta: None,
    };

    struct Schaffer(fn(f64) -> Result<Evaluation, ProblemError>);

    impl Problem for Schaffer {
        fn genome(&self) -> Result<Genome, ProblemError> {
            let x = Variable::Real {
                low: -10.0,
                high: 10.0,
            };
            Ok(Genome::Variables { variables: vec![x] })
        }

        fn objective_count(&self) -> Result<u32, ProblemError> {
            Ok(2)
        }

        fn evaluate(&self, genes: Vec<f64>) -> Result<Evaluation, ProblemError> {
            (self.0)(genes[0])
        }
    }

    fn run(evaluate: fn(f64) -> Result<Evaluation, ProblemError>) -> Result<Front, FogError> {
        minimize(Arc::new(Schaffer(evaluate)), SMALL, 1, vec![vec![1.0]])
    }

    #[test]
    fn a_hosts_problem_is_optimised() {
        let front = run(|x| {
            Ok(Evaluation {
                objectives: vec![x * x, (x - 2.0) * (x - 2.0)],
                violation: 0.0,
            })
        })
        .unwrap();
        assert_eq!(front.generations, 4);
        assert!(front.individuals.iter().any(|found| found.violation <= 0.0));
    }

    #[test]
    fn failures_of_a_hosts_problem_have_their_codes() {
        let error = run(|_| {
            Err(ProblemError::Host {
                reason: "no".to_owned(),
            })
        });
        assert!(matches!(error, Err(FogError::HostCallback { message }) if message == "no"));
        let error = run(|_| {
            Ok(Evaluation {
                objectives: vec![1.0],
                violation: 0.0,
            })
        });
        assert!(matches!(error, Err(FogError::InvalidProblem { .. })));
        let error = run(|_| {
            Ok(Evaluation {
                objectives: vec![1.0, f64::NAN],
                violation: 0.0,
            })
        });
        assert!(matches!(error, Err(FogError::NotFinite { .. })));
    }

    #[test]
    fn preferences_need_one_number_for_each_objective() {
        let weights = vec![1.0; 4];
        let error = fogcompute::Preference::try_from(Preference::Weights { weights });
        assert!(matches!(error, Err(FogError::InvalidArgument { .. })));
        let order = vec![4, 3, 2, 1, 0];
        assert_eq!(
            fogcompute::Preference::try_from(Preference::Lexicographic { order }).unwrap(),
            fogcompute::Preference::Lexicographic([4, 3, 2, 1, 0])
        );
    }
}
