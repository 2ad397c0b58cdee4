//! What every fogcompute crate shares: ids, time, randomness, priorities, limits and the wire codec.
//!
//! This crate decides nothing. It fixes the vocabulary, so that a node id, an instant or a decode
//! error is the same thing in the mixnet, the scheduler and the ledger.
//!
//! Meet [`Clock`] and [`wire::Reader`] first.
//!
//! ```
//! use fogcompute_base::{Instant, NodeId};
//! use std::time::Duration;
//!
//! let start = Instant::ZERO;
//! assert_eq!((start + Duration::from_millis(5)).duration_since(start), Duration::from_millis(5));
//! let id = NodeId::from_bytes([7; 32]);
//! assert_eq!(id.to_string().parse::<NodeId>(), Ok(id));
//! ```

mod digest;
mod entropy;
mod id;
pub mod limits;
mod priority;
mod tier;
mod time;
pub mod wire;

pub use digest::Digest;
pub use entropy::OsEntropy;
pub use id::{AccountId, JobId, NodeId, ParseIdError, TaskId, TransferId};
pub use priority::Priority;
pub use rand_core::{CryptoRng, Rng};
pub use tier::{Domain, Preemption, Terms, Tier};
pub use time::{Clock, Instant, SystemClock, UnixMillis};
