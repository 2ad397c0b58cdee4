"""A fog of processes: its coordinator, nodes, and who submits."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

import fogcompute as f
from fogcompute.fog import (
    FogClient,
    FogCoordinator,
    FogEvent,
    FogNode,
    FogTopology,
    FogWatch,
)

from conftest import ENDLESS, SUM, module

ALL = ["submit", "cancel", "query", "drain", "maintain"]
SOON = timedelta(milliseconds=200)


class Fog:
    """A coordinator, a mixnode and a node that computes, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.coordinator = FogCoordinator(folder / "fog")
        self.nodes: list[FogNode] = []

    def node(self, name: str, layer: int | None = None) -> FogNode:
        node = FogNode(
            self.coordinator.address,
            self.coordinator.id,
            self.folder / name,
            layer=layer,
            policy=f.HarvestPolicy.always(),
            heartbeat=SOON,
        )
        self.nodes.append(node)
        return node

    def client(self) -> FogClient:
        return FogClient(self.coordinator.issue_token(actions=ALL))

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        self.coordinator.close()


@asynccontextmanager
async def a_fog(folder: Path) -> AsyncIterator[tuple[Fog, FogClient]]:
    fog = Fog(folder)
    try:
        fog.node("mix", layer=0)
        fog.node("compute")
        async with fog.client() as client:
            yield fog, client
    finally:
        fog.close()


async def test_a_job_is_done_by_another_node_and_events_tell_of_it(tmp_path: Path) -> None:
    async with a_fog(tmp_path) as (fog, client):
        job = await client.submit(SUM, [b"\x01\x02", b"\x27\x03"], priority=f.Priority.HIGH)
        assert (job.open, job.account, job.privacy) == (2, fog.coordinator.account, "private")
        assert job.priority is f.Priority.HIGH
        kinds = []
        watch = client.watch()
        async for event in watch:
            kinds.append(event.kind)
            if event.kind == "assigned":
                assert event.node == fog.nodes[1].id
            if event.kind == "job_ended":
                assert event.job == job.id
                break
        assert kinds[0] == "admitted" and sorted(kinds).count("ended") == 2
        assert watch.last == await client.last_event()
        ended = await client.wait(job.id)
        assert (ended.succeeded, ended.open, ended.reserved) == (2, 0, 0)
        tasks = await client.tasks(job.id)
        outputs = [(await client.result(task.id)).output for task in tasks]
        assert outputs == [number.to_bytes(8, "little") for number in (3, 42)]
        assert [task.state for task in tasks] == ["succeeded"] * 2
        assert await client.task(tasks[0].id) == tasks[0]
        assert await client.jobs() == (ended,)
        assert await client.job(job.id) == ended
        # The same job again is the same job.
        inputs = [b"\x01\x02", b"\x27\x03"]
        again = await client.submit(SUM, inputs, priority=f.Priority.HIGH, id=job.id)
        assert again == ended
        with pytest.raises(f.IdReusedError):
            await client.submit(SUM, [b""], id=job.id)
        assert "fogcompute_coord_jobs_admitted_total 1" in await client.metrics()
        assert fog.coordinator.trouble is None


async def test_who_submits_reads_what_a_task_logs(tmp_path: Path) -> None:
    async with a_fog(tmp_path) as (_, client):
        job = await client.submit(module("says"), [b"hello"], host_calls=True)
        assert (await client.wait(job.id)).succeeded == 1
        (task,) = await client.tasks(job.id)
        assert await client.log(task.id) == "hello\n"
        with pytest.raises(f.UnknownTaskError):
            await client.log("ab" * 16)


async def test_nodes_are_seen_and_drained(tmp_path: Path) -> None:
    async with a_fog(tmp_path) as (fog, client):
        for node in fog.nodes:
            await node.joined()
            status = node.status()
            assert (status.joined, status.trouble, status.ended) == (True, None, False)
        topology = await seen(client, 2)
        mix, compute = fog.nodes
        members = {member.id: member for member in topology.members}
        assert topology.coordinator == fog.coordinator.id
        assert (members[mix.id].layer, members[mix.id].kind) == (0, "mixnode")
        known = members[compute.id]
        assert (known.layer, known.kind, known.address) == (None, "compute", compute.address)
        assert known.linked and known.free_cpu_millis == known.cpu_millis > 0
        assert dict(topology.history[-1].kinds)["mixnode"] == 0
        await client.drain(compute.id)
        members = {member.id: member for member in (await client.topology()).members}
        # It has nothing left to finish.
        assert members[compute.id].status in ("draining", "maintenance")
        await client.undrain(compute.id)
        with pytest.raises(f.UnknownNodeError):
            await client.drain("ab" * 32)


