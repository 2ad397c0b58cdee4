use std::time::Duration;

use fogcompute_base::{NodeId, UnixMillis};
use fogcompute_mix::{
    BuildError, CoverConfig, Geometry, MessageError, MessageId, PowerClass, SendError, StoreKey,
    SurbStoreError, Topology, TopologyError, TopologyFile, TopologyFileError,
};
use fogcompute_net::EngineError;

use super::*;

/// Nothing here takes so long; it bounds how long a defect holds up the tests.
const LONG: Duration = Duration::from_secs(120);
const NO_COVER: CoverConfig = CoverConfig {
    loops: None,
    drops: None,
};

struct Network {
    nodes: Vec<MixnetNode>,
    file: TopologyFile,
}

impl Network {
    fn start() -> Self {
        Self::of_epoch(0, Duration::from_millis(1))
    }

    fn of_epoch(epoch: u64, delay_mean: Duration) -> Self {
        let config = || MixnetNodeConfig {
            epoch,
            ..MixnetNodeConfig::default()
        };
        let nodes: Vec<_> = (0..3)
            .map(|_| MixnetNode::start(config()).unwrap())
            .collect();
        let layers = nodes.iter().map(|node| vec![node.descriptor()]).collect();
        let file = TopologyFile {
            epoch,
            valid_from: UnixMillis(0),
            valid_until: UnixMillis(u64::MAX),
            geometry: Geometry::DEFAULT,
            topology: Topology::new(layers, delay_mean).unwrap(),
        };
        for node in &nodes {
            node.set_topology(&file).unwrap();
        }
        Self { nodes, file }
    }

    fn client(&self) -> MixnetClient {
        self.client_with(MixnetClientConfig {
            cover: NO_COVER,
            ..MixnetClientConfig::default()
        })
    }

    fn client_with(&self, config: MixnetClientConfig) -> MixnetClient {
        MixnetClient::start(self.file.clone(), config).unwrap()
    }
}

#[test]
fn a_long_message_and_its_answer_cross_the_network() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let body: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    let sent = alice.send(bob.contact().unwrap(), &body).unwrap();
    let message = bob.receive_within(LONG).unwrap().unwrap();
    assert_eq!((message.id, &message.body), (sent.id(), &body));
    assert!(matches!(
        bob.reply(&message.reply, b""),
        Err(MixnetError::NoReplyWanted)
    ));
    sent.wait().unwrap();

    let answer = alice
        .request(bob.contact().unwrap(), b"more?", body.len(), LONG)
        .unwrap();
    let question = bob.receive_within(LONG).unwrap().unwrap();
    let too_long = vec![0; body.len() + 4096];
    assert!(matches!(
        bob.reply(&question.reply, &too_long),
        Err(MixnetError::Send(SendError::TooFewSurbs { .. }))
    ));
    bob.reply(&question.reply, &body).unwrap();
    assert!(matches!(
        bob.reply(&question.reply, &body),
        Err(MixnetError::Answered)
    ));
    assert_eq!(answer.wait().unwrap(), body);
    let stats = alice.stats().unwrap();
    assert_eq!((stats.sent, stats.answers, stats.given_up), (2, 1, 0));
    assert!(network.nodes[1].stats().unwrap().mix.forwarded > 50);
}

#[test]
fn a_message_can_be_awaited_and_none_is_lost_when_a_receiver_gives_up() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        drop(bob.receive());
        let sent = alice.send(bob.contact().unwrap(), b"hello").unwrap();
        bob.readable().await;
        drop(bob.receive());
        assert_eq!(bob.receive().await.unwrap().body, b"hello");
        sent.await.unwrap();
    });
}

