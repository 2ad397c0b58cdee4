use fogcompute::EngineStats;
use fogcompute::mix::{CoverStats, MixStats};

/// What became of the packets that reached a mixnode or a client.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_mix_stats {
    /// Packets that came in.
    pub received: u64,
    /// Packets sent on.
    pub forwarded: u64,
    /// Packets that were for this node.
    pub delivered: u64,
    /// Dropped: wrong length, version, epoch, tag, key or payload.
    pub malformed: u64,
    /// Dropped: processed before.
    pub replayed: u64,
    /// Dropped: a limit was reached.
    pub overloaded: u64,
    /// Dropped: its delay was over long ago.
    pub late: u64,
    /// Dropped: the sender asked for what this node does not do.
    pub refused: u64,
}

/// What the sockets and links of a mixnode or a client counted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_engine_stats {
    /// What became of the packets.
    pub mix: fog_mix_stats,
    /// Datagrams that came in.
    pub datagrams: u64,
    /// Cover of the links that came in.
    pub cover: u64,
    /// Packets sent.
    pub sent: u64,
    /// Datagrams of handshakes, and cover, sent.
    pub links_sent: u64,
    /// Datagrams dropped: another length than those of this network.
    pub length: u64,
    /// Datagrams dropped: neither data nor of a handshake.
    pub kind: u64,
    /// Datagrams dropped: no such link or handshake, or no more.
    pub index: u64,
    /// Datagrams dropped: did not verify.
    pub forged: u64,
    /// Datagrams dropped: came before.
    pub replayed: u64,
    /// Datagrams dropped: the peer, or all who start handshakes, are over their rate.
    pub over_rate: u64,
    /// Initiations dropped: no room for another link.
    pub full: u64,
    /// Packets dropped on their way in: it is ending.
    pub draining: u64,
    /// Packets dropped: their next hop is in no topology.
    pub unknown_peer: u64,
    /// Packets dropped: no link to their next hop in time.
    pub unreachable: u64,
    /// Packets and datagrams of handshakes dropped: the system did not send them.
    pub unsent: u64,
    /// Packets for this node dropped: nobody takes them.
    pub undelivered: u64,
    /// Packets dropped: still held at the end.
    pub undrained: u64,
}

/// What became of a client's cover traffic.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_cover_stats {
    /// Loops sent.
    pub loops_sent: u64,
    /// Loops that came back in time.
    pub loops_returned: u64,
    /// Loops that did not come back in time: lost on the way, or somebody drops packets.
    pub loops_lost: u64,
    /// Drops sent.
    pub drops_sent: u64,
    /// Drops of others that ended here.
    pub drops_received: u64,
}

impl From<MixStats> for fog_mix_stats {
    fn from(stats: MixStats) -> Self {
        Self {
            received: stats.received,
            forwarded: stats.forwarded,
            delivered: stats.delivered,
            malformed: stats.malformed,
            replayed: stats.replayed,
            overloaded: stats.overloaded,
            late: stats.late,
            refused: stats.refused,
        }
    }
}

impl From<EngineStats> for fog_engine_stats {
    fn from(stats: EngineStats) -> Self {
        Self {
            mix: stats.mix.into(),
            datagrams: stats.datagrams,
            cover: stats.cover,
            sent: stats.sent,
            links_sent: stats.links_sent,
            length: stats.length,
            kind: stats.kind,
            index: stats.index,
            forged: stats.forged,
            replayed: stats.replayed,
            over_rate: stats.over_rate,
            full: stats.full,
            draining: stats.draining,
            unknown_peer: stats.unknown_peer,
            unreachable: stats.unreachable,
            unsent: stats.unsent,
            undelivered: stats.undelivered,
            undrained: stats.undrained,
        }
    }
}

impl From<CoverStats> for fog_cover_stats {
    fn from(stats: CoverStats) -> Self {
        Self {
            loops_sent: stats.loops_sent,
            loops_returned: stats.loops_returned,
            loops_lost: stats.loops_lost,
            drops_sent: stats.drops_sent,
            drops_received: stats.drops_received,
        }
    }
}
