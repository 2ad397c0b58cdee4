//! Non-dominated sorting.

use std::cmp::Ordering;

use thiserror::Error;

/// Distinct points up to which every pair is compared; above, sets of dominators are intersected.
const PAIRS_MAX: usize = 256;

/// Values that one step of the comparison of pairs looks at, so that it becomes vector
/// instructions.
const LANES: usize = 8;

/// Points whose dominated are found together, and the words that hold a bit for each: a cache line.
const BLOCK: usize = 512;
const WORDS: usize = BLOCK / 64;

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
/// Complexity: O(N log N) for N points of up to two objectives. Beyond, O(m·N²) comparisons of
/// eight values at once for a few hundred points, and O(m·N·(log N + N/64)) steps with O(N·m)
/// memory for more.
///
/// Source: the order in which points are ranked is that of Zhang et al. 2015, "An efficient
/// approach to nondominated sorting for evolutionary multiobjective optimization" (ENS); the
/// intersection of sets is that of Burlacu 2022, "Rank-based non-dominated sorting", here in blocks
/// that fit a cache and without the matrix of all pairs.
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
    check_points(objectives, m)?;
    Ok(Sorter::default().ranks(objectives, m).to_vec())
}

/// Refuses what is not a whole number of points of `m` numbers.
pub(crate) fn check_points(objectives: &[f64], m: usize) -> Result<(), SortError> {
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
    Ok(())
}

/// [`non_dominated_sort`] of points of equal length without a NaN.
pub(crate) fn ranks(points: &[&[f64]]) -> Vec<u32> {
    let Some(first) = points.first() else {
        return Vec::new();
    };
    Sorter::default()
        .ranks(&points.concat(), first.len())
        .to_vec()
}

/// Memory for sorting again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sorter {
    /// Points in lexicographic order, as [`keyed`] entries.
    order: Vec<u128>,
    /// The position of each point among the distinct ones.
    position: Vec<u32>,
    /// Values of the distinct points, one objective after another but the first. Each column is
    /// filled up to whole lanes.
    columns: Vec<f64>,
    /// Ranks of the distinct points.
    distinct: Vec<u32>,
    /// The same plus one while pairs are compared; zero means "not ranked yet".
    levels: Vec<f64>,
    ranks: Vec<u32>,
    intersection: Intersection,
}

impl Sorter {
    /// The rank of each point. `objectives` are whole points of `m` > 0 numbers, none of them NaN.
    pub(crate) fn ranks(&mut self, objectives: &[f64], m: usize) -> &[u32] {
        let n = objectives.len() / m;
        let row = |entry: u128| &objectives[index(entry) * m..][..m];
        self.order.clear();
        let entries = objectives.chunks_exact(m).enumerate();
        self.order
            .extend(entries.map(|(index, point)| keyed(point[0], index)));
        self.order.sort_unstable();
        for ties in self.order.chunk_by_mut(|&a, &b| a >> 32 == b >> 32) {
            if ties.len() > 1 {
                ties.sort_unstable_by(|&a, &b| lexicographic(row(a), row(b)).then(a.cmp(&b)));
            }
        }
        // Equal points stand beside each other now. Among distinct ones, an earlier one that is
        // nowhere worse than a later one dominates it, and a later one never an earlier one.
        self.position.resize(n, 0);
        let mut representatives = 0;
        for at in 0..n {
            let entry = self.order[at];
            let is_copy = representatives > 0
                && lexicographic(row(self.order[representatives - 1]), row(entry)).is_eq();
            if !is_copy {
                self.order[representatives] = entry;
                representatives += 1;
            }
            self.position[index(entry)] = representatives as u32 - 1;
        }
        self.order.truncate(representatives);
        self.rank_distinct(objectives, m);
        self.ranks.clear();
        let ranked = self.position[..n].iter();
        self.ranks
            .extend(ranked.map(|&position| self.distinct[position as usize]));
        &self.ranks
    }

