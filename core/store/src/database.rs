//! Opening an SQLite file: lock, identity, settings, schema.

use std::fs::File;
use std::io::Read as _;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior};

use crate::{HomeProcess, StoreError};

/// How long opening waits for another handle to let go of the file, so that a restart may overlap
/// with the end of its predecessor.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

/// What a power cut may cost. A killed process costs nothing in either mode.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Durability {
    /// Every commit waits for the disk. For money.
    #[default]
    Full,
    /// Commits wait for the disk at checkpoints only: the last ones may be lost, never torn.
    Normal,
}

/// What opening does where there is nothing yet: no file, or one without anything in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Absent {
    /// Makes a new store.
    Create,
    /// Fails, and leaves what is there as it is.
    Refuse,
}

/// An open database. It belongs to the process that opened it: a forked child is refused, and
/// leaves the file and its locks alone when it drops its copy.
#[derive(Debug)]
pub(crate) struct Database {
    /// `None` only while it is being dropped.
    connection: Option<Connection>,
    /// `None` in memory.
    path: Option<PathBuf>,
    /// The file itself, where the system has a number for it.
    file: Option<(u64, u64)>,
    home: HomeProcess,
}

/// What tells a file from another that comes to have its name.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let file = path.metadata().ok()?;
    Some((file.dev(), file.ino()))
}

/// Here the system does not let an open file go.
#[cfg(not(unix))]
const fn identity(_: &Path) -> Option<(u64, u64)> {
    None
}

impl Database {
    fn new(connection: Connection, path: Option<PathBuf>) -> Self {
        Self {
            connection: Some(connection),
            file: path.as_deref().and_then(identity),
            path,
            home: HomeProcess::here(),
        }
    }

    pub(crate) fn read(&self) -> Result<&Connection, StoreError> {
        self.home.check()?;
        Ok(self.connection.as_ref().expect("taken only on dropping"))
    }

    pub(crate) fn write(&mut self) -> Result<&mut Connection, StoreError> {
        self.home.check()?;
        if let Some(path) = &self.path
            && self.file.is_some()
            && identity(path) != self.file
        {
            return Err(StoreError::Replaced { path: path.clone() });
        }
        Ok(self.connection.as_mut().expect("taken only on dropping"))
    }

    /// Writes all of it or nothing.
    pub(crate) fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self
            .write()?
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let written = write(&transaction)?;
        match transaction.commit() {
            Ok(()) => Ok(written),
            // What does not fit into the log of writes has no end there, and is no commit.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                Err(error.into())
            }
            Err(source) => Err(StoreError::CommitFailed { source }),
        }
    }

    pub(crate) fn durability(&self) -> Result<Durability, StoreError> {
        /// Number of `PRAGMA synchronous = FULL`.
        const FULL: i64 = 2;
        let synchronous: i64 = self
            .read()?
            .pragma_query_value(None, "synchronous", |row| row.get(0))?;
        Ok(if synchronous >= FULL {
            Durability::Full
        } else {
            Durability::Normal
        })
    }

    /// Whether it outlives the handle.
    pub(crate) fn has_file(&self) -> bool {
        self.path.is_some()
    }

    /// Copies the database into a new file.
    pub(crate) fn backup(&self, path: &Path) -> Result<(), StoreError> {
        let source = self.read()?;
        check_path(path)?;
        if matches!(path.try_exists(), Ok(true)) {
            return Err(StoreError::Exists {
                path: path.to_owned(),
            });
        }
        create_private(path);
        let opening = |error| StoreError::opening(path, error);
        let mut copy = Connection::open(path).map_err(opening)?;
        let copied = Backup::new(source, &mut copy).and_then(|backup| backup.step(-1));
        match copied {
            Ok(StepResult::Done) => Ok(()),
            Ok(_) => Err(StoreError::Locked {
                path: path.to_owned(),
            }),
            Err(error) => Err(StoreError::opening(path, error).of_file(Some(path))),
        }
    }

    /// Makes this the copy that a forked child has.
    #[cfg(test)]
    pub(crate) fn fork(&mut self) {
        self.home = HomeProcess::of(std::process::id() + 1);
    }

    /// Names the file in an error that has to.
    pub(crate) fn blame<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.map_err(|error| error.of_file(self.path.as_deref()))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // Closing would fold the parent's log into the file under its hands, and delete it.
            mem::forget(self.connection.take());
        }
    }
}

