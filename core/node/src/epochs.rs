//! The topologies of neighbouring key epochs: which is valid now, and when keys change.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fogcompute_base::{NodeId, UnixMillis};
use fogcompute_mix::{
    ClientConfig, DELAY_MEANS_MAX, Descriptor, EpochParity, MixnodeConfig, TopologyFile,
    TopologyFileError,
};
use fogcompute_net::EngineConfig;
use thiserror::Error;

/// How far the clocks of nodes and clients may be apart.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// Why a topology file cannot be read.
#[non_exhaustive]
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// The file.
    #[error("reading {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// What it says.
    #[error("{}: {source}", path.display())]
    Topology {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TopologyFileError,
    },
}

/// Why topologies do not go together.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum EpochsError {
    /// Packets say no more of their epoch than whether its number is odd.
    #[error("epochs {first} and {second} are both odd or both even, and not the same topology")]
    SameParity {
        /// The lower one.
        first: u64,
        /// The higher one.
        second: u64,
    },
    /// Packets of one network have one size.
    #[error("packets of epochs {first} and {second} have different sizes")]
    Geometry {
        /// The lower one.
        first: u64,
        /// The higher one.
        second: u64,
    },
}

/// Reads a topology that this authority has signed, whenever it is valid.
pub(crate) fn read(path: &Path, authority: NodeId) -> Result<TopologyFile, ReadError> {
    let text = fs::read_to_string(path).map_err(|source| ReadError::File {
        path: path.to_owned(),
        source,
    })?;
    TopologyFile::read(&text, authority.as_bytes()).map_err(|source| ReadError::Topology {
        path: path.to_owned(),
        source,
    })
}

/// When nodes take packets to the keys of a topology: as long as it is valid, and beyond it for
/// clocks that differ and for what was sent in time.
///
/// A packet may be built for a topology until its end, by a clock that is behind. Its longest time
/// on the way is, for each hop, the longest delay that is drawn, the lateness that nodes forgive and
/// the wait for a link. A reply by a block that was made at the end comes as much later as reply blocks
/// are kept.
pub(crate) fn window(file: &TopologyFile) -> Range<UnixMillis> {
    let overlap = SKEW_MAX + ClientConfig::default().timeout + flight(file);
    let start = file.valid_from.0.saturating_sub(millis(SKEW_MAX));
    UnixMillis(start)..UnixMillis(file.valid_until.0.saturating_add(millis(overlap)))
}

/// The longest time that a packet of the network is on its way.
pub(crate) fn flight(file: &TopologyFile) -> Duration {
    let node = MixnodeConfig::default();
    let drawn = file.topology.delay_mean().mul_f64(DELAY_MEANS_MAX);
    let hop = drawn.min(node.delay_max) + node.lateness_max + EngineConfig::default().link_wait_max;
    let hops = u32::try_from(file.topology.layers().len() + 1).unwrap_or(u32::MAX);
    hop.saturating_mul(hops)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a topology says of a node.
pub(crate) fn own(file: &TopologyFile, node: NodeId) -> Option<&Descriptor> {
    let mut nodes = file.topology.layers().iter().flatten();
    nodes.find(|descriptor| descriptor.node == node)
}

/// Topologies of different epochs: that of now and that of the next, or one of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Epochs {
    /// The lowest epoch first.
    files: Vec<TopologyFile>,
}

impl Epochs {
    /// # Errors
    /// [`EpochsError`].
    pub(crate) fn new(mut files: Vec<TopologyFile>) -> Result<Self, EpochsError> {
        files.sort_by_key(|file| file.epoch);
        files.dedup();
        for pair in files.windows(2) {
            let (first, second) = (pair[0].epoch, pair[1].epoch);
            if EpochParity::of(first) == EpochParity::of(second) {
                return Err(EpochsError::SameParity { first, second });
            }
            if pair[0].geometry != pair[1].geometry {
                return Err(EpochsError::Geometry { first, second });
            }
        }
        Ok(Self { files })
    }

    /// The topology that is valid at a time; of two, that of the later epoch.
    ///
    /// # Errors
    /// [`TopologyFileError::NotYetValid`] or [`TopologyFileError::Expired`].
    pub(crate) fn current(&self, date: UnixMillis) -> Result<&TopologyFile, TopologyFileError> {
        let mut files = self.files.iter();
        if let Some(file) = files.rfind(|file| file.is_valid_at(date)) {
            return Ok(file);
        }
        let coming = self.files.iter().map(|file| file.valid_from);
        let until = self.files.iter().map(|file| file.valid_until).max();
        Err(match coming.filter(|from| *from > date).min() {
            Some(from) => TopologyFileError::NotYetValid { from },
            None => TopologyFileError::Expired {
                until: until.unwrap_or_default(),
            },
        })
    }

    /// Those whose keys nodes take packets to, the one that is valid last.
    pub(crate) fn open(&self, date: UnixMillis) -> Vec<&TopologyFile> {
        let files = self.files.iter();
        let mut open: Vec<_> = files.filter(|file| window(file).contains(&date)).collect();
        let current = self.current(date).ok().map(|file| file.epoch);
        open.sort_by_key(|file| (Some(file.epoch) == current, file.epoch));
        open
    }

