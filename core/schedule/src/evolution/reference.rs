//! NSGA-III: survivors spread over given directions.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::OBJECTIVES_MAX;
use crate::random::Stream;

/// Most reference directions.
pub const DIRECTIONS_MAX: usize = 1 << 16;

/// How little an objective counts that an extreme point is not sought for.
const FOREIGN_WEIGHT: f64 = 1e-6;

/// Ranges below this are taken for none.
const RANGE_MIN: f64 = 1e-12;

/// Why reference directions make no sense.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum DirectionsError {
    /// There is none.
    #[error("there are no reference directions")]
    None,
    /// They would be more than can be held.
    #[error("more than {DIRECTIONS_MAX} reference directions")]
    TooMany,
    /// A direction has another number of components than the problem has objectives.
    #[error("direction {direction} has {actual} components, the problem has {expected} objectives")]
    Length {
        /// Index of the direction.
        direction: usize,
        /// Objectives of the problem.
        expected: usize,
        /// Components of the direction.
        actual: usize,
    },
    /// A component is negative or not finite, or all of them are 0.
    #[error("direction {direction} does not point to where objectives are")]
    Nowhere {
        /// Index of the direction.
        direction: usize,
    },
    /// There are no objectives, or more than can be held.
    #[error("{actual} objectives, 1 to {OBJECTIVES_MAX} are handled")]
    Objectives {
        /// Objectives asked for.
        actual: usize,
    },
}

/// The directions whose components are multiples of 1/`divisions` and sum to 1: evenly spread over
/// the simplex, in lexicographic order.
///
/// There are C(`objectives` + `divisions` − 1, `divisions`) of them: 91 for 3 objectives and 12
/// divisions.
///
/// Source: Das and Dennis 1998, "Normal-boundary intersection".
///
/// # Errors
///
/// [`DirectionsError::Objectives`], and [`DirectionsError::TooMany`] beyond [`DIRECTIONS_MAX`].
///
/// # Examples
///
/// ```
/// use fogcompute_schedule::evolution::das_dennis;
///
/// assert_eq!(das_dennis(2, 2)?, [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]);
/// assert_eq!(das_dennis(3, 12)?.len(), 91);
/// # Ok::<(), fogcompute_schedule::evolution::DirectionsError>(())
/// ```
pub fn das_dennis(objectives: usize, divisions: u32) -> Result<Vec<Vec<f64>>, DirectionsError> {
    if objectives == 0 || objectives > OBJECTIVES_MAX {
        return Err(DirectionsError::Objectives { actual: objectives });
    }
    let divisions = divisions.max(1);
    let mut directions = Vec::new();
    let mut parts = vec![0; objectives];
    parts[objectives - 1] = divisions;
    loop {
        if directions.len() == DIRECTIONS_MAX {
            return Err(DirectionsError::TooMany);
        }
        let shares = parts
            .iter()
            .map(|&part| f64::from(part) / f64::from(divisions));
        directions.push(shares.collect());
        // The next in lexicographic order: what stands last goes back to the end, but for one that
        // moves up.
        let Some(last) = parts.iter().rposition(|&part| part > 0) else {
            return Ok(directions);
        };
        if last == 0 {
            return Ok(directions);
        }
        let rest = std::mem::take(&mut parts[last]) - 1;
        parts[last - 1] += 1;
        parts[objectives - 1] = rest;
    }
}

/// What of earlier generations the normalisation of objectives remembers.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Extremes {
    /// The least value of each objective so far; empty before the first generation.
    #[serde(with = "super::bits")]
    pub(super) ideal: Vec<f64>,
    /// For each objective the point that is best in all others, point after point.
    #[serde(with = "super::bits")]
    pub(super) points: Vec<f64>,
}

/// Points of `m` objectives that compete for what is left of the population, by their indices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contest<'a> {
    pub(super) objectives: &'a [f64],
    pub(super) m: usize,
    /// The better fronts, which survive whole.
    pub(super) sure: &'a [u32],
    /// The front that does not fit.
    pub(super) last: &'a [u32],
    /// The first front.
    pub(super) first: &'a [u32],
    /// How many of `last` survive.
    pub(super) keep: usize,
}

/// Directions of length 1, one after another.
#[derive(Clone, Debug)]
pub(super) struct Directions {
    values: Vec<f64>,
}

impl Directions {
    pub(super) fn new(directions: &[Vec<f64>], m: usize) -> Result<Self, DirectionsError> {
        if directions.is_empty() {
            return Err(DirectionsError::None);
        }
        if directions.len() > DIRECTIONS_MAX {
            return Err(DirectionsError::TooMany);
        }
        let mut values = Vec::with_capacity(directions.len() * m);
        for (index, direction) in directions.iter().enumerate() {
            if direction.len() != m {
                return Err(DirectionsError::Length {
                    direction: index,
                    expected: m,
                    actual: direction.len(),
                });
            }
            let largest = direction.iter().copied().fold(0.0, f64::max);
            let points = direction.iter().all(|&c| c.is_finite() && c >= 0.0) && largest > 0.0;
            if !points {
                return Err(DirectionsError::Nowhere { direction: index });
            }
            // Divided first, so that squares stay finite.
            let scaled = direction.iter().map(|component| component / largest);
            let length = scaled.clone().map(|c| c * c).sum::<f64>().sqrt();
            values.extend(scaled.map(|component| component / length));
        }
        Ok(Self { values })
    }

