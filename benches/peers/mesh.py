"""Packets in Python, for `cargo xtask bench mesh` to measure.

    mesh.py CALLS < packet in hexadecimal digits

Prints one line: `{"version", "encode_nanos", "decode_nanos", "encoded", "calls"}`, the CPU time of one call (the
median of eleven rounds) and the packet as it was encoded again.
"""

import json
import statistics
import sys
import time
from importlib.metadata import version

from bitchat_protocol.codec import decode, encode

ROUNDS = 11


def nanos(call, calls):
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for _ in range(calls):
            call()
        rounds.append((time.process_time_ns() - start) / calls)
    return statistics.median(rounds)


def main(calls):
    packet = bytes.fromhex(sys.stdin.read())
    decoded = decode(packet)
    print(
        json.dumps(
            {
                "version": version("bitchat-protocol"),
                "encode_nanos": nanos(lambda: encode(decoded), calls),
                "decode_nanos": nanos(lambda: decode(packet), calls),
                "encoded": encode(decoded).hex(),
                "calls": ROUNDS * calls,
            }
        )
    )


main(int(sys.argv[1]))
