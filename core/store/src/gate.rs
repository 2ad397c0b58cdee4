//! What the gate of a coordinator remembers.

use std::path::Path;

use fogcompute_coord::token::{Gate, GateConfig, Pass};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::{Absent, Database, Schema};
use crate::{Durability, StoreError};

/// Passes behind a snapshot before another is written. At some 150 bytes each, the file stays within
/// a few megabytes, and opening takes milliseconds.
const PASSES_MAX: u64 = 10_000;

const SCHEMA: Schema = Schema {
    application: i32::from_be_bytes(*b"FOGP"),
    migrations: &[include_str!("gate_1.sql")],
    carry_over: |_| Ok(()),
};

/// Which calls a [`Gate`] let through, and what they took of their tokens: with it, a coordinator
/// that is started again lets none of them through once more and gives nobody more than he had.
///
/// A killed process forgets nothing that was kept. Only calls whose pass was kept as
/// [`Wait::Disk`] are certain to outlive a power cut.
///
/// ```
/// use fogcompute_base::NodeId;
/// use fogcompute_coord::token::{Gate, GateConfig};
/// use fogcompute_store::GateStore;
///
/// let config = GateConfig::new(NodeId::from_bytes([1; 32]), []);
/// let store = GateStore::in_memory()?;
/// assert_eq!(store.gate(config.clone())?, Gate::new(config));
/// # Ok::<(), fogcompute_store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct GateStore {
    database: Database,
    /// Passes behind the snapshot.
    passes: u64,
    wait: Wait,
}

/// What keeping a pass waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// Until it is on the disk: for calls that change something.
    Disk,
    /// Until the operating system has it: for calls that only look.
    System,
}

