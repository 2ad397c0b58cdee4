//! Non-dominated sorting and crowding distance.

use std::cmp::Ordering;

use thiserror::Error;

/// Why points cannot be sorted.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SortError {
    /// Points must have at least one objective.
    #[error("points have no objectives")]
    NoObjectives,
    /// The values do not divide into whole points.
    #[error("{len} values do not divide into points of {objectives} objectives")]
    Ragged {
        /// Values given.
        len: usize,
        /// Objectives a point has.
        objectives: usize,
    },
    /// A value is not a number, so it is neither better nor worse than another.
    #[error("objective {objective} of point {point} is not a number")]
    NotANumber {
        /// Index of the point.
        point: usize,
        /// Index of the objective.
        objective: usize,
    },
}

/// The rank of each point: 0 for those that no other dominates, 1 for those that only points of
/// rank 0 dominate, and so on. All objectives are minimised.
///
/// `objectives` holds `m` values for each point, point after point. A point dominates another that
/// is nowhere better and somewhere worse; equal points share a rank. Infinities are allowed.
///
/// Complexity: O(m·N²) comparisons for N points at worst.
///
/// Source: Zhang et al. 2015, "An efficient approach to nondominated sorting for evolutionary
/// multiobjective optimization", the sequential search (ENS-SS).
///
/// # Errors
///
/// [`SortError`] if `m` is zero, the values are not whole points, or one is not a number.
///
/// # Examples
///
/// ```
/// use fogcompute_schedule::non_dominated_sort;
///
/// let points = [1.0, 4.0, 2.0, 2.0, 3.0, 3.0];
/// assert_eq!(non_dominated_sort(&points, 2), Ok(vec![0, 0, 1]));
/// ```
pub fn non_dominated_sort(objectives: &[f64], m: usize) -> Result<Vec<u32>, SortError> {
    if m == 0 {
        return Err(SortError::NoObjectives);
    }
    if !objectives.len().is_multiple_of(m) {
        return Err(SortError::Ragged {
            len: objectives.len(),
            objectives: m,
        });
    }
    if let Some(index) = objectives.iter().position(|value| value.is_nan()) {
        return Err(SortError::NotANumber {
            point: index / m,
            objective: index % m,
        });
    }
    let points: Vec<&[f64]> = objectives.chunks_exact(m).collect();
    Ok(ranks(&points))
}

/// [`non_dominated_sort`] of points without a NaN.
pub(crate) fn ranks(points: &[&[f64]]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| lexicographic(points[a], points[b]));
    let mut ranks = vec![0; points.len()];
    let mut fronts: Vec<Vec<usize>> = Vec::new();
    for index in order {
        // What comes later in lexicographic order never dominates what came before, so the front
        // of a point is settled when it is reached. The latest member is the likeliest dominator.
        let rank = fronts
            .iter()
            .position(|front| {
                !front
                    .iter()
                    .rev()
                    .any(|&member| dominates(points[member], points[index]))
            })
            .unwrap_or(fronts.len());
        if rank == fronts.len() {
            fronts.push(Vec::new());
        }
        fronts[rank].push(index);
        ranks[index] = rank as u32;
    }
    ranks
}

/// Order by the first objective that differs. Zeros of both signs are equal, unlike in
/// `f64::total_cmp`: otherwise -0 would hide a dominator behind what it dominates.
pub(crate) fn lexicographic(a: &[f64], b: &[f64]) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}

/// Whether `a` is nowhere worse than `b` and somewhere better.
pub(crate) fn dominates(a: &[f64], b: &[f64]) -> bool {
    let mut better = false;
    for (x, y) in a.iter().zip(b) {
        if x > y {
            return false;
        }
        better |= x < y;
    }
    better
}

/// The crowding distance of each member of one front, in the order of `front`.
///
/// Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", §III-B.
pub(crate) fn crowding(front: &[&[f64]]) -> Vec<f64> {
    let mut distances = vec![0.0; front.len()];
    let mut order: Vec<usize> = (0..front.len()).collect();
    for objective in 0..front.first().map_or(0, |point| point.len()) {
        add_crowding(front, |point| point[objective], &mut order, &mut distances);
    }
    distances
}

