//! Who stays: constrained domination, crowding, copies.

use super::Selection;
use super::reference::{Contest, Directions, DirectionsError, Extremes};
use crate::indicators::keep_largest_volume;
use crate::random::Stream;
use crate::sort::{Sorter, index, keyed};

/// The rank of a copy of a genome: after everybody else.
pub(super) const COPY: u32 = u32::MAX;

/// Objectives up to which crowding is measured again whenever somebody is taken out of a front. The
/// authors do it for two; three still gain from it (hypervolume of DTLZ2, 0.705 instead of 0.701),
/// while with more, nearness in single objectives says little and the time would be noticed.
const PRUNED_OBJECTIVES_MAX: usize = 3;

/// Individuals, as far as survival looks at them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool<'a> {
    pub(super) objectives: &'a [f64],
    pub(super) m: usize,
    pub(super) violations: &'a [f64],
    /// Whether each genome is that of an earlier one.
    pub(super) is_copy: &'a [bool],
}

impl Pool<'_> {
    fn point(&self, index: u32) -> &[f64] {
        &self.objectives[index as usize * self.m..][..self.m]
    }
}

/// How survivors of the front that does not fit whole are chosen.
#[derive(Clone, Debug)]
pub(super) enum Niching {
    Crowding,
    Directions(Directions),
    Volume,
}

/// A way to choose among the members of a front, and what it needs.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub(super) niching: &'a Niching,
    pub(super) extremes: &'a mut Extremes,
    pub(super) rng: &'a mut Stream,
}

/// Memory for choosing again and again, and what came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Survival {
    sorter: Sorter,
    crowder: Crowder,
    candidates: Vec<u32>,
    values: Vec<f64>,
    infeasible: Vec<u32>,
    by_rank: Vec<u32>,
    ends: Vec<u32>,
    /// Indices of the survivors, front by front.
    pub(super) chosen: Vec<u32>,
    /// For each individual of the pool: its front, or [`COPY`].
    pub(super) ranks: Vec<u32>,
    /// For each survivor, at its index in the pool: how far its neighbours are.
    pub(super) crowding: Vec<f64>,
}

impl Survival {
    /// Chooses `size` of a pool.
    ///
    /// A genome counts once; its copies come after everybody else. Deb's algorithm keeps them, and
    /// where genes are choices they soon fill the population.
    pub(super) fn choose(&mut self, pool: &Pool<'_>, size: usize, mut rule: Rule<'_>) {
        let count = pool.violations.len();
        self.ranks.clear();
        self.ranks.resize(count, COPY);
        self.crowding.clear();
        self.crowding.resize(count, 0.0);
        self.chosen.clear();
        self.rank_feasible(pool);
        self.rank_infeasible(pool);
        let mut start = 0;
        for front in 0..self.ends.len() {
            let end = self.ends[front] as usize;
            let members = &self.by_rank[start..end];
            if !matches!(rule.niching, Niching::Directions(_)) {
                self.crowder.measure(pool, members, &mut self.crowding);
            }
            let room = size - self.chosen.len();
            if members.len() <= room {
                self.chosen.extend_from_slice(members);
            } else if room > 0 {
                self.choose_of_front(pool, front, start, room, &mut rule);
            }
            if self.chosen.len() == size {
                return;
            }
            start = end;
        }
        let copies = (0..count as u32).filter(|&at| pool.is_copy[at as usize]);
        self.chosen.extend(copies.take(size - self.chosen.len()));
    }

    /// Fills up with `room` of the members of a front.
    fn choose_of_front(
        &mut self,
        pool: &Pool<'_>,
        front: usize,
        start: usize,
        room: usize,
        rule: &mut Rule<'_>,
    ) {
        let end = self.ends[front] as usize;
        let is_feasible = pool.violations[self.by_rank[start] as usize] <= 0.0;
        match rule.niching {
            Niching::Directions(directions) if is_feasible => {
                let (sure, last) = self.by_rank[..end].split_at(start);
                let contest = Contest {
                    objectives: pool.objectives,
                    m: pool.m,
                    sure,
                    last,
                    first: &self.by_rank[..self.ends[0] as usize],
                    keep: room,
                };
                let chosen = directions.choose(&contest, rule.extremes, rule.rng);
                self.chosen.extend(chosen);
            }
            Niching::Volume if is_feasible => {
                let members = &self.by_rank[start..end];
                let points: Vec<f64> = members
                    .iter()
                    .flat_map(|&index| pool.point(index))
                    .copied()
                    .collect();
                let reference = beyond_worst(&points, pool.m);
                let kept = keep_largest_volume(&points, &reference, room);
                self.chosen.extend(kept.into_iter().map(|at| members[at]));
            }
            Niching::Crowding if is_feasible && pool.m <= PRUNED_OBJECTIVES_MAX => {
                let members = &self.by_rank[start..end];
                self.crowder
                    .prune(pool, members, room, &mut self.crowding, &mut self.chosen);
            }
            Niching::Crowding | Niching::Directions(_) | Niching::Volume => {
                let members = &mut self.by_rank[start..end];
                let crowding = |index: u32| self.crowding[index as usize];
                // Ties are settled by age.
                members
                    .sort_unstable_by(|&a, &b| crowding(b).total_cmp(&crowding(a)).then(a.cmp(&b)));
                self.chosen.extend_from_slice(&members[..room]);
            }
        }
    }

