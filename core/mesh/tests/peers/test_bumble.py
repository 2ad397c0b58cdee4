"""Two nodes over Bluetooth without a radio: the virtual controllers of bumble, with real HCI, L2CAP, ATT and GATT.

Each is a `MeshNode` of the package with a `BleRadio` that is written here: what the node asks of its radio is done on a
device of bumble, and what that device hears is told to the node.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from bumble.controller import Controller
from bumble.core import AdvertisingData
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink
from fogcompute.mesh import MeshEvent, MeshNode, RadioInbox

SERVICE = "F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C"
CHARACTERISTIC = "A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D"
MTU = 517
# Values that the device has not sent yet, for one connection.
WAITING_MAX = 4
# Only to end a test that hangs.
HANGS = 240


@dataclass
class Link:
    """A connection of a device."""

    connection: Connection
    give: Callable[[bytes, bool], Awaitable[None]]
    waiting: int = 0
    was_refused: bool = False


class BumbleRadio:
    """A radio that is a device of bumble.

    The node asks on its own thread. Bumble lives in the event loop, where all that was asked is done in its order.
    """

    def __init__(self, air: LocalLink, number: int, is_central: bool) -> None:
        self.is_central = is_central
        self.loop = asyncio.get_running_loop()
        self.asked: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        # Of both threads.
        self.lock = threading.Lock()
        self.links: dict[int, Link] = {}
        self.numbers = 0
        self.values = 0
        self.refusals = 0
        controller = Controller(f"controller {number}", link=air)
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

    async def work(self) -> None:
        """Does what the node asks, until it is cancelled."""
        await self.device.power_on()
        while True:
            await (await self.asked.get())()

    def ask(self, what: Callable[[], Awaitable[None]]) -> None:
        self.loop.call_soon_threadsafe(self.asked.put_nowait, what)

    # What the node asks of its radio.

    def attach(self, inbox: RadioInbox) -> None:
        self.inbox = inbox

    def limits(self) -> tuple[bool, bool, int]:
        # Only one of both looks for others, so that there is one connection.
        return (self.is_central, not self.is_central, 8)

    def advertise(self, _service_data: bytes) -> bool:
        if self.is_central:
            return False
        data = AdvertisingData(
            [
                (AdvertisingData.FLAGS, bytes([6])),
                (
                    AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
                    bytes.fromhex(SERVICE.replace("-", ""))[::-1],
                ),
            ]
        )
        self.ask(
            lambda: self.device.start_advertising(advertising_data=bytes(data), auto_restart=True)
        )
        return True

    def stop_advertising(self) -> None:
        self.ask(self.device.stop_advertising)

    def scan(self) -> bool:
        if not self.is_central:
            return False
        self.ask(self.device.start_scanning)
        return True

    def stop_scanning(self) -> None:
        self.ask(self.device.stop_scanning)

    def connect(self, peer: bytes) -> None:
        self.ask(lambda: self.open(peer))

    def disconnect(self, link: int) -> None:
        self.ask(lambda: self.end(link))

    def write(self, link: int, value: bytes, with_response: bool) -> bool:
        return self.put(link, value, with_response)

    def notify(self, link: int, value: bytes) -> bool:
        return self.put(link, value, False)

    def detach(self) -> None:
        """Nothing to do: its device ends with the test."""

    def put(self, number: int, value: bytes, with_response: bool) -> bool:
        with self.lock:
            # What is given to a connection that has ended is lost: the node hears of the end.
            if link := self.links.get(number):
                if link.waiting >= WAITING_MAX:
                    self.refusals += 1
                    link.was_refused = True
                    return False
                link.waiting += 1
        self.ask(lambda: self.give(number, value, with_response))
        return True

    # What comes of it.

    async def open(self, peer: bytes) -> None:
        connection = await self.device.connect(Address(peer.hex(":")))
        found = Peer(connection)
        mtu = await found.request_mtu(MTU)
        (service,) = await found.discover_service(SERVICE)
        (remote,) = await service.discover_characteristics([CHARACTERISTIC])

        async def write(value: bytes, with_response: bool) -> None:
            await remote.write_value(value, with_response=with_response)

        number = self.connected(connection, mtu, write)
        await remote.subscribe(lambda value: self.received(number, bytes(value)))
        self.inbox.subscribed(number)

    async def end(self, number: int) -> None:
        if link := self.links.get(number):
            await link.connection.disconnect()

    async def give(self, number: int, value: bytes, with_response: bool) -> None:
        link = self.links.get(number)
        if link is None:
            return
        await link.give(value, with_response)
        self.values += 1
        # Whatever else there is to do comes first: controllers, hosts and the other device.
        await asyncio.sleep(0)
        with self.lock:
            link.waiting -= 1
            was_refused, link.was_refused = link.was_refused, False
        if was_refused:
            self.inbox.writable(number)

    # What the device hears.

    def heard(self, advertisement: Advertisement) -> None:
        services = advertisement.data.get(
            AdvertisingData.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
        )
        if services:
            self.inbox.discovered(bytes(advertisement.address)[::-1], advertisement.rssi)

    def connected(
        self, connection: Connection, mtu: int, give: Callable[[bytes, bool], Awaitable[None]]
    ) -> int:
        self.numbers += 1
        number = self.numbers
        with self.lock:
            self.links[number] = Link(connection, give)
        connection.on("disconnection", lambda _reason: self.disconnected(number))
        peer = bytes(connection.peer_address)[::-1]
        self.inbox.connected(number, peer, self.is_central, mtu)
        return number

    def disconnected(self, number: int) -> None:
        with self.lock:
            was_there = self.links.pop(number, None)
        if was_there:
            self.inbox.disconnected(number, False)

    def subscribed(self, connection: Connection, notifies: bool, _indicates: bool) -> None:
        async def notify(value: bytes, _with_response: bool) -> None:
            await self.device.notify_subscriber(connection, self.characteristic, value)

        if notifies:
            self.inbox.subscribed(self.connected(connection, connection.att_mtu, notify))

    def written(self, connection: Connection, value: bytes) -> None:
        for number, link in self.links.items():
            if link.connection is connection:
                self.received(number, bytes(value))

    def received(self, number: int, value: bytes) -> None:
        assert len(value) <= 512
        assert self.inbox.received(number, value)


class Side:
    """A node with its radio, and all that happened to it."""

    def __init__(self, name: str, radio: BumbleRadio) -> None:
        self.node = MeshNode(name)
        self.radio = radio
        self.events: list[MeshEvent] = []
        self.news = asyncio.Condition()
        self.node.add_radio(radio)

    async def listen(self) -> None:
        async for event in self.node:
            async with self.news:
                self.events.append(event)
                self.news.notify_all()

    async def expect(self, kind: str, count: int = 1, **fields: object) -> list[MeshEvent]:
        """Waits until so many such things have happened; gives them."""

        def happened() -> list[MeshEvent]:
            return [
                event
                for event in self.events
                if event.kind == kind and all(getattr(event, k) == v for k, v in fields.items())
            ]

        async with asyncio.timeout(HANGS), self.news:
            await self.news.wait_for(lambda: len(happened()) >= count)
        return happened()


def noise(length: int) -> bytes:
    """So many bytes that cannot be made shorter, and are the same each time."""
    return Random(length).randbytes(length)


@asynccontextmanager
async def two_nodes() -> AsyncIterator[tuple[Side, Side]]:
    air = LocalLink()
    alice, bob = (
        Side(name, BumbleRadio(air, number, is_central=number == 0))
        for number, name in enumerate(["alice", "bob"])
    )
    # What fails in a radio ends the test.
    async with asyncio.TaskGroup() as group:
        working = [group.create_task(side.radio.work()) for side in (alice, bob)]
        for side in (alice, bob):
            group.create_task(side.listen())
        for side, other in ((alice, bob), (bob, alice)):
            await side.expect("peer_joined", peer=other.node.id)
        yield (alice, bob)
        for side in (alice, bob):
            # It says goodbye on its radio meanwhile.
            await asyncio.to_thread(side.node.close)
        for task in working:
            task.cancel()


def test_announces_texts_and_a_session_pass_both_ways() -> None:
    async def test() -> None:
        async with two_nodes() as (alice, bob):
            for side, other in ((alice, bob), (bob, alice)):
                (known,) = side.node.peers()
                assert (known.id, known.is_linked) == (other.node.id, True)
            said = alice.node.send_public("hello everybody")
            await bob.expect("public", id=said, peer=alice.node.id, text="hello everybody", hops=1)
            for side, other in ((alice, bob), (bob, alice)):
                sent = side.node.send_private(other.node.id, "hello you")
                await other.expect("private", id=sent, peer=side.node.id, text="hello you")
                await side.expect("session_ready", peer=other.node.id)
                await side.expect("delivery", id=sent, state="delivered")

    asyncio.run(test())


def test_a_file_of_100_kib_arrives_whole_in_a_session() -> None:
    async def test() -> None:
        async with two_nodes() as (alice, bob):
            content = noise(100 * 1024)
            bob.node.send_file(alice.node.id, content, name="private")
            (came,) = await alice.expect("file", peer=bob.node.id, is_private=True)
            assert (came.content, came.text) == (content, "private")
            alice.node.send_file(None, content, name="public")
            (came,) = await bob.expect("file", peer=alice.node.id, is_private=False)
            assert (came.content, came.text) == (content, "public")
            # It cannot have gone by another way.
            for side in (alice, bob):
                assert side.radio.values > len(content) / 512

    asyncio.run(test())


def test_a_storm_of_fragments_from_both_sides_is_put_together() -> None:
    async def test() -> None:
        async with two_nodes() as (alice, bob):
            contents = [noise(3_000 + 1_111 * number) for number in range(12)]
            for content in contents:
                for side in (alice, bob):
                    side.node.send_file(None, content)
            for side, other in ((alice, bob), (bob, alice)):
                came = await side.expect("file", len(contents), peer=other.node.id)
                assert sorted(event.content for event in came) == sorted(contents)
                # There was no room for all of it at once.
                assert side.radio.refusals > 0
            # And texts still pass.
            sent = alice.node.send_private(bob.node.id, "after the storm")
            await bob.expect("private", id=sent, text="after the storm")

    asyncio.run(test())
