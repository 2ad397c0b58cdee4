//! Private messages between two nodes over TCP on this machine, each acknowledged, beside bare `snow` over TCP.
//!
//! The peer seals the same bytes in one session, its other end opens them and seals an answer. It has no packets
//! that others could pass on, no second session around them, no outbox, no retries, and no memory of what came.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fogcompute::base::{Clock, SystemClock};
use fogcompute::{MeshEvent, MeshNode, MeshNodeConfig};
use fogcompute_mesh::{DeliveryState, Event, Identity, MessageId, NodeConfig};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use snow::TransportState;

use super::{TEXT, shake_hands};
use crate::measure::{Effort, median, quantile};
use crate::row::{Output, Row};

/// Messages on their way at once: fewer than a node keeps for one peer.
const UNDER_WAY: usize = 64;
/// What has not come by then is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// One of both that are measured.
trait Side {
    /// Sends a message.
    fn send(&mut self) -> Result<(), Box<dyn Error>>;
    /// Waits until one more is acknowledged.
    fn answered(&mut self) -> Result<(), Box<dyn Error>>;
}

pub(super) fn run(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let (rounds, many, single) = match effort {
        Effort::Full => (11, 4000, 400),
        Effort::Smoke => (1, 2, 2),
    };
    let mut nodes = Nodes::start()?;
    let mut bare = Bare::start()?;
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for _ in 0..rounds {
        ours.measure(&mut nodes, many, single)?;
        theirs.measure(&mut bare, many, single)?;
    }
    bare.end()?;
    let mut all = |of: fn(&mut Times) -> f64| (of(&mut ours), of(&mut theirs));
    let (many, single) = (rounds * many, rounds * single);
    for (case, n, (ours, theirs)) in [
        (
            format!("message over TCP, {UNDER_WAY} at once"),
            many,
            all(|times| median(times.of_many.clone())),
        ),
        (
            "message over TCP, p50".to_owned(),
            single,
            all(|times| times.quantile(0.5)),
        ),
        (
            "message over TCP, p99".to_owned(),
            single,
            all(|times| times.quantile(0.99)),
        ),
    ] {
        output.print(Row {
            area: "mesh",
            case,
            ours,
            unit: "ns",
            peer: "snow over TCP".to_owned(),
            peer_version: env!("PEER_SNOW").to_owned(),
            theirs,
            ratio: theirs / ours,
            n: n as u64,
        })?;
    }
    Ok(())
}

/// What messages took, in nanoseconds.
#[derive(Default)]
struct Times {
    /// A message where many are under way, in each round.
    of_many: Vec<f64>,
    /// From sending to its acknowledgement, each alone.
    single: Vec<f64>,
}

impl Times {
    fn measure(
        &mut self,
        side: &mut impl Side,
        many: usize,
        single: usize,
    ) -> Result<(), Box<dyn Error>> {
        let clock = SystemClock::new();
        let begun = clock.now();
        for sent in 0..many {
            if sent >= UNDER_WAY {
                side.answered()?;
            }
            side.send()?;
        }
        for _ in 0..many.min(UNDER_WAY) {
            side.answered()?;
        }
        let took = clock.now().duration_since(begun).as_secs_f64();
        self.of_many.push(took * 1e9 / many as f64);
        for _ in 0..single {
            let begun = clock.now();
            side.send()?;
            side.answered()?;
            let took = clock.now().duration_since(begun).as_secs_f64();
            self.single.push(took * 1e9);
        }
        Ok(())
    }

    fn quantile(&mut self, share: f64) -> f64 {
        self.single.sort_by(f64::total_cmp);
        quantile(&self.single, share)
    }
}

/// Two nodes. What is on its way waits in memory, as it does without a file.
struct Nodes {
    alice: MeshNode,
    bob: MeshNode,
    under_way: BTreeSet<MessageId>,
}

impl Nodes {
    fn start() -> Result<Self, Box<dyn Error>> {
        let start = |nickname: &str| {
            MeshNode::start(MeshNodeConfig {
                nickname: nickname.to_owned(),
                // The limit for a link that floods, 500 packets a second, would be all there is to measure.
                rules: NodeConfig {
                    link_burst: u32::MAX,
                    link_packets_per_second: u32::MAX,
                    ..NodeConfig::default()
                },
                ..MeshNodeConfig::default()
            })
        };
        let mut nodes = Self {
            alice: start("alice")?,
            bob: start("bob")?,
            under_way: BTreeSet::new(),
        };
        nodes
            .alice
            .connect(nodes.bob.listen(SocketAddr::from(ANYWHERE))?)?;
        let joined = |event| matches!(event, MeshEvent::Mesh(Event::PeerJoined { .. }));
        while !joined(next(&nodes.alice)?) {}
        // With the first one they make their session.
        nodes.send()?;
        nodes.answered()?;
        Ok(nodes)
    }
}

