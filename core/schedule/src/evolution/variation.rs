//! How children come from parents.

use rand_core::Rng;
use thiserror::Error;

use super::{BoundsError, ConfigError, EvolutionError, Variable};
use crate::random::Stream;

/// Integers with at most this many values are drawn anew by mutation; wider ones move to a near
/// value.
const RESET_VALUES_MAX: i64 = 64;

/// Genes whose crossover is computed at once, so that it becomes vector instructions.
const LANES: usize = 8;

/// What genomes are, and how children come from parents: the place for operators of one's own.
///
/// Everything random comes from the stream that is passed in, which belongs to what is asked for
/// alone. Implementations may keep memory for their work, but no state that reaches a result: a run
/// that continues starts with a new one.
pub trait Variation {
    /// How many genes a genome has; at least one. Read once, at the start of a run.
    fn gene_count(&self) -> usize;

    /// Fills `genes` with a random genome.
    fn draw(&mut self, genes: &mut [f64], rng: &mut Stream);

    /// Makes two children of two parents: `a` and `b` hold the parents before and the children
    /// after. Asked again, with the same parents and what is left of `rng`, where a child equals
    /// somebody who is there already.
    fn vary(&mut self, a: &mut [f64], b: &mut [f64], rng: &mut Stream);

    /// The first gene that no genome may have, if there is one.
    fn find_invalid(&mut self, genes: &[f64]) -> Option<usize>;

    /// Turns what a repair left into the nearest genome. It must change nothing in one that
    /// [`find_invalid`](Self::find_invalid) finds nothing in.
    fn mend(&mut self, genes: &mut [f64]);
}

/// How often and how far operators change genes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Probability that a pair of parents is recombined, 0 to 1.
    pub crossover_probability: f64,
    /// Distribution index of simulated binary crossover: larger keeps children nearer to parents.
    pub crossover_eta: f64,
    /// Probability that a gene mutates, 0 to 1; without one, one gene in each child on average.
    pub mutation_probability: Option<f64>,
    /// Distribution index of polynomial mutation: larger makes smaller steps.
    pub mutation_eta: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            crossover_probability: 0.9,
            crossover_eta: 15.0,
            mutation_probability: None,
            mutation_eta: 20.0,
        }
    }
}

impl Rates {
    /// Checks that the rates make sense.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("crossover_probability", Some(self.crossover_probability)),
            ("mutation_probability", self.mutation_probability),
        ] {
            if let Some(value) = value {
                check_probability(field, value)?;
            }
        }
        for (field, value) in [
            ("crossover_eta", self.crossover_eta),
            ("mutation_eta", self.mutation_eta),
        ] {
            if !value.is_finite() || value < 0.0 {
                return Err(ConfigError::DistributionIndex { field, value });
            }
        }
        Ok(())
    }
}

fn check_probability(field: &'static str, value: f64) -> Result<(), ConfigError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::Probability { field, value })
    }
}

/// Why genomes cannot be [`Bounded`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum BoundedError {
    /// A rate makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A variable makes no sense.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
}

impl<E> From<BoundedError> for EvolutionError<E> {
    fn from(error: BoundedError) -> Self {
        match error {
            BoundedError::Config(error) => Self::Config(error),
            BoundedError::Bounds(error) => Self::Bounds(error),
        }
    }
}

/// Genomes of [`Variable`]s: simulated binary crossover and polynomial mutation of numbers, uniform
/// crossover and random reset of choices.
///
/// Powers are computed by arithmetic of our own and not by the platform's, so they are the same
/// everywhere.
///
/// Source: Deb and Agrawal 1995, "Simulated binary crossover for continuous search space"; Deb and
/// Goyal 1996, "A combined genetic adaptive search (GeneAS) for engineering design"; the bounded
/// variants of Deb's published C program.
#[derive(Clone, Debug)]
pub struct Bounded {
    variables: Vec<Variable>,
    /// A bit for each variable that is a choice, 64 to a word.
    choices: Vec<u64>,
    crossover_probability: f64,
    gaps: Gaps,
    /// Of the powers of crossover: η + 1 and its inverse.
    spread: Power,
    root: Power,
    /// Of those of mutation.
    narrow: Power,
    step_root: Power,
    picked: Vec<Picked>,
}

fn choice_bits(variables: &[Variable]) -> u64 {
    variables.iter().rev().fold(0, |bits, variable| {
        bits << 1 | u64::from(matches!(variable, Variable::Choice { .. }))
    })
}

