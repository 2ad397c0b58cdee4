//! What a peer of a mesh keeps across restarts.

use std::path::Path;

use fogcompute_base::{CryptoRng, UnixMillis};
use fogcompute_mesh::group::GroupId;
use fogcompute_mesh::history::{Change, Conversation, History, HistoryLimits, Message};
use fogcompute_mesh::{DeliveryState, MessageId, PeerId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::database::{Absent, Database, Schema, array, integer};
use crate::{Durability, StoreError};

const SCHEMA: Schema = Schema {
    application: i32::from_be_bytes(*b"FOGM"),
    migrations: &[include_str!("mesh_1.sql"), include_str!("mesh_2.sql")],
    carry_over: |_| Ok(()),
};

/// A mesh peer's secrets, what its rules have to remember, and the messages it sent and received.
///
/// What belongs together is written in one transaction. The file holds secrets and texts in the clear: it is
/// created readable by its owner only, and backups of it are as secret as itself.
///
/// ```
/// use fogcompute_base::{OsEntropy, UnixMillis};
/// use fogcompute_mesh::history::{Change, Conversation, History, Message};
/// use fogcompute_mesh::{DeliveryState, MessageId, PeerId};
/// use fogcompute_store::MeshStore;
///
/// let mut store = MeshStore::in_memory()?;
/// let secrets = store.identity(&mut OsEntropy)?;
/// let (peer, now) = (PeerId::from_bytes([1; 8]), UnixMillis(1_800_000_000_000));
/// let message = Message {
///     id: MessageId::new("7")?,
///     conversation: Conversation::Peer(peer),
///     from: Some(peer),
///     text: "hello".to_owned(),
///     at: now,
///     state: DeliveryState::Waiting,
///     via: None,
///     hops: 1,
/// };
/// let changes = [Change::Message(message.clone()), Change::Message(message.clone())];
/// // Its rules and the message are on disk now. The same message is kept once.
/// assert_eq!(store.save(Some(b"rules"), &changes, now)?, [true, false]);
/// assert_eq!(store.page(Some(Conversation::Peer(peer)), u64::MAX, 10)?, [(1, message)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MeshStore {
    database: Database,
    limits: HistoryLimits,
    /// A commit was not confirmed: memory and disk may differ from here on.
    uncertain: bool,
}

impl MeshStore {
    /// Opens or creates a peer's file and owns it until dropped. One that others may read is taken from them, where
    /// the file system has permissions: there are secrets in it.
    ///
    /// # Errors
    /// [`StoreError::Empty`] for a file that has nothing in it;
    /// [`StoreError::SpecialPath`], [`StoreError::NulInPath`], [`StoreError::CannotOpen`],
    /// [`StoreError::IsFolder`], [`StoreError::NotAFile`], [`StoreError::NoFolder`], [`StoreError::Locked`],
    /// [`StoreError::ReadOnly`], [`StoreError::NotADatabase`], [`StoreError::OtherDatabase`],
    /// [`StoreError::SchemaTooNew`], [`StoreError::Malformed`], [`StoreError::DiskFull`],
    /// [`StoreError::Sqlite`].
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        let path = path.as_ref();
        if path
            .metadata()
            .is_ok_and(|file| file.is_file() && file.len() == 0)
        {
            return Err(StoreError::Empty {
                path: path.to_owned(),
            });
        }
        let database = SCHEMA.open(path, durability, Absent::Create)?;
        narrow(path);
        Ok(Self {
            database,
            limits: HistoryLimits::default(),
            uncertain: false,
        })
    }

    /// Creates a store that is gone when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn in_memory() -> Result<Self, StoreError> {
        let database = SCHEMA.in_memory()?;
        Ok(Self {
            database,
            limits: HistoryLimits::default(),
            uncertain: false,
        })
    }

    /// The peer's secrets: 64 bytes from `rng` on first use, the same ever after.
    ///
    /// # Errors
    /// [`StoreError::BadIdentity`], and those of [`MeshStore::save`]. Secrets are returned only once they are on
    /// disk.
    pub fn identity(&mut self, rng: &mut impl CryptoRng) -> Result<[u8; 64], StoreError> {
        self.transaction(|connection| {
            let stored = connection
                .query_row("SELECT secret FROM identity", [], |row| {
                    Ok(array(row.get_ref(0)?))
                })
                .optional()?;
            if let Some(secret) = stored {
                return secret.ok_or(StoreError::BadIdentity);
            }
            let mut secret = [0; 64];
            rng.fill_bytes(&mut secret);
            connection.execute("INSERT INTO identity VALUES (1, ?1)", [secret])?;
            Ok(secret)
        })
    }

    /// What the rules had to remember, if anything was saved.
    ///
    /// # Errors
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn state(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let connection = self.database.read()?;
        let saved = connection
            .query_row("SELECT saved FROM state", [], |row| row.get(0))
            .optional();
        self.database.blame(saved.map_err(StoreError::from))
    }

    /// Writes what the rules have to remember, if it changed, and what became of messages, in one transaction, as
    /// [`History::keep`] does.
    ///
    /// # Errors
    /// [`StoreError::TimeOutOfRange`], [`StoreError::DiskFull`], [`StoreError::Replaced`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`]: nothing changed.
    /// [`StoreError::CommitFailed`]: it may have; this handle answers [`StoreError::ReopenNeeded`] from then on.
    pub fn save(
        &mut self,
        state: Option<&[u8]>,
        changes: &[Change],
        unix: UnixMillis,
    ) -> Result<Vec<bool>, StoreError> {
        let limits = self.limits;
        self.transaction(|connection| write(connection, state, changes, limits, unix))
    }

    fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.uncertain {
            return Err(StoreError::ReopenNeeded);
        }
        let written = self.database.transaction(write);
        self.uncertain = matches!(written, Err(StoreError::CommitFailed { .. }));
        self.database.blame(written)
    }
}

