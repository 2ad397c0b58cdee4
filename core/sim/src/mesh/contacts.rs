//! Who hears whom.

use std::collections::{BTreeMap, BTreeSet};

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
    links: BTreeSet<(u32, u32)>,
    degrees: Vec<usize>,
    now: Instant,
    begun: bool,
}

impl Meetings {
    /// Before the first tick: nobody has a link.
    #[must_use]
    pub fn new(plan: &MeshPlan) -> Self {
        Self {
            walkers: Walkers::new(plan.seed, plan.phones, plan.side_m, plan.mobility),
            links: BTreeSet::new(),
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
        self.links.iter().copied()
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
        self.links.retain(|(a, b)| {
            let stays = hears(points[*a as usize], points[*b as usize], far);
            if !stays {
                degrees[*a as usize] -= 1;
                degrees[*b as usize] -= 1;
                changes.push(Meeting::Ends(*a, *b));
            }
            stays
        });
        let cell = |point: &Point| {
            (
                (point.x / range).floor() as i64,
                (point.y / range).floor() as i64,
            )
        };
        let mut cells: BTreeMap<(i64, i64), Vec<u32>> = BTreeMap::new();
        for (phone, point) in (0_u32..).zip(&points) {
            cells.entry(cell(point)).or_default().push(phone);
        }
        let mut candidates = Vec::new();
        for (a, point) in (0_u32..).zip(&points) {
            let (x, y) = cell(point);
            let around = (x - 1..=x + 1).flat_map(|x| (y - 1..=y + 1).map(move |y| (x, y)));
            for b in around.filter_map(|cell| cells.get(&cell)).flatten() {
                let other = points[*b as usize];
                if a < *b && hears(*point, other, near) && !self.links.contains(&(a, *b)) {
                    // Millimetres: a whole number has an order.
                    let distance = (point.distance_squared(other) * 1e6) as u64;
                    candidates.push((distance, a, *b));
                }
            }
        }
        candidates.sort_unstable();
        for (_, a, b) in candidates {
            let (first, second) = (a as usize, b as usize);
            if degrees[first].max(degrees[second]) < self.plan.radio.links_max {
                degrees[first] += 1;
                degrees[second] += 1;
                self.links.insert((a, b));
                changes.push(Meeting::Begins(a, b));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{Mobility, Wall};
    use fogcompute_mesh::courier::CourierStrategy;
    use std::time::Duration;

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