/// A gene that crossover recombines.
#[derive(Clone, Copy, Debug, Default)]
struct Picked {
    gene: u32,
    small: f64,
    large: f64,
    low: f64,
    high: f64,
    drawn: f64,
}

impl Bounded {
    /// Genomes with a gene for each of `variables`.
    ///
    /// # Errors
    ///
    /// [`BoundedError`] if a rate or a variable makes no sense.
    pub fn new(variables: Vec<Variable>, rates: &Rates) -> Result<Self, BoundedError> {
        rates.validate()?;
        for (index, variable) in variables.iter().enumerate() {
            variable.check(index)?;
        }
        let probability = rates
            .mutation_probability
            .unwrap_or(1.0 / variables.len().max(1) as f64);
        Ok(Self {
            crossover_probability: rates.crossover_probability,
            gaps: Gaps::new(probability),
            spread: Power::new(rates.crossover_eta + 1.0),
            root: Power::new(1.0 / (rates.crossover_eta + 1.0)),
            narrow: Power::new(rates.mutation_eta + 1.0),
            step_root: Power::new(1.0 / (rates.mutation_eta + 1.0)),
            picked: Vec::with_capacity(variables.len() + LANES),
            choices: variables.chunks(64).map(choice_bits).collect(),
            variables,
        })
    }

    /// The variables.
    #[must_use]
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn recombine(&mut self, a: &mut [f64], b: &mut [f64], rng: &mut Stream) {
        self.picked.clear();
        let chunks = self.variables.chunks(64).zip(&self.choices).enumerate();
        for (chunk, (variables, &choices)) in chunks {
            let mut coins = rng.next_u64();
            if variables.len() < 64 {
                coins &= (1 << variables.len()) - 1;
            }
            let mut exchanged = coins & choices;
            while exchanged != 0 {
                let gene = chunk * 64 + exchanged.trailing_zeros() as usize;
                exchanged &= exchanged - 1;
                std::mem::swap(&mut a[gene], &mut b[gene]);
            }
            coins &= !choices;
            while coins != 0 {
                let at = coins.trailing_zeros() as usize;
                coins &= coins - 1;
                let gene = chunk * 64 + at;
                let (x, y) = (a[gene], b[gene]);
                // Equal genes have equal children, and no distance to divide by.
                if (x - y).abs() <= 1e-14 {
                    continue;
                }
                let (low, high) = variables[at].bounds();
                self.picked.push(Picked {
                    gene: gene as u32,
                    small: if x < y { x } else { y },
                    large: if x < y { y } else { x },
                    low,
                    high,
                    drawn: rng.unit(),
                });
            }
        }
        let picked = self.picked.len();
        self.picked
            .resize(picked.next_multiple_of(LANES), Picked::default());
        let mut left = picked;
        for lanes in self.picked.chunks_exact(LANES) {
            let (below, above) = self.spread_lanes(lanes);
            let mut sides = rng.next_u64();
            for (lane, picked) in lanes.iter().enumerate().take(left) {
                let variable = &self.variables[picked.gene as usize];
                let (below, above) = (variable.nearest(below[lane]), variable.nearest(above[lane]));
                let gene = picked.gene as usize;
                (a[gene], b[gene]) = if sides & 1 == 0 {
                    (below, above)
                } else {
                    (above, below)
                };
                sides >>= 1;
            }
            left = left.saturating_sub(LANES);
        }
    }

    /// Two children of each pair of genes around them, spread as one-point crossover spreads bits.
    fn spread_lanes(&self, picked: &[Picked]) -> ([f64; LANES], [f64; LANES]) {
        let lanes = |of: fn(&Picked) -> f64| -> [f64; LANES] {
            std::array::from_fn(|lane| picked.get(lane).map_or(0.0, of))
        };
        let small = lanes(|picked| picked.small);
        let large = lanes(|picked| picked.large);
        let drawn = lanes(|picked| picked.drawn);
        let (low, high) = (lanes(|picked| picked.low), lanes(|picked| picked.high));
        let spread = |room: [f64; LANES]| -> [f64; LANES] {
            // The inverse of Deb's β, so that its power is a product.
            let inverse: [f64; LANES] = std::array::from_fn(|lane| {
                let distance = large[lane] - small[lane];
                distance / (distance + 2.0 * room[lane])
            });
            let power = self.spread.raise(inverse);
            let base = std::array::from_fn(|lane| {
                let share = drawn[lane] * (2.0 - power[lane]);
                if share <= 1.0 {
                    share
                } else {
                    1.0 / (2.0 - share)
                }
            });
            self.root.raise(base)
        };
        let below = spread(std::array::from_fn(|lane| small[lane] - low[lane]));
        let above = spread(std::array::from_fn(|lane| high[lane] - large[lane]));
        let half: [f64; LANES] = std::array::from_fn(|lane| (large[lane] - small[lane]) / 2.0);
        (
            std::array::from_fn(|lane| small[lane] + half[lane] - below[lane] * half[lane]),
            std::array::from_fn(|lane| small[lane] + half[lane] + above[lane] * half[lane]),
        )
    }

