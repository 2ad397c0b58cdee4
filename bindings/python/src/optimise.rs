//! Optimisation: what `fogcompute.schedule` is made of.

use fogcompute::{
    BatchProblem, Ended, Genome, SearchConfig, SearchFailure, Stagnation, indicators,
};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use crate::convert::{Buffer, Number};
use crate::error;
use crate::value::value;

/// Parameters of a placement by NSGA-II.
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

/// Numbers of an array, row after row.
pub(crate) struct Floats(Vec<f64>);

impl FromPyObject<'_, '_> for Floats {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        Ok(Self(PyBuffer::get(&object)?.to_vec(object.py())?))
    }
}

/// Numbers as the memory of a new array. The array owns it and may keep it or write to it, which
/// a part of the population could not be lent for.
fn memory<'py>(py: Python<'py>, numbers: &[f64]) -> PyResult<Bound<'py, PyByteArray>> {
    PyByteArray::new_with(py, size_of_val(numbers), |bytes| {
        for (bytes, number) in bytes.chunks_exact_mut(size_of::<f64>()).zip(numbers) {
            bytes.copy_from_slice(&number.to_ne_bytes());
        }
        Ok(())
    })
}

/// Genes, objectives and violations of several individuals.
type Rows<'py> = (
    Bound<'py, PyByteArray>,
    Bound<'py, PyByteArray>,
    Bound<'py, PyByteArray>,
);

/// A problem written in Python: a function of the genes of a generation, which gives the objectives
/// and the violations. What it raises stops the run and comes out unchanged.
struct Problem {
    evaluate: Py<PyAny>,
    objective_count: usize,
}

impl BatchProblem for Problem {
    type Error = PyErr;

    fn objective_count(&self) -> usize {
        self.objective_count
    }

    fn evaluate(
        &mut self,
        genes: &[f64],
        objectives: &mut [f64],
        violations: &mut [f64],
    ) -> PyResult<()> {
        Python::attach(|py| {
            let evaluated = self.evaluate.bind(py).call1((memory(py, genes)?,))?;
            let (values, sums): (PyBuffer<f64>, PyBuffer<f64>) = evaluated.extract()?;
            values.copy_to_slice(py, objectives)?;
            sums.copy_to_slice(py, violations)
        })
    }
}

fn failed(py: Python<'_>, failure: SearchFailure<PyErr>) -> PyErr {
    match failure {
        SearchFailure::Problem(exception) => exception,
        SearchFailure::Failed(error) => error::of_error(py, &error),
        other => error::argument(py, other.to_string()),
    }
}

#[derive(FromPyObject)]
enum Genes {
    Permutation(u32),
    Variables(Vec<(String, f64, f64)>),
}

impl Genes {
    fn into_facade(self, py: Python<'_>) -> PyResult<Genome> {
        let variables = match self {
            Self::Permutation(length) => return Ok(Genome::Permutation { length }),
            Self::Variables(variables) => variables,
        };
        let variables = variables.into_iter().map(|(kind, low, high)| {
            Ok(match kind.as_str() {
                "real" => fogcompute::Variable::Real { low, high },
                // What does not fit is beyond the bounds that are allowed anyway.
                "integer" => fogcompute::Variable::Integer {
                    low: low as i64,
                    high: high as i64,
                },
                "choice" => fogcompute::Variable::Choice { count: high as u32 },
                other => {
                    return Err(error::argument(
                        py,
                        format!("{other:?} is no kind of variable"),
                    ));
                }
            })
        });
        Ok(Genome::Variables(variables.collect::<PyResult<_>>()?))
    }
}

#[derive(FromPyObject)]
enum Selection {
    Named(String),
    Directions(Vec<Vec<f64>>),
}

impl Selection {
    fn into_facade(self, py: Python<'_>) -> PyResult<fogcompute::Selection> {
        Ok(match self {
            Self::Directions(directions) => fogcompute::Selection::Directions(directions),
            Self::Named(name) => match name.as_str() {
                "crowding" => fogcompute::Selection::Crowding,
                "hypervolume" => fogcompute::Selection::Hypervolume,
                other => return Err(error::argument(py, format!("{other:?} is no selection"))),
            },
        })
    }
}

/// A search between two generations.
#[pyclass(module = "fogcompute._native")]
pub(crate) struct _Search(fogcompute::Search);