#[test]
fn a_chosen_route_is_taken() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let nodes = alice.choose_nodes(3).unwrap();
    assert!(matches!(
        alice.choose_nodes(4),
        Err(MixnetError::Topology(TopologyError::TooFewNodes { .. }))
    ));
    alice
        .send_through(&nodes, bob.contact().unwrap(), b"this way")
        .unwrap();
    assert_eq!(bob.receive_within(LONG).unwrap().unwrap().body, b"this way");
    let contact = bob.contact().unwrap();
    for (route, error) in [
        (vec![NodeId::from_bytes([9; 32])], "topology"),
        (vec![nodes[2], nodes[2]], "build"),
    ] {
        let refused = alice.send_through(&route, contact, b"").unwrap_err();
        match (error, refused) {
            ("topology", MixnetError::Send(SendError::Topology(_)))
            | ("build", MixnetError::Send(SendError::Build(BuildError::RepeatedNode { .. }))) => {}
            (_, other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_full_inbox_loses_nothing() {
    let network = Network::start();
    let alice = network.client();
    let bob = network.client_with(MixnetClientConfig {
        cover: NO_COVER,
        inbox_messages_max: 2,
        ..MixnetClientConfig::default()
    });
    let contact = bob.contact().unwrap();
    let sent: Vec<_> = (0..6_u8)
        .map(|n| alice.send(contact, &[n]).unwrap())
        .collect();
    let mut got: Vec<_> = (0..6)
        .map(|_| bob.receive_within(LONG).unwrap().unwrap().body)
        .collect();
    got.sort();
    assert_eq!(got, (0..6_u8).map(|n| vec![n]).collect::<Vec<_>>());
    for outcome in sent {
        outcome.wait().unwrap();
    }
}

#[test]
fn an_unanswered_request_ends_and_its_late_answer_is_dropped() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let within = Duration::from_millis(1);
    let question = alice
        .request(bob.contact().unwrap(), b"?", 10, within)
        .unwrap();
    assert!(matches!(
        question.wait(),
        Err(MixnetError::NoAnswer { within: told }) if told == within
    ));
    let dropped = alice
        .request(bob.contact().unwrap(), b"??", 10, LONG)
        .unwrap();
    let message = loop {
        let message = bob.receive_within(LONG).unwrap().unwrap();
        if message.body == b"??" {
            break message;
        }
    };
    drop(dropped);
    bob.reply(&message.reply, b"late").unwrap();
    // What comes after the answer on the same way tells that it has come.
    bob.send(alice.contact().unwrap(), b"done").unwrap();
    assert_eq!(alice.receive_within(LONG).unwrap().unwrap().body, b"done");
    assert_eq!(alice.stats().unwrap().answers, 0);
}

#[test]
fn loops_of_cover_come_back() {
    let network = Network::start();
    let every = Some(Duration::from_millis(2));
    let alice = network.client_with(MixnetClientConfig {
        cover: CoverConfig {
            loops: every,
            drops: every,
        },
        ..MixnetClientConfig::default()
    });
    let returned = || alice.stats().unwrap().cover.loops_returned;
    while returned() < 10 {
        std::thread::yield_now();
    }
    alice.set_power(PowerClass::LowBattery).unwrap();
    let stats = alice.stats().unwrap().cover;
    assert!(stats.drops_sent > 0 && stats.loops_lost == 0);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let mut contact = bob.contact().unwrap();
    let too_long = vec![0; fogcompute_base::limits::MESSAGE_BYTES_MAX + 1];
    assert!(matches!(
        alice.send(contact, &too_long),
        Err(MixnetError::Send(SendError::Message(
            MessageError::TooLarge { .. }
        )))
    ));
    contact.epoch = contact.epoch.other();
    assert!(matches!(
        alice.send(contact, b""),
        Err(MixnetError::Send(SendError::Topology(
            TopologyError::MixedEpochs { .. }
        )))
    ));
    let taken = MixnetNodeConfig {
        listen: network.nodes[0].descriptor().address,
        ..MixnetNodeConfig::default()
    };
    assert!(matches!(
        MixnetNode::start(taken),
        Err(MixnetError::Engine(EngineError::AddressInUse { .. }))
    ));
    let endless = MixnetNodeConfig {
        replay_tags_max: usize::MAX,
        ..MixnetNodeConfig::default()
    };
    assert!(matches!(
        MixnetNode::start(endless),
        Err(MixnetError::TooManyTags(_))
    ));
    assert!(matches!(
        alice.send_through(&[], bob.contact().unwrap(), b""),
        Err(MixnetError::Send(SendError::Topology(
            TopologyError::HopCount { actual: 0, .. }
        )))
    ));
    let mut other = network.file.clone();
    other.geometry = Geometry::DATAGRAM;
    assert!(matches!(
        network.nodes[0].set_topology(&other),
        Err(MixnetError::OtherPackets { .. })
    ));
    let stranger = MixnetNode::start(MixnetNodeConfig::default()).unwrap();
    assert!(matches!(
        stranger.set_topology(&network.file),
        Err(MixnetError::NotInTopology { node }) if node == stranger.descriptor().node
    ));
    assert!(matches!(
        alice.set_topology(other),
        Err(MixnetError::OtherPackets { .. })
    ));
    let mut old = network.file.clone();
    old.valid_until = UnixMillis(1);
    assert!(matches!(
        MixnetClient::start(old.clone(), MixnetClientConfig::default()),
        Err(MixnetError::TopologyFile(TopologyFileError::Expired { .. }))
    ));
    assert!(matches!(
        alice.set_topology(old),
        Err(MixnetError::TopologyFile(TopologyFileError::Expired { .. }))
    ));
}

#[test]
fn closing_ends_what_is_waited_for() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let unanswered = alice
        .request(bob.contact().unwrap(), b"?", 10, LONG)
        .unwrap();
    let waiting = std::thread::spawn(move || unanswered.wait());
    assert_eq!(bob.receive_within(LONG).unwrap().unwrap().body, b"?");
    alice.close();
    alice.close();
    assert!(matches!(
        waiting.join().unwrap(),
        Err(MixnetError::Closed { .. })
    ));
    assert!(matches!(
        alice.receive_within(LONG),
        Err(MixnetError::Closed { .. })
    ));
    assert!(matches!(alice.contact(), Err(MixnetError::Closed { .. })));
    let node = &network.nodes[0];
    assert!(node.drain(LONG).unwrap().mix.received > 0);
    assert!(matches!(node.stats(), Err(MixnetError::Closed { .. })));
    node.close();
}

#[test]
fn a_new_epoch_brings_new_keys() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let next = Network::of_epoch(1, Duration::from_millis(1));
    let before = bob.contact().unwrap();
    let gone = fogcompute_mix::Contact {
        key: network.nodes[0].descriptor().key,
        ..before
    };
    let given_up = alice.send(gone, b"to nobody").unwrap();
    for client in [&alice, &bob] {
        client.set_topology(next.file.clone()).unwrap();
    }
    let after = bob.contact().unwrap();
    assert_eq!(before.node, after.node);
    assert_ne!((before.key, before.epoch), (after.key, after.epoch));
    let lost = network.client().contact().unwrap();
    assert!(alice.send(lost, b"").is_err());
    let sent = alice.send(after, b"in the new epoch").unwrap();
    let message = bob.receive_within(LONG).unwrap().unwrap();
    assert_eq!(message.body, b"in the new epoch");
    sent.wait().unwrap();
    assert!(matches!(
        given_up.wait(),
        Err(MixnetError::GivenUp { arrived: 0, .. })
    ));
}

