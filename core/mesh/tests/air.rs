//! Nodes with radios: what the links of a mesh are made of, over air that is not there.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use fogcompute_base::{Instant, Rng, UnixMillis};
use fogcompute_mesh::file::File;
use fogcompute_mesh::{
    DeliveryState, Event, Identity, LinkConfig, LinkId, Node, NodeConfig, PeerId,
};
use fogcompute_transport::{
    Address, AirConfig, Position, RadioLink, RadioLinkEvent, RadioLinks, RadioLinksConfig,
    VirtualAir, VirtualRadio, VirtualRadioHandle,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const BEGIN: UnixMillis = UnixMillis(1_760_000_000_000);

struct Phone {
    node: Node,
    links: RadioLinks<VirtualRadio>,
    radio: VirtualRadioHandle,
    events: Vec<Event>,
    /// Frames that nobody took: there are none.
    refused: usize,
}

impl Phone {
    fn drive(&mut self, now: Instant, rng: &mut ChaCha8Rng) {
        let (node, links) = (&mut self.node, &mut self.links);
        links.handle_timeout(now, rng);
        if node.poll_timeout().is_some_and(|due| due <= now) {
            node.handle_timeout(now, rng);
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
                        node.handle_input(LinkId(link.0), &value, now, rng);
                    }
                    RadioLinkEvent::Full { link } => node.set_blocked(LinkId(link.0), true),
                    RadioLinkEvent::Ready { link } => node.set_blocked(LinkId(link.0), false),
                    _ => {}
                }
            }
            let Some(transmit) = node.poll_transmit() else {
                break;
            };
            let sent = links.send(RadioLink(transmit.link.0), &transmit.bytes, now);
            self.refused += usize::from(sent.is_err());
        }
        let known: Vec<_> = node.links().collect();
        for (link, peer) in known {
            if let Some(peer) = peer {
                let who = Address::new(peer.as_bytes()).unwrap();
                links.identify(RadioLink(link.0), &who, now);
            }
        }
        self.events.extend(std::iter::from_fn(|| node.poll_event()));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.node.poll_timeout(), self.links.poll_timeout()];
        due.into_iter().flatten().min()
    }

    fn links_to(&self, peer: PeerId) -> usize {
        let links = self.node.links();
        links.filter(|(_, of)| *of == Some(peer)).count()
    }
}

struct Street {
    air: VirtualAir,
    phones: Vec<Phone>,
    rng: ChaCha8Rng,
    now: Instant,
}

impl Street {
    fn new(seed: u64, air: AirConfig, places: &[Position]) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let now = Instant::from_millis(1_000_000);
        let air = VirtualAir::new(air, ChaCha8Rng::seed_from_u64(rng.next_u64()), now);
        let phones = places.iter().enumerate().map(|(index, place)| {
            let identity = Identity::random(&mut rng);
            let own = Address::new(identity.peer_id().as_bytes()).unwrap();
            let (name, config) = (format!("phone {index}"), NodeConfig::default());
            let radio = air.radio(*place);
            Phone {
                node: Node::new(identity, name, config, BEGIN, now).unwrap(),
                radio: radio.handle(),
                links: RadioLinks::new(radio, own, RadioLinksConfig::default(), now),
                events: Vec::new(),
                refused: 0,
            }
        });
        Self {
            phones: phones.collect(),
            air,
            rng,
            now,
        }
    }

    /// Ten in two rows, where each hears those of the columns beside it: five hops at most.
    fn two_rows(seed: u64, air: AirConfig) -> Self {
        let places: Vec<_> = (0..10)
            .map(|index| Position {
                x_cm: 3_000 * (index / 2),
                y_cm: 2_000 * (index % 2),
            })
            .collect();
        Self::new(seed, air, &places)
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            for phone in &mut self.phones {
                phone.drive(self.now, &mut self.rng);
            }
            let due = self.phones.iter().filter_map(Phone::poll_timeout);
            let next = due.chain(self.air.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.air.handle_timeout(self.now);
        }
    }

    fn id(&self, phone: usize) -> PeerId {
        self.phones[phone].node.id()
    }

    fn take(&mut self, phone: usize) -> Vec<Event> {
        std::mem::take(&mut self.phones[phone].events)
    }

    fn publics(&mut self, phone: usize) -> Vec<String> {
        let events = self.take(phone).into_iter();
        let texts = events.filter_map(|event| match event {
            Event::Public { text, .. } => Some(text),
            _ => None,
        });
        texts.collect()
    }

    fn privates(&mut self, phone: usize) -> Vec<String> {
        let events = self.take(phone).into_iter();
        let texts = events.filter_map(|event| match event {
            Event::Private { text, .. } => Some(text),
            _ => None,
        });
        texts.collect()
    }

    fn send_private(&mut self, from: usize, to: usize, text: &str) {
        let to = self.id(to);
        let node = &mut self.phones[from].node;
        node.send_private(to, text, self.now, &mut self.rng)
            .unwrap();
    }
}