    /// Puts feasible originals into `by_rank`, front by front, and the ends of fronts into `ends`.
    fn rank_feasible(&mut self, pool: &Pool<'_>) {
        self.candidates.clear();
        self.infeasible.clear();
        for at in 0..pool.violations.len() {
            if pool.is_copy[at] {
                continue;
            }
            if pool.violations[at] <= 0.0 {
                self.candidates.push(at as u32);
            } else {
                self.infeasible.push(at as u32);
            }
        }
        self.values.clear();
        for &index in &self.candidates {
            self.values.extend_from_slice(pool.point(index));
        }
        let ranks = self.sorter.ranks(&self.values, pool.m);
        // Counting sort: sizes, then starts, then ends as members are put in.
        self.ends.clear();
        for (&index, &rank) in self.candidates.iter().zip(ranks) {
            self.ranks[index as usize] = rank;
            let rank = rank as usize;
            if self.ends.len() <= rank {
                self.ends.resize(rank + 1, 0);
            }
            self.ends[rank] += 1;
        }
        let mut start = 0;
        for end in &mut self.ends {
            start += std::mem::replace(end, start);
        }
        self.by_rank.clear();
        self.by_rank.resize(self.candidates.len(), 0);
        for (&index, &rank) in self.candidates.iter().zip(ranks) {
            let end = &mut self.ends[rank as usize];
            self.by_rank[*end as usize] = index;
            *end += 1;
        }
    }

    /// Infeasible individuals are ordered by violation alone, so each violation is a front.
    fn rank_infeasible(&mut self, pool: &Pool<'_>) {
        let violation = |index: u32| pool.violations[index as usize];
        self.infeasible
            .sort_unstable_by(|&a, &b| violation(a).total_cmp(&violation(b)).then(a.cmp(&b)));
        for front in self
            .infeasible
            .chunk_by(|&a, &b| violation(a).total_cmp(&violation(b)).is_eq())
        {
            for &index in front {
                self.ranks[index as usize] = self.ends.len() as u32;
            }
            self.by_rank.extend_from_slice(front);
            self.ends.push(self.by_rank.len() as u32);
        }
    }
}

/// A point that is worse than all `points` by a tenth of their range, or by one where that is none.
pub(super) fn beyond_worst(points: &[f64], m: usize) -> Vec<f64> {
    (0..m)
        .map(|k| {
            let values = || points.iter().skip(k).step_by(m).copied();
            let worst = values().fold(f64::NEG_INFINITY, f64::max);
            let best = values().fold(f64::INFINITY, f64::min);
            let margin = (worst - best) / 10.0;
            let beyond = worst + if margin > 0.0 { margin } else { 1.0 };
            beyond.min(f64::MAX)
        })
        .collect()
}

impl Niching {
    pub(super) fn new(selection: &Selection, m: usize) -> Result<Self, DirectionsError> {
        Ok(match selection {
            Selection::Crowding => Self::Crowding,
            Selection::Hypervolume => Self::Volume,
            Selection::Directions(directions) => Self::Directions(Directions::new(directions, m)?),
        })
    }
}

/// Measures how far the neighbours of the members of a front are.
///
/// Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", §III-B.
#[derive(Clone, Debug, Default)]
struct Crowder {
    /// The members of the front that was measured last, by rising first objective, then by rising
    /// second, and so on.
    entries: Vec<u128>,
    /// Where each individual stands among the members.
    places: Vec<u32>,
    /// The neighbours of each member, in each objective.
    links: Vec<Link>,
    /// How far those are; NaN for members that were taken out.
    distances: Vec<f64>,
    /// The least of each block of distances.
    least: Vec<f64>,
}

/// A member between its neighbours in one objective, which are [`NOBODY`] at the ends.
#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
    /// From 0 at one end of the front to 1 at the other.
    value: f64,
}

const NOBODY: u32 = u32::MAX;

