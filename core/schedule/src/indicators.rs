//! How good a front is: hypervolume, distances to a known front, evenness.
//!
//! Fronts are `m` objectives for each point, point after point, all minimised. Nothing here
//! normalises: objectives of different scale are for the caller to divide by their ranges.

use thiserror::Error;

use crate::sort::{SortError, check_points};

/// Most objectives that hypervolumes are computed for: the effort grows exponentially with them.
pub const HYPERVOLUME_OBJECTIVES_MAX: usize = 5;

/// Why an indicator cannot be computed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum IndicatorError {
    /// What was given are no points.
    #[error(transparent)]
    Points(#[from] SortError),
    /// There are fewer points than the indicator needs.
    #[error("{actual} points, at least {least} are needed")]
    TooFewPoints {
        /// Points needed.
        least: usize,
        /// Points given.
        actual: usize,
    },
    /// Objective `objective` of point `point` is infinite.
    #[error("objective {objective} of point {point} is {value}")]
    Infinite {
        /// Index of the point.
        point: usize,
        /// Index of the objective.
        objective: usize,
        /// Its value.
        value: f64,
    },
    /// Hypervolumes of so many objectives take too long.
    #[error("{actual} objectives, hypervolumes are of at most {HYPERVOLUME_OBJECTIVES_MAX}")]
    TooManyObjectives {
        /// Objectives given.
        actual: usize,
    },
}

/// The volume that `points` dominate up to `reference`, exactly. Points that are not better than
/// the reference in every objective add nothing.
///
/// Complexity: O(N log N) for N points of two objectives, O(N²·log N) for three, and at worst a
/// factor N for each further one.
///
/// Source: While et al. 2012, "A fast way of calculating exact hypervolumes" (WFG), with slices
/// along the last objective.
///
/// # Errors
///
/// [`IndicatorError`] if the points are none, are infinite, have more than
/// [`HYPERVOLUME_OBJECTIVES_MAX`] objectives, or if the reference is none for them.
///
/// # Examples
///
/// ```
/// use fogcompute_schedule::indicators::hypervolume;
///
/// let front = [1.0, 2.0, 2.0, 1.0];
/// assert_eq!(hypervolume(&front, &[3.0, 3.0])?, 3.0);
/// # Ok::<(), fogcompute_schedule::indicators::IndicatorError>(())
/// ```
pub fn hypervolume(points: &[f64], reference: &[f64]) -> Result<f64, IndicatorError> {
    let m = check_for_hypervolume(points, reference)?;
    let mut gains = Gains::better_than(points, reference);
    Ok(volume(&mut gains.values, m))
}

/// The volume that each of `points` alone dominates up to `reference`: what would be lost without
/// it. Of several equal points each has 0.
///
/// # Errors
///
/// As [`hypervolume`].
///
/// # Examples
///
/// ```
/// use fogcompute_schedule::indicators::hypervolume_contributions;
///
/// let front = [1.0, 2.0, 2.0, 1.0];
/// assert_eq!(hypervolume_contributions(&front, &[3.0, 3.0])?, [1.0, 1.0]);
/// # Ok::<(), fogcompute_schedule::indicators::IndicatorError>(())
/// ```
pub fn hypervolume_contributions(
    points: &[f64],
    reference: &[f64],
) -> Result<Vec<f64>, IndicatorError> {
    let m = check_for_hypervolume(points, reference)?;
    let gains = Gains::better_than(points, reference);
    let mut contributions = vec![0.0; points.len() / m];
    let alive: Vec<usize> = (0..gains.points.len()).collect();
    for &at in &alive {
        contributions[gains.points[at]] = contribution(&gains.values, m, at, &alive);
    }
    Ok(contributions)
}

