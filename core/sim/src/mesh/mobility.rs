//! How phones move.

use std::time::Duration;

use fogcompute_base::Instant;

use crate::chance::{Chance, below, chance, exponential, happens};

/// A place, in metres.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Eastwards.
    pub x: f64,
    /// Northwards.
    pub y: f64,
}

impl Point {
    /// The square of the distance to another place, in square metres.
    #[must_use]
    pub fn distance_squared(self, other: Self) -> f64 {
        let (x, y) = (self.x - other.x, self.y - other.y);
        x * x + y * y
    }
}

/// How phones move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mobility {
    /// To any place of the square, in a straight line, then a rest there. Everybody meets everybody equally often.
    ///
    /// Source: Johnson & Maltz 1996; the lowest speed is above zero, or the mean would fall for ever (Yoon et al.
    /// 2003).
    RandomWaypoint {
        /// Lowest and highest speed, in metres a second.
        speed: (f64, f64),
        /// The longest rest.
        rest_max: Duration,
    },
    /// Between a home and a workplace that some share, and public places, with stays of exponential length: who meets
    /// whom is not by chance. One in five works in another district than where it lives.
    Places {
        /// Phones of one home.
        home: u32,
        /// Phones of one workplace.
        work: u32,
        /// The mean of a stay.
        stay: Duration,
        /// Of a million ways, so many lead to a public place; of the others half lead home.
        public_ppm: u32,
        /// Lowest and highest speed, in metres a second.
        speed: (f64, f64),
    },
}

impl Mobility {
    /// Homes of three, workplaces of eight, stays of forty minutes, on foot or by bicycle.
    #[must_use]
    pub const fn places() -> Self {
        Self::Places {
            home: 3,
            work: 8,
            stay: Duration::from_secs(2400),
            public_ppm: 150_000,
            speed: (1.0, 5.0),
        }
    }

    /// On foot, with rests of up to two minutes.
    #[must_use]
    pub const fn waypoints() -> Self {
        Self::RandomWaypoint {
            speed: (0.5, 2.0),
            rest_max: Duration::from_secs(120),
        }
    }
}

/// Phones of one district.
const DISTRICT: u32 = 100;
/// Phones to one public place.
const PUBLIC: u32 = 20;
/// How far from the middle of a place somebody there may be, in metres.
const PLACE_RADIUS: f64 = 8.0;
/// Of a million phones, so many work in another district.
const COMMUTERS_PPM: u32 = 200_000;

#[derive(Debug)]
struct Walker {
    at: Point,
    to: Point,
    speed: f64,
    /// When it goes on.
    rests_until: Instant,
    home: Point,
    work: Point,
    rng: Chance,
}

/// All phones on their ways.
#[derive(Debug)]
pub(super) struct Walkers {
    side: f64,
    mobility: Mobility,
    public: Vec<Point>,
    walkers: Vec<Walker>,
    now: Instant,
}

/// From zero to one, without one.
fn unit(rng: &mut Chance) -> f64 {
    below(rng, 1 << 53) as f64 / (1_u64 << 53) as f64
}

fn within(rng: &mut Chance, (low, high): (f64, f64)) -> f64 {
    low + unit(rng) * (high - low)
}

impl Walkers {
    pub(super) fn new(seed: u64, phones: u32, side: f64, mobility: Mobility) -> Self {
        let rng = &mut chance(seed, "mesh: places", 0);
        let anywhere = |rng: &mut Chance| Point {
            x: within(rng, (0.0, side)),
            y: within(rng, (0.0, side)),
        };
        let (per_home, per_work) = match mobility {
            Mobility::Places { home, work, .. } => (home.max(1), work.max(1)),
            Mobility::RandomWaypoint { .. } => (1, 1),
        };
        // A square of districts, so that who lives in one mostly works there.
        let districts = phones.div_ceil(DISTRICT).max(1);
        let mut columns = 1;
        while columns * columns < districts {
            columns += 1;
        }
        let width = side / f64::from(columns);
        let inside = |district: u32, rng: &mut Chance| Point {
            x: (f64::from(district % columns) + unit(rng)) * width,
            y: (f64::from(district / columns) + unit(rng)) * width,
        };
        let district = |phone: u32| phone / DISTRICT;
        let homes: Vec<_> = (0..phones.div_ceil(per_home))
            .map(|home| inside(district(home * per_home), rng))
            .collect();
        let works: Vec<_> = (0..phones.div_ceil(per_work))
            .map(|work| inside(district(work * per_work), rng))
            .collect();
        let public = (0..phones.div_ceil(PUBLIC)).map(|_| anywhere(rng));
        let public: Vec<_> = public.collect();
        // Who lives together works apart: workplaces of a district are dealt out anew.
        let mut places: Vec<u32> = (0..phones).collect();
        for chunk in places.chunks_mut(DISTRICT as usize) {
            for index in (1..chunk.len()).rev() {
                let other = below(rng, index as u64 + 1);
                chunk.swap(index, usize::try_from(other).unwrap_or(0));
            }
        }
        for index in 0..places.len() {
            if happens(rng, COMMUTERS_PPM) {
                let other = below(rng, places.len() as u64);
                places.swap(index, usize::try_from(other).unwrap_or(0));
            }
        }
        let walkers = (0..phones).zip(places).map(|(phone, place)| {
            let mut rng = chance(seed, "mesh: walker", phone.into());
            let home = homes[(phone / per_home) as usize];
            let at = match mobility {
                Mobility::Places { .. } => near(home, &mut rng),
                Mobility::RandomWaypoint { .. } => anywhere(&mut rng),
            };
            Walker {
                at,
                to: at,
                speed: 1.0,
                rests_until: Instant::ZERO,
                home,
                work: works[(place / per_work) as usize],
                rng,
            }
        });
        let walkers = walkers.collect();
        Self {
            side,
            mobility,
            public,
            walkers,
            now: Instant::ZERO,
        }
    }

