//! What a fog looks like, as its coordinator tells it.
//!
//! | bytes | item |
//! |---|---|
//! | 8 | when, Unix milliseconds, `u64` |
//! | 32 | the coordinator |
//! | 21 | where it is: [`Coordinate::encode`] |
//! | 2 + … | `u16` count, nodes |
//! | 2 + … | `u16` count, snapshots |
//!
//! A node is a node as in the list of nodes, then code of its kind `u8`, whether its link is up `u8`,
//! free processors and memory `u64` each, whether its place is known `u8`, and the place. A snapshot is
//! when `u64`; nodes of each kind and of each status, by code, `u32` each; processors, memory and disk
//! that are lent, and what is free of each, `u64` each; tasks that run and that wait `u32` each.

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{NodeId, UnixMillis};
use fogcompute_coord::routing::Capacity;
use fogcompute_coord::topology::{SNAPSHOTS_MAX, Snapshot};
use fogcompute_coord::{Coordinate, NodeKind, NodeView};

use super::protocol::{NODES_MAX, NodeStatus, read_all, read_flag, read_node, unknown, write_node};
use crate::coordinate::CoordinatorService;
use crate::protocol::Role;

/// A fog at one moment, and in numbers before it.
#[derive(Clone, Debug, PartialEq)]
pub struct FogTopology {
    /// When, by the coordinator's clock.
    pub at: UnixMillis,
    /// Who told it.
    pub coordinator: NodeId,
    /// Where the coordinator is among its nodes, as far as round trips have told.
    pub coordinate: Coordinate,
    /// Every node that is there.
    pub nodes: Vec<TopologyNode>,
    /// How many compute nodes there were, what they lent and did, the oldest first. At most
    /// [`SNAPSHOTS_MAX`](fogcompute_coord::topology::SNAPSHOTS_MAX), since the coordinator was
    /// started.
    pub history: Vec<Snapshot>,
}

/// A node of a [`FogTopology`].
#[derive(Clone, Debug, PartialEq)]
pub struct TopologyNode {
    /// How it is.
    pub status: NodeStatus,
    /// What kind of node it is.
    pub kind: NodeKind,
    /// Whether the link between it and the coordinator is up. Of other links between nodes the
    /// coordinator does not know.
    pub linked: bool,
    /// Thousandths of a processor that nothing is promised of.
    pub free_cpu_millis: u64,
    /// Memory that nothing is promised of, in bytes.
    pub free_memory_bytes: u64,
    /// Where it is among the others, once round trips were measured.
    pub coordinate: Option<Coordinate>,
}

pub(super) fn write_topology(topology: &FogTopology, out: &mut Writer) {
    // There are never more of either than their limits.
    let count = |items: usize| u16::try_from(items).unwrap_or(u16::MAX);
    out.u64(topology.at.0);
    out.raw(topology.coordinator.as_bytes());
    out.raw(&topology.coordinate.encode());
    out.u16(count(topology.nodes.len()));
    for node in &topology.nodes {
        write_node(&node.status, out);
        out.u8(node.kind.code());
        out.u8(node.linked.into());
        out.u64(node.free_cpu_millis);
        out.u64(node.free_memory_bytes);
        out.u8(node.coordinate.is_some().into());
        if let Some(place) = &node.coordinate {
            out.raw(&place.encode());
        }
    }
    out.u16(count(topology.history.len()));
    for snapshot in &topology.history {
        write_snapshot(snapshot, out);
    }
}

pub(super) fn read_topology(reader: &mut Reader<'_>) -> Result<FogTopology, DecodeError> {
    Ok(FogTopology {
        at: UnixMillis(reader.u64()?),
        coordinator: NodeId::from_bytes(reader.array()?),
        coordinate: read_place(reader)?,
        nodes: read_all(reader, NODES_MAX, read_topology_node)?,
        history: read_all(reader, SNAPSHOTS_MAX, read_snapshot)?,
    })
}