impl GateStore {
    /// Opens or creates a gate's file and owns it until dropped.
    ///
    /// # Errors
    /// As [`TaskStore::open`](crate::TaskStore::open).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::new(SCHEMA.open(path.as_ref(), Durability::Full, Absent::Create)?)
    }

    /// Creates a store that is gone when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::new(SCHEMA.in_memory()?)
    }

    fn new(database: Database) -> Result<Self, StoreError> {
        let count: i64 =
            (database.read()?).query_row("SELECT count(*) FROM passes", [], |row| row.get(0))?;
        Ok(Self {
            database,
            passes: count.cast_unsigned(),
            wait: Wait::Disk,
        })
    }

    /// The gate as it was.
    ///
    /// # Errors
    /// [`StoreError::BadGate`], [`StoreError::Malformed`], [`StoreError::Sqlite`].
    pub fn gate(&self, config: GateConfig) -> Result<Gate, StoreError> {
        let connection = self.database.read()?;
        let snapshot: Option<Vec<u8>> = connection
            .query_row("SELECT body FROM snapshot", [], |row| row.get(0))
            .optional()?;
        let mut gate = match snapshot {
            Some(body) => Gate::decode(&body, config).map_err(|_| StoreError::BadGate)?,
            None => Gate::new(config),
        };
        let mut statement =
            connection.prepare_cached("SELECT body, back FROM passes ORDER BY number")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body: Vec<u8> = row.get(0)?;
            let pass = Pass::decode(&body).map_err(|_| StoreError::BadGate)?;
            gate.apply(&pass);
            if row.get(1)? {
                gate.give_back(&pass);
            }
        }
        Ok(gate)
    }

    /// Keeps passes of `gate`, which has let them through.
    ///
    /// # Errors
    /// [`StoreError::CommitFailed`], [`StoreError::DiskFull`], [`StoreError::Malformed`],
    /// [`StoreError::Sqlite`]: the calls must not be carried out.
    pub fn keep<'a>(
        &mut self,
        passes: impl IntoIterator<Item = &'a Pass>,
        gate: &Gate,
        wait: Wait,
    ) -> Result<(), StoreError> {
        self.wait_for(wait)?;
        if self.passes >= PASSES_MAX {
            return self.fold(gate);
        }
        self.passes += self.transaction(|connection| {
            let mut insert =
                connection.prepare_cached("INSERT INTO passes (body, back) VALUES (?1, 0)")?;
            let mut count = 0;
            for pass in passes {
                insert.execute([&pass.encode()[..]])?;
                count += 1;
            }
            Ok(count)
        })?;
        Ok(())
    }

    /// Notes that what a pass took of its token was given back, by `gate` too.
    ///
    /// # Errors
    /// As [`GateStore::keep`]. If it is not noted, the token has less left after a restart.
    pub fn give_back(&mut self, pass: &Pass, gate: &Gate) -> Result<(), StoreError> {
        self.wait_for(Wait::System)?;
        let noted = self.transaction(|connection| {
            Ok(connection
                .prepare_cached(
                    "UPDATE passes SET back = 1 WHERE body = ?1 AND number =
                                 (SELECT max(number) FROM passes WHERE body = ?1)",
                )?
                .execute(params![&pass.encode()[..]])?)
        })?;
        if noted == 0 {
            // It is in the snapshot.
            return self.fold(gate);
        }
        Ok(())
    }

    /// Writes all that a gate remembers in place of what led to it.
    fn fold(&mut self, gate: &Gate) -> Result<(), StoreError> {
        let body = gate.encode();
        self.transaction(|connection| {
            connection.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?1)", [body])?;
            connection.execute("DELETE FROM passes", [])?;
            Ok(())
        })?;
        self.passes = 0;
        Ok(())
    }

    fn wait_for(&mut self, wait: Wait) -> Result<(), StoreError> {
        if wait != self.wait {
            let value = match wait {
                Wait::Disk => "FULL",
                Wait::System => "NORMAL",
            };
            let connection = self.database.write()?;
            connection.pragma_update(None, "synchronous", value)?;
            self.wait = wait;
        }
        Ok(())
    }

    fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let written = self.database.transaction(write);
        self.database.blame(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use fogcompute_base::{AccountId, NodeId, UnixMillis};
    use fogcompute_coord::token::{Action, Actions, Call, Grant, Need, Token, TokenError};
    use fogcompute_ledger::{Amount, PublicKey};

    const NOW: UnixMillis = UnixMillis(1_000_000_000);
    const HERE: NodeId = NodeId::from_bytes([7; 32]);

    fn config() -> GateConfig {
        GateConfig::new(HERE, [PublicKey::of(&SigningKey::from_bytes(&[1; 32]))])
    }

    fn call(nonce: u64) -> Call {
        let (owner, ana) = (
            SigningKey::from_bytes(&[1; 32]),
            SigningKey::from_bytes(&[2; 32]),
        );
        let grant = Grant {
            submitter: PublicKey::of(&ana),
            account: AccountId::from_bytes([3; 16]),
            actions: Actions::of(&[Action::Submit]),
            tasks_max: 10,
            spend_max: Amount(100),
            not_before: UnixMillis(0),
            expires: UnixMillis(NOW.0 + 1_000_000),
            nonce: [4; 16],
        };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&nonce.to_be_bytes());
        let token = Token::issue(grant, &owner);
        Call::sign(token, HERE, Action::Submit, b"job", bytes, NOW, &ana)
    }

    const NEED: Need = Need {
        tasks: 4,
        spend: Amount(1),
    };

    #[test]
    fn a_gate_that_is_opened_again_remembers_calls_and_limits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sqlite");
        let mut store = GateStore::open(&path).unwrap();
        let mut gate = store.gate(config()).unwrap();
        for (nonce, wait) in [(1, Wait::Disk), (2, Wait::System)] {
            let pass = gate.admit(&call(nonce), b"job", NEED, NOW).unwrap();
            store.keep([&pass], &gate, wait).unwrap();
        }
        drop(store);
        let mut store = GateStore::open(&path).unwrap();
        let mut again = store.gate(config()).unwrap();
        assert_eq!(again, gate);
        let replayed = again.admit(&call(1), b"job", Need::NOTHING, NOW);
        assert_eq!(replayed, Err(TokenError::Replayed));
        let more = again.admit(&call(3), b"job", NEED, NOW);
        assert!(matches!(
            more,
            Err(TokenError::TasksExceeded { used: 8, .. })
        ));
        // What came to nothing is given back, and stays so.
        let two = Need {
            tasks: 2,
            ..Need::NOTHING
        };
        let pass = again.admit(&call(4), b"job", two, NOW).unwrap();
        store.keep([&pass], &again, Wait::Disk).unwrap();
        again.give_back(&pass);
        store.give_back(&pass, &again).unwrap();
        assert_eq!(store.gate(config()).unwrap(), again);
        assert_eq!(again.used(pass.token).tasks, 8);
    }

    #[test]
    fn many_passes_become_a_snapshot_and_nothing_is_forgotten() {
        let mut store = GateStore::in_memory().unwrap();
        let mut gate = store.gate(config()).unwrap();
        let one = Need {
            tasks: 1,
            ..Need::NOTHING
        };
        let mut first = None;
        for nonce in 0..5 {
            let pass = gate.admit(&call(nonce), b"job", one, NOW).unwrap();
            store.passes += PASSES_MAX / 3;
            store.keep([&pass], &gate, Wait::System).unwrap();
            first = first.or(Some(pass));
        }
        assert!(store.passes < PASSES_MAX);
        assert_eq!(store.gate(config()).unwrap(), gate);
        // Of what is in the snapshot something can be given back too.
        let first = first.unwrap();
        gate.give_back(&first);
        store.give_back(&first, &gate).unwrap();
        assert_eq!(store.gate(config()).unwrap(), gate);
        assert_eq!(gate.used(first.token).tasks, 4);
    }

    #[test]
    fn a_damaged_gate_is_an_error() {
        let mut store = GateStore::in_memory().unwrap();
        let write = |store: &mut GateStore, sql: &str| {
            store.database.write().unwrap().execute(sql, []).unwrap();
        };
        write(&mut store, "INSERT INTO passes VALUES (1, x'00', 0)");
        assert!(matches!(store.gate(config()), Err(StoreError::BadGate)));
        write(&mut store, "DELETE FROM passes");
        write(&mut store, "INSERT INTO snapshot VALUES (1, x'05')");
        assert!(matches!(store.gate(config()), Err(StoreError::BadGate)));
    }
}
