//! Who hears whom.

use fogcompute_base::Instant;

use super::MeshPlan;
use super::mobility::{Point, Walkers};

/// Two phones have a link from now on, or have it no more. The first number is the smaller one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Meeting {
    /// They have it.
    Begins(u32, u32),
    /// They have it no more.
    Ends(u32, u32),
}

/// The links of all phones, as they move.
#[derive(Debug)]
pub struct Meetings {
    plan: MeshPlan,
    walkers: Walkers,
    /// Of each phone those with higher numbers that it has a link with, in order.
    links: Vec<Vec<u32>>,
    degrees: Vec<usize>,
    cells: Cells,
    now: Instant,
    begun: bool,
}

impl Meetings {
    /// Before the first tick: nobody has a link.
    #[must_use]
    pub fn new(plan: &MeshPlan) -> Self {
        Self {
            walkers: Walkers::new(plan.seed, plan.phones, plan.side_m, plan.mobility),
            links: vec![Vec::new(); plan.phones as usize],
            cells: Cells::new(plan.side_m, plan.radio.range_m, plan.phones),
            degrees: vec![0; plan.phones as usize],
            now: Instant::ZERO,
            begun: false,
            plan: plan.clone(),
        }
    }

    /// When the next tick is.
    #[must_use]
    pub fn next_at(&self) -> Instant {
        if self.begun {
            self.now + self.plan.tick
        } else {
            self.now
        }
    }

    /// Links that are there, each with the smaller number first.
    pub fn links(&self) -> impl Iterator<Item = (u32, u32)> {
        let links = (0_u32..).zip(&self.links);
        links.flat_map(|(a, others)| others.iter().map(move |b| (a, *b)))
    }

    /// Lets everybody move for a tick; gives what changed, in order. Links that are there stay while they reach;
    /// then the nearest pairs get one, as long as both have room.
    pub fn tick(&mut self) -> Vec<Meeting> {
        self.now = self.next_at();
        self.begun = true;
        let points: Vec<_> = self.walkers.walk(self.now).collect();
        let range = self.plan.radio.range_m;
        let (near, far) = (range * range, range * range * 1.21);
        let middle = self.plan.side_m / 2.0;
        let is_parted = self.plan.wall.is_some_and(|wall| {
            let since = self.now.duration_since(Instant::ZERO);
            wall.from <= since && since < wall.until
        });
        let hears = |a: Point, b: Point, limit: f64| {
            a.distance_squared(b) <= limit && !(is_parted && (a.x < middle) != (b.x < middle))
        };
        let mut changes = Vec::new();
        let degrees = &mut self.degrees;
        for (a, others) in (0_u32..).zip(&mut self.links) {
            others.retain(|b| {
                let stays = hears(points[a as usize], points[*b as usize], far);
                if !stays {
                    degrees[a as usize] -= 1;
                    degrees[*b as usize] -= 1;
                    changes.push(Meeting::Ends(a, *b));
                }
                stays
            });
        }
        let mut candidates = Vec::new();
        let links = &self.links;
        self.cells.each_pair(&points, |a, b| {
            let (point, other) = (points[a as usize], points[b as usize]);
            if hears(point, other, near) && links[a as usize].binary_search(&b).is_err() {
                // Millimetres: a whole number has an order.
                let distance = (point.distance_squared(other) * 1e6) as u64;
                candidates.push((distance, a, b));
            }
        });
        candidates.sort_unstable();
        for (_, a, b) in candidates {
            let (first, second) = (a as usize, b as usize);
            if degrees[first].max(degrees[second]) < self.plan.radio.links_max
                && let Err(place) = self.links[first].binary_search(&b)
            {
                degrees[first] += 1;
                degrees[second] += 1;
                self.links[first].insert(place, b);
                changes.push(Meeting::Begins(a, b));
            }
        }
        changes
    }
}

/// Squares as wide as radios reach, or wider: who hears whom is in the same one or in one beside it.
#[derive(Debug)]
struct Cells {
    width: f64,
    columns: usize,
    /// Who was put into each square last, and before whom each phone was.
    last: Vec<Option<u32>>,
    before: Vec<Option<u32>>,
}

