"""Governance of a ledger: proposals, votes, delegation and roles."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import fogcompute as f
from fogcompute.ledger import (
    CREDIT,
    Action,
    Choice,
    Economy,
    Operation,
    PauseScope,
    ProposalKind,
    ProposalState,
    Role,
    SignedBatch,
    owner_key,
    purse_account,
)

HOUR = 3_600_000
DAY = 24 * HOUR
START = 20_000 * DAY
ANA, BEN, CLEO = (f"{n:02}" * 16 for n in range(1, 4))
SECRETS = {account: bytes([n]) * 32 for n, account in enumerate((ANA, BEN, CLEO), 1)}
TREASURY = purse_account("treasury")
BASE = "earning.contributions.hosting.base"
HOSTING = {"uptime": 1000}
EVER = 2**63


def new_id() -> str:
    return uuid4().hex


def rules(*, signed: bool) -> str:
    text = json.loads(Economy.default_rules())
    text["dao"]["signatures_required"] = signed
    return json.dumps(text)


def sign(ledger: f.Ledger, account: str, *operations: Operation) -> SignedBatch:
    nonce = ledger.next_nonce(account)
    return SignedBatch.sign(account, nonce, EVER, operations, SECRETS[account])


def founded(*, signed: bool = False, path: Path | None = None) -> f.Ledger:
    """Ana, Ben and Cleo have 10,000 credits each and are enrolled."""
    ledger = f.Ledger.in_memory() if path is None else f.Ledger.open(path)
    ledger.set_time(START)
    ledger.economy.configure(new_id(), rules(signed=signed))
    for account, secret in SECRETS.items():
        ledger.open_account(account, f.AccountKind.HOLDER)
        ledger.transfer(new_id(), TREASURY, account, 10_000 * CREDIT)
        ledger.own(new_id(), account, owner_key(secret))
        ledger.execute_signed(sign(ledger, account, Operation.enrol(new_id(), account)))
    ledger.set_time(START + DAY)
    return ledger


def change(value: int) -> dict[str, Any]:
    """What a proposal says that sets the reward of hosts."""
    return {
        "kind": ProposalKind.PARAMETER_CHANGE,
        "title": "Pay hosts more",
        "description": "Hosts are few.\nThey should be more.",
        "actions": [Action.set_parameter(BASE, value)],
    }


def base_of(ledger: f.Ledger) -> int:
    return next(it.value for it in ledger.economy.parameters() if it.name == BASE)


def test_a_vote_signed_offline_changes_what_the_ledger_pays(tmp_path: Path) -> None:
    path, proposal = tmp_path / "ledger", new_id()
    with founded(signed=True, path=path) as ledger:
        before = ledger.economy.earn(new_id(), "hosting", ANA, HOSTING).amount
        base = base_of(ledger)
        asked = Operation.propose(new_id(), ANA, proposal, **change(2 * base))
        ledger.execute_signed(sign(ledger, ANA, asked))
        pending = ledger.governance.proposal(proposal)
        assert pending is not None
        assert (pending.state, pending.quorum) == (ProposalState.PENDING, None)
        assert pending.actions == (Action.set_parameter(BASE, 2 * base),)
        # Ben signs on a device without a network, and hands the bytes over later.
        vote = new_id()
        handed_over = sign(
            ledger, BEN, Operation.vote(vote, BEN, proposal, Choice.FOR)
        ).to_bytes()

    with f.Ledger.open(path) as ledger:
        governance = ledger.governance
        ledger.set_time(START + 2 * DAY + 1)
        ledger.execute_signed(SignedBatch.from_bytes(handed_over))
        with pytest.raises(f.SignatureReplayedError):
            ledger.execute_signed(SignedBatch.from_bytes(handed_over))
        receipt = ledger.economy.receipt(vote)
        assert receipt is not None
        assert (receipt.event, receipt.proposal) == ("voted", proposal)
        assert receipt.power == 10_000 * CREDIT
        for choice in (Choice.AGAINST, Choice.FOR):
            cleo = Operation.vote(new_id(), CLEO, proposal, choice)
            ledger.execute_signed(sign(ledger, CLEO, cleo))
        ballot = governance.ballot(proposal, CLEO)
        assert ballot is not None
        assert (ballot.choice, ballot.changes) == (Choice.FOR, 1)
        assert governance.ballot(proposal, ANA) is None
        active = governance.proposal(proposal)
        assert active is not None
        assert (active.state, active.ballots) == (ProposalState.ACTIVE, 2)
        assert (active.quorum_reached, active.approved) == (True, True)
        assert active.power.in_favor > active.power.against == 0

        ledger.set_time(START + 9 * DAY + 1)
        eta = governance.queue(new_id(), proposal).eta_unix_ms
        assert eta == START + 10 * DAY + 1
        with pytest.raises(f.TimelockRunningError):
            governance.execute(new_id(), proposal)
        assert base_of(ledger) == base
        ledger.set_time(eta)
        assert governance.execute(new_id(), proposal).event == "executed"
        assert base_of(ledger) == 2 * base
        after = ledger.economy.earn(new_id(), "hosting", ANA, HOSTING).amount
        assert after == 2 * before
        (done,) = governance.proposals()
        assert (done.state, done.closed_unix_ms) == (ProposalState.EXECUTED, eta)
        assert governance.proposals(after=proposal) == ()
        ledger.verify()


def test_votes_are_delegated_whole_in_part_and_by_topic_and_taken_back() -> None:
    governance = (ledger := founded()).governance
    topic, other = ProposalKind.GENERAL, ProposalKind.PARAMETER_CHANGE

    def kept(unix_ms: int | None = None) -> list[int]:
        return [
            governance.power(account, topic, unix_ms).kept // CREDIT for account in (ANA, BEN, CLEO)
        ]

    before = ledger.now()
    ledger.set_time(before + 1)
    governance.delegate(new_id(), ANA, [(BEN, 1_000_000)])
    assert kept() == [0, 20_000, 10_000]
    governance.delegate(new_id(), ANA, [(BEN, 250_000), (CLEO, 500_000)], [topic])
    assert kept() == [2_500, 12_500, 15_000]
    assert governance.delegation(ANA, topic) == ((BEN, 250_000), (CLEO, 500_000))
    assert governance.delegation(ANA, other) == ((BEN, 1_000_000),)
    assert kept(before) == [10_000] * 3
    governance.delegate(new_id(), ANA, [])
    assert kept() == [10_000] * 3
    assert governance.total() == governance.total(before)
    with pytest.raises(f.FutureLookupError):
        governance.total(ledger.now())

    # Who votes takes back what they delegated.
    proposal = new_id()
    governance.delegate(new_id(), ANA, [(BEN, 1_000_000)])
    governance.propose(new_id(), CLEO, proposal, **change(1))
    ledger.set_time(before + 2 * DAY)
    vote = governance.vote(new_id(), BEN, proposal, Choice.FOR)
    assert vote.power == 20_000 * CREDIT
    governance.vote(new_id(), ANA, proposal, Choice.AGAINST)
    ballots = [governance.ballot(proposal, account) for account in (ANA, BEN)]
    assert [ballot and ballot.power for ballot in ballots] == [10_000 * CREDIT] * 2
    # Nobody counts for more than a quarter of all weight.
    seen = governance.proposal(proposal)
    assert seen is not None
    assert seen.power.in_favor == seen.power.against == 7_500 * CREDIT


def test_drafts_are_submitted_and_cancelled_and_roles_are_told() -> None:
    governance = (ledger := founded()).governance
    draft = new_id()
    governance.draft(new_id(), ANA, draft, **change(1))
    seen = governance.proposal(draft)
    assert seen is not None
    assert (seen.state, seen.deadline_unix_ms) == (ProposalState.DRAFT, None)
    assert governance.submit(new_id(), ANA, draft).deadline_unix_ms == START + 9 * DAY
    governance.cancel(new_id(), ANA, draft)
    seen = governance.proposal(draft)
    assert seen is not None
    assert (seen.state, seen.cancelled_by) == (ProposalState.CANCELLED, ANA)

    governance.establish(new_id(), [(BEN, Role.GUARDIAN)])
    governance.set_reputation(new_id(), BEN, 300_000)
    ben = governance.member(BEN)
    assert (ben.role, ben.reputation_ppm, ben.enrolled) == (Role.GUARDIAN, 300_000, True)
    assert ben.tokens == 10_000 * CREDIT
    overview = governance.overview()
    assert (overview.established, overview.members) == (True, 3)
    assert overview.roles == ((BEN, Role.GUARDIAN),)
    assert overview.total == overview.circulating + 40_000 * CREDIT
    with pytest.raises(f.GovernedError):
        ledger.economy.set_parameter(new_id(), BASE, 1)


def decide(ledger: f.Ledger, kind: ProposalKind, *actions: Action) -> None:
    """Passes a proposal of everybody's."""
    proposal, governance = new_id(), ledger.governance
    ledger.set_time(ledger.now() + 1)
    governance.propose(new_id(), ANA, proposal, kind, "So be it", "", actions)
    seen = governance.proposal(proposal)
    assert seen is not None
    assert seen.snapshot_unix_ms is not None
    ledger.set_time(seen.snapshot_unix_ms + 1)
    for account in SECRETS:
        governance.vote(new_id(), account, proposal, Choice.FOR)
    seen = governance.proposal(proposal)
    assert seen is not None
    assert seen.deadline_unix_ms is not None
    ledger.set_time(seen.deadline_unix_ms + 1)
    eta = governance.queue(new_id(), proposal).eta_unix_ms
    assert eta is not None
    ledger.set_time(eta)
    governance.execute(new_id(), proposal)


