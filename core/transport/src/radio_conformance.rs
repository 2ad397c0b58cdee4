//! What every [`BleRadio`] does. [`radio_conformance!`](macro@crate::radio_conformance) makes a test of each check.

use crate::Address;
use crate::radio::{
    BleRadio, LinkEnded, MTU_MIN, RadioError, RadioEvent, RadioLimits, RadioLink, Role,
    SERVICE_DATA_BYTES_MAX, WriteKind, value_bytes_max,
};

/// How often a check lets something happen before it gives up.
const PATIENCE: usize = 100_000;
/// Values that are sent one after the other.
const VALUES: u8 = 40;

/// Two radios that can hear each other, with nothing else on the air, and that lose no values. Both are turned on.
/// End 0 is a central at least, and end 1 a peripheral.
pub trait RadioRig {
    /// A radio: end 0 or end 1.
    fn radio(&mut self, end: usize) -> &mut dyn BleRadio;

    /// Lets something happen, and panics when it waits for long and nothing does.
    fn wait(&mut self);

    /// Takes the radios out of each other's reach for so long that connections break, and back.
    fn cut(&mut self);

    /// Turns a radio off or on.
    fn set_power(&mut self, end: usize, is_on: bool);
}

/// Makes a test of each check, for a function that gives a new [`RadioRig`].
#[macro_export]
macro_rules! radio_conformance {
    ($new:expr) => {
        $crate::radio_conformance!(
            $new;
            who_advertises_is_heard,
            a_connection_is_told_to_both_ends,
            values_arrive_whole_and_in_order_both_ways,
            values_with_and_without_response_keep_their_order,
            a_value_that_is_too_long_is_refused_and_the_longest_is_carried,
            who_gives_too_much_is_told_and_told_when_there_is_room,
            each_side_has_its_own_verb,
            what_is_not_there_is_refused,
            connecting_twice_makes_one_connection,
            either_side_ends_a_connection_and_both_are_told,
            a_connection_that_broke_is_told_and_made_again,
            a_radio_that_is_off_does_nothing_and_works_when_it_is_on
        );
    };
    ($new:expr; $($check:ident),*) => {$(
        #[test]
        fn $check() {
            $crate::radio_conformance::$check(&mut $new());
        }
    )*};
}

/// The next event that is not an advert.
fn next(rig: &mut dyn RadioRig, end: usize) -> RadioEvent {
    for _ in 0..PATIENCE {
        match rig.radio(end).poll_event() {
            Some(RadioEvent::Discovered { .. }) => {}
            Some(event) => return event,
            None => rig.wait(),
        }
    }
    panic!("nothing happens at end {end}");
}

/// The peer that end 0 hears.
fn heard(rig: &mut dyn RadioRig) -> (Address, i16) {
    for _ in 0..PATIENCE {
        match rig.radio(0).poll_event() {
            Some(RadioEvent::Discovered { peer, rssi_dbm, .. }) => return (peer, rssi_dbm),
            Some(other) => panic!("{other:?} before anything was heard"),
            None => rig.wait(),
        }
    }
    panic!("nobody is heard");
}

fn find(rig: &mut dyn RadioRig) -> Address {
    rig.radio(1).advertise(&[7; 8]).expect("end 1 advertises");
    rig.radio(0).scan().expect("end 0 scans");
    let (peer, _) = heard(rig);
    rig.radio(0).stop_scanning().expect("end 0 scans");
    peer
}

fn connected(rig: &mut dyn RadioRig, end: usize, expected: Role) -> (RadioLink, u16) {
    let RadioEvent::Connected {
        link,
        role,
        mut mtu,
        ..
    } = next(rig, end)
    else {
        panic!("end {end} is not connected");
    };
    assert_eq!(role, expected);
    loop {
        match next(rig, end) {
            RadioEvent::MtuChanged { link: of, mtu: new } if of == link => mtu = new,
            event => {
                assert_eq!(event, RadioEvent::Subscribed { link });
                assert!(mtu >= MTU_MIN, "{mtu}");
                return (link, mtu);
            }
        }
    }
}

fn connect(rig: &mut dyn RadioRig) -> [(RadioLink, u16); 2] {
    let peer = find(rig);
    rig.radio(0).connect(&peer).expect("it was heard");
    [
        connected(rig, 0, Role::Central),
        connected(rig, 1, Role::Peripheral),
    ]
}