#[pymethods]
impl _Search {
    #[new]
    #[pyo3(signature = (
        evaluate,
        genes,
        objective_count,
        selection,
        *,
        population,
        generations,
        evaluations_max,
        stagnation,
        crossover_probability,
        crossover_eta,
        mutation_probability,
        mutation_eta,
        initial,
        seed,
        state,
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the keywords of `fogcompute.schedule.minimize` and of its algorithms"
    )]
    fn new(
        py: Python<'_>,
        evaluate: Py<PyAny>,
        genes: Genes,
        objective_count: Number<usize>,
        selection: Selection,
        population: Number<u32>,
        generations: Number<u32>,
        evaluations_max: Option<Number<u64>>,
        stagnation: Option<(Number<u32>, Number<f64>)>,
        crossover_probability: Number<f64>,
        crossover_eta: Number<f64>,
        mutation_probability: Option<Number<f64>>,
        mutation_eta: Number<f64>,
        initial: Vec<Vec<f64>>,
        seed: Number<u64>,
        state: Option<Buffer>,
    ) -> PyResult<Self> {
        let genome = genes.into_facade(py)?;
        let config = SearchConfig {
            settings: fogcompute::Settings {
                population: population.0,
                generations: generations.0,
                evaluations_max: evaluations_max.map(|number| number.0),
                stagnation: stagnation.map(|(generations, tolerance)| Stagnation {
                    generations: generations.0,
                    tolerance: tolerance.0,
                }),
                selection: selection.into_facade(py)?,
            },
            rates: fogcompute::Rates {
                crossover_probability: crossover_probability.0,
                crossover_eta: crossover_eta.0,
                mutation_probability: mutation_probability.map(|number| number.0),
                mutation_eta: mutation_eta.0,
            },
        };
        let mut problem = Problem {
            evaluate,
            objective_count: objective_count.0,
        };
        error::catch(py, || match state {
            Some(state) => fogcompute::Search::resume(&problem, &genome, &config, &state),
            None => fogcompute::Search::start(&mut problem, &genome, &config, &initial, seed.0),
        })?
        .map(Self)
        .map_err(|failure| failed(py, failure))
    }

    /// Makes one generation.
    fn step(
        &mut self,
        py: Python<'_>,
        evaluate: Py<PyAny>,
        objective_count: Number<usize>,
    ) -> PyResult<()> {
        let mut problem = Problem {
            evaluate,
            objective_count: objective_count.0,
        };
        error::catch(py, || self.0.step(&mut problem))?.map_err(|failure| failed(py, failure))
    }

    /// Why the settings end the search here, if they do.
    fn ended(&self) -> Option<&'static str> {
        self.0.ended().map(|ended| match ended {
            Ended::Evaluations => "evaluations",
            Ended::Stagnation => "stagnation",
            _ => "generations",
        })
    }

    /// Generations made.
    fn generation(&self) -> u32 {
        self.0.generation()
    }

    /// Whether it stands between this generation and the next. A problem may ask that while it is
    /// evaluated, which is when nothing else may be asked.
    fn is_at(slf: &Bound<'_, Self>, generation: Number<u32>) -> bool {
        let search = slf.try_borrow();
        search.is_ok_and(|search| search.0.generation() == generation.0)
    }

    /// Evaluations made.
    fn evaluations(&self) -> u64 {
        self.0.evaluations()
    }

    /// Genes, objectives and violations of the population.
    fn population<'py>(&self, py: Python<'py>) -> PyResult<Rows<'py>> {
        Ok((
            memory(py, self.0.genes())?,
            memory(py, self.0.objectives())?,
            memory(py, self.0.violations())?,
        ))
    }

    /// The same of the solutions that no other dominates.
    fn front<'py>(&self, py: Python<'py>) -> PyResult<Rows<'py>> {
        let found = self.0.front().individuals;
        let genes: Vec<f64> = found.iter().flat_map(|i| &i.genes).copied().collect();
        let objectives: Vec<f64> = found.iter().flat_map(|i| &i.objectives).copied().collect();
        let violations: Vec<f64> = found.iter().map(|i| i.violation).collect();
        Ok((
            memory(py, &genes)?,
            memory(py, &objectives)?,
            memory(py, &violations)?,
        ))
    }

    /// The search as bytes, from which another goes on.
    fn save<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let state = error::catch(py, || self.0.save())?;
        Ok(PyBytes::new(py, &state))
    }
}

/// The rank of each point.
#[pyfunction]
pub(crate) fn _ranks(py: Python<'_>, points: Floats, m: Number<usize>) -> PyResult<Vec<u32>> {
    error::call(py, || Ok(fogcompute::non_dominated_sort(&points.0, m.0)?))
}

/// The volume that points dominate up to a reference point.
#[pyfunction]
pub(crate) fn _hypervolume(py: Python<'_>, points: Floats, reference: Floats) -> PyResult<f64> {
    error::call(py, || Ok(indicators::hypervolume(&points.0, &reference.0)?))
}

/// The mean distance of a known front from points.
#[pyfunction]
pub(crate) fn _igd(
    py: Python<'_>,
    points: Floats,
    front: Floats,
    m: Number<usize>,
) -> PyResult<f64> {
    error::call(py, || Ok(indicators::igd(&points.0, &front.0, m.0)?))
}

/// The same where only what is worse counts.
#[pyfunction]
pub(crate) fn _igd_plus(
    py: Python<'_>,
    points: Floats,
    front: Floats,
    m: Number<usize>,
) -> PyResult<f64> {
    error::call(py, || Ok(indicators::igd_plus(&points.0, &front.0, m.0)?))
}

/// How unevenly points lie.
#[pyfunction]
pub(crate) fn _spacing(py: Python<'_>, points: Floats, m: Number<usize>) -> PyResult<f64> {
    error::call(py, || Ok(indicators::spacing(&points.0, m.0)?))
}

/// How unevenly points lie, and how far from the ends of the known front.
#[pyfunction]
pub(crate) fn _spread(
    py: Python<'_>,
    points: Floats,
    ends: Floats,
    m: Number<usize>,
) -> PyResult<f64> {
    error::call(py, || Ok(indicators::spread(&points.0, &ends.0, m.0)?))
}

/// Directions that are evenly spread, row after row.
#[pyfunction]
pub(crate) fn _directions<'py>(
    py: Python<'py>,
    objectives: Number<usize>,
    divisions: Number<u32>,
) -> PyResult<Bound<'py, PyByteArray>> {
    let directions = error::call(py, || {
        Ok(fogcompute::das_dennis(objectives.0, divisions.0)?)
    })?;
    memory(py, &directions.concat())
}
