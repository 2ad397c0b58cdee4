"""The mixnet: batches, reply blocks, nodes, clients, and the names of `fogcompute.mix`."""

import asyncio
import concurrent.futures
import inspect
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

import fogcompute as f
from fogcompute import mix

KEY = f.PrivateKey.generate()
HOP = f.Hop("01" * 32, KEY.public_key)
OTHER = f.Hop("02" * 32, f.PrivateKey.generate().public_key)
SPHINX = f.Sphinx()
QUICK = timedelta(milliseconds=1)
LONG = timedelta(minutes=2)


class Network:
    """Three mixnodes in three layers."""

    def __init__(self, epoch: int = 0) -> None:
        config = mix.MixnodeConfig(epoch=epoch)
        self.nodes = [config.start() for _ in range(3)]
        self.topology = mix.Topology(
            [[node.descriptor] for node in self.nodes], epoch=epoch, delay_mean=QUICK
        )
        for node in self.nodes:
            node.set_topology(self.topology)

    def client(self, **options: Any) -> mix.MixnetClient:
        return mix.MixnetClient(self.topology, **({"loops": None, "drops": None} | options))

    def close(self) -> None:
        for node in self.nodes:
            node.close()


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.close()


# --- Packets


@pytest.mark.parametrize("sphinx", [SPHINX, f.Sphinx(1024, 5)])
def test_a_batch_gives_what_its_packets_give_one_by_one(sphinx: f.Sphinx) -> None:
    routes = [[HOP], [HOP, OTHER]]
    orders = [(routes[n % 2], bytes(n)) for n in range(40)]
    packets = bytearray(sphinx.build_batch(orders))
    size = sphinx.packet_bytes
    assert len(packets) == 40 * size
    packets[7 * size + 40] ^= 1
    batch = sphinx.process_batch(KEY, packets)
    assert len(batch) == 40
    for n in range(40):
        packet = packets[n * size : (n + 1) * size]
        result = batch[n]
        if n == 7:
            assert isinstance(result, f.PacketError)
            with pytest.raises(f.PacketError, match=str(result)):
                sphinx.process(KEY, packet)
            continue
        assert result == sphinx.process(KEY, packet)
        if isinstance(result, f.Forward):
            assert memoryview(batch.data)[n * size : (n + 1) * size] == result.packet
    assert batch[-1] == batch[39]
    for index in (40, -41):
        with pytest.raises(IndexError):
            batch[index]


def test_a_batch_of_other_lengths_is_refused() -> None:
    packet = SPHINX.build([HOP], b"")
    for packets in (packet[1:], packet + packet[1:]):
        with pytest.raises(f.PacketError, match=f"{len(packet) - 1} bytes"):
            SPHINX.process_batch(KEY, packets)
    assert len(SPHINX.process_batch(KEY, b"")) == 0
    with pytest.raises(f.PayloadTooLargeError):
        SPHINX.build_batch([([HOP], b""), ([HOP], bytes(2049))])


def test_a_reply_block_brings_an_answer() -> None:
    surb, key = SPHINX.make_surb([OTHER, HOP])
    assert len(surb) == SPHINX.surb_bytes
    next_node, _ = SPHINX.reply(surb, b"answer")
    assert next_node == OTHER.node[:16]

    surb, key = SPHINX.make_surb([HOP])
    _, packet = SPHINX.reply(surb, b"answer")
    match SPHINX.process(KEY, packet):
        case f.Reply(surb=name, sealed=sealed):
            assert name == key.surb
            assert SPHINX.open_reply(key, sealed) == b"answer"
            with pytest.raises(f.ReplyBlockError):
                SPHINX.open_reply(key, sealed[::-1])
        case other:
            raise AssertionError(other)
    with pytest.raises(f.ReplyBlockError):
        SPHINX.reply(surb[1:], b"")
    with pytest.raises(f.PayloadTooLargeError):
        SPHINX.reply(surb, bytes(2049))