def test_every_kind_of_action_does_what_it_says() -> None:
    ledger = founded()
    digest, agent = "ab" * 32, "cd" * 32
    later = START + 365 * DAY
    decide(ledger, ProposalKind.TREASURY_ALLOCATION, Action.pay(CLEO, 5 * CREDIT, 7))
    assert ledger.balance(CLEO) == 10_005 * CREDIT
    decide(ledger, ProposalKind.AGENT_DEPLOYMENT, Action.deploy_agent(agent, BEN, CREDIT))
    assert ledger.balance(BEN) == 10_001 * CREDIT
    decide(
        ledger,
        ProposalKind.GENERAL,
        Action.grant_role(ANA, Role.COUNCILOR),
        Action.grant_role(BEN, Role.KING),
        Action.resolve(digest),
    )
    decide(ledger, ProposalKind.GENERAL, Action.revoke_role(BEN))
    decide(ledger, ProposalKind.PROTOCOL_UPGRADE, Action.schedule_upgrade("2.0", digest, later))
    decide(ledger, ProposalKind.EMERGENCY_ACTION, Action.pause(PauseScope.EARNING))
    with pytest.raises(f.PausedError):
        ledger.economy.earn(new_id(), "hosting", BEN, HOSTING)
    overview = ledger.governance.overview()
    assert overview.paused == (PauseScope.EARNING,)
    assert overview.roles == ((ANA, Role.COUNCILOR),)
    assert [(it.version, it.activates_unix_ms) for it in overview.upgrades] == [("2.0", later)]
    assert [(it.agent, it.operator, it.budget) for it in overview.agents] == [(agent, BEN, CREDIT)]
    assert [it.text for it in overview.resolutions] == [digest]
    decide(ledger, ProposalKind.GENERAL, Action.unpause(PauseScope.EARNING))
    assert ledger.governance.overview().paused == ()