/// What each end gives to its connection.
fn give(
    rig: &mut dyn RadioRig,
    end: usize,
    link: RadioLink,
    value: &[u8],
    kind: WriteKind,
) -> Result<(), RadioError> {
    match end {
        0 => rig.radio(0).write(link, value, kind),
        _ => rig.radio(1).notify(link, value),
    }
}

/// Gives a value, when there is room.
fn give_in_time(
    rig: &mut dyn RadioRig,
    end: usize,
    link: RadioLink,
    value: &[u8],
    kind: WriteKind,
) {
    while let Err(error) = give(rig, end, link, value, kind) {
        assert_eq!(error, RadioError::Busy { link });
        assert_eq!(next(rig, end), RadioEvent::Writable { link });
    }
}

fn expect_value(rig: &mut dyn RadioRig, end: usize, link: RadioLink, value: Vec<u8>) {
    loop {
        match next(rig, end) {
            // Of an end that was told to wait and did not come back.
            RadioEvent::Writable { .. } => {}
            event => {
                assert_eq!(event, RadioEvent::Received { link, value });
                return;
            }
        }
    }
}

/// With a loudness that can be.
///
/// # Panics
/// When it is not.
pub fn who_advertises_is_heard(rig: &mut dyn RadioRig) {
    let RadioLimits {
        is_central,
        links_max,
        ..
    } = rig.radio(0).limits();
    assert!(is_central && links_max > 0);
    assert!(rig.radio(1).limits().is_peripheral);
    let long = rig.radio(1).advertise(&[0; SERVICE_DATA_BYTES_MAX + 1]);
    let (actual, limit) = (SERVICE_DATA_BYTES_MAX + 1, SERVICE_DATA_BYTES_MAX);
    assert_eq!(long, Err(RadioError::TooLong { actual, limit }));
    rig.radio(1).advertise(&[1; 8]).expect("end 1 advertises");
    // Twice is not an error, and neither is stopping twice.
    rig.radio(1).advertise(&[2; 8]).expect("end 1 advertises");
    for _ in 0..2 {
        rig.radio(0).scan().expect("end 0 scans");
    }
    let (_, rssi_dbm) = heard(rig);
    assert!((-127..=20).contains(&rssi_dbm), "{rssi_dbm} dBm");
    for _ in 0..2 {
        rig.radio(0).stop_scanning().expect("end 0 scanned");
        rig.radio(1)
            .stop_advertising()
            .expect("end 1 was advertising");
    }
}

/// With the roles they have, and a MTU.
///
/// # Panics
/// When it is not.
pub fn a_connection_is_told_to_both_ends(rig: &mut dyn RadioRig) {
    connect(rig);
}

/// At once.
///
/// # Panics
/// When they do not.
pub fn values_arrive_whole_and_in_order_both_ways(rig: &mut dyn RadioRig) {
    let links = connect(rig);
    let kind = WriteKind::WithoutResponse;
    let value = |number: u8, end: usize| -> Vec<u8> {
        let mtu = links[0].1.min(links[1].1);
        let length = 1 + (usize::from(number) * 13) % value_bytes_max(mtu);
        vec![number.wrapping_mul(5) ^ end as u8; length]
    };
    for number in 0..VALUES {
        for (end, (link, _)) in links.into_iter().enumerate() {
            // Who is told to wait hears of the other's values first.
            while let Err(error) = give(rig, end, link, &value(number, end), kind) {
                assert_eq!(error, RadioError::Busy { link });
                rig.wait();
            }
        }
        for (end, (link, _)) in links.into_iter().enumerate() {
            expect_value(rig, end, link, value(number, 1 - end));
        }
    }
}

/// Although one takes longer than the other.
///
/// # Panics
/// When they do not.
pub fn values_with_and_without_response_keep_their_order(rig: &mut dyn RadioRig) {
    let [(central, _), (peripheral, _)] = connect(rig);
    for number in 0..VALUES {
        let kind = if number % 3 == 0 {
            WriteKind::WithResponse
        } else {
            WriteKind::WithoutResponse
        };
        give_in_time(rig, 0, central, &[number; 20], kind);
    }
    for number in 0..VALUES {
        expect_value(rig, 1, peripheral, vec![number; 20]);
    }
}

