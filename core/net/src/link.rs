//! One authenticated, encrypted TCP connection.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::NodeId;
use fogcompute_base::limits::FRAME_BYTES_MAX;
use snow::{Builder, HandshakeState, StatelessTransportState};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::identity::Identity;
use crate::places::{Attendance, Place};

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"fogcompute-link/1";
/// Most bytes of one Noise message (Noise specification §3).
const NOISE_BYTES_MAX: usize = 65_535;
const TAG_BYTES: usize = 16;
/// Plaintext of one Noise message: a flag and this many bytes of the frame.
const PART_BYTES_MAX: usize = NOISE_BYTES_MAX - TAG_BYTES - 1;
const MORE: u8 = 1;
const LAST: u8 = 0;
/// A peer that has not finished its handshake by then is disconnected.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a link cannot be made or has ended.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum LinkError {
    /// The connection failed or was closed.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The peer does not speak the protocol, or does not hold the key it claims.
    #[error("handshake or decryption failed")]
    Noise,
    /// The peer is somebody else.
    #[error("expected node {expected}, found {found}")]
    WrongPeer {
        /// Who was dialled.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// A frame is longer than links carry.
    #[error("frame of {actual} bytes exceeds {max}")]
    FrameTooLong {
        /// Bytes announced or given.
        actual: usize,
        /// Most bytes.
        max: usize,
    },
    /// The peer sent something that has no meaning at this point.
    #[error("unexpected frame")]
    Protocol,
    /// The peer did not finish its handshake in time.
    #[error("handshake took longer than {limit:?}")]
    HandshakeTimeout {
        /// Time allowed.
        limit: Duration,
    },
    /// The peer opened the link and then sent nothing for too long.
    #[error("nothing came for {limit:?}")]
    Idle {
        /// Time allowed.
        limit: Duration,
    },
    /// The peer has opened a newer link for the same purpose.
    #[error("replaced by a newer link of the same peer")]
    Replaced,
}

impl From<snow::Error> for LinkError {
    fn from(_: snow::Error) -> Self {
        // Which step failed says nothing a caller could act on, and nothing a peer should learn.
        Self::Noise
    }
}

/// What a link is for, said by the dialling side inside the handshake.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Purpose {
    /// Sphinx packets, one a frame.
    Mix,
    /// Messages between a node and its coordinator.
    Control,
    /// What submitters ask of a coordinator.
    Submit,
    /// Frames of a mesh, and of [`TcpLinks`](crate::TcpLinks) in general.
    Frames,
}

impl Purpose {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Mix => 1,
            Self::Control => 2,
            Self::Submit => 3,
            Self::Frames => 4,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Mix),
            2 => Some(Self::Control),
            3 => Some(Self::Submit),
            4 => Some(Self::Frames),
            _ => None,
        }
    }
}

/// One TCP connection under `Noise_XX_25519_ChaChaPoly_BLAKE2s`, prologue `fogcompute-link/1`.
///
/// | step | bytes |
/// |---|---|
/// | handshake | three messages, each `u16` length and the Noise message; the third carries the purpose, one byte |
/// | frame | one or more Noise messages, each `u16` length and ciphertext; plaintext: flag (1 more, 0 last), then bytes |
///
/// Source: Perrin, "The Noise Protocol Framework", revision 34.
pub struct Link {
    reader: LinkReader,
    writer: LinkWriter,
}

/// The half of a [`Link`] that receives.
pub struct LinkReader {
    stream: OwnedReadHalf,
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    peer: NodeId,
    /// Only links that a service accepted are attended.
    attendance: Option<Attendance>,
}

/// The half of a [`Link`] that sends.
pub struct LinkWriter {
    stream: OwnedWriteHalf,
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    peer: NodeId,
    /// The link counts against the limit until both halves are gone.
    _place: Option<Arc<Place>>,
}

impl Link {
    /// Makes a link to `expected` over a connection this side opened.
    ///
    /// # Errors
    /// [`LinkError`]; [`LinkError::WrongPeer`] if somebody else answers.
    pub async fn dial(
        stream: TcpStream,
        identity: &Identity,
        expected: NodeId,
        purpose: Purpose,
    ) -> Result<Self, LinkError> {
        Self::dial_within(stream, identity, Some(expected), purpose, HANDSHAKE_TIMEOUT).await
    }