def test_an_action_is_one_text_in_every_language() -> None:
    action = Action.pay(BEN, 2**100, 7)
    assert json.loads(action.json) == {"pay": {"to": BEN, "amount": str(2**100), "code": 7}}
    assert Action(action.json) == action
    for text in ("", '{"mint": {"amount": "1"}}', '{"set_parameter": {"name": "x", "value": 1.5}}'):
        with pytest.raises(f.ProposalError):
            Action(text)


def test_every_bad_request_has_its_error_and_changes_nothing() -> None:
    ledger = founded()
    governance, proposal, nobody = ledger.governance, new_id(), "99" * 16
    ledger.open_account(nobody, f.AccountKind.HOLDER)
    governance.propose(new_id(), ANA, proposal, **change(1))

    def propose(**more: Any) -> None:
        governance.propose(new_id(), ANA, new_id(), **(change(1) | more))

    def vote(account: str, what: str = proposal, choice: Any = Choice.FOR) -> None:
        governance.vote(new_id(), account, what, choice)

    def refused(cases: list[tuple[Callable[[], object], type[f.FogError]]]) -> None:
        head = ledger.head()
        for number, (case, error) in enumerate(cases):
            with pytest.raises(f.FogError) as caught:
                case()
            assert type(caught.value) is error, number
            assert ledger.head() == head

    resolve, pay = Action.resolve("ab" * 32), ProposalKind.TREASURY_ALLOCATION
    governance.delegate(new_id(), BEN, [(CLEO, 1_000_000)], [ProposalKind.GENERAL])
    refused(
        [
            (lambda: vote(ANA, new_id()), f.UnknownProposalError),
            (lambda: vote(ANA), f.VotingNotStartedError),
            (lambda: propose(actions=[]), f.NoActionsError),
            (
                lambda: propose(kind=ProposalKind.GENERAL, actions=[resolve] * 17),
                f.TooManyActionsError,
            ),
            (lambda: propose(description="\x1b[2J"), f.ControlCharacterError),
            (lambda: propose(title=""), f.ProposalError),
            (lambda: propose(**change(2**127)), f.ParameterOutOfRangeError),
            (
                lambda: propose(actions=[Action.set_parameter("no", 1)]),
                f.UnknownParameterError,
            ),
            (lambda: propose(actions=[resolve]), f.ActionNotAllowedError),
            (
                lambda: propose(kind=pay, actions=[Action.pay(BEN, 2**127)]),
                f.TreasuryShortError,
            ),
            (lambda: propose(kind=pay, actions=[Action.pay(BEN, 0)]), f.ActionRefusedError),
            (lambda: propose(**change(base_of(ledger))), f.ActionRefusedError),
            (lambda: propose(actions=change(1)["actions"] * 2), f.ActionRefusedError),
            (lambda: propose(title="\u202ex"), f.ControlCharacterError),
            (
                lambda: governance.delegate(new_id(), CLEO, [(BEN, 1)]),
                f.CircularDelegationError,
            ),
            (lambda: governance.delegate(new_id(), ANA, [(ANA, 1)]), f.DelegationError),
            (lambda: governance.delegate(new_id(), ANA, []), f.NothingDelegatedError),
            (lambda: governance.enrol(new_id(), ANA), f.AlreadyEnrolledError),
            (lambda: governance.queue(new_id(), proposal), f.WrongStateError),
            (lambda: governance.cancel(new_id(), BEN, proposal), f.NotPermittedError),
            (lambda: propose(kind="nonsense"), f.ArgumentError),
            (
                lambda: governance.propose(new_id(), nobody, new_id(), **change(1)),
                f.BelowThresholdError,
            ),
        ]
    )
    ledger.set_time(START + 2 * DAY + 1)
    vote(ANA)
    refused(
        [
            (lambda: vote(nobody), f.NoVotingPowerError),
            (lambda: vote(BEN, choice="perhaps"), f.UnknownChoiceError),
            (lambda: vote(ANA), f.AlreadyVotedError),
        ]
    )
    ledger.set_time(START + 9 * DAY + 1)
    refused([(lambda: vote(BEN), f.VotingOverError)])
    with pytest.raises(TypeError):
        Action.set_parameter(BASE, "7")  # type: ignore[arg-type]


