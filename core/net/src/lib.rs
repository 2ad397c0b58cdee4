//! Sockets for the rules: authenticated links over TCP and UDP, and mixnodes that really send.
//!
//! A [`Link`] is one TCP connection under Noise XX: both ends prove their long-term key, which is
//! their [`NodeId`](fogcompute_base::NodeId), and everything after the handshake is encrypted.
//! [`MixService`] runs one `fogcompute_mix::Mixnode` over such links: on every platform, and what
//! participants behind a router use, who can only begin connections.
//!
//! A [`UdpLink`] is the same in datagrams, all of one size, under Noise IK; [`UdpLinks`] makes and
//! renews them, without sockets of its own. `MixEngine`, on Unix, runs a mixnode over them with a
//! thread for each processor and no allocation for each packet: what a node takes that relays for
//! others. The two do not speak with each other; a network uses one.
//!
//! [`TcpLinks`] is a set of TCP links that carry frames, dialled again when they end: what a mesh runs
//! over where there is no radio. [`TcpTransport`] makes a
//! [`Transport`](fogcompute_transport::Transport) of it.
//!
//! On Linux, the features `ble-central` and `ble-linux` add Bluetooth radios in the module `ble`.
//!
//! What it does not do: cover traffic of its own accord beyond what keeps a UDP link alive, hole
//! punching, congestion control (the rates of a mixnet are its directory's matter).
//!
//! Meet [`Link`] and [`MixService`] first, then [`UdpLinks`].
//!
//! ```
//! use fogcompute_base::OsEntropy;
//! use fogcompute_net::{Identity, Link, Purpose};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (Identity::random(&mut OsEntropy), Identity::random(&mut OsEntropy));
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let dial = Link::dial(TcpStream::connect(address).await?, &alice, bob.node(), Purpose::Control);
//! let accept = async { Link::accept(listener.accept().await?.0, &bob).await };
//! let (mut to_bob, (mut to_alice, purpose)) = tokio::try_join!(dial, accept)?;
//! assert_eq!((to_alice.peer(), purpose), (alice.node(), Purpose::Control));
//! to_bob.send(b"hello").await?;
//! assert_eq!(to_alice.receive().await?, b"hello");
//! # Ok(())
//! # }
//! ```

#[cfg(all(
    target_os = "linux",
    any(feature = "ble-central", feature = "ble-linux")
))]
pub mod ble;
mod directory;
#[cfg(unix)]
mod engine;
mod identity;
mod link;
mod mix;
mod places;
mod tcp;
mod udp;

pub use directory::DirectoryError;
#[cfg(unix)]
pub use engine::{Busy, EngineConfig, EngineError, EngineHandle, EngineStats, MixEngine};
pub use identity::Identity;
pub use link::{Link, LinkError, LinkReader, LinkWriter, Purpose};
pub use mix::{LINK_IDLE_MAX, LinkStats, MixHandle, MixPermit, MixService, MixServiceConfig};
pub use tcp::{
    DialId, TCP_FRAME_BYTES_MAX, TcpConfig, TcpEvent, TcpEvents, TcpLinkId, TcpLinks, TcpSendError,
    TcpTransport,
};
pub use udp::{
    DATAGRAM_BYTES_MAX, DATAGRAM_OVERHEAD_BYTES, LANES, LinkExhausted, Opened, Refusal, UdpLink,
    UdpLinks, UdpLinksConfig, UdpLinksError, UdpTable, Unreachable,
};
