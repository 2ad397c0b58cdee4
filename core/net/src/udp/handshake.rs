//! The two messages of Noise IK in their datagrams, and the token between them.

use fogcompute_base::NodeId;
use snow::{Builder, HandshakeState};

use crate::identity::Identity;

use super::gate::{TOKEN_BYTES, Token};
use super::wire::{INDEX_AT, INITIATION, LANE_AT, RESPONSE, RETRY, Refusal, TAG_BYTES, field};

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"fogcompute-udp-link/1";
const GREETING: &str = "fogcompute-udp-link/1 initiation";
const PROOF: &str = "fogcompute-udp-link/1 retry";

const KEY_BYTES: usize = 32;
const GREETING_BYTES: usize = 16;
/// What comes after Noise's message in an initiation.
const TRAILER_BYTES: usize = TOKEN_BYTES + GREETING_BYTES;
/// Kind and index, in handshakes.
const MESSAGE_AT: usize = LANE_AT;
/// Where in a retry it stands that its sender has seen the initiation.
const PROOF_AT: usize = MESSAGE_AT + TOKEN_BYTES;
/// Ephemeral key, static key and its tag, payload's tag.
const FIRST_BYTES: usize = KEY_BYTES + KEY_BYTES + TAG_BYTES + TAG_BYTES;
/// Ephemeral key, payload's tag.
const SECOND_BYTES: usize = KEY_BYTES + TAG_BYTES;
/// Index and stamp.
const CLAIM_BYTES: usize = 12;
/// The shortest datagram that has room for an initiation.
pub(super) const DATAGRAM_BYTES_MIN: usize = MESSAGE_AT + FIRST_BYTES + CLAIM_BYTES + TRAILER_BYTES;

/// What an initiation said, and what is needed to answer it.
pub(super) struct Initiation {
    pub(super) peer: NodeId,
    pub(super) index: u32,
    pub(super) stamp: u64,
    pub(super) noise: HandshakeState,
}

/// The key by which whoever knows a node's public key shows it.
pub(super) fn greeting_key(node: NodeId) -> [u8; 32] {
    blake3::derive_key(GREETING, node.as_bytes())
}

fn greeting(key: &[u8; 32], bytes: &[u8]) -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    greeting.copy_from_slice(&blake3::keyed_hash(key, bytes).as_bytes()[..GREETING_BYTES]);
    greeting
}

fn builder(identity: &Identity) -> Result<Builder<'_>, snow::Error> {
    let params = PATTERN.parse()?;
    Builder::new(params)
        .local_private_key(identity.secret())?
        .prologue(PROLOGUE)
}

/// Starts a handshake with `peer`, with the token that it gave for our address, if it did.
pub(super) fn initiate(
    identity: &Identity,
    peer: NodeId,
    index: u32,
    stamp: u64,
    token: Option<Token>,
    datagram_bytes: usize,
) -> Result<(HandshakeState, Vec<u8>), snow::Error> {
    let mut noise = builder(identity)?
        .remote_public_key(peer.as_bytes())?
        .build_initiator()?;
    let mut payload = vec![0; datagram_bytes - (MESSAGE_AT + FIRST_BYTES + TRAILER_BYTES)];
    payload[..4].copy_from_slice(&index.to_be_bytes());
    payload[4..CLAIM_BYTES].copy_from_slice(&stamp.to_be_bytes());
    let mut datagram = vec![0; datagram_bytes];
    datagram[0] = INITIATION;
    let end = datagram_bytes - TRAILER_BYTES;
    datagram[INDEX_AT..MESSAGE_AT].copy_from_slice(&index.to_be_bytes());
    noise.write_message(&payload, &mut datagram[MESSAGE_AT..end])?;
    put_token(peer, token.unwrap_or_default(), &mut datagram);
    Ok((noise, datagram))
}

/// Puts a token for our address into an initiation.
pub(super) fn put_token(peer: NodeId, token: Token, initiation: &mut [u8]) {
    let end = initiation.len() - TRAILER_BYTES;
    initiation[end..end + TOKEN_BYTES].copy_from_slice(token.as_bytes());
    greet(&greeting_key(peer), initiation);
}

/// Writes the last field of an initiation.
pub(super) fn greet(key: &[u8; 32], datagram: &mut [u8]) {
    if let Some((bytes, claimed)) = datagram.split_last_chunk_mut() {
        *claimed = greeting(key, bytes);
    }
}

/// Whether an initiation, of the right length, was made for the node with this key. No more is known
/// then, but those that were not are refused at the price of a hash.
pub(super) fn is_greeted(key: &[u8; 32], datagram: &[u8]) -> bool {
    let Some((bytes, claimed)) = datagram.split_last_chunk::<GREETING_BYTES>() else {
        return false;
    };
    // Nothing here is secret from whoever knows the public key.
    greeting(key, bytes) == *claimed
}

