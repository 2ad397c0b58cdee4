//! A node whose Bluetooth radio is another program: what it asks of the radio and what it hears go over standard
//! output and input, a line each. The tests put it on the virtual controllers of `bumble`.
//!
//! Lines that begin with `*` are the node's: on the input what it is to do, on the output what happened.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufRead, Write as _};
use std::sync::mpsc;
use std::task::Waker;
use std::thread;

use fogcompute_base::{Clock, Instant, OsEntropy, SystemClock};
use fogcompute_mesh::file::File;
use fogcompute_mesh::{Content, Event, Identity, LinkConfig, LinkId, Node, NodeConfig, PeerId};
use fogcompute_transport::{
    Address, BleRadio, LinkEnded, RadioError, RadioEvent, RadioFailure, RadioInbox, RadioLimits,
    RadioLink, RadioLinkEvent, RadioLinks, RadioLinksConfig, RadioQueue, Role, WriteKind,
};

type Failure = Box<dyn Error>;

/// Values that the other program has not sent yet, for one connection.
const WAITING_MAX: usize = 4;

/// A radio at the other end of two pipes.
struct Piped {
    queue: RadioQueue,
    inbox: RadioInbox,
    /// How many values wait, and whether one was refused.
    waiting: BTreeMap<RadioLink, (usize, bool)>,
}

impl Piped {
    fn new() -> Self {
        let (inbox, queue) = RadioQueue::new();
        Self {
            queue,
            inbox,
            waiting: BTreeMap::new(),
        }
    }

    fn ask(command: &str) -> Result<(), RadioError> {
        let failed = |_| RadioError::Failed(RadioFailure::Host);
        let mut output = io::stdout().lock();
        writeln!(output, "{command}").map_err(failed)?;
        output.flush().map_err(failed)
    }

    fn give(&mut self, link: RadioLink, verb: &str, value: &[u8]) -> Result<(), RadioError> {
        let Some((waiting, was_refused)) = self.waiting.get_mut(&link) else {
            return Err(RadioError::NotConnected { link });
        };
        if *waiting >= WAITING_MAX {
            *was_refused = true;
            return Err(RadioError::Busy { link });
        }
        *waiting += 1;
        Self::ask(&format!("{verb} {} {}", link.0, to_hex(value)))
    }

    /// Takes what the other program says.
    fn hear(&mut self, line: &str) -> Result<(), Failure> {
        let words: Vec<_> = line.split(' ').collect();
        let link =
            |at: usize| Ok::<_, Failure>(RadioLink(words.get(at).ok_or("no link")?.parse()?));
        let peer = |at: usize| {
            let bytes = from_hex(words.get(at).ok_or("no peer")?)?;
            Address::new(&bytes).ok_or(Failure::from("the peer is too long"))
        };
        let event = match words[0] {
            "discovered" => RadioEvent::Discovered {
                peer: peer(1)?,
                rssi_dbm: words.get(2).ok_or("no loudness")?.parse()?,
                service_data: Vec::new(),
            },
            "connected" => {
                self.waiting.insert(link(1)?, (0, false));
                RadioEvent::Connected {
                    link: link(1)?,
                    peer: peer(2)?,
                    role: match words.get(3) {
                        Some(&"central") => Role::Central,
                        _ => Role::Peripheral,
                    },
                    mtu: words.get(4).ok_or("no MTU")?.parse()?,
                }
            }
            "connect-failed" => RadioEvent::ConnectFailed {
                peer: peer(1)?,
                failure: RadioFailure::Refused,
            },
            "subscribed" => RadioEvent::Subscribed { link: link(1)? },
            "received" => RadioEvent::Received {
                link: link(1)?,
                value: from_hex(words.get(2).ok_or("no value")?)?,
            },
            "left" => {
                let link = link(1)?;
                let Some((waiting, was_refused)) = self.waiting.get_mut(&link) else {
                    return Ok(());
                };
                *waiting = waiting.saturating_sub(1);
                if !std::mem::take(was_refused) {
                    return Ok(());
                }
                RadioEvent::Writable { link }
            }
            "disconnected" => {
                self.waiting.remove(&link(1)?);
                RadioEvent::Disconnected {
                    link: link(1)?,
                    ended: LinkEnded::ByPeer,
                }
            }
            other => return Err(format!("the radio says {other}").into()),
        };
        Ok(self.inbox.push(event)?)
    }
}

impl BleRadio for Piped {
    fn limits(&self) -> RadioLimits {
        RadioLimits {
            is_central: true,
            is_peripheral: true,
            links_max: 8,
        }
    }

    fn set_waker(&mut self, waker: Waker) {
        self.queue.set_waker(waker);
    }

    fn advertise(&mut self, _service_data: &[u8]) -> Result<(), RadioError> {
        Self::ask("advertise")
    }

    fn stop_advertising(&mut self) -> Result<(), RadioError> {
        Self::ask("stop-advertising")
    }

    fn scan(&mut self) -> Result<(), RadioError> {
        Self::ask("scan")
    }

    fn stop_scanning(&mut self) -> Result<(), RadioError> {
        Self::ask("stop-scanning")
    }

    fn connect(&mut self, peer: &Address) -> Result<(), RadioError> {
        Self::ask(&format!("connect {peer}"))
    }

    fn disconnect(&mut self, link: RadioLink) -> Result<(), RadioError> {
        Self::ask(&format!("disconnect {}", link.0))
    }

    fn write(&mut self, link: RadioLink, value: &[u8], kind: WriteKind) -> Result<(), RadioError> {
        let verb = match kind {
            WriteKind::WithResponse => "write",
            WriteKind::WithoutResponse => "write-without-response",
        };
        self.give(link, verb, value)
    }

