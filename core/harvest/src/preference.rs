//! Which of two kinds of links a message takes.

use std::time::Duration;

use serde::Serialize;

use crate::{Battery, DeviceState, Network, PowerMode};

/// A kind of link.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Short-range radio from device to device, stored and carried on: slow, and saves power.
    BitChat,
    /// A connection over the internet: fast, and costs power.
    BetaNet,
}

/// Which kind of link a device prefers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkPreference {
    /// Nothing else.
    BitChatOnly,
    /// The other only where the first reaches nobody.
    BitChatPreferred,
    /// By message.
    Balanced,
}

/// Largest message, in bytes, that a device without preference sends from device to device.
const BITCHAT_BYTES_MAX: usize = 10 * 1_024;

/// Priority, of 0 to 10, from which on a device without preference takes the fast link.
const BETANET_PRIORITY_MIN: u8 = 8;

/// Longest round trip at which a connection over the internet is worth preferring.
const LATENCY_MAX: Duration = Duration::from_millis(300);

impl LinkPreference {
    /// What a reading suggests. `latency` is the round trip of the connection over the internet.
    ///
    /// A device without a battery is as one that is full and charging. What is unknown never makes
    /// the preference balanced: that takes a network known to be cheap, known to be quick, and a
    /// battery known to be full enough.
    #[must_use]
    pub fn of(state: &DeviceState, latency: Option<Duration>) -> Self {
        let (level_percent, charging) = match state.battery {
            Battery::Unknown => (None, false),
            Battery::Absent => (Some(100.0), true),
            Battery::Present {
                level_percent,
                charging,
            } => (Some(level_percent), charging),
        };
        if level_percent.is_some_and(|level| level <= 10.0) {
            return Self::BitChatOnly;
        }
        let low = level_percent.is_some_and(|level| level <= 20.0) && !charging;
        let cellular = state.network == Network::Cellular;
        let slow = latency.is_none_or(|latency| latency > LATENCY_MAX);
        let local = matches!(state.network, Network::Wifi | Network::Ethernet);
        if !low && !cellular && !slow && local && level_percent.is_some_and(|level| level > 40.0) {
            Self::Balanced
        } else {
            Self::BitChatPreferred
        }
    }

    /// The link for a message of `bytes` bytes and a priority of 0 to 10.
    ///
    /// A device that saves power takes no connection over the internet of its own accord.
    #[must_use]
    pub fn link(self, bytes: usize, priority: u8, mode: PowerMode) -> Link {
        let saves_power = mode <= PowerMode::PowerSave;
        let wants_speed = bytes > BITCHAT_BYTES_MAX || priority >= BETANET_PRIORITY_MIN;
        if self == Self::Balanced && wants_speed && !saves_power {
            Link::BetaNet
        } else {
            Link::BitChat
        }
    }
}

#[cfg(test)]
mod tests {
    use fogcompute_base::Instant;

    use super::*;
    use crate::DeviceClass;

    #[test]
    fn preferences_are_those_of_the_table() {
        use LinkPreference::{Balanced, BitChatOnly, BitChatPreferred};
        let quick = Some(Duration::from_millis(300));
        let slow = Some(Duration::from_millis(301));
        let battery = |level_percent, charging| Battery::Present {
            level_percent,
            charging,
        };
        for (battery, network, latency, expected) in [
            (battery(10.0, true), Network::Wifi, quick, BitChatOnly),
            (battery(10.1, false), Network::Wifi, quick, BitChatPreferred),
            (battery(20.0, false), Network::Wifi, quick, BitChatPreferred),
            (battery(20.0, true), Network::Wifi, quick, BitChatPreferred),
            (
                battery(90.0, true),
                Network::Cellular,
                quick,
                BitChatPreferred,
            ),
            (battery(90.0, true), Network::Wifi, slow, BitChatPreferred),
            (battery(40.0, true), Network::Wifi, quick, BitChatPreferred),
            (battery(40.1, false), Network::Wifi, quick, Balanced),
            (battery(41.0, false), Network::Ethernet, quick, Balanced),
            (
                battery(41.0, false),
                Network::Offline,
                quick,
                BitChatPreferred,
            ),
            (Battery::Absent, Network::Ethernet, quick, Balanced),
            (Battery::Unknown, Network::Ethernet, quick, BitChatPreferred),
            (
                battery(90.0, true),
                Network::Unknown,
                quick,
                BitChatPreferred,
            ),
            (battery(90.0, true), Network::Wifi, None, BitChatPreferred),
        ] {
            let state = DeviceState {
                battery,
                network,
                ..DeviceState::unknown(DeviceClass::Phone, Instant::ZERO)
            };
            let preference = LinkPreference::of(&state, latency);
            assert_eq!(preference, expected, "{battery:?} {network} {latency:?}");
        }
    }

    #[test]
    fn messages_take_the_link_of_the_table() {
        use LinkPreference::{Balanced, BitChatOnly, BitChatPreferred};
        for (preference, bytes, priority, mode, link) in [
            (Balanced, 10_240, 7, PowerMode::Performance, Link::BitChat),
            (Balanced, 10_241, 0, PowerMode::Performance, Link::BetaNet),
            (Balanced, 0, 8, PowerMode::Balanced, Link::BetaNet),
            (Balanced, 1 << 20, 10, PowerMode::PowerSave, Link::BitChat),
            (Balanced, 1 << 20, 10, PowerMode::Critical, Link::BitChat),
            (
                BitChatPreferred,
                1 << 20,
                10,
                PowerMode::Performance,
                Link::BitChat,
            ),
            (
                BitChatOnly,
                1 << 20,
                10,
                PowerMode::Performance,
                Link::BitChat,
            ),
        ] {
            assert_eq!(preference.link(bytes, priority, mode), link);
        }
    }
}