/// Removes one point after another, each time the one that the hypervolume loses least by, until
/// `keep` are left, and returns the indices of those in rising order. Of equal losses the latest
/// point goes. Points are finite and as long as the reference.
pub(crate) fn keep_largest_volume(points: &[f64], reference: &[f64], keep: usize) -> Vec<usize> {
    let m = reference.len();
    let count = points.len() / m;
    let gains = Gains::better_than(points, reference);
    let mut alive: Vec<usize> = (0..gains.points.len()).collect();
    let mut losses: Vec<f64> = alive
        .iter()
        .map(|&at| contribution(&gains.values, m, at, &alive))
        .collect();
    // What is not better than the reference adds nothing and goes first.
    let mut kept = vec![false; count];
    let mut spare = keep.saturating_sub(alive.len());
    let mut is_current = vec![true; alive.len()];
    while alive.len() > keep {
        // Without one point the others' losses only grow, so an old figure is a lower bound: the
        // smallest that is current is the smallest of all.
        let least = alive
            .iter()
            .copied()
            .min_by(|&a, &b| losses[a].total_cmp(&losses[b]).then(b.cmp(&a)));
        let Some(least) = least else { break };
        if is_current[least] {
            alive.retain(|&at| at != least);
            is_current.fill(false);
        } else {
            losses[least] = contribution(&gains.values, m, least, &alive);
            is_current[least] = true;
        }
    }
    for at in alive {
        kept[gains.points[at]] = true;
    }
    let mut inside = gains.points.iter().copied().peekable();
    for (point, kept) in kept.iter_mut().enumerate() {
        if inside.next_if_eq(&point).is_none() && spare > 0 {
            *kept = true;
            spare -= 1;
        }
    }
    (0..count).filter(|&point| kept[point]).collect()
}

/// The mean distance from the points of a known front to the nearest of `points`: how near they are
/// to it and how well they cover it. Smaller is better.
///
/// Source: Coello and Reyes 2004, "A study of the parallelization of a coevolutionary
/// multi-objective evolutionary algorithm" (IGD).
///
/// # Errors
///
/// [`IndicatorError`] if there is no point or no known one, or if they are not finite points.
///
/// # Examples
///
/// ```
/// use fogcompute_schedule::indicators::igd;
///
/// assert_eq!(igd(&[0.0, 1.0], &[0.0, 1.0, 3.0, 5.0], 2)?, 2.5);
/// # Ok::<(), fogcompute_schedule::indicators::IndicatorError>(())
/// ```
pub fn igd(points: &[f64], front: &[f64], m: usize) -> Result<f64, IndicatorError> {
    mean_distance(points, front, m, |point, known| point - known)
}

/// The same with a distance that counts only in what a point is worse than the known one, so that
/// no front that dominates another has a larger value.
///
/// Source: Ishibuchi et al. 2015, "Modified distance calculation in generational distance and
/// inverted generational distance" (IGD+).
///
/// # Errors
///
/// As [`igd`].
pub fn igd_plus(points: &[f64], front: &[f64], m: usize) -> Result<f64, IndicatorError> {
    mean_distance(points, front, m, |point, known| (point - known).max(0.0))
}

/// The standard deviation of the distances from each point to its nearest neighbour, as sums of
/// absolute differences: 0 when all are alike.
///
/// Source: Schott 1995, "Fault tolerant design using single and multicriteria genetic algorithm
/// optimization".
///
/// # Errors
///
/// [`IndicatorError`] if there are fewer than two points or if they are not finite.
pub fn spacing(points: &[f64], m: usize) -> Result<f64, IndicatorError> {
    let count = check_finite(points, m, 2)?;
    let nearest = nearest_neighbours(points, m, |a, b| {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
    });
    let mean = nearest.iter().sum::<f64>() / count as f64;
    let squares: f64 = nearest.iter().map(|d| (d - mean) * (d - mean)).sum();
    Ok((squares / (count - 1) as f64).sqrt())
}

/// How unevenly points are spread between the ends of a front: 0 when the ends are reached and the
/// distances to nearest neighbours are equal.
///
/// `ends` are points: the ends of the known front, one for each objective as a rule.
///
/// Source: Zhou et al. 2006, "Combining model-based and genetics-based offspring generation for
/// multi-objective optimization using a convergence criterion" (generalised spread), after Deb's Δ.
///
/// # Errors
///
/// [`IndicatorError`] if there are fewer than two points or no end, or if they are not finite.
pub fn spread(points: &[f64], ends: &[f64], m: usize) -> Result<f64, IndicatorError> {
    let count = check_finite(points, m, 2)?;
    check_finite(ends, m, 1)?;
    let nearest = nearest_neighbours(points, m, euclidean);
    let mean = nearest.iter().sum::<f64>() / count as f64;
    let missed: f64 = ends
        .chunks_exact(m)
        .map(|end| {
            let distances = points.chunks_exact(m).map(|point| euclidean(point, end));
            distances.fold(f64::INFINITY, f64::min)
        })
        .sum();
    let uneven: f64 = nearest.iter().map(|distance| (distance - mean).abs()).sum();
    let whole = missed + mean * count as f64;
    Ok(if whole > 0.0 {
        (missed + uneven) / whole
    } else {
        0.0
    })
}