def test_a_processor_takes_a_packet_once() -> None:
    processor = mix.SphinxProcessor(KEY)
    assert processor.public_key == KEY.public_key
    packet = SPHINX.build([HOP], b"once")
    assert isinstance(processor.process(packet), f.Deliver)
    with pytest.raises(f.ReplayedError):
        processor.process(packet)
    other = SPHINX.build([HOP, OTHER], b"")
    results = list(processor.process_batch(other + other + packet))
    assert isinstance(results[0], f.Forward)
    assert [type(result) for result in results[1:]] == [f.ReplayedError] * 2
    assert processor.stats() == mix.ProcessorStats(
        received=5, forwarded=1, delivered=1, replies=0, malformed=0, replayed=3, overloaded=0
    )


def test_more_packets_than_there_is_memory_for_are_refused() -> None:
    with pytest.raises(f.ArgumentError, match="no memory"):
        mix.SphinxProcessor(packets_max=2**62)
    with pytest.raises(f.ArgumentError, match="no memory"):
        mix.MixnetNode(replay_tags_max=2**62)


async def test_a_pipeline_processes_what_many_submit() -> None:
    async with mix.PacketPipeline(mix.SphinxProcessor(KEY), batch_max=16, queue_max=32) as pipeline:
        packets = [SPHINX.build([HOP], bytes([n])) for n in range(100)]
        results = await asyncio.gather(*map(pipeline.submit_packet, packets))
        for n, result in enumerate(results):
            assert isinstance(result, f.Deliver)
            assert result.payload == bytes([n])
        with pytest.raises(f.ReplayedError):
            await pipeline.submit_packet(packets[0])
        with pytest.raises(f.PacketError):
            await pipeline.submit_packet(b"short")
        stats = pipeline.get_stats()
        assert (stats.processed.delivered, stats.processed.replayed, stats.waiting) == (100, 1, 0)
        assert stats.processed.malformed == 1
        assert 100 // 16 < stats.batches <= 101
    with pytest.raises(f.ClosedError):
        await pipeline.submit_packet(packets[0])
    with pytest.raises(ValueError, match="batch_max is 0"):
        mix.PacketPipeline(batch_max=0)


async def test_closing_a_pipeline_can_be_given_up_and_loses_no_packet() -> None:
    pipeline = mix.PacketPipeline(mix.SphinxProcessor(KEY), batch_max=2)
    packets = [SPHINX.build([HOP], bytes([n])) for n in range(50)]
    submitted = [asyncio.create_task(pipeline.submit_packet(packet)) for packet in packets]
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pipeline.close(), 0)
    results = await asyncio.gather(*submitted)
    assert [type(result) for result in results] == [f.Deliver] * 50
    await pipeline.close()


async def test_a_packet_that_nobody_waits_for_holds_up_no_other() -> None:
    async with mix.PacketPipeline(mix.SphinxProcessor(KEY)) as pipeline:
        given_up = asyncio.create_task(pipeline.submit_packet(SPHINX.build([HOP], b"1")))
        await asyncio.sleep(0)
        given_up.cancel()
        assert isinstance(await pipeline.submit_packet(SPHINX.build([HOP], b"2")), f.Deliver)


# --- Nodes and clients


async def test_messages_questions_and_answers_cross_the_network(network: Network) -> None:
    body = bytes(range(256)) * 200
    async with network.client() as alice, network.client() as bob:
        sent = asyncio.ensure_future(alice.send(bob.contact, body))
        message = await bob.receive()
        assert (message.body, message.reply_blocks, len(message.id)) == (body, 0, 16)
        assert repr(message) == f"<fogcompute.mix.Message: {len(body)} bytes, reply blocks: 0>"
        await sent
        with pytest.raises(f.ReplyBlockError):
            bob.reply(message, b"")

        async def answer() -> None:
            question = await bob.receive()
            with pytest.raises(f.PayloadTooLargeError):
                bob.reply(question, bytes(len(body) + 4096))
            bob.reply(question, body)
            with pytest.raises(f.ReplyBlockError):
                bob.reply(question, body)

        got, _ = await asyncio.gather(
            alice.request(bob.contact, b"more?", answer_bytes_max=len(body), within=LONG), answer()
        )
        assert got == body
        stats = alice.stats()
        assert (stats.sent, stats.answers, stats.given_up) == (2, 1, 0)
        assert network.nodes[1].stats().forwarded > 50