#[test]
fn reply_blocks_expire_with_the_keys_they_were_made_for() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let mut questions = Vec::new();
    for _ in 0..2 {
        let asked = alice
            .request(bob.contact().unwrap(), b"?", 10, LONG)
            .unwrap();
        questions.push((asked, bob.receive_within(LONG).unwrap().unwrap()));
    }
    let (_, late) = questions.pop().unwrap();
    let (asked, early) = questions.pop().unwrap();
    let mut file = network.file.clone();
    let mut layers: Vec<_> = file.topology.layers().to_vec();
    for epoch in [1_u64, 2] {
        file.epoch = epoch;
        for node in layers.iter_mut().flatten() {
            node.epoch = node.epoch.other();
        }
        file.topology = Topology::new(layers.clone(), Duration::ZERO).unwrap();
        bob.set_topology(file.clone()).unwrap();
        let reply = bob.reply(
            if epoch == 1 {
                &early.reply
            } else {
                &late.reply
            },
            b"!",
        );
        if epoch == 1 {
            reply.unwrap();
        } else {
            assert!(matches!(reply, Err(MixnetError::ReplyExpired)));
        }
    }
    assert_eq!(asked.wait().unwrap(), b"!");
}

#[test]
fn a_client_started_again_from_its_state_answers_and_is_answered() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let key = StoreKey::from_bytes([7; 32]);
    let ask = |body: &[u8]| {
        let asked = alice.request(bob.contact().unwrap(), body, 10, LONG);
        (asked.unwrap(), bob.receive_within(LONG).unwrap().unwrap())
    };
    let (asked, question) = ask(b"?");
    let (early, answered) = ask(b"now");
    let (dropped, ignored) = ask(b"never");
    bob.reply(&answered.reply, b"!").unwrap();
    assert_eq!(early.wait().unwrap(), b"!");
    drop(dropped);
    drop(ignored);
    let (id, contacts) = (
        asked.id(),
        [alice.contact().unwrap(), bob.contact().unwrap()],
    );

    let states = [&alice, &bob].map(|client| client.suspend(&key).unwrap());
    assert!(matches!(asked.wait(), Err(MixnetError::Closed { .. })));
    assert!(matches!(bob.suspend(&key), Err(MixnetError::Closed { .. })));
    let config = || MixnetClientConfig {
        cover: NO_COVER,
        ..MixnetClientConfig::default()
    };
    let restore =
        |state: &[u8]| MixnetClient::restore(network.file.clone(), config(), state, &key).unwrap();
    let (alice, bob) = (restore(&states[0]), restore(&states[1]));
    assert_eq!(
        [&alice, &bob].map(|client| client.contact().unwrap()),
        contacts
    );
    let requests = vec![id];
    let messages = requests.clone();
    assert_eq!(alice.restored().unwrap().requests, requests);
    assert_eq!(bob.restored().unwrap().messages, messages);
    assert!(bob.reply_blocks(answered.id).unwrap().is_none());

    // Its acknowledgement comes over the last layer, which then knows where alice is now.
    alice.send(contacts[1], b"back").unwrap().wait().unwrap();
    assert_eq!(bob.receive_within(LONG).unwrap().unwrap().body, b"back");
    // Where the blocks were they count as used, and they are given out once.
    assert!(matches!(
        bob.reply(&question.reply, b"?"),
        Err(MixnetError::Answered)
    ));
    let blocks = bob.reply_blocks(id).unwrap().unwrap();
    assert!(bob.reply_blocks(id).unwrap().is_none());
    bob.reply(&blocks, b"later").unwrap();
    let answer = alice.answer_to(id, LONG).unwrap();
    assert_eq!(answer.wait().unwrap(), b"later");
    assert!(matches!(
        alice.answer_to(id, LONG),
        Err(MixnetError::UnknownRequest { id: unknown }) if unknown == id
    ));
    // A block that was used is gone from the next state.
    let state = bob.suspend(&key).unwrap();
    assert_eq!(restore(&state).restored().unwrap(), Restored::default());
}

