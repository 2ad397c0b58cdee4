//! `fogcompute ledger`: what is in a ledger file, and what is done with it.

mod arguments;
mod balance;
mod economy;
pub(crate) mod error;
pub(crate) mod proof;
pub(crate) mod text;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use fogcompute_base::{Clock, CryptoRng, SystemClock, TransferId, UnixMillis};
use fogcompute_ledger::{Amount, AssetId, Entry, EntryKind, Memo, Operation, Receipt};
use fogcompute_store::{ENTRIES_PAGE_MAX, LedgerOptions, SqliteLedger, StoreError, TextFormat};
use serde_json::{Value, json};

use crate::files::{NewFile, Readers};
use arguments::{
    BackupArguments, ExportArguments, FormatName, HistoryArguments, ImportArguments, LedgerFile,
    Movement, OpenArguments, PostArguments, ReserveArguments, TransferArguments, VoidArguments,
};
pub(crate) use arguments::{LedgerCommand, Named, Patience};
use balance::balance;
use economy::economy;
pub(crate) use error::LedgerCommandError;
use proof::{checkpoint, verify};
use text::{credits, describe};

/// How long it is until a ledger that somebody else has open is tried again.
const POLL: Duration = Duration::from_millis(20);

/// What a command says.
pub(crate) struct Said {
    pub(crate) json: Value,
    pub(crate) text: String,
    /// What was done to the ledger, if something was: true whether it can be said or not.
    did: Option<String>,
}

impl Said {
    pub(crate) const fn new(json: Value, text: String) -> Self {
        Self {
            json,
            text,
            did: None,
        }
    }

    /// Prints it.
    pub(crate) fn print(self, json: bool) -> Result<(), LedgerCommandError> {
        let mut out = io::stdout().lock();
        let written = if json {
            writeln!(out, "{}", self.json)
        } else {
            writeln!(out, "{}", self.text)
        };
        let printed = written.and_then(|()| out.flush());
        printed.map_err(|source| match self.did {
            Some(did) => LedgerCommandError::Unsaid { did, source },
            None => LedgerCommandError::Output(source),
        })
    }
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
        LedgerCommand::Economy(arguments) => economy(arguments),
        LedgerCommand::Transfer(arguments) => transfer(arguments, clock, rng),
        LedgerCommand::Reserve(arguments) => reserve(arguments, clock, rng),
        LedgerCommand::Post(arguments) => post(arguments, clock, rng),
        LedgerCommand::Void(arguments) => void(arguments, clock, rng),
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
    said.print(command.json())
}

/// Opens a ledger that is there, once nobody else has it open.
pub(crate) fn existing(
    path: &Path,
    patience: Patience,
) -> Result<SqliteLedger, LedgerCommandError> {
    // Opening waits a little itself, so that it is the time that counts and not how often it was tried.
    let clock = SystemClock::new();
    let end = clock.now() + Duration::from_secs(patience.seconds.into());
    let (_nobody, silence) = mpsc::channel::<()>();
    loop {
        match SqliteLedger::open_existing(path, LedgerOptions::default()) {
            Err(StoreError::Locked { .. }) if clock.now() < end => {
                // Nobody sends anything: it is the time that is waited for.
                let _ = silence.recv_timeout(POLL);
            }
            opened => return opened.map_err(LedgerCommandError::opening(path)),
        }
    }
}

fn open(ledger: &LedgerFile) -> Result<SqliteLedger, LedgerCommandError> {
    existing(&ledger.file, ledger.patience)
}

/// The id that was given, or a new one.
pub(crate) fn drawn(named: &Named, rng: &mut impl CryptoRng) -> TransferId {
    named.id.unwrap_or_else(|| {
        let mut bytes = [0; TransferId::LEN];
        rng.fill_bytes(&mut bytes);
        TransferId::from_bytes(bytes)
    })
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
    Ok(Said::new(
        json!({"ok": true, "head": head}),
        format!("made {}, without accounts", path.display()),
    ))
}

fn open_account(arguments: &OpenArguments, clock: &dyn Clock) -> Result<Said, LedgerCommandError> {
    let operation = Operation::Open {
        account: arguments.account,
        asset: AssetId(arguments.asset),
        kind: arguments.kind.into(),
    };
    execute(&arguments.ledger, operation, clock)
}