    fn mutate(&self, genes: &mut [f64], rng: &mut Stream) {
        let mut gene = self.gaps.draw(rng);
        while gene < genes.len() {
            genes[gene] = self.mutated(&self.variables[gene], genes[gene], rng);
            gene = gene.saturating_add(1).saturating_add(self.gaps.draw(rng));
        }
    }

    fn mutated(&self, variable: &Variable, gene: f64, rng: &mut Stream) -> f64 {
        let (low, high) = variable.bounds();
        if low >= high {
            return gene;
        }
        match *variable {
            Variable::Real { .. } => self.polynomial(gene, low, high, rng),
            Variable::Integer {
                low: first,
                high: last,
            } if last - first >= RESET_VALUES_MAX => {
                let moved = variable.nearest(self.polynomial(gene, low, high, rng));
                if (moved - gene).abs() >= 0.5 {
                    moved
                } else if gene <= low || (gene < high && rng.unit() < 0.5) {
                    // Rounded back to where it was: one step, or nothing would mutate.
                    gene + 1.0
                } else {
                    gene - 1.0
                }
            }
            Variable::Integer { .. } | Variable::Choice { .. } => variable.draw_other(gene, rng),
        }
    }

    /// `gene` moved by a step that is small more often than large, within the bounds.
    fn polynomial(&self, gene: f64, low: f64, high: f64, rng: &mut Stream) -> f64 {
        let span = high - low;
        let drawn = rng.unit();
        // Towards the lower bound for the first half of the draws, else towards the upper.
        let (side, room, share) = if drawn < 0.5 {
            (1.0, 1.0 - (gene - low) / span, 2.0 * drawn)
        } else {
            (-1.0, 1.0 - (high - gene) / span, 2.0 * (1.0 - drawn))
        };
        let base = share + (1.0 - share) * self.narrow.raise_one(room);
        let step = side * (self.step_root.raise_one(base) - 1.0);
        (gene + step * span).clamp(low, high)
    }
}

impl Variation for Bounded {
    fn gene_count(&self) -> usize {
        self.variables.len()
    }

    fn draw(&mut self, genes: &mut [f64], rng: &mut Stream) {
        for (gene, variable) in genes.iter_mut().zip(&self.variables) {
            *gene = variable.draw(rng);
        }
    }

    fn vary(&mut self, a: &mut [f64], b: &mut [f64], rng: &mut Stream) {
        if rng.unit() < self.crossover_probability {
            self.recombine(a, b, rng);
        }
        self.mutate(a, rng);
        self.mutate(b, rng);
    }

    fn find_invalid(&mut self, genes: &[f64]) -> Option<usize> {
        let mut pairs = genes.iter().zip(&self.variables);
        pairs.position(|(&gene, variable)| !variable.contains(gene))
    }

    fn mend(&mut self, genes: &mut [f64]) {
        for (gene, variable) in genes.iter_mut().zip(&self.variables) {
            if !variable.contains(*gene) {
                // NaN.clamp() is NaN; a repair that returns one gets the lower bound.
                let (low, _) = variable.bounds();
                *gene = variable.nearest(if gene.is_nan() { low } else { *gene });
            }
        }
    }
}

