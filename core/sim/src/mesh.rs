//! Phones that move, meet, and carry each other's messages.
//!
//! [`MeshPlan`] says how many, where and how they move, what their radios reach, and how couriers are chosen.
//! [`MeshPlan::run_phones`] runs a whole [`fogcompute_mesh::Node`] in every phone; [`MeshPlan::run_rules`] only the
//! strategies' rules, for thousands of phones. Both see the same movement and the same meetings.
//!
//! ```
//! use fogcompute_mesh::courier::CourierStrategy;
//! use fogcompute_sim::MeshPlan;
//!
//! let direct = MeshPlan::new(7, 60, CourierStrategy::Direct).run_rules();
//! let epidemic = MeshPlan::new(7, 60, CourierStrategy::Epidemic).run_rules();
//! assert!(direct.delivered() < epidemic.delivered());
//! assert!(direct.transfers < epidemic.transfers);
//! ```

mod contacts;
mod figures;
mod mobility;
mod phones;
mod rules;

use std::time::Duration;

use fogcompute_base::Instant;
use fogcompute_mesh::courier::CourierStrategy;

pub use contacts::{Meeting, Meetings};
pub use figures::{MeshFigures, radio_microjoules};
pub use mobility::{Mobility, Point};
pub use phones::MeshViolation;

use crate::chance::{below, chance};

/// What radios do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Radio {
    /// How far one is heard, in metres. A link ends a tenth beyond it.
    pub range_m: f64,
    /// Most links of one phone.
    pub links_max: usize,
    /// Of a million frames, so many are lost.
    pub loss_ppm: u32,
    /// What one direction of one link carries.
    pub bytes_per_second: u64,
    /// How long a frame takes beside that.
    pub latency: Duration,
}

impl Default for Radio {
    /// Bluetooth between phones: forty metres, eight links, 20 kB/s.
    fn default() -> Self {
        Self {
            range_m: 40.0,
            links_max: 8,
            loss_ppm: 2_000,
            bytes_per_second: 20_000,
            latency: Duration::from_millis(15),
        }
    }
}

/// A time in which nobody on one side of the middle hears anybody on the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wall {
    /// When it rises.
    pub from: Duration,
    /// When it falls.
    pub until: Duration,
}

/// A simulated mesh, before its first event.
#[derive(Clone, Debug)]
pub struct MeshPlan {
    /// Everything follows from it.
    pub seed: u64,
    /// How many phones.
    pub phones: u32,
    /// Who carries.
    pub strategy: CourierStrategy,
    /// The sides of the square in which they move, in metres.
    pub side_m: f64,
    /// How they move.
    pub mobility: Mobility,
    /// What their radios do.
    pub radio: Radio,
    /// How often they move and look for others.
    pub tick: Duration,
    /// How many messages are sent, each from one phone to another that it knows.
    pub messages: u32,
    /// When the first may be sent. Until then phones only meet.
    pub first: Duration,
    /// When the last may be sent.
    pub last: Duration,
    /// When it ends.
    pub span: Duration,
    /// What parts them, if anything does.
    pub wall: Option<Wall>,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Planned {
    pub(crate) at: Instant,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

const HOUR: Duration = Duration::from_secs(3600);

impl MeshPlan {
    /// A hundred phones to the square kilometre that go between homes, work and public places, for eight hours: two
    /// in which they only meet, two in which messages are sent, and four more.
    #[must_use]
    pub fn new(seed: u64, phones: u32, strategy: CourierStrategy) -> Self {
        let area = f64::from(phones.max(1)) / 100.0 * 1e6;
        Self {
            seed,
            phones,
            strategy,
            side_m: area.sqrt(),
            mobility: Mobility::places(),
            radio: Radio::default(),
            tick: Duration::from_secs(5),
            messages: phones.saturating_mul(2).min(2_000),
            first: HOUR * 2,
            last: HOUR * 4,
            span: HOUR * 8,
            wall: None,
        }
    }

    /// The messages, in the order in which they are sent.
    pub(crate) fn planned(&self) -> Vec<Planned> {
        let rng = &mut chance(self.seed, "mesh: messages", 0);
        let phones = u64::from(self.phones);
        if phones < 2 {
            return Vec::new();
        }
        let window = self.last.saturating_sub(self.first).as_millis();
        let window = u64::try_from(window).unwrap_or(u64::MAX);
        let mut all: Vec<_> = (0..self.messages)
            .map(|_| {
                let delay = self.first + Duration::from_millis(below(rng, window));
                let from = below(rng, phones);
                // Anybody but itself.
                let to = (from + 1 + below(rng, phones - 1)) % phones;
                Planned {
                    at: Instant::ZERO + delay,
                    from: u32::try_from(from).unwrap_or(0),
                    to: u32::try_from(to).unwrap_or(0),
                }
            })
            .collect();
        all.sort_by_key(|planned| planned.at);
        all
    }

    /// Runs the strategies' rules alone: whoever meets exchanges what the strategy says, whole and at once; nothing is
    /// sealed, announced or confirmed, and nothing goes over several links. For thousands of phones.
    #[must_use]
    pub fn run_rules(&self) -> MeshFigures {
        rules::run(self)
    }

    /// Runs a [`fogcompute_mesh::Node`] in every phone, with all it sends.
    ///
    /// # Errors
    /// [`MeshViolation`], at the first promise that is not kept.
    pub fn run_phones(&self) -> Result<MeshFigures, MeshViolation> {
        phones::run(self)
    }
}

#[cfg(test)]
mod tests;
