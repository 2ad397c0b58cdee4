//! Voice, pressed and spoken: a burst of packets that need no answer.

use std::time::Duration;

use crate::tlv::FormatError;
use fogcompute_base::wire::{DecodeError, Reader, Writer};

/// Most frames of sound in one packet.
pub const VOICE_FRAMES_MAX: usize = 8;
/// Longest body of a burst's packet, in bytes.
pub const VOICE_BYTES_MAX: usize = 210;

const START: u8 = 0x01;
const END: u8 = 0x02;
const CANCELLED: u8 = 0x04;

/// A packet of a burst: which burst, 8 bytes; its number, `u16`; flags; a body.
///
/// | flags | body |
/// |---|---|
/// | 00 | frames, each `u16` length and bytes; at most 8, at most 210 bytes in all |
/// | 01 | codec, 1 byte: 1 is AAC-LC, 16 kHz, mono |
/// | 02 | `u16` packets of sound, `u32` length in ms |
/// | 04 | nothing |
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VoiceFrame {
    /// The burst.
    pub burst: [u8; 8],
    /// The packet's number in it.
    pub sequence: u16,
    /// What it brings.
    pub part: VoicePart,
}

/// A part of a burst.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum VoicePart {
    /// It begins.
    Start {
        /// How sound is coded.
        codec: u8,
    },
    /// Sound.
    Sound(Vec<Vec<u8>>),
    /// It has ended.
    End {
        /// Packets of sound that were sent.
        packets: u16,
        /// How long it is.
        length: Duration,
    },
    /// It is to be forgotten.
    Cancelled,
}

impl VoiceFrame {
    /// AAC-LC at 16 kHz, mono: the only codec that the apps know.
    pub const AAC_LC_16K_MONO: u8 = 0x01;

    /// Reads a payload.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let burst = reader.array()?;
        let sequence = reader.u16()?;
        let flags_at = reader.position();
        let flags = reader.u8()?;
        if reader.remaining() > VOICE_BYTES_MAX {
            return Err(FormatError::TooLong {
                actual: reader.remaining(),
                limit: VOICE_BYTES_MAX,
            });
        }
        let part = match flags {
            START => VoicePart::Start {
                codec: reader.u8()?,
            },
            END => VoicePart::End {
                packets: reader.u16()?,
                length: Duration::from_millis(reader.u32()?.into()),
            },
            CANCELLED => VoicePart::Cancelled,
            0 => {
                let mut frames = Vec::new();
                while reader.remaining() > 0 {
                    if frames.len() == VOICE_FRAMES_MAX {
                        return Err(FormatError::TooLong {
                            actual: frames.len() + 1,
                            limit: VOICE_FRAMES_MAX,
                        });
                    }
                    let length = usize::from(reader.u16()?);
                    frames.push(reader.take(length)?.to_vec());
                }
                VoicePart::Sound(frames)
            }
            _ => {
                return Err(FormatError::Decode(DecodeError::Unknown {
                    at: flags_at,
                    value: flags.into(),
                }));
            }
        };
        reader.finish()?;
        Ok(Self {
            burst,
            sequence,
            part,
        })
    }

    /// The payload.
    ///
    /// # Errors
    /// [`FormatError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut writer = Writer::new();
        writer.raw(&self.burst);
        writer.u16(self.sequence);
        match &self.part {
            VoicePart::Start { codec } => {
                writer.u8(START);
                writer.u8(*codec);
            }
            VoicePart::End { packets, length } => {
                writer.u8(END);
                writer.u16(*packets);
                writer.u32(u32::try_from(length.as_millis()).unwrap_or(u32::MAX));
            }
            VoicePart::Cancelled => writer.u8(CANCELLED),
            VoicePart::Sound(frames) => {
                let bytes: usize = frames.iter().map(|frame| frame.len() + 2).sum();
                if bytes > VOICE_BYTES_MAX || frames.len() > VOICE_FRAMES_MAX {
                    return Err(FormatError::TooLong {
                        actual: bytes,
                        limit: VOICE_BYTES_MAX,
                    });
                }
                writer.u8(0);
                for frame in frames {
                    writer.u16(u16::try_from(frame.len()).expect("the sum was checked"));
                    writer.raw(frame);
                }
            }
        }
        Ok(writer.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(part: VoicePart) -> VoiceFrame {
        VoiceFrame {
            burst: [7; 8],
            sequence: 3,
            part,
        }
    }

    #[test]
    fn every_part_round_trips() {
        for part in [
            VoicePart::Start {
                codec: VoiceFrame::AAC_LC_16K_MONO,
            },
            VoicePart::Sound(vec![vec![1, 2], vec![], vec![3]]),
            VoicePart::End {
                packets: 9,
                length: Duration::from_millis(1234),
            },
            VoicePart::Cancelled,
        ] {
            let frame = frame(part);
            assert_eq!(VoiceFrame::decode(&frame.encode().unwrap()), Ok(frame));
        }
    }

    #[test]
    fn what_is_too_much_is_neither_sent_nor_read() {
        for frames in [vec![vec![]; 9], vec![vec![0; 209]]] {
            assert!(frame(VoicePart::Sound(frames)).encode().is_err());
        }
        let mut bytes = frame(VoicePart::Cancelled).encode().unwrap();
        bytes[10] = 0;
        assert!(VoiceFrame::decode(&[&bytes[..], &[0; 18]].concat()).is_err());
        assert!(VoiceFrame::decode(&[&bytes[..], &[0; 211]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..230)) {
            if let Ok(frame) = VoiceFrame::decode(&bytes) {
                prop_assert_eq!(VoiceFrame::decode(&frame.encode().unwrap()), Ok(frame));
            }
        }
    }
}
