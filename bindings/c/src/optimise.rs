use std::ffi::c_void;

use fogcompute::schedule::SortError;
use fogcompute::{
    BatchProblem, Ended, Front, Genome, Nsga2, Rates, Search, SearchConfig, SearchFailure,
    Selection, Settings, Stagnation, Variable, indicators,
};

use crate::fog_status;
use crate::support::{
    Failure, check_room, fill, fill_items, free, give, guard, read_or, reference, result, slice,
};

/// What a gene may be.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_variable_kind {
    /// A real number from low to high, both inclusive.
    Real = 0,
    /// A whole number from integer_low to integer_high, both inclusive, where near values act alike.
    Integer = 1,
    /// One of count things without an order, as its index from 0.
    Choice = 2,
}

/// One variable of a problem. Genes are doubles; integers and choices are whole numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_variable {
    /// A fog_variable_kind. It says which of the others are read.
    pub kind: i32,
    /// Smallest value of a real variable.
    pub low: f64,
    /// Largest value of a real variable.
    pub high: f64,
    /// Smallest value of an integer variable, from -2^53.
    pub integer_low: i64,
    /// Largest value of an integer variable, up to 2^53.
    pub integer_high: i64,
    /// How many things a choice has.
    pub count: u32,
}

/// Evaluates a whole generation. `genes` has `count` rows of `gene_count` genes. The callback puts
/// the objectives, all of them minimised, into the `count` rows of `objectives`, and into
/// `violations` by how much the constraints of each are violated in total. That is 0, which means
/// that all are met, unless it is written. All values must be finite; an objective is not a number
/// until it is written, so that one that is forgotten stops the run with FOG_STATUS_NOT_FINITE.
///
/// Called on the thread that called fog_minimize(), fog_search_start() or fog_search_step().
/// @return 0 to go on, anything else to stop with FOG_STATUS_HOST_CALLBACK
pub type fog_evaluate = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        genes: *const f64,
        count: usize,
        gene_count: usize,
        objectives: *mut f64,
        objective_count: usize,
        violations: *mut f64,
    ) -> i32,
>;

/// What to optimise.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_problem {
    /// The variables, one for each gene. Not read for a permutation.
    pub variables: *const fog_variable,
    /// How many there are, at least 1; of a permutation, how many things it orders.
    pub variable_count: usize,
    /// Whether the genes put things into an order, each being the index of one.
    pub is_permutation: bool,
    /// How many objectives an evaluation fills in, at least 1.
    pub objective_count: usize,
    /// Evaluates a generation.
    pub evaluate: fog_evaluate,
    /// Passed to `evaluate` as it is. May be NULL.
    pub user_data: *mut c_void,
}

/// Who survives of a generation.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_selection {
    /// Those whose neighbours are far: NSGA-II, good for two objectives.
    Crowding = 0,
    /// Those that are near to directions with few others: NSGA-III, for three objectives or more.
    Directions = 1,
    /// Those that add hypervolume: SMS-EMOA with whole generations, for up to five objectives and
    /// evaluations that take longer than it does.
    Hypervolume = 2,
}

/// How a search goes. Fill it with fog_search_config_default() and change what should differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_search_config {
    /// A fog_selection.
    pub selection: i32,
    /// The directions, one after another, each of as many components as there are objectives; see
    /// fog_reference_directions(). Read for FOG_SELECTION_DIRECTIONS only.
    pub directions: *const f64,
    /// How many directions there are; about as many as individuals.
    pub direction_count: usize,
    /// Individuals kept from one generation to the next: even, 4 to 65536.
    pub population: u32,
    /// How many times the population has children.
    pub generations: u32,
    /// Whether evaluations_max is read.
    pub has_evaluations_max: bool,
    /// No generation begins that would go beyond so many evaluations.
    pub evaluations_max: u64,
    /// Whether a search that finds no more ends early.
    pub has_stagnation: bool,
    /// It ends after so many generations without progress, at least 1.
    pub stagnation_generations: u32,
    /// Progress is a hypervolume that has grown by this share.
    pub stagnation_tolerance: f64,
    /// Probability that a pair of parents is recombined, 0 to 1.
    pub crossover_probability: f64,
    /// Distribution index of simulated binary crossover: larger keeps children nearer to parents.
    pub crossover_eta: f64,
    /// Whether mutation_probability is read. Without, a child has one change on average.
    pub has_mutation_probability: bool,
    /// Probability that a gene mutates, 0 to 1; of a permutation, that a child does.
    pub mutation_probability: f64,
    /// Distribution index of polynomial mutation: larger makes smaller steps.
    pub mutation_eta: f64,
}

