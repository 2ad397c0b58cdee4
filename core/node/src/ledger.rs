//! `fogcompute ledger`: what is in a ledger file, and what is done with it.

mod arguments;
mod text;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use fogcompute_base::wire::DecodeError;
use fogcompute_base::{AccountId, Clock, CryptoRng, NodeId};
use fogcompute_ledger::{
    Account, AccountKind, Amount, AssetId, Corruption, Entry, Head, LedgerError, Memo, Operation,
    ParseAmountError, Receipt, SignedCheckpoint,
};
use fogcompute_store::{ENTRIES_PAGE_MAX, LedgerOptions, SqliteLedger, StoreError, TextFormat};
use serde_json::{Value, json};
use thiserror::Error;

use crate::files::{NewFile, Readers};
pub(crate) use arguments::LedgerCommand;
use arguments::{
    BackupArguments, BalanceArguments, CheckpointArguments, ExportArguments, FormatName,
    HistoryArguments, ImportArguments, Movement, OpenArguments, PostArguments, ReserveArguments,
    TransferArguments, VerifyArguments, VoidArguments,
};
use text::{BadCredits, credits, describe, hex, unhex};

/// Most bytes that are read of a file with a checkpoint or a key: more than either has.
const SMALL_FILE_BYTES: u64 = 4_096;

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
    #[error("{} is read-only; a ledger is locked by writing to it, so read a copy", .path.display())]
    ReadOnly {
        /// The ledger.
        path: PathBuf,
    },
    /// The store, or the rules behind it.
    #[error(transparent)]
    Store(StoreError),
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
}

impl From<StoreError> for LedgerCommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked { path } => Self::Locked { path },
            StoreError::ReadOnly { path } => Self::ReadOnly { path },
            StoreError::Corruption(forged @ Corruption::CheckpointForged { .. }) => {
                Self::Forged(forged)
            }
            other => Self::Store(other),
        }
    }
}