fn read_topology_node(reader: &mut Reader<'_>) -> Result<TopologyNode, DecodeError> {
    let status = read_node(reader)?;
    let (at, code) = (reader.position(), reader.u8()?);
    Ok(TopologyNode {
        status,
        kind: NodeKind::from_code(code).map_err(|_| unknown(at, code.into()))?,
        linked: read_flag(reader)?,
        free_cpu_millis: reader.u64()?,
        free_memory_bytes: reader.u64()?,
        coordinate: match read_flag(reader)? {
            true => Some(read_place(reader)?),
            false => None,
        },
    })
}

fn read_place(reader: &mut Reader<'_>) -> Result<Coordinate, DecodeError> {
    let at = reader.position();
    // What is wrong inside of a place is said by where it is.
    Coordinate::decode(reader.take(Coordinate::LEN)?).map_err(|_| unknown(at, 0))
}

fn write_snapshot(snapshot: &Snapshot, out: &mut Writer) {
    let count = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
    out.u64(snapshot.at.0);
    for nodes in snapshot.kinds.iter().chain(&snapshot.statuses) {
        out.u32(count(*nodes));
    }
    for capacity in [&snapshot.total, &snapshot.free] {
        out.u64(capacity.cpu_millis);
        out.u64(capacity.memory_bytes);
        out.u64(capacity.storage_bytes);
    }
    out.u32(count(snapshot.running));
    out.u32(count(snapshot.waiting));
}

fn read_snapshot(reader: &mut Reader<'_>) -> Result<Snapshot, DecodeError> {
    let at = UnixMillis(reader.u64()?);
    let count = |reader: &mut Reader<'_>| Ok(reader.u32()? as usize);
    let (mut kinds, mut statuses) = Default::default();
    let kinds_of: &mut [usize; 5] = &mut kinds;
    for nodes in kinds_of {
        *nodes = count(reader)?;
    }
    let statuses_of: &mut [usize; 7] = &mut statuses;
    for nodes in statuses_of {
        *nodes = count(reader)?;
    }
    let capacity = |reader: &mut Reader<'_>| {
        Ok(Capacity {
            cpu_millis: reader.u64()?,
            memory_bytes: reader.u64()?,
            storage_bytes: reader.u64()?,
        })
    };
    Ok(Snapshot {
        at,
        kinds,
        statuses,
        total: capacity(reader)?,
        free: capacity(reader)?,
        running: count(reader)?,
        waiting: count(reader)?,
    })
}

impl CoordinatorService {
    /// The fog as it is now.
    pub(super) fn fog_topology(&self) -> FogTopology {
        let rules = self.rules();
        let views = rules.nodes();
        let view = |node: NodeId| -> Option<&NodeView> {
            let found = views.binary_search_by_key(&node, |view| view.node).ok()?;
            views.get(found)
        };
        let nodes = self.node_statuses().into_iter().map(|status| {
            let known = match status.role {
                Role::Compute => view(status.node),
                Role::Mix { .. } => None,
            };
            let free = known.map_or((0, 0), |known| {
                let busy = (known.running as u64).saturating_mul(1_000);
                (
                    status.cpu_millis.saturating_sub(busy),
                    status.memory_bytes.saturating_sub(known.memory_bytes),
                )
            });
            TopologyNode {
                kind: match (status.role, known) {
                    (Role::Mix { .. }, _) => NodeKind::Mixnode,
                    (Role::Compute, Some(known)) => known.kind,
                    (Role::Compute, None) => NodeKind::Compute,
                },
                linked: self.is_linked(status.node),
                free_cpu_millis: free.0,
                free_memory_bytes: free.1,
                coordinate: known.and_then(|known| known.coordinate),
                status,
            }
        });
        FogTopology {
            at: self.wall(),
            coordinator: self.descriptor().node,
            coordinate: *rules.coordinate(),
            nodes: nodes.collect(),
            history: rules.history().iter().copied().collect(),
        }
    }
}