/// Whether a search has ended, and why.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_ended {
    /// It has not.
    NotYet = 0,
    /// All generations are made.
    Generations = 1,
    /// Another generation would take more evaluations than allowed.
    Evaluations = 2,
    /// The hypervolume has not grown for as long as was to be waited.
    Stagnation = 3,
}

/// The population of a search. Its arrays are valid until the search goes on or is freed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_population {
    /// Individuals.
    pub size: usize,
    /// Their genes, row by row.
    pub genes: *const f64,
    /// Genes of each.
    pub gene_count: usize,
    /// Their objectives, row by row.
    pub objectives: *const f64,
    /// Objectives of each.
    pub objective_count: usize,
    /// By how much each violates constraints in total.
    pub violations: *const f64,
    /// Generations made; 0 is the first population.
    pub generation: u32,
    /// Evaluations made.
    pub evaluations: u64,
}

/// A population that evolves.
pub struct fog_search(Search);

/// Parameters of a placement by NSGA-II. Fill it with fog_nsga2_config_default() and change what should differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_nsga2_config {
    /// Individuals kept from one generation to the next: even, 4 to 65536.
    pub population: u32,
    /// How many times the population has children.
    pub generations: u32,
    /// Probability that a pair of parents is recombined, 0 to 1.
    pub crossover_probability: f64,
    /// Distribution index of simulated binary crossover: larger keeps children nearer to parents.
    pub crossover_eta: f64,
    /// Whether mutation_probability is read. Without, one gene in each child mutates on average.
    pub has_mutation_probability: bool,
    /// Probability that a gene mutates, 0 to 1.
    pub mutation_probability: f64,
    /// Distribution index of polynomial mutation: larger makes smaller steps.
    pub mutation_eta: f64,
}

impl From<Nsga2> for fog_nsga2_config {
    fn from(config: Nsga2) -> Self {
        Self {
            population: config.population,
            generations: config.generations,
            crossover_probability: config.crossover_probability,
            crossover_eta: config.crossover_eta,
            has_mutation_probability: config.mutation_probability.is_some(),
            mutation_probability: config.mutation_probability.unwrap_or_default(),
            mutation_eta: config.mutation_eta,
        }
    }
}

impl From<&fog_nsga2_config> for Nsga2 {
    fn from(config: &fog_nsga2_config) -> Self {
        Self {
            population: config.population,
            generations: config.generations,
            crossover_probability: config.crossover_probability,
            crossover_eta: config.crossover_eta,
            mutation_probability: config
                .has_mutation_probability
                .then_some(config.mutation_probability),
            mutation_eta: config.mutation_eta,
        }
    }
}

/// The parameters the caller gave, or the usual.
///
/// # Safety
/// The pointer is NULL or points to parameters.
pub(crate) unsafe fn read_config(config: *const fog_nsga2_config) -> Nsga2 {
    // SAFETY: as the caller promises.
    unsafe { config.as_ref() }.map_or_else(Nsga2::default, Nsga2::from)
}

/// A solution and what it is worth. Its arrays belong to the front.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_individual {
    /// One value for each variable.
    pub genes: *const f64,
    /// How many.
    pub gene_count: usize,
    /// What was evaluated, smaller being better.
    pub objectives: *const f64,
    /// How many.
    pub objective_count: usize,
    /// By how much constraints are violated; 0 when all are met.
    pub violation: f64,
}

/// The solutions that no other dominates, in lexicographic order of their objectives.
pub struct fog_front(Front);

/// A problem whose evaluation is a function of C.
struct CProblem(fog_problem);

impl BatchProblem for CProblem {
    /// What the callback returned.
    type Error = i32;

    fn objective_count(&self) -> usize {
        self.0.objective_count
    }

    fn evaluate(
        &mut self,
        genes: &[f64],
        objectives: &mut [f64],
        violations: &mut [f64],
    ) -> Result<(), i32> {
        let evaluate = self.0.evaluate.expect("checked before the run");
        violations.fill(0.0);
        let count = violations.len();
        // SAFETY: the caller of the run promises that its function writes no more than the rows it
        // is given.
        let answer = unsafe {
            evaluate(
                self.0.user_data,
                genes.as_ptr(),
                count,
                genes.len() / count.max(1),
                objectives.as_mut_ptr(),
                self.0.objective_count,
                violations.as_mut_ptr(),
            )
        };
        if answer == 0 { Ok(()) } else { Err(answer) }
    }
}