/// Genomes that put `length` things into an order, each gene being the index of a thing: order
/// crossover, and mutation that reverses a stretch or moves one thing elsewhere.
///
/// Source: Davis 1985, "Applying adaptive algorithms to epistatic domains" (order crossover).
#[derive(Clone, Debug)]
pub struct Permutation {
    length: u32,
    crossover_probability: f64,
    mutation_probability: f64,
    seen: Vec<bool>,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Permutation {
    /// Orders of `length` things. A pair of parents is recombined with `crossover_probability`, a
    /// child mutates with `mutation_probability`; both from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Probability`] if one is not.
    pub fn new(
        length: u32,
        crossover_probability: f64,
        mutation_probability: f64,
    ) -> Result<Self, ConfigError> {
        check_probability("crossover_probability", crossover_probability)?;
        check_probability("mutation_probability", mutation_probability)?;
        Ok(Self {
            length,
            crossover_probability,
            mutation_probability,
            seen: Vec::new(),
            first: Vec::new(),
            second: Vec::new(),
        })
    }

    /// Two different places in order, or the only one twice.
    fn stretch(&self, rng: &mut Stream) -> (usize, usize) {
        let length = u64::from(self.length);
        let a = rng.below(length) as usize;
        let mut b = rng.below(length - 1) as usize;
        b += usize::from(b >= a && self.length > 1);
        (a.min(b), a.max(b))
    }

    /// Puts into `child` what `giver` has from `from` to `to`, and around it the rest in the order
    /// of `filler`.
    fn order(
        seen: &mut Vec<bool>,
        giver: &[f64],
        filler: &[f64],
        child: &mut [f64],
        (from, to): (usize, usize),
    ) {
        seen.clear();
        seen.resize(giver.len(), false);
        child[from..=to].copy_from_slice(&giver[from..=to]);
        for &thing in &giver[from..=to] {
            seen[thing as usize] = true;
        }
        let length = giver.len();
        let mut place = (to + 1) % length;
        for at in 0..length {
            let thing = filler[(to + 1 + at) % length];
            if !seen[thing as usize] {
                child[place] = thing;
                place = (place + 1) % length;
            }
        }
    }

    fn mutate(&self, genes: &mut [f64], rng: &mut Stream) {
        if self.length < 2 || rng.unit() >= self.mutation_probability {
            return;
        }
        let (from, to) = self.stretch(rng);
        match rng.below(3) {
            0 => genes[from..=to].rotate_left(1),
            1 => genes[from..=to].rotate_right(1),
            _ => genes[from..=to].reverse(),
        }
    }

    /// Marks the things in `seen` and returns the first gene that repeats one or is none.
    fn mark(&mut self, genes: &[f64], mut on_invalid: impl FnMut(usize)) {
        self.seen.clear();
        self.seen.resize(self.length as usize, false);
        for (index, &gene) in genes.iter().enumerate() {
            let is_thing = gene >= 0.0 && gene < f64::from(self.length) && gene.fract() == 0.0;
            if is_thing && !self.seen[gene as usize] {
                self.seen[gene as usize] = true;
            } else {
                on_invalid(index);
            }
        }
    }
}

impl Variation for Permutation {
    fn gene_count(&self) -> usize {
        self.length as usize
    }

    fn draw(&mut self, genes: &mut [f64], rng: &mut Stream) {
        for (index, gene) in genes.iter_mut().enumerate() {
            *gene = index as f64;
        }
        crate::random::shuffle(genes, rng);
    }

    fn vary(&mut self, a: &mut [f64], b: &mut [f64], rng: &mut Stream) {
        if self.length > 1 && rng.unit() < self.crossover_probability {
            let stretch = self.stretch(rng);
            self.first.clear();
            self.first.extend_from_slice(a);
            self.second.clear();
            self.second.extend_from_slice(b);
            Self::order(&mut self.seen, &self.first, &self.second, a, stretch);
            Self::order(&mut self.seen, &self.second, &self.first, b, stretch);
        }
        self.mutate(a, rng);
        self.mutate(b, rng);
    }

    fn find_invalid(&mut self, genes: &[f64]) -> Option<usize> {
        let mut first = None;
        self.mark(genes, |index| {
            first.get_or_insert(index);
        });
        first
    }

    fn mend(&mut self, genes: &mut [f64]) {
        let mut wrong = Vec::new();
        self.mark(genes, |index| wrong.push(index));
        let missing = self.seen.iter().enumerate().filter(|&(_, seen)| !seen);
        for (index, (thing, _)) in wrong.into_iter().zip(missing) {
            genes[index] = thing as f64;
        }
    }
}

/// How many genes stay before the next one mutates: a draw for each mutation instead of each gene.
#[derive(Clone, Copy, Debug)]
enum Gaps {
    Never,
    Always,
    /// Geometric, with the inverse of log₂(1 − p).
    Geometric(f64),
}

impl Gaps {
    fn new(probability: f64) -> Self {
        if probability <= 0.0 {
            Self::Never
        } else if probability >= 1.0 {
            Self::Always
        } else {
            Self::Geometric(std::f64::consts::LN_2 / libm::log1p(-probability))
        }
    }

