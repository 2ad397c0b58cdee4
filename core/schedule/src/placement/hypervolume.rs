//! How much of the space of objectives a front dominates.

use std::cmp::Ordering;

/// Volume of the space that is dominated by `points` and better than `reference` in everything.
/// All objectives are minimised. Points that do not dominate the reference, or are not finite, add
/// nothing.
///
/// Exact. Exponential in the worst case; 100 points of five objectives take milliseconds.
///
/// Source: While, Bradstreet and Barone 2012, "A fast way of calculating exact hypervolumes" (WFG).
#[must_use]
pub fn hypervolume<const M: usize>(points: &[[f64; M]], reference: &[f64; M]) -> f64 {
    let inside = |point: &&[f64; M]| {
        point
            .iter()
            .zip(reference)
            .all(|(x, limit)| x.is_finite() && x < limit)
    };
    let mut points: Vec<[f64; M]> = points.iter().filter(inside).copied().collect();
    volume(&mut points, reference)
}

fn volume<const M: usize>(points: &mut Vec<[f64; M]>, reference: &[f64; M]) -> f64 {
    keep_non_dominated(points);
    // Worst first in one objective: later points limit earlier ones to thin slices, of which many
    // coincide.
    points.sort_unstable_by(|a, b| {
        let last = M.saturating_sub(1);
        b[last..]
            .iter()
            .zip(&a[last..])
            .map(|(b, a)| b.total_cmp(a))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    let mut limited = Vec::with_capacity(points.len());
    let mut sum = 0.0;
    for (index, point) in points.iter().enumerate() {
        let whole: f64 = point.iter().zip(reference).map(|(x, r)| r - x).product();
        limited.clear();
        limited.extend(points[index + 1..].iter().map(|other| {
            std::array::from_fn::<f64, M, _>(|objective| other[objective].max(point[objective]))
        }));
        sum += whole
            - if limited.is_empty() {
                0.0
            } else {
                volume(&mut limited, reference)
            };
    }
    sum
}

/// Removes every point that another equals or beats in everything, keeping one of equals.
fn keep_non_dominated<const M: usize>(points: &mut Vec<[f64; M]>) {
    let mut kept = 0;
    for index in 0..points.len() {
        let point = points[index];
        if points[..kept].iter().any(|other| covers(other, &point)) {
            continue;
        }
        let mut left = 0;
        for other in 0..kept {
            if !covers(&point, &points[other]) {
                points[left] = points[other];
                left += 1;
            }
        }
        points[left] = point;
        kept = left + 1;
    }
    points.truncate(kept);
}

/// Whether `a` is at least as good as `b` in everything.
pub(super) fn covers<const M: usize>(a: &[f64; M], b: &[f64; M]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn boxes_are_counted_once() {
        let reference = [4.0, 4.0];
        assert!((hypervolume(&[[1.0, 3.0], [3.0, 1.0]], &reference) - 5.0).abs() < 1e-12);
        assert!((hypervolume(&[[1.0, 1.0], [3.0, 1.0]], &reference) - 9.0).abs() < 1e-12);
        assert!((hypervolume(&[[1.0, 1.0], [1.0, 1.0]], &reference) - 9.0).abs() < 1e-12);
    }

    #[test]
    fn points_outside_the_reference_add_nothing() {
        let points = [[4.0, 0.0], [f64::NAN, 0.0], [f64::NEG_INFINITY, 0.0]];
        assert!(hypervolume(&points, &[4.0, 4.0]) <= 0.0);
        assert!(hypervolume::<3>(&[], &[1.0; 3]) <= 0.0);
    }

    proptest! {
        /// On a small grid the volume can be counted cell by cell.
        #[test]
        fn the_volume_is_the_number_of_cells(
            points in proptest::collection::vec(proptest::array::uniform4(0_u8..5), 0..12)
        ) {
            let mut cells = 0_u32;
            for cell in 0..625_u32 {
                let at: [u32; 4] = std::array::from_fn(|axis| cell / 5_u32.pow(axis as u32) % 5);
                let inside = |point: &[u8; 4]| {
                    point.iter().zip(&at).all(|(&x, &at)| u32::from(x) <= at)
                };
                cells += u32::from(points.iter().any(inside));
            }
            let points: Vec<[f64; 4]> = points.iter().map(|point| point.map(f64::from)).collect();
            prop_assert!((hypervolume(&points, &[5.0; 4]) - f64::from(cells)).abs() < 1e-9);
        }
    }
}