fn failed(failure: SearchFailure<i32>) -> Failure {
    match failure {
        SearchFailure::Problem(answer) => Failure {
            status: fog_status::HostCallback,
            message: format!("evaluate returned {answer}"),
        },
        SearchFailure::Failed(error) => error.into(),
        other => Failure {
            status: fog_status::InvalidProblem,
            message: other.to_string(),
        },
    }
}

/// The problem and its genomes.
///
/// # Safety
/// The pointer is NULL or points to a problem with as many variables as it says.
unsafe fn read_problem(problem: *const fog_problem) -> Result<(CProblem, Genome), Failure> {
    // SAFETY: as the caller promises.
    let problem = *unsafe { reference(problem, "problem") }?;
    if problem.evaluate.is_none() {
        return Err(Failure::argument("evaluate is NULL"));
    }
    let count = problem.variable_count;
    let genome = if problem.is_permutation {
        let length = u32::try_from(count)
            .map_err(|_| Failure::argument(format!("variable_count is {count}")))?;
        Genome::Permutation { length }
    } else {
        // SAFETY: as the caller promises.
        let variables = unsafe { slice(problem.variables, count, "variables") }?;
        Genome::Variables(
            variables
                .iter()
                .map(read_variable)
                .collect::<Result<_, _>>()?,
        )
    };
    Ok((CProblem(problem), genome))
}

/// The genomes to start from.
///
/// # Safety
/// The pointer points to `count` genomes of the problem, or `count` is 0.
unsafe fn read_initial(
    problem: &CProblem,
    initial: *const f64,
    count: usize,
) -> Result<Vec<Vec<f64>>, Failure> {
    let length = problem.0.variable_count;
    // SAFETY: as the caller promises.
    let genes = unsafe { slice(initial, count.saturating_mul(length), "initial") }?;
    Ok(genes.chunks(length.max(1)).map(<[f64]>::to_vec).collect())
}

/// How the search goes: as the caller says, or as usual.
///
/// # Safety
/// The pointer is NULL or points to a configuration with as many directions as it says, of
/// `objective_count` components.
unsafe fn read_search_config(
    config: *const fog_search_config,
    objective_count: usize,
) -> Result<SearchConfig, Failure> {
    const CROWDING: i32 = fog_selection::Crowding as i32;
    const DIRECTIONS: i32 = fog_selection::Directions as i32;
    const HYPERVOLUME: i32 = fog_selection::Hypervolume as i32;
    // SAFETY: as the caller promises.
    let Some(config) = (unsafe { config.as_ref() }) else {
        return Ok(SearchConfig::default());
    };
    let selection = match config.selection {
        CROWDING => Selection::Crowding,
        DIRECTIONS => {
            let count = config.direction_count.saturating_mul(objective_count);
            // SAFETY: as the caller promises.
            let components = unsafe { slice(config.directions, count, "directions") }?;
            let directions = components.chunks(objective_count.max(1));
            Selection::Directions(directions.map(<[f64]>::to_vec).collect())
        }
        HYPERVOLUME => Selection::Hypervolume,
        other => return Err(Failure::argument(format!("{other} is no fog_selection"))),
    };
    Ok(SearchConfig {
        settings: Settings {
            population: config.population,
            generations: config.generations,
            evaluations_max: config.has_evaluations_max.then_some(config.evaluations_max),
            stagnation: config.has_stagnation.then_some(Stagnation {
                generations: config.stagnation_generations,
                tolerance: config.stagnation_tolerance,
            }),
            selection,
        },
        rates: Rates {
            crossover_probability: config.crossover_probability,
            crossover_eta: config.crossover_eta,
            mutation_probability: config
                .has_mutation_probability
                .then_some(config.mutation_probability),
            mutation_eta: config.mutation_eta,
        },
    })
}

