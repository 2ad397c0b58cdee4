//! NSGA-II.

use fogcompute::Nsga2Failure;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::convert::{Number, Tuple};
use crate::error;
use crate::value::value;

/// A real number from `low` to `high`, both inclusive.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Real {
    /// Smallest value.
    low: f64,
    /// Largest value.
    high: f64,
}

value! {
    Real { low, high }

    #[new]
    fn new(low: Number<f64>, high: Number<f64>) -> Self {
        Self { low: low.0, high: high.0 }
    }
}

/// A whole number from `low` to `high`, both inclusive, where near values act alike.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Integer {
    /// Smallest value.
    low: i64,
    /// Largest value.
    high: i64,
}

value! {
    Integer { low, high }

    #[new]
    fn new(low: Number<i64>, high: Number<i64>) -> Self {
        Self { low: low.0, high: high.0 }
    }
}

/// One of `count` things without an order, as its index from 0.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Choice {
    /// How many there are.
    count: u32,
}

value! {
    Choice { count }

    #[new]
    fn new(count: Number<u32>) -> Self {
        Self { count: count.0 }
    }
}

#[derive(FromPyObject)]
enum Variable {
    Real(Real),
    Integer(Integer),
    Choice(Choice),
}

impl From<Variable> for fogcompute::Variable {
    fn from(variable: Variable) -> Self {
        match variable {
            Variable::Real(Real { low, high }) => Self::Real { low, high },
            Variable::Integer(Integer { low, high }) => Self::Integer { low, high },
            Variable::Choice(Choice { count }) => Self::Choice { count },
        }
    }
}

/// Parameters of NSGA-II.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Nsga2 {
    /// Individuals kept from one generation to the next: even, 4 to 65,536.
    population: u32,
    /// How many times the population has children.
    generations: u32,
    /// Probability that a pair of parents is recombined.
    crossover_probability: f64,
    /// Distribution index of simulated binary crossover.
    crossover_eta: f64,
    /// Probability that a gene mutates; `None` is one gene in each child on average.
    mutation_probability: Option<f64>,
    /// Distribution index of polynomial mutation.
    mutation_eta: f64,
}

value! {
    Nsga2 {
        population,
        generations,
        crossover_probability,
        crossover_eta,
        mutation_probability,
        mutation_eta,
    }

    #[new]
    #[pyo3(
        signature = (
            population = Number(fogcompute::Nsga2::default().population),
            generations = Number(fogcompute::Nsga2::default().generations),
            *,
            crossover_probability = Number(fogcompute::Nsga2::default().crossover_probability),
            crossover_eta = Number(fogcompute::Nsga2::default().crossover_eta),
            mutation_probability = None,
            mutation_eta = Number(fogcompute::Nsga2::default().mutation_eta),
        ),
        text_signature = "(population=100, generations=250, *, crossover_probability=0.9, \
                          crossover_eta=15.0, mutation_probability=None, mutation_eta=20.0)"
    )]
    fn new(
        population: Number<u32>,
        generations: Number<u32>,
        crossover_probability: Number<f64>,
        crossover_eta: Number<f64>,
        mutation_probability: Option<Number<f64>>,
        mutation_eta: Number<f64>,
    ) -> Self {
        Self {
            population: population.0,
            generations: generations.0,
            crossover_probability: crossover_probability.0,
            crossover_eta: crossover_eta.0,
            mutation_probability: mutation_probability.map(|number| number.0),
            mutation_eta: mutation_eta.0,
        }
    }
}

impl Nsga2 {
    /// The parameters, or the library's own where none are given.
    pub(crate) fn or_default(config: Option<Self>) -> fogcompute::Nsga2 {
        let Some(config) = config else {
            return fogcompute::Nsga2::default();
        };
        fogcompute::Nsga2 {
            population: config.population,
            generations: config.generations,
            crossover_probability: config.crossover_probability,
            crossover_eta: config.crossover_eta,
            mutation_probability: config.mutation_probability,
            mutation_eta: config.mutation_eta,
        }
    }
}

/// A solution and what it is worth.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Individual {
    /// One value for each variable.
    genes: Py<PyTuple>,
    /// What the problem evaluated, smaller being better.
    objectives: Py<PyTuple>,
    /// By how much constraints are violated; 0 when all are met.
    violation: f64,
}

value! {
    Individual { genes, objectives, violation }

    #[new]
    fn new(
        py: Python<'_>,
        genes: Vec<Number<f64>>,
        objectives: Vec<Number<f64>>,
        violation: Number<f64>,
    ) -> PyResult<Self> {
        Ok(Self {
            genes: PyTuple::new(py, genes)?.unbind(),
            objectives: PyTuple::new(py, objectives)?.unbind(),
            violation: violation.0,
        })
    }
}