/// Adds the distances in the objective that `value` picks out of a point.
fn add_crowding(
    front: &[&[f64]],
    value: impl Fn(&[f64]) -> f64,
    order: &mut [usize],
    distances: &mut [f64],
) {
    // Halves, so that the span of two huge values of opposite sign stays finite.
    let half = |index: usize| value(front[index]) / 2.0;
    order.sort_by(|&a, &b| half(a).total_cmp(&half(b)).then(a.cmp(&b)));
    let (lowest, highest) = (order[0], order[order.len() - 1]);
    distances[lowest] = f64::INFINITY;
    distances[highest] = f64::INFINITY;
    let span = half(highest) - half(lowest);
    if span <= 0.0 {
        return;
    }
    for neighbours in order.windows(3) {
        distances[neighbours[1]] += (half(neighbours[2]) - half(neighbours[0])) / span;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_input_is_named() {
        assert_eq!(non_dominated_sort(&[], 0), Err(SortError::NoObjectives));
        assert_eq!(
            non_dominated_sort(&[1.0, 2.0, 3.0], 2),
            Err(SortError::Ragged {
                len: 3,
                objectives: 2
            })
        );
        assert_eq!(
            non_dominated_sort(&[1.0, 2.0, 3.0, f64::NAN], 2),
            Err(SortError::NotANumber {
                point: 1,
                objective: 1
            })
        );
        assert_eq!(non_dominated_sort(&[], 3), Ok(vec![]));
    }

    #[test]
    fn equal_points_share_a_rank() {
        assert_eq!(
            non_dominated_sort(&[1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 2.0, 2.0], 2),
            Ok(vec![0, 0, 1, 2])
        );
    }

    #[test]
    fn zeros_of_both_signs_are_equal() {
        assert_eq!(
            non_dominated_sort(&[-0.0, 5.0, 0.0, 3.0], 2),
            Ok(vec![1, 0])
        );
    }

    #[test]
    fn infinities_are_ordinary_values() {
        assert_eq!(
            non_dominated_sort(&[f64::INFINITY, 0.0, 1.0, 0.0, f64::NEG_INFINITY, 9.0], 2),
            Ok(vec![1, 0, 0])
        );
    }

    #[test]
    fn crowding_is_infinite_at_the_ends_and_the_neighbours_span_between() {
        let points: [&[f64]; 4] = [&[0.0, 10.0], &[1.0, 6.0], &[4.0, 4.0], &[10.0, 0.0]];
        let distances = crowding(&points);
        assert!(distances[0].is_infinite() && distances[3].is_infinite());
        assert!((distances[1] - (0.4 + 0.6)).abs() < 1e-12);
        assert!((distances[2] - (0.9 + 0.6)).abs() < 1e-12);
        assert!(crowding(&[]).is_empty());
    }

    #[test]
    fn crowding_of_huge_values_is_a_number() {
        let points: [&[f64]; 3] = [&[-1e308], &[0.0], &[1e308]];
        assert!((crowding(&points)[1] - 1.0).abs() < 1e-12);
    }

    /// The definition, front by front.
    fn ranks_by_peeling(points: &[&[f64]]) -> Vec<u32> {
        let mut ranks = vec![u32::MAX; points.len()];
        for rank in 0.. {
            let left: Vec<usize> = (0..points.len())
                .filter(|&i| ranks[i] == u32::MAX)
                .collect();
            if left.is_empty() {
                break;
            }
            for &i in &left {
                if !left.iter().any(|&j| dominates(points[j], points[i])) {
                    ranks[i] = rank;
                }
            }
        }
        ranks
    }

    proptest! {
        #[test]
        fn ranks_are_those_of_the_definition(
            m in 1_usize..5,
            // Few values, so that ties and equal points are common.
            values in proptest::collection::vec((0_i8..6).prop_map(f64::from), 0..160),
        ) {
            let whole = &values[..values.len() / m * m];
            let points: Vec<&[f64]> = whole.chunks_exact(m).collect();
            prop_assert_eq!(non_dominated_sort(whole, m), Ok(ranks_by_peeling(&points)));
        }
    }
}