fn read_variable(variable: &fog_variable) -> Result<Variable, Failure> {
    const REAL: i32 = fog_variable_kind::Real as i32;
    const INTEGER: i32 = fog_variable_kind::Integer as i32;
    const CHOICE: i32 = fog_variable_kind::Choice as i32;
    Ok(match variable.kind {
        REAL => Variable::Real {
            low: variable.low,
            high: variable.high,
        },
        INTEGER => Variable::Integer {
            low: variable.integer_low,
            high: variable.integer_high,
        },
        CHOICE => Variable::Choice {
            count: variable.count,
        },
        other => {
            return Err(Failure::argument(format!(
                "{other} is no fog_variable_kind"
            )));
        }
    })
}

/// Puts the usual parameters of a placement by NSGA-II into a struct.
///
/// Thread safety: any thread.
/// @param out receives the parameters
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_nsga2_config_default(out: *mut fog_nsga2_config) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(Nsga2::default().into());
        Ok(())
    })
}

/// Puts the usual configuration of a search into a struct: NSGA-II with 100 individuals and 250
/// generations.
///
/// Thread safety: any thread.
/// @param out receives the configuration
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_search_config_default(out: *mut fog_search_config) -> fog_status {
    guard(|| {
        let (settings, rates) = (Settings::default(), Rates::default());
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_search_config {
            selection: fog_selection::Crowding as i32,
            directions: std::ptr::null(),
            direction_count: 0,
            population: settings.population,
            generations: settings.generations,
            has_evaluations_max: settings.evaluations_max.is_some(),
            evaluations_max: settings.evaluations_max.unwrap_or_default(),
            has_stagnation: settings.stagnation.is_some(),
            stagnation_generations: 0,
            stagnation_tolerance: 0.0,
            crossover_probability: rates.crossover_probability,
            crossover_eta: rates.crossover_eta,
            has_mutation_probability: rates.mutation_probability.is_some(),
            mutation_probability: rates.mutation_probability.unwrap_or_default(),
            mutation_eta: rates.mutation_eta,
        });
        Ok(())
    })
}

/// Minimises the objectives of a problem. One seed gives one front, on every platform.
/// fog_search_start() is for those who want to look at each generation, end early or go on later.
///
/// Thread safety: any thread; the callback runs on it before the call returns.
/// @param problem       what to optimise
/// @param config        how, or NULL for the usual
/// @param initial       genomes to start from, one after another, each of variable_count genes; the
///                      rest of the first population is random
/// @param initial_count how many genomes
/// @param seed          where randomness starts
/// @param out           receives the front; free it with fog_front_free()
/// @return FOG_STATUS_INVALID_PROBLEM, FOG_STATUS_NOT_FINITE, FOG_STATUS_HOST_CALLBACK
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_minimize(
    problem: *const fog_problem,
    config: *const fog_search_config,
    initial: *const f64,
    initial_count: usize,
    seed: u64,
    out: *mut *mut fog_front,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a problem with as many variables as it says, NULL or a
        // configuration, as many genes as it says, and room for a handle.
        let (mut problem, genome, config, initial, out) = unsafe {
            let (problem, genome) = read_problem(problem)?;
            let config = read_search_config(config, problem.0.objective_count)?;
            let initial = read_initial(&problem, initial, initial_count)?;
            (problem, genome, config, initial, result(out, "out")?)
        };
        let front = fogcompute::minimize(&mut problem, &genome, &config, &initial, seed);
        give(out, fog_front(front.map_err(failed)?));
        Ok(())
    })
}

/// Makes and evaluates the first population of a search.
///
/// Thread safety: any thread; the callback runs on it before the call returns.
/// @param problem       what to optimise
/// @param config        how, or NULL for the usual
/// @param initial       genomes to start from, as of fog_minimize()
/// @param initial_count how many genomes
/// @param seed          where randomness starts
/// @param out           receives the search; free it with fog_search_free()
/// @return FOG_STATUS_INVALID_PROBLEM, FOG_STATUS_NOT_FINITE, FOG_STATUS_HOST_CALLBACK
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_search_start(
    problem: *const fog_problem,
    config: *const fog_search_config,
    initial: *const f64,
    initial_count: usize,
    seed: u64,
    out: *mut *mut fog_search,
) -> fog_status {
    guard(|| {
        // SAFETY: as of fog_minimize().
        let (mut problem, genome, config, initial, out) = unsafe {
            let (problem, genome) = read_problem(problem)?;
            let config = read_search_config(config, problem.0.objective_count)?;
            let initial = read_initial(&problem, initial, initial_count)?;
            (problem, genome, config, initial, result(out, "out")?)
        };
        let search = Search::start(&mut problem, &genome, &config, &initial, seed);
        give(out, fog_search(search.map_err(failed)?));
        Ok(())
    })
}

