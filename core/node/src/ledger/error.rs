//! Why a command on a ledger was not carried out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use fogcompute_base::AccountId;
use fogcompute_base::wire::DecodeError;
use fogcompute_ledger::dao::{ActionError, DaoError};
use fogcompute_ledger::economy::{Economy, EconomyError};
use fogcompute_ledger::{Amount, Corruption, LedgerError, ParseAmountError};
use fogcompute_store::StoreError;
use thiserror::Error;

use super::text::{BadCredits, in_unit};

/// Why a command on a ledger was not carried out.
#[non_exhaustive]
#[derive(Debug, Error)]
pub(crate) enum LedgerCommandError {
    /// Another process has the ledger open.
    #[error("{} is locked: another process has it open", .path.display())]
    Locked {
        /// The ledger.
        path: PathBuf,
    },
    /// The ledger cannot be written, which opening it needs.
    #[error(
        "{} is read-only, and a ledger is locked by writing to it; make a copy that can be written",
        .path.display()
    )]
    ReadOnly {
        /// The ledger.
        path: PathBuf,
    },
    /// The store.
    #[error(transparent)]
    Store(StoreError),
    /// The file is no ledger, or not one that can be read here.
    #[error("{}: {source}", .path.display())]
    Opening {
        /// The file.
        path: PathBuf,
        /// What the store says of it, which does not name it.
        source: StoreError,
    },
    /// The rules of the ledger, in the units that people use here.
    #[error("{}", InCredits(.0))]
    Rules(LedgerError),
    /// An amount is no number of credits.
    #[error("{text:?}")]
    Credits {
        /// What was given.
        text: String,
        /// Why not.
        source: BadCredits,
    },
    /// An amount is no number of base units.
    #[error("{text:?} base units")]
    BaseUnits {
        /// What was given.
        text: String,
        /// Why not.
        source: ParseAmountError,
    },
    /// The name of a file tells no format of a history, and none was asked for.
    #[error("{}: name it .csv or .jsonl, or give --format", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// No account of that name was open, now or at the moment that was asked for.
    #[error("account {account} is not open after entry {sequence}")]
    UnknownAccount {
        /// The account.
        account: AccountId,
        /// The last entry that counts.
        sequence: u64,
    },
    /// The history has no such entry.
    #[error("there is no entry {sequence}: the history ends with entry {end}")]
    UnknownEntry {
        /// What was asked for.
        sequence: u64,
        /// The last entry.
        end: u64,
    },
    /// A file other than the ledger cannot be read or written.
    #[error("{doing} {}", .path.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was named as a checkpoint has no bytes of one.
    #[error("{}: no checkpoint, which is 354 hexadecimal digits", .path.display())]
    NoCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// The checkpoint cannot be read.
    #[error("checkpoint cannot be read")]
    BadCheckpoint(#[source] DecodeError),
    /// The checkpoint is not signed by the key it should be.
    #[error(transparent)]
    Forged(Corruption),
    /// What was named as a secret key is none.
    #[error("{}: no secret key, which is 64 hexadecimal digits", .path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The standard output takes no more.
    #[error("writing to the standard output")]
    Output(#[source] io::Error),
    /// Something was done, which the standard output does not take any more.
    #[error("{did}; writing that to the standard output")]
    Unsaid {
        /// What was done, and is on the disk.
        did: String,
        /// Why it could not be said there.
        source: io::Error,
    },
}

impl From<StoreError> for LedgerCommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked { path } => Self::Locked { path },
            StoreError::ReadOnly { path } => Self::ReadOnly { path },
            StoreError::Corruption(forged @ Corruption::CheckpointForged { .. }) => {
                Self::Forged(forged)
            }
            StoreError::Ledger(refused) => Self::Rules(refused),
            other => Self::Store(other),
        }
    }
}

/// A refusal with its amounts in credits, as the command takes and gives them. What has none, or
/// comes of nothing that the command asks for, is in its own words.
struct InCredits<'a>(&'a LedgerError);

