//! A fog of processes from inside a program: who submits to it, a node of it, and its coordinator,
//! each on a thread of its own, for hosts that have no runtime of tokio.

mod access;
mod coordinator;
mod node;
#[cfg(test)]
mod tests;
mod thread;
mod watch;

pub use access::{FogAccess, FogCall};
pub use coordinator::FogCoordinator;
pub use node::FogNode;
pub(crate) use thread::runtime;
pub use watch::FogWatch;
