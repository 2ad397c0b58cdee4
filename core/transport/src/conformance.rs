//! What every [`Transport`] does. [`transport_conformance!`](crate::transport_conformance) makes a test of each
//! check.

use fogcompute_base::Instant;

use crate::{Address, ConnectError, Ended, Event, SendError, Transport};

/// Two ends of a transport that can reach each other, not connected, and what lies between them.
pub trait Rig {
    /// Where an end is reached: end 0 or end 1.
    fn address(&self, end: usize) -> Address;

    /// An end.
    fn end(&mut self, end: usize) -> &mut dyn Transport;

    /// The time.
    fn now(&self) -> Instant;

    /// Lets time pass, and everything arrive that is on its way and for which there is room.
    fn settle(&mut self);

    /// Breaks the connection without either end closing it, and lets both notice. It can be made again after.
    fn cut(&mut self);
}

/// Makes a test of each check, for a function that gives a new [`Rig`].
#[macro_export]
macro_rules! transport_conformance {
    ($new:expr) => {
        $crate::transport_conformance!(
            $new;
            messages_arrive_whole_once_and_in_order,
            what_is_too_long_is_refused_and_what_is_not_is_carried,
            nothing_is_sent_without_a_connection,
            who_sends_too_much_is_told_and_told_when_there_is_room,
            who_closes_hears_nothing_more_and_the_peer_is_told,
            a_connection_that_broke_is_told_and_made_again,
            connecting_twice_makes_one_connection
        );
    };
    ($new:expr; $($check:ident),*) => {$(
        #[test]
        fn $check() {
            $crate::conformance::$check(&mut $new());
        }
    )*};
}

fn events(rig: &mut dyn Rig, end: usize) -> Vec<Event> {
    let end = rig.end(end);
    std::iter::from_fn(|| end.poll_event()).collect()
}

fn messages(rig: &mut dyn Rig, end: usize) -> Vec<Vec<u8>> {
    events(rig, end)
        .into_iter()
        .filter_map(|event| match event {
            Event::Message { bytes, .. } => Some(bytes),
            _ => None,
        })
        .collect()
}

fn send(rig: &mut dyn Rig, from: usize, message: &[u8]) -> Result<(), SendError> {
    let (peer, now) = (rig.address(1 - from), rig.now());
    rig.end(from).send(&peer, message, now)
}

fn connect(rig: &mut dyn Rig) {
    let (peer, now) = (rig.address(1), rig.now());
    rig.end(0)
        .connect(&peer, now)
        .expect("the ends can reach each other");
    rig.settle();
    for end in 0..2 {
        let peer = rig.address(1 - end);
        let events = events(rig, end);
        assert_eq!(events, [Event::Connected { peer }], "end {end}");
    }
}

/// In both directions at once.
///
/// # Panics
/// When they do not.
pub fn messages_arrive_whole_once_and_in_order(rig: &mut dyn Rig) {
    connect(rig);
    let sent: [Vec<Vec<u8>>; 2] = [0_u8, 1].map(|end| {
        (0..50_u8)
            .map(|number| vec![number ^ end; usize::from(number) * 7])
            .collect()
    });
    for number in 0..50 {
        for (end, sent) in sent.iter().enumerate() {
            send(rig, end, &sent[number]).expect("fifty short messages fit");
        }
    }
    rig.settle();
    for (end, sent) in sent.iter().enumerate() {
        let peer = rig.address(end);
        let expected: Vec<_> = sent
            .iter()
            .map(|bytes| Event::Message {
                peer: peer.clone(),
                bytes: bytes.clone(),
            })
            .collect();
        assert_eq!(events(rig, 1 - end), expected);
    }
}

/// Up to the last byte.
///
/// # Panics
/// When one of both does not hold.
pub fn what_is_too_long_is_refused_and_what_is_not_is_carried(rig: &mut dyn Rig) {
    connect(rig);
    let limit = rig.end(0).message_bytes_max();
    assert!(limit > 0);
    let longest: Vec<u8> = (0..limit).map(|at| (at % 251) as u8).collect();
    let refused = send(rig, 0, &[&longest[..], &[0]].concat());
    assert_eq!(
        refused,
        Err(SendError::TooLong {
            actual: limit + 1,
            limit
        })
    );
    send(rig, 0, &longest).expect("it is as long as it may be");
    send(rig, 0, &[]).expect("nothing is short enough");
    rig.settle();
    let received = messages(rig, 1);
    // Not shown when it fails: it may be a MiB.
    assert!(received == [longest, vec![]], "{}", received.len());
}

