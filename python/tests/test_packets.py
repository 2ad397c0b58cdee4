"""Sphinx packets."""

from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

import fogcompute as f

SPHINX = f.Sphinx()
KEYS = [f.PrivateKey.generate() for _ in range(3)]
ROUTE = [
    f.Hop(f"{index + 1:02}" * 32, key.public_key, timedelta(milliseconds=index))
    for index, key in enumerate(KEYS)
]


def test_a_packet_goes_from_hop_to_hop() -> None:
    packet = SPHINX.build(ROUTE, b"hello")
    assert len(packet) == SPHINX.packet_bytes
    tags = set()
    for key, here, there in zip(KEYS, ROUTE, ROUTE[1:], strict=False):
        match SPHINX.process(key, packet):
            case f.Forward(next=node, delay=delay, packet=packet, replay_tag=tag):
                assert (node, delay) == (there.node[:16], here.delay)
                tags.add(tag)
            case other:
                raise AssertionError(other)
    match SPHINX.process(KEYS[-1], packet):
        case f.Deliver(b"hello", replay_tag=tag):
            tags.add(tag)
        case other:
            raise AssertionError(other)
    assert len(tags) == 3


@pytest.mark.parametrize(
    "view",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: memoryview(bytearray(data)),
        lambda data: array("B", data),
        # Every second byte of a buffer: not contiguous.
        lambda data: memoryview(b"".join(bytes([byte, 0]) for byte in data))[::2],
    ],
)
def test_anything_with_bytes_is_taken(view: Callable[[bytes], bytes | bytearray]) -> None:
    key = f.PrivateKey.from_bytes(view(KEYS[0].to_bytes()))
    hop = f.Hop(ROUTE[0].node, view(key.public_key))
    assert type(hop.key) is bytes
    packet = SPHINX.build([hop], view(b"hello"))
    processed = SPHINX.process(key, view(packet))
    assert isinstance(processed, f.Deliver)
    assert processed.payload == b"hello"


def test_any_sequence_of_hops_is_taken() -> None:
    assert SPHINX.build(tuple(ROUTE), b"") != SPHINX.build(ROUTE, b"")


def test_a_changed_packet_is_refused_and_the_error_says_no_secret() -> None:
    packet = bytearray(SPHINX.build(ROUTE, b"hello"))
    packet[100] ^= 1
    with pytest.raises(f.PacketError, match=r"^header tag does not verify$") as caught:
        SPHINX.process(KEYS[0], packet)
    assert (caught.value.code, caught.value.name) == (200, "InvalidPacket")


def test_the_largest_payload_fits_and_one_more_does_not() -> None:
    sphinx = f.Sphinx(1024)
    assert sphinx.build(ROUTE, bytes(1024))
    with pytest.raises(f.PayloadTooLargeError):
        sphinx.build(ROUTE, bytes(1025))


def test_threads_share_a_sphinx_and_a_key() -> None:
    def once(index: int) -> bytes:
        payload = index.to_bytes(4, "big")
        processed = SPHINX.process(KEYS[0], SPHINX.build(ROUTE[:1], payload))
        assert isinstance(processed, f.Deliver)
        return processed.payload

    with ThreadPoolExecutor(4) as pool:
        payloads = list(pool.map(once, range(200)))
    assert payloads == [index.to_bytes(4, "big") for index in range(200)]
