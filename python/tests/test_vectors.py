"""The vectors that all languages share."""

import json
from collections.abc import Callable, MutableMapping
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fogcompute as f
from conftest import ECHO, SUM, VECTORS
from fogcompute.ledger import Action, Choice, Operation, ProposalKind, SignedBatch, owner_key
from fogcompute.schedule import NSGA2, Problem, Result, minimize

CLASSES = {error.name: error for error in f.ERROR_CLASSES.values()}


def numbered(cases: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(case, id=str(index)) for index, case in enumerate(cases)]


def refused(case: dict[str, Any], call: Callable[[], object]) -> None:
    with pytest.raises(f.FogError) as caught:
        call()
    assert type(caught.value) is CLASSES[case["error"]]
    assert caught.value.name == case["error"]


def test_version_is_the_one_of_the_vectors() -> None:
    assert f.version() == f.__version__ == VECTORS["version"]


def test_error_codes_are_those_of_every_language() -> None:
    ours = [{"name": error.name, "code": code} for code, error in f.ERROR_CLASSES.items()]
    assert ours == VECTORS["error_codes"]


def route(hops: list[dict[str, Any]]) -> list[f.Hop]:
    return [
        f.Hop(hop["node"], bytes.fromhex(hop["key"]), timedelta(milliseconds=hop["delay_ms"]))
        for hop in hops
    ]


def follow(sphinx: f.Sphinx, case: dict[str, Any]) -> None:
    packet = bytes.fromhex(case["packet"])
    for key, hop in zip(case["private_keys"], case["hops"], strict=True):
        processed = sphinx.process(f.PrivateKey.from_bytes(bytes.fromhex(key)), packet)
        assert processed.replay_tag.hex() == hop["replay_tag"]
        match processed:
            case f.Forward(next, delay, packet):
                assert hop["kind"] == "forward"
                assert next == hop["next"]
                assert delay == timedelta(milliseconds=hop["delay_ms"])
                assert packet.hex() == hop["packet"]
            case f.Deliver(payload):
                assert hop["kind"] == "deliver"
                assert payload.hex() == hop["payload"]
            case f.Reply(surb):
                assert hop["kind"] == "reply"
                assert surb.hex() == hop["surb"]


SPHINX = [VECTORS["sphinx"], *VECTORS["sphinx_more"]]


@pytest.mark.parametrize("case", numbered([*SPHINX, VECTORS["sphinx_reply"]]))
def test_packets_are_processed(case: dict[str, Any]) -> None:
    follow(f.Sphinx(case["payload_bytes"]), case)


@pytest.mark.parametrize("case", numbered(SPHINX))
def test_packets_are_built(case: dict[str, Any]) -> None:
    sphinx = f.Sphinx(case["payload_bytes"])
    assert sphinx.packet_bytes == case["packet_bytes"]
    keys = [f.PrivateKey.from_bytes(bytes.fromhex(key)) for key in case["private_keys"]]
    assert [key.public_key.hex() for key in keys] == case["public_keys"]
    packet = sphinx.build(route(case["route"]), bytes.fromhex(case["payload"]))
    for key in keys:
        processed = sphinx.process(key, packet)
        if isinstance(processed, f.Forward):
            packet = processed.packet
    assert isinstance(processed, f.Deliver)
    assert processed.payload.hex() == case["payload"]


@pytest.mark.parametrize(
    ("payload_bytes", "case"),
    [
        pytest.param(sphinx["payload_bytes"], case, id=f"{index} {case['what']}")
        for index, sphinx in enumerate(SPHINX)
        for case in sphinx["refused"]
    ],
)
def test_packets_are_refused(payload_bytes: int, case: dict[str, Any]) -> None:
    key = f.PrivateKey.from_bytes(bytes.fromhex(case["private_key"]))
    packet = bytes.fromhex(case["packet"])
    refused(case, lambda: f.Sphinx(payload_bytes).process(key, packet))


@pytest.mark.parametrize(
    ("payload_bytes", "case"),
    [
        pytest.param(sphinx["payload_bytes"], case, id=f"{index} {case['what']}")
        for index, sphinx in enumerate(SPHINX)
        for case in sphinx["refused_routes"]
    ],
)
def test_routes_are_refused(payload_bytes: int, case: dict[str, Any]) -> None:
    payload = bytes.fromhex(case["payload"])
    refused(case, lambda: f.Sphinx(payload_bytes).build(route(case["route"]), payload))