async def seen(client: FogClient, nodes: int) -> FogTopology:
    """The topology once so many nodes are linked and one of them is known to compute."""
    while True:
        topology = await client.topology()
        linked = sum(member.linked for member in topology.members)
        if linked == nodes and topology.history:
            return topology
        await asyncio.sleep(0.02)


async def test_what_runs_is_cancelled_and_has_no_result(tmp_path: Path) -> None:
    async with a_fog(tmp_path) as (_, client):
        job = await client.submit(ENDLESS, [b"", b""])
        first, second = await client.tasks(job.id)
        with pytest.raises(f.TaskOpenError):
            await client.result(first.id)
        assert await client.cancel_task(first.id)
        assert not await client.cancel_task(first.id)
        assert await client.cancel(job.id) == 1
        with pytest.raises(f.NoResultError):
            await client.result(second.id)
        assert (await client.wait(job.id)).cancelled == 2


async def test_whoever_is_killed_is_found_again(tmp_path: Path) -> None:
    fog = Fog(tmp_path)
    try:
        client = FogClient(fog.coordinator.issue_token(actions=ALL))
        job = await client.submit(SUM, [b"\x05"])
        watch = client.watch()
        assert (await watch.receive()).kind == "admitted"
        address = fog.coordinator.address
        fog.coordinator.close()
        with pytest.raises(f.ClosedError):
            fog.coordinator.issue_token()
        fog.coordinator = FogCoordinator(tmp_path / "fog", listen=address)
        fog.node("mix", layer=0)
        fog.node("compute")
        assert (await client.wait(job.id)).succeeded == 1
        kinds = [event.kind async for event in until_ended(watch)]
        assert kinds[-1] == "job_ended" and "admitted" not in kinds
        client.close()
        client.close()
        with pytest.raises(f.ClosedError):
            await watch.receive()
        with pytest.raises(f.ClosedError):
            await client.jobs()
    finally:
        fog.close()


async def until_ended(watch: FogWatch) -> AsyncIterator[FogEvent]:
    async for event in watch:
        yield event
        if event.kind == "job_ended":
            return


async def test_a_cancelled_wait_for_an_event_loses_none(tmp_path: Path) -> None:
    with FogCoordinator(tmp_path / "fog") as coordinator:
        async with FogClient(coordinator.issue_token()) as client:
            watch = client.watch()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watch.receive(), 0.05)
            assert watch.try_receive() is None
            job = await client.submit(SUM, [b""])
            event = await watch.receive()
            assert (event.kind, event.job, event.tasks) == ("admitted", job.id, 1)
            watch.close()
            assert [event async for event in watch] == []


async def test_what_a_token_does_not_permit_is_refused(tmp_path: Path) -> None:
    with FogCoordinator(tmp_path / "fog", endowment=5) as coordinator:
        def client(**grant: object) -> FogClient:
            return FogClient(coordinator.issue_token(**grant))  # type: ignore[arg-type]

        for error, fog, max_price in [
            (f.TokenForbidsError, client(actions=["query"]), 1),
            (f.TokenExpiredError, client(valid_for=timedelta(0)), 1),
            (f.TokenUsedUpError, client(tasks_max=0), 1),
            (f.TokenUsedUpError, client(max_spend=0), 1),
            (f.InsufficientFundsError, client(), 6),
            (f.InsufficientFundsError, client(account="ab" * 16), 1),
        ]:
            async with fog:
                with pytest.raises(error):
                    await fog.submit(SUM, [b""], max_price=max_price)
        async with client() as fog:
            with pytest.raises(f.JobError):
                await fog.submit(SUM, [])
            with pytest.raises(f.UnknownTaskError):
                await fog.job("ab" * 16)
            for wrong in [{"privacy": "open"}, {"id": "x"}, {"limits": f.Limits(fuel=0)}]:
                with pytest.raises(f.ArgumentError):
                    await fog.submit(SUM, [b""], **wrong)  # type: ignore[arg-type]
        token = coordinator.issue_token()
        with FogCoordinator(tmp_path / "other") as other:
            strange = token.replace(coordinator.address, other.address)
            patience = timedelta(seconds=1)
            async with FogClient(strange, patience=patience) as fog:
                with pytest.raises(f.CoordinatorUnreachableError) as silent:
                    await fog.jobs()
                assert silent.value.job is None
        for wrong_token in ["", "address = 1", token.replace("key = ", "key = 1 #")]:
            with pytest.raises(f.TokenError):
                FogClient(wrong_token)
        with pytest.raises(f.StorageError):
            FogClient.open(tmp_path / "none")
        (tmp_path / "fog.token").write_text(token)
        async with FogClient.open(tmp_path / "fog.token") as fog:
            assert await fog.jobs() == ()
        with pytest.raises(f.ArgumentError):
            coordinator.issue_token(actions=["rule"])