def test_accounts_speak_for_themselves_and_by_signatures() -> None:
    ledger = founded(signed=True)
    proposal = new_id()
    asked = Operation.propose(new_id(), ANA, proposal, **change(1))
    with pytest.raises(f.SignatureRequiredError):
        ledger.execute([asked])
    with pytest.raises(f.NotTheOwnerError):
        ledger.execute_signed(sign(ledger, BEN, asked))
    crown = Operation.establish(new_id(), [(BEN, Role.KING)])
    with pytest.raises(f.HostOnlyError):
        ledger.execute_signed(sign(ledger, BEN, crown))
    ledger.execute_signed(sign(ledger, ANA, asked))
    with pytest.raises(f.SignatureRequiredError):
        ledger.governance.vote(new_id(), BEN, proposal, Choice.FOR)
    # Nor is a key replaced, once roles are established, but by a signature under it.
    ledger.governance.establish(new_id(), [(CLEO, Role.GUARDIAN)])
    key = owner_key(SECRETS[CLEO])
    with pytest.raises(f.SignatureRequiredError):
        ledger.own(new_id(), BEN, key)
    ledger.execute_signed(sign(ledger, BEN, Operation.own(new_id(), BEN, key)))
    assert ledger.owner(BEN) == key


def test_an_execution_that_fails_does_nothing_and_stays_queued() -> None:
    governance = (ledger := founded()).governance
    proposal, everything = new_id(), ledger.balance(TREASURY)
    governance.propose(
        new_id(),
        ANA,
        proposal,
        ProposalKind.TREASURY_ALLOCATION,
        "All of it",
        "",
        [Action.pay(BEN, everything)],
    )
    ledger.set_time(START + 2 * DAY + 1)
    for account in (ANA, BEN):
        governance.vote(new_id(), account, proposal, Choice.FOR)
    ledger.set_time(START + 9 * DAY + 1)
    governance.queue(new_id(), proposal)
    ledger.transfer(new_id(), TREASURY, CLEO, 1)
    ledger.set_time(START + 10 * DAY + 1)
    with pytest.raises(f.ActionFailedError, match="treasury"):
        governance.execute(new_id(), proposal)
    seen = governance.proposal(proposal)
    assert seen is not None
    assert seen.state is ProposalState.QUEUED
    assert ledger.balance(BEN) == 10_000 * CREDIT