impl Crowder {
    /// Writes the crowding distance of each of `members` to its place in `crowding`.
    fn measure(&mut self, pool: &Pool<'_>, members: &[u32], crowding: &mut [f64]) {
        self.entries.clear();
        for k in 0..pool.m {
            // Halves, so that the span of two huge values of opposite sign stays finite.
            let half = |index: usize| pool.objectives[index * pool.m + k] / 2.0;
            let start = self.entries.len();
            if k == 1 && pool.m == 2 {
                // What rises in one objective falls in the other, which sorting notices.
                for at in 0..start {
                    let index = index(self.entries[at]);
                    self.entries.push(keyed(half(index), index));
                }
            } else {
                let entries = members.iter().map(|&index| index as usize);
                self.entries
                    .extend(entries.map(|index| keyed(half(index), index)));
            }
            let entries = &mut self.entries[start..];
            entries.sort_unstable();
            let (Some(&lowest), Some(&highest)) = (entries.first(), entries.last()) else {
                return;
            };
            let (lowest, highest) = (index(lowest), index(highest));
            crowding[lowest] = f64::INFINITY;
            crowding[highest] = f64::INFINITY;
            let span = half(highest) - half(lowest);
            if span <= 0.0 {
                continue;
            }
            for neighbours in entries.windows(3) {
                let between = half(index(neighbours[2])) - half(index(neighbours[0]));
                crowding[index(neighbours[1])] += between / span;
            }
        }
    }

    /// Takes the most crowded of the `members` that were measured last out of the front, then the
    /// one that is the most crowded without it, until `room` are left. Those are added to `chosen`,
    /// and how far their neighbours are then is written to `crowding`.
    ///
    /// By their first distances alone, all members of a cluster go at once, for each is near to
    /// the others.
    ///
    /// Complexity: O(n·(m + √n)) for n members.
    ///
    /// Source: Kukkonen and Deb 2006, "Improved pruning of non-dominated solutions based on
    /// crowding distance for bi-objective optimization problems".
    fn prune(
        &mut self,
        pool: &Pool<'_>,
        members: &[u32],
        room: usize,
        crowding: &mut [f64],
        chosen: &mut Vec<u32>,
    ) {
        self.link(pool, members);
        self.distances.clear();
        let distances = members.iter().map(|&index| crowding[index as usize]);
        self.distances.extend(distances);
        let block = self.distances.len().isqrt().next_power_of_two();
        self.least.clear();
        self.least.extend(self.distances.chunks(block).map(least));
        for _ in room..members.len() {
            self.take_most_crowded(pool.m, block);
        }
        for (&member, &distance) in members.iter().zip(&self.distances) {
            if !distance.is_nan() {
                crowding[member as usize] = distance;
                chosen.push(member);
            }
        }
    }

    /// Makes the links of a front that was measured.
    fn link(&mut self, pool: &Pool<'_>, members: &[u32]) {
        let m = pool.m;
        self.places.resize(pool.violations.len(), NOBODY);
        for (&member, place) in members.iter().zip(0..) {
            self.places[member as usize] = place;
        }
        let nowhere = Link {
            before: NOBODY,
            after: NOBODY,
            value: 0.0,
        };
        self.links.clear();
        self.links.resize(members.len() * m, nowhere);
        for (k, entries) in self.entries.chunks_exact(members.len()).enumerate() {
            let half = |entry: u128| pool.objectives[index(entry) * m + k] / 2.0;
            let (lowest, highest) = (half(entries[0]), half(entries[members.len() - 1]));
            let span = highest - lowest;
            let mut before = NOBODY;
            for &entry in entries {
                let place = self.places[index(entry)];
                if before != NOBODY {
                    self.links[before as usize * m + k].after = place;
                }
                let link = &mut self.links[place as usize * m + k];
                link.before = before;
                if span > 0.0 {
                    link.value = (half(entry) - lowest) / span;
                }
                before = place;
            }
        }
    }