/// Up to the last byte, both ways.
///
/// # Panics
/// When one of both does not hold.
pub fn a_value_that_is_too_long_is_refused_and_the_longest_is_carried(rig: &mut dyn RadioRig) {
    let links = connect(rig);
    for (end, (link, mtu)) in links.into_iter().enumerate() {
        let limit = value_bytes_max(mtu);
        let longest: Vec<u8> = (0..limit).map(|at| (at % 251) as u8).collect();
        let kind = WriteKind::WithResponse;
        let refused = give(rig, end, link, &[&longest[..], &[0]].concat(), kind);
        let actual = limit + 1;
        assert_eq!(refused, Err(RadioError::TooLong { actual, limit }));
        give_in_time(rig, end, link, &longest, kind);
        expect_value(rig, 1 - end, links[1 - end].0, longest);
    }
}

/// Back-pressure: what waits has an end, and no value is lost of it.
///
/// # Panics
/// When a sender is never told, or something is lost.
pub fn who_gives_too_much_is_told_and_told_when_there_is_room(rig: &mut dyn RadioRig) {
    let links = connect(rig);
    for (end, (link, mtu)) in links.into_iter().enumerate() {
        let length = value_bytes_max(mtu).min(200);
        let kind = WriteKind::WithoutResponse;
        let value = |number: u32| {
            let mut value = vec![0; length];
            value[..4].copy_from_slice(&number.to_be_bytes());
            value
        };
        let mut given = 0;
        loop {
            match give(rig, end, link, &value(given), kind) {
                Ok(()) => given += 1,
                Err(error) => {
                    assert_eq!(error, RadioError::Busy { link });
                    break;
                }
            }
            assert!(given < 100_000, "nothing ever says that it is busy");
        }
        assert_eq!(next(rig, end), RadioEvent::Writable { link });
        give_in_time(rig, end, link, &value(given), kind);
        for number in 0..=given {
            expect_value(rig, 1 - end, links[1 - end].0, value(number));
        }
    }
}

/// A central does not notify, and a peripheral does not write.
///
/// # Panics
/// When one of both does.
pub fn each_side_has_its_own_verb(rig: &mut dyn RadioRig) {
    let [(central, _), (peripheral, _)] = connect(rig);
    // A radio that never has the other role knows no such verb at all.
    let wrong = |link, has_role| match has_role {
        true => Err(RadioError::WrongRole { link }),
        false => Err(RadioError::Unsupported),
    };
    let notified = rig.radio(0).notify(central, b"no");
    let has_role = rig.radio(0).limits().is_peripheral;
    assert_eq!(notified, wrong(central, has_role));
    let written = rig
        .radio(1)
        .write(peripheral, b"no", WriteKind::WithResponse);
    let has_role = rig.radio(1).limits().is_central;
    assert_eq!(written, wrong(peripheral, has_role));
}

/// A peer that was never heard, a connection that never was.
///
/// # Panics
/// When one of them is not.
pub fn what_is_not_there_is_refused(rig: &mut dyn RadioRig) {
    let nobody = Address::new(b"nobody at all").expect("it is short");
    let unknown = RadioError::UnknownPeer {
        peer: nobody.clone(),
    };
    assert_eq!(rig.radio(0).connect(&nobody), Err(unknown));
    let link = RadioLink(u64::MAX);
    let absent = Err(RadioError::NotConnected { link });
    for end in 0..2 {
        let refused = give(rig, end, link, b"value", WriteKind::WithResponse);
        assert_eq!(refused, absent, "end {end}");
        assert_eq!(rig.radio(end).disconnect(link), Ok(()));
    }
}

/// While it is made, and when it is there.
///
/// # Panics
/// When it makes two.
pub fn connecting_twice_makes_one_connection(rig: &mut dyn RadioRig) {
    let peer = find(rig);
    for _ in 0..2 {
        rig.radio(0).connect(&peer).expect("it was heard");
    }
    let (central, _) = connected(rig, 0, Role::Central);
    let (peripheral, _) = connected(rig, 1, Role::Peripheral);
    rig.radio(0).connect(&peer).expect("there is one");
    give_in_time(rig, 0, central, b"only", WriteKind::WithResponse);
    expect_value(rig, 1, peripheral, b"only".to_vec());
    give_in_time(rig, 1, peripheral, b"one", WriteKind::WithResponse);
    expect_value(rig, 0, central, b"one".to_vec());
}

