//! Known answers.
//!
//! `vectors/bitchat.json` was made for this project with independent libraries (`noiseprotocol`, `cryptography`,
//! `zlib`), and its packets decode in two other implementations (PyPI `bitchat-protocol` 0.2.0 and
//! `bitchat-cli` 0.2.3). What the apps' authors publish as test data is not copied here: tests read it where
//! `FOGCOMPUTE_VECTORS` says, or in `../shared/vectors` beside the repository, and say so when it is in neither.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;

use fogcompute_base::UnixMillis;
use fogcompute_mesh::courier::{CourierTag, Envelope, day};
use fogcompute_mesh::file::File;
use fogcompute_mesh::fragment::{Reassembler, ReassemblyConfig, split};
use fogcompute_mesh::noise::{Initiator, Responder, seal_to};
use fogcompute_mesh::{
    Announce, Capabilities, Content, Fragment, Gcs, Identity, MessageId, NoiseKey, Packet,
    PacketType, PeerId, SyncRequest, SyncTypes, VerifyKey,
};
use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;

fn vectors() -> Value {
    let text = include_str!("vectors/bitchat.json");
    serde_json::from_str::<Value>(text).unwrap()["vectors"].clone()
}

/// What the apps' authors publish.
fn published(name: &str) -> Option<Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");
    let folder =
        std::env::var_os("FOGCOMPUTE_VECTORS").map_or(PathBuf::from(beside), PathBuf::from);
    let path = folder.join("bitchat").join(name);
    let Ok(text) = fs::read_to_string(&path) else {
        println!(
            "{} is not here: nothing is compared with it",
            path.display()
        );
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn hex(value: &Value) -> Vec<u8> {
    from_hex(value.as_str().unwrap())
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex_array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

fn person(vectors: &Value, name: &str) -> Identity {
    let identities = vectors["identities"].as_array().unwrap();
    let person = identities.iter().find(|p| p["name"] == name).unwrap();
    Identity::from_bytes(
        hex_array(&person["noise_static_private"]),
        hex_array(&person["ed25519_seed"]),
    )
}

/// Gives bytes that were drawn before.
struct Given(Vec<u8>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Given {}

#[test]
fn identities_are_derived() {
    let vectors = vectors();
    for person in vectors["identities"].as_array().unwrap() {
        let identity = Identity::from_bytes(
            hex_array(&person["noise_static_private"]),
            hex_array(&person["ed25519_seed"]),
        );
        let key = identity.noise_key();
        assert_eq!(key.to_string(), person["noise_static_public"]);
        assert_eq!(key.fingerprint().to_string(), person["fingerprint_sha256"]);
        assert_eq!(identity.peer_id().to_string(), person["peer_id"]);
        assert_eq!(identity.verify_key().to_string(), person["ed25519_public"]);
    }
}

#[test]
fn packets_are_those_of_the_other_implementations() {
    let vectors = vectors();
    let alice = person(&vectors, "alice");
    for name in [
        "announce",
        "public_message_short",
        "public_message_android_broadcast_recipient",
        "file_transfer_v2",
    ] {
        let vector = &vectors[name];
        let kind = PacketType(u8::try_from(vector["type"].as_u64().unwrap()).unwrap());
        let time = UnixMillis(vector["timestamp_ms"].as_u64().unwrap());
        let payload = hex(&vector["payload"]);
        let mut packet = Packet::new(kind, alice.peer_id(), time, payload.clone()).unwrap();
        packet.recipient = vector["recipient"].as_str().map(|id| id.parse().unwrap());
        assert_eq!(
            u64::from(packet.version()),
            vector["version"].as_u64().unwrap()
        );
        assert_eq!(
            packet.signing_preimage(),
            hex(&vector["signing_preimage"]),
            "{name}"
        );
        packet.sign(&alice);
        assert_eq!(
            packet.signature.unwrap().to_vec(),
            hex(&vector["signature"]),
            "{name}"
        );
        assert_eq!(packet.encode(), hex(&vector["packet_unpadded"]), "{name}");
        for wire in ["packet_unpadded", "packet_padded"] {
            let (read, _) = Packet::decode(&hex(&vector[wire])).unwrap();
            assert_eq!(read, packet, "{name} {wire}");
            assert!(read.verify(&alice.verify_key()));
            assert!(read.is_broadcast());
        }
    }
    let announce = Announce::decode(&hex(&vectors["announce"]["payload"])).unwrap();
    assert_eq!(announce.nickname, "alice");
    assert_eq!(announce.noise_key, alice.noise_key());
    assert_eq!(
        announce.encode().unwrap(),
        hex(&vectors["announce"]["payload"])
    );
    let file = File::decode(&hex(&vectors["file_transfer_v2"]["payload"])).unwrap();
    assert_eq!(file.content, [1, 2, 3]);
    assert_eq!(
        file.encode().unwrap(),
        hex(&vectors["file_transfer_v2"]["payload"])
    );
}

#[test]
fn a_message_has_the_same_identifiers_everywhere() {
    let vectors = vectors();
    let vector = &vectors["mesh_message_stable_id"];
    let input = vector["input"].as_str().unwrap();
    let [sender, time, text] = input.split('|').collect::<Vec<_>>().try_into().unwrap();
    let id = MessageId::of_public(
        sender.parse().unwrap(),
        UnixMillis(time.parse().unwrap()),
        text,
    );
    assert_eq!(id.as_str(), vector["id"]);
    let (packet, _) =
        Packet::decode(&hex(&vectors["public_message_short"]["packet_unpadded"])).unwrap();
    assert_eq!(
        packet.sync_id().to_vec(),
        hex(&vectors["packet_id_for_sync"]["id16"])
    );
}

#[test]
fn a_noise_session_is_that_of_another_implementation() {
    let vectors = vectors();
    let (alice, bob) = (person(&vectors, "alice"), person(&vectors, "bob"));
    let vector = &vectors["noise_xx_session"];
    let mut drawn = Given(hex(&vector["initiator_ephemeral_private"]));
    let (initiator, first) = Initiator::new(&alice, &mut drawn);
    assert_eq!(first, hex(&vector["msg1"]));
    let mut drawn = Given(hex(&vector["responder_ephemeral_private"]));
    let (responder, second) = Responder::new(&bob, &first, &mut drawn).unwrap();
    assert_eq!(second, hex(&vector["msg2"]));
    let (mut ours, third) = initiator.finish(&second).unwrap();
    assert_eq!(third, hex(&vector["msg3"]));
    let mut theirs = responder.finish(&third).unwrap();
    assert_eq!(
        ours.handshake_hash().to_vec(),
        hex(&vector["handshake_hash"])
    );
    for message in vector["transport"].as_array().unwrap() {
        let (from, to) = if message["from"] == "initiator" {
            (&mut ours, &mut theirs)
        } else {
            (&mut theirs, &mut ours)
        };
        let plaintext = hex(&message["plaintext"]);
        let sealed = from.seal(&plaintext).unwrap();
        assert_eq!(sealed, hex(&message["noiseEncrypted_payload"]));
        assert_eq!(to.open(&sealed).unwrap(), plaintext);
        let content = Content::decode(&plaintext).unwrap();
        assert_eq!(content.encode().unwrap(), plaintext);
    }
}

#[test]
fn an_envelope_is_that_of_another_implementation() {
    let vectors = vectors();
    let (alice, bob) = (person(&vectors, "alice"), person(&vectors, "bob"));
    let vector = &vectors["courier_v1"];
    let plaintext = hex(&vector["plaintext"]);
    let prologue = vector["prologue_utf8"].as_str().unwrap().as_bytes();
    let mut drawn = Given(hex(&vector["ephemeral_private"]));
    let sealed = seal_to(&alice, bob.noise_key(), prologue, &plaintext, &mut drawn).unwrap();
    assert_eq!(sealed, hex(&vector["noise_x_ciphertext"]));
    let today = u32::try_from(vector["epoch_day"].as_u64().unwrap()).unwrap();
    let tag = CourierTag::new(bob.noise_key(), today);
    assert_eq!(tag.0.to_vec(), hex(&vector["recipient_tag"]));
    let expiry = UnixMillis(vector["expiry_ms"].as_u64().unwrap());
    let envelope = Envelope {
        tag,
        expiry,
        sealed,
        copies: 4,
        prekey: None,
    };
    let bytes = hex(&vector["envelope"]);
    assert_eq!(envelope.encode().unwrap(), bytes);
    let read = Envelope::decode(&bytes).unwrap();
    assert_eq!(read.open(&bob), Ok((alice.noise_key(), plaintext)));
    let made = UnixMillis(expiry.0 - 86_400_000);
    assert_eq!(day(made), today);
    assert!(read.tag.is_for(bob.noise_key(), made));
}

#[test]
fn fragments_are_those_of_another_implementation() {
    let vectors = vectors();
    let vector = &vectors["fragments"];
    let bytes = hex(&vector["original_packet"]);
    let (packet, _) = Packet::decode(&bytes).unwrap();
    let fragments = split(&packet, 512, hex_array(&vector["fragment_id"])).unwrap();
    let encoded: Vec<_> = fragments.iter().map(Packet::encode).collect();
    let expected: Vec<_> = vector["packets"]
        .as_array()
        .unwrap()
        .iter()
        .map(hex)
        .collect();
    assert_eq!(encoded, expected);
    let mut reassembler = Reassembler::new(ReassemblyConfig::default());
    let now = fogcompute_base::Instant::ZERO;
    let mut whole = None;
    for fragment in fragments.iter().rev() {
        let read = Fragment::decode(fragment.payload()).unwrap();
        whole = reassembler.insert(fragment.sender, &read, 0, now).unwrap();
    }
    assert_eq!(whole, Some(bytes));
}

#[test]
fn a_set_is_that_of_another_implementation() {
    let vectors = vectors();
    let vector = &vectors["gcs"];
    let ids: Vec<[u8; 16]> = vector["ids16"]
        .as_array()
        .unwrap()
        .iter()
        .map(hex_array)
        .collect();
    let set = Gcs::new(&ids, 400);
    assert_eq!(
        u64::from(set.remainder_bits()),
        vector["p"].as_u64().unwrap()
    );
    assert_eq!(u64::from(set.range()), vector["m"].as_u64().unwrap());
    assert_eq!(set.coded(), hex(&vector["data"]));
    let values: Vec<_> = set.values().into_iter().map(Value::from).collect();
    assert_eq!(&values, vector["mapped_sorted"].as_array().unwrap());
    let request = SyncRequest {
        set,
        types: Some(SyncTypes::ANNOUNCES.with(SyncTypes::MESSAGES)),
        since: Some(UnixMillis(1_760_000_000_123)),
        fragments: vec![],
    };
    let bytes = hex(&vector["request_sync_payload_types_announce_message_since"]);
    assert_eq!(request.encode().unwrap(), bytes);
    assert_eq!(SyncRequest::decode(&bytes), Ok(request));
    let empty = SyncRequest {
        set: Gcs::new(&[], 400),
        types: Some(SyncTypes::ANNOUNCES.with(SyncTypes::MESSAGES)),
        since: None,
        fragments: vec![],
    };
    assert_eq!(empty.encode().unwrap(), hex(&vector["empty_request"]));
}

#[test]
fn published_packets_and_payloads_are_read_and_written() {
    let Some(golden) = published("golden.json") else {
        return;
    };
    let wire = |name: &str| hex(&golden[name]["wire"]);

    let bytes = hex(&golden["v1_packet"]["wire_unpadded"]);
    let (packet, _) = Packet::decode(&bytes).unwrap();
    assert_eq!(
        packet.sender,
        PeerId::from_bytes(hex_array(&golden["v1_packet"]["fields"]["sender"]))
    );
    assert_eq!(
        packet.payload(),
        hex(&golden["v1_packet"]["fields"]["payload"])
    );
    assert_eq!(packet.encode(), bytes);

    let mut bytes = hex(&golden["v2_routed_signed"]["wire_prefix"]);
    bytes.extend([0x5a; 64]);
    let (packet, _) = Packet::decode(&bytes).unwrap();
    let fields = &golden["v2_routed_signed"]["fields"];
    let route: Vec<_> = packet
        .route()
        .unwrap()
        .iter()
        .map(|hop| Value::from(hop.to_string()))
        .collect();
    assert_eq!(&route, fields["route"].as_array().unwrap());
    assert_eq!(
        (packet.version(), packet.ttl, packet.timestamp),
        (2, 5, UnixMillis(42))
    );
    assert_eq!(packet.encode(), bytes);

    let private = hex(&golden["private_message_tlv"]["noise_payload"]);
    let content = Content::Private {
        id: MessageId::new("m1").unwrap(),
        text: "hi".to_owned(),
    };
    assert_eq!(content.encode().unwrap(), private);
    assert_eq!(Content::decode(&private), Ok(content));

    let bytes = wire("fragment_payload");
    let fragment = Fragment::decode(&bytes).unwrap();
    assert_eq!(
        (fragment.index, fragment.total, fragment.data),
        (1, 3, &[0xaa, 0xbb][..])
    );
    assert_eq!(fragment.encode(), bytes);

    let bytes = wire("request_sync");
    let request = SyncRequest::decode(&bytes).unwrap();
    assert_eq!(request.encode().unwrap(), bytes);
    let with_unknown = hex(&golden["request_sync"]["with_unknown_tlv_prefix"]);
    assert_eq!(SyncRequest::decode(&with_unknown), Ok(request));

    let text = golden["announcement"]["wire"].as_str().unwrap();
    let text = text
        .replace("{11x32}", &"11".repeat(32))
        .replace("{22x32}", &"22".repeat(32));
    let announce = Announce::decode(&from_hex(&text)).unwrap();
    assert_eq!(announce.noise_key, NoiseKey::from_bytes([0x11; 32]));
    assert_eq!(announce.verify_key, VerifyKey::from_bytes([0x22; 32]));
    assert_eq!(announce.capabilities, Some(Capabilities::PRIVATE_MEDIA));
    assert_eq!(announce.encode().unwrap(), from_hex(&text));

    let bytes = wire("file_transfer");
    let file = File::decode(&bytes).unwrap();
    assert_eq!(file.encode().unwrap(), bytes);
    let private_file = hex(&golden["private_file_plaintext_ios_fixture"]);
    let Ok(Content::File(file)) = Content::decode(&private_file) else {
        panic!("it is a file");
    };
    assert_eq!(
        (file.name.as_deref(), &file.content[..]),
        (Some("a.txt"), &[1, 2, 3][..])
    );

    let stable = &golden["mesh_stable_id"];
    let id = MessageId::of_public(
        stable["sender"].as_str().unwrap().parse().unwrap(),
        UnixMillis(stable["ts"].as_u64().unwrap()),
        stable["content"].as_str().unwrap(),
    );
    assert_eq!(id.as_str(), stable["id"]);
}