fn next(node: &MeshNode) -> Result<MeshEvent, Box<dyn Error>> {
    let event = node.receive_within(LOST_AFTER)?;
    Ok(event.ok_or("a message was lost")?)
}

impl Side for Nodes {
    fn send(&mut self) -> Result<(), Box<dyn Error>> {
        let id = self.alice.send_private(self.bob.id(), TEXT)?;
        self.under_way.insert(id);
        Ok(())
    }

    fn answered(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            if let MeshEvent::Mesh(Event::Delivery {
                id,
                state: DeliveryState::Delivered,
            }) = next(&self.alice)?
                && self.under_way.remove(&id)
            {
                break;
            }
        }
        while let Some(event) = self.bob.try_receive()? {
            if let MeshEvent::Mesh(Event::Private { text, .. }) = event
                && text != TEXT
            {
                return Err("a message was changed".into());
            }
        }
        Ok(())
    }
}

/// The length of a sealed message goes before it.
fn write_sealed(
    socket: &mut TcpStream,
    session: &mut TransportState,
    message: &[u8],
) -> Result<(), Box<dyn Error>> {
    let mut frame = [0; 1024];
    let length = session.write_message(message, &mut frame[2..])?;
    frame[..2].copy_from_slice(&u16::try_from(length)?.to_be_bytes());
    Ok(socket.write_all(&frame[..2 + length])?)
}

/// `None` at the end of the connection.
fn read_sealed(
    socket: &mut BufReader<TcpStream>,
    session: &mut TransportState,
    message: &mut [u8],
) -> Result<Option<usize>, Box<dyn Error>> {
    let mut length = [0; 2];
    match socket.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut sealed = vec![0; u16::from_be_bytes(length).into()];
    socket.read_exact(&mut sealed)?;
    Ok(Some(session.read_message(&sealed, message)?))
}

/// A session of `snow` over a socket. The other end answers each message with its identifier.
struct Bare {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
    session: TransportState,
    message: Vec<u8>,
    echo: JoinHandle<Result<(), String>>,
}

impl Bare {
    fn start() -> Result<Self, Box<dyn Error>> {
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let secrets = [(); 2].map(|()| Identity::random(rng).to_bytes());
        let [session, theirs] = shake_hands([&secrets[0], &secrets[1]])?;
        let listener = TcpListener::bind(ANYWHERE)?;
        let socket = TcpStream::connect(listener.local_addr()?)?;
        let (accepted, _) = listener.accept()?;
        for socket in [&socket, &accepted] {
            socket.set_nodelay(true)?;
        }
        let id = MessageId::random(rng);
        Ok(Self {
            reader: BufReader::new(socket.try_clone()?),
            socket,
            session,
            message: [id.as_str(), TEXT].concat().into_bytes(),
            echo: thread::spawn(move || echo(accepted, theirs).map_err(|error| error.to_string())),
        })
    }

    fn end(self) -> Result<(), Box<dyn Error>> {
        self.socket.shutdown(Shutdown::Both)?;
        let echoed = self.echo.join().map_err(|_| "the echo panicked")?;
        Ok(echoed?)
    }
}

fn echo(mut socket: TcpStream, mut session: TransportState) -> Result<(), Box<dyn Error>> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut message = [0; 1024];
    while let Some(length) = read_sealed(&mut reader, &mut session, &mut message)? {
        let id = length - TEXT.len();
        write_sealed(&mut socket, &mut session, &message[..id])?;
    }
    Ok(())
}

impl Side for Bare {
    fn send(&mut self) -> Result<(), Box<dyn Error>> {
        write_sealed(&mut self.socket, &mut self.session, &self.message)
    }

    fn answered(&mut self) -> Result<(), Box<dyn Error>> {
        let mut id = [0; 1024];
        let length = read_sealed(&mut self.reader, &mut self.session, &mut id)?;
        let length = length.ok_or("the echo has gone")?;
        if !self.message.starts_with(&id[..length]) {
            return Err("the answer is another one".into());
        }
        Ok(())
    }
}
