"""Nodes of a mesh: over TCP, inside the program, and over a radio that is written here."""

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import fogcompute as f
from fogcompute.mesh import MeshEvent, MeshNode, RadioInbox

PATIENCE = 60


async def until(node: MeshNode, kind: str, **fields: object) -> MeshEvent:
    async with asyncio.timeout(PATIENCE):
        async for event in node:
            if event.kind == kind and all(getattr(event, k) == v for k, v in fields.items()):
                return event
    raise AssertionError("the node was closed")


async def test_nodes_talk_over_tcp_and_go_on_after_a_restart(tmp_path: Path) -> None:
    alice = MeshNode("alice", file=tmp_path / "alice")
    async with MeshNode("bob") as bob:
        address = bob.listen()
        assert bob.listening == (address,)
        alice.connect(address)
        await until(alice, "peer_joined", peer=bob.id)
        await until(bob, "peer_joined", peer=alice.id)
        (known,) = alice.peers()
        assert (known.id, known.nickname, known.is_linked) == (bob.id, "bob", True)
        sent = alice.send_private(bob.id, "hello")
        event = await until(bob, "private")
        assert (event.text, event.peer, event.via, event.id) == ("hello", alice.id, alice.id, sent)
        assert event.protection == "ratchet"
        (known,) = alice.peers()
        assert known.has_session and known.has_ratchet
        passed = await until(alice, "passed", id=sent)
        assert (passed.peer, passed.passing) == (bob.id, "given")
        await until(alice, "delivery", id=sent, state="delivered")
        bob.mark_read(alice.id, sent)
        await until(alice, "delivery", id=sent, state="read")
        public = bob.send_public("to all")
        assert (await until(alice, "public")).id == public
        bob_id, alice_id = bob.id, alice.id
    await until(alice, "peer_left")
    kept = alice.send_private(bob_id, "while you were away")
    alice.close()
    async for event in alice:
        assert event.kind != "private"
    with pytest.raises(f.ClosedError):
        alice.peers()
    with MeshNode("", file=tmp_path / "alice") as again:
        assert (again.id, again.nickname) == (alice_id, "alice")
        assert again.stats()["waiting"] == 1
        texts = [(m.text, m.is_own, m.id) for m in again.history()]
        assert texts == [
            ("while you were away", True, kept),
            ("to all", False, public),
            ("hello", True, sent),
        ]
        with_bob = again.history(peer=bob_id)
        assert [m.id for m in with_bob] == [kept, sent]
        assert again.delete_message(with_bob[1].number)
        assert not again.delete_message(with_bob[1].number)
        assert [m.text for m in again.history()] == ["while you were away", "to all"]


async def test_members_of_a_fog_talk_and_a_stranger_is_nobody_to_them() -> None:
    key = bytes([7] * 32)
    async with (
        MeshNode("alice", fog_key=key) as alice,
        MeshNode("bob", fog_key=key) as bob,
        MeshNode("stranger") as stranger,
    ):
        stranger.link_with(bob)
        await until(bob, "link_up")
        alice.link_with(bob)
        await until(alice, "peer_joined", peer=bob.id)
        await until(bob, "peer_joined", peer=alice.id)
        alice.send_private(bob.id, "between us")
        assert (await until(bob, "private")).text == "between us"
        assert alice.air_id != alice.id and stranger.air_id == stranger.id
        stranger.send_public("who is there")
        while not bob.stats()["strangers"]:
            bob.receive_blocking(timedelta(milliseconds=20))
        assert [len(node.peers()) for node in (alice, bob, stranger)] == [1, 1, 0]
    with pytest.raises(f.ArgumentError):
        MeshNode("alice", fog_key=key[1:])


