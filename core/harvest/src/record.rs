//! What a restart must not forget.

use std::time::Duration;

use fogcompute_base::UnixMillis;
use fogcompute_base::wire::{DecodeError, Reader, Writer};

/// A session that had begun when a record was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionRecord {
    /// When it began.
    pub began_at: UnixMillis,
    /// How long compute was lent in it.
    pub lent: Duration,
}

/// Sessions, rest, quotas and uptime of a [`Harvester`](crate::Harvester), for a store.
///
/// | item | bytes |
/// |---|---|
/// | version, 1 | 1 |
/// | `written_at` | 8 |
/// | session: 0, or 1 and `began_at`, `lent` | 1 or 17 |
/// | rest: 0, or 1 and `cooldown_until` | 1 or 9 |
/// | day: 0, or 1 and `local_day` | 1 or 5 |
/// | `bytes_today`, `lent_today` | 16 |
/// | `sessions`, `suspensions`, `lent`, `watched`, `bytes` | 40 |
///
/// Times and durations are whole milliseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HarvestRecord {
    /// When it was made.
    pub written_at: UnixMillis,
    /// The session that had begun.
    pub session: Option<SessionRecord>,
    /// Until when the device rests.
    pub cooldown_until: Option<UnixMillis>,
    /// The local date that `bytes_today` and `lent_today` count for, in days since 1970-01-01.
    pub local_day: Option<u32>,
    /// Bytes sent and received on that day.
    pub bytes_today: u64,
    /// How long compute was lent on that day.
    pub lent_today: Duration,
    /// Sessions ever begun.
    pub sessions: u64,
    /// Suspensions ever.
    pub suspensions: u64,
    /// How long compute was ever lent.
    pub lent: Duration,
    /// How long the device was ever watched, lending or not.
    pub watched: Duration,
    /// Bytes ever sent and received.
    pub bytes: u64,
}

const VERSION: u8 = 1;

impl HarvestRecord {
    /// Most bytes of an encoded record.
    pub const BYTES_MAX: usize = 1 + 8 + 17 + 9 + 5 + 16 + 40;

    /// The record as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.u64(self.written_at.0);
        writer.u8(u8::from(self.session.is_some()));
        if let Some(session) = self.session {
            writer.u64(session.began_at.0);
            writer.u64(millis(session.lent));
        }
        writer.u8(u8::from(self.cooldown_until.is_some()));
        if let Some(until) = self.cooldown_until {
            writer.u64(until.0);
        }
        writer.u8(u8::from(self.local_day.is_some()));
        if let Some(day) = self.local_day {
            writer.u32(day);
        }
        writer.u64(self.bytes_today);
        writer.u64(millis(self.lent_today));
        writer.u64(self.sessions);
        writer.u64(self.suspensions);
        writer.u64(millis(self.lent));
        writer.u64(millis(self.watched));
        writer.u64(self.bytes);
        writer.finish()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`DecodeError`]: it is cut off, too long, of another version, or holds a flag that is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let at = reader.position();
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown {
                at,
                value: u64::from(version),
            });
        }
        let record = Self {
            written_at: UnixMillis(reader.u64()?),
            session: optional(&mut reader, |reader| {
                Ok(SessionRecord {
                    began_at: UnixMillis(reader.u64()?),
                    lent: Duration::from_millis(reader.u64()?),
                })
            })?,
            cooldown_until: optional(&mut reader, |reader| reader.u64().map(UnixMillis))?,
            local_day: optional(&mut reader, Reader::u32)?,
            bytes_today: reader.u64()?,
            lent_today: Duration::from_millis(reader.u64()?),
            sessions: reader.u64()?,
            suspensions: reader.u64()?,
            lent: Duration::from_millis(reader.u64()?),
            watched: Duration::from_millis(reader.u64()?),
            bytes: reader.u64()?,
        };
        reader.finish()?;
        Ok(record)
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn optional<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    let at = reader.position();
    match reader.u8()? {
        0 => Ok(None),
        1 => read(reader).map(Some),
        value => Err(DecodeError::Unknown {
            at,
            value: u64::from(value),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full() -> HarvestRecord {
        HarvestRecord {
            written_at: UnixMillis(1),
            session: Some(SessionRecord {
                began_at: UnixMillis(2),
                lent: Duration::from_millis(3),
            }),
            cooldown_until: Some(UnixMillis(4)),
            local_day: Some(5),
            bytes_today: 6,
            lent_today: Duration::from_millis(7),
            sessions: 8,
            suspensions: 9,
            lent: Duration::from_millis(10),
            watched: Duration::from_millis(11),
            bytes: 12,
        }
    }

    #[test]
    fn records_round_trip() {
        for record in [HarvestRecord::default(), full()] {
            let bytes = record.encode();
            assert!(bytes.len() <= HarvestRecord::BYTES_MAX);
            assert_eq!(HarvestRecord::decode(&bytes), Ok(record));
        }
        assert_eq!(full().encode().len(), HarvestRecord::BYTES_MAX);
    }

    #[test]
    fn what_is_cut_off_too_long_or_of_another_version_is_refused() {
        let bytes = full().encode();
        for end in 0..bytes.len() {
            assert!(
                matches!(
                    HarvestRecord::decode(&bytes[..end]),
                    Err(DecodeError::Truncated { .. })
                ),
                "{end}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(
            HarvestRecord::decode(&longer),
            Err(DecodeError::Trailing { count: 1 })
        );
        let mut newer = bytes.clone();
        newer[0] = 2;
        assert_eq!(
            HarvestRecord::decode(&newer),
            Err(DecodeError::Unknown { at: 0, value: 2 })
        );
        let mut flag = bytes;
        flag[9] = 2;
        assert_eq!(
            HarvestRecord::decode(&flag),
            Err(DecodeError::Unknown { at: 9, value: 2 })
        );
    }

    proptest! {
        #[test]
        fn bytes_that_are_read_are_those_that_are_written(
            bytes in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            if let Ok(record) = HarvestRecord::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}