async def test_an_error_ends_the_loop_and_another_one_goes_on(tmp_path: Path) -> None:
    coordinator = FogCoordinator(tmp_path / "fog")
    address, token = coordinator.address, coordinator.issue_token()
    coordinator.close()
    async with FogClient(token, patience=timedelta(seconds=1)) as client:
        watch = client.watch()
        with pytest.raises(f.CoordinatorUnreachableError):
            async for _ in watch:
                raise AssertionError
        # What may have been admitted is named, however its id was drawn.
        with pytest.raises(f.CoordinatorUnreachableError) as unanswered:
            await client.submit(SUM, [b""], id="cd" * 16)
        assert unanswered.value.job == "cd" * 16
        with FogCoordinator(tmp_path / "fog", listen=address):
            job = await submitted(client)
            while True:
                try:
                    event = await watch.receive()
                    break
                except f.CoordinatorError:
                    pass
            assert (event.kind, event.job) == ("admitted", job)


async def submitted(client: FogClient) -> str:
    while True:
        try:
            return (await client.submit(SUM, [b""])).id
        except f.CoordinatorError:
            pass


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    with FogCoordinator(tmp_path / "fog") as coordinator:
        with pytest.raises(f.ListenError):
            FogCoordinator(tmp_path / "other", listen=coordinator.address)
        for wrong in [{"layers": 0}, {"nodes_max": 0}, {"placement": "x"}, {"listen": "here"}]:
            with pytest.raises(f.ArgumentError):
                FogCoordinator(tmp_path / "other", **wrong)  # type: ignore[arg-type]
        whom = coordinator.address, coordinator.id
        with pytest.raises(f.ListenError):
            FogNode(*whom, tmp_path / "node", listen=coordinator.address)
        # A node of a layer that no fog has was started, and its coordinator did not understand it.
        for wrong in [{"heartbeat": timedelta(0)}, {"nodes_on_machine": 0}, {"layer": 200}]:
            with pytest.raises(f.ArgumentError):
                FogNode(*whom, tmp_path / "node", **wrong)  # type: ignore[arg-type]
        (tmp_path / "file").touch()
        with pytest.raises(f.StorageError):
            FogNode(*whom, tmp_path / "file" / "node")


async def test_a_node_that_is_not_let_in_says_why(tmp_path: Path) -> None:
    with FogCoordinator(tmp_path / "fog") as coordinator:
        whom = coordinator.address, coordinator.id
        async with FogNode(*whom, tmp_path / "node", layer=3) as node:
            while (trouble := node.status().trouble) is None:
                await asyncio.sleep(0.02)
            assert "refused this node" in trouble
            joined = asyncio.ensure_future(node.joined())
            await asyncio.sleep(0)
        with pytest.raises(f.ClosedError):
            await joined
        with pytest.raises(f.ClosedError):
            node.status()


FORKED = """
import os, sys, warnings
from fogcompute import ClosedError
from fogcompute.fog import FogClient, FogCoordinator

warnings.simplefilter("ignore")  # Newer versions of Python warn of forking with threads.
with FogCoordinator(sys.argv[1]) as coordinator:
    client = FogClient(coordinator.issue_token())
    watch = client.watch()
    child = os.fork()
    if child == 0:
        for call in (watch.try_receive, coordinator.issue_token, client.watch):
            try:
                call()
            except ClosedError as error:
                assert "was made before this process was forked" in str(error)
            else:
                raise AssertionError("the parent's object answered")
        for theirs in (watch, client, coordinator):
            theirs.close()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert watch.try_receive() is None
    client.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_told_that_they_are_its_parents(tmp_path: Path) -> None:
    run = [sys.executable, "-c", FORKED, str(tmp_path / "fog")]
    result = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
