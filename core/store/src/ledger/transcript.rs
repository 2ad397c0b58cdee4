//! The history as text, for other programs and for other ledgers.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write};
use std::path::Path;

use fogcompute_base::{AccountId, TransferId};
use fogcompute_ledger::{Amount, Batch, Entry, EntryKind, Head, Restore};
use rusqlite::Connection;

use super::projection::{Columns, record};
use super::{journal, migration};
use crate::StoreError;

/// Most bytes of a line.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Most entries of a batch that is made on importing.
const BATCH_ENTRIES: usize = 1_024;

const CSV_HEADER: &str = "sequence,time,kind,id,reservation,from_account,to_account,asset,\
     account_kind,amount,released,expires,code,reference,chain,record";

/// How a history is written as text. Both have a line for each entry, in order.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TextFormat {
    /// Comma-separated columns under a line with their names, nothing quoted: numbers in decimal,
    /// ids in hexadecimal, what is not there empty. The last column is the entry's encoding
    /// (`fogcompute_ledger::Batch`) in hexadecimal, which is what is read again; the others must
    /// agree with it.
    Csv,
    /// One JSON object a line: `fogcompute_ledger::Entry`, amounts as strings.
    JsonLines,
}

impl TextFormat {
    /// The format that the name of a file tells: `.csv` or `.jsonl`, in any case; `None` for any
    /// other name.
    #[must_use]
    pub fn of_name(path: &Path) -> Option<Self> {
        let suffix = path.extension()?;
        [("csv", Self::Csv), ("jsonl", Self::JsonLines)]
            .into_iter()
            .find_map(|(name, format)| suffix.eq_ignore_ascii_case(name).then_some(format))
    }
}

/// Writes the history; says how many entries that were.
pub(super) fn export(
    connection: &Connection,
    format: TextFormat,
    out: &mut impl Write,
) -> Result<u64, StoreError> {
    let io = |source| StoreError::Io { source };
    if format == TextFormat::Csv {
        writeln!(out, "{CSV_HEADER}").map_err(io)?;
    }
    let mut head = Head::GENESIS;
    journal::each_after(connection, 0, |stored| {
        for entry in stored.batch.entries(head.chain) {
            head = entry.head();
            writeln!(out, "{}", line(&entry, format)).map_err(io)?;
        }
        Ok(true)
    })?;
    out.flush().map_err(io)?;
    Ok(head.sequence)
}

/// Reads a history into an empty ledger, proving it on the way.
pub(super) fn import(
    connection: &Connection,
    format: TextFormat,
    input: &mut impl BufRead,
) -> Result<(), StoreError> {
    let mut restore = Restore::new();
    let mut run = Vec::<Entry>::new();
    let mut text = String::new();
    for number in 1_u64.. {
        text.clear();
        let mut limited = io::Read::take(&mut *input, LINE_BYTES_MAX);
        let count = limited
            .read_line(&mut text)
            .map_err(|source| StoreError::Io { source })?;
        if count == 0 {
            break;
        }
        let text = text.trim_end_matches(['\n', '\r']);
        if format == TextFormat::Csv && number == 1 {
            if text == CSV_HEADER {
                continue;
            }
            return Err(StoreError::BadLine { line: number });
        }
        let entry = parse(text, format).ok_or(StoreError::BadLine { line: number })?;
        let other = run.last().is_some_and(|last| last.time != entry.time);
        if other || (run.len() >= BATCH_ENTRIES && !entry.kind.follows()) {
            migration::append(connection, &mut restore, &mut run)?;
        }
        run.push(entry);
    }
    migration::append(connection, &mut restore, &mut run)?;
    restore.finish_alone()?;
    Ok(())
}

fn parse(text: &str, format: TextFormat) -> Option<Entry> {
    match format {
        TextFormat::JsonLines => serde_json::from_str(text).ok(),
        TextFormat::Csv => {
            let mut columns = text.rsplit(',');
            let bytes = unhex(columns.next()?)?;
            let chain = columns.next()?.parse().ok()?;
            let batch = Batch::decode(&bytes).ok()?;
            let (sequence, time) = (batch.first, batch.time);
            let [kind] = <[EntryKind; 1]>::try_from(batch.kinds).ok()?;
            let entry = Entry {
                sequence,
                time,
                kind,
                chain,
            };
            (line(&entry, format) == text).then_some(entry)
        }
    }
}

fn line(entry: &Entry, format: TextFormat) -> String {
    match format {
        TextFormat::JsonLines => {
            serde_json::to_string(entry).expect("an entry has no maps, and writes to memory")
        }
        TextFormat::Csv => {
            let columns = Columns::of(entry);
            let transfer = |id: Option<TransferId>| id.map(|it| it.to_string()).unwrap_or_default();
            let amount = |it: Option<Amount>| it.map(|it| it.to_string()).unwrap_or_default();
            let account = |id: Option<AccountId>| id.map(|it| it.to_string()).unwrap_or_default();
            [
                entry.sequence.to_string(),
                entry.time.0.to_string(),
                entry.kind.code().to_string(),
                transfer(columns.id),
                transfer(columns.reservation),
                account(Some(columns.from)),
                account(columns.to),
                columns.asset.map(|it| it.to_string()).unwrap_or_default(),
                columns
                    .account_kind
                    .map(|it| it.code().to_string())
                    .unwrap_or_default(),
                amount(columns.amount),
                amount(columns.released),
                columns
                    .expires
                    .map(|it| it.0.to_string())
                    .unwrap_or_default(),
                columns
                    .memo
                    .map(|it| it.code.to_string())
                    .unwrap_or_default(),
                columns
                    .memo
                    .map(|it| hex(&it.reference))
                    .unwrap_or_default(),
                entry.chain.to_string(),
                hex(&record(entry)),
            ]
            .join(",")
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writes to memory");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    pairs.iter().map(byte).collect()
}