#[test]
fn an_answer_that_comes_before_it_is_asked_for_is_kept_across_restarts() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let key = StoreKey::from_bytes([7; 32]);
    let asked = alice
        .request(bob.contact().unwrap(), b"?", 10, LONG)
        .unwrap();
    let question = bob.receive_within(LONG).unwrap().unwrap();
    let id = asked.id();
    let restore = |state: Vec<u8>| {
        let config = MixnetClientConfig {
            cover: NO_COVER,
            ..MixnetClientConfig::default()
        };
        MixnetClient::restore(network.file.clone(), config, &state, &key).unwrap()
    };
    let alice = restore(alice.suspend(&key).unwrap());
    alice
        .send(bob.contact().unwrap(), b"back")
        .unwrap()
        .wait()
        .unwrap();
    bob.reply(&question.reply, b"!").unwrap();
    while alice.stats().unwrap().answers == 0 {
        std::thread::yield_now();
    }
    let alice = restore(alice.suspend(&key).unwrap());
    assert_eq!(alice.restored().unwrap().requests, [id]);
    assert_eq!(alice.answer_to(id, LONG).unwrap().wait().unwrap(), b"!");
}

#[test]
fn a_state_of_another_epoch_key_or_identity_is_used_as_far_as_it_goes() {
    let network = Network::start();
    let (alice, bob) = (network.client(), network.client());
    let asked = alice
        .request(bob.contact().unwrap(), b"?", 10, LONG)
        .unwrap();
    let _question = bob.receive_within(LONG).unwrap().unwrap();
    let key = StoreKey::from_bytes([7; 32]);
    let state = bob.suspend(&key).unwrap();
    let config = |identity| MixnetClientConfig {
        cover: NO_COVER,
        identity,
        ..MixnetClientConfig::default()
    };
    let start = |file: &TopologyFile, identity, key: &StoreKey| {
        MixnetClient::restore(file.clone(), config(identity), &state, key)
    };
    assert!(matches!(
        start(&network.file, None, &StoreKey::from_bytes([8; 32])),
        Err(MixnetError::SurbStore(SurbStoreError::Sealed))
    ));
    assert!(matches!(
        start(&network.file, Some([1; 32]), &key),
        Err(MixnetError::OtherIdentity)
    ));
    for (epoch, held) in [(1, vec![asked.id()]), (2, Vec::<MessageId>::new())] {
        let file = Network::of_epoch(epoch, Duration::ZERO).file;
        let bob = start(&file, None, &key).unwrap();
        assert_eq!(bob.restored().unwrap().messages, held);
        assert_eq!(bob.contact().unwrap().epoch, file.topology.epoch());
    }
}