/// One advert, write and notification in fifty is lost.
fn lossy() -> AirConfig {
    AirConfig {
        loss_per_mille: 20,
        ..AirConfig::default()
    }
}

#[test]
fn ten_phones_find_each_other_and_keep_one_link_for_each_pair() {
    for seed in 0..4 {
        let mut street = Street::two_rows(seed, lossy());
        street.run(120);
        for (index, phone) in street.phones.iter().enumerate() {
            assert_eq!(phone.node.peers().count(), 9, "seed {seed}, phone {index}");
            assert_eq!(phone.refused, 0);
            let mut linked = 0;
            for other in (0..10).filter(|other| *other != index) {
                let links = phone.links_to(street.id(other));
                let is_near = (index / 2).abs_diff(other / 2) <= 1;
                assert!(
                    links <= usize::from(is_near),
                    "seed {seed}: {index} to {other}"
                );
                linked += links;
            }
            assert!(linked >= 2, "seed {seed}: phone {index} has {linked}");
        }
    }
}

#[test]
fn a_public_text_reaches_everybody_once_although_air_loses_some() {
    for seed in 0..4 {
        let mut street = Street::two_rows(seed, lossy());
        street.run(120);
        let (now, rng) = (street.now, &mut street.rng);
        let node = &mut street.phones[0].node;
        node.send_public("is anybody there", now, rng).unwrap();
        street.run(120);
        for phone in 1..10 {
            let texts = street.publics(phone);
            assert_eq!(texts, ["is anybody there"], "seed {seed}, phone {phone}");
        }
    }
}

#[test]
fn a_private_text_crosses_the_street_and_its_answer_comes_back() {
    let mut street = Street::two_rows(11, AirConfig::default());
    street.run(120);
    street.send_private(0, 9, "meet me");
    street.run(300);
    assert_eq!(street.privates(9), ["meet me"]);
    let states = street.take(0).into_iter().filter_map(|event| match event {
        Event::Delivery { state, .. } => Some(state),
        _ => None,
    });
    let states: Vec<_> = states.collect();
    assert_eq!(states.last(), Some(&DeliveryState::Delivered));
}

#[test]
fn what_is_written_to_who_walked_away_arrives_when_it_is_back() {
    let mut street = Street::two_rows(3, lossy());
    street.run(120);
    let home = street.phones[9].radio.position();
    street.phones[9].radio.place(Position {
        x_cm: 1_000_000,
        y_cm: 0,
    });
    street.run(90);
    assert_eq!(street.phones[9].node.links().count(), 0);
    street.send_private(0, 9, "welcome back");
    street.run(60);
    assert_eq!(street.privates(9), [""; 0]);
    street.phones[9].radio.place(home);
    street.run(300);
    assert_eq!(street.privates(9), ["welcome back"]);
}

#[test]
fn a_long_file_waits_for_room_and_arrives_whole() {
    let places = [0, 1_000, 2_000].map(|x_cm| Position { x_cm, y_cm: 0 });
    let slow = AirConfig {
        bytes_per_second: 10_000,
        ..AirConfig::default()
    };
    let mut street = Street::new(6, slow, &places);
    street.run(60);
    let mut content = vec![0; 100 * 1024];
    street.rng.fill_bytes(&mut content);
    let file = File {
        name: Some("noise.bin".to_owned()),
        mime: None,
        content,
    };
    let (now, rng) = (street.now, &mut street.rng);
    let node = &mut street.phones[0].node;
    node.send_file(&file, now, rng).unwrap();
    street.run(120);
    assert_eq!(street.phones[0].node.counters().queue_full, 0);
    for phone in 1..3 {
        let events = street.take(phone).into_iter();
        let files: Vec<_> = events
            .filter_map(|event| match event {
                Event::File { file, .. } => Some(file),
                _ => None,
            })
            .collect();
        assert_eq!(files.len(), 1, "phone {phone}");
        assert!(files[0] == file, "phone {phone}");
    }
}

#[test]
fn the_same_seed_is_the_same_street() {
    let run = || {
        let mut street = Street::two_rows(7, lossy());
        street.run(60);
        let sent: Vec<_> = street.phones.iter().map(|p| p.node.counters()).collect();
        (street.air.values(), format!("{sent:?}"))
    };
    assert_eq!(run(), run());
}