class Schaffer(Problem):
    def __init__(self, low: float, high: float) -> None:
        super().__init__(n_var=1, n_obj=2, xl=low, xu=high)

    def _evaluate(self, X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        x = X[:, 0]
        out["F"] = np.column_stack([x * x, (x - 2.0) * (x - 2.0)])


class Mixed(Problem):
    def __init__(self, variables: list[dict[str, Any]]) -> None:
        [real], [integer], [choice] = (list(each.items()) for each in variables)
        assert (real[0], integer[0], choice[0]) == ("real", "integer", "choice")
        super().__init__(
            n_var=3,
            n_obj=2,
            n_constr=1,
            xl=[real[1]["low"], integer[1]["low"], 0],
            xu=[real[1]["high"], integer[1]["high"], choice[1]["count"] - 1],
            vtype=[float, int, "choice"],
        )

    def _evaluate(self, X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        x, n, c = X.T
        near = (x - 3.0) * (x - 3.0) + (n - 2.0) * (n - 2.0) + (c - 3.0) * (c - 3.0)
        out["F"] = np.column_stack([x + n + c, near])
        out["G"] = 1.0 - x


def optimise(case: dict[str, Any]) -> Result:
    problem: Problem
    if case["problem"] == "schaffer":
        problem = Schaffer(case["low"], case["high"])
    else:
        problem = Mixed(case["variables"])
    algorithm = NSGA2(pop_size=case["population"])
    return minimize(problem, algorithm, ("n_gen", case["generations"]), seed=case["seed"])


@pytest.mark.parametrize("case", numbered([VECTORS["nsga2"], *VECTORS["nsga2_more"]]))
def test_optimisation_finds_the_same_front(case: dict[str, Any]) -> None:
    if "error" in case:
        refused(case, lambda: optimise(case))
        return
    result = optimise(case)
    assert result.n_eval == case["evaluations"]
    assert result.n_gen == case["generations"]
    assert len(result.X) == case["front_size"]
    assert result.X.tolist() == [item["genes"] for item in case["individuals"]]
    assert result.F.tolist() == [item["objectives"] for item in case["individuals"]]


@pytest.mark.parametrize("case", numbered(VECTORS["nsga2"]["refused"]))
def test_optimisation_is_refused(case: dict[str, Any]) -> None:
    refused(case, lambda: optimise(case))


def batch(case: dict[str, Any], jobs: list[dict[str, Any]]) -> dict[str, Any]:
    preference: f.Weights | f.Lexicographic | None = None
    match case["preference"]:
        case {"weights": weights}:
            preference = f.Weights(weights)
        case {"lexicographic": order}:
            preference = f.Lexicographic(order)
        case other:
            assert other == "knee"
    return {
        "jobs": [job_of(job) for job in jobs],
        "nodes": [f.Node(**node) for node in case["nodes"]],
        "sharing": f.Sharing(case["sharing"]),
        "config": f.Nsga2(case["population"], case["generations"]),
        "preference": preference,
        "seed": case["seed"],
    }


def job_of(job: dict[str, Any]) -> f.Job:
    spread = job["spread"] and f.Spread(**job["spread"])
    return f.Job(**job | {"priority": f.Priority[job["priority"].upper()], "spread": spread})


def place(case: dict[str, Any], jobs: list[dict[str, Any]]) -> f.Plan:
    return f.place(**batch(case, jobs), strategy=f.Strategy(case["strategy"]))


def same_plan(plan: f.Plan, case: dict[str, Any]) -> None:
    assert len(plan.front) == case["front_size"]
    assert plan.chosen_index == case["chosen_index"]
    assert plan.explanation == case["explanation"]
    assert plan.chosen is plan.front[plan.chosen_index]
    assert [list(pair) for pair in plan.chosen.assignment] == case["chosen"]["assignment"]
    assert list(plan.chosen.objectives) == case["chosen"]["objectives"]
    assert str(plan.chosen.cost) == case["chosen"]["cost"]
    assert str(plan.chosen.price) == case["chosen"]["price"]


@pytest.mark.parametrize("case", numbered([VECTORS["place"], *VECTORS["place_more"]]))
def test_placement_chooses_the_same(case: dict[str, Any]) -> None:
    if "error" in case:
        refused(case, lambda: place(case, case["jobs"]))
        return
    same_plan(place(case, case["jobs"]), case)


def test_placement_is_infeasible() -> None:
    case = VECTORS["place"]
    refused(case["infeasible"], lambda: place(case, case["infeasible"]["jobs"]))


def rule_of(value: Any) -> f.Rule:
    match value:
        case "anti_affinity":
            return f.AntiAffinity()
        case {"replicas": over}:
            return f.Replicas(over)
        case {"spread": fields}:
            return f.Spread(**fields)
        case {"capacity": of}:
            return f.Capacity(of)
        case _:
            pytest.fail(f"no rule {value}")


def reason_of(value: Any) -> f.LeftOut:
    match value:
        case {"crowded": {"rules": rules}}:
            return f.Crowded([rule_of(rule) for rule in rules])
        case {"no_node": {"removed_by": counts, "nearest": nearest, "nearest_fails": fails}}:
            removed = zip(f.Constraint, counts, strict=True)
            return f.NoNode([pair for pair in removed if pair[1]], nearest, fails)
        case {"no_common_node": fields}:
            return f.NoCommonNode(**fields)
        case {"no_room": {"node": node, "lacks": lacks}}:
            return f.NoRoom(node, f.Lacks(**lacks))
        case {"late": fields}:
            return f.Late(**fields)
        case {"with": job}:
            return f.GoesWith(job)
        case _:
            pytest.fail(f"no reason {value}")


@pytest.mark.parametrize("case", numbered(VECTORS["place_what_fits"]))
def test_placement_leaves_out_the_same(case: dict[str, Any]) -> None:
    if case["strategy"] != "nsga_ii":
        return  # Only that leaves out jobs, so there is no argument to say another.
    if "error" in case:
        refused(case, lambda: f.place_what_fits(**batch(case, case["jobs"])))
        return
    partial = f.place_what_fits(**batch(case, case["jobs"]))
    assert (partial.plan is not None) == ("chosen" in case)
    if partial.plan is not None:
        same_plan(partial.plan, case)
    assert [
        {"job": job, "reason": reason, "text": str(reason)} for job, reason in partial.left_out
    ] == [left | {"reason": reason_of(left["reason"])} for left in case["left_out"]]


@pytest.mark.parametrize("case", VECTORS["tiers"], ids=lambda case: case["tier"])
def test_tiers_have_the_same_terms(case: dict[str, Any]) -> None:
    fields = {name: value for name, value in case.items() if name != "tier"}
    assert f.Tier(case["tier"]).terms == f.Terms(**fields)


def step(ledger: f.Ledger, case: dict[str, Any]) -> f.Receipt:
    amount = None if case.get("amount") is None else int(case["amount"])
    match case["op"]:
        case "open":
            return ledger.open_account(case["account"], f.AccountKind(case["kind"]))
        case "transfer":
            assert amount is not None
            return ledger.transfer(case["id"], case["from"], case["to"], amount)
        case "reserve":
            assert amount is not None
            return ledger.reserve(case["id"], case["from"], case["to"], amount)
        case "post":
            return ledger.post(case["id"], case["reservation"], amount)
        case "void":
            return ledger.void(case["id"], case["reservation"])
        case other:
            raise AssertionError(other)


def test_ledger_does_the_same() -> None:
    vectors = VECTORS["ledger"]
    with f.Ledger.in_memory() as ledger:
        for case in vectors["steps"]:
            if "error" in case:
                refused(case, partial(step, ledger, case))
                continue
            receipt = step(ledger, case)
            assert (receipt.sequence, receipt.replayed) == (case["sequence"], case["replayed"])
        for account, balance in vectors["balances"].items():
            assert str(ledger.balance(account)) == balance
        for case in vectors["accounts"]:
            account = ledger.account(case["account"])
            assert account.kind == case["kind"]
            assert str(ledger.available(account.id)) == case["available"]
            for counter in (
                "available",
                "credits_posted",
                "debits_posted",
                "credits_pending",
                "debits_pending",
            ):
                assert str(getattr(account, counter)) == case[counter]
        unknown = vectors["unknown_account"]
        refused(unknown, lambda: ledger.balance(unknown["account"]))
        verified = ledger.verify()
        assert verified.sequence == vectors["verify"]["entries"]
        assert verified.accounts == vectors["verify"]["accounts"]
        assert verified.open_reservations == vectors["verify"]["open_reservations"]


def test_what_is_signed_of_governance_is_the_same() -> None:
    area = VECTORS["governance"]
    account, proposal, key = area["account"], area["proposal"], bytes.fromhex(area["key"])
    secret = bytes.fromhex(area["secret"])
    assert owner_key(secret) == key
    for case in area["signed"]:
        if case["op"] == "vote":
            operation = Operation.vote(case["id"], account, proposal, Choice(case["choice"]))
        else:
            content = case["content"]
            actions = [Action(json.dumps(action)) for action in content["actions"]]
            operation = Operation.propose(
                case["id"],
                account,
                proposal,
                ProposalKind(content["kind"]),
                content["title"],
                content["description"],
                actions,
            )
        nonce, expires = case["nonce"], area["expires_unix_ms"]
        signed = SignedBatch.sign(account, nonce, expires, [operation], secret)
        assert signed.to_bytes().hex() == case["batch"]
        message = SignedBatch.message(account, nonce, expires, [operation])
        assert message.hex() == case["message"]
        theirs = SignedBatch.from_bytes(bytes.fromhex(case["batch"]))
        assert theirs == signed
        assert theirs.is_signed_by(key)


def policy(text: str) -> f.HarvestPolicy:
    match text:
        case "default":
            return f.HarvestPolicy()
        case "always":
            return f.HarvestPolicy.always()
        case text:
            return f.HarvestPolicy.from_toml(text)


def battery(case: object) -> f.Battery | None:
    match case:
        case "unknown":
            return None
        case "absent":
            return f.Battery.ABSENT
        case {"present": {"level_percent": level, "charging": charging}}:
            return f.Battery(level, charging)
        case other:
            raise AssertionError(other)


def state(case: dict[str, Any]) -> f.DeviceState:
    fields = dict(case)
    # Readings are of just now in Python.
    del fields["read_at"]
    fields["battery"] = battery(fields["battery"])
    if (idle := fields["user_idle"]) is not None:
        fields["user_idle"] = timedelta(seconds=idle["secs"], microseconds=idle["nanos"] / 1000)
    return f.DeviceState(
        f.DeviceClass(fields.pop("class")), network=f.Network(fields.pop("network")), **fields
    )


class Probe:
    def __init__(self, reading: f.Battery | None) -> None:
        self.reading = reading

    def battery(self) -> f.Battery | None:
        return self.reading


@pytest.mark.parametrize("case", numbered(VECTORS["harvest"]))
def test_harvest_decides_the_same(case: dict[str, Any]) -> None:
    if "error" in case:
        refused(case, lambda: policy(case["policy"]).decide(state(case["state"])))
        return
    read = state(case["state"])
    decision = policy(case["policy"]).decide(read)
    assert decision.verdict == case["verdict"]
    assert [reason.code for reason in decision.reasons] == case["reasons"]
    assert [reason.text for reason in decision.reasons] == case["texts"]
    assert [reason.objection for reason in decision.reasons] == case["objections"]
    assert decision.budget == f.Budget(**case["budget"])
    blind = state(case["state"] | {"battery": "unknown"})
    assert policy(case["policy"]).decide_with_probe(blind, Probe(read.battery)) == decision


@pytest.mark.parametrize("case", numbered(VECTORS["wasm"]))
def test_tasks_give_the_same(case: dict[str, Any], fog: f.Fog) -> None:
    module = {"echo": ECHO, "sum": SUM}.get(case["module"]) or bytes.fromhex(case["module"])
    limits = f.Limits(
        fuel=case["fuel"], memory_bytes=case["memory_bytes"], output_bytes=case["output_bytes"]
    )
    data = bytes.fromhex(case["input"])
    if "error" in case:
        refused(case, lambda: fog.run_blocking(module, data, limits=limits))
        return
    result = fog.run_blocking(module, data, limits=limits)
    assert result.output.hex() == case["output"]
    assert result.usage.fuel == case["fuel_used"]
    assert result.usage.memory_bytes_peak == case["memory_bytes_peak"]