    /// Takes out the member with the least distance, of equal ones the youngest.
    fn take_most_crowded(&mut self, m: usize, block: usize) {
        let lowest = least(&self.least);
        let range = match self.least.iter().rposition(|&least| least <= lowest) {
            Some(at) if lowest < f64::INFINITY => {
                at * block..self.distances.len().min((at + 1) * block)
            }
            // Only ends are left, wherever they are.
            _ => 0..self.distances.len(),
        };
        let start = range.start;
        let youngest = self.distances[range]
            .iter()
            .rposition(|&distance| distance <= lowest);
        let place = start + youngest.expect("one of those left has the least distance");
        self.set_distance(place, f64::NAN, block);
        for k in 0..m {
            let Link {
                before,
                after,
                value,
            } = self.links[place * m + k];
            let (mut to_before, mut to_after) = (f64::INFINITY, f64::INFINITY);
            if before != NOBODY {
                let link = &mut self.links[before as usize * m + k];
                link.after = after;
                to_before = value - link.value;
            }
            if after != NOBODY {
                let link = &mut self.links[after as usize * m + k];
                link.before = before;
                to_after = link.value - value;
            }
            // The neighbours have each other now.
            if before != NOBODY {
                let place = before as usize;
                self.set_distance(place, self.distances[place] + to_after, block);
            }
            if after != NOBODY {
                let place = after as usize;
                self.set_distance(place, self.distances[place] + to_before, block);
            }
        }
    }

    fn set_distance(&mut self, place: usize, distance: f64, block: usize) {
        let before = std::mem::replace(&mut self.distances[place], distance);
        let at = place / block;
        // Distances only grow.
        if before <= self.least[at] {
            let end = self.distances.len().min((at + 1) * block);
            self.least[at] = least(&self.distances[at * block..end]);
        }
    }
}

