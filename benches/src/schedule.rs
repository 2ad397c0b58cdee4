//! The optimiser on the field's test problems, beside the `genoxide` crate, `pygmo` and `pymoo`;
//! placement, beside the same; and non-dominated sorting, beside the `non-dominated-sort` crate.

mod placement;
mod python;

use std::cmp::Ordering;
use std::convert::Infallible;
use std::error::Error;
use std::f64::consts::{FRAC_PI_2, PI};
use std::hint::black_box;
use std::path::Path;

use cpu_time::ThreadTime;
use fogcompute::schedule::evolution::{
    BatchProblem, Bounded, Ended, Evolution, Nsga2, Selection, Settings, Variable, das_dennis,
};
use fogcompute::schedule::indicators::hypervolume;
use fogcompute::schedule::non_dominated_sort;
use genoxide::Objective::Minimize;
use genoxide::genome::Real;
use genoxide::multi::{MultiEngine, Nsga2 as PeerNsga2};
use genoxide::operator::{PolynomialMutation, SimulatedBinaryCrossover};
use genoxide::prelude::{Reals, Stop};
use non_dominated_sort::DominanceOrd;

use self::python::{Library, Peers};
use crate::measure::{Effort, in_turns, median};
use crate::row::{Output, Row};

const POPULATION: u32 = 100;
const SEEDS: u64 = 11;
/// How many of them a library for Python is measured with: a run of pymoo's takes five seconds.
const PYGMO_SEEDS: u64 = 11;
const PYMOO_SEEDS: u64 = 3;
/// What hypervolumes are measured from, in every objective.
const REFERENCE: f64 = 1.1;

/// A test problem on [0, 1]ⁿ; both sides call the same function.
#[derive(Clone, Copy)]
struct TestProblem<const M: usize> {
    name: &'static str,
    gene_count: usize,
    objectives: fn(&[f64]) -> [f64; M],
}

/// The mean of all variables but the first.
fn rest_mean(x: &[f64]) -> f64 {
    x[1..].iter().sum::<f64>() / (x.len() - 1) as f64
}

fn zdt1(x: &[f64]) -> [f64; 2] {
    let g = 1.0 + 9.0 * rest_mean(x);
    [x[0], g * (1.0 - (x[0] / g).sqrt())]
}

fn zdt2(x: &[f64]) -> [f64; 2] {
    let g = 1.0 + 9.0 * rest_mean(x);
    [x[0], g * (1.0 - (x[0] / g) * (x[0] / g))]
}

fn zdt3(x: &[f64]) -> [f64; 2] {
    let g = 1.0 + 9.0 * rest_mean(x);
    let share = x[0] / g;
    [
        x[0],
        g * (1.0 - share.sqrt() - share * (10.0 * PI * x[0]).sin()),
    ]
}

fn zdt6(x: &[f64]) -> [f64; 2] {
    let first = 1.0 - (-4.0 * x[0]).exp() * (6.0 * PI * x[0]).sin().powi(6);
    let g = 1.0 + 9.0 * rest_mean(x).powf(0.25);
    [first, g * (1.0 - (first / g) * (first / g))]
}

fn dtlz2(x: &[f64]) -> [f64; 3] {
    let g: f64 = x[2..].iter().map(|x| (x - 0.5) * (x - 0.5)).sum();
    let (sin_a, cos_a) = (x[0] * FRAC_PI_2).sin_cos();
    let (sin_b, cos_b) = (x[1] * FRAC_PI_2).sin_cos();
    [
        (1.0 + g) * cos_a * cos_b,
        (1.0 + g) * cos_a * sin_b,
        (1.0 + g) * sin_a,
    ]
}

impl<const M: usize> BatchProblem for TestProblem<M> {
    type Error = Infallible;

    fn objective_count(&self) -> usize {
        M
    }

    fn evaluate(
        &mut self,
        genes: &[f64],
        objectives: &mut [f64],
        violations: &mut [f64],
    ) -> Result<(), Infallible> {
        let rows = genes.chunks_exact(self.gene_count);
        for (genes, out) in rows.zip(objectives.chunks_exact_mut(M)) {
            out.copy_from_slice(&(self.objectives)(genes));
        }
        violations.fill(0.0);
        Ok(())
    }
}

/// CPU time of a run in nanoseconds, and the hypervolume of the front it found.
struct Outcome {
    nanos: f64,
    volume: f64,
}

