//! What submitters ask of a coordinator, over links of their own.
//!
//! [`protocol`] says what goes over a link, [`link`] attends to it, [`desk`] answers, and [`client`]
//! asks.

mod client;
mod desk;
mod link;
pub(crate) mod protocol;

pub use client::{FogClient, FogClientConfig, FogClientError, Watch, Watched};
pub(crate) use desk::Submitters;
pub use desk::SubmittersConfig;
pub(crate) use link::{Desk, attend_links};
pub use protocol::{JobOrder, NodeStatus, Reason};

#[cfg(test)]
mod tests;