/// Goes on with a search that fog_search_save() saved, as if nothing had happened. The problem and
/// the configuration must be the same; only for how long the search goes may differ.
///
/// Thread safety: any thread.
/// @param problem   what to optimise
/// @param config    how, or NULL for the usual
/// @param state     what was saved
/// @param state_len bytes of it
/// @param out       receives the search; free it with fog_search_free()
/// @return FOG_STATUS_INVALID_PROBLEM if the state is damaged or belongs to another search
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_search_resume(
    problem: *const fog_problem,
    config: *const fog_search_config,
    state: *const u8,
    state_len: usize,
    out: *mut *mut fog_search,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a problem and a configuration as of fog_minimize(), as many
        // bytes as it says, and room for a handle.
        let (problem, genome, config, state, out) = unsafe {
            let (problem, genome) = read_problem(problem)?;
            let config = read_search_config(config, problem.0.objective_count)?;
            let state = slice(state, state_len, "state")?;
            (problem, genome, config, state, result(out, "out")?)
        };
        let search = Search::resume(&problem, &genome, &config, state);
        give(out, fog_search(search.map_err(failed)?));
        Ok(())
    })
}

/// Makes one generation, even beyond what the configuration allows: ask fog_search_ended() before.
/// When it fails, the population is the one before.
///
/// Thread safety: any thread; the callback runs on it before the call returns.
/// @param search  the search
/// @param problem what to optimise: the problem the search was made with
/// @return FOG_STATUS_NOT_FINITE, FOG_STATUS_HOST_CALLBACK; FOG_STATUS_INVALID_ARGUMENT if the
///         problem has other numbers of variables or objectives
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_search_step(
    search: *mut fog_search,
    problem: *const fog_problem,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle that nothing else uses now, and a problem as of
        // fog_minimize().
        let (search, (mut problem, _)) = unsafe {
            let search = search.as_mut();
            let search = search.ok_or_else(|| Failure::argument("search is NULL"))?;
            (search, read_problem(problem)?)
        };
        let shape = [problem.0.variable_count, problem.0.objective_count];
        if shape != shape_of(&search.0) {
            return Err(Failure::argument("the search is of another problem"));
        }
        search.0.step(&mut problem).map_err(failed)
    })
}

/// Whether the configuration ends a search here.
///
/// Thread safety: any thread, at the same time as other calls that read the search.
/// @param search the search
/// @return FOG_ENDED_NOT_YET if not, or if `search` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_search_ended(search: *const fog_search) -> fog_ended {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe {
        read_or(search, fog_ended::NotYet, |search| match search.0.ended() {
            None => fog_ended::NotYet,
            Some(Ended::Evaluations) => fog_ended::Evaluations,
            Some(Ended::Stagnation) => fog_ended::Stagnation,
            Some(_) => fog_ended::Generations,
        })
    }
}

/// Genes and objectives of each individual.
fn shape_of(search: &Search) -> [usize; 2] {
    let size = search.violations().len().max(1);
    [
        search.genes().len() / size,
        search.objectives().len() / size,
    ]
}

/// The population of a search.
///
/// Thread safety: any thread, at the same time as other calls that read the search.
/// @param search the search
/// @param out    receives the population
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_search_population(
    search: *const fog_search,
    out: *mut fog_population,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (search, out) = unsafe { (reference(search, "search")?, result(out, "out")?) };
        let [gene_count, objective_count] = shape_of(&search.0);
        out.write(fog_population {
            size: search.0.violations().len(),
            genes: search.0.genes().as_ptr(),
            gene_count,
            objectives: search.0.objectives().as_ptr(),
            objective_count,
            violations: search.0.violations().as_ptr(),
            generation: search.0.generation(),
            evaluations: search.0.evaluations(),
        });
        Ok(())
    })
}

/// The solutions of a search's population that no other dominates.
///
/// Thread safety: any thread, at the same time as other calls that read the search.
/// @param search the search
/// @param out    receives the front; free it with fog_front_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_search_front(
    search: *const fog_search,
    out: *mut *mut fog_front,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a handle.
        let (search, out) = unsafe { (reference(search, "search")?, result(out, "out")?) };
        give(out, fog_front(search.0.front()));
        Ok(())
    })
}

