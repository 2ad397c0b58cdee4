//! The arguments of `fogcompute ledger`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use fogcompute_base::{AccountId, TransferId, UnixMillis};
use fogcompute_ledger::{AccountKind, PublicKey};
use fogcompute_store::TextFormat;

use super::text::moment;

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Make a new ledger file, without accounts.
    Create(LedgerFile),
    /// Open an account in a ledger. Asking again changes nothing.
    Open(OpenArguments),
    /// Print what accounts have, now or at a moment of the past.
    Balance(BalanceArguments),
    /// Print the economy: its numbers, what is in its purses, who may be staked on, and what an
    /// account has staked.
    Economy(EconomyArguments),
    /// Move an amount from one account to another. Asking again with the same id changes nothing.
    Transfer(TransferArguments),
    /// Hold an amount back on one account for another, for a later post or void.
    Reserve(ReserveArguments),
    /// Move what is reserved, or a part of it; the rest is released.
    Post(PostArguments),
    /// Release what is reserved.
    Void(VoidArguments),
    /// Print the entries of a ledger, or those that name an account.
    History(HistoryArguments),
    /// Prove a ledger: the file, the whole history, and what follows from it.
    ///
    /// SQLite checks its pages; every entry is carried out again from the first on and compared
    /// with its digest, with the tables for SQL, and with the balances. Whether somebody has made
    /// the whole history anew is told only by a checkpoint that was kept elsewhere.
    Verify(VerifyArguments),
    /// Write the whole history as text.
    Export(ExportArguments),
    /// Make a new ledger file of a history that was exported, proving every entry.
    Import(ImportArguments),
    /// Copy a ledger into a new file.
    Backup(BackupArguments),
    /// Sign a statement of what the ledger is now, for others to keep, and print it.
    Checkpoint(CheckpointArguments),
}

#[derive(Args, Debug)]
pub(crate) struct LedgerFile {
    /// The ledger.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Print JSON: one object, or an entry a line.
    ///
    /// Amounts are strings of base units. {"ok": false, "kind": …, "error": …} says what went
    /// wrong. Kinds: arguments, checkpoint, corrupt, file, id_reused, insufficient_funds, invalid,
    /// locked, output, refused, unknown_account, unknown_entry.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) patience: Patience,
}

/// How long a ledger is waited for that another process has open.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Seconds to wait for another process that has the ledger open, 0 to 3600.
    #[arg(
        long = "wait",
        default_value_t = 10,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u16).range(0..=3_600)
    )]
    pub(crate) seconds: u16,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum KindName {
    /// Puts an asset out, and takes it back.
    Issuer,
    /// Holds what it was given.
    Holder,
}

impl From<KindName> for AccountKind {
    fn from(kind: KindName) -> Self {
        match kind {
            KindName::Issuer => Self::Issuer,
            KindName::Holder => Self::Holder,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct OpenArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    /// The new account: 32 hexadecimal digits of your choice.
    #[arg(long, value_name = "ID")]
    pub(super) account: AccountId,
    /// What it may do.
    #[arg(long, value_enum)]
    pub(super) kind: KindName,
    /// The asset it holds, a number; 0 is credits.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(super) asset: u32,
}

#[derive(Args, Debug)]
pub(crate) struct BalanceArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    /// The accounts; all if none is named.
    #[arg(value_name = "ACCOUNT")]
    pub(super) accounts: Vec<AccountId>,
    /// As they were after that entry.
    #[arg(long, value_name = "N", conflicts_with = "at_time")]
    pub(super) at_sequence: Option<u64>,
    /// As they were at that time: 2026-11-21 (its beginning), 2026-11-21T12:30:00Z, or
    /// milliseconds since 1970.
    #[arg(long, value_name = "T", value_parser = moment)]
    pub(super) at_time: Option<UnixMillis>,
}

#[derive(Args, Debug)]
pub(crate) struct EconomyArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    /// Also what this account has staked on each operator, what a claim would pay it, and what is on
    /// its way out.
    #[arg(long, value_name = "ID")]
    pub(super) account: Option<AccountId>,
}

/// What names an operation.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// Names the operation: 32 hexadecimal digits of your choice, new for each; drawn if it is left
    /// out. Asking again with the same id changes nothing.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<TransferId>,
}

#[derive(Args, Debug)]
pub(crate) struct Movement {
    #[command(flatten)]
    pub(super) named: Named,
    /// The account that gives. From an issuer it mints.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) from: AccountId,
    /// The account that receives.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) to: AccountId,
    /// What it is for, a number of a list of your own; 0 says nothing.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(super) memo_code: u16,
}

