//! Governance by itself: cases of OpenZeppelin's Governor and Votes and of Cosmos' tally, a model,
//! and attacks. Every event of every test is also taken in by a second state from its bytes, which
//! must come out the same.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod attacks;
mod governor;
mod journal;
mod model;
mod tally;
mod votes;
mod world;
