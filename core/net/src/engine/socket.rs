//! Sockets that receive and send many datagrams in one call.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Type};

use crate::udp::DATAGRAM_BYTES_MAX;

use super::EngineError;

/// Most datagrams that leave in one call: 64 is what Linux takes.
const SEGMENTS_MAX: usize = 64;
/// Buffers of one receiving call where the kernel puts up to 64 datagrams into each.
const COALESCED_BUFFERS: usize = 8;
const COALESCED_BYTES: usize = 65_536;
/// Buffers of one receiving call where each takes one datagram.
const SINGLE_BUFFERS: usize = 32;
/// How long a full socket is waited for before what should leave is dropped.
const SEND_WAIT_MAX: Duration = Duration::from_millis(5);
/// The longest that a datagram is believed to have waited in the socket.
const AGE_MAX: Duration = Duration::from_millis(100);
/// The longest datagram that no path of 1,500 bytes takes apart, over IPv6 or IPv4.
const WHOLE_BYTES_MAX: usize = 1452;

/// One worker's socket.
pub(super) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    datagram_bytes: usize,
}

/// Where datagrams are received into.
pub(super) struct ReceiveBuffers {
    bytes: Box<[u8]>,
    buffer_bytes: usize,
    metas: Box<[RecvMeta]>,
}

/// Opens one socket for each worker, all on the same address.
pub(super) fn bind(
    address: SocketAddr,
    workers: usize,
    datagram_bytes: usize,
    buffer_bytes: usize,
) -> Result<Vec<Socket>, EngineError> {
    let open = |address: SocketAddr, share: Share| {
        let socket = socket2::Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )
        .map_err(EngineError::Socket)?;
        if share == Share::Join {
            socket.set_reuse_port(true).map_err(EngineError::Socket)?;
        }
        socket.bind(&address.into()).map_err(|source| {
            if source.kind() == io::ErrorKind::AddrInUse {
                EngineError::AddressInUse { address }
            } else {
                EngineError::Bind { address, source }
            }
        })?;
        if share == Share::Begin {
            socket.set_reuse_port(true).map_err(EngineError::Socket)?;
        }
        Socket::new(socket.into(), datagram_bytes, buffer_bytes).map_err(EngineError::Socket)
    };
    // The first one shares its port only once it has it: so another engine that is there already is
    // an error, and does not lose a half of its datagrams to this one.
    let share = if workers > 1 {
        Share::Begin
    } else {
        Share::Not
    };
    let mut sockets = vec![open(address, share)?];
    let address = sockets[0].local_address().map_err(EngineError::Socket)?;
    for _ in 1..workers {
        sockets.push(open(address, Share::Join)?);
    }
    Ok(sockets)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Share {
    Not,
    Begin,
    Join,
}

