//! Why a store cannot do what it is asked.

use std::fmt;
use std::path::{Path, PathBuf};

use fogcompute_base::wire::DecodeError;
use fogcompute_base::{AccountId, Digest, TaskId, UnixMillis};
use fogcompute_exec::ContentId;
use fogcompute_exec::executor::RestoreError;
use fogcompute_ledger::{Corruption, Head, LedgerError};
use rusqlite::ErrorCode;
use thiserror::Error;

/// Why a store cannot be opened, read or written.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum StoreError {
    /// The path cannot be opened as a file: mostly it is not permitted, or its folder is read-only.
    #[error(
        "{} cannot be opened: it, or the folder it is in, may not be written to (SQLite's code {code})",
        path.display()
    )]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// The extended result code of SQLite.
        code: i32,
    },
    /// The path is that of a folder. Name a file in it.
    #[error("{} is a folder, and a file is needed", path.display())]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The path is that of a pipe, a socket or a device. Nothing was read or written.
    #[error("{} is no regular file", path.display())]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// The file has nothing in it. What would be made there now would be somebody else: put back what it held, or
    /// remove it to begin anew.
    #[error("{} is empty: put back what it held, or remove it to begin anew", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The folder that the file should be in is not there. Make it first.
    #[error("{} cannot be opened: its folder does not exist", path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// There is no such file, and the call makes none.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The name means something else than a file to SQLite: it is empty, `:memory:`, or starts with
    /// `file:`. For a store without a file use the constructor in memory; for a file of that name
    /// put `./` before it.
    #[error(
        "{path:?} is no name of a file for SQLite; a store in memory has a constructor of its own"
    )]
    SpecialPath {
        /// The path.
        path: PathBuf,
    },
    /// The path has a NUL byte in it, which no name of a file has.
    #[error("path {path:?} has a NUL byte in it")]
    NulInPath {
        /// The path.
        path: PathBuf,
    },
    /// The store was opened before this process was forked, and stays with its parent. Nothing was
    /// read or written. Open stores after forking.
    #[error("the store was opened by process {home}, which this one was forked from")]
    Forked {
        /// The process that opened it.
        home: u32,
    },
    /// Another handle or process owns the file. Close that one, or use it.
    #[error("{} is in use by another handle", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file can be read but not written.
    #[error("{} is read-only", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file is not an SQLite database.
    #[error("{} is not a database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database of something else.
    #[error("database has application id {found:#010x}, expected {expected:#010x}")]
    OtherDatabase {
        /// SQLite application id of the file.
        found: i32,
        /// The one this store has.
        expected: i32,
    },
    /// The file was written by a newer version of this library, which must be used to open it.
    #[error("database has schema version {found}, this version supports up to {supported}")]
    SchemaTooNew {
        /// Schema version of the file.
        found: u32,
        /// Newest version supported here.
        supported: u32,
    },
    /// The ledger's rules refuse the batch. Nothing was changed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The file was removed, or another was put in its place, while it was open: what is written now
    /// would be lost. Open it again.
    #[error("{} was removed or replaced while it was open", .path.display())]
    Replaced {
        /// The path.
        path: PathBuf,
    },
    /// The stored ledger does not prove itself, and must be restored from a copy; or a checkpoint
    /// does not prove it.
    #[error("{}{}", damage(.0), .0)]
    Corruption(#[from] Corruption),
    /// A stored entry cannot be read.
    #[error("entry {sequence} has an invalid {column}")]
    BadEntry {
        /// The entry.
        sequence: u64,
        /// The column that makes no sense.
        column: &'static str,
    },
    /// A stored batch cannot be read.
    #[error("batch at entry {sequence} cannot be read")]
    BadBatch {
        /// Sequence of its first entry.
        sequence: u64,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// How far the tables for SQL are cannot be read. They can be made anew:
    /// [`crate::SqliteLedger::project_anew`].
    #[error("state of the tables has an invalid {column}")]
    BadProjection {
        /// The column that makes no sense.
        column: &'static str,
    },
    /// The table of entries differs from the history, which is not concerned. It can be made anew:
    /// [`crate::SqliteLedger::project_anew`].
    #[error("table of entries differs from the history at entry {sequence}")]
    ProjectionDiffers {
        /// The entry.
        sequence: u64,
    },
    /// The state in memory, made from a snapshot, is not what the history adds up to. Restore the
    /// file from a copy, or export the history and import it.
    #[error("state in memory is not what the history adds up to")]
    StateDiffers,
    /// Other batches were committed together with this one, and the disk failed all of them.
    #[error("group commit failed{}", if *unsure { ", or may have" } else { "" })]
    GroupFailed {
        /// It may be on disk all the same, as after [`StoreError::CommitFailed`]. Otherwise nothing
        /// of it changed.
        unsure: bool,
    },
    /// The thread that owns the ledger has ended: something that it was asked to run panicked.
    #[error("thread of the ledger has ended")]
    ThreadEnded,
    /// There is a file of that name, and a copy replaces none.
    #[error("{} exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A history can be imported into an empty ledger only.
    #[error("ledger has {entries} entries, and an import needs an empty one")]
    NotEmpty {
        /// Entries it has.
        entries: u64,
    },
    /// A line of a text is no entry of a history, or longer than 4,096 bytes.
    #[error("line {line} is no entry of a history")]
    BadLine {
        /// The line, from 1.
        line: u64,
    },
    /// A text could not be read or written, or there can be no more threads.
    #[error("reading or writing failed")]
    Io {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A stored account cannot be read.
    #[error("stored account has an invalid {column}")]
    BadAccount {
        /// The account, unless the id itself is invalid.
        account: Option<AccountId>,
        /// The column that makes no sense.
        column: &'static str,
    },
    /// The stored history ends elsewhere than the one in memory.
    #[error("stored history ends at entry {}, memory at entry {}", stored.sequence, book.sequence)]
    HeadDiffers {
        /// Where the stored history ends.
        stored: Head,
        /// Where the book in memory is.
        book: Head,
    },
    /// SQLite's own check found damage. Restore the file from a copy.
    #[error("database is damaged ({problems} problems)")]
    Damaged {
        /// Problems that the check reported, at most 100.
        problems: usize,
    },
    /// SQLite found a page or a schema that makes no sense. Restore the file from a copy.
    #[error("database is malformed")]
    Malformed {
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The time is too late to be stored (after year 292,278,994).
    #[error("time {} cannot be stored", time.0)]
    TimeOutOfRange {
        /// The time.
        time: UnixMillis,
    },
    /// The disk is full. Nothing was changed.
    #[error("disk is full{}", OfFile(path.as_deref()))]
    DiskFull {
        /// The file, unless the store is in memory.
        path: Option<PathBuf>,
    },
    /// SQLite could not confirm a commit: the change may or may not be on disk. Open the store
    /// again to see. A batch may simply be repeated then, which does nothing twice.
    #[error("commit was not confirmed")]
    CommitFailed {
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// An earlier commit failed, so this handle no longer writes. Open the store again.
    #[error("store must be opened again after a failed commit")]
    ReopenNeeded,
    /// The task has another result stored.
    #[error("task {task} has result {stored} stored, not {given}")]
    TaskResultDiffers {
        /// The task.
        task: TaskId,
        /// Digest of the stored output.
        stored: Digest,
        /// Digest of the output that was to be stored.
        given: Digest,
    },
    /// The encoded result is too long.
    #[error("task result of {actual} bytes exceeds the limit of {limit}")]
    TaskResultTooLong {
        /// Its length in bytes.
        actual: usize,
        /// Most bytes a result may have.
        limit: usize,
    },
    /// A stored task result cannot be read.
    #[error("stored result of task {task} has an invalid {column}")]
    BadTaskResult {
        /// The task.
        task: TaskId,
        /// The column that makes no sense.
        column: &'static str,
    },
    /// What the gate of a coordinator remembers cannot be read.
    #[error("what the gate of a coordinator remembers is damaged")]
    BadGate,
    /// A stored message of a mesh cannot be read.
    #[error("stored message {number} has an invalid {column}")]
    BadMessage {
        /// Its number.
        number: u64,
        /// The column that makes no sense.
        column: &'static str,
    },
    /// The stored identity has another length. It is not replaced: a node's name depends on it.
    #[error("stored identity is invalid")]
    BadIdentity,
    /// The stored usage cannot be read.
    #[error("stored usage has an invalid {column}")]
    BadUsage {
        /// The column that makes no sense.
        column: &'static str,
    },
    /// The usage counter would exceed 2^64 - 1. Nothing was added.
    #[error("usage counter {column} would overflow")]
    UsageOverflow {
        /// The counter.
        column: &'static str,
    },
    /// A stored job, task, step or log cannot be read.
    #[error("stored task {number} has an invalid {column}")]
    BadTask {
        /// Number of the task, or of the job's first.
        number: u64,
        /// The column that makes no sense.
        column: &'static str,
    },
    /// Stored jobs and tasks do not belong together. Restore the file from a copy.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Stored content is not what its name says. It can be stored again.
    #[error("stored content {content} is damaged")]
    BadContent {
        /// Its name.
        content: ContentId,
    },
    /// A record names an output or a checkpoint that is neither stored nor handed over with it.
    /// Nothing was written: hand it over.
    #[error("content {content} is not stored")]
    MissingContent {
        /// Its name.
        content: ContentId,
    },
    /// Content is longer than a store takes.
    #[error("content of {actual} bytes exceeds {limit}")]
    ContentTooLong {
        /// Its length, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// SQLite failed in a way that none of the above names. Nothing was changed.
    #[error("database failed")]
    Sqlite {
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path: None },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Malformed { source }
            }
            // Our statements never change, so it is the schema in the file that they do not suit.
            _ if is_about_sql(&source) => Self::Malformed { source },
            _ => Self::Sqlite { source },
        }
    }
}

/// Whether SQLite could not make sense of a statement.
fn is_about_sql(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqlInputError { .. } => true,
        // The same said while a statement runs: `SQLITE_ERROR`, without more detail.
        rusqlite::Error::SqliteFailure(error, _) => {
            error.extended_code == rusqlite::ffi::SQLITE_ERROR
        }
        _ => false,
    }
}

/// Tells which file, if there is one.
struct OfFile<'a>(Option<&'a Path>);

impl fmt::Display for OfFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, ": {}", path.display()),
            None => Ok(()),
        }
    }
}

/// Whether it is the file that is wrong, or what it was compared with.
const fn damage(corruption: &Corruption) -> &'static str {
    match corruption {
        Corruption::CheckpointForged { .. }
        | Corruption::CheckpointDiffers { .. }
        | Corruption::CheckpointMissing { .. } => "",
        _ => "stored ledger is corrupt: ",
    }
}

impl StoreError {
    /// The same, with the file's name where it belongs.
    pub(crate) fn of_file(self, path: Option<&Path>) -> Self {
        match self {
            Self::DiskFull { path: None } => Self::DiskFull {
                path: path.map(Path::to_owned),
            },
            other => other,
        }
    }

    /// The error of a call that opens the file at `path`.
    pub(crate) fn opening(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
            Some(ErrorCode::NotADatabase) => Self::NotADatabase { path },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                // What SQLite says is once more that it cannot.
                let code = source.sqlite_error().map_or(0, |error| error.extended_code);
                Self::CannotOpen { path, code }
            }
            _ => source.into(),
        }
    }
}