    /// Chooses points of the front that does not fit: those whose directions have the fewest yet.
    ///
    /// Source: Deb and Jain 2014, "An evolutionary many-objective optimization algorithm using
    /// reference-point-based nondominated sorting approach, part I", §IV.
    pub(super) fn choose(
        &self,
        contest: &Contest<'_>,
        extremes: &mut Extremes,
        rng: &mut Stream,
    ) -> Vec<u32> {
        let &Contest {
            objectives,
            m,
            sure,
            last,
            first,
            keep,
        } = contest;
        let point = |index: u32| &objectives[index as usize * m..][..m];
        extremes.update(objectives, m, sure.iter().chain(last));
        let ranges = extremes.ranges(m, first.iter().map(|&index| point(index)));
        let associate = |index: u32| {
            let scaled = point(index).iter().zip(&extremes.ideal).zip(&ranges);
            let scaled: Vec<f64> = scaled
                .map(|((v, ideal), range)| (v - ideal) / range)
                .collect();
            self.nearest(&scaled, m)
        };
        let count = self.values.len() / m;
        let mut crowd = vec![0_u32; count];
        for &index in sure {
            crowd[associate(index).0] += 1;
        }
        let mut niches: Vec<Vec<(f64, u32)>> = vec![Vec::new(); count];
        for &index in last {
            let (niche, distance) = associate(index);
            niches[niche].push((distance, index));
        }
        for niche in &mut niches {
            // Nearest last, to be taken from the end.
            niche.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        }
        let mut open: Vec<usize> = (0..count).filter(|&at| !niches[at].is_empty()).collect();
        let mut chosen = Vec::with_capacity(keep);
        while chosen.len() < keep && !open.is_empty() {
            let least = open.iter().map(|&niche| crowd[niche]).min().unwrap_or(0);
            let emptiest = open.iter().filter(|&&niche| crowd[niche] == least).count();
            let turn = rng.below(emptiest as u64) as usize;
            let mut candidates = (0..open.len()).filter(|&at| crowd[open[at]] == least);
            let Some(at) = candidates.nth(turn) else {
                break;
            };
            let niche = open[at];
            let members = &mut niches[niche];
            // The first point of a direction is the nearest to it, further ones are any.
            if crowd[niche] > 0 {
                let any = rng.below(members.len() as u64) as usize;
                let end = members.len() - 1;
                members.swap(any, end);
            }
            if let Some((_, index)) = members.pop() {
                chosen.push(index);
                crowd[niche] += 1;
            }
            if niches[niche].is_empty() {
                open.remove(at);
            }
        }
        chosen
    }

    /// The direction whose ray is nearest to a point, and the square of the distance.
    fn nearest(&self, point: &[f64], m: usize) -> (usize, f64) {
        let length: f64 = point.iter().map(|v| v * v).sum();
        let mut best = (0, f64::INFINITY);
        for (index, direction) in self.values.chunks_exact(m).enumerate() {
            let along: f64 = direction.iter().zip(point).map(|(d, v)| d * v).sum();
            let distance = length - along * along;
            if distance < best.1 {
                best = (index, distance);
            }
        }
        best
    }
}

