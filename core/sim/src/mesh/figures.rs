//! What a simulated mesh shows, in numbers.

use std::time::Duration;

use crate::fingerprint::Fingerprint;
use crate::fog::Times;

/// What a run shows. Times are virtual.
#[derive(Clone, Debug, Default)]
pub struct MeshFigures {
    /// Messages that were sent.
    pub sent: u64,
    /// From the sending of each message that arrived to its arrival.
    pub delays: Times,
    /// Messages whose senders were told that they arrived; none with the rules alone.
    pub acknowledged: u64,
    /// How often a message was given by who has it to a neighbour who carries it or is its receiver. Copies that nodes
    /// send towards a receiver they heard of from afar are among the frames only.
    pub transfers: u64,
    /// Frames that were sent, of all kinds.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Links that there were.
    pub meetings: u64,
    /// What sending and hearing those frames took, of all phones, in microjoules: [`radio_microjoules`].
    pub microjoules: u64,
    /// All that happened.
    pub fingerprint: Fingerprint,
}

impl MeshFigures {
    /// Messages that arrived.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delays.count() as u64
    }

    /// The part of the messages that arrived.
    #[must_use]
    pub fn delivery_ratio(&self) -> f64 {
        self.delivered() as f64 / self.sent.max(1) as f64
    }

    /// How often one message was given to a neighbour, on average.
    #[must_use]
    pub fn transfers_per_message(&self) -> f64 {
        self.transfers as f64 / self.sent.max(1) as f64
    }

    /// The delay that so many of a hundred of the messages that arrived did not exceed.
    #[must_use]
    pub fn delay(&self, percent: usize) -> Option<Duration> {
        self.delays.percentile(percent)
    }
}

/// Supply voltage in millivolts, and currents in microamperes while sending at 0 dBm and while hearing.
///
/// Source: Nordic Semiconductor, nRF52840 product brief: 4.8 mA and 4.6 mA at 3 V with the DC/DC converter.
const MILLIVOLTS: u64 = 3_000;
const SENDING_MICROAMPERES: u64 = 4_800;
const HEARING_MICROAMPERES: u64 = 4_600;
/// At 1 Mbit/s.
const MICROSECONDS_PER_BYTE: u64 = 8;
/// Preamble, access address, header and checksum of a packet on the air.
const AIR_OVERHEAD_BYTES: u64 = 10;
/// Between a packet and its answer.
const SPACE_MICROSECONDS: u64 = 150;
/// What a packet carries after the headers of its upper layers.
const AIR_PAYLOAD_BYTES: u64 = 244;
/// Headers of L2CAP and ATT before a frame.
const HEADER_BYTES: u64 = 7;

/// An estimate of what both radios take to bring one frame over a Bluetooth link: its packets of up to 244 bytes, an
/// empty answer to each, and the spaces between, at the currents of one common chip. Advertising, looking for others,
/// keeping links, and the rest of the phone are not in it: they are the same whoever carries.
#[must_use]
pub const fn radio_microjoules(frame_bytes: u64) -> u64 {
    let packets = (frame_bytes + HEADER_BYTES).div_ceil(AIR_PAYLOAD_BYTES);
    let bytes = frame_bytes + HEADER_BYTES + 2 * packets * AIR_OVERHEAD_BYTES;
    let air = bytes * MICROSECONDS_PER_BYTE;
    let spaces = 2 * packets * SPACE_MICROSECONDS;
    // Millivolts by microamperes by microseconds are 10⁻¹⁵ joules.
    let charge =
        air * (SENDING_MICROAMPERES + HEARING_MICROAMPERES) + spaces * 2 * HEARING_MICROAMPERES;
    charge * MILLIVOLTS / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_that_of_airtime() {
        // One packet: 37 + 10 + 10 bytes of 8 µs at 9.4 mA, 300 µs at 9.2 mA, at 3 V.
        assert_eq!(
            radio_microjoules(30),
            (57 * 8 * 9_400 + 300 * 9_200) * 3 / 1_000_000
        );
        // The next byte takes a packet of its own.
        assert!(radio_microjoules(238) > radio_microjoules(237) + 10);
    }

    #[test]
    fn ratios_of_nothing_are_nothing() {
        let none = MeshFigures::default();
        assert!(none.delivery_ratio() < 1e-9 && none.transfers_per_message() < 1e-9);
        assert_eq!(none.delay(50), None);
    }
}
