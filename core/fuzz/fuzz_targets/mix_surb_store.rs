//! The encrypted reply block store: what is sealed does not open once it is changed, and whatever opens
//! is read without harm.

#![no_main]

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::Arbitrary;
use fogcompute_base::{Instant, UnixMillis};
use fogcompute_fuzz::{Damage, damage, keys, route, surb};
use fogcompute_mix::fuzzing::{encode_store, read_store};
use fogcompute_mix::{
    Client, ClientConfig, Contact, Descriptor, EpochKey, EpochParity, Geometry, HeldSurbs,
    MessageId, ReplayTag, StoreKey, SurbStore, Topology,
};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const TAGS_MAX: usize = 100;

#[derive(Arbitrary, Debug)]
enum Input {
    /// Anything, as if it had been decrypted.
    Plain(Vec<u8>),
    /// A sound store, damaged before it was encrypted.
    DamagedPlain(Vec<Damage>),
    /// Anything, sealed.
    Sealed(Vec<u8>),
    /// A sound store, damaged after it was encrypted.
    DamagedSealed(Vec<Damage>),
}

/// A store of a client that made a request and has one to answer.
fn store() -> SurbStore {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let [entry, exit, own] = keys();
    let hops = route();
    let node = |index: usize, key: &fogcompute_mix::PrivateKey| Descriptor {
        node: hops[index].node,
        key: key.public(),
        epoch: EpochParity::Even,
        address: SocketAddr::from(([127, 0, 0, 1], 1)),
    };
    let layers = vec![vec![node(0, &entry)], vec![node(1, &exit)]];
    let topology = Topology::new(layers, Duration::ZERO).expect("two layers of a node");
    let contact: Contact = node(2, &own).contact();
    let mut client = Client::new(contact, ClientConfig::default());
    client
        .send(&topology, contact, b"?", 2, Instant::ZERO, &mut rng)
        .expect("the route is sound");
    let key = EpochKey::new(own, TAGS_MAX);
    key.replay_filter().check(ReplayTag::from_bytes([1; 16]));
    SurbStore {
        identity: [1; 32].into(),
        keys: vec![(0, key)],
        held: vec![HeldSurbs {
            message: MessageId::from_bytes([2; 16]),
            epoch: 0,
            surbs: vec![surb().0],
        }],
        answers: vec![(MessageId::from_bytes([3; 16]), b"!".to_vec())],
        memory: client.into_memory(Instant::ZERO),
    }
}

static PLAIN: LazyLock<Vec<u8>> = LazyLock::new(|| encode_store(&store()));
static SEALED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    store().seal(Geometry::DEFAULT, &key(), UnixMillis(0), &mut rng)
});

fn key() -> StoreKey {
    StoreKey::from_bytes([1; 32])
}

fn opens(bytes: &[u8]) -> bool {
    let now = UnixMillis(0);
    SurbStore::open(bytes, Geometry::DEFAULT, &key(), now, TAGS_MAX).is_ok()
}

fuzz_target!(|input: Input| match input {
    Input::Plain(bytes) => read_store(&bytes),
    Input::DamagedPlain(damages) => {
        let mut bytes = PLAIN.clone();
        damage(&mut bytes, &damages);
        read_store(&bytes);
    }
    Input::Sealed(bytes) => assert!(!opens(&bytes)),
    Input::DamagedSealed(damages) => {
        let mut bytes = SEALED.clone();
        let damaged = damage(&mut bytes, &damages);
        assert_eq!(opens(&bytes), !damaged);
    }
});
