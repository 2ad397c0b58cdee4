//! Where nodes accept links.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fogcompute_base::NodeId;
use fogcompute_mix::{Descriptor, NodeRef};
use thiserror::Error;

/// A directory that cannot be used.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum DirectoryError {
    /// Two nodes have the same [`NodeRef`], so that packets for one could reach the other.
    #[error("node {node} has the reference of node {other}")]
    SameRef {
        /// The node found second.
        node: NodeId,
        /// The node found first.
        other: NodeId,
    },
}

/// Where nodes and clients accept links, by what packets call them.
pub(crate) type Directory = BTreeMap<NodeRef, (NodeId, SocketAddr)>;

pub(crate) fn directory<'a>(
    nodes: impl IntoIterator<Item = &'a Descriptor>,
) -> Result<Directory, DirectoryError> {
    let mut directory = Directory::new();
    for descriptor in nodes {
        let node = descriptor.node;
        let place = (node, descriptor.address);
        match directory.insert(node.into(), place) {
            Some((other, _)) if other != node => {
                return Err(DirectoryError::SameRef { node, other });
            }
            _ => {}
        }
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_mix::{EpochParity, PrivateKey};

    #[test]
    fn a_second_node_of_one_reference_is_refused() {
        let key = PrivateKey::from_bytes([1; 32]).public();
        let mut id = [7; 32];
        let mut descriptor = |last| {
            id[31] = last;
            Descriptor {
                node: NodeId::from_bytes(id),
                key,
                epoch: EpochParity::Even,
                address: ([127, 0, 0, 1], u16::from(last)).into(),
            }
        };
        let (first, twin) = (descriptor(1), descriptor(2));
        let known = directory([&first, &first]).unwrap();
        assert_eq!(
            known.get(&NodeRef::from_bytes([7; 8])),
            Some(&(first.node, first.address))
        );
        assert_eq!(
            directory([&first, &twin]),
            Err(DirectoryError::SameRef {
                node: twin.node,
                other: first.node
            })
        );
    }
}