/// Writes a search into a buffer, for fog_search_resume(). It holds nothing of the problem.
///
/// Thread safety: any thread, at the same time as other calls that read the search.
/// @param search   the search
/// @param out      receives the bytes
/// @param capacity room in `out`; with 0, the call only tells the length
/// @param out_len  receives the number of bytes, written or needed
/// @return FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_search_save(
    search: *const fog_search,
    out: *mut u8,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, room for `capacity` bytes and for their number.
        unsafe {
            let search = reference(search, "search")?;
            fill(&search.0.save(), out, capacity, result(out_len, "out_len")?)
        }
    })
}

/// Frees a search.
///
/// Thread safety: no other call may use it.
/// @param search the search, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_search_free(search: *mut fog_search) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(search) }
}

/// How many solutions a front has.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param front the front
/// @return 0 if `front` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_front_size(front: *const fog_front) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(front, 0, |front| front.0.individuals.len()) }
}

/// How many evaluations were made to find a front.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param front the front
/// @return 0 if `front` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_front_evaluations(front: *const fog_front) -> u64 {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(front, 0, |front| front.0.evaluations) }
}

/// How many generations were made to find a front.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param front the front
/// @return 0 if `front` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_front_generations(front: *const fog_front) -> u32 {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(front, 0, |front| front.0.generations) }
}

/// One solution of a front.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param front the front
/// @param index which solution, below fog_front_size()
/// @param out   receives the solution, whose arrays are valid until the front is freed
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such solution
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_front_individual(
    front: *const fog_front,
    index: usize,
    out: *mut fog_individual,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (front, out) = unsafe { (reference(front, "front")?, result(out, "out")?) };
        let individual = front.0.individuals.get(index).ok_or_else(|| {
            let size = front.0.individuals.len();
            Failure::argument(format!("index {index} is outside a front of {size}"))
        })?;
        out.write(fog_individual {
            genes: individual.genes.as_ptr(),
            gene_count: individual.genes.len(),
            objectives: individual.objectives.as_ptr(),
            objective_count: individual.objectives.len(),
            violation: individual.violation,
        });
        Ok(())
    })
}

/// Frees a front, and with it the arrays of its solutions.
///
/// Thread safety: no other call may use it.
/// @param front the front, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_front_free(front: *mut fog_front) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(front) }
}

/// Points of as many objectives as the caller says.
///
/// # Safety
/// The pointer points to `count` points of `objective_count` values, or there are none.
unsafe fn read_points<'a>(
    points: *const f64,
    count: usize,
    objective_count: usize,
    name: &str,
) -> Result<&'a [f64], Failure> {
    if objective_count == 0 {
        return Err(SortError::NoObjectives.into());
    }
    // SAFETY: as the caller promises.
    unsafe { slice(points, count.saturating_mul(objective_count), name) }
}

/// The rank of each point: 0 where no other dominates it, 1 where only points of rank 0 do, and so
/// on. All objectives are minimised; infinities are allowed.
///
/// Thread safety: any thread.
/// @param points          the points, one after another
/// @param count           how many
/// @param objective_count objectives of each, at least 1
/// @param ranks           receives `count` ranks
/// @return FOG_STATUS_INVALID_ARGUMENT if a value is not a number
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_non_dominated_sort(
    points: *const f64,
    count: usize,
    objective_count: usize,
    ranks: *mut u32,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many values as it says.
        let points = unsafe { read_points(points, count, objective_count, "points") }?;
        let sorted = fogcompute::non_dominated_sort(points, objective_count)?;
        // SAFETY: the caller gives room for a rank of each point.
        unsafe { fill_items(&sorted, ranks, "ranks") }
    })
}

/// The volume that points dominate up to a reference point, exactly, for up to 5 objectives. Points
/// that are not better than it in every objective add nothing.
///
/// Thread safety: any thread.
/// @param points          the points, one after another
/// @param count           how many
/// @param objective_count objectives of each
/// @param reference_point `objective_count` values
/// @param out             receives the volume
/// @return FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_hypervolume(
    points: *const f64,
    count: usize,
    objective_count: usize,
    reference_point: *const f64,
    out: *mut f64,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many values as it says, and room for one.
        let (points, reference_point, out) = unsafe {
            (
                read_points(points, count, objective_count, "points")?,
                slice(reference_point, objective_count, "reference_point")?,
                result(out, "out")?,
            )
        };
        out.write(indicators::hypervolume(points, reference_point)?);
        Ok(())
    })
}