/// What a run of NSGA-II found.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Front {
    /// The solutions that no other dominates, in lexicographic order of their objectives.
    individuals: Py<PyTuple>,
    /// Evaluations made.
    evaluations: u64,
    /// Generations made.
    generations: u32,
}

value! {
    Front { individuals, evaluations, generations }

    #[new]
    fn new(
        py: Python<'_>,
        individuals: Vec<Py<Individual>>,
        evaluations: Number<u64>,
        generations: Number<u32>,
    ) -> PyResult<Self> {
        Ok(Self {
            individuals: PyTuple::new(py, individuals)?.unbind(),
            evaluations: evaluations.0,
            generations: generations.0,
        })
    }
}

impl Front {
    fn from_facade(py: Python<'_>, front: fogcompute::Front) -> PyResult<Self> {
        let individuals = front
            .individuals
            .into_iter()
            .map(|found| {
                Ok(Individual {
                    genes: PyTuple::new(py, found.genes)?.unbind(),
                    objectives: PyTuple::new(py, found.objectives)?.unbind(),
                    violation: found.violation,
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        Ok(Self {
            individuals: PyTuple::new(py, individuals)?.unbind(),
            evaluations: front.evaluations,
            generations: front.generations,
        })
    }
}

/// A problem written in Python. Whatever it raises stops the run and comes out unchanged.
struct Problem {
    object: Py<PyAny>,
    variables: Vec<fogcompute::Variable>,
    objective_count: usize,
}

impl Problem {
    fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let variables: Vec<Variable> = object.getattr(intern!(py, "variables"))?.extract()?;
        let count: Number<usize> = object.getattr(intern!(py, "objective_count"))?.extract()?;
        Ok(Self {
            object: object.clone().unbind(),
            variables: variables.into_iter().map(Into::into).collect(),
            objective_count: count.0,
        })
    }
}

impl fogcompute::Problem for Problem {
    type Error = PyErr;

    fn variables(&self) -> &[fogcompute::Variable] {
        &self.variables
    }

    fn objective_count(&self) -> usize {
        self.objective_count
    }

    fn evaluate(&mut self, genes: &[f64], objectives: &mut [f64]) -> PyResult<f64> {
        Python::attach(|py| {
            let genes = PyList::new(py, genes)?;
            let result = self
                .object
                .bind(py)
                .call_method1(intern!(py, "evaluate"), (genes,))?;
            let (values, violation) = result.extract::<(Tuple<f64>, f64)>().map_err(|error| {
                let wrong = PyTypeError::new_err(
                    "evaluate() must return a sequence of numbers and a number: the \
                         objectives and the violation of the constraints",
                );
                wrong.set_cause(py, Some(error));
                wrong
            })?;
            if values.0.len() != objectives.len() {
                return Err(error::argument(
                    py,
                    format!(
                        "evaluate() returned {} objectives, objective_count is {}",
                        values.0.len(),
                        objectives.len()
                    ),
                ));
            }
            objectives.copy_from_slice(&values.0);
            Ok(violation)
        })
    }
}

/// Minimises a problem with NSGA-II. One seed gives one front, on every platform.
///
/// `initial` holds genomes to start from; the rest of the first population is random.
///
/// Raises what `problem` raises, unchanged; `ProblemError`, `NotFiniteError`.
#[pyfunction]
#[pyo3(
    signature = (problem, config = None, *, initial = Vec::new(), seed = Number(0)),
    text_signature = "(problem, config=None, *, initial=(), seed=0)"
)]
pub(crate) fn nsga2(
    py: Python<'_>,
    problem: &Bound<'_, PyAny>,
    config: Option<Nsga2>,
    initial: Vec<Vec<Number<f64>>>,
    seed: Number<u64>,
) -> PyResult<Front> {
    let mut problem = Problem::new(problem)?;
    let config = Nsga2::or_default(config);
    let initial: Vec<Vec<f64>> = initial
        .into_iter()
        .map(|genes| genes.into_iter().map(|gene| gene.0).collect())
        .collect();
    let run = || fogcompute::nsga2(&mut problem, &config, &initial, seed.0);
    let front = error::catch(py, run)?.map_err(|failure| match failure {
        Nsga2Failure::Problem(exception) => exception,
        Nsga2Failure::Failed(error) => error::of_error(py, &error),
        other => error::argument(py, other.to_string()),
    })?;
    Front::from_facade(py, front)
}
