# Runs a task in a fog, pays with credits, and sends a packet through a mix node.
import asyncio
import sys
from pathlib import Path
from uuid import uuid4

from fogcompute import AccountKind, Deliver, Fog, Hop, Ledger, PrivateKey, Sphinx

CREDIT = 10**18  # Amounts are whole numbers of base units, 10**18 to the credit.


async def main(path: str = "examples/wasm/sum.wasm") -> None:
    # A WebAssembly module that adds up the bytes of its input, on two workers of this process.
    module = Path(path).read_bytes()
    async with Fog(workers=2) as fog:
        done = await fog.run(module, bytes([1, 2, 39]))
        print("sum:", int.from_bytes(done.output, "little"))

    with Ledger.in_memory() as ledger:
        mint, alice = uuid4().hex, uuid4().hex
        ledger.open_account(mint, AccountKind.ISSUER)
        ledger.open_account(alice, AccountKind.HOLDER)
        ledger.transfer(uuid4().hex, mint, alice, 3 * CREDIT)
        print("alice has", ledger.balance(alice) // CREDIT, "credits")

    # One Sphinx packet to one node, which opens it with its private key.
    sphinx, key = Sphinx(), PrivateKey.generate()
    packet = sphinx.build([Hop("0a" * 32, key.public_key)], b"hello")
    match sphinx.process(key, packet):
        case Deliver(payload):
            print("packet says:", payload.decode())


asyncio.run(main(*sys.argv[1:]))