impl Socket {
    fn new(socket: UdpSocket, datagram_bytes: usize, buffer_bytes: usize) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        set_buffers(&socket, &state, buffer_bytes);
        if datagram_bytes > WHOLE_BYTES_MAX {
            allow_fragments(&socket);
        }
        Ok(Self {
            socket,
            state,
            datagram_bytes,
        })
    }

    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn receive_buffers(&self) -> ReceiveBuffers {
        let (count, buffer_bytes) = if self.state.gro_segments() > 1 {
            (COALESCED_BUFFERS, COALESCED_BYTES)
        } else {
            // One more, so that a longer datagram is not cut to the right length.
            (SINGLE_BUFFERS, self.datagram_bytes + 1)
        };
        ReceiveBuffers {
            bytes: vec![0; count * buffer_bytes].into_boxed_slice(),
            buffer_bytes,
            metas: vec![RecvMeta::default(); count].into_boxed_slice(),
        }
    }

    /// Receives what is there, without waiting; returns in how many buffers it is.
    pub(super) fn receive(&self, into: &mut ReceiveBuffers) -> io::Result<usize> {
        let mut rest = into.bytes.chunks_exact_mut(into.buffer_bytes);
        let mut slices: [_; SINGLE_BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
        let count = into.metas.len();
        self.state.recv(
            UdpSockRef::from(&self.socket),
            &mut slices[..count],
            &mut into.metas,
        )
    }

    /// Most datagrams that [`Socket::send`] takes at once.
    pub(super) fn segments_max(&self) -> usize {
        let room = DATAGRAM_BYTES_MAX / self.datagram_bytes;
        self.state
            .max_gso_segments()
            .min(SEGMENTS_MAX)
            .min(room)
            .max(1)
    }

    /// Sends datagrams that lie one after the other to one address; returns how many left.
    pub(super) fn send(&self, to: SocketAddr, datagrams: &[u8]) -> usize {
        let bytes = self.datagram_bytes;
        if datagrams.len() > bytes && self.send_once(to, datagrams) {
            return datagrams.len() / bytes;
        }
        // There is but one, or the way to this address does not take them together.
        datagrams
            .chunks(bytes)
            .filter(|datagram| self.send_once(to, datagram))
            .count()
    }

    fn send_once(&self, to: SocketAddr, contents: &[u8]) -> bool {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: (contents.len() > self.datagram_bytes).then_some(self.datagram_bytes),
            src_ip: None,
        };
        let mut waited = false;
        loop {
            match self
                .state
                .try_send(UdpSockRef::from(&self.socket), &transmit)
            {
                Ok(()) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !waited => {
                    waited = true;
                    let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
                    // Whatever comes of it, the next try tells.
                    let _ = poll(&mut fds, Some(&timespec(SEND_WAIT_MAX)));
                }
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ReceiveBuffers {
    /// The datagrams in the first `count` buffers, where each came from, and for how long it has been
    /// there, as far as the system tells.
    pub(super) fn datagrams(
        &self,
        count: usize,
    ) -> impl Iterator<Item = (SocketAddr, Duration, &[u8])> {
        let now = wall_time();
        self.bytes
            .chunks_exact(self.buffer_bytes)
            .zip(&self.metas)
            .take(count)
            .flat_map(move |(bytes, meta)| {
                let bytes = &bytes[..meta.len.min(bytes.len())];
                let age = meta.timestamp.map_or(Duration::ZERO, |stamp| {
                    // If the clock was set in between, this says nothing.
                    now.saturating_sub(stamp).min(AGE_MAX)
                });
                // An empty datagram has no stride, and is none.
                bytes
                    .chunks(meta.stride.max(1))
                    .map(move |datagram| (meta.addr, age, datagram))
            })
    }
}

/// By the clock by which the kernel stamps what it receives.
#[expect(
    clippy::disallowed_methods,
    reason = "only ages of datagrams are made of it, and `Clock` has milliseconds"
)]
fn wall_time() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Waits until there is something to read at one of two, or for a time.
pub(super) fn wait(one: impl AsFd, other: impl AsFd, time: Option<Duration>) {
    let mut fds = [
        PollFd::new(&one, PollFlags::IN),
        PollFd::new(&other, PollFlags::IN),
    ];
    // An interruption is like a timeout that comes early, which every caller has to expect.
    let _ = poll(&mut fds, time.map(timespec).as_ref());
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// As much as the system allows; what it allows beyond its usual limit it allows to few.
fn set_buffers(socket: &UdpSocket, state: &UdpSocketState, bytes: usize) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::net::sockopt;
        let received = sockopt::set_socket_recv_buffer_size_force(socket, bytes);
        let sent = sockopt::set_socket_send_buffer_size_force(socket, bytes);
        if received.is_ok() && sent.is_ok() {
            return;
        }
    }
    let _ = state.set_recv_buffer_size(UdpSockRef::from(socket), bytes);
    let _ = state.set_send_buffer_size(UdpSockRef::from(socket), bytes);
}

/// `UdpSocketState` forbids fragments, as QUIC wants it. For datagrams that are longer than paths
/// are there is no other way.
fn allow_fragments(socket: &UdpSocket) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
        // Fails for IPv6, over which long datagrams leave only by interfaces that take them whole.
        let _ = set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = socket;
}