    fn rank_distinct(&mut self, objectives: &[f64], m: usize) {
        let n = self.order.len();
        self.distinct.clear();
        match m {
            1 => self.distinct.extend(0..n as u32),
            2 => self.rank_two(objectives),
            _ => {
                let stride = n.next_multiple_of(LANES);
                self.columns.clear();
                self.columns.resize((m - 1) * stride, f64::INFINITY);
                for (position, &entry) in self.order.iter().enumerate() {
                    let point = &objectives[index(entry) * m..][..m];
                    for (k, &value) in point[1..].iter().enumerate() {
                        self.columns[k * stride + position] = value;
                    }
                }
                if n > PAIRS_MAX {
                    self.distinct.resize(n, 0);
                    self.intersection
                        .rank(&self.columns, stride, &mut self.distinct);
                    return;
                }
                match m - 1 {
                    2 => self.compare_pairs::<2>(stride),
                    3 => self.compare_pairs::<3>(stride),
                    4 => self.compare_pairs::<4>(stride),
                    5 => self.compare_pairs::<5>(stride),
                    _ => self.compare_pairs_of_any_length(stride),
                }
            }
        }
    }

    /// In lexicographic order the second objective of a front only falls, so its last member alone
    /// says whether a point is dominated.
    fn rank_two(&mut self, objectives: &[f64]) {
        self.levels.clear();
        for &entry in &self.order {
            let value = objectives[index(entry) * 2 + 1];
            let rank = self.levels.partition_point(|&last| last <= value);
            if rank == self.levels.len() {
                self.levels.push(value);
            } else {
                self.levels[rank] = value;
            }
            self.distinct.push(rank as u32);
        }
    }

    /// The rank of a point is one more than the highest of its dominators'. `K` columns.
    fn compare_pairs<const K: usize>(&mut self, stride: usize) {
        self.levels.clear();
        self.levels.resize(stride, 0.0);
        let columns: [&[[f64; LANES]]; K] = std::array::from_fn(|k| {
            let (lanes, _) = self.columns[k * stride..][..stride].as_chunks();
            lanes
        });
        for position in 0..self.order.len() {
            let (chunk, lane) = (position / LANES, position % LANES);
            let point: [f64; K] = std::array::from_fn(|k| columns[k][chunk][lane]);
            let (levels, _) = self.levels.as_chunks();
            let mut highest = [0.0; LANES];
            for (chunk, level) in levels[..=chunk].iter().enumerate() {
                let mut found: [f64; LANES] = *level;
                for k in 0..K {
                    let column = &columns[k][chunk];
                    for lane in 0..LANES {
                        let is_better = column[lane] <= point[k];
                        found[lane] = if is_better { found[lane] } else { 0.0 };
                    }
                }
                raise(&mut highest, &found);
            }
            settle(&mut self.levels, &mut self.distinct, position, &highest);
        }
    }

    /// The same for any number of columns.
    fn compare_pairs_of_any_length(&mut self, stride: usize) {
        self.levels.clear();
        self.levels.resize(stride, 0.0);
        for position in 0..self.order.len() {
            let (levels, _) = self.levels.as_chunks();
            let mut highest = [0.0; LANES];
            for (chunk, level) in levels[..=position / LANES].iter().enumerate() {
                let mut found: [f64; LANES] = *level;
                for column in self.columns.chunks_exact(stride) {
                    let value = column[position];
                    for (found, &other) in found.iter_mut().zip(&column[chunk * LANES..]) {
                        *found = if other <= value { *found } else { 0.0 };
                    }
                }
                raise(&mut highest, &found);
            }
            settle(&mut self.levels, &mut self.distinct, position, &highest);
        }
    }
}

/// Ranks the point at `position` one above its highest dominator.
fn settle(levels: &mut [f64], ranks: &mut Vec<u32>, position: usize, highest: &[f64; LANES]) {
    let level = highest.iter().fold(0.0, |a: f64, &b| a.max(b));
    levels[position] = level + 1.0;
    ranks.push(level as u32);
}

/// Lane by lane the larger of two.
fn raise(highest: &mut [f64; LANES], found: &[f64; LANES]) {
    for (highest, &found) in highest.iter_mut().zip(found) {
        *highest = if found > *highest { found } else { *highest };
    }
}

