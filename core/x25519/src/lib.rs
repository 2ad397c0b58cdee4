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
//! # Speed
//!
//! Microseconds for one multiplication, and how many of them one core makes in a second:
//!
//! | implementation | at once | one point | per second | fixed base |
//! |---|---|---|---|---|
//! | [`Backend::Dalek`] | 1 | 52.5 | 19,000 | 16.3 |
//! | [`Backend::Graviola`] | 1 | 24.0 | 41,700 | 7.2 |
//! | [`Backend::Avx2x4`] | 4 | 14.8 | 67,800 | |
//! | [`Backend::Avx512x8`] | 8 | 11.2 | 89,100 | |
//! | [`Backend::Ifmax8`] | 8 | 6.2 | 162,000 | |
//!
//! Measured on one of two virtual cores of an AMD EPYC (Zen 4, family 25, model 17; 3.66 GHz by a
//! chain of multiplications) under Linux, other programs running; batches of 64, one scalar; median
//! of 101 turns of thread CPU time, the implementations taking turns; Rust 1.95, release profile. The
//! example `compare` measures it anew. [`Engine::detect`] takes [`Backend::Graviola`] for one
//! multiplication and the last row that the CPU has for many. It measures nothing: on a CPU of which
//! you know better, use [`Engine::with`].
//!
//! # Security
//!
//! - The kernels for batches have no branch and no address that depends on a scalar or a point. A
//!   test has valgrind watch this for AVX2 and for all that the three kernels share. Valgrind knows
//!   no AVX-512: of those two kernels the machine code was read, whose only conditional jumps count
//!   rounds and compare lengths. Graviola and dalek make the same promise for theirs.
//! - Whether a point is of low order is no secret and may show.
//! - Copies of scalars and results that batches make are wiped; what the compiler spilled to the
//!   stack in the course of a multiplication is not.
//! - `unsafe` is what vector instructions need, and nothing else: calls of kernels after a check of
//!   the CPU, and casts between vectors and arrays of integers.
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