    fn draw(&self, rng: &mut Stream) -> usize {
        match *self {
            Self::Never => usize::MAX,
            Self::Always => 0,
            Self::Geometric(inverse) => (log2(1.0 - rng.unit()) * inverse) as usize,
        }
    }
}

/// A positive exponent.
#[derive(Clone, Copy, Debug)]
enum Power {
    /// A whole number: some multiplications.
    Whole(u32),
    Broken(f64),
}

impl Power {
    fn new(exponent: f64) -> Self {
        if exponent.fract() == 0.0 && exponent <= 64.0 {
            Self::Whole(exponent as u32)
        } else {
            Self::Broken(exponent)
        }
    }

    /// Raises numbers from 0 on.
    fn raise(&self, bases: [f64; LANES]) -> [f64; LANES] {
        match *self {
            Self::Whole(exponent) => {
                let (mut bases, mut left) = (bases, exponent);
                let mut result = [1.0; LANES];
                while left > 0 {
                    if left & 1 == 1 {
                        result = std::array::from_fn(|lane| result[lane] * bases[lane]);
                    }
                    bases = bases.map(|base| base * base);
                    left >>= 1;
                }
                result
            }
            Self::Broken(exponent) => {
                let mut result = [0.0; LANES];
                for (result, base) in result.iter_mut().zip(bases) {
                    *result = exp2(exponent * log2(base));
                }
                result
            }
        }
    }

    fn raise_one(&self, base: f64) -> f64 {
        match *self {
            Self::Whole(exponent) => {
                let (mut base, mut left, mut result) = (base, exponent, 1.0);
                while left > 0 {
                    if left & 1 == 1 {
                        result *= base;
                    }
                    base *= base;
                    left >>= 1;
                }
                result
            }
            Self::Broken(exponent) => exp2(exponent * log2(base)),
        }
    }
}

/// 2⁵²: added to the bits of a small whole number, it makes the number plus 2⁵².
const TWO_52: f64 = 4_503_599_627_370_496.0;

/// The binary logarithm of a number from 0 on, to 2 · 10⁻¹⁵ of 1 or of itself. Zero and subnormal
/// numbers count as about 2⁻¹⁰²³.
///
/// No branch and no conversion that baseline vector instructions lack, so that lanes are computed
/// together; `libm` has branches for every special case.
#[inline(always)]
fn log2(x: f64) -> f64 {
    // Mantissas from √½ to √2: subtracting the bits of √½ carries into the exponent.
    const ROOT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let bits = x.to_bits();
    let shifted = bits.wrapping_sub(ROOT_HALF).wrapping_add(1023 << 52);
    let exponent = f64::from_bits((shifted >> 52) | TWO_52.to_bits()) - (TWO_52 + 1023.0);
    let mantissa = f64::from_bits((shifted & ((1 << 52) - 1)).wrapping_add(ROOT_HALF));
    // ln f = 2 artanh((f − 1) / (f + 1)), whose series converges fast so near to 1.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let z = s * s;
    let w = z * z;
    let even = 1.0 + w * (1.0 / 5.0 + w * (1.0 / 9.0 + w * (1.0 / 13.0 + w * (1.0 / 17.0))));
    let odd = 1.0 / 3.0 + w * (1.0 / 7.0 + w * (1.0 / 11.0 + w * (1.0 / 15.0 + w * (1.0 / 19.0))));
    exponent + s * (even + z * odd) * (2.0 * std::f64::consts::LOG2_E)
}

/// Two to the power `x`, to 10⁻¹⁵ of itself; exponents beyond ±1022 count as those.
#[inline(always)]
fn exp2(x: f64) -> f64 {
    // Adding 1.5 · 2⁵² rounds to a whole number and leaves it in the lowest bits.
    const SHIFT: f64 = 1.5 * TWO_52;
    let x = if x < -1022.0 { -1022.0 } else { x };
    let x = if x > 1022.0 { 1022.0 } else { x };
    let shifted = x + SHIFT;
    let y = (x - (shifted - SHIFT)) * std::f64::consts::LN_2;
    let scale = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    // Taylor's series; the next term is below 2 · 10⁻¹⁶.
    const C: [f64; 11] = [
        1.0 / 2.0,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5_040.0,
        1.0 / 40_320.0,
        1.0 / 362_880.0,
        1.0 / 3_628_800.0,
        1.0 / 39_916_800.0,
        1.0 / 479_001_600.0,
    ];
    let z = y * y;
    let even = 1.0 + z * (C[0] + z * (C[2] + z * (C[4] + z * (C[6] + z * (C[8] + z * C[10])))));
    let odd = 1.0 + z * (C[1] + z * (C[3] + z * (C[5] + z * (C[7] + z * C[9]))));
    (even + y * odd) * scale
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn powers_are_those_of_libm(base in 1e-12_f64..4.0, exponent in 0.01_f64..40.0) {
            let exact = libm::pow(base, exponent);
            prop_assert!((Power::new(exponent).raise_one(base) - exact).abs() <= 2e-13 * exact);
            let whole = libm::pow(base, exponent.ceil());
            let power = Power::new(exponent.ceil());
            prop_assert!((power.raise_one(base) - whole).abs() <= 2e-13 * whole);
            let one = power.raise_one(base).to_bits();
            prop_assert_eq!(power.raise([base; LANES]).map(f64::to_bits), [one; LANES]);
        }

        #[test]
        fn children_of_orders_are_orders(length in 1_u32..40, seed: u64) {
            let mut variation = Permutation::new(length, 1.0, 1.0).unwrap();
            let mut rng = Stream::new(seed, 0, 0);
            let (mut a, mut b) = (vec![0.0; length as usize], vec![0.0; length as usize]);
            variation.draw(&mut a, &mut rng);
            variation.draw(&mut b, &mut rng);
            variation.vary(&mut a, &mut b, &mut rng);
            prop_assert_eq!(variation.find_invalid(&a), None);
            prop_assert_eq!(variation.find_invalid(&b), None);
        }
    }