/// Ranks many points by the sets of those that are nowhere worse in one objective each.
#[derive(Clone, Debug, Default)]
struct Intersection {
    /// For each column the positions by rising value, equal values by position.
    orders: Vec<Vec<u32>>,
    entries: Vec<u128>,
    /// For each point its dominators among the points of the current block.
    dominators: Vec<[u64; WORDS]>,
    /// A rank that no point of the block is below.
    lowest: u32,
    /// The points of the block of at least a rank, from `lowest` on.
    at_least: Vec<[u64; WORDS]>,
}

impl Intersection {
    /// Ranks the points whose `columns` are given, which are distinct and in lexicographic order.
    fn rank(&mut self, columns: &[f64], stride: usize, ranks: &mut [u32]) {
        let n = ranks.len();
        self.orders.resize_with(columns.len() / stride, Vec::new);
        for (order, column) in self.orders.iter_mut().zip(columns.chunks_exact(stride)) {
            self.entries.clear();
            let values = column[..n].iter().enumerate();
            self.entries
                .extend(values.map(|(at, &value)| keyed(value, at)));
            self.entries.sort_unstable();
            order.clear();
            order.extend(self.entries.iter().map(|&entry| entry as u32));
        }
        self.dominators.clear();
        self.dominators.resize(n, [0; WORDS]);
        for start in (0..n).step_by(BLOCK) {
            let end = n.min(start + BLOCK);
            for (objective, order) in self.orders.iter_mut().enumerate() {
                sweep(order, objective == 0, start, &mut self.dominators);
            }
            let (block, later) = ranks.split_at_mut(end);
            self.rank_block(start, &mut block[start..]);
            for (set, rank) in self.dominators[end..].iter().zip(later) {
                *rank = self.raised(set, *rank);
            }
        }
    }

    /// Completes the ranks of a block, in which the blocks before are accounted for.
    fn rank_block(&mut self, start: usize, ranks: &mut [u32]) {
        self.lowest = ranks.iter().copied().min().unwrap_or(0);
        self.at_least.clear();
        for (at, rank) in ranks.iter_mut().enumerate() {
            // Only earlier points dominate; later ones may be in the set for want of a look at the
            // first objective.
            let mut set = self.dominators[start + at];
            let (word, bit) = (at / 64, at % 64);
            set[word] &= (1 << bit) - 1;
            set[word + 1..].fill(0);
            *rank = self.raised(&set, *rank);
            let levels = (*rank - self.lowest) as usize + 1;
            if self.at_least.len() < levels {
                self.at_least.resize(levels, [0; WORDS]);
            }
            for level in &mut self.at_least[..levels] {
                level[word] |= 1 << bit;
            }
        }
    }

    /// The rank of a point that has at least `rank` and is dominated by the points of `set`.
    fn raised(&self, set: &[u64; WORDS], rank: u32) -> u32 {
        let from = rank.max(self.lowest);
        let levels = self.at_least.get((from - self.lowest) as usize..);
        // Most points keep their rank, which the first level tells.
        match levels {
            Some(levels @ [first, ..]) if meets(set, first) => {
                from + levels.partition_point(|level| meets(set, level)) as u32
            }
            _ => rank,
        }
    }
}

fn meets(a: &[u64; WORDS], b: &[u64; WORDS]) -> bool {
    a.iter().zip(b).fold(0, |any, (a, b)| any | (a & b)) != 0
}

/// Takes from each set what is worse in the objective that `order` is of, and the points of the
/// block that begins at `start` out of `order`.
fn sweep(order: &mut Vec<u32>, is_first: bool, start: usize, dominators: &mut [[u64; WORDS]]) {
    let mut seen = [0_u64; WORDS];
    let mut kept = 0;
    for at in 0..order.len() {
        let position = order[at] as usize;
        let set = &mut dominators[position];
        if is_first {
            *set = seen;
        } else {
            for (set, seen) in set.iter_mut().zip(&seen) {
                *set &= seen;
            }
        }
        let bit = position - start;
        if bit < BLOCK {
            seen[bit / 64] |= 1 << (bit % 64);
        } else {
            order[kept] = order[at];
            kept += 1;
        }
    }
    order.truncate(kept);
}