impl fmt::Display for InCredits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credits = |amount: &Amount| amount.to_credits_string();
        match self.0 {
            LedgerError::InsufficientFunds {
                id,
                account,
                available,
                needed,
            } => write!(
                f,
                "operation {id} needs {} credits of account {account}, which has {} available",
                credits(needed),
                credits(available)
            ),
            LedgerError::PostExceedsReservation {
                id,
                reservation,
                reserved,
                asked,
            } => write!(
                f,
                "operation {id} posts {} credits of reservation {reservation}, which holds {}",
                credits(asked),
                credits(reserved)
            ),
            LedgerError::Overflow {
                id,
                account,
                amount,
                room,
            } => write!(
                f,
                "operation {id} of {} credits overflows account {account}, which can count {} more",
                credits(amount),
                credits(room)
            ),
            LedgerError::SupplyExceeded {
                id,
                account,
                left,
                needed,
            } => write!(
                f,
                "operation {id} of {} credits exceeds the supply left to account {account}, {}",
                credits(needed),
                credits(left)
            ),
            LedgerError::CreditsExceedDebits {
                id,
                account,
                left,
                amount,
            } => write!(
                f,
                "operation {id} of {} credits exceeds what account {account} may take back, {}",
                credits(amount),
                credits(left)
            ),
            LedgerError::QuotaExceeded {
                id,
                account,
                left,
                needed,
                renews_at,
            } => write!(
                f,
                "operation {id} of {} credits exceeds today's quota of account {account}: {} left \
                 until {renews_at}",
                credits(needed),
                credits(left)
            ),
            LedgerError::Dao { id, reason } => {
                write!(f, "operation {id} of governance is refused: ")?;
                governance(reason, f)
            }
            LedgerError::Economy { id, reason } => {
                write!(f, "operation {id} does not fit the economy: ")?;
                numbers(reason, f)
            }
            other => other.fmt(f),
        }
    }
}

fn governance(error: &DaoError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        DaoError::ThresholdNotMet {
            author,
            weight,
            threshold,
        } => write!(
            f,
            "account {author} weighs {} credits, a proposer must weigh {}",
            Amount(weight.0).to_credits_string(),
            threshold.to_credits_string()
        ),
        DaoError::ActionInvalid { index, reason } => {
            write!(f, "action {index}: ")?;
            action(reason, f)
        }
        DaoError::ActionFailed {
            proposal,
            index,
            reason,
        } => {
            write!(f, "action {index} of proposal {proposal} failed: ")?;
            action(reason, f)
        }
        other => fmt::Display::fmt(other, f),
    }
}

fn action(error: &ActionError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        ActionError::Unpayable { asked, available } => write!(
            f,
            "payments come to {} credits with it, the treasury has {}",
            asked.to_credits_string(),
            available.to_credits_string()
        ),
        ActionError::Parameter { reason } => numbers(reason, f),
        ActionError::ParameterUnchanged { name, value } => {
            write!(f, "parameter {name} is {} already", number(name, *value))
        }
        other => fmt::Display::fmt(other, f),
    }
}

fn numbers(error: &EconomyError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        EconomyError::OutOfBounds {
            name,
            value,
            min,
            max,
        } => {
            let [value, min, max] = [value, min, max].map(|value| number(name, *value));
            write!(f, "parameter {name} must be {min} to {max}, not {value}")
        }
        EconomyError::Supply { initial, max } => write!(
            f,
            "initial supply of {} credits exceeds the largest of {}",
            initial.to_credits_string(),
            max.to_credits_string()
        ),
        other => fmt::Display::fmt(other, f),
    }
}

/// A number of the economy in the unit that people are told it in.
fn number(name: &str, value: u128) -> String {
    let parameters = Economy::default().parameters();
    let parameter = parameters.iter().find(|parameter| parameter.name == name);
    parameter.map_or_else(
        || value.to_string(),
        |parameter| in_unit(parameter.unit, value),
    )
}

/// An error of numbers as the command tells it: in the units that it takes and gives them in.
pub(crate) struct InUnits<'a>(pub(crate) &'a EconomyError);

impl fmt::Display for InUnits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        numbers(self.0, f)
    }
}