    /// The same, to whoever answers unless somebody is expected.
    pub(crate) async fn dial_within(
        stream: TcpStream,
        identity: &Identity,
        expected: Option<NodeId>,
        purpose: Purpose,
        limit: Duration,
    ) -> Result<Self, LinkError> {
        in_time(limit, async {
            let mut stream = prepared(stream)?;
            let mut noise = builder(identity)?.build_initiator()?;
            write_handshake(&mut stream, &mut noise, &[]).await?;
            read_handshake(&mut stream, &mut noise).await?;
            let found = remote(&noise)?;
            if let Some(expected) = expected
                && found != expected
            {
                return Err(LinkError::WrongPeer { expected, found });
            }
            write_handshake(&mut stream, &mut noise, &[purpose.to_byte()]).await?;
            Self::established(stream, noise, found)
        })
        .await
    }

    /// Makes a link over a connection the peer opened; returns what it is for.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn accept(
        stream: TcpStream,
        identity: &Identity,
    ) -> Result<(Self, Purpose), LinkError> {
        Self::accept_within(stream, identity, HANDSHAKE_TIMEOUT).await
    }

    pub(crate) async fn accept_within(
        stream: TcpStream,
        identity: &Identity,
        limit: Duration,
    ) -> Result<(Self, Purpose), LinkError> {
        in_time(limit, async {
            let mut stream = prepared(stream)?;
            let mut noise = builder(identity)?.build_responder()?;
            read_handshake(&mut stream, &mut noise).await?;
            write_handshake(&mut stream, &mut noise, &[]).await?;
            let purpose = match read_handshake(&mut stream, &mut noise).await?.as_slice() {
                [byte] => Purpose::from_byte(*byte).ok_or(LinkError::Protocol)?,
                _ => return Err(LinkError::Protocol),
            };
            let peer = remote(&noise)?;
            Ok((Self::established(stream, noise, peer)?, purpose))
        })
        .await
    }

    fn established(
        stream: TcpStream,
        noise: HandshakeState,
        peer: NodeId,
    ) -> Result<Self, LinkError> {
        let noise = Arc::new(noise.into_stateless_transport_mode()?);
        let (read, write) = stream.into_split();
        Ok(Self {
            reader: LinkReader {
                stream: read,
                noise: Arc::clone(&noise),
                nonce: 0,
                peer,
                attendance: None,
            },
            writer: LinkWriter {
                stream: write,
                noise,
                nonce: 0,
                peer,
                _place: None,
            },
        })
    }

    /// The link in its place among those that were accepted.
    pub(crate) fn attended(mut self, (place, attendance): (Arc<Place>, Attendance)) -> Self {
        self.reader.attendance = Some(attendance);
        self.writer._place = Some(place);
        self
    }

    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> NodeId {
        self.reader.peer
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// [`LinkError::FrameTooLong`], [`LinkError::Io`].
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        self.writer.send(frame).await
    }

    /// Receives one frame. If the future is dropped half-way the link must be dropped too.
    ///
    /// # Errors
    /// [`LinkError`]; the link has ended.
    pub async fn receive(&mut self) -> Result<Vec<u8>, LinkError> {
        self.reader.receive().await
    }

    /// Splits the link, so that two tasks can send and receive at once.
    #[must_use]
    pub fn into_split(self) -> (LinkReader, LinkWriter) {
        (self.reader, self.writer)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(to {})", self.peer())
    }
}

impl LinkWriter {
    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// [`LinkError::FrameTooLong`], [`LinkError::Io`].
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(LinkError::FrameTooLong {
                actual: frame.len(),
                max: FRAME_BYTES_MAX,
            });
        }
        let parts = frame.len().div_ceil(PART_BYTES_MAX).max(1);
        let part_bytes = frame.len().min(PART_BYTES_MAX);
        let mut plaintext = Vec::with_capacity(1 + part_bytes);
        let mut ciphertext = vec![0; 1 + part_bytes + TAG_BYTES];
        let mut wire = Vec::with_capacity(2 + ciphertext.len());
        // Part by part, so that a peer that does not read holds no more than one of them here.
        for index in 0..parts {
            let start = index * PART_BYTES_MAX;
            let end = frame.len().min(start + PART_BYTES_MAX);
            plaintext.clear();
            plaintext.push(if index + 1 < parts { MORE } else { LAST });
            plaintext.extend_from_slice(&frame[start..end]);
            let length = self
                .noise
                .write_message(self.nonce, &plaintext, &mut ciphertext)?;
            self.nonce += 1;
            wire.clear();
            push_part(&mut wire, &ciphertext[..length])?;
            self.stream.write_all(&wire).await?;
        }
        Ok(())
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&mut self) -> Result<(), LinkError> {
        Ok(self.stream.shutdown().await?)
    }
}

impl LinkReader {
    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// Receives one frame. If the future is dropped half-way the link must be dropped too.
    ///
    /// # Errors
    /// [`LinkError`]; the link has ended.
    pub async fn receive(&mut self) -> Result<Vec<u8>, LinkError> {
        self.receive_up_to(FRAME_BYTES_MAX).await
    }