/// A value and an index that sort as the value does, then by index.
pub(crate) fn keyed(value: f64, index: usize) -> u128 {
    // Both zeros are one; then the bits of positive numbers sort as they are, of negative ones
    // backwards.
    let bits = (value + 0.0).to_bits();
    let key = if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    };
    (u128::from(key) << 32) | index as u128
}

/// The index of a [`keyed`] entry.
pub(crate) fn index(entry: u128) -> usize {
    entry as u32 as usize
}

/// Order by the first objective that differs. Zeros of both signs are equal, unlike in
/// `f64::total_cmp`: otherwise -0 would hide a dominator behind what it dominates.
pub(crate) fn lexicographic(a: &[f64], b: &[f64]) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}

/// Whether `a` is nowhere worse than `b` and somewhere better.
#[cfg(test)]
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::random::{below, shuffle};

    /// Each point in lexicographic order into the first front that does not dominate it.
    fn ranks_one_by_one(points: &[&[f64]]) -> Vec<u32> {
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by(|&a, &b| lexicographic(points[a], points[b]));
        let mut ranks = vec![0; points.len()];
        let mut fronts: Vec<Vec<usize>> = Vec::new();
        for index in order {
            let beaten = |front: &Vec<usize>| {
                front
                    .iter()
                    .any(|&member| dominates(points[member], points[index]))
            };
            let rank = fronts.iter().take_while(|front| beaten(front)).count();
            if rank == fronts.len() {
                fronts.push(Vec::new());
            }
            fronts[rank].push(index);
            ranks[index] = rank as u32;
        }
        ranks
    }

    #[test]
    fn a_chain_of_many_points_has_a_rank_each() {
        let values: Vec<f64> = (0..1_500).rev().flat_map(|at| [f64::from(at); 3]).collect();
        let expected: Vec<u32> = (0..1_500).rev().collect();
        assert_eq!(non_dominated_sort(&values, 3), Ok(expected));
    }

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
        fn sorting_many_points_gives_the_ranks_of_the_definition(
            m in 3_usize..6,
            kinds in 1_u64..2_000,
            n in 257_usize..1_300,
            seed: u64,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let values: Vec<f64> = (0..n * m).map(|_| below(&mut rng, kinds) as f64).collect();
            let points: Vec<&[f64]> = values.chunks_exact(m).collect();
            prop_assert_eq!(non_dominated_sort(&values, m), Ok(ranks_one_by_one(&points)));
        }

        #[test]
        fn the_order_of_points_does_not_matter(
            m in 1_usize..7,
            n in 0_usize..700,
            kinds in 1_u64..100,
            seed: u64,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let points: Vec<Vec<f64>> = (0..n)
                .map(|_| (0..m).map(|_| below(&mut rng, kinds) as f64 - 20.0).collect())
                .collect();
            let mut order: Vec<usize> = (0..n).collect();
            shuffle(&mut order, &mut rng);
            let shuffled: Vec<f64> = order.iter().flat_map(|&at| points[at].clone()).collect();
            let ranks = non_dominated_sort(&points.concat(), m).unwrap();
            let expected: Vec<u32> = order.iter().map(|&at| ranks[at]).collect();
            prop_assert_eq!(non_dominated_sort(&shuffled, m), Ok(expected));
        }

        #[test]
        fn a_point_that_is_no_number_is_named(
            values in proptest::collection::vec(-1.0_f64..1.0, 12..60),
            at in 0_usize..12,
        ) {
            let mut values = values[..values.len() / 3 * 3].to_vec();
            values[at] = f64::NAN;
            let expected = SortError::NotANumber { point: at / 3, objective: at % 3 };
            prop_assert_eq!(non_dominated_sort(&values, 3), Err(expected));
        }

        #[test]
        fn ranks_are_those_of_the_definition(
            m in 1_usize..9,
            // Few values, so that ties and equal points are common.
            values in proptest::collection::vec((0_i8..6).prop_map(f64::from), 0..160),
        ) {
            let whole = &values[..values.len() / m * m];
            let points: Vec<&[f64]> = whole.chunks_exact(m).collect();
            prop_assert_eq!(non_dominated_sort(whole, m), Ok(ranks_by_peeling(&points)));
        }
    }
}