/// Before there was one, to who is nobody, and after it was closed.
///
/// # Panics
/// When something is.
pub fn nothing_is_sent_without_a_connection(rig: &mut dyn Rig) {
    let (peer, now) = (rig.address(1), rig.now());
    let refused = Err(SendError::NotConnected { peer: peer.clone() });
    assert_eq!(send(rig, 0, b"early"), refused);
    let nobody = Address::new(b"nobody at all").expect("it is short");
    let unreachable = ConnectError::Unreachable {
        peer: nobody.clone(),
    };
    assert_eq!(rig.end(0).connect(&nobody, now), Err(unreachable));
    connect(rig);
    let sent = rig.end(0).send(&nobody, b"lost", now);
    assert_eq!(sent, Err(SendError::NotConnected { peer: nobody }));
    rig.end(0).close(&peer, now);
    assert_eq!(send(rig, 0, b"late"), refused);
    rig.settle();
    assert_eq!(messages(rig, 1), [b""; 0]);
}

/// Back-pressure: what waits has an end, and no message is lost of it.
///
/// # Panics
/// When a sender is never told, or something is lost.
pub fn who_sends_too_much_is_told_and_told_when_there_is_room(rig: &mut dyn Rig) {
    connect(rig);
    let length = rig.end(0).message_bytes_max().min(1000);
    let full = SendError::Full {
        peer: rig.address(1),
    };
    let mut sent = 0_u32;
    loop {
        let mut message = vec![0; length];
        for (byte, number) in message.iter_mut().zip(sent.to_be_bytes()) {
            *byte = number;
        }
        match send(rig, 0, &message) {
            Ok(()) => sent += 1,
            Err(error) => {
                assert_eq!(error, full);
                break;
            }
        }
        assert!(sent < 1_000_000, "nothing ever says that it is full");
    }
    let mut received = 0_u32;
    while received < sent {
        rig.settle();
        let arrived = messages(rig, 1);
        assert!(!arrived.is_empty(), "{received} of {sent}");
        for message in arrived {
            assert!(message.starts_with(&received.to_be_bytes()[..length.min(4)]));
            received += 1;
        }
    }
    rig.settle();
    let writable = Event::Writable {
        peer: rig.address(1),
    };
    assert_eq!(events(rig, 0), [writable]);
    send(rig, 0, b"room").expect("it was said that there is room");
}

/// A message that was on its way to who closes is not given out.
///
/// # Panics
/// When one of both does not hold.
pub fn who_closes_hears_nothing_more_and_the_peer_is_told(rig: &mut dyn Rig) {
    connect(rig);
    send(rig, 1, b"too late").expect("there is a connection");
    let (peer, now) = (rig.address(1), rig.now());
    rig.end(0).close(&peer, now);
    rig.end(0).close(&peer, now);
    rig.settle();
    for (end, ended) in [(0, Ended::Closed), (1, Ended::ClosedByPeer)] {
        let peer = rig.address(1 - end);
        assert_eq!(events(rig, end), [Event::Disconnected { peer, ended }]);
    }
}

/// What comes after is not mixed with what was before.
///
/// # Panics
/// When one of both does not hold.
pub fn a_connection_that_broke_is_told_and_made_again(rig: &mut dyn Rig) {
    for round in 0..3_u8 {
        connect(rig);
        send(rig, 0, &[round]).expect("there is a connection");
        rig.settle();
        assert_eq!(messages(rig, 1), [[round]]);
        rig.cut();
        for end in 0..2 {
            let peer = rig.address(1 - end);
            let ended = Ended::Lost;
            assert_eq!(events(rig, end), [Event::Disconnected { peer, ended }]);
        }
        assert!(send(rig, 0, b"cut").is_err());
    }
}

/// From one side twice, and from both.
///
/// # Panics
/// When it does not.
pub fn connecting_twice_makes_one_connection(rig: &mut dyn Rig) {
    connect(rig);
    for end in [0, 0, 1] {
        let (peer, now) = (rig.address(1 - end), rig.now());
        rig.end(end).connect(&peer, now).expect("there is one");
    }
    rig.settle();
    assert_eq!((events(rig, 0), events(rig, 1)), (vec![], vec![]));
}