impl History for MeshStore {
    type Error = StoreError;

    fn set_limits(&mut self, limits: HistoryLimits) {
        self.limits = limits;
    }

    fn keep(&mut self, changes: &[Change], unix: UnixMillis) -> Result<Vec<bool>, StoreError> {
        self.save(None, changes, unix)
    }

    fn page(
        &self,
        of: Option<Conversation>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Message)>, StoreError> {
        let read = read_messages(self.database.read()?, of, before, limit);
        self.database.blame(read)
    }

    fn conversations(&self) -> Result<Vec<(Conversation, u64)>, StoreError> {
        let read = read_conversations(self.database.read()?);
        self.database.blame(read)
    }

    fn delete(&mut self, number: u64) -> Result<bool, StoreError> {
        // No stored number is above i64::MAX.
        let Ok(number) = i64::try_from(number) else {
            return Ok(false);
        };
        self.transaction(|connection| {
            let deleted = connection
                .prepare_cached(
                    "UPDATE messages SET text = '', is_deleted = 1
                     WHERE number = ?1 AND is_deleted = 0",
                )?
                .execute([number])?;
            Ok(deleted > 0)
        })
    }

    fn delete_conversation(&mut self, of: Conversation) -> Result<u64, StoreError> {
        let (condition, name) = condition(Some(of));
        self.transaction(|connection| {
            let deleted = connection
                .prepare_cached(&format!(
                    "UPDATE messages SET text = '', is_deleted = 1
                     WHERE {condition} AND is_deleted = 0 AND ?1 IS ?1"
                ))?
                .execute([name])?;
            Ok(deleted as u64)
        })
    }
}

/// Which messages are of a conversation; `?1` is its name.
fn condition(of: Option<Conversation>) -> (&'static str, Vec<u8>) {
    match of {
        None => ("1 = 1", Vec::new()),
        Some(Conversation::Everybody) => ("audience = 0", Vec::new()),
        Some(Conversation::Peer(peer)) => ("audience = 1 AND peer = ?1", peer.as_bytes().to_vec()),
        Some(Conversation::Group(group)) => ("audience = 2 AND of_group = ?1", group.0.to_vec()),
    }
}

