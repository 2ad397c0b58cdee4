//! The C interface of fogcompute. `include/fogcompute.h` is made from it.
//!
//! Every function converts its arguments, calls the facade once and converts the result. The
//! conversions, the last error and the guard against panics are in `support`; the rest is one file
//! for each part of the facade.
//!
//! The doc comments of this crate are the documentation of the header, so they are written for C.

// The types have the names of the header, so that a search finds both.
#![expect(non_camel_case_types, reason = "the names are those of the C header")]

mod completions;
mod coordination;
mod fog;
mod harvest;
mod ledger;
mod mesh;
mod mixnet;
mod optimise;
mod place;
mod sphinx;
mod status;
mod support;
mod worker;

pub use coordination::*;
pub use fog::*;
pub use harvest::*;
pub use ledger::*;
pub use mesh::*;
pub use mixnet::*;
pub use optimise::*;
pub use place::*;
pub use sphinx::*;
pub use status::*;
pub use worker::*;

/// Size of a node's identifier as text: 64 hexadecimal digits and a NUL byte.
pub const FOG_NODE_ID_SIZE: usize = 65;

/// Size of a node's reference as text: the first 16 digits of its identifier and a NUL byte.
pub const FOG_NODE_REF_SIZE: usize = 17;

/// Size of every other identifier as text: 32 hexadecimal digits and a NUL byte.
pub const FOG_ID_SIZE: usize = 33;

/// Size of an amount as text: up to 39 decimal digits and a NUL byte.
pub const FOG_AMOUNT_SIZE: usize = 40;

/// Bytes of a public or a private key.
pub const FOG_KEY_BYTES: usize = 32;

/// Size of a network address as text: an IP address, a colon, a port and a NUL byte.
pub const FOG_ADDRESS_SIZE: usize = 64;

/// Size of a mesh's peer as text: 16 hexadecimal digits and a NUL byte.
pub const FOG_PEER_ID_SIZE: usize = 17;

/// Size of what names a mesh's file as text: 64 hexadecimal digits and a NUL byte.
pub const FOG_FILE_ID_SIZE: usize = 65;

/// Size of a contact as text: node, key and epoch with colons between them, and a NUL byte.
pub const FOG_CONTACT_SIZE: usize = 135;