/// The token in an initiation of the right length; zeros if its sender has none.
pub(super) fn token(datagram: &[u8]) -> Option<Token> {
    let at = datagram.len().checked_sub(TRAILER_BYTES)?;
    field(datagram, at).map(Token::from_bytes)
}

/// Gives who sent an initiation a token: hashes, and nothing is read but what is in the clear.
pub(super) fn retry(node: NodeId, initiation: &[u8], token: Token) -> Vec<u8> {
    let mut datagram = vec![0; initiation.len()];
    datagram[0] = RETRY;
    datagram[INDEX_AT..MESSAGE_AT].copy_from_slice(&initiation[INDEX_AT..MESSAGE_AT]);
    datagram[MESSAGE_AT..PROOF_AT].copy_from_slice(token.as_bytes());
    let proof = proof(node, initiation, token);
    datagram[PROOF_AT..PROOF_AT + proof.len()].copy_from_slice(&proof);
    datagram
}

/// Reads a retry of an initiation to `node`.
///
/// That it was made by somebody who has seen the initiation keeps those away who are not on the
/// way. Those who are can do worse than to give a useless token.
pub(super) fn read_retry(
    node: NodeId,
    initiation: &[u8],
    datagram: &[u8],
) -> Result<Token, Refusal> {
    let token = field(datagram, MESSAGE_AT).map(Token::from_bytes);
    let token = token.ok_or(Refusal::Length)?;
    let expected = proof(node, initiation, token);
    if field(datagram, PROOF_AT) != Some(expected) {
        return Err(Refusal::Forged);
    }
    Ok(token)
}

fn proof(node: NodeId, initiation: &[u8], token: Token) -> [u8; GREETING_BYTES] {
    let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(PROOF, node.as_bytes()));
    hasher.update(token.as_bytes());
    // It covers all of the initiation.
    hasher.update(&initiation[initiation.len().saturating_sub(GREETING_BYTES)..]);
    let mut proof = [0; GREETING_BYTES];
    hasher.finalize_xof().fill(&mut proof);
    proof
}

/// Reads an initiation: two Diffie-Hellmans.
pub(super) fn read_initiation(identity: &Identity, datagram: &[u8]) -> Result<Initiation, Refusal> {
    let end = datagram.len().saturating_sub(TRAILER_BYTES);
    let message = datagram.get(MESSAGE_AT..end).ok_or(Refusal::Length)?;
    let mut noise = builder(identity)
        .and_then(Builder::build_responder)
        .map_err(|_| Refusal::Forged)?;
    let mut payload = vec![0; message.len()];
    let length = noise
        .read_message(message, &mut payload)
        .map_err(|_| Refusal::Forged)?;
    let payload = &payload[..length];
    let peer = noise
        .get_remote_static()
        .and_then(|key| key.try_into().ok());
    let index = field(payload, 0);
    if index != field(datagram, INDEX_AT) {
        return Err(Refusal::Forged);
    }
    match (peer, index, field(payload, 4)) {
        (Some(peer), Some(index), Some(stamp)) => Ok(Initiation {
            peer: NodeId::from_bytes(peer),
            index: u32::from_be_bytes(index),
            stamp: u64::from_be_bytes(stamp),
            noise,
        }),
        _ => Err(Refusal::Forged),
    }
}

/// Answers an initiation: three scalar multiplications more.
pub(super) fn respond(
    noise: &mut HandshakeState,
    remote: u32,
    local: u32,
    datagram_bytes: usize,
) -> Result<Vec<u8>, snow::Error> {
    let mut payload = vec![0; datagram_bytes - LANE_AT - SECOND_BYTES];
    payload[..4].copy_from_slice(&local.to_be_bytes());
    let mut datagram = vec![0; datagram_bytes];
    datagram[0] = RESPONSE;
    datagram[INDEX_AT..LANE_AT].copy_from_slice(&remote.to_be_bytes());
    noise.write_message(&payload, &mut datagram[LANE_AT..])?;
    Ok(datagram)
}

/// Reads a response: what the peer calls the link.
///
/// After an error the handshake is as it was, so a forged response does not end it.
pub(super) fn read_response(noise: &mut HandshakeState, datagram: &[u8]) -> Result<u32, Refusal> {
    let message = datagram.get(LANE_AT..).ok_or(Refusal::Length)?;
    let mut payload = vec![0; message.len()];
    let length = noise
        .read_message(message, &mut payload)
        .map_err(|_| Refusal::Forged)?;
    field(&payload[..length], 0)
        .map(u32::from_be_bytes)
        .ok_or(Refusal::Forged)
}