    /// Lets them go on until `now`, and gives where they are.
    pub(super) fn walk(&mut self, now: Instant) -> impl ExactSizeIterator<Item = Point> + '_ {
        let elapsed = now.duration_since(self.now).as_secs_f64();
        self.now = now;
        let (mobility, side, public) = (self.mobility, self.side, &self.public);
        self.walkers.iter_mut().map(move |walker| {
            walker.step(elapsed, now, mobility, side, public);
            walker.at
        })
    }
}

/// Somewhere at a place: not all on one spot.
fn near(place: Point, rng: &mut Chance) -> Point {
    Point {
        x: place.x + within(rng, (-PLACE_RADIUS, PLACE_RADIUS)),
        y: place.y + within(rng, (-PLACE_RADIUS, PLACE_RADIUS)),
    }
}

impl Walker {
    fn step(
        &mut self,
        elapsed: f64,
        now: Instant,
        mobility: Mobility,
        side: f64,
        public: &[Point],
    ) {
        if self.rests_until > now {
            return;
        }
        let distance = self.at.distance_squared(self.to).sqrt();
        let reach = self.speed * elapsed;
        if distance > reach {
            let part = reach / distance;
            self.at.x += (self.to.x - self.at.x) * part;
            self.at.y += (self.to.y - self.at.y) * part;
            return;
        }
        let has_arrived = distance > 0.0;
        self.at = self.to;
        let rng = &mut self.rng;
        match mobility {
            Mobility::RandomWaypoint { speed, rest_max } => {
                if has_arrived {
                    let nanos = u64::try_from(rest_max.as_nanos()).unwrap_or(u64::MAX);
                    self.rests_until = now + Duration::from_nanos(below(rng, nanos));
                }
                self.speed = within(rng, speed);
                self.to = Point {
                    x: within(rng, (0.0, side)),
                    y: within(rng, (0.0, side)),
                };
            }
            Mobility::Places {
                stay,
                public_ppm,
                speed,
                ..
            } => {
                self.rests_until = now + exponential(rng, stay);
                self.speed = within(rng, speed);
                let place = if happens(rng, public_ppm) {
                    let index = below(rng, public.len() as u64);
                    public[usize::try_from(index).unwrap_or(0)]
                } else if happens(rng, 500_000) {
                    self.home
                } else {
                    self.work
                };
                self.to = near(place, rng);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    #[test]
    fn nobody_leaves_the_square_or_runs() {
        for mobility in [Mobility::waypoints(), Mobility::places()] {
            let mut walkers = Walkers::new(3, 150, 1000.0, mobility);
            let mut before: Vec<_> = walkers.walk(at(0)).collect();
            let mut moved = 0;
            for second in 1..2000 {
                let now: Vec<_> = walkers.walk(at(second * 5)).collect();
                for (before, now) in before.iter().zip(&now) {
                    let step = before.distance_squared(*now).sqrt();
                    assert!(step <= 5.0 * 5.0 + 1e-6, "{step}");
                    moved += u32::from(step > 0.0);
                    for metres in [now.x, now.y] {
                        assert!((-PLACE_RADIUS..=1000.0 + PLACE_RADIUS).contains(&metres));
                    }
                }
                before = now;
            }
            assert!(moved > 2000, "{mobility:?} {moved}");
        }
    }

    #[test]
    fn the_same_seed_is_the_same_way() {
        let ends = |seed| {
            let mut walkers = Walkers::new(seed, 20, 500.0, Mobility::places());
            for tick in 0..500 {
                walkers.walk(at(tick * 5)).for_each(drop);
            }
            walkers.walk(at(2500)).collect::<Vec<_>>()
        };
        assert_eq!(ends(1), ends(1));
        assert_ne!(ends(1), ends(2));
    }
}