    fn notify(&mut self, link: RadioLink, value: &[u8]) -> Result<(), RadioError> {
        self.give(link, "notify", value)
    }

    fn poll_event(&mut self) -> Option<RadioEvent> {
        self.queue.poll_event()
    }
}

/// A node and its links.
struct Host {
    node: Node,
    links: RadioLinks<Piped>,
}

impl Host {
    fn drive(&mut self, now: Instant) -> Result<(), Failure> {
        let (node, links) = (&mut self.node, &mut self.links);
        links.handle_timeout(now, &mut OsEntropy);
        if node.poll_timeout().is_some_and(|due| due <= now) {
            node.handle_timeout(now, &mut OsEntropy);
        }
        loop {
            while let Some(event) = links.poll_event() {
                match event {
                    RadioLinkEvent::Up {
                        link,
                        frame_bytes_max,
                        ..
                    } => {
                        let config = LinkConfig {
                            frame_bytes_max,
                            joins_writes: true,
                        };
                        node.link_up(LinkId(link.0), config, now);
                    }
                    RadioLinkEvent::Down { link, .. } => node.link_down(LinkId(link.0), now),
                    RadioLinkEvent::Received { link, value } => {
                        node.handle_input(LinkId(link.0), &value, now, &mut OsEntropy);
                    }
                    RadioLinkEvent::Full { link } => node.set_blocked(LinkId(link.0), true),
                    RadioLinkEvent::Ready { link } => node.set_blocked(LinkId(link.0), false),
                    _ => {}
                }
            }
            let Some(transmit) = node.poll_transmit() else {
                break;
            };
            links.send(RadioLink(transmit.link.0), &transmit.bytes, now)?;
        }
        let known: Vec<_> = node.links().collect();
        for (link, peer) in known {
            if let Some(who) = peer.and_then(|peer| Address::new(peer.as_bytes())) {
                links.identify(RadioLink(link.0), &who, now);
            }
        }
        while let Some(event) = node.poll_event() {
            tell(event);
        }
        Ok(())
    }

    /// Does what it is told.
    fn obey(&mut self, order: &str, now: Instant) -> Result<(), Failure> {
        let rng = &mut OsEntropy;
        let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "public" => {
                self.node.send_public(rest, now, rng)?;
            }
            "private" => {
                let (peer, text) = rest.split_once(' ').ok_or("no text")?;
                self.node.send_private(peer_id(peer)?, text, now, rng)?;
            }
            "file" => self.node.send_file(&noise(rest.parse()?), now, rng)?,
            "private-file" => {
                let (peer, length) = rest.split_once(' ').ok_or("no length")?;
                let content = Content::File(noise(length.parse()?));
                self.node.send_content(peer_id(peer)?, &content, now, rng)?;
            }
            "counters" => println!("* counters {:?}", self.node.counters()),
            other => return Err(format!("what is {other}").into()),
        }
        Ok(())
    }
}

fn peer_id(text: &str) -> Result<PeerId, Failure> {
    let bytes: [u8; 8] = from_hex(text)?.try_into().map_err(|_| "no peer")?;
    Ok(PeerId::from_bytes(bytes))
}

/// A file of so many bytes that cannot be made shorter, and are the same wherever they are made.
fn noise(length: usize) -> File {
    let seed = u64::try_from(length).unwrap_or(0).to_le_bytes();
    let mut content = vec![0; length];
    blake3::Hasher::new()
        .update(&seed)
        .finalize_xof()
        .fill(&mut content);
    File {
        name: Some(format!("{length}.bin")),
        mime: None,
        content,
    }
}

fn tell(event: Event) {
    match event {
        Event::PeerJoined { peer } => println!("* joined {peer}"),
        Event::SessionReady { peer, .. } => println!("* session {peer}"),
        Event::Public { from, text, .. } => println!("* public {from} {text}"),
        Event::Private { from, text, .. } => println!("* private {from} {text}"),
        Event::Delivery { state, .. } => println!("* delivery {state:?}"),
        Event::File {
            from,
            private,
            file,
        } => {
            let length = file.content.len();
            let is_whole = file == noise(length);
            let how = if private { "private-file" } else { "file" };
            println!("* {how} {from} {length} {is_whole}");
        }
        _ => {}
    }
}

fn main() -> Result<(), Failure> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let clock = SystemClock::new();
    let identity = Identity::random(&mut OsEntropy);
    let own = Address::new(identity.peer_id().as_bytes()).ok_or("eight bytes are short")?;
    let name = std::env::args().nth(1).unwrap_or("radio".to_owned());
    let (unix, now) = (clock.unix_now(), clock.now());
    let mut host = Host {
        node: Node::new(identity, name, NodeConfig::default(), unix, now)?,
        links: RadioLinks::new(Piped::new(), own, RadioLinksConfig::default(), now),
    };
    println!("* id {}", host.node.id());
    loop {
        let now = clock.now();
        host.drive(now)?;
        io::stdout().flush()?;
        let due = [host.node.poll_timeout(), host.links.poll_timeout()];
        let due = due.into_iter().flatten().min().unwrap_or(now);
        match lines.recv_timeout(due.duration_since(now)) {
            Ok(line) => match line.strip_prefix("* ") {
                Some(order) => host.obey(order, clock.now())?,
                None => host.links.radio().hear(&line)?,
            },
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            // Whoever started it has gone.
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Result<Vec<u8>, Failure> {
    let digits = text.as_bytes();
    digits
        .chunks(2)
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}