    /// What [`LinkReader::receive`] does, but for frames of at most `bytes_max` bytes: for readers
    /// of a protocol whose messages are shorter.
    ///
    /// # Errors
    /// [`LinkError`]; the link has ended.
    pub async fn receive_up_to(&mut self, bytes_max: usize) -> Result<Vec<u8>, LinkError> {
        let frame = read_frame(&mut self.stream, &self.noise, &mut self.nonce, bytes_max);
        match &mut self.attendance {
            Some(attendance) => attendance.attend(frame).await,
            None => frame.await,
        }
    }
}

impl LinkReader {
    /// Reads until the peer sends nothing more, and looks at nothing: a connection that is closed with
    /// something unread in it takes what was sent over it along.
    pub(crate) async fn drain(&mut self) {
        let mut rest = [0; 4096];
        while matches!(self.stream.read(&mut rest).await, Ok(1..)) {}
    }
}

async fn read_frame(
    stream: &mut OwnedReadHalf,
    noise: &StatelessTransportState,
    nonce: &mut u64,
    bytes_max: usize,
) -> Result<Vec<u8>, LinkError> {
    let max = bytes_max.min(FRAME_BYTES_MAX);
    let mut frame = Vec::new();
    loop {
        let ciphertext = read_part(stream).await?;
        let mut plaintext = vec![0; ciphertext.len()];
        let length = noise.read_message(*nonce, &ciphertext, &mut plaintext)?;
        *nonce += 1;
        let Some((&flag, part)) = plaintext[..length].split_first() else {
            return Err(LinkError::Protocol);
        };
        let actual = frame.len() + part.len();
        if actual > max {
            return Err(LinkError::FrameTooLong { actual, max });
        }
        frame.extend_from_slice(part);
        match flag {
            LAST => return Ok(frame),
            MORE if !part.is_empty() => {}
            _ => return Err(LinkError::Protocol),
        }
    }
}

async fn in_time<T>(
    limit: Duration,
    handshake: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    tokio::time::timeout(limit, handshake)
        .await
        .unwrap_or(Err(LinkError::HandshakeTimeout { limit }))
}

/// Frames are written whole, so waiting for more to send would only add delay.
fn prepared(stream: TcpStream) -> Result<TcpStream, LinkError> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn builder(identity: &Identity) -> Result<Builder<'_>, LinkError> {
    let params = PATTERN.parse().map_err(|_| LinkError::Noise)?;
    Ok(Builder::new(params)
        .local_private_key(identity.secret())?
        .prologue(PROLOGUE)?)
}

fn remote(noise: &HandshakeState) -> Result<NodeId, LinkError> {
    let key = noise.get_remote_static().ok_or(LinkError::Noise)?;
    Ok(NodeId::from_bytes(
        key.try_into().map_err(|_| LinkError::Noise)?,
    ))
}

async fn write_handshake(
    stream: &mut TcpStream,
    noise: &mut HandshakeState,
    payload: &[u8],
) -> Result<(), LinkError> {
    let mut message = [0; 256];
    let length = noise.write_message(payload, &mut message)?;
    let mut wire = Vec::with_capacity(2 + length);
    push_part(&mut wire, &message[..length])?;
    stream.write_all(&wire).await?;
    Ok(())
}

async fn read_handshake(
    stream: &mut TcpStream,
    noise: &mut HandshakeState,
) -> Result<Vec<u8>, LinkError> {
    let message = read_part(stream).await?;
    let mut payload = vec![0; message.len()];
    let length = noise.read_message(&message, &mut payload)?;
    payload.truncate(length);
    Ok(payload)
}

fn push_part(wire: &mut Vec<u8>, part: &[u8]) -> Result<(), LinkError> {
    let length = u16::try_from(part.len()).map_err(|_| LinkError::Noise)?;
    wire.extend_from_slice(&length.to_be_bytes());
    wire.extend_from_slice(part);
    Ok(())
}