async def test_groups_and_files(tmp_path: Path) -> None:
    async with MeshNode("alice") as alice, MeshNode("bob") as bob:
        alice.link_with(bob)
        await until(alice, "peer_joined")
        await until(bob, "peer_joined")
        group = alice.create_group("us", [bob.id])
        await until(bob, "group", group=group)
        (joined,) = bob.groups()
        assert (joined.id, joined.name, joined.members) == (group, "us", (alice.id, bob.id))
        assert not joined.is_large
        assert repr(joined) == f"<fogcompute.mesh.MeshGroup {group} \"us\">"
        assert repr(bob.peers()[0]) == f"<fogcompute.mesh.MeshPeer {alice.id} \"alice\">"
        with pytest.raises(f.MeshContentError, match="is named twice"):
            alice.create_group("us", [bob.id, bob.id])
        with pytest.raises(f.NotGroupCreatorError):
            bob.change_group(group, [])
        alice.send_group(group, "between us")
        event = await until(bob, "group_message")
        assert (event.text, event.protection) == ("between us", "group_key")
        assert bob.leave_group(group) and not bob.leave_group(group)

        alice.send_file(bob.id, b"small", name="small.txt", mime="text/plain")
        event = await until(bob, "file")
        assert (event.content, event.text, event.is_private) == (b"small", "small.txt", True)

        content = bytes(range(256)) * 1000
        (tmp_path / "large").write_bytes(content)
        name = alice.offer_file(bob.id, tmp_path / "large")
        offered = await until(bob, "file_offered", file=name)
        assert (offered.text, offered.length) == ("large", len(content))
        with pytest.raises(f.StorageExistsError, match="large is there already"):
            bob.accept_file(name, tmp_path / "large")
        bob.accept_file(name, tmp_path / "taken")
        progress = await until(bob, "file_progress")
        assert 0 < progress.done <= progress.length
        received = await until(bob, "file_received", file=name)
        assert received.path == tmp_path / "taken"
        assert (tmp_path / "taken").read_bytes() == content
        await until(alice, "file_progress", is_sent=True, done=len(content))


async def test_a_large_group_has_a_key_for_each_member() -> None:
    async with MeshNode("alice") as alice, MeshNode("bob") as bob, MeshNode("carol") as carol:
        alice.link_with(bob)
        bob.link_with(carol)
        for node in (alice, bob, carol):
            seen = {(await until(node, "peer_joined")).peer for _ in range(2)}
            assert seen == {alice.id, bob.id, carol.id} - {node.id}
        group = alice.create_large_group("many", [bob.id, carol.id])
        for member in (bob, carol):
            await until(member, "group", group=group)
            (joined,) = member.groups()
            assert (joined.id, joined.name, joined.is_large) == (group, "many", True)
            assert joined.members == (alice.id, bob.id, carol.id)
        carol.send_group(group, "under my key")
        for member in (alice, bob):
            event = await until(member, "group_message", group=group)
            assert (event.text, event.peer) == ("under my key", carol.id)
            assert event.protection == "sender_key"
        with pytest.raises(f.NotGroupCreatorError):
            bob.change_group(group, [])

        # Whoever is taken out passes on what is written, and does not read it.
        alice.change_group(group, [carol.id])
        await until(carol, "group", group=group)
        alice.send_group(group, "without bob")
        assert (await until(carol, "group_message")).text == "without bob"
        alice.send_public("the end")
        async for event in bob:
            assert event.text != "without bob"
            if event.kind == "public":
                break
        with pytest.raises(f.UnknownPeerError):
            alice.create_large_group("more", ["ab" * 8])


def test_what_is_refused_has_an_error_of_its_own(tmp_path: Path) -> None:
    with MeshNode("alice") as alice:
        cases: list[tuple[type[f.FogError], Callable[[], object]]] = [
            (f.UnknownPeerError, lambda: alice.send_private("ab" * 8, "hello")),
            (f.UnknownGroupError, lambda: alice.send_group("ab" * 16, "hello")),
            (f.UnknownFileError, lambda: alice.accept_file("ab" * 32, tmp_path / "x")),
            (f.MeshContentError, lambda: alice.send_public("")),
            (f.MeshContentError, lambda: MeshNode("x" * 256)),
            (f.ArgumentError, lambda: alice.connect("nowhere")),
            (f.ArgumentError, lambda: alice.send_private("xyz", "hello")),
            (f.ListenError, lambda: MeshNode(listen=[alice.listen()])),
            (f.ArgumentError, lambda: MeshNode(events_max=0)),
            (f.ArgumentError, lambda: MeshNode(fog_period=timedelta(seconds=20))),
            (
                f.ArgumentError,
                lambda: MeshNode(fog_key=bytes(32), fog_period=timedelta(seconds=9)),
            ),
            (f.MeshContentError, lambda: alice.create_group("us", [])),
            (f.MeshContentError, lambda: alice.create_group("", ["ab" * 8])),
        ]
        for refused, call in cases:
            with pytest.raises(refused):
                call()
        assert issubclass(f.UnknownPeerError, f.MeshError)
        named = f"<fogcompute.mesh.MeshNode {alice.id}>"
        assert repr(alice) == named
    assert repr(alice) == named
    with MeshNode("alice") as alice:
        assert alice.receive_blocking(timedelta(0)) is None