/// The mean distance from the points of a known front to the nearest of `points`: less is better.
///
/// Thread safety: any thread.
/// @param points          the points, one after another
/// @param count           how many, at least 1
/// @param known           the points of the known front, one after another
/// @param known_count     how many, at least 1
/// @param objective_count objectives of each
/// @param out             receives the distance
/// @return FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_igd(
    points: *const f64,
    count: usize,
    known: *const f64,
    known_count: usize,
    objective_count: usize,
    out: *mut f64,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many values as it says, and room for one.
        let (points, known, out) = unsafe {
            (
                read_points(points, count, objective_count, "points")?,
                read_points(known, known_count, objective_count, "known")?,
                result(out, "out")?,
            )
        };
        out.write(indicators::igd(points, known, objective_count)?);
        Ok(())
    })
}

/// As fog_igd(), where only that counts by which points are worse than known ones (IGD+).
///
/// Thread safety: any thread.
/// @param points          the points, one after another
/// @param count           how many, at least 1
/// @param known           the points of the known front, one after another
/// @param known_count     how many, at least 1
/// @param objective_count objectives of each
/// @param out             receives the distance
/// @return FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_igd_plus(
    points: *const f64,
    count: usize,
    known: *const f64,
    known_count: usize,
    objective_count: usize,
    out: *mut f64,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many values as it says, and room for one.
        let (points, known, out) = unsafe {
            (
                read_points(points, count, objective_count, "points")?,
                read_points(known, known_count, objective_count, "known")?,
                result(out, "out")?,
            )
        };
        out.write(indicators::igd_plus(points, known, objective_count)?);
        Ok(())
    })
}

/// The standard deviation of the distances between neighbours (Schott): 0 when all are alike.
///
/// Thread safety: any thread.
/// @param points          the points, one after another
/// @param count           how many, at least 2
/// @param objective_count objectives of each
/// @param out             receives the deviation
/// @return FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_spacing(
    points: *const f64,
    count: usize,
    objective_count: usize,
    out: *mut f64,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many values as it says, and room for one.
        let (points, out) = unsafe {
            (
                read_points(points, count, objective_count, "points")?,
                result(out, "out")?,
            )
        };
        out.write(indicators::spacing(points, objective_count)?);
        Ok(())
    })
}

/// How unevenly points are spread between the ends of the known front: 0 when the ends are reached
/// and distances between neighbours are equal.
///
/// Thread safety: any thread.
/// @param points          the points, one after another
/// @param count           how many, at least 2
/// @param ends            the ends, one after another
/// @param end_count       how many, at least 1
/// @param objective_count objectives of each
/// @param out             receives the spread
/// @return FOG_STATUS_INVALID_ARGUMENT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_spread(
    points: *const f64,
    count: usize,
    ends: *const f64,
    end_count: usize,
    objective_count: usize,
    out: *mut f64,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes as many values as it says, and room for one.
        let (points, ends, out) = unsafe {
            (
                read_points(points, count, objective_count, "points")?,
                read_points(ends, end_count, objective_count, "ends")?,
                result(out, "out")?,
            )
        };
        out.write(indicators::spread(points, ends, objective_count)?);
        Ok(())
    })
}

/// Directions for NSGA-III, evenly spread over the simplex (Das and Dennis): 91 for 3 objectives and
/// 12 divisions.
///
/// Thread safety: any thread.
/// @param objective_count components of each direction
/// @param divisions       parts that each axis is divided into
/// @param out             receives the directions, one after another
/// @param capacity        directions there is room for; with 0, the call only tells how many
/// @param out_count       receives the number of directions, written or needed
/// @return FOG_STATUS_INVALID_ARGUMENT beyond 65536, FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_reference_directions(
    objective_count: usize,
    divisions: u32,
    out: *mut f64,
    capacity: usize,
    out_count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for the number.
        let out_count = unsafe { result(out_count, "out_count") }?;
        let directions = fogcompute::das_dennis(objective_count, divisions)?;
        check_room(directions.len(), capacity, out_count)?;
        // SAFETY: the caller gives room for as many, which was checked.
        unsafe { fill_items(&directions.concat(), out, "out") }?;
        out_count.write(directions.len());
        Ok(())
    })
}