#[derive(Args, Debug)]
pub(crate) struct TransferArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    #[command(flatten)]
    pub(super) movement: Movement,
    /// Credits: 5, 0.25, up to 18 digits after the point.
    #[arg(value_name = "AMOUNT", allow_negative_numbers = true)]
    pub(super) amount: String,
    /// The amount is in base units, 10¹⁸ to a credit.
    #[arg(long)]
    pub(super) base_units: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ReserveArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    #[command(flatten)]
    pub(super) movement: Movement,
    /// Credits: 5, 0.25, up to 18 digits after the point.
    #[arg(value_name = "AMOUNT", allow_negative_numbers = true)]
    pub(super) amount: String,
    /// The amount is in base units, 10¹⁸ to a credit.
    #[arg(long)]
    pub(super) base_units: bool,
    /// From that time on it can only be released, which the next command that writes does:
    /// 2026-11-21, 2026-11-21T12:30:00Z, or milliseconds since 1970.
    #[arg(long, value_name = "T", value_parser = moment)]
    pub(super) expires: Option<UnixMillis>,
}

#[derive(Args, Debug)]
pub(crate) struct PostArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    #[command(flatten)]
    pub(super) named: Named,
    /// The id of what was reserved.
    #[arg(long, value_name = "ID")]
    pub(super) reservation: TransferId,
    /// Credits; all that is reserved if it is left out.
    #[arg(value_name = "AMOUNT", allow_negative_numbers = true)]
    pub(super) amount: Option<String>,
    /// The amount is in base units, 10¹⁸ to a credit.
    #[arg(long)]
    pub(super) base_units: bool,
}

#[derive(Args, Debug)]
pub(crate) struct VoidArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    #[command(flatten)]
    pub(super) named: Named,
    /// The id of what was reserved.
    #[arg(long, value_name = "ID")]
    pub(super) reservation: TransferId,
}

#[derive(Args, Debug)]
pub(crate) struct HistoryArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    /// Only entries that name this account.
    #[arg(value_name = "ACCOUNT")]
    pub(super) account: Option<AccountId>,
    /// Begin after that entry.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) after: u64,
    /// Print no more entries than that.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    /// A checkpoint that was kept elsewhere: a file, or its 354 hexadecimal digits.
    #[arg(long, value_name = "FILE_OR_HEX")]
    pub(super) checkpoint: Option<OsString>,
    /// The key that must have signed the checkpoint, 64 hexadecimal digits. Without it, the one
    /// that the checkpoint itself names.
    #[arg(long, value_name = "KEY", requires = "checkpoint")]
    pub(super) key: Option<PublicKey>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum FormatName {
    /// Columns under a line with their names.
    Csv,
    /// A JSON object a line.
    Jsonl,
}

impl From<FormatName> for TextFormat {
    fn from(format: FormatName) -> Self {
        match format {
            FormatName::Csv => Self::Csv,
            FormatName::Jsonl => Self::JsonLines,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    /// How to write it, if the file's name does not tell by .csv or .jsonl; jsonl for the standard
    /// output.
    #[arg(long, value_enum)]
    pub(super) format: Option<FormatName>,
    /// Where to; a new file. The standard output if it is left out.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    /// The history as text; - is the standard input.
    #[arg(value_name = "TEXT")]
    pub(super) text: PathBuf,
    /// How it is written, if the file's name does not tell by .csv or .jsonl; jsonl for the standard
    /// input.
    #[arg(long, value_enum)]
    pub(super) format: Option<FormatName>,
}

#[derive(Args, Debug)]
pub(crate) struct BackupArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    /// Where to; a new file.
    #[arg(value_name = "COPY")]
    pub(super) copy: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct CheckpointArguments {
    #[command(flatten)]
    pub(super) ledger: LedgerFile,
    /// The secret Ed25519 key to sign with, 64 hexadecimal digits; made if the file is not there.
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// Where to write it; a new file. The standard output if it is left out.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

impl LedgerCommand {
    /// The file, and whether JSON is wanted.
    pub(crate) const fn ledger(&self) -> &LedgerFile {
        match self {
            Self::Create(ledger) => ledger,
            Self::Open(arguments) => &arguments.ledger,
            Self::Balance(arguments) => &arguments.ledger,
            Self::Economy(arguments) => &arguments.ledger,
            Self::Transfer(arguments) => &arguments.ledger,
            Self::Reserve(arguments) => &arguments.ledger,
            Self::Post(arguments) => &arguments.ledger,
            Self::Void(arguments) => &arguments.ledger,
            Self::History(arguments) => &arguments.ledger,
            Self::Verify(arguments) => &arguments.ledger,
            Self::Export(arguments) => &arguments.ledger,
            Self::Import(arguments) => &arguments.ledger,
            Self::Backup(arguments) => &arguments.ledger,
            Self::Checkpoint(arguments) => &arguments.ledger,
        }
    }

    /// Whether JSON is wanted.
    pub(crate) const fn json(&self) -> bool {
        self.ledger().json
    }
}