/// Once.
///
/// # Panics
/// When one of them is not, or hears of it again.
pub fn either_side_ends_a_connection_and_both_are_told(rig: &mut dyn RadioRig) {
    for closer in 0..2 {
        let links = connect(rig).map(|(link, _)| link);
        for _ in 0..2 {
            let link = links[closer];
            rig.radio(closer).disconnect(link).expect("it is there");
        }
        for (end, link) in links.into_iter().enumerate() {
            let ended = if end == closer {
                LinkEnded::Closed
            } else {
                LinkEnded::ByPeer
            };
            assert_eq!(next(rig, end), RadioEvent::Disconnected { link, ended });
            let gone = Err(RadioError::NotConnected { link });
            let refused = give(rig, end, link, b"late", WriteKind::WithResponse);
            assert_eq!(refused, gone, "end {end}");
        }
    }
}

/// What comes after is not mixed with what was before.
///
/// # Panics
/// When one of both does not hold.
pub fn a_connection_that_broke_is_told_and_made_again(rig: &mut dyn RadioRig) {
    let mut before = None;
    for round in 0..3 {
        let links = connect(rig).map(|(link, _)| link);
        assert_ne!(before.replace(links[0]), Some(links[0]));
        give_in_time(rig, 0, links[0], &[round], WriteKind::WithResponse);
        expect_value(rig, 1, links[1], vec![round]);
        rig.cut();
        for (end, link) in links.into_iter().enumerate() {
            let ended = next(rig, end);
            let expected = RadioEvent::Disconnected {
                link,
                ended: LinkEnded::ByPeer,
            };
            assert_eq!(ended, expected, "end {end}");
        }
    }
}

/// Its connections end, and it forgets what it was doing.
///
/// # Panics
/// When it does not.
pub fn a_radio_that_is_off_does_nothing_and_works_when_it_is_on(rig: &mut dyn RadioRig) {
    for off in 0..2 {
        let links = connect(rig).map(|(link, _)| link);
        rig.set_power(off, false);
        // Some systems end connections first, and only then say why.
        let ended = next(rig, off);
        let link = links[off];
        let expected = [LinkEnded::Off, LinkEnded::ByPeer]
            .map(|ended| RadioEvent::Disconnected { link, ended });
        assert!(expected.contains(&ended), "{ended:?}");
        assert_eq!(next(rig, off), RadioEvent::Adapter { is_on: false });
        let link = links[1 - off];
        let ended = LinkEnded::ByPeer;
        let expected = RadioEvent::Disconnected { link, ended };
        assert_eq!(next(rig, 1 - off), expected);
        let refused = match off {
            0 => rig.radio(0).scan(),
            _ => rig.radio(1).advertise(&[]),
        };
        assert_eq!(refused, Err(RadioError::Off));
        rig.set_power(off, true);
        assert_eq!(next(rig, off), RadioEvent::Adapter { is_on: true });
    }
    connect(rig);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fogcompute_base::Instant;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::{AirConfig, Position, VirtualAir, VirtualRadio};

    struct Rig {
        air: VirtualAir,
        radios: [VirtualRadio; 2],
        now: Instant,
    }

    const NEAR: Position = Position { x_cm: 300, y_cm: 0 };
    const FAR: Position = Position {
        x_cm: 300_000,
        y_cm: 0,
    };

    fn rig() -> Rig {
        let now = Instant::from_millis(5);
        let rng = ChaCha8Rng::seed_from_u64(9);
        let air = VirtualAir::new(AirConfig::default(), rng, now);
        let radios = [Position::default(), NEAR].map(|at| air.radio(at));
        Rig { air, radios, now }
    }

    impl RadioRig for Rig {
        fn radio(&mut self, end: usize) -> &mut dyn BleRadio {
            &mut self.radios[end]
        }

        fn wait(&mut self) {
            self.now = self.air.poll_timeout().expect("something happens");
            self.air.handle_timeout(self.now);
        }

        fn cut(&mut self) {
            let handle = self.radios[1].handle();
            handle.place(FAR);
            self.now = self.now + Duration::from_secs(60);
            self.air.handle_timeout(self.now);
            handle.place(NEAR);
        }

        fn set_power(&mut self, end: usize, is_on: bool) {
            self.radios[end].handle().set_power(is_on);
        }
    }

    crate::radio_conformance!(rig);
}
