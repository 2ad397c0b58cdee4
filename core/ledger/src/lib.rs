//! Double-entry credits: accounts, transfers and two-phase reservations, with a history that
//! cannot be changed unnoticed.
//!
//! These are rules only: no files, no clocks. A [`State`] holds in memory what it takes to decide; a
//! batch of [`Operation`]s is first planned, then committed. Between the two a store writes the
//! [`Plan`] to disk, so memory never knows more than the disk does (`fogcompute-store` does so with
//! SQLite). A [`Book`] is a state with its history, for ledgers without a disk.
//!
//! - Every movement debits one account and credits another by the same amount, in integers.
//! - A batch happens as a whole or not at all (its operations are linked, in TigerBeetle's words);
//!   later operations see the earlier ones.
//! - Ids are chosen by the caller, and repeating a request returns the first receipt.
//! - What is reserved cannot be spent: funds are locked by counters, not by a status.
//! - Every [`Entry`] carries a digest of all history before it; whoever keeps a
//!   [`SignedCheckpoint`] notices any rewriting of what came before it.
//! - Accounts have [`Limits`]: the most an issuer may put out, the most a day that may be spent.
//! - Owners sign for their accounts ([`SignedBatch`]), each signature counting once.
//!
//! The meaning of results and of pending amounts follows TigerBeetle (`create_transfers`), with
//! these differences: an id is compared before anything else, a refused batch does not use its ids
//! up, and a released reservation is an entry of its own.
//!
//! An [`economy`] is founded in a book by [`Operation::Economy`], and every number of it is an entry.
//! [`staking`] and [`earning`] are state machines of their own, which say what money must move
//! between [`Purse`]s; the book moves it in the same batch, or refuses the event with it.
//!
//! [`dao`] is a state machine of that kind too: weights with their past, delegation, proposals and
//! votes, which decide about parameters and treasury once governance is established.
//!
//! Not here: exchange between assets. Whether an operation needs a signature is
//! the host's to say: unsigned ones are its own word. A state keeps every id it has seen, because an
//! id must never be forgotten, and asks a [`History`] for everything else about the past.
//!
//! Meet [`Book`] and [`Operation`] first.
//!
//! ```
//! use fogcompute_base::{AccountId, TransferId, UnixMillis};
//! use fogcompute_ledger::{AccountKind, Amount, AssetId, Book, LedgerError, Memo, Operation};
//!
//! let (mint, ana, ben) = (1, 2, 3);
//! let account = |n| AccountId::from_bytes([n; 16]);
//! let id = |n| TransferId::from_bytes([n; 16]);
//! let open = |n, kind| Operation::Open { account: account(n), asset: AssetId::CREDITS, kind };
//! let now = UnixMillis(1_700_000_000_000);
//!
//! let mut book = Book::new();
//! book.execute(
//!     &[
//!         open(mint, AccountKind::Issuer),
//!         open(ana, AccountKind::Holder),
//!         open(ben, AccountKind::Holder),
//!         Operation::Transfer {
//!             id: id(1),
//!             from: account(mint),
//!             to: account(ana),
//!             amount: Amount::from_credits(10),
//!             memo: Memo::NONE,
//!         },
//!         // Ana promises Ben 8 credits for a job...
//!         Operation::Reserve {
//!             id: id(2),
//!             from: account(ana),
//!             to: account(ben),
//!             amount: Amount::from_credits(8),
//!             expires: None,
//!             memo: Memo { code: 7, ..Memo::NONE },
//!         },
//!     ],
//!     now,
//! )?;
//! assert_eq!(book.account(account(ana)).unwrap().available(), Amount::from_credits(2));
//!
//! // ...which used 5 of them. The other 3 are hers again.
//! let five = Some(Amount::from_credits(5));
//! book.execute(&[Operation::Post { id: id(3), reservation: id(2), amount: five }], now)?;
//! assert_eq!(book.account(account(ana)).unwrap().available(), Amount::from_credits(5));
//! assert_eq!(book.account(account(ben)).unwrap().available(), Amount::from_credits(5));
//! assert_eq!(book.check(), Ok(()));
//! # Ok::<(), LedgerError>(())
//! ```

mod account;
mod amount;
mod book;
mod checkpoint;
mod codec;
pub mod dao;
pub mod earning;
pub mod economy;
mod entry;
mod error;
#[cfg(test)]
mod fixtures;
mod history;
mod journal;
mod operation;
mod plan;
mod purse;
mod read;
mod restore;
mod signed;
mod snapshot;
pub mod staking;
mod state;

pub use account::{Account, AccountKind, Limits, Spent};
pub use amount::{Amount, AssetId, ParseAmountError};
pub use book::Book;
pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use entry::{Entry, EntryKind, Head, verify_chain};
pub use error::{Corruption, LedgerError};
pub use history::History;
pub use journal::{BATCH_ENTRIES_MAX, Batch};
pub use operation::{Memo, Operation, Receipt, Reservation, ReservationState};
pub use plan::Plan;
pub use purse::{Movement, Ppm, PpmTooLarge, Purse};
pub use restore::Restore;
pub use signed::{PublicKey, SignedBatch, Verified};
pub use snapshot::Snapshot;
pub use state::{Owner, State};

/// Most operations one batch may have, as in TigerBeetle (1 MiB of 128-byte transfers).
pub const BATCH_OPERATIONS_MAX: usize = 8_190;