impl<const M: usize> TestProblem<M> {
    fn ours(
        mut self,
        selection: Selection,
        generations: u32,
        seed: u64,
    ) -> Result<Outcome, Box<dyn Error>> {
        let start = ThreadTime::now();
        let unit = Variable::Real {
            low: 0.0,
            high: 1.0,
        };
        let rates = Nsga2::default().rates();
        let variation = Bounded::new(vec![unit; self.gene_count], &rates)?;
        let settings = Settings {
            population: POPULATION,
            generations,
            selection,
            ..Settings::default()
        };
        let mut evolution = Evolution::start(settings, variation, &mut self, &[], seed)?;
        let ended = evolution.run(&mut self, |_| std::ops::ControlFlow::Continue(()))?;
        let front = evolution.front();
        let nanos = start.elapsed().as_secs_f64() * 1e9;
        if ended != Ended::Generations {
            return Err(format!("{}: the run ended by {ended:?}", self.name).into());
        }
        let points = front.individuals.iter().flat_map(|i| &i.objectives);
        let points: Vec<f64> = points.copied().collect();
        Ok(Outcome {
            nanos,
            volume: hypervolume(&points, &[REFERENCE; M])?,
        })
    }

    fn theirs(self, generations: u32, seed: u64) -> Result<Outcome, Box<dyn Error>> {
        let start = ThreadTime::now();
        let ours = Nsga2::default();
        let n = self.gene_count;
        let algorithm = PeerNsga2::builder(Real::new(vec![0.0..=1.0; n])?, [Minimize; M])
            .population_size(POPULATION as usize)
            .crossover_rate(ours.crossover_probability)
            .crossover(SimulatedBinaryCrossover::new(ours.crossover_eta)?)
            .mutate(PolynomialMutation::per_gene(
                1.0 / n as f64,
                ours.mutation_eta,
            )?)
            .seed(seed)
            .build()?;
        let objectives = self.objectives;
        let outcome = MultiEngine::new(algorithm, move |genes: &Reals| objectives(genes))
            .stop_when(Stop::generations(u64::from(generations)))
            .run()?;
        let front = outcome.front_values();
        let nanos = start.elapsed().as_secs_f64() * 1e9;
        // Their fronts by our hypervolume: one yardstick for both.
        Ok(Outcome {
            nanos,
            volume: hypervolume(front.as_flattened(), &[REFERENCE; M])?,
        })
    }

    /// A library for Python on the same problem.
    fn python(
        self,
        peers: &mut Peers,
        library: Library,
        generations: u32,
        seed: u64,
    ) -> Result<Outcome, Box<dyn Error>> {
        // Its generator takes no seed of 0.
        let answer = peers.run(library, self.name, generations, seed + 1)?;
        Ok(Outcome {
            nanos: answer.nanos,
            volume: hypervolume(&answer.front.concat(), &[REFERENCE; M])?,
        })
    }

    /// Runs all sides in turns, once for each seed.
    fn measure(
        self,
        effort: Effort,
        selection: &Selection,
        suffix: &str,
        peers: &mut Peers,
        output: &mut Output,
    ) -> Result<(), Box<dyn Error>> {
        let (seeds, generations) = match effort {
            Effort::Full => (SEEDS, 250),
            Effort::Smoke => (1, 2),
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut python = [
            (Library::Pygmo, PYGMO_SEEDS, Vec::new()),
            (Library::Pymoo, PYMOO_SEEDS, Vec::new()),
        ];
        for seed in 0..seeds {
            // Who goes first may profit or suffer from it, so both do.
            if seed % 2 == 0 {
                ours.push(self.ours(selection.clone(), generations, seed)?);
                theirs.push(self.theirs(generations, seed)?);
            } else {
                theirs.push(self.theirs(generations, seed)?);
                ours.push(self.ours(selection.clone(), generations, seed)?);
            }
            for (library, count, outcomes) in &mut python {
                if seed < *count {
                    outcomes.push(self.python(peers, *library, generations, seed)?);
                }
            }
        }
        let versions = [Library::Pygmo, Library::Pymoo].map(|library| peers.version(library));
        let genoxide = (&theirs, ("genoxide", env!("PEER_GENOXIDE")));
        let python = python.iter().zip(versions);
        let python =
            python.map(|((library, _, outcomes), version)| (outcomes, (library.name(), version)));
        let of = |outcomes: &[Outcome], value: fn(&Outcome) -> f64| {
            median(outcomes.iter().map(value).collect())
        };
        let nanos = |outcome: &Outcome| outcome.nanos;
        // Millionths, for figures are printed with one digit after the point.
        let volume = |outcome: &Outcome| outcome.volume * 1e6;
        for (theirs, peer) in std::iter::once(genoxide).chain(python) {
            let case = format!("{}{suffix}", self.name);
            let n = theirs.len() as u64;
            let pair = (of(&ours, nanos), of(theirs, nanos));
            output.print(row(case.clone(), "ns", pair, n, peer))?;
            let pair = (of(&ours, volume), of(theirs, volume));
            output.print(row(case + ", volume", "ppm", pair, n, peer))?;
        }
        Ok(())
    }
}

fn row(
    case: String,
    unit: &'static str,
    (ours, theirs): (f64, f64),
    n: u64,
    (peer, version): (&str, &str),
) -> Row {
    Row {
        area: "schedule",
        case,
        ours,
        unit,
        peer: peer.to_owned(),
        peer_version: version.to_owned(),
        theirs,
        ratio: 0.0,
        n,
    }
}

/// Measures with the libraries of a Python interpreter.
pub(crate) fn run(
    python: &Path,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    let peers = &mut Peers::start(python)?;
    for (name, gene_count, objectives) in [
        ("ZDT1", 30, zdt1 as fn(&[f64]) -> [f64; 2]),
        ("ZDT2", 30, zdt2),
        ("ZDT3", 30, zdt3),
        ("ZDT6", 10, zdt6),
    ] {
        let problem = TestProblem {
            name,
            gene_count,
            objectives,
        };
        problem.measure(effort, &Selection::Crowding, "", peers, output)?;
    }
    let problem = TestProblem {
        name: "DTLZ2",
        gene_count: 12,
        objectives: dtlz2,
    };
    problem.measure(effort, &Selection::Crowding, "", peers, output)?;
    let directions = Selection::Directions(das_dennis(3, 12)?);
    problem.measure(effort, &directions, " NSGA-III", peers, output)?;
    placement::run(effort, peers, output)?;
    sort(effort, output)
}

/// Domination as the peer wants it.
struct Domination;

impl DominanceOrd for Domination {
    type T = [f64; 5];

