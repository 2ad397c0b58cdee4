//! Sockets for the rules: authenticated TCP links, and a mixnode that really sends.
//!
//! A [`Link`] is one TCP connection under Noise XX: both ends prove their long-term key, which is
//! their [`NodeId`](fogcompute_base::NodeId), and everything after the handshake is encrypted.
//! [`MixService`] runs one `fogcompute_mix::Mixnode` over such links.
//!
//! What it does not do: cover traffic on links, UDP, hole punching. Links are for TCP/IP networks.
//!
//! Meet [`Link`] and [`MixService`] first.
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

mod identity;
mod link;
mod mix;
mod places;

pub use identity::Identity;
pub use link::{Link, LinkError, LinkReader, LinkWriter, Purpose};
pub use mix::{
    DirectoryError, LINK_IDLE_MAX, LinkStats, MixHandle, MixPermit, MixService, MixServiceConfig,
};