fn transfer(
    arguments: &TransferArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, LedgerCommandError> {
    let Movement {
        ref named,
        from,
        to,
        memo_code,
    } = arguments.movement;
    let operation = Operation::Transfer {
        id: drawn(named, rng),
        from,
        to,
        amount: amount(&arguments.amount, arguments.base_units)?,
        memo: memo(memo_code),
    };
    execute(&arguments.ledger, operation, clock)
}

fn reserve(
    arguments: &ReserveArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, LedgerCommandError> {
    let Movement {
        ref named,
        from,
        to,
        memo_code,
    } = arguments.movement;
    let operation = Operation::Reserve {
        id: drawn(named, rng),
        from,
        to,
        amount: amount(&arguments.amount, arguments.base_units)?,
        expires: arguments.expires,
        memo: memo(memo_code),
    };
    execute(&arguments.ledger, operation, clock)
}

fn post(
    arguments: &PostArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, LedgerCommandError> {
    let asked = arguments.amount.as_deref();
    let operation = Operation::Post {
        id: drawn(&arguments.named, rng),
        reservation: arguments.reservation,
        amount: asked
            .map(|text| amount(text, arguments.base_units))
            .transpose()?,
    };
    execute(&arguments.ledger, operation, clock)
}

fn void(
    arguments: &VoidArguments,
    clock: &dyn Clock,
    rng: &mut impl CryptoRng,
) -> Result<Said, LedgerCommandError> {
    let operation = Operation::Void {
        id: drawn(&arguments.named, rng),
        reservation: arguments.reservation,
    };
    execute(&arguments.ledger, operation, clock)
}

pub(crate) fn amount(text: &str, base_units: bool) -> Result<Amount, LedgerCommandError> {
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

fn execute(
    file: &LedgerFile,
    operation: Operation,
    clock: &dyn Clock,
) -> Result<Said, LedgerCommandError> {
    let mut ledger = open(file)?;
    let now = clock.unix_now();
    carry_out(&mut ledger, now, |ledger| ledger.execute(&[operation], now))
}

/// Carries one operation out, after what has expired was released, as its money may be needed.
pub(crate) fn carry_out(
    ledger: &mut SqliteLedger,
    now: UnixMillis,
    execute: impl FnOnce(&mut SqliteLedger) -> Result<Vec<Receipt>, StoreError>,
) -> Result<Said, LedgerCommandError> {
    let (mut expired, mut matured) = (0_usize, 0_usize);
    loop {
        let receipts = ledger.expire(now)?;
        if receipts.is_empty() {
            break;
        }
        for receipt in &receipts {
            match receipt.entry.kind {
                EntryKind::Matured { .. } => matured += 1,
                _ => expired += 1,
            }
        }
    }
    let receipts = execute(ledger)?;
    let Receipt { entry, replayed } = receipts
        .into_iter()
        .next()
        .expect("one operation has one receipt");
    let what = describe(&entry.kind);
    let mut text = if replayed {
        let (sequence, time) = (entry.sequence, entry.time);
        format!("nothing new: entry {sequence}, of {time}, did this: {what}")
    } else {
        format!("entry {}: {what}", entry.sequence)
    };
    let did = Some(text.clone());
    if expired > 0 {
        text.push_str(&format!("\nexpired reservations released: {expired}"));
    }
    if matured > 0 {
        text.push_str(&format!("\nunbondings and redelegations ended: {matured}"));
    }
    let json = json!({
        "ok": true,
        "replayed": replayed,
        "entry": entry,
        "expired": expired,
        "matured": matured,
    });
    Ok(Said { json, text, did })
}

fn history(arguments: &HistoryArguments) -> Result<(), LedgerCommandError> {
    let mut ledger = open(&arguments.ledger)?;
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

/// The format that is asked for, or that the file's name tells.
fn format_of(asked: Option<FormatName>, path: &Path) -> Result<TextFormat, LedgerCommandError> {
    let format = asked.map(TextFormat::from);
    let format = format.or_else(|| TextFormat::of_name(path));
    format.ok_or_else(|| LedgerCommandError::Format {
        path: path.to_owned(),
    })
}

/// The format that is asked for of a stream, which has no name.
fn format_of_stream(asked: Option<FormatName>) -> TextFormat {
    asked.map_or(TextFormat::JsonLines, TextFormat::from)
}

fn export(arguments: &ExportArguments) -> Result<(), LedgerCommandError> {
    let ledger = open(&arguments.ledger)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match ledger.export(format_of_stream(arguments.format), &mut out) {
        Ok(_) => Ok(()),
        Err(StoreError::Io { source }) => Err(LedgerCommandError::Output(source)),
        Err(other) => Err(other.into()),
    }
}

fn export_to(arguments: &ExportArguments, path: &Path) -> Result<Said, LedgerCommandError> {
    let format = format_of(arguments.format, path)?;
    let ledger = open(&arguments.ledger)?;
    let writing = || LedgerCommandError::file("writing", path);
    let mut file = new_file(path, Readers::Owner)?;
    let mut out = BufWriter::new(&mut file);
    let entries = match ledger.export(format, &mut out) {
        Ok(entries) => entries,
        Err(StoreError::Io { source }) => return Err(writing()(source)),
        Err(other) => return Err(other.into()),
    };
    drop(out);
    file.finish().map_err(writing())?;
    let head = ledger.state().head();
    Ok(Said::new(
        json!({"ok": true, "entries": entries, "head": head}),
        format!("{entries} entries are in {}", path.display()),
    ))
}

fn import(arguments: &ImportArguments) -> Result<Said, LedgerCommandError> {
    let path = &arguments.text;
    let reading = || LedgerCommandError::file("reading", path);
    let (format, mut input): (_, Box<dyn BufRead>) = if path == Path::new("-") {
        let format = format_of_stream(arguments.format);
        (format, Box::new(io::stdin().lock()))
    } else {
        let format = format_of(arguments.format, path)?;
        let file = File::open(path).map_err(reading())?;
        (format, Box::new(BufReader::new(file)))
    };
    let fill = |ledger: &mut SqliteLedger| match ledger.import(format, &mut input) {
        Ok(()) => Ok(()),
        Err(StoreError::Io { source }) => Err(reading()(source)),
        Err(other) => Err(other.into()),
    };
    let ledger = new_ledger(&arguments.ledger.file, fill)?;
    let (head, accounts) = (ledger.state().head(), ledger.state().account_count());
    ledger.close()?;
    let entries = head.sequence;
    Ok(Said::new(
        json!({"ok": true, "entries": entries, "accounts": accounts, "head": head}),
        format!(
            "made {} of {entries} entries, {accounts} accounts\nhead {entries} {}",
            arguments.ledger.file.display(),
            head.chain
        ),
    ))
}

/// Begins a new file; what is there under its name stays.
fn new_file(path: &Path, readers: Readers) -> Result<NewFile<'_>, LedgerCommandError> {
    NewFile::begin(path, readers).map_err(LedgerCommandError::file("writing", path))
}

fn backup(arguments: &BackupArguments) -> Result<Said, LedgerCommandError> {
    let ledger = open(&arguments.ledger)?;
    ledger.backup(&arguments.copy)?;
    let head = ledger.state().head();
    Ok(Said::new(
        json!({"ok": true, "head": head}),
        format!(
            "copied {} entries into {}",
            head.sequence,
            arguments.copy.display()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_asked_for_or_that_of_the_name() {
        // Whatever was no CSV by its name was written as JSON lines.
        let of = |asked, name: &str| format_of(asked, Path::new(name)).ok();
        assert_eq!(of(None, "a/history.CSV"), Some(TextFormat::Csv));
        assert_eq!(of(None, "history.jsonl"), Some(TextFormat::JsonLines));
        for name in ["history.txt", "history", "csv"] {
            assert_eq!(of(None, name), None, "{name}");
            let asked = Some(FormatName::Csv);
            assert_eq!(of(asked, name), Some(TextFormat::Csv));
        }
        let asked = Some(FormatName::Jsonl);
        assert_eq!(of(asked, "a.csv"), Some(TextFormat::JsonLines));
        assert_eq!(format_of_stream(None), TextFormat::JsonLines);
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
