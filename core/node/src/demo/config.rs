//! What is demonstrated, and why a demonstration fails.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fogcompute_base::Digest;
use thiserror::Error;

use crate::error::NodeError;
use crate::fogs::FogFileError;
use crate::mandelbrot::View;
use crate::submit::FogClientError;

/// Least compute nodes: one is killed, and the fog must go on.
pub(crate) const NODES_MIN: u16 = 2;
/// Most compute nodes.
pub(crate) const NODES_MAX: u16 = 32;
/// Least width of the picture, in pixels.
pub(crate) const WIDTH_MIN: u32 = 60;
/// Most width of the picture, in pixels.
pub(crate) const WIDTH_MAX: u32 = 8192;
/// Least tiles: one for each of the fewest nodes.
pub(crate) const TILES_MIN: u32 = NODES_MIN as u32;
/// Most tiles.
pub(crate) const TILES_MAX: u32 = 2000;

/// Which process the demonstration kills on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Kill {
    /// A compute node that has tiles; it stays away.
    Compute,
    /// A mixnode; it is started again.
    Mix,
    /// The coordinator; it is started again from its files.
    Coordinator,
    /// One of these, by the seed.
    Any,
    /// None.
    None,
}

impl Kill {
    /// Its name, as `--kill` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Mix => "mix",
            Self::Coordinator => "coordinator",
            Self::Any => "any",
            Self::None => "none",
        }
    }
}

/// What is demonstrated.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// Width of the picture in pixels; it is two thirds as high.
    pub width: u32,
    /// Compute nodes.
    pub nodes: u16,
    /// Tiles the picture is cut into.
    pub tiles: u32,
    /// Seed of the prices and of the draws of the optimiser and of the killer: what it kills, and after
    /// how many tiles. What they draw from, measured speeds and which tiles are under way, is another
    /// with every run.
    pub seed: u64,
    /// What is killed.
    pub kill: Kill,
    /// Whether the nodes' harvest policies are overruled.
    pub policy_always: bool,
    /// Whether the processes' directory is kept.
    pub keep: bool,
    /// Whether the report is printed as JSON instead of an account for people.
    pub json: bool,
    /// Where the picture and the page are written.
    pub out: PathBuf,
    /// How another process of this command is started.
    pub node_command: Vec<OsString>,
}

/// Why a demonstration did not end well.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum DemoError {
    /// A parameter is outside its range.
    #[error("{name} is {value}, must be {min} to {max}")]
    Range {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// One tile's pixels are more than a task may return.
    #[error("a tile of {actual} bytes exceeds what a task may return ({limit}); use more tiles")]
    TileTooLarge {
        /// Bytes of the largest tile.
        actual: u64,
        /// Most bytes.
        limit: u64,
    },
    /// A node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The coordinator refuses, or is not reached.
    #[error(transparent)]
    Coordinator(#[from] FogClientError),
    /// A file or process.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The account or the report cannot be written to the standard output.
    #[error("writing to the standard output: {source}")]
    Output {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A process ended of itself before it took part, or again and again.
    #[error("{node} ended ({status}), and starting it again does not help; it wrote:\n{log}")]
    NodeEnded {
        /// Its name.
        node: String,
        /// How.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// The processes did not take part in time.
    #[error("only {joined} of {expected} processes took part within {seconds} s")]
    StartTimeout {
        /// How many did.
        joined: usize,
        /// How many were started.
        expected: usize,
        /// The limit.
        seconds: u64,
    },
    /// Nobody lends what a tile needs.
    #[error("no node lends what a tile needs: {reason}; {advice}")]
    NobodyLends {
        /// What decided, for the node that lends most.
        reason: String,
        /// What the user may do.
        advice: LendingAdvice,
    },
    /// The job did not end in time.
    #[error("the job did not end within {seconds} s: {done} of {tiles} tiles done")]
    JobTimeout {
        /// The limit.
        seconds: u64,
        /// Tiles done.
        done: usize,
        /// Tiles of the job.
        tiles: usize,
    },
    /// A tile was not computed.
    #[error("tile {tile} failed: {reason}")]
    TileFailed {
        /// Which.
        tile: usize,
        /// Why.
        reason: String,
    },
    /// The fog's picture is not the native one.
    #[error("the fog's picture {fog} differs from the native render {native}")]
    WrongPicture {
        /// Digest of the fog's pixels.
        fog: Digest,
        /// Digest of the native pixels.
        native: Digest,
    },
    /// The ledger does not balance.
    #[error("the ledger's accounts sum to {sum} base units, not to zero")]
    Unbalanced {
        /// The sum.
        sum: String,
    },
    /// Ctrl-C, or a signal to terminate or to hang up.
    #[error("stopped on request; every process was ended and nothing is left behind")]
    Interrupted,
}

/// What may be done when nobody lends enough.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LendingAdvice {
    /// Overrule the harvest policy: without it this machine has enough to lend.
    Overrule,
    /// Take a machine with this many processors, of which the policy lends a share.
    Machine {
        /// Least processors.
        processors: u64,
    },
}

impl fmt::Display for LendingAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overrule => f.write_str("run again with --policy always to lend all the same"),
            Self::Machine { processors } => write!(
                f,
                "the demonstration needs a machine with at least {processors} processors and free \
                 memory"
            ),
        }
    }
}

