//! How much a device could do.

use serde::{Deserialize, Serialize};

use crate::DeviceState;

/// What a device has. What is unknown counts nothing, so that nobody is preferred for what he does
/// not tell.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// Logical processors.
    pub cpu_cores: Option<u32>,
    /// Memory installed, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Speed of the network in bits per second.
    pub bandwidth_bits_per_second: Option<u64>,
    /// Whether there is a graphics processor that computes.
    pub gpu: Option<bool>,
}

impl Capability {
    /// What a reading tells; nothing of graphics processors.
    #[must_use]
    pub const fn of(state: &DeviceState) -> Self {
        Self {
            cpu_cores: state.cpu_cores,
            memory_total_bytes: state.memory_total_bytes,
            bandwidth_bits_per_second: state.bandwidth_bits_per_second,
            gpu: None,
        }
    }

    /// 0 to 1: three tenths for eight processors, three tenths for 8 GiB of memory, two tenths for
    /// 100 Mb/s, in proportion below that, and two tenths for a graphics processor.
    #[must_use]
    pub fn score(&self) -> f64 {
        const CORES_FULL: f64 = 8.0;
        const MEMORY_FULL: f64 = 8_192.0 * 1_048_576.0;
        const BANDWIDTH_FULL: f64 = 100e6;
        let part = |value: Option<f64>, full: f64| (value.unwrap_or(0.0) / full).min(1.0);
        0.3 * part(self.cpu_cores.map(f64::from), CORES_FULL)
            + 0.3
                * part(
                    self.memory_total_bytes.map(|bytes| bytes as f64),
                    MEMORY_FULL,
                )
            + 0.2
                * part(
                    self.bandwidth_bits_per_second.map(|bits| bits as f64),
                    BANDWIDTH_FULL,
                )
            + if self.gpu == Some(true) { 0.2 } else { 0.0 }
    }

    /// The score less a tenth for each task that the device has already: who has the highest gets
    /// the next one. It may be below zero.
    #[must_use]
    pub fn assignment_score(&self, tasks: u32) -> f64 {
        self.score() - 0.1 * f64::from(tasks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_of_the_score_are_those_of_the_table() {
        let full = Capability {
            cpu_cores: Some(8),
            memory_total_bytes: Some(8 << 30),
            bandwidth_bits_per_second: Some(100_000_000),
            gpu: Some(true),
        };
        let close = |capability: Capability, expected: f64| {
            let score = capability.score();
            assert!(
                (score - expected).abs() < 1e-12,
                "{score} for {capability:?}"
            );
        };
        close(full, 1.0);
        close(Capability::default(), 0.0);
        close(
            Capability {
                cpu_cores: Some(64),
                memory_total_bytes: Some(2 << 30),
                bandwidth_bits_per_second: Some(25_000_000),
                gpu: Some(false),
            },
            0.3 + 0.075 + 0.05,
        );
        assert!((full.assignment_score(3) - 0.7).abs() < 1e-12);
        assert!(Capability::default().assignment_score(1) < 0.0);
    }

    proptest! {
        #[test]
        fn more_never_scores_less(
            cores in 0_u32..100,
            memory in 0_u64..1 << 40,
            bandwidth in 0_u64..1 << 32,
            more in 0_u32..100,
        ) {
            let less = Capability {
                cpu_cores: Some(cores),
                memory_total_bytes: Some(memory),
                bandwidth_bits_per_second: Some(bandwidth),
                gpu: None,
            };
            let more = Capability {
                cpu_cores: Some(cores + more),
                memory_total_bytes: Some(memory + u64::from(more)),
                bandwidth_bits_per_second: Some(bandwidth + u64::from(more)),
                gpu: Some(true),
            };
            prop_assert!((0.0..=1.0).contains(&less.score()));
            prop_assert!(less.score() <= more.score());
        }
    }
}
