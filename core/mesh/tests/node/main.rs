//! Nodes that talk to each other, and nodes that are talked to badly.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod fog;
mod large_groups;
mod ratchets;
mod refusals;
mod talks;
mod world;