fn check_finite(points: &[f64], m: usize, least: usize) -> Result<usize, IndicatorError> {
    check_points(points, m)?;
    if let Some(index) = points.iter().position(|value| value.is_infinite()) {
        return Err(IndicatorError::Infinite {
            point: index / m,
            objective: index % m,
            value: points[index],
        });
    }
    let actual = points.len() / m;
    if actual < least {
        return Err(IndicatorError::TooFewPoints { least, actual });
    }
    Ok(actual)
}

fn check_for_hypervolume(points: &[f64], reference: &[f64]) -> Result<usize, IndicatorError> {
    let m = reference.len();
    if m > HYPERVOLUME_OBJECTIVES_MAX {
        return Err(IndicatorError::TooManyObjectives { actual: m });
    }
    check_finite(reference, m, 1)?;
    check_finite(points, m, 0)?;
    Ok(m)
}

fn mean_distance(
    points: &[f64],
    front: &[f64],
    m: usize,
    difference: impl Fn(f64, f64) -> f64,
) -> Result<f64, IndicatorError> {
    check_finite(points, m, 1)?;
    let known = check_finite(front, m, 1)?;
    let sum: f64 = front
        .chunks_exact(m)
        .map(|known| {
            let squares = points.chunks_exact(m).map(|point| {
                let pairs = point.iter().zip(known);
                pairs.map(|(&a, &b)| difference(a, b).powi(2)).sum::<f64>()
            });
            squares.fold(f64::INFINITY, f64::min).sqrt()
        })
        .sum();
    Ok(sum / known as f64)
}

fn euclidean(a: &[f64], b: &[f64]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    squares.sqrt()
}

fn nearest_neighbours(
    points: &[f64],
    m: usize,
    distance: impl Fn(&[f64], &[f64]) -> f64,
) -> Vec<f64> {
    let mut nearest = vec![f64::INFINITY; points.len() / m];
    for (a, point) in points.chunks_exact(m).enumerate() {
        for (b, other) in points.chunks_exact(m).enumerate().skip(a + 1) {
            let distance = distance(point, other);
            nearest[a] = nearest[a].min(distance);
            nearest[b] = nearest[b].min(distance);
        }
    }
    nearest
}

/// By how much points are better than the reference in each objective: hypervolume measured from 0.
struct Gains {
    values: Vec<f64>,
    /// Which points they are.
    points: Vec<usize>,
}

impl Gains {
    /// Those of the points that are better than `reference` in every objective.
    fn better_than(points: &[f64], reference: &[f64]) -> Self {
        let mut gains = Self {
            values: Vec::with_capacity(points.len()),
            points: Vec::new(),
        };
        for (index, point) in points.chunks_exact(reference.len()).enumerate() {
            if point
                .iter()
                .zip(reference)
                .all(|(value, limit)| value < limit)
            {
                let pairs = point.iter().zip(reference);
                gains
                    .values
                    .extend(pairs.map(|(value, limit)| limit - value));
                gains.points.push(index);
            }
        }
        gains
    }
}

/// The volume of the union of the boxes from 0 to each of `gains`. Changes their order.
fn volume(gains: &mut [f64], m: usize) -> f64 {
    match m {
        1 => gains.iter().copied().fold(0.0, f64::max),
        2 => area(gains),
        _ => {
            let mut boxes: Vec<&[f64]> = gains.chunks_exact(m).collect();
            boxes.sort_by(|a, b| a[m - 1].total_cmp(&b[m - 1]));
            // The boxes that follow are at least as high, so within the height of one all that
            // counts is the base it does not share with them.
            let mut limited = Vec::with_capacity(gains.len());
            let mut sum = 0.0;
            for (at, lowest) in boxes.iter().enumerate() {
                let (base, height) = (&lowest[..m - 1], lowest[m - 1]);
                limited.clear();
                for other in &boxes[at + 1..] {
                    push_undominated(&mut limited, base, other);
                }
                sum += height * (base.iter().product::<f64>() - volume(&mut limited, m - 1));
            }
            sum
        }
    }
}

