use std::net::Ipv4Addr;

use fogcompute_base::{Instant, OsEntropy, SystemClock};
use fogcompute_transport::conformance::Rig;
use fogcompute_transport::{Address, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::*;
use crate::link::{Link, Purpose};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// Two transports with a proxy between them, which can be cut.
struct Proxied {
    ends: [TcpTransport; 2],
    proxies: [Option<AbortHandle>; 2],
    sockets: [SocketAddr; 2],
    clock: Arc<dyn Clock>,
    runtime: Runtime,
}

impl Proxied {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let clock = clock();
        let ends = [0, 1].map(|_| {
            let identity = Identity::random(&mut OsEntropy);
            let handle = runtime.handle().clone();
            TcpTransport::new(identity, TcpConfig::default(), Arc::clone(&clock), handle)
        });
        let sockets = [0, 1].map(|end| ends[end].listen(LOCAL).unwrap());
        let mut rig = Self {
            ends,
            proxies: [None, None],
            sockets,
            clock,
            runtime,
        };
        rig.wire();
        rig
    }

    /// New proxies before both ends.
    fn wire(&mut self) {
        for end in 0..2 {
            let _runtime = self.runtime.enter();
            let listener = std::net::TcpListener::bind(LOCAL).unwrap();
            listener.set_nonblocking(true).unwrap();
            let route = listener.local_addr().unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            let to = self.sockets[end];
            let proxy = self.runtime.spawn(async move {
                let mut wires = tokio::task::JoinSet::new();
                while let Ok((mut near, _)) = listener.accept().await {
                    wires.spawn(async move {
                        let mut far = TcpStream::connect(to).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    });
                }
            });
            self.proxies[end] = Some(proxy.abort_handle());
            let node = self.ends[end].links().node();
            self.ends[1 - end].set_route(node, route);
        }
    }

    fn flow(&self, end: usize, of: usize) -> u64 {
        self.ends[end].links().shared.flow[of].load(Ordering::SeqCst)
    }

    fn linked(&self, end: usize) -> bool {
        !self.ends[end].links().shared.lock().links.is_empty()
    }

    /// Whether everything that one end sent was handed over, or waits for the host to take what was before.
    fn is_carried(&self, from: usize) -> bool {
        let to = 1 - from;
        let is_stuck = self.ends[to].links().shared.stuck.load(Ordering::SeqCst) > 0;
        if is_stuck && self.ends[to].has_events() {
            return true;
        }
        let state = self.ends[from].links().shared.lock();
        let waits = state.links.values().any(|link| link.lock().bytes > 0);
        !waits && self.flow(from, 0) == self.flow(to, 2)
    }

    /// Turns of the scheduler until it is so: nothing here depends on how long they take.
    fn settle_until(&mut self, done: impl Fn(&mut Self) -> bool) {
        while !done(self) {
            self.runtime.block_on(tokio::task::yield_now());
        }
    }
}

impl Rig for Proxied {
    fn address(&self, end: usize) -> Address {
        self.ends[end].address()
    }

