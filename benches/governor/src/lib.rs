//! OpenZeppelin's governance contracts, run in process by revm: what fogcompute's own governance is
//! compared with, in what it decides and in how fast it does so.
//!
//! The contracts are put together as OpenZeppelin's wizard does (`contracts/Peer.sol`): an
//! ERC20Votes token, Governor with simple counting, a quorum as a fraction of the supply, the
//! late-quorum extension, and a timelock. They come from npm and are compiled by
//! `contracts/compile.js` when a test asks for them; nothing compiled is kept in the repository.
//!
//! [`Steps`] draws operations that both understand, [`Ours`] and [`Theirs`] take them. Accounts and
//! proposals are small numbers; times are seconds of the block.

mod contracts;
mod ours;
mod peer;
mod step;
mod theirs;

pub use contracts::{Contracts, ContractsError};
pub use ours::{Ours, Refused};
pub use peer::{Peer, PeerError, Settings, State, Support, Tally};
pub use step::{ACCOUNTS, Step, Steps};
pub use theirs::Theirs;

/// The numbers that both sides are compared under: short, so that much happens.
pub const SETTINGS: Settings = Settings {
    voting_delay: 4,
    voting_period: 16,
    proposal_threshold: 30,
    quorum_percent: 20,
    late_quorum_extension: 6,
    timelock: 5,
};