    /// All of them.
    pub(crate) fn files(&self) -> &[TopologyFile] {
        &self.files
    }

    /// When [`Epochs::current`] or [`Epochs::open`] is next another one.
    pub(crate) fn next_change(&self, date: UnixMillis) -> Option<UnixMillis> {
        let times = self.files.iter().flat_map(|file| {
            let window = window(file);
            [window.start, file.valid_from, file.valid_until, window.end]
        });
        times.filter(|time| *time > date).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_mix::{Geometry, PrivateKey, Topology};

    fn file(epoch: u64, valid: Range<u64>) -> TopologyFile {
        let nodes = (1..=3).map(|id| {
            vec![Descriptor {
                node: NodeId::from_bytes([id; 32]),
                key: PrivateKey::from_bytes([id; 32]).public(),
                epoch: EpochParity::of(epoch),
                address: ([127, 0, 0, 1], 4000 + u16::from(id)).into(),
            }]
        });
        TopologyFile {
            epoch,
            valid_from: UnixMillis(valid.start),
            valid_until: UnixMillis(valid.end),
            geometry: Geometry::DATAGRAM,
            topology: Topology::new(nodes.collect(), Duration::from_millis(5)).unwrap(),
        }
    }

    const HOUR: u64 = 3_600_000;

    #[test]
    fn the_later_of_the_valid_epochs_counts_and_keys_are_there_before_and_after() {
        let (first, second) = (file(7, HOUR..3 * HOUR), file(8, 2 * HOUR..4 * HOUR));
        let epochs = Epochs::new(vec![second.clone(), first.clone()]).unwrap();
        let current = |date| {
            let current = epochs.current(UnixMillis(date));
            current.ok().map(|file| file.epoch)
        };
        let dates = [
            HOUR - 1,
            HOUR,
            2 * HOUR - 1,
            2 * HOUR,
            4 * HOUR - 1,
            4 * HOUR,
        ];
        let expected = [None, Some(7), Some(7), Some(8), Some(8), None];
        assert_eq!(dates.map(current), expected);
        assert!(matches!(
            epochs.current(UnixMillis(0)),
            Err(TopologyFileError::NotYetValid { from }) if from.0 == HOUR
        ));
        assert!(matches!(
            epochs.current(UnixMillis(9 * HOUR)),
            Err(TopologyFileError::Expired { until }) if until.0 == 4 * HOUR
        ));
        let open = |date| {
            let open = epochs.open(UnixMillis(date)).into_iter();
            open.map(|file| file.epoch).collect::<Vec<_>>()
        };
        let (lead, end) = (2 * HOUR - 60_000, window(&first).end.0);
        assert_eq!(open(lead - 1), [7]);
        // The one that is valid last, so that its addresses count.
        assert_eq!(open(lead), [8, 7]);
        assert_eq!(open(2 * HOUR), [7, 8]);
        assert_eq!(open(end - 1), [7, 8]);
        assert_eq!(open(end), [8]);
        // Whoever looks at every change misses none.
        let mut date = UnixMillis(0);
        let mut seen = vec![];
        while let Some(next) = epochs.next_change(date) {
            assert_eq!(open(next.0 - 1), open(date.0));
            date = next;
            seen.push((current(date.0), open(date.0).len()));
        }
        assert_eq!(
            seen,
            [
                (None, 1),
                (Some(7), 1),
                (Some(7), 2),
                (Some(8), 2),
                (Some(8), 2),
                (Some(8), 1),
                (None, 1),
                (None, 0)
            ]
        );
    }

    #[test]
    fn the_overlap_covers_packets_and_replies_on_their_way() {
        let file = file(7, HOUR..2 * HOUR);
        // Four hops, each 27.63 means of 5 ms, a second late and two for its link.
        assert_eq!(flight(&file).as_millis(), 4 * (138 + 3000));
        let window = window(&file);
        assert_eq!(window.start.0, HOUR - 60_000);
        assert_eq!(window.end.0, 2 * HOUR + 60_000 + 300_000 + 12_552);
        let endless = TopologyFile {
            valid_until: UnixMillis(u64::MAX),
            valid_from: UnixMillis(0),
            ..file
        };
        let endless = super::window(&endless);
        assert_eq!((endless.start.0, endless.end.0), (0, u64::MAX));
    }

    #[test]
    fn epochs_that_packets_cannot_tell_apart_are_refused() {
        let valid = HOUR..2 * HOUR;
        let first = file(7, valid.clone());
        // The same twice is one: whoever copied the next over the last.
        let twice = Epochs::new(vec![first.clone(), first.clone()]).unwrap();
        assert_eq!(twice.files(), std::slice::from_ref(&first));
        let refused = |second| Epochs::new(vec![first.clone(), second]).unwrap_err();
        let (first_epoch, same) = (7, file(9, valid.clone()));
        assert_eq!(
            refused(same),
            EpochsError::SameParity {
                first: first_epoch,
                second: 9
            }
        );
        let other = TopologyFile {
            geometry: Geometry::DEFAULT,
            ..file(8, valid)
        };
        assert_eq!(
            refused(other),
            EpochsError::Geometry {
                first: 7,
                second: 8
            }
        );
    }
}