impl LedgerCommandError {
    /// Says of which file the store speaks, where it does not say so itself.
    pub(crate) fn opening(path: &Path) -> impl FnOnce(StoreError) -> Self {
        let path = path.to_owned();
        move |source| match Self::from(source) {
            Self::Store(source) if !source.to_string().contains(&*path.to_string_lossy()) => {
                Self::Opening { path, source }
            }
            other => other,
        }
    }

    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::AlreadyExists => Self::Store(StoreError::Exists { path }),
            _ => Self::File {
                doing,
                path,
                source,
            },
        }
    }

    /// What went wrong, for programs.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "locked",
            Self::Credits { .. } | Self::BaseUnits { .. } | Self::Format { .. } => "arguments",
            Self::UnknownAccount { .. } => "unknown_account",
            Self::UnknownEntry { .. } => "unknown_entry",
            Self::ReadOnly { .. } | Self::File { .. } => "file",
            Self::NoCheckpoint { .. } | Self::BadCheckpoint(_) | Self::Forged(_) => "checkpoint",
            Self::NoKey { .. } => "invalid",
            Self::Output(_) | Self::Unsaid { .. } => "output",
            Self::Rules(error) => match error {
                LedgerError::UnknownAccount { .. } => "unknown_account",
                LedgerError::IdReused { .. } => "id_reused",
                LedgerError::InsufficientFunds { .. } => "insufficient_funds",
                _ => "refused",
            },
            Self::Store(error) | Self::Opening { source: error, .. } => match error {
                StoreError::TimeOutOfRange { .. } => "arguments",
                StoreError::BadLine { .. } => "invalid",
                StoreError::Corruption(_)
                | StoreError::BadEntry { .. }
                | StoreError::BadBatch { .. }
                | StoreError::BadAccount { .. }
                | StoreError::BadProjection { .. }
                | StoreError::ProjectionDiffers { .. }
                | StoreError::StateDiffers
                | StoreError::HeadDiffers { .. }
                | StoreError::Damaged { .. }
                | StoreError::Malformed { .. } => "corrupt",
                _ => "file",
            },
        }
    }

    /// The exit code for it.
    pub(crate) fn exit_code(&self) -> i32 {
        match self.kind() {
            "arguments" => 2,
            "id_reused" | "insufficient_funds" | "refused" | "unknown_account"
            | "unknown_entry" => 3,
            _ => 1,
        }
    }

    /// Whether nobody reads any more what the command says, which is no failure of its own.
    pub(crate) fn is_reader_gone(&self) -> bool {
        matches!(
            self,
            Self::Output(source) | Self::Unsaid { source, .. }
                if source.kind() == io::ErrorKind::BrokenPipe
        )
    }

    /// What was done all the same.
    pub(crate) fn did(&self) -> Option<&str> {
        match self {
            Self::Unsaid { did, .. } => Some(did),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use fogcompute_base::{TransferId, UnixMillis};
    use fogcompute_ledger::Head;
    use fogcompute_ledger::dao::Weight;

    use super::*;
    use crate::ledger::LedgerCommand;

    fn errors() -> Vec<(LedgerCommandError, &'static str, i32)> {
        let path = || PathBuf::from("L");
        let (id, account) = (
            TransferId::from_bytes([1; 16]),
            AccountId::from_bytes([2; 16]),
        );
        let store = |error: StoreError| LedgerCommandError::from(error);
        let rules = |error: LedgerError| store(error.into());
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let sequence = 1;
        vec![
            (store(StoreError::Locked { path: path() }), "locked", 1),
            (store(StoreError::ReadOnly { path: path() }), "file", 1),
            (store(StoreError::Missing { path: path() }), "file", 1),
            (store(StoreError::Damaged { problems: 1 }), "corrupt", 1),
            (store(StoreError::StateDiffers), "corrupt", 1),
            (
                store(Corruption::ChainBroken { sequence }.into()),
                "corrupt",
                1,
            ),
            (
                store(
                    Corruption::CheckpointForged {
                        checkpoint: Head::GENESIS,
                    }
                    .into(),
                ),
                "checkpoint",
                1,
            ),
            (store(StoreError::BadLine { line: 1 }), "invalid", 1),
            (LedgerCommandError::Output(full()), "output", 1),
            (
                store(StoreError::TimeOutOfRange {
                    time: UnixMillis(u64::MAX),
                }),
                "arguments",
                2,
            ),
            (
                rules(LedgerError::UnknownAccount { id, account }),
                "unknown_account",
                3,
            ),
            (
                LedgerCommandError::UnknownEntry { sequence, end: 0 },
                "unknown_entry",
                3,
            ),
            (
                rules(LedgerError::IdReused { id, sequence }),
                "id_reused",
                3,
            ),
            (
                rules(LedgerError::InsufficientFunds {
                    id,
                    account,
                    available: Amount::ZERO,
                    needed: Amount(1),
                }),
                "insufficient_funds",
                3,
            ),
            (rules(LedgerError::ZeroAmount { id }), "refused", 3),
        ]
    }

    #[test]
    fn amounts_are_in_credits_and_times_in_utc() {
        // A transfer of 3 credits that was one short said so in 19 digits, and when a reservation
        // had expired in milliseconds.
        let (id, account) = (
            TransferId::from_bytes([1; 16]),
            AccountId::from_bytes([2; 16]),
        );
        let (half, three) = (Amount(10_u128.pow(17) * 5), Amount::from_credits(3));
        let said =
            |error: LedgerError| LedgerCommandError::from(StoreError::from(error)).to_string();
        let renews_at = UnixMillis(86_400_000);
        for error in [
            LedgerError::InsufficientFunds {
                id,
                account,
                available: half,
                needed: three,
            },
            LedgerError::PostExceedsReservation {
                id,
                reservation: id,
                reserved: half,
                asked: three,
            },
            LedgerError::Overflow {
                id,
                account,
                amount: three,
                room: half,
            },
            LedgerError::SupplyExceeded {
                id,
                account,
                left: half,
                needed: three,
            },
            LedgerError::CreditsExceedDebits {
                id,
                account,
                left: half,
                amount: three,
            },
            LedgerError::QuotaExceeded {
                id,
                account,
                left: half,
                needed: three,
                renews_at,
            },
        ] {
            let said = said(error);
            assert!(
                said.contains(" 3 credits") && said.contains(" 0.5"),
                "{said}"
            );
            assert!(!said.contains("00000000000000"), "{said}");
        }
        let dao = |reason: DaoError| LedgerError::Dao {
            id,
            reason: Box::new(reason),
        };
        let action = |reason| {
            dao(DaoError::ActionInvalid {
                index: 1,
                reason: Box::new(reason),
            })
        };
        let bounds = |name: &str| EconomyError::OutOfBounds {
            name: name.to_owned(),
            value: half.0,
            min: three.0,
            max: 4 * three.0,
        };
        for (error, part) in [
            (
                dao(DaoError::ThresholdNotMet {
                    author: account,
                    weight: Weight(half.0),
                    threshold: three,
                }),
                "weighs 0.5 credits, a proposer must weigh 3",
            ),
            (
                action(ActionError::Unpayable {
                    asked: three,
                    available: half,
                }),
                "action 1: payments come to 3 credits with it, the treasury has 0.5",
            ),
            (
                action(ActionError::Parameter {
                    reason: bounds("dao.proposal_threshold"),
                }),
                "must be 3 credits to 12 credits, not 0.5 credits",
            ),
            (
                LedgerError::Economy {
                    id,
                    reason: Box::new(bounds("dao.proposal_threshold")),
                },
                "must be 3 credits to 12 credits, not 0.5 credits",
            ),
            (
                action(ActionError::ParameterUnchanged {
                    name: "dao.quorum".to_owned(),
                    value: 5,
                }),
                "dao.quorum is 5 millionths already",
            ),
        ] {
            let said = said(error);
            assert!(said.ends_with(part), "{said}");
        }
        let expired = said(LedgerError::ReservationExpired {
            id,
            reservation: id,
            expires: renews_at,
        });
        assert!(
            expired.ends_with("at 1970-01-02T00:00:00.000Z"),
            "{expired}"
        );
    }

    #[test]
    fn every_kind_of_failure_is_in_the_help_and_in_its_row_of_the_manual() {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(subcommand)]
            _command: LedgerCommand,
        }
        let mut command = <Alone as clap::CommandFactory>::command();
        let create = command.find_subcommand_mut("create").unwrap();
        let help = create.render_long_help().to_string();
        let (_, kinds) = help.split_once("Kinds: ").unwrap();
        let (kinds, _) = kinds.split_once('.').unwrap();
        let mut named: Vec<&str> = kinds.split(',').map(str::trim).collect();
        named.sort_unstable();
        let manual = include_str!("../../../../docs/ledger.md");
        let mut given = Vec::new();
        for (error, kind, code) in errors() {
            assert_eq!((error.kind(), error.exit_code()), (kind, code), "{error}");
            let start = format!("| {code} | ");
            let row = manual.lines().find(|line| line.starts_with(&start));
            assert!(row.unwrap().contains(&format!("`{kind}`")), "{kind}");
            given.push(kind);
        }
        given.sort_unstable();
        given.dedup();
        assert_eq!(given, named);
    }
}