def test_the_same_without_a_loop(network: Network) -> None:
    with network.client() as alice, network.client() as bob:
        assert bob.try_receive() is None
        assert bob.receive_blocking(timedelta(milliseconds=1)) is None
        alice.send_blocking(bob.contact, b"hello")
        message = bob.receive_blocking()
        assert message is not None
        assert message.body == b"hello"
        with pytest.raises(f.NoAnswerError):
            alice.request_blocking(bob.contact, b"?", within=timedelta(milliseconds=1))


async def test_no_message_is_lost_when_a_receiver_gives_up(network: Network) -> None:
    async with network.client() as alice, network.client() as bob:
        given_up = [asyncio.create_task(bob.receive()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in given_up:
            task.cancel()
        await alice.send(bob.contact, b"hello")
        assert (await bob.receive()).body == b"hello"


async def test_an_iteration_ends_when_the_client_is_closed(network: Network) -> None:
    async with network.client() as alice:
        bob = network.client()
        await alice.send(bob.contact, b"one")
        bodies = []
        async for message in bob:
            bodies.append(message.body)
            bob.close()
        assert bodies == [b"one"]
        with pytest.raises(f.ClosedError):
            await bob.receive()
        with pytest.raises(f.ClosedError):
            bob.contact  # noqa: B018


async def test_what_came_before_the_end_can_still_be_received(network: Network) -> None:
    async with network.client() as alice:
        async with network.client() as bob:
            for body in [b"one", b"two", b"three"]:
                await alice.send(bob.contact, body)
        # They were acknowledged, so nobody would send them again.
        assert (await bob.receive()).body == b"one"
        message = bob.receive_blocking(LONG)
        assert message is not None
        assert message.body == b"two"
        with pytest.raises(f.ClosedError):
            bob.reply(message, b"")
        assert [message.body async for message in bob] == [b"three"]
        for _ in range(2):
            bob.close()
            with pytest.raises(f.ClosedError):
                bob.try_receive()


async def test_closing_ends_what_is_awaited(network: Network) -> None:
    async with network.client() as bob:
        alice = network.client()
        asked = asyncio.ensure_future(alice.request(bob.contact, b"?", within=LONG))
        receiving = asyncio.create_task(alice.receive())
        await bob.receive()
        alice.close()
        for awaited in (asked, receiving):
            with pytest.raises(f.ClosedError):
                await awaited


async def test_a_client_started_again_from_its_state_answers_and_is_answered(
    network: Network,
) -> None:
    key = bytes(range(32))
    quiet: dict[str, Any] = {"loops": None, "drops": None}
    old_alice, old_bob = network.client(), network.client()
    asked = asyncio.ensure_future(
        old_alice.request(old_bob.contact, b"?", answer_bytes_max=64, within=LONG)
    )
    question = await old_bob.receive()
    contacts = (old_alice.contact, old_bob.contact)
    state = old_alice.suspend(key)
    with pytest.raises(f.ClosedError):
        await asked
    for call in (lambda: old_alice.suspend(key), old_alice.restored):
        with pytest.raises(f.ClosedError):
            call()
    alice = mix.MixnetClient.restore(network.topology, state, key, **quiet)
    bob = mix.MixnetClient.restore(network.topology, old_bob.suspend(key), key, **quiet)
    async with alice, bob:
        assert (alice.contact, bob.contact) == contacts
        assert alice.restored() == mix.Restored([], [question.id])
        assert bob.restored() == mix.Restored([question.id], [])
        # Its acknowledgement comes over the last layer, which then knows where alice is now.
        await asyncio.gather(alice.send(bob.contact, b"back"), bob.receive())
        with pytest.raises(f.ReplyBlockError):
            bob.reply(question, b"")
        blocks = bob.reply_blocks(question.id)
        assert blocks is not None
        assert (blocks.count, repr(blocks)) == (1, "<fogcompute.mix.ReplyBlocks: 1>")
        assert bob.reply_blocks(question.id) is None
        with pytest.raises(f.PayloadTooLargeError):
            bob.reply_with(blocks, bytes(4096))
        bob.reply_with(blocks, b"later")
        with pytest.raises(f.ReplyBlockError):
            bob.reply_with(blocks, b"again")
        assert await alice.answer_to(question.id, within=LONG) == b"later"
        assert alice.restored() == bob.restored() == mix.Restored([], [])
        with pytest.raises(f.ArgumentError, match=question.id.hex()):
            alice.answer_to(question.id)


def test_an_answer_is_waited_for_after_a_restart_without_a_loop(network: Network) -> None:
    key = bytes(32)
    old = network.client()
    with network.client() as bob:
        with pytest.raises(f.NoAnswerError):
            old.request_blocking(bob.contact, b"given up", within=QUICK)

        def ask() -> None:
            with pytest.raises(f.ClosedError):
                old.request_blocking(bob.contact, b"?", within=LONG)

        with concurrent.futures.ThreadPoolExecutor() as threads:
            asking = threads.submit(ask)
            questions = (bob.receive_blocking(LONG) for _ in range(2))
            question = next(each for each in questions if each is not None and each.body == b"?")
            state = old.suspend(key)
            asking.result()
        client = mix.MixnetClient.restore(network.topology, state, key, loops=None, drops=None)
        with client as alice:
            assert alice.restored().requests == (question.id,)
            alice.send_blocking(bob.contact, b"back")
            bob.reply(question, b"!")
            assert alice.answer_to_blocking(question.id, within=LONG) == b"!"
            with pytest.raises(f.ArgumentError):
                alice.answer_to_blocking(question.id)


def test_a_state_that_does_not_open_is_refused(network: Network) -> None:
    def restore(state: bytes, key: bytes, **options: Any) -> mix.MixnetClient:
        options = {"loops": None, "drops": None} | options
        return mix.MixnetClient.restore(network.topology, state, key, **options)

    key, identity = bytes(range(32)), bytes(range(1, 33))
    client = network.client(identity=identity)
    with pytest.raises(f.ArgumentError, match="key has 5 bytes"):
        client.suspend(b"short")
    state = client.suspend(key)
    damaged = bytearray(state)
    damaged[-1] ^= 1
    for bad, other in [(state, bytes(32)), (bytes(damaged), key), (state[:-1], key), (b"", key)]:
        with pytest.raises(f.StorageCorruptError):
            restore(bad, other)
    wrong: list[dict[str, Any]] = [{"identity": bytes(32)}, {"identity": b"1"}, {"listen": "here"}]
    for options in wrong:
        with pytest.raises(f.ArgumentError):
            restore(state, key, **options)
    with pytest.raises(f.ArgumentError, match="key has 31 bytes"):
        restore(state, key[1:])
    with restore(state, key, identity=identity) as again:
        calls: list[Callable[[bytes], object]] = [again.reply_blocks, again.answer_to_blocking]
        for call in calls:
            with pytest.raises(f.ArgumentError, match="id has 2 bytes"):
                call(b"id")
        assert again.reply_blocks(bytes(16)) is None


async def test_a_circuit_is_taken_as_it_was_chosen(network: Network) -> None:
    async with (
        mix.BetanetClient(network.topology, loops=None, drops=None) as alice,
        network.client() as bob,
    ):
        circuit = alice.create_circuit(hops=3)
        assert circuit.nodes == tuple(node.descriptor.node for node in network.nodes)
        assert circuit.hops == 3
        await alice.route_through(circuit, b"to bob", bob.contact)
        assert (await bob.receive()).body == b"to bob"
        name = await alice.route_through(circuit, b"to myself")
        message = await alice.receive()
        assert (message.id, message.body) == (name, b"to myself")
        short = alice.create_circuit(hops=2)
        assert short.nodes == circuit.nodes[1:]
        await alice.route_through(short, b"the short way", bob.contact)
        assert (await bob.receive()).body == b"the short way"
        with pytest.raises(f.RouteError, match="too few nodes"):
            alice.create_circuit(hops=5)
        for nodes in [("03" * 32,), circuit.nodes[2:] * 2, circuit.nodes[:1], ()]:
            with pytest.raises(f.RouteError):
                await alice.route_through(mix.Circuit(nodes), b"")
        assert alice.stats().sent == 3


async def test_loops_of_cover_come_back(network: Network) -> None:
    async with network.client(loops=QUICK, drops=QUICK) as client:
        while client.stats().loops_returned < 5:
            await asyncio.sleep(0.001)
        client.set_power("low_battery")
        with pytest.raises(f.ArgumentError, match="solar"):
            client.set_power("solar")
        assert client.stats().drops_sent > 0


async def test_a_new_epoch_brings_new_contacts(network: Network) -> None:
    following = Network(epoch=1)
    async with network.client() as alice, network.client() as bob:
        before = bob.contact
        for client in (alice, bob):
            client.set_topology(following.topology)
        assert before.endswith(":even")
        assert bob.contact.endswith(":odd")
        await alice.send(bob.contact, b"hello")
        with pytest.raises(f.RouteError, match="another epoch"):
            alice.send(before, b"")
    following.close()


# --- Topologies and refusals


def test_a_topology_is_read_as_it_was_signed(network: Network) -> None:
    secret = bytes(range(32))
    text = network.topology.sign(secret)
    authority = mix.Topology.authority_of(secret)
    read = mix.Topology.verify(text, authority)
    assert read.layers == network.topology.layers
    assert (read.epoch, read.hops_max, read.payload_bytes, read.delay_mean) == (0, 7, 2048, QUICK)
    with pytest.raises(f.TopologyError, match="does not verify"):
        mix.Topology.verify(text.replace("hops_max = 7", "hops_max = 6"), authority)
    with pytest.raises(f.TopologyError, match="no signature"):
        mix.Topology.verify("", authority)
    with pytest.raises(f.ArgumentError, match="31 bytes"):
        mix.Topology.verify(text, authority[1:])
    old = mix.Topology(network.topology.layers, valid_until_ms=1)
    with pytest.raises(f.TopologyError, match="valid until"):
        mix.MixnetClient(old)


def test_what_makes_no_network_is_refused(network: Network) -> None:
    (first,), _, _ = network.topology.layers
    refused: list[list[list[mix.Descriptor]]] = [[], [[]], [[first], [first]]]
    for layers in refused:
        with pytest.raises(f.TopologyError):
            mix.Topology(layers)
    with pytest.raises(f.ArgumentError):
        mix.Topology([[first]], hops_max=8)
    for address in ("127.0.0.1", "localhost:1", ""):
        with pytest.raises(f.ArgumentError, match="no address"):
            mix.Descriptor(first.node, first.key, 0, address)
        with pytest.raises(f.ArgumentError, match="no address"):
            mix.MixnetNode(address)
    with pytest.raises(f.ListenError, match="in use"):
        mix.MixnetNode(first.address)
    with pytest.raises(f.ArgumentError, match="identity has 3 bytes"):
        mix.MixnetNode(identity=b"123")
    other = mix.Topology(network.topology.layers, payload_bytes=1024)
    with pytest.raises(f.TopologyError, match="packets of"):
        network.nodes[0].set_topology(other)


def test_bad_contacts_and_messages_are_refused(network: Network) -> None:
    with network.client() as client:
        for contact in ("", "a:b:even", client.contact + ":", client.contact[:-4] + "EVEN"):
            with pytest.raises(f.ArgumentError, match="contact"):
                client.send_blocking(contact, b"")
        with pytest.raises(f.PayloadTooLargeError):
            client.send_blocking(client.contact, bytes((4 << 20) + 1))


def test_a_node_that_was_drained_is_closed(network: Network) -> None:
    node = network.nodes.pop()
    assert node.drain(LONG).undrained == 0
    for call in (node.stats, lambda: node.set_topology(network.topology)):
        with pytest.raises(f.ClosedError):
            call()
    node.close()


def test_everything_public_has_a_text() -> None:
    for name in mix.__all__:
        item = getattr(mix, name)
        assert item.__doc__, name
        for attribute, value in vars(item).items():
            if not attribute.startswith("_") and (callable(value) or inspect.isroutine(value)):
                assert value.__doc__, f"{name}.{attribute}"
