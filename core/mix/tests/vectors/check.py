"""Checks the vectors of `fog-sphinx/1` with an implementation that shares no code with the crate.

It is written from the byte tables in the documentation of `fogcompute_mix::Packet`, in the plainest
way there is, for reading beside them: nothing in it is fast or constant time.

    pip install blake3 cryptography
    python core/mix/tests/vectors/check.py
"""

import json
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK, MAC = 64, 16


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


class Format:
    def __init__(self, geometry: dict) -> None:
        self.hops, self.suite = geometry["hops_max"], geometry["suite"]
        self.capacity = geometry["payload_bytes"]
        self.label = bytes([0x10 | self.suite, self.hops, self.capacity // 1024])
        self.mac_at = 34 + self.hops * BLOCK
        self.header = self.mac_at + MAC

    def stream(self, key: bytes, data: bytes) -> bytes:
        if self.suite == 1:
            cipher = Cipher(algorithms.AES(key[:16]), modes.CTR(key[16:]))
        else:
            cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), None)
        return cipher.encryptor().update(data)

    def keys(self, shared: bytes, c: bytes, public: bytes) -> tuple[bytes, ...]:
        data = b"fog-sphinx/1 hop keys" + self.label + c + public
        out = blake3(data, key=shared).digest(length=112)
        return out[:32], out[32:64], out[64:96], out[96:]

    def rounds(self, seed: bytes) -> list[bytes]:
        data = b"fog-sphinx/1 payload keys" + self.label
        out = blake3(data, key=seed).digest(length=128)
        return [out[at : at + 32] for at in range(0, 128, 32)]

    def encrypt(self, seed: bytes, block: bytes) -> bytes:
        left, right = block[:32], block[32:]
        k = self.rounds(seed)
        right = self.stream(xor(left, k[0]), right)
        left = xor(left, blake3(right, key=k[1]).digest())
        right = self.stream(xor(left, k[2]), right)
        left = xor(left, blake3(right, key=k[3]).digest())
        return left + right

    def decrypt(self, seed: bytes, block: bytes) -> bytes:
        left, right = block[:32], block[32:]
        k = self.rounds(seed)
        left = xor(left, blake3(right, key=k[3]).digest())
        right = self.stream(xor(left, k[2]), right)
        left = xor(left, blake3(right, key=k[1]).digest())
        right = self.stream(xor(left, k[0]), right)
        return left + right

    def seal(self, message: bytes) -> bytes:
        padding = bytes(self.capacity - len(message))
        return bytes(28) + len(message).to_bytes(4, "big") + message + padding

    def open(self, block: bytes) -> bytes:
        assert block[:28] == bytes(28)
        return block[32 : 32 + int.from_bytes(block[28:32], "big")]

    def build_header(
        self, route: list[dict], epoch: int, random: bytes, reply: bool
    ) -> tuple[bytes, list[bytes]]:
        n = len(route)
        scalars = blake3(b"fog-sphinx/1 ephemeral scalars", key=random[:32]).digest(length=32 * n)
        own = random[32 : 32 + (self.hops - n + 1) * BLOCK]
        points, keys = [], []
        for index, hop in enumerate(route):
            secret = X25519PrivateKey.from_private_bytes(scalars[32 * index : 32 * index + 32])
            public = bytes.fromhex(hop["public_key"])
            shared = secret.exchange(X25519PublicKey.from_public_bytes(public))
            points.append(secret.public_key().public_bytes_raw())
            keys.append(self.keys(shared, points[-1], public))
        frame = bytes([0x10 | self.suite, epoch])
        # The end of each header is what the hop before appends: all of it follows from decrypting
        # zeros, first hop to last.
        tail = b""
        for stream_key, *_ in keys[:-1]:
            whole = self.stream(stream_key, bytes((self.hops + 1) * BLOCK))
            tail += bytes(BLOCK)
            tail = xor(tail, whole[len(whole) - len(tail) :])
        last = own[:56] + bytes(4) + bytes([2 if reply else 1]) + bytes(3) + own[BLOCK:]
        beta = self.stream(keys[-1][0], last) + tail
        for index in reversed(range(n)):
            if index + 1 < n:
                hop = route[index]
                block = points[index + 1] + mac + bytes.fromhex(route[index + 1]["node"])[:8]
                block += hop["delay_us"].to_bytes(4, "big") + bytes(4)
                beta = self.stream(keys[index][0], block + beta[: (self.hops - 1) * BLOCK])
            header = frame + points[index] + beta
            mac = blake3(header, key=keys[index][1]).digest()[:MAC]
        return header + mac, [seed for _, _, seed, _ in keys]

    def process(self, hop: dict, packet: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        """The routing block, the packet for the next hop, its payload seed and replay tag."""
        c, mac = packet[2:34], packet[self.mac_at : self.header]
        secret = X25519PrivateKey.from_private_bytes(bytes.fromhex(hop["private_key"]))
        shared = secret.exchange(X25519PublicKey.from_public_bytes(c))
        public = secret.public_key().public_bytes_raw()
        assert public.hex() == hop["public_key"]
        stream_key, mac_key, seed, tag = self.keys(shared, c, public)
        assert blake3(packet[: self.mac_at], key=mac_key).digest()[:MAC] == mac
        beta = self.stream(stream_key, packet[34 : self.mac_at] + bytes(BLOCK))
        block, beta = beta[:BLOCK], beta[BLOCK:]
        inner = packet[:2] + block[:32] + beta + block[32:48]
        return block, inner + self.decrypt(seed, packet[self.header :]), seed, tag


def follow(form: Format, case: dict) -> list[bytes]:
    """Compares what every hop finds; returns the payload seeds."""
    packet, seeds = bytes.fromhex(case["hops"][0]["packet"]), []
    for index, (hop, expected) in enumerate(zip(case["route"], case["hops"], strict=True)):
        assert packet.hex() == expected["packet"]
        assert len(packet) == form.header + 32 + form.capacity
        block, inner, seed, tag = form.process(hop, packet)
        seeds.append(seed)
        assert tag.hex() == expected["replay_tag"]
        assert block[61:] == bytes(3)
        found = expected["found"]
        if block[60] == 0:
            following = case["route"][index + 1]["node"]
            assert block[48:56].hex() == found["forward"] == following[:16]
            assert int.from_bytes(block[56:60], "big") == found["delay_us"] == hop["delay_us"]
            packet = inner
        elif block[60] == 1:
            message = form.open(inner[form.header :])
            assert message.hex() == found["deliver"] == case["payload"]
        else:
            assert block[60] == 2 and block[:16].hex() == found["reply"] == case["surb_id"]
            sealed = packet[form.header :]
            for seed in reversed(seeds[:-1]):
                sealed = form.encrypt(seed, sealed)
            sealed = form.decrypt(bytes.fromhex(case["surb"])[-32:], sealed)
            assert form.open(sealed).hex() == case["payload"]
    return seeds


def check(case: dict) -> None:
    form = Format(case["geometry"])
    random, message = bytes.fromhex(case["random"]), bytes.fromhex(case["payload"])
    reply = "surb" in case
    header, seeds = form.build_header(case["route"], case["epoch"], random, reply)
    payload = form.seal(message)
    if reply:
        first = bytes.fromhex(case["route"][0]["node"])[:8]
        assert (first + header + random[-32:]).hex() == case["surb"]
        assert case["first"] == first.hex() and random[32:48].hex() == case["surb_id"]
        payload = form.encrypt(random[-32:], payload)
    else:
        for seed in reversed(seeds):
            payload = form.encrypt(seed, payload)
    assert (header + payload).hex() == case["hops"][0]["packet"]
    assert follow(form, case) == seeds


def main() -> None:
    count = 0
    for name in ("packets.json", "surbs.json"):
        for case in json.loads((Path(__file__).parent / name).read_text())["cases"]:
            check(case)
            count += 1
    print(f"{count} cases agree")


if __name__ == "__main__":
    main()