    fn end(&mut self, end: usize) -> &mut dyn Transport {
        &mut self.ends[end]
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn settle(&mut self) {
        self.settle_until(|rig| {
            let dialling = (0..2).any(|end| rig.ends[end].is_dialling());
            let both = rig.linked(0) && rig.linked(1);
            let neither = !rig.linked(0) && !rig.linked(1);
            !dialling && (neither || both && rig.is_carried(0) && rig.is_carried(1))
        });
    }

    fn cut(&mut self) {
        for proxy in &mut self.proxies {
            proxy.take().unwrap().abort();
        }
        self.settle_until(|rig| !rig.linked(0) && !rig.linked(1));
        self.wire();
    }
}

mod conformance {
    fogcompute_transport::transport_conformance!(super::Proxied::new);
}

fn links(config: TcpConfig) -> (TcpLinks, TcpEvents, SocketAddr) {
    let identity = Identity::random(&mut OsEntropy);
    let (links, events) = TcpLinks::new(identity, config, clock(), Handle::current());
    let socket = links.listen(LOCAL).unwrap();
    (links, events, socket)
}

async fn up(events: &mut TcpEvents) -> TcpLinkId {
    match events.recv().await {
        Some(TcpEvent::Up { link, .. }) => link,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_address_is_dialled_until_somebody_is_there_and_again_when_the_link_ends() {
    let config = TcpConfig {
        redial_first: Duration::from_millis(1),
        ..TcpConfig::default()
    };
    let (here, mut heard, _) = links(config);
    // Nobody listens there yet.
    let socket = std::net::TcpListener::bind(LOCAL)
        .unwrap()
        .local_addr()
        .unwrap();
    let dial = here.dial(socket, None, true);
    let failed = heard.recv().await;
    assert!(matches!(failed, Some(TcpEvent::DialFailed { dial: of, .. }) if of == dial));
    for round in 0..2_u8 {
        let identity = Identity::random(&mut OsEntropy);
        let (there, mut theirs) = TcpLinks::new(identity, config, clock(), Handle::current());
        there.listen(socket).unwrap();
        let mut link = None;
        while link.is_none() {
            match heard.recv().await {
                Some(TcpEvent::Up { link: up, peer, .. }) => {
                    assert_eq!(peer, there.node());
                    link = Some(up);
                }
                Some(TcpEvent::DialFailed { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        here.send(link.unwrap(), &[round]).unwrap();
        let theirs_link = up(&mut theirs).await;
        let frame = TcpEvent::Frame {
            link: theirs_link,
            bytes: vec![round],
        };
        assert_eq!(theirs.recv().await, Some(frame));
        drop(there);
        let down = heard.recv().await;
        assert!(
            matches!(
                down,
                Some(TcpEvent::Down {
                    ended: Ended::Lost,
                    ..
                })
            ),
            "{down:?}"
        );
    }
}

#[tokio::test]
async fn of_two_links_that_were_dialled_at_once_both_ends_keep_the_same_one() {
    for _ in 0..8 {
        let ((a, mut a_heard, a_socket), (b, mut b_heard, b_socket)) =
            (links(TcpConfig::default()), links(TcpConfig::default()));
        a.dial(b_socket, Some(b.node()), true);
        b.dial(a_socket, Some(a.node()), true);
        // Whatever came and went meanwhile, what one says on the link it has, the other one hears on its own.
        let (mut to_b, mut to_a) = (up(&mut a_heard).await, up(&mut b_heard).await);
        let _ = (a.send(to_b, b"b"), b.send(to_a, b"a"));
        let mut heard = [false; 2];
        while heard != [true; 2] {
            let (event, at_a) = tokio::select! {
                event = a_heard.recv() => (event, true),
                event = b_heard.recv() => (event, false),
            };
            match event.unwrap() {
                TcpEvent::Up { link, .. } if at_a => {
                    to_b = link;
                    a.send(to_b, b"b").unwrap();
                }
                TcpEvent::Up { link, .. } => {
                    to_a = link;
                    b.send(to_a, b"a").unwrap();
                }
                TcpEvent::Frame { link, .. } if at_a => heard[0] = link == to_b,
                TcpEvent::Frame { link, .. } => heard[1] = link == to_a,
                _ => {}
            }
        }
        assert_eq!(
            (a.shared.lock().links.len(), b.shared.lock().links.len()),
            (1, 1)
        );
    }
}

#[tokio::test]
async fn who_dials_itself_or_finds_somebody_else_has_no_link() {
    let (here, mut heard, socket) = links(TcpConfig::default());
    let dial = here.dial(socket, None, false);
    let wrong = |dial| TcpEvent::DialFailed {
        dial,
        is_wrong_peer: true,
    };
    assert_eq!(heard.recv().await, Some(wrong(dial)));
    let (there, _theirs, socket) = links(TcpConfig::default());
    let dial = here.dial(socket, Some(here.node()), false);
    assert_eq!(heard.recv().await, Some(wrong(dial)));
    drop(there);
}

/// What an honest pair says while strangers misbehave on the same listener; gives how many other frames came.
async fn honest_pair_talks(here: &TcpLinks, heard: &mut TcpEvents, socket: SocketAddr) -> u64 {
    let (there, mut theirs, _) = links(TcpConfig::default());
    there.dial(socket, Some(here.node()), false);
    let to_here = up(&mut theirs).await;
    there.send(to_here, b"hello").unwrap();
    let mut others = 0;
    loop {
        match heard.recv().await.unwrap() {
            TcpEvent::Frame { bytes, .. } if bytes == b"hello" => return others,
            TcpEvent::Frame { .. } => others += 1,
            TcpEvent::Up { .. } | TcpEvent::Down { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn connections_that_never_finish_their_handshake_keep_nobody_out() {
    let config = TcpConfig {
        handshakes_max: 4,
        ..TcpConfig::default()
    };
    let (here, mut heard, socket) = links(config);
    let mut silent = Vec::new();
    for _ in 0..12 {
        let mut stream = TcpStream::connect(socket).await.unwrap();
        // A length, and then nothing of it.
        stream.write_all(&[0, 32, 7]).await.unwrap();
        silent.push(stream);
    }
    honest_pair_talks(&here, &mut heard, socket).await;
    // The oldest of them was closed, and not after its time had passed but at once.
    let mut oldest = silent.remove(0);
    assert!(matches!(oldest.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    assert!(here.shared.lock().handshakes.len() <= 4);
}

#[tokio::test]
async fn garbage_and_frames_that_mean_nothing_end_their_link_and_no_other() {
    let (here, mut heard, socket) = links(TcpConfig::default());
    let mut garbage = TcpStream::connect(socket).await.unwrap();
    garbage.write_all(&[0xA5; 4096]).await.unwrap();
    for bad in [&b""[..], &[9, 9], &[KEEP_ALIVE, 1], &[BYE, 1]] {
        let stranger = Identity::random(&mut OsEntropy);
        let stream = TcpStream::connect(socket).await.unwrap();
        let mut link = Link::dial(stream, &stranger, here.node(), Purpose::Frames)
            .await
            .unwrap();
        link.send(bad).await.unwrap();
        let id = up(&mut heard).await;
        let down = TcpEvent::Down {
            link: id,
            peer: stranger.node(),
            ended: Ended::Misbehaved,
        };
        assert_eq!(heard.recv().await, Some(down));
    }
    honest_pair_talks(&here, &mut heard, socket).await;
}

#[tokio::test]
async fn a_link_whose_frames_nobody_takes_is_read_no_further_and_holds_up_no_other() {
    let config = TcpConfig {
        window_bytes_max: 1000,
        ..TcpConfig::default()
    };
    let (here, mut heard, socket) = links(config);
    let (flooder, mut theirs, _) = links(TcpConfig::default());
    flooder.dial(socket, Some(here.node()), false);
    let to_here = up(&mut theirs).await;
    let mut sent = 0;
    while flooder.send(to_here, &[7; 500]).is_ok() {
        sent += 1;
    }
    // What waits here is what its window holds, and one more that was read.
    let mut came = honest_pair_talks(&here, &mut heard, socket).await;
    while came < sent {
        // Two that wait to be taken, one that waits for room, one that is being taken, and the greeting.
        assert!(here.shared.flow[1].load(Ordering::SeqCst) <= came + 5);
        if let Some(TcpEvent::Frame { bytes, .. }) = heard.recv().await
            && bytes.len() == 500
        {
            came += 1;
        }
    }
}

#[tokio::test]
async fn a_peer_that_trickles_a_frame_or_says_nothing_is_lost() {
    let config = TcpConfig {
        idle_max: Duration::from_millis(20),
        ..TcpConfig::default()
    };
    let (here, mut heard, socket) = links(config);
    let stranger = Identity::random(&mut OsEntropy);
    let stream = TcpStream::connect(socket).await.unwrap();
    let link = Link::dial(stream, &stranger, here.node(), Purpose::Frames).await;
    let id = up(&mut heard).await;
    let down = TcpEvent::Down {
        link: id,
        peer: stranger.node(),
        ended: Ended::Lost,
    };
    assert_eq!(heard.recv().await, Some(down));
    drop(link);
    // One that says every now and then that it is there stays.
    let there = TcpConfig {
        keep_alive: Duration::from_millis(1),
        ..TcpConfig::default()
    };
    let (there, mut theirs, _) = links(there);
    let (_here, mut heard, socket) = links(TcpConfig {
        idle_max: Duration::from_secs(2),
        keep_alive: Duration::from_millis(1),
        ..TcpConfig::default()
    });
    there.dial(socket, None, false);
    let to_here = up(&mut theirs).await;
    up(&mut heard).await;
    there.send(to_here, b"still here").unwrap();
    assert!(matches!(heard.recv().await, Some(TcpEvent::Frame { .. })));
}

#[tokio::test]
async fn beyond_the_limit_no_link_is_accepted_until_the_host_has_heard_that_one_ended() {
    let config = TcpConfig {
        accepted_max: 1,
        ..TcpConfig::default()
    };
    let (_here, mut heard, socket) = links(config);
    let (first, mut firsts, _) = links(TcpConfig::default());
    first.dial(socket, None, false);
    let link = up(&mut firsts).await;
    up(&mut heard).await;
    let (second, mut seconds, _) = links(TcpConfig::default());
    second.dial(socket, None, false);
    up(&mut seconds).await;
    let refused = seconds.recv().await;
    assert!(matches!(refused, Some(TcpEvent::Down { .. })));
    first.close(link);
    assert!(matches!(
        heard.recv().await,
        Some(TcpEvent::Down {
            ended: Ended::ClosedByPeer,
            ..
        })
    ));
    second.dial(socket, None, false);
    up(&mut heard).await;
}

#[tokio::test]
async fn what_was_sent_before_closing_arrives() {
    let (here, mut heard, socket) = links(TcpConfig::default());
    let (there, mut theirs, _) = links(TcpConfig::default());
    there.dial(socket, None, false);
    let to_here = up(&mut theirs).await;
    let back = up(&mut heard).await;
    // Something is on its way to who closes.
    here.send(back, &vec![1; 100_000]).unwrap();
    for number in 0..5_u8 {
        there.send(to_here, &[number; 1000]).unwrap();
    }
    there.close(to_here);
    assert_eq!(there.send(to_here, b"late"), Err(TcpSendError::Down));
    for number in 0..5_u8 {
        let frame = TcpEvent::Frame {
            link: back,
            bytes: vec![number; 1000],
        };
        assert_eq!(heard.recv().await, Some(frame));
    }
    assert!(matches!(
        heard.recv().await,
        Some(TcpEvent::Down {
            ended: Ended::ClosedByPeer,
            ..
        })
    ));
    there.stop();
    there.finished().await;
}