/// The least of some distances without the NaN among them, at most infinity.
fn least(distances: &[f64]) -> f64 {
    // Lanes, so that it becomes vector instructions.
    let (chunks, rest) = distances.as_chunks::<4>();
    let lower = |a: f64, b: f64| if b < a { b } else { a };
    let mut lanes = [f64::INFINITY; 4];
    for chunk in chunks {
        for (lane, &distance) in lanes.iter_mut().zip(chunk) {
            *lane = lower(*lane, distance);
        }
    }
    rest.iter()
        .chain(&lanes)
        .copied()
        .fold(f64::INFINITY, lower)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sort::dominates;

    /// Measures one front of two objectives.
    fn crowding(objectives: &[f64], m: usize) -> Vec<f64> {
        let count = objectives.len() / m;
        let pool = Pool {
            objectives,
            m,
            violations: &vec![0.0; count],
            is_copy: &[],
        };
        let members: Vec<u32> = (0..count as u32).collect();
        let mut distances = vec![0.0; count];
        Crowder::default().measure(&pool, &members, &mut distances);
        distances
    }

    #[test]
    fn crowding_is_infinite_at_the_ends_and_the_neighbours_span_between() {
        let distances = crowding(&[0.0, 10.0, 1.0, 6.0, 4.0, 4.0, 10.0, 0.0], 2);
        assert!(distances[0].is_infinite() && distances[3].is_infinite());
        assert!((distances[1] - (0.4 + 0.6)).abs() < 1e-12);
        assert!((distances[2] - (0.9 + 0.6)).abs() < 1e-12);
        assert!(crowding(&[], 2).is_empty());
    }

    #[test]
    fn crowding_of_huge_values_is_a_number() {
        assert!((crowding(&[-1e308, 0.0, 1e308], 1)[1] - 1.0).abs() < 1e-12);
    }

    /// Chooses `room` of one front.
    fn pruned(objectives: &[f64], m: usize, room: usize) -> (Vec<u32>, Vec<f64>) {
        let count = objectives.len() / m;
        let pool = Pool {
            objectives,
            m,
            violations: &vec![0.0; count],
            is_copy: &[],
        };
        let members: Vec<u32> = (0..count as u32).collect();
        let (mut crowder, mut distances) = (Crowder::default(), vec![0.0; count]);
        crowder.measure(&pool, &members, &mut distances);
        let mut chosen = Vec::new();
        crowder.prune(&pool, &members, room, &mut distances, &mut chosen);
        (chosen, distances)
    }

    #[test]
    fn of_a_cluster_some_stay() {
        // Three near to each other in the middle: by their first distances the three would go.
        let front = [
            0.0, 10.0, 2.0, 8.0, 4.9, 5.1, 5.0, 5.0, 5.1, 4.9, 8.0, 2.0, 10.0, 0.0,
        ];
        assert_eq!(pruned(&front, 2, 5).0, [0, 1, 2, 5, 6]);
    }

    #[test]
    fn where_only_ends_are_left_the_oldest_stay() {
        let front = [0.0, 3.0, 1.0, 2.0, 2.0, 1.0, 3.0, 0.0];
        assert_eq!(pruned(&front, 2, 2).0, [0, 3]);
        assert_eq!(pruned(&front, 2, 1).0, [0]);
        assert_eq!(pruned(&[1.0; 12], 3, 2).0, [0, 3]);
    }

    proptest! {
        #[test]
        fn pruning_takes_the_least_distance_of_those_left_each_time(
            values in proptest::collection::vec(0.0..1.0, 18..300),
            m in 2_usize..=3,
            share in 0.0..1.0,
        ) {
            let objectives = &values[..values.len() / m * m];
            let count = objectives.len() / m;
            // The ends stay, for distances are in shares of what lies between them.
            let ends = 2 * m;
            let room = ends + (share * (count - ends) as f64) as usize;
            let mut left: Vec<u32> = (0..count as u32).collect();
            let values_of = |left: &[u32]| -> Vec<f64> {
                let points = left.iter().map(|&at| &objectives[at as usize * m..][..m]);
                points.flatten().copied().collect()
            };
            while left.len() > room {
                let distances = crowding(&values_of(&left), m);
                let least = (0..left.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b]));
                left.remove(least.unwrap());
            }
            let (chosen, distances) = pruned(objectives, m, room);
            prop_assert_eq!(&chosen, &left);
            for (&at, measured) in chosen.iter().zip(crowding(&values_of(&left), m)) {
                let distance = distances[at as usize];
                let is_same = distance.total_cmp(&measured).is_eq();
                prop_assert!(is_same || (distance - measured).abs() < 1e-12);
            }
        }
    }

    /// The definition: feasible before infeasible, less violating before more, then domination.
    fn beats(pool: &Pool<'_>, a: u32, b: u32) -> bool {
        let (x, y) = (pool.violations[a as usize], pool.violations[b as usize]);
        x < y || (x <= 0.0 && y <= 0.0 && dominates(pool.point(a), pool.point(b)))
    }

    proptest! {
        #[test]
        fn constrained_domination_is_a_strict_partial_order_that_ranks_follow(
            values in proptest::collection::vec((0_u32..4).prop_map(f64::from), 3..90),
            keep in 1_usize..30,
        ) {
            let whole = &values[..values.len() / 3 * 3];
            let count = whole.len() / 3;
            let keep = keep.min(count);
            let (mut objectives, mut violations) = (Vec::new(), Vec::new());
            for individual in whole.chunks_exact(3) {
                objectives.extend_from_slice(&individual[..2]);
                violations.push((individual[2] - 1.0).max(0.0));
            }
            let pool = Pool {
                objectives: &objectives,
                m: 2,
                violations: &violations,
                is_copy: &vec![false; count],
            };
            let all: Vec<u32> = (0..count as u32).collect();
            for &a in &all {
                prop_assert!(!beats(&pool, a, a));
                for &b in &all {
                    prop_assert!(!(beats(&pool, a, b) && beats(&pool, b, a)));
                    let beaten_by_b = all.iter().filter(|&&c| beats(&pool, b, c));
                    for &c in beaten_by_b.filter(|_| beats(&pool, a, b)) {
                        prop_assert!(beats(&pool, a, c));
                    }
                }
            }
            let mut survival = Survival::default();
            let mut extremes = Extremes::default();
            let mut rng = Stream::new(1, 1, 1);
            let rule = Rule { niching: &Niching::Crowding, extremes: &mut extremes, rng: &mut rng };
            survival.choose(&pool, keep, rule);
            for &a in &all {
                let rank = survival.ranks[a as usize];
                let above = all.iter().filter(|&&b| beats(&pool, b, a));
                let highest = above.map(|&b| survival.ranks[b as usize] + 1).max();
                prop_assert_eq!(rank, highest.unwrap_or(0));
            }
            let mut chosen = survival.chosen.clone();
            prop_assert_eq!(chosen.len(), keep);
            chosen.sort_unstable();
            chosen.dedup();
            prop_assert_eq!(chosen.len(), keep);
            let worst = chosen.iter().map(|&at| survival.ranks[at as usize]).max();
            let left_out = all.iter().filter(|at| !chosen.contains(at));
            let best_out = left_out.map(|&at| survival.ranks[at as usize]).min();
            prop_assert!(best_out.is_none() || worst <= best_out);
        }
    }

    #[test]
    fn copies_come_last() {
        let pool = Pool {
            objectives: &[0.0, 5.0, 0.0, 9.0],
            m: 1,
            violations: &[0.0; 4],
            is_copy: &[false, false, true, false],
        };
        let mut survival = Survival::default();
        let mut extremes = Extremes::default();
        let mut rng = Stream::new(1, 1, 1);
        let rule = Rule {
            niching: &Niching::Crowding,
            extremes: &mut extremes,
            rng: &mut rng,
        };
        survival.choose(&pool, 4, rule);
        assert_eq!(survival.chosen, [0, 1, 3, 2]);
        assert_eq!(survival.ranks, [0, 1, COPY, 2]);
    }
}