class Air:
    """Carries values between the radios that are in it."""

    def __init__(self) -> None:
        self.radios: list[LoopbackRadio] = []
        self.links = 0


class LoopbackRadio:
    """A radio whose air is this program: what one writes, the other one hears."""

    def __init__(self, air: Air) -> None:
        self.air = air
        self.address = bytes([len(air.radios)])
        self.inbox: RadioInbox | None = None
        self.peers: dict[int, LoopbackRadio] = {}
        self.values = 0
        self.throws = False
        self.detached = 0
        air.radios.append(self)

    def attach(self, inbox: RadioInbox) -> None:
        self.inbox = inbox

    def tell(self) -> RadioInbox:
        assert self.inbox is not None
        return self.inbox

    def limits(self) -> tuple[bool, bool, int]:
        return (True, True, 8)

    def advertise(self, service_data: bytes) -> None:
        for other in self.air.radios:
            if other is not self and other.inbox is not None:
                other.inbox.discovered(self.address, -40, service_data)

    def stop_advertising(self) -> None: ...

    def scan(self) -> None:
        # Who is attached later is heard by its advert.
        for other in self.air.radios:
            if other is not self and other.inbox is not None:
                self.tell().discovered(other.address, -40)

    def stop_scanning(self) -> None: ...

    def connect(self, peer: bytes) -> bool:
        other = self.air.radios[peer[0]]
        self.air.links += 1
        link = self.air.links
        self.peers[link] = other
        other.peers[link] = self
        self.tell().connected(link, other.address, True, 517)
        other.tell().connected(link, self.address, False, 517)
        self.tell().subscribed(link)
        other.tell().subscribed(link)
        return True

    def disconnect(self, link: int) -> None:
        other = self.peers.pop(link, None)
        if other is not None:
            other.peers.pop(link, None)
            self.tell().disconnected(link, True)
            other.tell().disconnected(link, False)

    def write(self, link: int, value: bytes, with_response: bool) -> None:
        if self.throws:
            raise RuntimeError("the antenna fell off")
        self.values += 1
        self.peers[link].tell().received(link, value)

    def notify(self, link: int, value: bytes) -> None:
        self.write(link, value, True)

    def detach(self) -> None:
        self.detached += 1


async def test_nodes_talk_over_a_radio_written_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    air = Air()
    radios = [LoopbackRadio(air), LoopbackRadio(air)]
    async with MeshNode("alice") as alice, MeshNode("bob") as bob:
        for node, radio in zip([alice, bob], radios, strict=True):
            node.add_radio(radio)
        await until(alice, "peer_joined", peer=bob.id)
        await until(bob, "peer_joined", peer=alice.id)
        text = "over the air " * 19
        sent = alice.send_private(bob.id, text)
        assert (await until(bob, "private")).text == text
        await until(alice, "delivery", id=sent, state="delivered")
        assert all(radio.values > 0 for radio in radios)

        # What a radio raises ends that connection, and neither node.
        raised: list[Any] = []
        monkeypatch.setattr(sys, "unraisablehook", raised.append)
        radios[0].throws = True
        alice.send_public("lost")
        failed = await until(alice, "radio_failed")
        assert (failed.number, failed.text) == (0, "RuntimeError: the antenna fell off")
        await until(alice, "link_down")
        radios[0].throws = False
        assert "antenna" in str(raised[0].exc_value)
        assert alice.peers()[0].id == bob.id
    assert [radio.detached for radio in radios] == [1, 1]


def test_a_radio_that_cannot_begin_is_not_added() -> None:
    radio = LoopbackRadio(Air())
    with MeshNode("alice") as alice:
        for method in ("limits", "attach"):
            setattr(radio, method, lambda *_: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                alice.add_radio(radio)
            delattr(radio, method)
    assert radio.detached == 1