    #[test]
    fn a_power_of_zero_is_next_to_nothing() {
        assert!(Power::new(1.0 / 16.0).raise_one(0.0) < 1e-19);
        assert!(Power::new(16.0).raise_one(0.0) < 1e-300);
    }

    #[test]
    fn order_crossover_keeps_a_stretch_and_fills_in_from_the_other_parent() {
        // Davis' example, with things from 0.
        let giver = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let filler = [1.0, 3.0, 5.0, 7.0, 6.0, 4.0, 2.0, 0.0];
        let mut child = [0.0; 8];
        Permutation::order(&mut Vec::new(), &giver, &filler, &mut child, (2, 4));
        assert_eq!(child.to_vec(), [7.0, 6.0, 2.0, 3.0, 4.0, 0.0, 1.0, 5.0]);
    }

    #[test]
    fn a_damaged_order_is_mended_and_a_whole_one_left() {
        let mut variation = Permutation::new(5, 1.0, 1.0).unwrap();
        let mut genes = [4.0, 4.0, f64::NAN, 0.5, 1.0];
        assert_eq!(variation.find_invalid(&genes), Some(1));
        variation.mend(&mut genes);
        assert_eq!(genes.to_vec(), [4.0, 0.0, 2.0, 3.0, 1.0]);
        variation.mend(&mut genes);
        assert_eq!(genes.to_vec(), [4.0, 0.0, 2.0, 3.0, 1.0]);
    }

    #[test]
    fn as_many_genes_mutate_as_the_probability_says() {
        for probability in [0.0, 0.02, 0.3, 1.0] {
            let rates = Rates {
                mutation_probability: Some(probability),
                ..Rates::default()
            };
            let variation = Bounded::new(vec![Variable::BINARY; 1_000], &rates).unwrap();
            let mut mutated = 0.0;
            for seed in 0..200 {
                let mut genes = vec![0.0; 1_000];
                variation.mutate(&mut genes, &mut Stream::new(seed, 0, 0));
                mutated += genes.iter().sum::<f64>();
            }
            let share = mutated / 200_000.0;
            assert!(
                (share - probability).abs() < 0.004,
                "{probability}: {share}"
            );
        }
    }

    #[test]
    fn crossover_keeps_the_mean_of_two_parents_away_from_the_bounds() {
        let wide = Variable::Real {
            low: -1e9,
            high: 1e9,
        };
        let mut variation = Bounded::new(vec![wide; 70], &Rates::default()).unwrap();
        let (mut a, mut b) = (vec![2.0; 70], vec![3.0; 70]);
        variation.recombine(&mut a, &mut b, &mut Stream::new(3, 0, 0));
        assert!(a.iter().any(|&gene| (gene - 2.0).abs() > 1e-3));
        for (a, b) in a.iter().zip(&b) {
            assert!((a + b - 5.0).abs() < 1e-6, "{a} and {b}");
        }
    }
}