fn write(
    connection: &Connection,
    state: Option<&[u8]>,
    changes: &[Change],
    limits: HistoryLimits,
    unix: UnixMillis,
) -> Result<Vec<bool>, StoreError> {
    let now = stored(unix)?;
    if let Some(state) = state {
        connection
            .prepare_cached("INSERT OR REPLACE INTO state VALUES (1, ?1)")?
            .execute([state])?;
    }
    let mut new = Vec::new();
    for change in changes {
        match change {
            Change::Message(message) => new.push(insert(connection, message, now)?),
            Change::State { id, state } => {
                connection
                    .prepare_cached("UPDATE messages SET state = ?2 WHERE id = ?1 AND is_own = 1")?
                    .execute(params![id.as_str(), state_number(*state)])?;
            }
        }
    }
    if new.contains(&true) {
        connection
            .prepare_cached(
                "DELETE FROM messages WHERE number <= (SELECT max(number) FROM messages) - ?1",
            )?
            .execute([limits.messages_max])?;
    }
    if let Some(age_max) = limits.age_max {
        let age_max = i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX);
        connection
            .prepare_cached("DELETE FROM messages WHERE kept < ?1")?
            .execute([now.saturating_sub(age_max)])?;
    }
    Ok(new)
}

fn stored(time: UnixMillis) -> Result<i64, StoreError> {
    i64::try_from(time.0).map_err(|_| StoreError::TimeOutOfRange { time })
}

fn insert(connection: &Connection, message: &Message, now: i64) -> Result<bool, StoreError> {
    let at = stored(message.at)?;
    let (audience, group) = match message.conversation {
        Conversation::Everybody => (0, None),
        Conversation::Peer(_) => (1, None),
        Conversation::Group(group) => (2, Some(group.0)),
    };
    let peer = match (message.from, message.conversation) {
        (Some(from), _) => *from.as_bytes(),
        (None, Conversation::Peer(to)) => *to.as_bytes(),
        (None, _) => [0; PeerId::LEN],
    };
    // One that is ignored would use up a number, and limits count numbers.
    let inserted = connection
        .prepare_cached(
            "INSERT INTO messages
             (id, peer, is_own, audience, of_group, text, at, state, via, hops, kept)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE NOT EXISTS
             (SELECT 1 FROM messages WHERE id = ?1 AND peer = ?2 AND is_own = ?3)",
        )?
        .execute(params![
            message.id.as_str(),
            peer,
            message.from.is_none(),
            audience,
            group,
            message.text,
            at,
            state_number(message.state),
            message.via.map(|via| *via.as_bytes()),
            message.hops,
            now,
        ])?;
    Ok(inserted > 0)
}

fn read_messages(
    connection: &Connection,
    of: Option<Conversation>,
    before: u64,
    limit: usize,
) -> Result<Vec<(u64, Message)>, StoreError> {
    let (condition, name) = condition(of);
    // No stored number is above i64::MAX.
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT number, id, peer, is_own, audience, of_group, text, at, state, via, hops
         FROM messages
         WHERE {condition} AND is_deleted = 0 AND number < ?2 AND ?1 IS ?1
         ORDER BY number DESC LIMIT ?3"
    ))?;
    let mut rows = statement.query(params![name, before, limit])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        let number = row.get::<_, i64>(0)?.unsigned_abs();
        messages.push((number, read_message(number, row)?));
    }
    Ok(messages)
}

fn read_conversations(connection: &Connection) -> Result<Vec<(Conversation, u64)>, StoreError> {
    // What is selected beside a maximum is of the row that has it.
    let mut statement = connection.prepare_cached(
        "SELECT max(number), audience, peer, of_group FROM messages WHERE is_deleted = 0
         GROUP BY audience, CASE audience WHEN 1 THEN peer END, of_group
         ORDER BY max(number) DESC",
    )?;
    let mut rows = statement.query([])?;
    let mut conversations = Vec::new();
    while let Some(row) = rows.next()? {
        let number = row.get::<_, i64>(0)?.unsigned_abs();
        conversations.push((read_conversation(number, row, [1, 2, 3])?, number));
    }
    Ok(conversations)
}

/// Reads the columns for audience, peer and group.
fn read_conversation(
    number: u64,
    row: &Row<'_>,
    [audience, peer, group]: [usize; 3],
) -> Result<Conversation, StoreError> {
    let bad = |column| StoreError::BadMessage { number, column };
    Ok(match row.get::<_, i64>(audience)? {
        0 => Conversation::Everybody,
        1 => {
            let peer = array(row.get_ref(peer)?).ok_or_else(|| bad("peer"))?;
            Conversation::Peer(PeerId::from_bytes(peer))
        }
        _ => {
            let group = array(row.get_ref(group)?).ok_or_else(|| bad("of_group"))?;
            Conversation::Group(GroupId(group))
        }
    })
}

