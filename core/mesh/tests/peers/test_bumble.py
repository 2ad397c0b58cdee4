"""Two nodes over Bluetooth without a radio: the virtual controllers of bumble, with real HCI, L2CAP, ATT and GATT.

Each node is the example `radio` in a process of its own. What it asks of its radio is done here on a device of bumble,
and what that device hears is told to it.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bumble.controller import Controller
from bumble.core import AdvertisingData
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink

RADIO = Path(os.environ["FOGCOMPUTE_EXAMPLES"]) / "radio"
SERVICE = "F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C"
CHARACTERISTIC = "A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D"
MTU = 517
# Only to end a test that hangs.
HANGS = 240


class Node:
    """A node, and the device of bumble that is its radio."""

    def __init__(self, link: LocalLink, number: int, is_central: bool) -> None:
        self.is_central = is_central
        self.said: list[str] = []
        self.news = asyncio.Condition()
        self.links: dict[int, tuple[Connection, Callable[[bytes, bool], Awaitable[None]]]] = {}
        self.numbers = 0
        self.values = 0
        controller = Controller(f"controller {number}", link=link)
        self.device = Device(
            address=Address(f"F0:F1:F2:F3:F4:F{number}"), host=Host(controller, AsyncPipeSink(controller))
        )
        self.characteristic = Characteristic(
            CHARACTERISTIC,
            Characteristic.Properties.READ
            | Characteristic.Properties.WRITE
            | Characteristic.Properties.WRITE_WITHOUT_RESPONSE
            | Characteristic.Properties.NOTIFY,
            Characteristic.READABLE | Characteristic.WRITEABLE,
            CharacteristicValue(write=self.written),
        )
        self.characteristic.on("subscription", self.subscribed)
        self.device.add_service(Service(SERVICE, [self.characteristic]))
        self.device.on("advertisement", self.heard)

    async def start(self, name: str) -> None:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(RADIO, name, stdin=pipe, stdout=pipe)
        await self.device.power_on()
        self.reading = asyncio.create_task(self.read())
        self.id = (await self.expect("id ")).split()[1]

    async def stop(self) -> None:
        # It ends when its input does.
        self.process.stdin.close()
        await self.process.wait()
        await self.reading

    def tell(self, line: str) -> None:
        if not self.process.stdin.is_closing():
            self.process.stdin.write(f"{line}\n".encode())

    async def expect(self, beginning: str, count: int = 1) -> str:
        """Waits until the node has said so many things that begin so; gives the last."""

        def said() -> list[str]:
            return [line for line in self.said if line.startswith(beginning)]

        async with asyncio.timeout(HANGS), self.news:
            await self.news.wait_for(lambda: len(said()) >= count)
        return said()[count - 1]

    async def read(self) -> None:
        while line := (await self.process.stdout.readline()).decode().strip():
            if line.startswith("* "):
                async with self.news:
                    self.said.append(line[2:])
                    self.news.notify_all()
                continue
            verb, *words = line.split()
            await getattr(self, verb.replace("-", "_"))(*words)

    # What the node asks of its radio. Only one of both looks for others, so that there is one connection.

    async def advertise(self) -> None:
        if not self.is_central:
            data = AdvertisingData(
                [
                    (AdvertisingData.FLAGS, bytes([6])),
                    (
                        AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
                        bytes.fromhex(SERVICE.replace("-", ""))[::-1],
                    ),
                ]
            )
            await self.device.start_advertising(advertising_data=bytes(data), auto_restart=True)

    async def scan(self) -> None:
        if self.is_central:
            await self.device.start_scanning()

    async def connect(self, peer: str) -> None:
        address = Address(":".join(peer[at : at + 2] for at in range(0, 12, 2)))
        connection = await self.device.connect(address)
        found = Peer(connection)
        mtu = await found.request_mtu(MTU)
        (service,) = await found.discover_service(SERVICE)
        (remote,) = await service.discover_characteristics([CHARACTERISTIC])

        async def write(value: bytes, with_response: bool) -> None:
            await remote.write_value(value, with_response=with_response)

        link = self.connected(connection, "central", mtu, write)
        await remote.subscribe(lambda value: self.received(link, bytes(value)))
        self.tell(f"subscribed {link}")

    async def write(self, link: str, value: str) -> None:
        await self.give(int(link), bytes.fromhex(value), True)

    async def write_without_response(self, link: str, value: str) -> None:
        await self.give(int(link), bytes.fromhex(value), False)

    async def notify(self, link: str, value: str) -> None:
        await self.give(int(link), bytes.fromhex(value), False)

    async def disconnect(self, link: str) -> None:
        if known := self.links.get(int(link)):
            await known[0].disconnect()

    async def give(self, link: int, value: bytes, with_response: bool) -> None:
        if known := self.links.get(link):
            self.values += 1
            await known[1](value, with_response)
            # Whatever else there is to do comes first: controllers, hosts and the other node.
            await asyncio.sleep(0)
            self.tell(f"left {link}")

    # What the device hears.

    def heard(self, advertisement: Advertisement) -> None:
        services = advertisement.data.get(
            AdvertisingData.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
        )
        if services:
            peer = bytes(advertisement.address)[::-1].hex()
            self.tell(f"discovered {peer} {advertisement.rssi}")

    def connected(self, connection: Connection, role: str, mtu: int, give) -> int:
        self.numbers += 1
        link = self.numbers
        self.links[link] = (connection, give)
        peer = bytes(connection.peer_address)[::-1].hex()
        self.tell(f"connected {link} {peer} {role} {mtu}")
        connection.on("disconnection", lambda _reason: self.disconnected(link))
        return link

    def disconnected(self, link: int) -> None:
        if self.links.pop(link, None):
            self.tell(f"disconnected {link}")

    def subscribed(self, connection: Connection, notifies: bool, _indicates: bool) -> None:
        async def notify(value: bytes, _with_response: bool) -> None:
            await self.device.notify_subscriber(connection, self.characteristic, value)

        if notifies:
            link = self.connected(connection, "peripheral", connection.att_mtu, notify)
            self.tell(f"subscribed {link}")

    def written(self, connection: Connection, value: bytes) -> None:
        for link, (known, _) in self.links.items():
            if known is connection:
                self.received(link, bytes(value))

    def received(self, link: int, value: bytes) -> None:
        assert len(value) <= 512
        self.tell(f"received {link} {value.hex()}")


@asynccontextmanager
async def two_nodes():
    link = LocalLink()
    nodes = [Node(link, number, is_central=number == 0) for number in range(2)]
    for node, name in zip(nodes, ["alice", "bob"], strict=True):
        await node.start(name)
    for node, other in zip(nodes, nodes[::-1], strict=True):
        await node.expect(f"joined {other.id}")
    yield nodes
    for node in nodes:
        await node.stop()


def test_announces_texts_and_a_session_pass_both_ways():
    async def test() -> None:
        async with two_nodes() as (alice, bob):
            alice.tell("* public hello everybody")
            await bob.expect(f"public {alice.id} hello everybody")
            alice.tell(f"* private {bob.id} hello bob")
            await bob.expect(f"private {alice.id} hello bob")
            await alice.expect(f"session {bob.id}")
            await alice.expect("delivery Delivered")
            bob.tell(f"* private {alice.id} hello alice")
            await alice.expect(f"private {bob.id} hello alice")
            await bob.expect("delivery Delivered")

    asyncio.run(test())


def test_a_file_of_100_kib_arrives_whole_in_a_session():
    async def test() -> None:
        async with two_nodes() as (alice, bob):
            length = 100 * 1024
            bob.tell(f"* private-file {alice.id} {length}")
            assert await alice.expect("private-file ") == f"private-file {bob.id} {length} true"
            alice.tell(f"* file {length}")
            assert await bob.expect("file ") == f"file {alice.id} {length} true"
            # It cannot have gone by another way.
            assert alice.values > length / 512 < bob.values

    asyncio.run(test())


def test_a_storm_of_fragments_from_both_sides_is_put_together():
    async def test() -> None:
        async with two_nodes() as (alice, bob):
            lengths = [3_000 + 1_111 * number for number in range(12)]
            for length in lengths:
                for node in (alice, bob):
                    node.tell(f"* file {length}")
            for node, other in ((alice, bob), (bob, alice)):
                await node.expect("file ", len(lengths))
                files = sorted(line for line in node.said if line.startswith("file "))
                assert files == sorted(f"file {other.id} {length} true" for length in lengths)
            # And texts still pass.
            alice.tell(f"* private {bob.id} after the storm")
            await bob.expect(f"private {alice.id} after the storm")

    asyncio.run(test())