impl DemoError {
    /// A name for programs, as the demonstration prints it with `--json`: it never changes, the
    /// message may.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Range { .. } | Self::TileTooLarge { .. } => "arguments",
            Self::Node(_) => "node",
            Self::Coordinator(_) => "coordinator",
            Self::File { .. } => "file",
            Self::Output { .. } => "output",
            Self::NodeEnded { .. } => "node_ended",
            Self::StartTimeout { .. } => "start_timeout",
            Self::NobodyLends { .. } => "nobody_lends",
            Self::JobTimeout { .. } => "job_timeout",
            Self::TileFailed { .. } => "tile_failed",
            Self::WrongPicture { .. } => "wrong_picture",
            Self::Unbalanced { .. } => "unbalanced",
            Self::Interrupted => "interrupted",
        }
    }
}

impl DemoConfig {
    pub(super) fn check(&self) -> Result<(), DemoError> {
        let range = |name, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(DemoError::Range {
                    name,
                    value,
                    min,
                    max,
                })
            }
        };
        range(
            "--width",
            self.width.into(),
            WIDTH_MIN.into(),
            WIDTH_MAX.into(),
        )?;
        range(
            "--nodes",
            self.nodes.into(),
            NODES_MIN.into(),
            NODES_MAX.into(),
        )?;
        let height = self.view().height;
        range(
            "--tiles",
            self.tiles.into(),
            u64::from(self.nodes),
            height.min(TILES_MAX).into(),
        )?;
        let rows = u64::from(height.div_ceil(self.tiles));
        let limit = fogcompute_base::limits::OUTPUT_BYTES_MAX as u64;
        let actual = rows * u64::from(self.width);
        if actual > limit {
            return Err(DemoError::TileTooLarge { actual, limit });
        }
        Ok(())
    }

    pub(super) fn view(&self) -> View {
        View {
            width: self.width,
            height: self.width * 2 / 3,
            ..View::default()
        }
    }
}

/// Why the coordinator's files cannot be used.
pub(super) fn fog_error(error: FogFileError) -> DemoError {
    match error {
        FogFileError::File {
            doing,
            path,
            source,
        } => DemoError::File {
            doing,
            path,
            source,
        },
        other => DemoError::Node(NodeError::io(
            "reading the coordinator's files",
            std::io::Error::other(other),
        )),
    }
}

pub(super) fn file_error(doing: &'static str, path: &Path, source: std::io::Error) -> DemoError {
    DemoError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}
