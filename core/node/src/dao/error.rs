//! Why a command of governance was not carried out.

use std::path::PathBuf;

use fogcompute_base::{TransferId, UnixMillis};
use fogcompute_ledger::LedgerError;
use fogcompute_ledger::dao::DaoError;
use fogcompute_ledger::economy::EconomyError;
use fogcompute_store::StoreError;
use thiserror::Error;

use crate::ledger::LedgerCommandError;
use crate::ledger::error::InUnits;

/// Why a command of governance was not carried out.
#[non_exhaustive]
#[derive(Debug, Error)]
pub(crate) enum DaoCommandError {
    /// As on any ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerCommandError),
    /// The ledger has no rules yet.
    #[error("there is no economy in {}; `fogcompute dao found` makes one", .path.display())]
    NoEconomy {
        /// The ledger.
        path: PathBuf,
    },
    /// The ledger has rules, and was not to be given others.
    #[error(
        "{} has an economy already; --again gives it all its numbers anew, the defaults but for \
         those of --set",
        .path.display()
    )]
    Founded {
        /// The ledger.
        path: PathBuf,
    },
    /// The time given would keep everybody else waiting: a ledger never goes back.
    #[error(
        "{at} is more than {limit_days} days after {latest}, the later of the last event and this \
         machine's clock; a ledger never goes back: --far if it is meant"
    )]
    FarAhead {
        /// The time given.
        at: UnixMillis,
        /// The later of the ledger's last event and the machine's clock.
        latest: UnixMillis,
        /// How far ahead it may be.
        limit_days: u64,
    },
    /// What is asked about is past, and only weights are remembered.
    #[error(
        "{at} is before {last}, the last event of governance; of the past, `power --at-time` tells \
         weights and `ledger history` tells events"
    )]
    Past {
        /// The time given.
        at: UnixMillis,
        /// The last event.
        last: UnixMillis,
    },
    /// No proposal has that id.
    #[error("there is no proposal {proposal}")]
    UnknownProposal {
        /// What was asked for.
        proposal: TransferId,
    },
    /// A file's name tells no format of a content.
    #[error("{}: name it .toml or .json", .path.display())]
    ContentName {
        /// The file.
        path: PathBuf,
    },
    /// A file is no content of a proposal.
    #[error("{}: {}{reason}", .path.display(), at_field(.field))]
    Content {
        /// The file.
        path: PathBuf,
        /// Which of its fields; empty if it is none of them.
        field: String,
        /// Why not.
        reason: String,
    },
    /// Flags or a file name numbers that no economy has.
    #[error("{}", InUnits(.0))]
    Parameter(EconomyError),
    /// A moment that is not over has no past.
    #[error(transparent)]
    Untimely(DaoError),
    /// What was asked of the simulation cannot be tried.
    #[error("the rules refuse to be tried so: {0}")]
    Untried(#[source] DaoError),
    /// More voters were to have roles than there are.
    #[error("{roles} roles for {voters} voters")]
    RoleCount {
        /// The roles.
        roles: u64,
        /// The voters.
        voters: usize,
    },
    /// A file has no stakes, or more than are tried.
    #[error("{found} stakes; 1 to {limit} that are above nothing can be tried")]
    StakeCount {
        /// How many there are.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// A line of a file with stakes has no amount.
    #[error("{} line {line}: {text:?} is no amount of credits", .path.display())]
    Stake {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
}

impl From<EconomyError> for DaoCommandError {
    fn from(error: EconomyError) -> Self {
        Self::Parameter(error)
    }
}

/// A field as it begins a reason.
fn at_field(field: &str) -> String {
    match field {
        "" => String::new(),
        field => format!("{field}: "),
    }
}

impl From<StoreError> for DaoCommandError {
    fn from(error: StoreError) -> Self {
        LedgerCommandError::from(error).into()
    }
}

impl DaoCommandError {
    /// What went wrong, for programs.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Ledger(LedgerCommandError::Rules(LedgerError::NoEconomy { .. }))
            | Self::NoEconomy { .. } => "no_economy",
            Self::Ledger(LedgerCommandError::Rules(LedgerError::Dao { reason, .. }))
                if matches!(**reason, DaoError::UnknownProposal { .. }) =>
            {
                "unknown_proposal"
            }
            Self::Ledger(LedgerCommandError::Rules(LedgerError::NoOwner { .. })) => "no_owner",
            Self::Ledger(error) => error.kind(),
            Self::UnknownProposal { .. } => "unknown_proposal",
            Self::Founded { .. } => "refused",
            Self::ContentName { .. }
            | Self::FarAhead { .. }
            | Self::Past { .. }
            | Self::Untimely(_)
            | Self::Parameter(_)
            | Self::RoleCount { .. }
            | Self::Untried(_) => "arguments",
            Self::Content { .. } | Self::Stake { .. } | Self::StakeCount { .. } => "invalid",
        }
    }

    /// The exit code for it.
    pub(crate) fn exit_code(&self) -> i32 {
        match self.kind() {
            "no_economy" | "unknown_proposal" | "no_owner" | "refused" => 3,
            "arguments" => 2,
            _ => match self {
                Self::Ledger(error) => error.exit_code(),
                _ => 1,
            },
        }
    }

    /// Whether nobody reads any more what the command says, which is no failure of its own.
    pub(crate) fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Ledger(error) if error.is_reader_gone())
    }

    /// What was done all the same.
    pub(crate) fn did(&self) -> Option<&str> {
        match self {
            Self::Ledger(error) => error.did(),
            _ => None,
        }
    }
}
