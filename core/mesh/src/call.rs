//! Ours: what two peers tell each other before they speak over WebRTC.
//!
//! BitChat has none of this. It travels inside a Noise session, to peers whose announce has
//! [`Capabilities::CALLS`](crate::Capabilities::CALLS), and to nobody else. The sound and the pictures do
//! not travel here: a WebRTC stack makes and reads what is carried.

use fogcompute_base::CryptoRng;
use fogcompute_base::wire::{DecodeError, Reader, Writer};

use crate::tlv::FormatError;

/// Longest offer, answer or candidate, in bytes.
pub const SDP_BYTES_MAX: usize = 16 * 1024;

const OFFER: u8 = 1;
const ANSWER: u8 = 2;
const CANDIDATE: u8 = 3;
const HANG_UP: u8 = 4;

/// A call, as both sides know it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CallId(pub [u8; 16]);

impl CallId {
    /// A new one.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

/// Why a call is over.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum HangUp {
    /// Somebody ended it.
    Ended = 0,
    /// The other side does not want to.
    Declined = 1,
    /// The other side is in another call.
    Busy = 2,
    /// No connection came about.
    Failed = 3,
}

/// A step towards a call, or its end.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CallStep {
    /// A session description, of the caller.
    Offer(String),
    /// A session description, of the other side.
    Answer(String),
    /// A place where one side may be reached: an ICE candidate as one line. An empty one says that there
    /// are no more.
    Candidate(String),
    /// It is over.
    HangUp(HangUp),
}

/// A version, 1; which call, 16 bytes; a step, 1 byte; its body: `u32` length and text, or one byte for why
/// it is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallSignal {
    /// The call.
    pub call: CallId,
    /// What is said about it.
    pub step: CallStep,
}

const VERSION: u8 = 1;

impl CallSignal {
    /// Reads a body.
    ///
    /// # Errors
    /// [`FormatError::Decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let unknown = |at: usize, value: u8| {
            FormatError::Decode(DecodeError::Unknown {
                at,
                value: value.into(),
            })
        };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(unknown(0, version));
        }
        let call = CallId(reader.array()?);
        let at = reader.position();
        let kind = reader.u8()?;
        let step = match kind {
            OFFER => CallStep::Offer(reader.text(SDP_BYTES_MAX)?.to_owned()),
            ANSWER => CallStep::Answer(reader.text(SDP_BYTES_MAX)?.to_owned()),
            CANDIDATE => CallStep::Candidate(reader.text(SDP_BYTES_MAX)?.to_owned()),
            HANG_UP => CallStep::HangUp(match reader.u8()? {
                0 => HangUp::Ended,
                1 => HangUp::Declined,
                2 => HangUp::Busy,
                3 => HangUp::Failed,
                value => return Err(unknown(at + 1, value)),
            }),
            _ => return Err(unknown(at, kind)),
        };
        reader.finish()?;
        Ok(Self { call, step })
    }

    /// The body.
    ///
    /// # Errors
    /// [`FormatError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.raw(&self.call.0);
        let (kind, text) = match &self.step {
            CallStep::Offer(text) => (OFFER, text),
            CallStep::Answer(text) => (ANSWER, text),
            CallStep::Candidate(text) => (CANDIDATE, text),
            CallStep::HangUp(why) => {
                writer.u8(HANG_UP);
                writer.u8(*why as u8);
                return Ok(writer.finish());
            }
        };
        if text.len() > SDP_BYTES_MAX {
            return Err(FormatError::TooLong {
                actual: text.len(),
                limit: SDP_BYTES_MAX,
            });
        }
        writer.u8(kind);
        writer.text(text);
        Ok(writer.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_step_round_trips() {
        let text = "v=0\r\n".to_owned();
        for step in [
            CallStep::Offer(text.clone()),
            CallStep::Answer(text.clone()),
            CallStep::Candidate(String::new()),
            CallStep::HangUp(HangUp::Busy),
        ] {
            let signal = CallSignal {
                call: CallId([7; 16]),
                step,
            };
            assert_eq!(CallSignal::decode(&signal.encode().unwrap()), Ok(signal));
        }
        let long = CallSignal {
            call: CallId([7; 16]),
            step: CallStep::Offer("x".repeat(SDP_BYTES_MAX + 1)),
        };
        assert!(long.encode().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(signal) = CallSignal::decode(&bytes) {
                prop_assert_eq!(signal.encode().unwrap(), bytes);
            }
        }
    }
}
