//! Packets of a mesh beside PyPI's `bitchat-protocol`, signatures beside bare `ed25519-dalek`, handshakes beside bare
//! `snow`, messages over TCP beside `snow` over TCP, simulated time beside real time, and memory.

mod tcp;

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cpu_time::ThreadTime;
use ed25519_dalek::{Signature, VerifyingKey};
use fogcompute_mesh::courier::CourierStrategy;
use fogcompute_mesh::noise::{Initiator, Responder};
use fogcompute_mesh::{Identity, Packet, PacketType};
use fogcompute_sim::MeshPlan;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Deserialize;
use snow::TransportState;

use crate::measure::{Effort, counted_on_heap, in_turns};
use crate::row::{Output, Row};

use fogcompute::base::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_760_000_000_000);
/// Short enough that neither side packs it.
const TEXT: &str = "The quick brown fox jumps over the lazy dog, then 0123456789 sheep.";

/// What `benches/peers/mesh.py` measured, by the CPU time of its process.
#[derive(Deserialize)]
struct Peer {
    version: String,
    encode_nanos: f64,
    decode_nanos: f64,
    encoded: String,
    calls: u64,
}

/// What the program `memory` counted, beside the least that must be kept.
#[derive(Deserialize)]
struct Memory {
    idle_peer: f64,
    announce: f64,
    thousand_messages: f64,
    thousand_packets: f64,
}

pub(crate) fn run(
    python: &Path,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let identity = Identity::random(rng);
    let mut packet = Packet::new(PacketType::MESSAGE, identity.peer_id(), NOW, TEXT.into())?;
    packet.sign(&identity);
    packets(&packet, python, effort, output)?;
    signatures(&packet, &identity, effort, output)?;
    handshakes(effort, output)?;
    tcp::run(effort, output)?;
    simulated(effort, output)?;
    memory(output)
}