#[test]
fn a_reply_block_that_starts_at_any_node_is_not_used() {
    let network = Network::start();
    // Mallory goes by a topology of her own, so that the way back starts where she likes.
    let mut file = network.file.clone();
    let layers = file.topology.layers()[1..].to_vec();
    file.topology = Topology::new(layers, Duration::ZERO).unwrap();
    let config = MixnetClientConfig {
        cover: NO_COVER,
        ..MixnetClientConfig::default()
    };
    let mallory = MixnetClient::start(file, config).unwrap();
    let bob = network.client();
    let _asked = mallory
        .request(bob.contact().unwrap(), b"?", 10, LONG)
        .unwrap();
    let question = bob.receive_within(LONG).unwrap().unwrap();
    for _ in 0..2 {
        assert!(matches!(
            bob.reply(&question.reply, b"!"),
            Err(MixnetError::Send(SendError::ForeignEntry { .. }))
        ));
    }
    // Nor are those by which bob would have acknowledged.
    while bob.stats().unwrap().refused == 0 {
        std::thread::yield_now();
    }
    assert_eq!(network.nodes[0].stats().unwrap().mix.received, 0);
    assert_eq!(mallory.stats().unwrap().delivered, 0);
}

/// Asks the client for more in the moment it is woken, on the thread that wakes it.
struct AskAtOnce(std::sync::Arc<MixnetClient>);

impl std::task::Wake for AskAtOnce {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.contact().map(drop).unwrap_or_default();
    }
}

/// What is awaited by [`AskAtOnce`]: its result, if it had come before anybody asked for it.
struct Awaited<T> {
    pending: Option<Pending<T>>,
    result: Option<Result<T, MixnetError>>,
}

impl<T> Awaited<T> {
    fn by(waker: &std::task::Waker, mut pending: Pending<T>) -> Self {
        use std::future::Future as _;
        match std::pin::pin!(&mut pending).poll(&mut std::task::Context::from_waker(waker)) {
            std::task::Poll::Pending => Self {
                pending: Some(pending),
                result: None,
            },
            std::task::Poll::Ready(result) => Self {
                pending: None,
                result: Some(result),
            },
        }
    }

    fn wait(self) -> Result<T, MixnetError> {
        self.result
            .or_else(|| self.pending.map(Pending::wait))
            .unwrap()
    }
}

#[test]
fn whoever_is_woken_may_use_the_client_at_once() {
    let network = Network::start();
    let alice = std::sync::Arc::new(network.client());
    let bob = network.client();
    let waker = std::task::Waker::from(std::sync::Arc::new(AskAtOnce(alice.clone())));
    let contact = bob.contact().unwrap();
    let sent = Awaited::by(&waker, alice.send(contact, b"hello").unwrap());
    let unanswered = alice.request(contact, b"?", 10, Duration::from_millis(1));
    let unanswered = Awaited::by(&waker, unanswered.unwrap());
    let answered = Awaited::by(&waker, alice.request(contact, b"??", 10, LONG).unwrap());
    for _ in 0..3 {
        let message = bob.receive_within(LONG).unwrap().unwrap();
        if message.body == b"??" {
            bob.reply(&message.reply, b"!").unwrap();
        }
    }
    sent.wait().unwrap();
    assert!(unanswered.wait().is_err());
    assert_eq!(answered.wait().unwrap(), b"!");
    let last = Awaited::by(&waker, alice.request(contact, b"?", 10, LONG).unwrap());
    alice.close();
    assert!(matches!(last.wait(), Err(MixnetError::Closed { .. })));
}
