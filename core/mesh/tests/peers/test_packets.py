"""Packets of bitchat-protocol read here, and packets of ours read there."""

import os
import subprocess
from pathlib import Path

import pytest
from bitchat_protocol import (
    AnnouncementPacket,
    BitchatPacket,
    MessageType,
    PacketFlag,
    decode,
    decode_announcement,
    encode,
    encode_announcement,
    peer_id_from_noise_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PACKETS = Path(os.environ["FOGCOMPUTE_EXAMPLES"]) / "packets"
TIME = 1_760_000_000_123
SENDER = bytes.fromhex("1a92f23852dc908d")
TEXT = "a text that is packed " * 20


def read_here(packet: bytes) -> dict[str, str]:
    """What the example says of a packet, by the words before it."""
    done = subprocess.run(
        [PACKETS, "decode"], input=f"theirs {packet.hex()}\n", capture_output=True, text=True, check=True
    )
    words = done.stdout.split()
    assert words[0] == "theirs" and "version" in words, done.stdout
    return dict(zip(words[1::2], words[2::2], strict=False))


def made_here() -> dict[str, bytes]:
    done = subprocess.run([PACKETS], capture_output=True, text=True, check=True)
    return {name: bytes.fromhex(text) for name, text in map(str.split, done.stdout.splitlines())}


ANNOUNCE = encode_announcement(
    AnnouncementPacket("zoë", bytes(range(32)), bytes(range(32, 64)), [SENDER, bytes(8)])
)


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (MessageType.ANNOUNCE, ANNOUNCE),
        (MessageType.MESSAGE, b"hello mesh"),
        (MessageType.MESSAGE, TEXT.encode()),
        (MessageType.LEAVE, b""),
        (MessageType.NOISE_HANDSHAKE, bytes(range(32))),
        (MessageType.FRAGMENT, bytes(range(200))),
    ],
)
@pytest.mark.parametrize("more", ["nothing", "recipient", "signature", "both"])
def test_their_packets_are_read_here(kind, payload, version, padding, more):
    packet = BitchatPacket(version, int(kind), 5, TIME, 0, SENDER, payload)
    if more in ("recipient", "both"):
        packet.recipient_id = bytes(range(1, 9))
        packet.flags |= PacketFlag.HAS_RECIPIENT
    if more in ("signature", "both"):
        packet.signature = bytes(range(64))
        packet.flags |= PacketFlag.HAS_SIGNATURE
    read = read_here(encode(packet, padding=padding))
    assert read["version"] == str(version)
    assert int(read["type"], 16) == kind
    assert (read["ttl"], read["time"], read["sender"]) == ("5", str(TIME), SENDER.hex())
    # An empty payload leaves no word behind.
    assert read["payload"] == payload.hex() or not payload


def test_our_packets_are_read_there():
    ours = made_here()
    read = {name: decode(packet) for name, packet in ours.items()}
    assert None not in read.values()
    assert {packet.timestamp for packet in read.values()} == {TIME}
    announced = decode_announcement(read["announce"].payload)
    assert announced.nickname == "alice"
    sender = peer_id_from_noise_key(announced.noise_public_key)
    assert {packet.sender_id.hex() for packet in read.values()} == {sender}
    assert read["message"].payload == b"hello mesh"
    assert read["packed"].is_compressed
    assert read["packed"].payload == TEXT.encode()
    assert len(ours["packed"]) < len(TEXT)
    assert (read["leave"].type, read["leave"].payload) == (MessageType.LEAVE, b"")
    assert read["handshake"].payload == bytes([7]) * 32
    assert read["handshake"].recipient_id == bytes([9]) * 8
    assert read["file"].type == MessageType.FILE_TRANSFER


def padded(packet: bytes) -> bytes:
    """As the apps pad; bitchat-protocol has blocks of its own."""
    target = next((size for size in (256, 512, 1024, 2048) if len(packet) + 16 <= size), len(packet))
    count = target - len(packet)
    return packet + bytes([count]) * count if count <= 255 else packet


@pytest.mark.parametrize("name", ["announce", "message", "leave", "file"])
def test_our_signatures_are_of_their_encoding(name):
    ours = made_here()
    packet = decode(ours[name])
    key = decode_announcement(decode(ours["announce"]).payload).signing_public_key
    signature, packet.signature = packet.signature, None
    packet.flags &= ~PacketFlag.HAS_SIGNATURE
    packet.ttl = 0
    # Raises what is wrong.
    Ed25519PublicKey.from_public_bytes(key).verify(signature, padded(encode(packet)))
