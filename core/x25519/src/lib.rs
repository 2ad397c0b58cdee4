//! X25519 (RFC 7748): scalar multiplication on Curve25519, one at a time or many at once, by the
//! fastest implementation that the CPU of this very machine can run.
//!
//! A mixnode spends nearly all of its time in X25519, with one secret and many points that do not
//! depend on each other. An [`Engine`] knows which instructions the CPU has and takes such points
//! in batches.
//!
//! What it does not do: it makes no keys (a secret is 32 bytes from the caller's generator, used as
//! they are; clamping happens inside), derives nothing from what two parties share, and starts no
//! threads.
//!
//! Meet [`Engine`] and [`Backend`] first.
//!
//! ```
//! use fogcompute_x25519::Engine;
//!
//! let engine = Engine::detect();
//! let (alice, bob) = ([1; 32], [2; 32]);
//! let shared = engine.x25519(&alice, &engine.x25519_base(&bob));
//! assert!(shared.is_some());
//! assert_eq!(shared, engine.x25519(&bob, &engine.x25519_base(&alice)));
//!
//! // One secret, many points; what is no proper point yields nothing.
//! let points = [engine.x25519_base(&bob), [0; 32]];
//! let mut results = [None; 2];
//! engine.x25519_batch_same_scalar(&alice, &points, &mut results)?;
//! assert_eq!(results, [shared, None]);
//! # Ok::<(), fogcompute_x25519::LengthMismatch>(())
//! ```

mod backend;
mod batch;
mod engine;
#[cfg(target_arch = "x86_64")]
mod kernel;
mod single;

pub use backend::{Backend, Unavailable, available};
pub use engine::{Engine, LengthMismatch};

/// Length in bytes of a scalar, a point and a result.
pub const KEY_BYTES: usize = 32;