fn read_message(number: u64, row: &Row<'_>) -> Result<Message, StoreError> {
    let bad = |column| StoreError::BadMessage { number, column };
    let peer = array(row.get_ref(2)?).ok_or_else(|| bad("peer"))?;
    let is_own: bool = row.get(3)?;
    let via = row.get_ref(9)?;
    let id: String = row.get(1)?;
    let state = integer(row.get_ref(8)?).and_then(state_of);
    Ok(Message {
        id: MessageId::new(&id).map_err(|_| bad("id"))?,
        conversation: read_conversation(number, row, [4, 2, 5])?,
        from: (!is_own).then(|| PeerId::from_bytes(peer)),
        text: row.get(6)?,
        at: integer(row.get_ref(7)?)
            .map(UnixMillis)
            .ok_or_else(|| bad("at"))?,
        state: state.ok_or_else(|| bad("state"))?,
        via: match via.as_blob_or_null() {
            Ok(None) => None,
            _ => Some(PeerId::from_bytes(array(via).ok_or_else(|| bad("via"))?)),
        },
        hops: integer(row.get_ref(10)?).ok_or_else(|| bad("hops"))?,
    })
}

const fn state_number(state: DeliveryState) -> u8 {
    match state {
        DeliveryState::Waiting => 0,
        DeliveryState::Sent => 1,
        DeliveryState::Relayed => 2,
        DeliveryState::Delivered => 3,
        DeliveryState::Read => 4,
        DeliveryState::GivenUp => 5,
    }
}

const fn state_of(number: u8) -> Option<DeliveryState> {
    Some(match number {
        0 => DeliveryState::Waiting,
        1 => DeliveryState::Sent,
        2 => DeliveryState::Relayed,
        3 => DeliveryState::Delivered,
        4 => DeliveryState::Read,
        5 => DeliveryState::GivenUp,
        _ => return None,
    })
}

/// Takes the file, and what SQLite keeps beside it, from everybody but its owner, as far as the file system can.
#[cfg(unix)]
fn narrow(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    for path in [path, Path::new(&log)] {
        let Ok(found) = path.metadata() else {
            continue;
        };
        let mut permissions = found.permissions();
        if permissions.mode() & 0o077 != 0 {
            permissions.set_mode(permissions.mode() & 0o700);
            // Some file systems have no permissions, and some files another owner.
            let _ = std::fs::set_permissions(path, permissions);
        }
    }
}

