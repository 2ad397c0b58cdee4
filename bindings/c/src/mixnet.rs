mod client;
mod message;
mod node;
mod stats;
mod topology;

use std::ffi::c_char;

use crate::FOG_NODE_ID_SIZE;

pub use client::*;
pub use message::*;
pub use node::*;
pub use stats::*;
pub use topology::*;

/// A node's identifier as text.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_node_id {
    /// 64 hexadecimal digits and a NUL byte.
    pub text: [c_char; FOG_NODE_ID_SIZE],
}