fn packets(
    packet: &Packet,
    python: &Path,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    let bytes = packet.encode();
    let calls = match effort {
        Effort::Full => 20_000,
        Effort::Smoke => 10,
    };
    let peer = ask_python(python, &bytes, calls)?;
    if peer.encoded != hex(&bytes) {
        return Err("the peer encodes the packet in another way".into());
    }
    let ours = in_turns(
        effort,
        || {
            black_box(black_box(packet).encode());
        },
        || {
            black_box(Packet::decode(black_box(&bytes)).is_ok());
        },
    );
    for (case, nanos, theirs) in [
        ("encode a signed packet", ours.ours, peer.encode_nanos),
        ("decode a signed packet", ours.theirs, peer.decode_nanos),
    ] {
        output.print(Row {
            area: "mesh",
            case: case.to_owned(),
            ours: nanos,
            unit: "ns",
            peer: "bitchat-protocol".to_owned(),
            peer_version: peer.version.clone(),
            theirs,
            ratio: theirs / nanos,
            n: ours.n.min(peer.calls),
        })?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ask_python(python: &Path, packet: &[u8], calls: u64) -> Result<Peer, Box<dyn Error>> {
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/mesh.py"))
        .arg(calls.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("no way to the peer")?;
    input.write_all(hex(packet).as_bytes())?;
    drop(input);
    let done = child.wait_with_output()?;
    if !done.status.success() {
        return Err(format!("the peer ended with {}", done.status).into());
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}

fn signatures(
    packet: &Packet,
    identity: &Identity,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    let key = identity.verify_key();
    let bare = VerifyingKey::from_bytes(key.as_bytes())?;
    let preimage = packet.signing_preimage();
    let signature = Signature::from_bytes(&packet.signature.ok_or("the packet is signed")?);
    bare.verify_strict(&preimage, &signature)?;
    if !packet.verify(&key) {
        return Err("the packet's signature does not verify".into());
    }
    let pair = in_turns(
        effort,
        || {
            black_box(packet.verify(black_box(&key)));
        },
        || {
            black_box(bare.verify_strict(black_box(&preimage), &signature).is_ok());
        },
    );
    output.print(Row {
        area: "mesh",
        case: "verify a packet".to_owned(),
        ours: pair.ours,
        unit: "ns",
        peer: "ed25519-dalek".to_owned(),
        peer_version: env!("PEER_ED25519_DALEK").to_owned(),
        theirs: pair.theirs,
        ratio: pair.theirs / pair.ours,
        n: pair.n,
    })
}

/// One side of a bare handshake. A saved identity begins with the secret for sessions.
fn side(secret: &[u8; 64]) -> Result<snow::Builder<'_>, snow::Error> {
    snow::Builder::new("Noise_XX_25519_ChaChaPoly_SHA256".parse()?).local_private_key(&secret[..32])
}

/// Both ends of a bare session.
fn shake_hands(secrets: [&[u8; 64]; 2]) -> Result<[TransportState; 2], snow::Error> {
    let mut initiator = side(secrets[0])?.build_initiator()?;
    let mut responder = side(secrets[1])?.build_responder()?;
    let (mut message, mut payload) = ([0; 128], [0; 128]);
    for turn in 0..3 {
        let (from, to) = if turn % 2 == 0 {
            (&mut initiator, &mut responder)
        } else {
            (&mut responder, &mut initiator)
        };
        let length = from.write_message(&[], &mut message)?;
        to.read_message(&message[..length], &mut payload)?;
    }
    Ok([
        initiator.into_transport_mode()?,
        responder.into_transport_mode()?,
    ])
}

/// A whole XX handshake, both sides.
fn handshakes(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let people = [(); 2].map(|()| Identity::random(rng));
    let secrets = people.each_ref().map(Identity::to_bytes);
    let ours = |rng: &mut ChaCha8Rng| -> Option<()> {
        let (initiator, first) = Initiator::new(&people[0], rng);
        let (responder, second) = Responder::new(&people[1], &first, rng).ok()?;
        let (session, third) = initiator.finish(&second).ok()?;
        let other = responder.finish(&third).ok()?;
        (session.handshake_hash() == other.handshake_hash()).then_some(())
    };
    ours(rng).ok_or("our handshake does not end")?;
    shake_hands([&secrets[0], &secrets[1]])?;
    let pair = in_turns(
        effort,
        || {
            black_box(ours(rng));
        },
        || {
            black_box(shake_hands([&secrets[0], &secrets[1]]).is_ok());
        },
    );
    output.print(Row {
        area: "mesh",
        case: "Noise XX handshake, both sides".to_owned(),
        ours: pair.ours,
        unit: "ns",
        peer: "snow".to_owned(),
        peer_version: env!("PEER_SNOW").to_owned(),
        theirs: pair.theirs,
        ratio: pair.theirs / pair.ours,
        n: pair.n,
    })
}

/// What a second of one phone takes, with a node in it: how many there are in a second of this thread.
fn simulated(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let (phones, span) = match effort {
        Effort::Full => (50, Duration::from_secs(3600)),
        Effort::Smoke => (4, Duration::from_secs(60)),
    };
    let plan = MeshPlan {
        first: span / 4,
        last: span / 2,
        span,
        ..MeshPlan::new(0, phones, CourierStrategy::default())
    };
    let begun = ThreadTime::now();
    plan.run_phones()?;
    let seconds = u64::from(phones) * span.as_secs();
    let nanos = begun.elapsed().as_secs_f64() * 1e9 / seconds as f64;
    let real = 1e9;
    output.print(Row {
        area: "mesh",
        case: "a second of a simulated phone".to_owned(),
        ours: nanos,
        unit: "ns",
        peer: "real time".to_owned(),
        peer_version: format!("{phones} phones"),
        theirs: real,
        ratio: real / nanos,
        n: seconds,
    })
}

/// Bytes of the heap.
fn memory(output: &mut Output) -> Result<(), Box<dyn Error>> {
    let memory: Memory = counted_on_heap("mesh")?;
    for (case, ours, peer, theirs) in [
        (
            "memory of an idle peer",
            memory.idle_peer,
            "its announce",
            memory.announce,
        ),
        (
            "memory of 1,000 messages",
            memory.thousand_messages,
            "their packets",
            memory.thousand_packets,
        ),
    ] {
        output.print(Row {
            area: "mesh",
            case: case.to_owned(),
            ours,
            unit: "B",
            peer: peer.to_owned(),
            peer_version: "alone".to_owned(),
            theirs,
            ratio: theirs / ours,
            n: 1000,
        })?;
    }
    Ok(())
}
