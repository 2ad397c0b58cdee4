//! Why a command of governance was not carried out.

use std::io;
use std::path::PathBuf;

use fogcompute_base::TransferId;
use fogcompute_ledger::LedgerError;
use fogcompute_ledger::dao::DaoError;
use fogcompute_ledger::economy::EconomyError;
use fogcompute_store::StoreError;
use thiserror::Error;

use crate::ledger::LedgerCommandError;

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
    /// A file is no content of a proposal in TOML.
    #[error("{}: no content of a proposal", .path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why not.
        source: Box<toml::de::Error>,
    },
    /// A file is no content of a proposal, or no list of stakes, in JSON.
    #[error("{} does not say what it should", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why not.
        source: serde_json::Error,
    },
    /// Flags or a file name numbers that no economy has.
    #[error(transparent)]
    Parameter(#[from] EconomyError),
    /// A moment that is not over has no past.
    #[error(transparent)]
    Untimely(DaoError),
    /// What was asked of the simulation cannot be tried.
    #[error("the rules refuse to be tried so: {0}")]
    Untried(#[source] DaoError),
    /// There are no stakes, or more than are tried.
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
            Self::ContentName { .. }
            | Self::Untimely(_)
            | Self::Parameter(_)
            | Self::StakeCount { .. } => "arguments",
            Self::Toml { .. } | Self::Json { .. } | Self::Stake { .. } => "invalid",
            Self::Untried(_) => "refused",
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

    pub(super) fn output(source: io::Error) -> Self {
        LedgerCommandError::Output(source).into()
    }
}
