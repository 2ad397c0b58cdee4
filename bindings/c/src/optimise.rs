use std::ffi::c_void;

use fogcompute::{Front, Nsga2, Nsga2Failure, Problem, Variable};

use crate::fog_status;
use crate::support::{Failure, free, give, guard, read_or, reference, result, slice};

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

/// Evaluates one genome: puts the objectives, all of them minimised, into `objectives`, and into
/// `violation` by how much the constraints are violated in total. It is 0, which means that all are
/// met, unless it is written. All values must be finite; an objective is not a number until it is
/// written, so that one that is forgotten stops the run with FOG_STATUS_NOT_FINITE.
///
/// Called on the thread that called fog_nsga2().
/// @return 0 to go on, anything else to stop with FOG_STATUS_HOST_CALLBACK
pub type fog_evaluate = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        genes: *const f64,
        gene_count: usize,
        objectives: *mut f64,
        objective_count: usize,
        violation: *mut f64,
    ) -> i32,
>;

/// What to optimise.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_problem {
    /// The variables, one for each gene.
    pub variables: *const fog_variable,
    /// How many there are, at least 1.
    pub variable_count: usize,
    /// How many objectives an evaluation fills in, at least 1.
    pub objective_count: usize,
    /// Evaluates one genome.
    pub evaluate: fog_evaluate,
    /// Passed to `evaluate` as it is. May be NULL.
    pub user_data: *mut c_void,
}

/// Parameters of NSGA-II. Fill it with fog_nsga2_config_default() and change what should differ.
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
struct CProblem {
    variables: Vec<Variable>,
    problem: fog_problem,
}

impl Problem for CProblem {
    /// What the callback returned.
    type Error = i32;

    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn objective_count(&self) -> usize {
        self.problem.objective_count
    }

    fn evaluate(&mut self, genes: &[f64], objectives: &mut [f64]) -> Result<f64, i32> {
        let evaluate = self.problem.evaluate.expect("checked before the run");
        let mut violation = 0.0;
        // SAFETY: the caller of `fog_nsga2` promises that its function writes no more than the
        // objectives it is given, and the violation.
        let answer = unsafe {
            evaluate(
                self.problem.user_data,
                genes.as_ptr(),
                genes.len(),
                objectives.as_mut_ptr(),
                objectives.len(),
                &raw mut violation,
            )
        };
        if answer == 0 {
            Ok(violation)
        } else {
            Err(answer)
        }
    }
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

/// Puts the usual parameters of NSGA-II into a struct.
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

/// Minimises a problem with NSGA-II. One seed gives one front, on every platform.
///
/// Thread safety: any thread; the callback runs on it before the call returns.
/// @param problem       what to optimise
/// @param config        the parameters, or NULL for the usual
/// @param initial       genomes to start from, one after another, each of variable_count genes; the
///                      rest of the first population is random
/// @param initial_count how many genomes
/// @param seed          where randomness starts
/// @param out           receives the front; free it with fog_front_free()
/// @return FOG_STATUS_INVALID_PROBLEM, FOG_STATUS_NOT_FINITE, FOG_STATUS_HOST_CALLBACK
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_nsga2(
    problem: *const fog_problem,
    config: *const fog_nsga2_config,
    initial: *const f64,
    initial_count: usize,
    seed: u64,
    out: *mut *mut fog_front,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a problem with as many variables as it says, NULL or
        // parameters, as many genes as it says, and room for a handle.
        let (problem, variables, config, initial, out) = unsafe {
            let problem = reference(problem, "problem")?;
            let genes = initial_count.saturating_mul(problem.variable_count);
            (
                *problem,
                slice(problem.variables, problem.variable_count, "variables")?,
                read_config(config),
                slice(initial, genes, "initial")?,
                result(out, "out")?,
            )
        };
        if problem.evaluate.is_none() {
            return Err(Failure::argument("evaluate is NULL"));
        }
        let initial: Vec<Vec<f64>> = initial
            .chunks(problem.variable_count.max(1))
            .map(<[f64]>::to_vec)
            .collect();
        let variables = variables
            .iter()
            .map(read_variable)
            .collect::<Result<_, _>>()?;
        let mut problem = CProblem { variables, problem };
        match fogcompute::nsga2(&mut problem, &config, &initial, seed) {
            Ok(front) => {
                give(out, fog_front(front));
                Ok(())
            }
            Err(Nsga2Failure::Problem(answer)) => Err(Failure {
                status: fog_status::HostCallback,
                message: format!("evaluate returned {answer}"),
            }),
            Err(Nsga2Failure::Failed(error)) => Err(error.into()),
            Err(other) => Err(Failure {
                status: fog_status::InvalidProblem,
                message: other.to_string(),
            }),
        }
    })
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
