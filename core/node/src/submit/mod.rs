//! What submitters ask of a coordinator, over links of their own.
//!
//! [`protocol`] says what goes over a link, [`link`] attends to it, [`desk`] answers, and [`client`]
//! asks.

mod client;
mod desk;
mod link;
mod order;
pub(crate) mod protocol;
mod topology;
mod waiting;

pub use client::{FogClient, FogClientConfig, FogClientError, Watch, Watched};
pub(crate) use desk::Submitters;
pub use desk::SubmittersConfig;
pub(crate) use link::{Desk, attend_links};
pub use order::JobTerms;
pub use protocol::{JobOrder, NodeStatus, Reason};
pub use topology::{FogTopology, TopologyNode};
pub use waiting::{WaitingFor, WaitingTasks};

#[cfg(test)]
mod tests;