async fn read_part(stream: &mut (impl AsyncReadExt + Unpin)) -> Result<Vec<u8>, LinkError> {
    let length = stream.read_u16().await?;
    let mut part = vec![0; usize::from(length)];
    stream.read_exact(&mut part).await?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::OsEntropy;
    use tokio::net::TcpListener;

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dial = TcpStream::connect(listener.local_addr().unwrap());
        let (dialled, accepted) = tokio::join!(dial, listener.accept());
        (dialled.unwrap(), accepted.unwrap().0)
    }

    async fn linked() -> (Link, Link) {
        let (alice, bob) = (
            Identity::random(&mut OsEntropy),
            Identity::random(&mut OsEntropy),
        );
        let (dialled, accepted) = connected().await;
        let (dialler, acceptor) = tokio::join!(
            Link::dial(dialled, &alice, bob.node(), Purpose::Mix),
            Link::accept(accepted, &bob),
        );
        let (acceptor, purpose) = acceptor.unwrap();
        assert_eq!((purpose, acceptor.peer()), (Purpose::Mix, alice.node()));
        (dialler.unwrap(), acceptor)
    }

    #[tokio::test]
    async fn frames_of_every_size_arrive_in_both_directions() {
        let (mut alice, mut bob) = linked().await;
        for size in [0, 1, PART_BYTES_MAX, PART_BYTES_MAX + 1, FRAME_BYTES_MAX] {
            let frame = vec![0xA5; size];
            let (sent, received) = tokio::join!(alice.send(&frame), bob.receive());
            sent.unwrap();
            assert_eq!(received.unwrap(), frame);
        }
        bob.send(b"back").await.unwrap();
        assert_eq!(alice.receive().await.unwrap(), b"back");
    }

    #[tokio::test]
    async fn a_frame_over_the_limit_is_refused_before_anything_is_sent() {
        let (mut alice, mut bob) = linked().await;
        let error = alice.send(&vec![0; FRAME_BYTES_MAX + 1]).await.unwrap_err();
        assert!(
            matches!(error, LinkError::FrameTooLong { actual, .. } if actual > FRAME_BYTES_MAX)
        );
        alice.send(b"next").await.unwrap();
        assert_eq!(bob.receive().await.unwrap(), b"next");
    }

    #[tokio::test]
    async fn the_wrong_peer_is_refused() {
        let identities: Vec<_> = (0..3).map(|_| Identity::random(&mut OsEntropy)).collect();
        let (dialled, accepted) = connected().await;
        let (dialler, _) = tokio::join!(
            Link::dial(
                dialled,
                &identities[0],
                identities[2].node(),
                Purpose::Control
            ),
            Link::accept(accepted, &identities[1]),
        );
        assert!(matches!(
            dialler,
            Err(LinkError::WrongPeer { expected, found })
                if expected == identities[2].node() && found == identities[1].node()
        ));
    }

    #[tokio::test]
    async fn garbage_and_changed_ciphertext_end_the_link() {
        let bob = Identity::random(&mut OsEntropy);
        let (mut dialled, accepted) = connected().await;
        dialled.write_all(&[0, 5, 1, 2, 3, 4, 5]).await.unwrap();
        assert!(matches!(
            Link::accept(accepted, &bob).await,
            Err(LinkError::Noise)
        ));

        let (mut alice, mut bob) = linked().await;
        alice.writer.stream.write_all(&[0, 17]).await.unwrap();
        alice.writer.stream.write_all(&[9; 17]).await.unwrap();
        assert!(matches!(bob.receive().await, Err(LinkError::Noise)));
    }

    #[tokio::test]
    async fn a_closed_connection_is_an_error() {
        let (alice, mut bob) = linked().await;
        drop(alice);
        assert!(matches!(bob.receive().await, Err(LinkError::Io(_))));
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_does_not_keep_a_handshake_open() {
        let identity = Identity::random(&mut OsEntropy);
        let (dialled, accepted) = connected().await;
        // The other side is there and silent; how long does not matter to what happens.
        let limit = Duration::from_millis(1);
        let refused = Link::accept_within(accepted, &identity, limit);
        let refused = tokio::time::timeout(HANDSHAKE_TIMEOUT, refused)
            .await
            .unwrap();
        assert!(matches!(refused, Err(LinkError::HandshakeTimeout { limit: l }) if l == limit));
        drop(dialled);
        let (dialled, _accepted) = connected().await;
        let refused = Link::dial_within(
            dialled,
            &identity,
            Some(identity.node()),
            Purpose::Mix,
            limit,
        );
        let refused = tokio::time::timeout(HANDSHAKE_TIMEOUT, refused)
            .await
            .unwrap();
        assert!(matches!(refused, Err(LinkError::HandshakeTimeout { limit: l }) if l == limit));
    }

    #[tokio::test]
    async fn a_reader_may_allow_less_than_links_carry() {
        let (mut alice, bob) = linked().await;
        let (mut bob, _writer) = bob.into_split();
        alice.send(&[1; 100]).await.unwrap();
        alice.send(&[1; 101]).await.unwrap();
        assert_eq!(bob.receive_up_to(100).await.unwrap(), [1; 100]);
        assert!(matches!(
            bob.receive_up_to(100).await,
            Err(LinkError::FrameTooLong {
                actual: 101,
                max: 100
            })
        ));
    }
}