impl LedgerCommandError {
    fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
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
            Self::Credits { .. } | Self::BaseUnits { .. } => "arguments",
            Self::UnknownAccount { .. } => "unknown_account",
            Self::UnknownEntry { .. } => "unknown_entry",
            Self::ReadOnly { .. } | Self::File { .. } => "file",
            Self::NoCheckpoint { .. } | Self::BadCheckpoint(_) | Self::Forged(_) => "checkpoint",
            Self::NoKey { .. } => "invalid",
            Self::Output(_) => "output",
            Self::Store(error) => match error {
                StoreError::Ledger(LedgerError::UnknownAccount { .. }) => "unknown_account",
                StoreError::Ledger(LedgerError::IdReused { .. }) => "id_reused",
                StoreError::Ledger(LedgerError::InsufficientFunds { .. }) => "insufficient_funds",
                StoreError::Ledger(_) => "refused",
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
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What a command says.
struct Said {
    json: Value,
    text: String,
}

/// Carries a command out and says what came of it.
pub(crate) fn run(
    command: &LedgerCommand,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<(), LedgerCommandError> {
    let said = match command {
        LedgerCommand::Create(ledger) => create(&ledger.file),
        LedgerCommand::Open(arguments) => open_account(arguments, clock),
        LedgerCommand::Balance(arguments) => balance(arguments),
        LedgerCommand::Transfer(arguments) => transfer(arguments, clock),
        LedgerCommand::Reserve(arguments) => reserve(arguments, clock),
        LedgerCommand::Post(arguments) => post(arguments, clock),
        LedgerCommand::Void(arguments) => void(arguments, clock),
        LedgerCommand::History(arguments) => return history(arguments),
        LedgerCommand::Verify(arguments) => verify(arguments),
        LedgerCommand::Export(arguments) => match &arguments.out {
            Some(out) => export_to(arguments, out),
            None => return export(arguments),
        },
        LedgerCommand::Import(arguments) => import(arguments),
        LedgerCommand::Backup(arguments) => backup(arguments),
        LedgerCommand::Checkpoint(arguments) => checkpoint(arguments, clock, rng),
    }?;
    let mut out = io::stdout().lock();
    let written = if command.json() {
        writeln!(out, "{}", said.json)
    } else {
        writeln!(out, "{}", said.text)
    };
    written
        .and_then(|()| out.flush())
        .map_err(LedgerCommandError::Output)
}

fn existing(path: &Path) -> Result<SqliteLedger, LedgerCommandError> {
    Ok(SqliteLedger::open_existing(path, LedgerOptions::default())?)
}

/// Makes a new ledger and fills it; what cannot be filled is removed again.
fn new_ledger(
    path: &Path,
    fill: impl FnOnce(&mut SqliteLedger) -> Result<(), LedgerCommandError>,
) -> Result<SqliteLedger, LedgerCommandError> {
    // Whoever makes the file owns it: another process that makes one too is told that it exists.
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map_err(LedgerCommandError::file("creating", path))?;
    let filled = SqliteLedger::open_with(path, LedgerOptions::default())
        .map_err(LedgerCommandError::from)
        .and_then(|mut ledger| {
            fill(&mut ledger)?;
            Ok(ledger)
        });
    if filled.is_err() {
        // The reason for it is told; that the empty file stays, if it does, shows by itself.
        let _ = fs::remove_file(path);
    }
    filled
}

fn create(path: &Path) -> Result<Said, LedgerCommandError> {
    let ledger = new_ledger(path, |_| Ok(()))?;
    let head = ledger.state().head();
    ledger.close()?;
    Ok(Said {
        json: json!({"ok": true, "head": head}),
        text: format!("made {}, without accounts", path.display()),
    })
}

fn open_account(arguments: &OpenArguments, clock: &dyn Clock) -> Result<Said, LedgerCommandError> {
    let operation = Operation::Open {
        account: arguments.account,
        asset: AssetId(arguments.asset),
        kind: arguments.kind.into(),
    };
    execute(&arguments.ledger.file, operation, clock)
}

fn transfer(arguments: &TransferArguments, clock: &dyn Clock) -> Result<Said, LedgerCommandError> {
    let Movement {
        id,
        from,
        to,
        memo_code,
    } = arguments.movement;
    let operation = Operation::Transfer {
        id,
        from,
        to,
        amount: amount(&arguments.amount, arguments.base_units)?,
        memo: memo(memo_code),
    };
    execute(&arguments.ledger.file, operation, clock)
}

fn reserve(arguments: &ReserveArguments, clock: &dyn Clock) -> Result<Said, LedgerCommandError> {
    let Movement {
        id,
        from,
        to,
        memo_code,
    } = arguments.movement;
    let operation = Operation::Reserve {
        id,
        from,
        to,
        amount: amount(&arguments.amount, arguments.base_units)?,
        expires: arguments.expires,
        memo: memo(memo_code),
    };
    execute(&arguments.ledger.file, operation, clock)
}

fn post(arguments: &PostArguments, clock: &dyn Clock) -> Result<Said, LedgerCommandError> {
    let asked = arguments.amount.as_deref();
    let operation = Operation::Post {
        id: arguments.id,
        reservation: arguments.reservation,
        amount: asked
            .map(|text| amount(text, arguments.base_units))
            .transpose()?,
    };
    execute(&arguments.ledger.file, operation, clock)
}

fn void(arguments: &VoidArguments, clock: &dyn Clock) -> Result<Said, LedgerCommandError> {
    let operation = Operation::Void {
        id: arguments.id,
        reservation: arguments.reservation,
    };
    execute(&arguments.ledger.file, operation, clock)
}

fn amount(text: &str, base_units: bool) -> Result<Amount, LedgerCommandError> {
    if base_units {
        text.parse()
            .map_err(|source| LedgerCommandError::BaseUnits {
                text: text.to_owned(),
                source,
            })
    } else {
        credits(text).map_err(|source| LedgerCommandError::Credits {
            text: text.to_owned(),
            source,
        })
    }
}

fn memo(code: u16) -> Memo {
    Memo { code, ..Memo::NONE }
}

/// Carries one operation out, after what has expired was released, as its money may be needed.
fn execute(
    path: &Path,
    operation: Operation,
    clock: &dyn Clock,
) -> Result<Said, LedgerCommandError> {
    let mut ledger = existing(path)?;
    let now = clock.unix_now();
    let mut expired = 0;
    loop {
        match ledger.expire(now)?.len() {
            0 => break,
            count => expired += count,
        }
    }
    let receipts = ledger.execute(&[operation], now)?;
    let Receipt { entry, replayed } = receipts
        .into_iter()
        .next()
        .expect("one operation has one receipt");
    let did = describe(&entry.kind);
    let mut text = if replayed {
        let (sequence, time) = (entry.sequence, entry.time);
        format!("nothing new: entry {sequence}, of {time}, did this: {did}")
    } else {
        format!("entry {}: {did}", entry.sequence)
    };
    if expired > 0 {
        text.push_str(&format!("\n{expired} expired reservations were released"));
    }
    Ok(Said {
        json: json!({
            "ok": true,
            "replayed": replayed,
            "entry": entry,
            "expired": expired,
        }),
        text,
    })
}

/// What an account had at some moment.
struct Held<'a> {
    account: &'a Account,
    credits_posted: Amount,
    debits_posted: Amount,
}

impl Held<'_> {
    fn balance(&self) -> Amount {
        let balance = self.credits_posted.checked_sub(self.debits_posted);
        balance.unwrap_or_default()
    }

    fn issued(&self) -> Amount {
        let issued = self.debits_posted.checked_sub(self.credits_posted);
        issued.unwrap_or_default()
    }

    fn json(&self) -> Value {
        json!({
            "id": self.account.id,
            "asset": self.account.asset,
            "kind": self.account.kind,
            "balance": self.balance(),
            "issued": self.issued(),
            "credits_posted": self.credits_posted,
            "debits_posted": self.debits_posted,
        })
    }

    /// Columns for people; an issuer that has put out more than it took back is below zero.
    fn columns(&self) -> [String; 4] {
        let (balance, issued) = (self.balance(), self.issued());
        [
            self.account.id.to_string(),
            match self.account.kind {
                AccountKind::Issuer => "issuer".to_owned(),
                AccountKind::Holder => "holder".to_owned(),
            },
            self.account.asset.to_string(),
            if issued.is_zero() {
                balance.to_credits_string()
            } else {
                format!("-{}", issued.to_credits_string())
            },
        ]
    }
}

/// What the account may give now; `None` if nothing but its counters bounds it.
fn available(account: &Account) -> Option<Amount> {
    match account.kind {
        AccountKind::Issuer => account.supply_left(),
        AccountKind::Holder => Some(account.available()),
    }
}

fn balance(arguments: &BalanceArguments) -> Result<Said, LedgerCommandError> {
    let mut ledger = existing(&arguments.ledger.file)?;
    let head = ledger.state().head();
    let past = match (arguments.at_sequence, arguments.at_time) {
        (Some(sequence), _) if sequence > head.sequence => {
            return Err(LedgerCommandError::UnknownEntry {
                sequence,
                end: head.sequence,
            });
        }
        (Some(sequence), _) => Some(sequence),
        (None, Some(at)) => Some(ledger.sequence_at(at)?),
        (None, None) => None,
    };
    let sequence = past.unwrap_or(head.sequence);
    let state = ledger.state();
    let known: Vec<Account> = if arguments.accounts.is_empty() {
        state.accounts().copied().collect()
    } else {
        let account = |id: &AccountId| {
            let account = state.account(*id).copied();
            account.ok_or(LedgerCommandError::UnknownAccount {
                account: *id,
                sequence,
            })
        };
        arguments
            .accounts
            .iter()
            .map(account)
            .collect::<Result<_, _>>()?
    };
    let mut accounts = Vec::with_capacity(known.len());
    let mut table = vec![["account", "kind", "asset", "balance", "available"].map(str::to_owned)];
    for account in &known {
        let mut held = Held {
            account,
            credits_posted: account.credits_posted,
            debits_posted: account.debits_posted,
        };
        let (json, last) = if let Some(sequence) = past {
            match ledger.as_of(account.id, sequence)? {
                Some(standing) => {
                    held.credits_posted = standing.credits_posted;
                    held.debits_posted = standing.debits_posted;
                }
                None if arguments.accounts.is_empty() => continue,
                None => {
                    let account = account.id;
                    return Err(LedgerCommandError::UnknownAccount { account, sequence });
                }
            }
            (held.json(), String::new())
        } else {
            let available = available(account);
            let mut json = held.json();
            json["available"] = json!(available);
            json["credits_pending"] = json!(account.credits_pending);
            json["debits_pending"] = json!(account.debits_pending);
            json["closed"] = json!(account.closed);
            let last = if account.closed {
                "closed".to_owned()
            } else {
                available.map_or("any".to_owned(), Amount::to_credits_string)
            };
            (json, last)
        };
        accounts.push(json);
        let [id, kind, asset, balance] = held.columns();
        table.push([id, kind, asset, balance, last]);
    }
    if past.is_some() {
        table[0][4].clear();
    }
    let text = format!("{}after entry {sequence}", aligned(&table));
    Ok(Said {
        json: json!({
            "ok": true,
            "sequence": sequence,
            "head": head,
            "accounts": accounts,
        }),
        text,
    })
}

/// Rows under each other, the last two columns to the right.
fn aligned(table: &[[String; 5]]) -> String {
    let width = |column: usize| table.iter().map(|row| row[column].len()).max();
    let widths: [usize; 5] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in table {
        let [account, kind, asset, balance, available] = row;
        let [a, k, s, b, v] = widths;
        let line =
            format!("{account:<a$}  {kind:<k$}  {asset:<s$}  {balance:>b$}  {available:>v$}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn history(arguments: &HistoryArguments) -> Result<(), LedgerCommandError> {
    let mut ledger = existing(&arguments.ledger.file)?;
    if let Some(account) = arguments.account
        && ledger.account(account).is_none()
    {
        let sequence = ledger.state().head().sequence;
        return Err(LedgerCommandError::UnknownAccount { account, sequence });
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut after = arguments.after;
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    loop {
        let limit = usize::try_from(left).unwrap_or(usize::MAX);
        let limit = limit.min(ENTRIES_PAGE_MAX);
        let page = match arguments.account {
            Some(account) => ledger.history(account, after, limit)?,
            None => ledger.entries(after, limit)?,
        };
        let Some(last) = page.last() else { break };
        after = last.sequence;
        left = left.saturating_sub(page.len() as u64);
        for entry in &page {
            writeln!(out, "{}", line(entry, arguments.ledger.json))
                .map_err(LedgerCommandError::Output)?;
        }
    }
    out.flush().map_err(LedgerCommandError::Output)
}

fn line(entry: &Entry, json: bool) -> String {
    if json {
        // As `export` has it, fields in their order.
        return serde_json::to_string(entry).expect("an entry has no maps, and writes to memory");
    }
    let (sequence, time) = (entry.sequence, entry.time);
    format!("{sequence}  {time}  {}", describe(&entry.kind))
}

fn verify(arguments: &VerifyArguments) -> Result<Said, LedgerCommandError> {
    let kept = arguments.checkpoint.as_deref().map(read_checkpoint);
    let kept = kept.transpose()?;
    let ledger = existing(&arguments.ledger.file)?;
    let damaged = ledger.opening().damaged;
    let proven = match &kept {
        Some(kept) => ledger.verify_since(kept, arguments.key.as_ref().unwrap_or(&kept.key))?,
        None => ledger.verify()?,
    };
    let Head { sequence, chain } = proven.head;
    let mut text = format!(
        "sound: {sequence} entries, {} accounts, {} open reservations\nhead {sequence} {chain}",
        proven.accounts, proven.open_reservations
    );
    if damaged > 0 {
        text.push_str(&format!(
            "\n{damaged} snapshots were damaged; the history they were made of is not"
        ));
    }
    let mut json = json!({
        "ok": true,
        "head": proven.head,
        "entries": sequence,
        "accounts": proven.accounts,
        "open_reservations": proven.open_reservations,
        "snapshots_damaged": damaged,
        "checkpoint": null,
    });
    if let Some(SignedCheckpoint {
        checkpoint, key, ..
    }) = &kept
    {
        let key_given = arguments.key.is_some();
        text.push_str(&format!(
            "\nthe same up to entry {} as at {}, signed by {key}",
            checkpoint.head.sequence, checkpoint.time
        ));
        if !key_given {
            text.push_str(", a key that only the checkpoint names");
        }
        json["checkpoint"] = json!({
            "head": checkpoint.head,
            "time": checkpoint.time,
            "key": key,
            "key_given": key_given,
        });
    }
    Ok(Said { json, text })
}

/// Reads a checkpoint from its digits, or from a file that has them or its bytes.
fn read_checkpoint(given: &OsStr) -> Result<SignedCheckpoint, LedgerCommandError> {
    let digits = |text: &str| {
        let bytes = (text.len() == 2 * SignedCheckpoint::LEN).then(|| unhex(text));
        bytes.flatten()
    };
    let bytes = match given.to_str().and_then(digits) {
        Some(bytes) => bytes,
        None => {
            let path = Path::new(given);
            let read = small_file(path).map_err(LedgerCommandError::file("reading", path))?;
            let text = std::str::from_utf8(&read).ok();
            match text.and_then(|text| digits(text.trim())) {
                Some(bytes) => bytes,
                None if read.len() == SignedCheckpoint::LEN => read,
                None => {
                    return Err(LedgerCommandError::NoCheckpoint {
                        path: path.to_owned(),
                    });
                }
            }
        }
    };
    SignedCheckpoint::decode(&bytes).map_err(LedgerCommandError::BadCheckpoint)
}

fn small_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(SMALL_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The format that is asked for, or that the file's name tells.
fn format_of(asked: Option<FormatName>, path: Option<&Path>) -> TextFormat {
    let ending = path.and_then(Path::extension);
    let is_csv = ending.is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    match asked {
        Some(format) => format.into(),
        None if is_csv => TextFormat::Csv,
        None => TextFormat::JsonLines,
    }
}

fn export(arguments: &ExportArguments) -> Result<(), LedgerCommandError> {
    let ledger = existing(&arguments.ledger.file)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match ledger.export(format_of(arguments.format, None), &mut out) {
        Ok(_) => Ok(()),
        Err(StoreError::Io { source }) => Err(LedgerCommandError::Output(source)),
        Err(other) => Err(other.into()),
    }
}

fn export_to(arguments: &ExportArguments, path: &Path) -> Result<Said, LedgerCommandError> {
    let ledger = existing(&arguments.ledger.file)?;
    let writing = || LedgerCommandError::file("writing", path);
    let mut file = new_file(path, Readers::Owner)?;
    let mut out = BufWriter::new(&mut file);
    let format = format_of(arguments.format, Some(path));
    let entries = match ledger.export(format, &mut out) {
        Ok(entries) => entries,
        Err(StoreError::Io { source }) => return Err(writing()(source)),
        Err(other) => return Err(other.into()),
    };
    drop(out);
    file.finish().map_err(writing())?;
    let head = ledger.state().head();
    Ok(Said {
        json: json!({"ok": true, "entries": entries, "head": head}),
        text: format!("{entries} entries are in {}", path.display()),
    })
}

fn import(arguments: &ImportArguments) -> Result<Said, LedgerCommandError> {
    let path = &arguments.text;
    let reading = || LedgerCommandError::file("reading", path);
    let mut input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(reading())?))
    };
    let format = format_of(arguments.format, Some(path));
    let fill = |ledger: &mut SqliteLedger| match ledger.import(format, &mut input) {
        Ok(()) => Ok(()),
        Err(StoreError::Io { source }) => Err(reading()(source)),
        Err(other) => Err(other.into()),
    };
    let ledger = new_ledger(&arguments.ledger.file, fill)?;
    let (head, accounts) = (ledger.state().head(), ledger.state().account_count());
    ledger.close()?;
    let entries = head.sequence;
    Ok(Said {
        json: json!({"ok": true, "entries": entries, "accounts": accounts, "head": head}),
        text: format!(
            "made {} of {entries} entries, {accounts} accounts\nhead {entries} {}",
            arguments.ledger.file.display(),
            head.chain
        ),
    })
}

fn backup(arguments: &BackupArguments) -> Result<Said, LedgerCommandError> {
    let ledger = existing(&arguments.ledger.file)?;
    ledger.backup(&arguments.copy)?;
    let head = ledger.state().head();
    Ok(Said {
        json: json!({"ok": true, "head": head}),
        text: format!(
            "copied {} entries into {}",
            head.sequence,
            arguments.copy.display()
        ),
    })
}

fn checkpoint(
    arguments: &CheckpointArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, LedgerCommandError> {
    let ledger = existing(&arguments.ledger.file)?;
    // Begun before a key is made, which would be made for nothing.
    let out = match &arguments.out {
        Some(path) => Some((path, new_file(path, Readers::Everybody)?)),
        None => None,
    };
    let secret = signing_key(&arguments.key, rng)?;
    let signed = ledger.checkpoint(clock.unix_now(), &secret);
    let digits = hex(&signed.encode());
    let SignedCheckpoint {
        checkpoint, key, ..
    } = signed;
    let text = match out {
        Some((path, file)) => {
            finish_with(file, path, &digits)?;
            let sequence = checkpoint.head.sequence;
            let path = path.display();
            format!("{path} states the ledger up to entry {sequence}, signed by {key}")
        }
        None => digits.clone(),
    };
    Ok(Said {
        json: json!({
            "ok": true,
            "checkpoint": digits,
            "key": key,
            "head": checkpoint.head,
            "time": checkpoint.time,
            "accounts_root": checkpoint.accounts_root,
        }),
        text,
    })
}

/// Begins a new file; what is there under its name stays.
fn new_file(path: &Path, readers: Readers) -> Result<NewFile<'_>, LedgerCommandError> {
    NewFile::begin(path, readers).map_err(LedgerCommandError::file("writing", path))
}

/// Finishes a new file of one line.
fn finish_with(mut file: NewFile<'_>, path: &Path, line: &str) -> Result<(), LedgerCommandError> {
    writeln!(file, "{line}")
        .and_then(|()| file.finish())
        .map_err(LedgerCommandError::file("writing", path))
}

/// Reads the key to sign with, or makes one where there is no file.
fn signing_key(path: &Path, rng: &mut impl CryptoRng) -> Result<SigningKey, LedgerCommandError> {
    match small_file(path) {
        Ok(bytes) => {
            let text = std::str::from_utf8(&bytes).ok();
            // Ids of nodes have as many digits.
            let secret = text.and_then(|text| text.trim().parse::<NodeId>().ok());
            let secret = secret.ok_or(LedgerCommandError::NoKey {
                path: path.to_owned(),
            })?;
            Ok(SigningKey::from_bytes(secret.as_bytes()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut secret = [0; 32];
            rng.fill_bytes(&mut secret);
            let file = new_file(path, Readers::Owner)?;
            finish_with(file, path, &NodeId::from_bytes(secret).to_string())?;
            Ok(SigningKey::from_bytes(&secret))
        }
        Err(source) => Err(LedgerCommandError::file("reading", path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use fogcompute_base::TransferId;

    use super::*;

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
                    time: fogcompute_base::UnixMillis(u64::MAX),
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
        let manual = include_str!("../../../docs/ledger.md");
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

    #[test]
    fn the_format_is_the_one_asked_for_or_that_of_the_name() {
        let of = |asked, name: &str| format_of(asked, Some(Path::new(name)));
        assert_eq!(of(None, "a/history.CSV"), TextFormat::Csv);
        for name in ["history.jsonl", "history", "csv", "-"] {
            assert_eq!(of(None, name), TextFormat::JsonLines, "{name}");
        }
        let asked = Some(FormatName::Jsonl);
        assert_eq!(of(asked, "a.csv"), TextFormat::JsonLines);
        assert_eq!(format_of(None, None), TextFormat::JsonLines);
    }

    #[test]
    fn a_ledger_that_cannot_be_filled_leaves_nothing_and_one_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("L");
        let failed = new_ledger(&path, |_| {
            Err(LedgerCommandError::UnknownEntry {
                sequence: 1,
                end: 0,
            })
        });
        assert_eq!(failed.unwrap_err().kind(), "unknown_entry");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(&path, "somebody's").unwrap();
        assert_eq!(create(&path).map(drop).unwrap_err().kind(), "file");
        assert_eq!(fs::read(&path).unwrap(), b"somebody's");
    }
}