/// Adds what `base` and the first values of `other` have in common, unless a box that is there has
/// it already; takes out those that have no more than it.
fn push_undominated(boxes: &mut Vec<f64>, base: &[f64], other: &[f64]) {
    let m = base.len();
    let common: [f64; HYPERVOLUME_OBJECTIVES_MAX] = std::array::from_fn(|k| {
        let pair = base.get(k).zip(other.get(k));
        pair.map_or(0.0, |(&a, &b)| if a < b { a } else { b })
    });
    let common = &common[..m];
    let covers = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a >= b);
    if boxes.chunks_exact(m).any(|there| covers(there, common)) {
        return;
    }
    let mut kept = 0;
    for at in (0..boxes.len()).step_by(m) {
        if !covers(common, &boxes[at..at + m]) {
            boxes.copy_within(at..at + m, kept);
            kept += m;
        }
    }
    boxes.truncate(kept);
    boxes.extend_from_slice(common);
}

/// The area of the union of rectangles from 0.
fn area(gains: &mut [f64]) -> f64 {
    let (rectangles, _) = gains.as_chunks_mut::<2>();
    rectangles.sort_unstable_by(|a, b| b[0].total_cmp(&a[0]));
    let (mut sum, mut height) = (0.0, 0.0);
    for [width, top] in rectangles {
        if *top > height {
            sum += *width * (*top - height);
            height = *top;
        }
    }
    sum
}

