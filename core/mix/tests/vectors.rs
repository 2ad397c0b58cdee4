//! Known answers of `fog-sphinx/1`, for other implementations to check themselves against, and for
//! this one to stay what it was.
//!
//! ```sh
//! FOG_WRITE_VECTORS=1 cargo test -p fogcompute-mix --test vectors   # writes the files anew
//! ```
//!
//! `tests/vectors/README.md` says what the fields are.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use fogcompute_base::NodeId;
use fogcompute_mix::{
    EpochParity, Geometry, HOPS_MAX, Hop, Packet, PrivateKey, Processed, Suite, Surb,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng};
use serde_json::{Value, json};

/// Draws from a seed and writes down what was drawn.
struct Recorder {
    rng: ChaCha20Rng,
    drawn: Vec<u8>,
}

impl Recorder {
    fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha20Rng::seed_from_u64(seed),
            drawn: Vec::new(),
        }
    }
}

impl TryRng for Recorder {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.rng.fill_bytes(bytes);
        self.drawn.extend_from_slice(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Recorder {}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn route(seed: u64, hops: usize, epoch: EpochParity) -> (Vec<PrivateKey>, Vec<Hop>) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let keys: Vec<_> = (0..hops).map(|_| PrivateKey::random(&mut rng)).collect();
    let route = keys
        .iter()
        .map(|key| {
            let mut node = [0; 32];
            rng.fill_bytes(&mut node);
            Hop {
                node: NodeId::from_bytes(node),
                key: key.public(),
                epoch,
                delay: Duration::from_micros(u64::from(rng.next_u32()) >> 10),
            }
        })
        .collect();
    (keys, route)
}

fn route_json(keys: &[PrivateKey], route: &[Hop]) -> Value {
    keys.iter()
        .zip(route)
        .map(|(key, hop)| {
            json!({
                "node": hop.node,
                "private_key": hex(&key.to_bytes()),
                "public_key": hex(hop.key.as_bytes()),
                "delay_us": u64::try_from(hop.delay.as_micros()).unwrap(),
            })
        })
        .collect()
}

/// The packet as it reaches each hop, and what each finds.
fn hops_json(keys: &[PrivateKey], mut packet: Packet) -> Value {
    let mut hops = Vec::new();
    for key in keys {
        let bytes = hex(packet.as_bytes());
        let unwrapped = packet.process(key).unwrap();
        let tag = hex(unwrapped.replay_tag.as_bytes());
        let found = match unwrapped.outcome {
            Processed::Forward {
                next,
                delay,
                packet: inner,
            } => {
                packet = inner;
                json!({
                    "forward": next.to_string(),
                    "delay_us": u64::try_from(delay.as_micros()).unwrap(),
                })
            }
            Processed::Deliver { payload } => json!({"deliver": hex(&payload)}),
            Processed::Reply { surb, .. } => json!({"reply": hex(surb.as_bytes())}),
        };
        hops.push(json!({"packet": bytes, "replay_tag": tag, "found": found}));
    }
    Value::Array(hops)
}

fn geometry_json(geometry: Geometry) -> Value {
    json!({
        "hops_max": geometry.hops_max(),
        "payload_bytes": geometry.payload_bytes(),
        "suite": geometry.suite() as u8,
    })
}

fn payload(seed: u64, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u64 * 7 + seed) as u8).collect()
}

fn packet_case(geometry: Geometry, seed: u64, hops: usize, length: usize) -> Value {
    let epoch = EpochParity::of(seed);
    let (keys, route) = route(seed, hops, epoch);
    let payload = payload(seed, length);
    let mut rng = Recorder::new(seed);
    let packet = Packet::build(geometry, &route, &payload, &mut rng).unwrap();
    json!({
        "geometry": geometry_json(geometry),
        "epoch": epoch as u8,
        "route": route_json(&keys, &route),
        "random": hex(&rng.drawn),
        "payload": hex(&payload),
        "hops": hops_json(&keys, packet),
    })
}

fn surb_case(geometry: Geometry, seed: u64, hops: usize, length: usize) -> Value {
    let epoch = EpochParity::of(seed);
    let (keys, route) = route(seed, hops, epoch);
    let payload = payload(seed, length);
    let mut rng = Recorder::new(seed);
    let (surb, key) = Surb::new(geometry, &route, &mut rng).unwrap();
    let bytes = hex(&surb.to_bytes());
    let (first, packet) = surb.reply(&payload).unwrap();
    let mut last = packet.clone();
    let opened = loop {
        let at = keys
            .iter()
            .position(|key| last.process(key).is_ok())
            .unwrap();
        match last.process(&keys[at]).unwrap().outcome {
            Processed::Forward { packet, .. } => last = packet,
            Processed::Reply { reply, .. } => break key.open(reply).unwrap(),
            Processed::Deliver { .. } => panic!("a reply is not a message"),
        }
    };
    assert_eq!(opened, payload);
    json!({
        "geometry": geometry_json(geometry),
        "epoch": epoch as u8,
        "route": route_json(&keys, &route),
        "random": hex(&rng.drawn),
        "surb": bytes,
        "surb_id": hex(key.id().as_bytes()),
        "first": first.to_string(),
        "payload": hex(&payload),
        "hops": hops_json(&keys, packet),
    })
}

/// Compares with the committed file, or writes it if asked to.
fn check(name: &str, cases: &[Value]) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "vectors", name]
        .iter()
        .collect();
    let vectors = json!({"format": "fog-sphinx/1", "cases": cases});
    if std::env::var_os("FOG_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&vectors).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let committed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(committed["format"], vectors["format"]);
    let (committed, made) = (&committed["cases"], &vectors["cases"]);
    assert_eq!(
        committed.as_array().unwrap().len(),
        made.as_array().unwrap().len()
    );
    for (committed, made) in committed
        .as_array()
        .unwrap()
        .iter()
        .zip(made.as_array().unwrap())
    {
        for (field, value) in made.as_object().unwrap() {
            assert!(&committed[field] == value, "{name}: {field} differs");
        }
    }
}

#[test]
fn packets_are_those_of_the_vectors() {
    let mut cases = vec![
        packet_case(Geometry::DEFAULT, 1, 4, 2048),
        packet_case(Geometry::DEFAULT.with_suite(Suite::ChaCha20), 2, 7, 100),
    ];
    for (seed, hops) in (3..).zip(1..=5) {
        cases.push(packet_case(
            Geometry::DATAGRAM,
            seed,
            hops,
            200 * (hops - 1),
        ));
    }
    let smallest = Geometry::new(1, 1024).unwrap();
    let four = Geometry::new(HOPS_MAX, 4096).unwrap();
    cases.push(packet_case(
        smallest.with_suite(Suite::ChaCha20),
        8,
        1,
        1024,
    ));
    cases.push(packet_case(four, 9, 3, 4095));
    check("packets.json", &cases);
}

#[test]
fn reply_blocks_are_those_of_the_vectors() {
    let mut cases = vec![surb_case(Geometry::DEFAULT, 11, 4, 2048)];
    for (seed, hops) in (12..).zip([1, 2, 5]) {
        cases.push(surb_case(Geometry::DATAGRAM, seed, hops, 33 * hops));
    }
    let chacha = Geometry::DATAGRAM.with_suite(Suite::ChaCha20);
    cases.push(surb_case(chacha, 15, 3, 0));
    check("surbs.json", &cases);
}