#[cfg(not(unix))]
const fn narrow(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;
    use tempfile::TempDir;

    const NOW: UnixMillis = UnixMillis(20);

    mod conformance {
        fogcompute_mesh::history_conformance!(|| super::MeshStore::in_memory().unwrap());
    }

    fn message(id: &str) -> Message {
        Message {
            id: MessageId::new(id).unwrap(),
            conversation: Conversation::Peer(PeerId::from_bytes([3; 8])),
            from: None,
            text: format!("text of {id}"),
            at: UnixMillis(17),
            state: DeliveryState::Waiting,
            via: None,
            hops: 0,
        }
    }

    #[test]
    fn a_file_that_was_emptied_is_nobody_new() {
        // It silently became another peer.
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mesh");
        drop(MeshStore::open(&path, Durability::Full).unwrap());
        std::fs::write(&path, b"").unwrap();
        let refused = MeshStore::open(&path, Durability::Full).map(drop);
        assert!(
            matches!(&refused, Err(StoreError::Empty { path: of }) if *of == path),
            "{refused:?}"
        );
        std::fs::remove_file(&path).unwrap();
        MeshStore::open(&path, Durability::Full).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_taken_from_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mesh");
        drop(MeshStore::open(&path, Durability::Full).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut store = MeshStore::open(&path, Durability::Full).unwrap();
        store.identity(&mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        for path in [path, folder.path().join("mesh-wal")] {
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }

    #[test]
    fn what_was_saved_is_there_when_the_file_is_opened_again() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mesh");
        let mut store = MeshStore::open(&path, Durability::Full).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let secret = store.identity(&mut rng).unwrap();
        assert_eq!(store.identity(&mut rng).unwrap(), secret);
        assert_eq!(store.state().unwrap(), None);
        let mut received = message("b");
        received.conversation = Conversation::Group(GroupId([9; 16]));
        received.from = Some(PeerId::from_bytes([5; 8]));
        (received.via, received.hops) = (Some(PeerId::from_bytes([4; 8])), 2);
        let changes = [
            Change::Message(message("a")),
            Change::Message(received.clone()),
            Change::State {
                id: MessageId::new("a").unwrap(),
                state: DeliveryState::Delivered,
            },
        ];
        let new = store.save(Some(b"one"), &changes, NOW).unwrap();
        assert_eq!(new, [true, true]);
        store.save(Some(b"two"), &[], NOW).unwrap();
        store.save(None, &[], NOW).unwrap();
        drop(store);

        let mut store = MeshStore::open(&path, Durability::Full).unwrap();
        assert_eq!(store.identity(&mut rng).unwrap(), secret);
        assert_eq!(store.state().unwrap().as_deref(), Some(&b"two"[..]));
        let mut sent = message("a");
        sent.state = DeliveryState::Delivered;
        assert_eq!(
            store.page(None, u64::MAX, 9).unwrap(),
            [(2, received), (1, sent.clone())]
        );
        assert_eq!(store.page(None, 2, 9).unwrap(), [(1, sent)]);
        // It comes again, as after a restart of the mesh.
        let again = [Change::Message(message("a"))];
        assert_eq!(store.save(None, &again, NOW).unwrap(), [false]);
    }

    /// Files of the first release have neither hops nor an age.
    #[test]
    fn a_file_of_the_first_kind_is_read_on() {
        let first = Schema {
            application: SCHEMA.application,
            migrations: &[include_str!("mesh_1.sql")],
            carry_over: |_| Ok(()),
        };
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mesh");
        let mut database = first.open(&path, Durability::Full, Absent::Create).unwrap();
        let inserted = database.transaction(|connection| {
            connection.execute_batch(
                "INSERT INTO messages (id, peer, is_own, audience, text, at, state)
                 VALUES ('a', x'0303030303030303', 1, 1, 'text of a', 17, 0)",
            )?;
            Ok(())
        });
        inserted.unwrap();
        drop(database);
        let store = MeshStore::open(&path, Durability::Full).unwrap();
        let page = store.page(None, u64::MAX, 9).unwrap();
        assert_eq!(page, [(1, message("a"))]);
    }

    #[test]
    fn a_time_that_cannot_be_stored_changes_nothing() {
        let mut store = MeshStore::in_memory().unwrap();
        let mut late = message("late");
        late.at = UnixMillis(u64::MAX);
        let changes = [Change::Message(message("in time")), Change::Message(late)];
        assert!(matches!(
            store.save(Some(b"state"), &changes, NOW),
            Err(StoreError::TimeOutOfRange { .. })
        ));
        assert_eq!(store.page(None, u64::MAX, 9).unwrap(), []);
        assert_eq!(store.state().unwrap(), None);
    }

    #[test]
    fn deleted_texts_are_not_in_the_table_any_more() {
        let mut store = MeshStore::in_memory().unwrap();
        store.keep(&[Change::Message(message("a"))], NOW).unwrap();
        assert!(store.delete(1).unwrap());
        let connection = store.database.read().unwrap();
        let text: String = connection
            .query_row("SELECT text FROM messages", [], |row| row.get(0))
            .unwrap();
        assert_eq!(text, "");
    }

    #[test]
    fn rows_that_make_no_sense_are_said_to() {
        let mut store = MeshStore::in_memory().unwrap();
        store.keep(&[Change::Message(message("a"))], NOW).unwrap();
        for (column, value) in [
            ("peer", "x'00'"),
            ("at", "-1"),
            ("state", "256"),
            ("state", "6"),
            ("hops", "-1"),
        ] {
            let connection = store.database.read().unwrap();
            let sql = format!("SAVEPOINT s; UPDATE messages SET {column} = {value}");
            connection.execute_batch(&sql).unwrap();
            let refused = store.page(None, u64::MAX, 9);
            assert!(
                matches!(refused, Err(StoreError::BadMessage { number: 1, column: c }) if c == column),
                "{column}"
            );
            let connection = store.database.read().unwrap();
            connection
                .execute_batch("ROLLBACK TO s; RELEASE s")
                .unwrap();
        }
    }
}