/// The volume that only the box `at` has, of those that are `alive`.
fn contribution(gains: &[f64], m: usize, at: usize, alive: &[usize]) -> f64 {
    let own = &gains[at * m..][..m];
    let mut limited = Vec::with_capacity(alive.len() * m);
    for &other in alive {
        if other != at {
            push_undominated(&mut limited, own, &gains[other * m..][..m]);
        }
    }
    (own.iter().product::<f64>() - volume(&mut limited, m)).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Counts the unit cells that points with whole coordinates dominate below `limit`.
    fn cells(points: &[f64], m: usize, limit: u32) -> f64 {
        let mut count = 0.0;
        for cell in 0..limit.pow(m as u32) {
            let corner = |k: usize| f64::from(cell / limit.pow(k as u32) % limit);
            let holds = |point: &[f64]| point.iter().enumerate().all(|(k, &v)| v <= corner(k));
            if points.chunks_exact(m).any(holds) {
                count += 1.0;
            }
        }
        count
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + a.abs())
    }

    proptest! {
        #[test]
        fn a_hypervolume_is_the_cells_it_holds(
            m in 1_usize..6,
            values in proptest::collection::vec((0_u32..7).prop_map(f64::from), 0..80),
        ) {
            let points = &values[..values.len() / m * m];
            let reference = vec![5.0; m];
            let exact = cells(points, m, 5);
            prop_assert!(close(hypervolume(points, &reference).unwrap(), exact));
            let contributions = hypervolume_contributions(points, &reference).unwrap();
            for (at, contribution) in contributions.iter().enumerate() {
                let mut others = points.to_vec();
                others.drain(at * m..(at + 1) * m);
                prop_assert!(close(*contribution, exact - cells(&others, m, 5)));
            }
        }

        #[test]
        fn the_points_that_stay_lose_least_one_by_one(
            m in 2_usize..4,
            values in proptest::collection::vec((0_u32..9).prop_map(f64::from), 3..45),
            keep in 0_usize..15,
        ) {
            let points = &values[..values.len() / m * m];
            let reference = vec![8.0; m];
            let kept = keep_largest_volume(points, &reference, keep);
            let mut left: Vec<usize> = (0..points.len() / m).collect();
            while left.len() > keep {
                let rows = left.iter().flat_map(|&point| &points[point * m..][..m]);
                let flat: Vec<f64> = rows.copied().collect();
                let losses = hypervolume_contributions(&flat, &reference).unwrap();
                let inside = |at: usize| points[left[at] * m..][..m].iter().all(|&v| v < 8.0);
                let out = (0..left.len())
                    .min_by(|&a, &b| {
                        let by_loss = losses[a].total_cmp(&losses[b]).then(b.cmp(&a));
                        inside(a).cmp(&inside(b)).then(by_loss)
                    })
                    .unwrap();
                left.remove(out);
            }
            prop_assert_eq!(kept, left);
        }
    }

    #[test]
    fn a_hypervolume_has_its_closed_form() {
        // n points evenly on f2 = 1 − f1, up to (1, 1): the triangle less n − 1 small ones, and
        // both ends add nothing.
        let n = 101;
        let points: Vec<f64> = (0..n)
            .flat_map(|at| [f64::from(at) / 100.0, 1.0 - f64::from(at) / 100.0])
            .collect();
        let exact = 0.5 - 100.0 * 0.5e-4;
        assert!(close(hypervolume(&points, &[1.0, 1.0]).unwrap(), exact));
        // A corner of a cube and of its five-dimensional brother.
        for m in 1..=5 {
            let volume = hypervolume(&vec![0.5; m], &vec![2.0; m]).unwrap();
            assert!(close(volume, 1.5_f64.powi(m as i32)));
        }
    }

    #[test]
    fn distances_to_a_front_have_their_closed_form() {
        let front = [0.0, 1.0, 1.0, 0.0];
        assert!(close(igd(&front, &front, 2).unwrap(), 0.0));
        assert!(close(igd(&[1.0, 1.0], &front, 2).unwrap(), 1.0));
        // Better than the known front: no distance in IGD+.
        assert!(close(igd(&[0.0, 0.0], &front, 2).unwrap(), 1.0));
        assert!(close(igd_plus(&[0.0, 0.0], &front, 2).unwrap(), 0.0));
        assert!(close(igd_plus(&[1.0, 1.0], &front, 2).unwrap(), 1.0));
    }

    #[test]
    fn an_even_front_has_neither_spacing_nor_spread() {
        let even: Vec<f64> = (0..5)
            .flat_map(|at| [f64::from(at), 4.0 - f64::from(at)])
            .collect();
        let ends = [0.0, 4.0, 4.0, 0.0];
        assert!(close(spacing(&even, 2).unwrap(), 0.0));
        assert!(close(spread(&even, &ends, 2).unwrap(), 0.0));
        // Nearest neighbours 1, 1 and 3 away on a line: mean 5/3, deviations 2/3, 2/3, 4/3.
        let uneven = [0.0, 1.0, 4.0];
        assert!(close(
            spacing(&uneven, 1).unwrap(),
            (24.0_f64 / 9.0 / 2.0).sqrt()
        ));
        assert!(close(
            spread(&uneven, &[0.0, 4.0], 1).unwrap(),
            (8.0 / 3.0) / 5.0
        ));
        assert!(close(spread(&[1.0, 1.0], &[1.0], 1).unwrap(), 0.0));
    }

    #[test]
    fn what_is_no_front_is_refused() {
        assert_eq!(
            hypervolume(&[0.0; 6], &[1.0; 6]),
            Err(IndicatorError::TooManyObjectives { actual: 6 })
        );
        assert_eq!(
            hypervolume(&[], &[]),
            Err(IndicatorError::Points(SortError::NoObjectives))
        );
        assert_eq!(
            hypervolume(&[0.0, f64::NEG_INFINITY], &[1.0, 1.0]),
            Err(IndicatorError::Infinite {
                point: 0,
                objective: 1,
                value: f64::NEG_INFINITY
            })
        );
        assert_eq!(
            igd(&[], &[1.0], 1),
            Err(IndicatorError::TooFewPoints {
                least: 1,
                actual: 0
            })
        );
        assert_eq!(
            spacing(&[1.0, 2.0], 2),
            Err(IndicatorError::TooFewPoints {
                least: 2,
                actual: 1
            })
        );
        assert!(hypervolume(&[], &[1.0]).is_ok_and(|volume| volume <= 0.0));
    }
}