impl Extremes {
    fn update<'a>(&mut self, objectives: &[f64], m: usize, of: impl Iterator<Item = &'a u32>) {
        let points: Vec<&[f64]> = of
            .map(|&index| &objectives[index as usize * m..][..m])
            .collect();
        self.ideal.resize(m, f64::INFINITY);
        for point in &points {
            for (ideal, &value) in self.ideal.iter_mut().zip(*point) {
                *ideal = ideal.min(value);
            }
        }
        let earlier = std::mem::take(&mut self.points);
        let candidates = || earlier.chunks_exact(m).chain(points.iter().copied());
        let mut found = Vec::with_capacity(m * m);
        for axis in 0..m {
            let reach = |point: &[f64]| {
                let parts = point.iter().zip(&self.ideal).enumerate();
                parts.fold(f64::NEG_INFINITY, |most, (k, (value, ideal))| {
                    let weight = if k == axis { 1.0 } else { FOREIGN_WEIGHT };
                    most.max((value - ideal) / weight)
                })
            };
            let least = candidates().min_by(|a, b| reach(a).total_cmp(&reach(b)));
            found.extend_from_slice(least.unwrap_or(&self.ideal));
        }
        self.points = found;
    }

    /// What to divide each objective by: where the plane through the extreme points meets the axes,
    /// else the range of the first front.
    fn ranges<'a>(&self, m: usize, first: impl Iterator<Item = &'a [f64]>) -> Vec<f64> {
        let mut worst = vec![f64::NEG_INFINITY; m];
        for point in first {
            for (worst, &value) in worst.iter_mut().zip(point) {
                *worst = worst.max(value);
            }
        }
        let intercepts = self.intercepts(m);
        (0..m)
            .map(|k| {
                let range = worst[k] - self.ideal[k];
                let intercept = intercepts.as_ref().map(|intercepts| intercepts[k]);
                match intercept.filter(|i| (RANGE_MIN..=f64::MAX).contains(i)) {
                    Some(intercept) => intercept,
                    None if range > RANGE_MIN => range,
                    None => 1.0,
                }
            })
            .collect()
    }

    /// Solves for the plane Σ x/a = 1 through the extreme points; none if they are on no such
    /// plane.
    fn intercepts(&self, m: usize) -> Option<Vec<f64>> {
        let mut rows: Vec<Vec<f64>> = self
            .points
            .chunks_exact(m)
            .map(|point| {
                let shifted = point.iter().zip(&self.ideal).map(|(v, ideal)| v - ideal);
                shifted.chain([1.0]).collect()
            })
            .collect();
        for column in 0..m {
            let largest =
                |a: &usize, b: &usize| rows[*a][column].abs().total_cmp(&rows[*b][column].abs());
            let pivot = (column..m).max_by(largest)?;
            rows.swap(column, pivot);
            let (above, below) = rows.split_at_mut(column + 1);
            let leading = &above[column];
            if leading[column].abs() < RANGE_MIN {
                return None;
            }
            for row in below {
                let factor = row[column] / leading[column];
                for (value, lead) in row.iter_mut().zip(leading) {
                    *value -= factor * lead;
                }
            }
        }
        let mut inverse = vec![0.0; m];
        for row in (0..m).rev() {
            let known: f64 = (row + 1..m).map(|k| rows[row][k] * inverse[k]).sum();
            inverse[row] = (rows[row][m] - known) / rows[row][row];
        }
        Some(inverse.into_iter().map(|inverse| 1.0 / inverse).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_as_many_as_there_are_sums() {
        for (objectives, divisions, count) in [(1, 7, 1), (2, 9, 10), (3, 12, 91), (5, 6, 210)] {
            let directions = das_dennis(objectives, divisions).unwrap();
            assert_eq!(directions.len(), count);
            for direction in &directions {
                assert!((direction.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
            assert!(directions.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn directions_that_make_no_sense_are_named() {
        assert_eq!(
            das_dennis(0, 3),
            Err(DirectionsError::Objectives { actual: 0 })
        );
        assert_eq!(das_dennis(40, 40), Err(DirectionsError::TooMany));
        let refused = |directions: &[Vec<f64>]| Directions::new(directions, 2).err();
        assert_eq!(refused(&[]), Some(DirectionsError::None));
        assert_eq!(
            refused(&[vec![1.0, 0.0], vec![1.0]]),
            Some(DirectionsError::Length {
                direction: 1,
                expected: 2,
                actual: 1
            })
        );
        for direction in [vec![0.0, 0.0], vec![-1.0, 2.0], vec![f64::NAN, 1.0]] {
            assert_eq!(
                refused(&[direction]),
                Some(DirectionsError::Nowhere { direction: 0 })
            );
        }
    }

    #[test]
    fn intercepts_are_where_the_plane_meets_the_axes() {
        let extremes = Extremes {
            ideal: vec![1.0, 1.0],
            // 2 and 4 from the ideal on the axes.
            points: vec![3.0, 1.0, 1.0, 5.0],
        };
        assert_eq!(extremes.intercepts(2), Some(vec![2.0, 4.0]));
        let flat = Extremes {
            ideal: vec![0.0; 2],
            points: vec![1.0; 4],
        };
        assert_eq!(flat.intercepts(2), None);
    }

    #[test]
    fn empty_directions_are_served_first() {
        let directions = Directions::new(&das_dennis(2, 2).unwrap(), 2).unwrap();
        // Both ends are sure; of the rest one is in the middle and two beside an end.
        let objectives = [0.0, 1.0, 1.0, 0.0, 0.01, 0.98, 0.5, 0.5, 0.98, 0.01];
        let contest = Contest {
            objectives: &objectives,
            m: 2,
            sure: &[0, 1],
            last: &[2, 3, 4],
            first: &[0, 1, 2, 3, 4],
            keep: 1,
        };
        let mut rng = Stream::new(1, 0, 0);
        let chosen = directions.choose(&contest, &mut Extremes::default(), &mut rng);
        assert_eq!(chosen, [3]);
    }
}