    fn dominance_ord(&self, a: &[f64; 5], b: &[f64; 5]) -> Ordering {
        let (mut better, mut worse) = (false, false);
        for (x, y) in a.iter().zip(b) {
            better |= x < y;
            worse |= x > y;
        }
        match (better, worse) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }
}

fn peer_ranks(points: &[[f64; 5]]) -> Vec<u32> {
    let mut ranks = vec![0; points.len()];
    let mut front = non_dominated_sort::non_dominated_sort(points, &Domination);
    while !front.is_empty() {
        for &index in front.current_front_indices() {
            ranks[index] = front.rank() as u32;
        }
        front = front.next_front();
    }
    ranks
}

fn sort(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let peer = ("non-dominated-sort", env!("PEER_NON_DOMINATED_SORT"));
    let sizes: &[usize] = match effort {
        Effort::Full => &[100, 200, 1_000, 10_000],
        Effort::Smoke => &[100, 300],
    };
    for &size in sizes {
        let points = uniform(size);
        let flat = points.as_flattened();
        if non_dominated_sort(flat, 5)? != peer_ranks(&points) {
            return Err(format!("{size} points have other ranks than the peer's").into());
        }
        let ours = || {
            black_box(non_dominated_sort(black_box(flat), 5)).ok();
        };
        let theirs = || {
            black_box(peer_ranks(black_box(&points)));
        };
        // A call of the peer's with the most points takes a second; 3 rounds of it do.
        let few = if size > 1_000 { Effort::Smoke } else { effort };
        let pair = in_turns(few, ours, theirs);
        let case = format!("sort {size} x 5");
        output.print(row(case, "ns", (pair.ours, pair.theirs), pair.n, peer))?;
    }
    Ok(())
}

/// Points of the unit cube from the generator and the seed of the research that targets come from.
fn uniform(size: usize) -> Vec<[f64; 5]> {
    let mut state = 42_u64;
    let mut unit = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..size).map(|_| std::array::from_fn(|_| unit())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_have_their_values_on_the_true_front() {
        let mut x = [0.0; 30];
        x[0] = 0.25;
        let second = |objectives: [f64; 2]| (objectives[1] * 1e6).round() as i64;
        assert_eq!(second(zdt1(&x)), 500_000);
        assert_eq!(second(zdt2(&x)), 937_500);
        assert_eq!(second(zdt3(&x)), 250_000);
        let [first, second] = zdt6(&x[..10]);
        assert!((second - (1.0 - first * first)).abs() < 1e-12);
        let on_sphere = dtlz2(&[0.5; 12]);
        assert!((on_sphere.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_peer_ranks_as_we_do() {
        let points = uniform(150);
        let ranks = non_dominated_sort(points.as_flattened(), 5);
        assert_eq!(ranks, Ok(peer_ranks(&points)));
    }
}