/// A kind of store: how its files are recognised and how they came to be.
pub(crate) struct Schema {
    /// SQLite `application_id`: four letters in the file's header.
    pub(crate) application: i32,
    /// What takes a file from version n to n + 1. Never edited once released, only appended to.
    pub(crate) migrations: &'static [&'static str],
    /// What SQL cannot do of bringing a file up to date: runs after the migrations, in their
    /// transaction, and only if there were any.
    pub(crate) carry_over: fn(&Connection) -> Result<(), StoreError>,
}

impl Schema {
    /// Opens a file, or creates it if that is wanted, and takes the exclusive lock.
    pub(crate) fn open(
        &self,
        path: &Path,
        durability: Durability,
        absent: Absent,
    ) -> Result<Database, StoreError> {
        check_path(path)?;
        let connection = self
            .connect(path, durability, absent)
            .map_err(|error| error.of_file(Some(path)))?;
        Ok(Database::new(connection, Some(path.to_owned())))
    }

    fn connect(
        &self,
        path: &Path,
        durability: Durability,
        absent: Absent,
    ) -> Result<Connection, StoreError> {
        let opening = |source| StoreError::opening(path, source);
        if is_foreign(path) {
            return Err(StoreError::NotADatabase {
                path: path.to_owned(),
            });
        }
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        match absent {
            Absent::Create => {
                create_private(path);
                flags |= OpenFlags::SQLITE_OPEN_CREATE;
            }
            // SQLite says of such a file no more than that it cannot open it.
            Absent::Refuse if matches!(path.try_exists(), Ok(false)) => {
                return Err(StoreError::Missing {
                    path: path.to_owned(),
                });
            }
            // Locking it would write its first page.
            Absent::Refuse if path.metadata().is_ok_and(|file| file.len() == 0) => {
                return Err(StoreError::NotADatabase {
                    path: path.to_owned(),
                });
            }
            Absent::Refuse => {}
        }
        let mut connection = Connection::open_with_flags(path, flags).map_err(opening)?;
        let writable = |connection: &Connection| match connection.is_readonly(MAIN_DB) {
            Ok(false) => Ok(()),
            Ok(true) => Err(StoreError::ReadOnly {
                path: path.to_owned(),
            }),
            Err(error) => Err(opening(error)),
        };
        // On a file that may not be written, taking the lock fails as if the disk had.
        writable(&connection)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(opening)?;
        // In this mode SQLite keeps the lock that the first write takes, and write-ahead mode needs
        // no shared memory beside the file.
        connection
            .pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))
            .and_then(|()| connection.execute_batch("BEGIN EXCLUSIVE; COMMIT"))
            .map_err(opening)?;
        // The file's header, which says so too, was read with the lock.
        writable(&connection)?;
        let empty = self.recognise(&connection)?;
        if empty && absent == Absent::Refuse {
            return Err(StoreError::NotADatabase {
                path: path.to_owned(),
            });
        }
        connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
            .map_err(opening)?;
        self.prepare(&mut connection, durability)?;
        Ok(connection)
    }

    /// Creates a store that is gone when it is dropped.
    pub(crate) fn in_memory(&self) -> Result<Database, StoreError> {
        let mut connection = Connection::open_in_memory()?;
        self.prepare(&mut connection, Durability::Full)?;
        Ok(Database::new(connection, None))
    }

    /// Refuses a database that something else wrote, before anything in it is touched. Says whether
    /// there is nothing in it.
    fn recognise(&self, connection: &Connection) -> Result<bool, StoreError> {
        let found: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let objects: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let empty = found == 0 && objects == 0;
        if empty || found == self.application {
            return Ok(empty);
        }
        Err(StoreError::OtherDatabase {
            found,
            expected: self.application,
        })
    }

    fn prepare(
        &self,
        connection: &mut Connection,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let synchronous = match durability {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        self.migrate(connection)
    }

    fn migrate(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let supported = u32::try_from(self.migrations.len()).expect("a handful of migrations");
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY) STRICT",
        )?;
        let found: u32 = transaction.query_row(
            "SELECT coalesce(max(version), 0) FROM schema_version",
            [],
            |row| row.get(0),
        )?;
        if found > supported {
            return Err(StoreError::SchemaTooNew { found, supported });
        }
        if found < supported {
            for (version, migration) in (1_u32..).zip(self.migrations).skip(found as usize) {
                transaction.execute_batch(migration)?;
                transaction.execute("INSERT INTO schema_version VALUES (?1)", [version])?;
            }
            (self.carry_over)(&transaction)?;
            transaction.pragma_update(None, "application_id", self.application)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Refuses what SQLite would take for something else than the name of a file, and lose on closing:
/// an empty name is a temporary file, `:memory:` is none at all, `file:` starts a URI (the bundled
/// SQLite reads them even without SQLITE_OPEN_URI).
fn check_path(path: &Path) -> Result<(), StoreError> {
    let name = path.as_os_str().as_encoded_bytes();
    if name.contains(&0) {
        return Err(StoreError::NulInPath {
            path: path.to_owned(),
        });
    }
    if name.is_empty() || name == b":memory:" || name.starts_with(b"file:") {
        return Err(StoreError::SpecialPath {
            path: path.to_owned(),
        });
    }
    // SQLite says of both no more than that it cannot open the file.
    if path.is_dir() {
        return Err(StoreError::IsFolder {
            path: path.to_owned(),
        });
    }
    // To open a pipe is to wait for who is at its other end.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(StoreError::NotAFile {
            path: path.to_owned(),
        });
    }
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    if folder.is_some_and(|folder| matches!(folder.try_exists(), Ok(false))) {
        return Err(StoreError::NoFolder {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// Whether a file holds something that does not begin as a database does. SQLite refuses most of
/// them itself, but takes a file of one byte for a new one.
///
/// A file with a rollback journal may begin with anything: who was making it was interrupted, and
/// SQLite undoes it. What cannot be read is refused by SQLite, with a better name.
///
/// Source: SQLite file format, §1.2 and §3.
fn is_foreign(path: &Path) -> bool {
    const DATABASE: &[u8] = b"SQLite format 3\0";
    const JOURNAL: &[u8] = &[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    let begins = |path: &Path, with: &[u8]| {
        let mut start = Vec::new();
        let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
        read.is_ok()
            .then(|| (start.is_empty(), start.starts_with(with)))
    };
    let foreign = matches!(begins(path, DATABASE), Some((false, false)));
    foreign && !matches!(begins(Path::new(&journal), JOURNAL), Some((_, true)))
}

/// Creates the file for its owner alone; SQLite gives its companions the same permissions. What
/// goes wrong here goes wrong again, with a better name, when SQLite opens the file.
fn create_private(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(path));
}

/// A blob of exactly `N` bytes, if the value is one.
pub(crate) fn array<const N: usize>(value: ValueRef<'_>) -> Option<[u8; N]> {
    value.as_blob().ok()?.try_into().ok()
}

/// A non-negative integer, if the value is one that `T` can hold.
pub(crate) fn integer<T: TryFrom<i64>>(value: ValueRef<'_>) -> Option<T> {
    T::try_from(value.as_i64().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    const ONE: Schema = Schema {
        application: 7,
        migrations: &["CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);"],
        carry_over: |_| Ok(()),
    };
    const TWO: Schema = Schema {
        application: 7,
        migrations: &[
            "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);",
            "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 2;",
        ],
        carry_over: |_| Ok(()),
    };

    fn folder() -> TempDir {
        TempDir::new().unwrap()
    }

    fn open(schema: &Schema, path: &Path) -> Result<Database, StoreError> {
        schema.open(path, Durability::Full, Absent::Create)
    }

    #[test]
    fn settings_are_those_asked_for() {
        let folder = folder();
        for (durability, synchronous) in [(Durability::Full, 2), (Durability::Normal, 1)] {
            let database = ONE
                .open(&folder.path().join("a"), durability, Absent::Create)
                .unwrap();
            let connection = database.read().unwrap();
            let number = |pragma| {
                connection
                    .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
                    .unwrap()
            };
            assert_eq!(number("synchronous"), synchronous);
            assert_eq!(database.durability().unwrap(), durability);
            assert_eq!(number("foreign_keys"), 1);
            assert_eq!(number("trusted_schema"), 0);
            assert_eq!(number("application_id"), 7);
            let journal: String = connection
                .pragma_query_value(None, "journal_mode", |row| row.get(0))
                .unwrap();
            assert_eq!(journal, "wal");
        }
    }

    #[test]
    fn older_schema_is_brought_up_to_date_and_keeps_its_rows() {
        let folder = folder();
        let path = folder.path().join("a");
        drop(open(&ONE, &path).unwrap());
        for _ in 0..2 {
            let database = open(&TWO, &path).unwrap();
            let connection = database.read().unwrap();
            let row: (i64, i64, i64) = connection
                .query_row(
                    "SELECT x, y, (SELECT count(*) FROM schema_version) FROM a",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
                .unwrap();
            assert_eq!(row, (1, 2, 2));
        }
    }

    #[test]
    fn newer_schema_is_refused() {
        let folder = folder();
        let path = folder.path().join("a");
        drop(open(&TWO, &path).unwrap());
        let error = open(&ONE, &path).unwrap_err();
        let (found, supported) = (2, 1);
        assert!(
            matches!(error, StoreError::SchemaTooNew { found: f, supported: s }
                if (f, s) == (found, supported)),
            "{error}"
        );
    }

    #[test]
    fn second_handle_is_told_that_the_file_is_in_use() {
        let folder = folder();
        let path = folder.path().join("a");
        let first = open(&ONE, &path).unwrap();
        let error = open(&ONE, &path).unwrap_err();
        assert!(
            matches!(&error, StoreError::Locked { path: p } if *p == path),
            "{error}"
        );
        // Reading from outside is locked out too.
        let reader = Connection::open(&path).unwrap();
        reader.busy_timeout(Duration::ZERO).unwrap();
        assert!(reader.query_row("SELECT x FROM a", [], |_| Ok(())).is_err());
        drop(reader);
        drop(first);
        open(&ONE, &path).unwrap();
    }

    #[test]
    fn file_that_is_no_database_is_refused_and_left_alone() {
        // A file of one byte was taken for a new one, and written over: SQLite says that its size
        // is 0.
        let diary = "Dear diary, ".repeat(1_000);
        let folder = folder();
        let path = folder.path().join("a");
        for text in ["S", "SQLite format 3", "SQLite format 3\0and more", &diary] {
            fs::write(&path, text).unwrap();
            for absent in [Absent::Create, Absent::Refuse] {
                let error = ONE.open(&path, Durability::Full, absent).unwrap_err();
                assert!(
                    matches!(&error, StoreError::NotADatabase { path: p } if *p == path),
                    "{text:?}: {error}"
                );
                assert_eq!(fs::read_to_string(&path).unwrap(), text);
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_empty_file_is_a_new_store_where_one_may_be_made_and_no_store_otherwise() {
        let folder = folder();
        let path = folder.path().join("a");
        fs::write(&path, "").unwrap();
        let error = ONE
            .open(&path, Durability::Full, Absent::Refuse)
            .unwrap_err();
        assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        drop(open(&ONE, &path).unwrap());
        ONE.open(&path, Durability::Full, Absent::Refuse).unwrap();
    }

    #[test]
    fn what_was_interrupted_while_it_was_made_is_undone_and_not_taken_for_foreign() {
        // The journal of SQLite that takes a file of two pages back to none: its header says how
        // many pages there were.
        let folder = folder();
        let path = folder.path().join("a");
        fs::write(&path, vec![0; 8192]).unwrap();
        assert!(is_foreign(&path));
        let mut journal = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
        for number in [0_u32, 1, 0, 512, 4096] {
            journal.extend(number.to_be_bytes());
        }
        journal.resize(512, 0);
        fs::write(folder.path().join("a-journal"), journal).unwrap();
        assert!(!is_foreign(&path));
        drop(open(&ONE, &path).unwrap());
        assert!(!is_foreign(&path));
    }

    #[test]
    fn database_of_something_else_is_refused_and_left_alone() {
        let folder = folder();
        let path = folder.path().join("a");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(other);
        let before = fs::read(&path).unwrap();
        for found in [0, 9] {
            let error = open(&ONE, &path).unwrap_err();
            assert!(
                matches!(error, StoreError::OtherDatabase { found: f, expected: 7 } if f == found),
                "{error}"
            );
            if found == 0 {
                assert_eq!(fs::read(&path).unwrap(), before);
                let other = Connection::open(&path).unwrap();
                other.pragma_update(None, "application_id", 9).unwrap();
            }
        }
    }

    #[test]
    fn read_only_file_is_refused() {
        let folder = folder();
        let path = folder.path().join("a");
        drop(open(&ONE, &path).unwrap());
        // Permissions do not stop a superuser, who may well run this test. A write version above 2
        // in the header (SQLite file format, §1.3) makes a file read-only for everybody.
        let mut bytes = fs::read(&path).unwrap();
        bytes[18] = 3;
        fs::write(&path, bytes).unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        let error = open(&ONE, &path).unwrap_err();
        assert!(
            matches!(&error, StoreError::ReadOnly { path: p } if *p == path),
            "{error}"
        );
    }

    #[test]
    fn a_path_that_cannot_be_a_file_is_refused_with_the_reason() {
        // SQLite says of both that it is unable to open the file.
        let folder = folder();
        let error = open(&ONE, folder.path()).unwrap_err();
        assert!(
            matches!(&error, StoreError::IsFolder { path } if path == folder.path()),
            "{error}"
        );
        let lost = folder.path().join("no").join("such");
        let error = open(&ONE, &lost).unwrap_err();
        assert!(
            matches!(&error, StoreError::NoFolder { path } if *path == lost),
            "{error}"
        );
        // Below a file there can be none.
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = open(&ONE, &file.join("such")).unwrap_err();
        // It had been said three times, in words of SQLite's.
        assert!(matches!(error, StoreError::CannotOpen { .. }), "{error}");
        assert!(std::error::Error::source(&error).is_none());
    }

    #[test]
    fn names_that_sqlite_does_not_keep_in_a_file_are_refused() {
        for name in [
            "",
            ":memory:",
            "file:a",
            "file::memory:",
            "file:a?mode=memory",
        ] {
            let error = open(&ONE, Path::new(name)).unwrap_err();
            assert!(
                matches!(&error, StoreError::SpecialPath { path } if path == Path::new(name)),
                "{error}"
            );
            assert!(!Path::new("a").exists(), "{name}");
        }
        // With a folder before it any name is the name of a file.
        let folder = folder();
        for name in [":memory:", "file:a"] {
            let path = folder.path().join(name);
            drop(open(&ONE, &path).unwrap());
            assert!(path.exists());
        }
    }

    #[test]
    fn path_with_a_nul_byte_is_refused() {
        let error = open(&ONE, Path::new("a\0b")).unwrap_err();
        assert!(
            matches!(&error, StoreError::NulInPath { path } if path == Path::new("a\0b")),
            "{error}"
        );
    }

    #[test]
    fn opening_waits_for_a_handle_that_is_about_to_go() {
        // `busy_timeout` is per connection and is asked for, not measured.
        let folder = folder();
        let database = open(&ONE, &folder.path().join("a")).unwrap();
        let waits: i64 = database
            .read()
            .unwrap()
            .pragma_query_value(None, "busy_timeout", |row| row.get(0))
            .unwrap();
        assert!((100..=1_000).contains(&waits), "{waits} ms");
    }

    #[cfg(unix)]
    #[test]
    fn file_and_its_companions_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let path = folder.path().join("a");
        let database = open(&ONE, &path).unwrap();
        let connection = database.read().unwrap();
        connection.execute("INSERT INTO a VALUES (5)", []).unwrap();
        let modes: Vec<_> = ["a", "a-wal"]
            .map(|name| fs::metadata(folder.path().join(name)).unwrap())
            .map(|file| file.permissions().mode() & 0o777)
            .to_vec();
        assert_eq!(modes, [0o600, 0o600]);
    }
}
