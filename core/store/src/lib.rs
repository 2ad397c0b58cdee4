//! What survives a restart: the ledger, a node's own state and its tasks, and a mesh peer's messages, in SQLite.
//!
//! Each store is one file, owned by one handle at a time: opening takes an exclusive lock that is
//! held until the handle is dropped, so a second process (or a second handle) is told
//! [`StoreError::Locked`] instead of writing over the first. Every change is one SQLite
//! transaction in write-ahead mode. Files are created readable by their owner only.
//!
//! A store stays with the process that opened it: a forked child that uses its copy of the handle
//! is told [`StoreError::Forked`], and dropping that copy does nothing.
//!
//! A killed process loses nothing that was acknowledged. Whether a power cut does is the choice of
//! [`Durability`], as far as the disk tells the truth about having written.
//!
//! Not here: the rules of money (`fogcompute-ledger`) and of tasks (`fogcompute-exec`), async (call from a blocking context),
//! encryption of the files.
//!
//! Meet [`SqliteLedger`], [`NodeStore`] and [`TaskStore`] first.
//!
//! ```
//! use fogcompute_base::{AccountId, TransferId, UnixMillis};
//! use fogcompute_ledger::{AccountKind, Amount, AssetId, Memo, Operation};
//! use fogcompute_store::{SqliteLedger, StoreError};
//!
//! let (mint, ana) = (AccountId::from_bytes([1; 16]), AccountId::from_bytes([2; 16]));
//! let open = |account, kind| Operation::Open { account, asset: AssetId::CREDITS, kind };
//! let pay = Operation::Transfer {
//!     id: TransferId::from_bytes([1; 16]),
//!     from: mint,
//!     to: ana,
//!     amount: Amount::from_credits(10),
//!     memo: Memo::NONE,
//! };
//! let batch = [open(mint, AccountKind::Issuer), open(ana, AccountKind::Holder), pay];
//!
//! let mut ledger = SqliteLedger::in_memory()?;
//! ledger.execute(&batch, UnixMillis(1_700_000_000_000))?;
//! assert_eq!(ledger.balance(ana), Some(Amount::from_credits(10)));
//!
//! // The answer was lost? Ask again: nothing moves twice.
//! let receipts = ledger.execute(&batch, UnixMillis(1_700_000_000_001))?;
//! assert!(receipts.iter().all(|receipt| receipt.replayed));
//! assert_eq!(ledger.verify()?.head.sequence, 3);
//! # Ok::<(), StoreError>(())
//! ```

mod database;
mod error;
mod gate;
mod jobs;
mod ledger;
mod mesh;
mod node;
mod process;
mod tasks;

pub use database::Durability;
pub use error::StoreError;
pub use gate::{GateStore, Wait};
pub use jobs::{
    EVENTS_MAX as JOB_EVENTS_MAX, JobChange, JobEvent, JobEvents, JobRow, JobStore, TaskRow,
};
pub use ledger::{
    Asked, ENTRIES_PAGE_MAX, LedgerOptions, Opening, SharedLedger, SqliteLedger, Standing,
    TextFormat, Verification,
};
pub use mesh::MeshStore;
pub use node::{NodeStore, RESULT_BYTES_MAX, StoredResult, Usage};
pub use process::HomeProcess;
pub use tasks::TaskStore;