impl Cells {
    fn new(side: f64, range: f64, phones: u32) -> Self {
        // No more squares than phones can make use of, however large the place is.
        let most = 2.0 * f64::from(phones).sqrt().ceil() + 1.0;
        let columns = (side / range).floor().max(1.0).min(most);
        let width = side / columns;
        let columns = columns as usize;
        Self {
            width,
            columns,
            last: vec![None; columns * columns],
            before: vec![None; phones as usize],
        }
    }

    /// Calls for each two phones that may hear each other, once, the smaller number first.
    fn each_pair(&mut self, points: &[Point], mut pair: impl FnMut(u32, u32)) {
        self.last.fill(None);
        // Who is a little outside is in the square at the edge.
        let top = self.columns - 1;
        let cell = |metres: f64| ((metres / self.width) as usize).min(top);
        for (phone, point) in (0_u32..).zip(points) {
            let (x, y) = (cell(point.x), cell(point.y));
            for row in y.saturating_sub(1)..=(y + 1).min(top) {
                for column in x.saturating_sub(1)..=(x + 1).min(top) {
                    let mut at = self.last[row * self.columns + column];
                    while let Some(other) = at {
                        pair(other, phone);
                        at = self.before[other as usize];
                    }
                }
            }
            let last = &mut self.last[y * self.columns + x];
            self.before[phone as usize] = last.replace(phone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{Mobility, Wall};
    use fogcompute_mesh::courier::CourierStrategy;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    proptest! {
        #[test]
        fn who_is_near_is_found_whatever_the_squares(
            side in 1.0_f64..1000.0,
            range in 0.5_f64..200.0,
            places in proptest::collection::vec((-0.01_f64..1.01, -0.01_f64..1.01), 1..60),
        ) {
            let points = places.iter().map(|(x, y)| Point { x: x * side, y: y * side });
            let points: Vec<_> = points.collect();
            let count = u32::try_from(points.len()).unwrap();
            let mut cells = Cells::new(side, range, count);
            // Twice: nothing is left of the first time.
            for _ in 0..2 {
                let mut found = BTreeSet::new();
                cells.each_pair(&points, |a, b| assert!(a < b && found.insert((a, b))));
                for b in 0..count {
                    for a in 0..b {
                        let distance = points[a as usize].distance_squared(points[b as usize]);
                        prop_assert!(distance > range * range || found.contains(&(a, b)));
                    }
                }
            }
        }
    }

    #[test]
    fn links_are_as_many_as_radios_have_and_none_goes_through_the_wall() {
        let wall = Wall {
            from: Duration::from_secs(300),
            until: Duration::from_secs(600),
        };
        let mut plan = MeshPlan {
            mobility: Mobility::waypoints(),
            side_m: 100.0,
            wall: Some(wall),
            ..MeshPlan::new(1, 40, CourierStrategy::Direct)
        };
        plan.radio.links_max = 5;
        let mut meetings = Meetings::new(&plan);
        let mut walkers = Walkers::new(1, 40, 100.0, plan.mobility);
        let mut through = [0, 0];
        while meetings.next_at() < Instant::from_millis(900_000) {
            let now = meetings.next_at();
            meetings.tick();
            let points: Vec<_> = walkers.walk(now).collect();
            let mut degrees = [0; 40];
            for (a, b) in meetings.links() {
                let (a, b) = (a as usize, b as usize);
                assert!(points[a].distance_squared(points[b]).sqrt() <= 44.0 + 1e-9);
                degrees[a] += 1;
                degrees[b] += 1;
                let is_through = (points[a].x < 50.0) != (points[b].x < 50.0);
                let since = now.duration_since(Instant::ZERO);
                let is_up = wall.from <= since && since < wall.until;
                through[usize::from(is_up)] += usize::from(is_through);
            }
            assert!(degrees.into_iter().all(|degree| degree <= 5), "{degrees:?}");
        }
        assert!(through[0] > 0);
        assert_eq!(through[1], 0);
    }

    #[test]
    fn what_changed_is_what_is_there() {
        let plan = MeshPlan::new(2, 80, CourierStrategy::Direct);
        let mut meetings = Meetings::new(&plan);
        let mut links = BTreeSet::new();
        for _ in 0..400 {
            for meeting in meetings.tick() {
                match meeting {
                    Meeting::Begins(a, b) => assert!(a < b && links.insert((a, b))),
                    Meeting::Ends(a, b) => assert!(links.remove(&(a, b))),
                }
            }
            assert!(meetings.links().eq(links.iter().copied()));
        }
    }
}
