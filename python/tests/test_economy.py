"""The economy of a ledger."""

import asyncio
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

import fogcompute as f
from fogcompute.ledger import (
    CREDIT,
    Economy,
    Evidence,
    Operation,
    SignedBatch,
    owner_key,
    purse_account,
)

DAY = 86_400_000
START = 20_000 * DAY
ANA, BEN = (f"{n:02}" * 16 for n in range(1, 3))
NODE, OTHER, NOBODY = (f"{n:02}" * 32 for n in range(1, 4))
TREASURY = purse_account("treasury")
HOSTING = {"uptime": 1000, "bandwidth": 1000}
SECRET = bytes(range(32))


def new_id() -> str:
    return uuid4().hex


def found(ledger: f.Ledger) -> f.Ledger:
    """Ana and Ben have 1,000 credits each, and Ana runs two nodes."""
    ledger.set_time(START)
    ledger.economy.configure(new_id())
    for account in (ANA, BEN):
        ledger.open_account(account, f.AccountKind.HOLDER)
        ledger.transfer(new_id(), TREASURY, account, 1000 * CREDIT)
    for node in (NODE, OTHER):
        ledger.economy.register_operator(new_id(), node, ANA, 100_000)
    return ledger


def founded() -> f.Ledger:
    return found(f.Ledger.in_memory())


def test_what_moved_is_the_same_alone_and_in_a_batch() -> None:
    # Of the economy, a receipt of a batch said that nothing moved.
    ledger, id = founded(), new_id()
    alone = ledger.economy.bond(id, NODE, BEN, 3 * CREDIT)
    again, more, paid = ledger.execute(
        [
            Operation.bond(id, NODE, BEN, 3 * CREDIT),
            Operation.bond(new_id(), NODE, BEN, 4 * CREDIT),
            (new_id(), TREASURY, BEN, 5 * CREDIT),
        ]
    )
    assert (again.replayed, again.moved, alone.amount) == (True, 3 * CREDIT, 3 * CREDIT)
    assert (more.moved, paid.moved) == (4 * CREDIT, 5 * CREDIT)


def test_stake_earns_is_slashed_leaves_and_is_paid_out_across_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with f.Ledger.open(path) as ledger:
        economy = found(ledger).economy
        id = new_id()
        bonded = economy.bond(id, NODE, BEN, 1000 * CREDIT)
        assert (bonded.event, bonded.amount, bonded.replayed) == ("bonded", 1000 * CREDIT, False)
        again = economy.bond(id, NODE, BEN, 1000 * CREDIT)
        assert again.replayed and again.sequence == bonded.sequence
        assert economy.receipt(id) == again
        assert economy.receipt(new_id()) is None
        assert ledger.balance(BEN) == 0

        rewarded = economy.reward(new_id(), NODE, TREASURY, 100 * CREDIT)
        assert (rewarded.commission, rewarded.treasury) == (10 * CREDIT, 0)
        assert economy.reward(new_id(), OTHER, TREASURY, CREDIT).treasury == CREDIT
        assert economy.stake(NODE, BEN).claimable == 90 * CREDIT
        assert economy.claim(new_id(), NODE, BEN).amount == 90 * CREDIT
        assert economy.claim_commission(new_id(), NODE).amount == 10 * CREDIT

        ledger.set_time(START + DAY)
        slashed = economy.slash(new_id(), NODE, Evidence.INVALID_RESULT, START + 1, 1000 * CREDIT)
        assert (slashed.amount, slashed.insured) == (10 * CREDIT, 5 * CREDIT)
        assert (slashed.jailed_until_unix_ms, slashed.tombstoned) == (START + 2 * DAY, False)
        operator = economy.operator(NODE)
        assert operator is not None
        assert operator.jailed_until_unix_ms == START + 2 * DAY
        assert (operator.staked, operator.commission_ppm) == (990 * CREDIT, 100_000)
        assert economy.pay_insurance(new_id(), new_id(), BEN, 5 * CREDIT).amount == 5 * CREDIT
        ledger.set_time(START + 2 * DAY)
        assert economy.unjail(new_id(), NODE).event == "unjailed"
        assert economy.set_commission(new_id(), NODE, 110_000).event == "commission_set"

        moved = economy.redelegate(new_id(), BEN, NODE, OTHER, 90 * CREDIT)
        left = economy.unbond(new_id(), NODE, BEN)
        assert (left.amount, left.matures_unix_ms) == (900 * CREDIT, START + 23 * DAY)
        assert moved.entry is not None and left.entry == moved.entry + 1
        back = economy.cancel_unbonding(new_id(), NODE, BEN, left.entry, 100 * CREDIT)
        assert back.amount == 100 * CREDIT
        stake = economy.stake(NODE, BEN)
        (unbonding,) = stake.unbondings
        assert (stake.staked, unbonding.balance) == (100 * CREDIT, 800 * CREDIT)
        assert unbonding.matures_unix_ms == left.matures_unix_ms

    with f.Ledger.open(path) as ledger:
        ledger.set_time(START + 23 * DAY)
        assert ledger.now() == START + 23 * DAY
        # The redelegation and the unbonding.
        assert ledger.expire() == 2
        assert ledger.balance(BEN) == (90 + 5 + 800) * CREDIT
        assert ledger.economy.stake(NODE, BEN).unbondings == ()
        ids = [operator.operator for operator in ledger.economy.operators()]
        assert ids == [NODE, OTHER]
        assert [it.operator for it in ledger.economy.operators(NODE, 1)] == [OTHER]
        ledger.verify()
        kinds = {entry.kind for entry in ledger.history(BEN)}
        assert {"economy", "matured", "moved"} <= kinds
        moves = [entry for entry in ledger.history(BEN) if entry.kind == "moved"]
        causes = [next(iter(ledger.entries((it.cause or 0) - 1, 1))) for it in moves]
        assert all(json.loads(cause.event or "") for cause in causes)
        ledger.set_time()
        assert ledger.now() > START


def test_contributions_are_paid_up_to_the_limit_of_the_day() -> None:
    ledger = founded()
    economy = ledger.economy
    for _ in range(11):
        assert economy.earn(new_id(), "hosting", BEN, HOSTING).amount == 9 * CREDIT
    last = economy.earn(new_id(), "hosting", BEN, HOSTING)
    assert (last.amount, last.cut_by_limit) == (CREDIT, 8 * CREDIT)
    assert economy.granted_today("hosting", BEN) == 100 * CREDIT
    with pytest.raises(f.DailyLimitReachedError):
        economy.earn(new_id(), "hosting", BEN, HOSTING)
    ledger.set_time(START + DAY)
    assert economy.granted_today("hosting", BEN) == 0
    economy.earn(new_id(), "hosting", BEN, HOSTING)
    assert economy.earn_session(new_id(), BEN, 100_000, 3_600_000, 0).amount == 9 * CREDIT
    fee = economy.pay_fee(new_id(), BEN, ANA, 100 * CREDIT)
    assert (fee.amount, fee.treasury, fee.sovereign_fund) == (
        100 * CREDIT,
        15 * CREDIT,
        5 * CREDIT,
    )
    assert ledger.balance(ANA) == 1080 * CREDIT
    assert ledger.balance(purse_account("sovereign_fund")) == 5 * CREDIT


def test_rules_are_told_set_and_bounded() -> None:
    ledger = f.Ledger.in_memory()
    economy = ledger.economy
    assert economy.rules() is None
    assert economy.parameters() == ()
    rules = json.loads(Economy.default_rules())
    rules["supply"]["initial"] = str(5 * CREDIT)
    economy.configure(new_id(), json.dumps(rules))
    assert ledger.balance(TREASURY) == 5 * CREDIT
    assert ledger.account(purse_account("mint")).issued == 5 * CREDIT
    name = "earning.contributions.hosting.base"
    assert economy.set_parameter(new_id(), name, 7).event == "parameter_set"
    assert json.loads(economy.rules() or "")["earning"]["contributions"]["hosting"]["base"] == "7"
    found = next(it for it in economy.parameters() if it.name == name)
    assert (found.unit, found.value, found.min) == ("base_units", 7, 0)
    rules["unknown"] = 1
    for text in ["{}", "no json", json.dumps(rules)]:
        with pytest.raises(f.EconomyError):
            economy.configure(new_id(), text)


def refusals() -> dict[str, Callable[[f.Ledger], object]]:
    def e(ledger: f.Ledger) -> Economy:
        return ledger.economy

    def staked(ledger: f.Ledger) -> Economy:
        e(ledger).bond(new_id(), NODE, BEN, 100)
        return e(ledger)

    def entry(ledger: f.Ledger) -> int:
        return staked(ledger).unbond(new_id(), NODE, BEN, 10).entry or 0

    def slash(ledger: f.Ledger, evidence: Evidence, at: int = START) -> object:
        return e(ledger).slash(new_id(), NODE, evidence, at, 10)

    def many(ledger: f.Ledger) -> object:
        staked(ledger)
        return [e(ledger).unbond(new_id(), NODE, BEN, 1) for _ in range(8)]

    def hop(ledger: f.Ledger) -> object:
        staked(ledger).redelegate(new_id(), BEN, NODE, OTHER)
        return e(ledger).redelegate(new_id(), BEN, OTHER, NODE)

    def repeated(ledger: f.Ledger) -> object:
        staked(ledger)
        slash(ledger, Evidence.INVALID_RESULT)
        return slash(ledger, Evidence.INVALID_RESULT)

    def jailed(ledger: f.Ledger) -> object:
        staked(ledger)
        slash(ledger, Evidence.DOWNTIME)
        return staked(ledger)

    def tombstoned(ledger: f.Ledger) -> object:
        staked(ledger)
        slash(ledger, Evidence.DOUBLE_RESULT)
        return e(ledger).unjail(new_id(), NODE)

    def insured(ledger: f.Ledger) -> object:
        e(ledger).bond(new_id(), NODE, BEN, 10_000)
        e(ledger).slash(new_id(), NODE, Evidence.INVALID_RESULT, START, 10_000)
        claim = new_id()
        e(ledger).pay_insurance(new_id(), claim, BEN, 1)
        return e(ledger).pay_insurance(new_id(), claim, BEN, 1)

    def back_in_time(ledger: f.Ledger) -> object:
        ledger.set_time(START - 1)
        return staked(ledger)

    def owner(ledger: f.Ledger, operation: Operation) -> object:
        ledger.own(new_id(), BEN, owner_key(SECRET))
        batch = SignedBatch.sign(BEN, 1, 2**63, [operation], SECRET)
        return ledger.execute_signed(batch)

    def close(ledger: f.Ledger) -> object:
        e(ledger).bond(new_id(), NODE, BEN, 1000 * CREDIT)
        return ledger.close_account(new_id(), BEN)

    def earn(rule: str, **facts: int) -> Callable[[f.Ledger], object]:
        return lambda ledger: e(ledger).earn(new_id(), rule, BEN, facts)

    def session(power: int, duration: int) -> Callable[[f.Ledger], object]:
        return lambda ledger: e(ledger).earn_session(new_id(), BEN, power, duration, 0)

    bonded = purse_account("bonded")
    return {
        "NoEconomyError": lambda _: f.Ledger.in_memory().economy.unjail(new_id(), NODE),
        "EconomyError": lambda it: e(it).set_parameter(
            new_id(), "earning.fees.treasury", 2_000_000
        ),
        "UnknownParameterError": lambda it: e(it).set_parameter(new_id(), "x", 1),
        "PurseAccountError": lambda it: it.transfer(new_id(), bonded, ANA, 1),
        "AccountStakedError": close,
        "HostOnlyError": lambda it: owner(
            it, Operation.set_parameter(new_id(), "earning.fees.treasury", 0)
        ),
        "NotTheOwnerError": lambda it: owner(it, Operation.bond(new_id(), NODE, ANA, 1)),
        "ClockBehindError": back_in_time,
        "UnknownOperatorError": lambda it: e(it).unjail(new_id(), NOBODY),
        "OperatorExistsError": lambda it: e(it).register_operator(new_id(), NODE, ANA, 0),
        "UnknownDelegatorError": lambda it: e(it).claim(new_id(), NODE, BEN),
        "ExceedsStakeError": lambda it: staked(it).unbond(new_id(), NODE, BEN, 101),
        "JailedError": jailed,
        "TombstonedError": tombstoned,
        "NotJailedError": lambda it: e(it).unjail(new_id(), NODE),
        "TooManyEntriesError": many,
        "UnknownEntryError": lambda it: e(it).cancel_unbonding(new_id(), NODE, BEN, entry(it) + 1),
        "ExceedsEntryError": lambda it: e(it).cancel_unbonding(new_id(), NODE, BEN, entry(it), 11),
        "TransitiveRedelegationError": hop,
        "NothingToClaimError": lambda it: staked(it).claim(new_id(), NODE, BEN),
        "EvidenceTooOldError": lambda it: slash(it, Evidence.DOWNTIME, START - 22 * DAY),
        "EvidenceRepeatedError": repeated,
        "CommissionTooLargeError": lambda it: e(it).register_operator(
            new_id(), NOBODY, ANA, 500_001
        ),
        "CommissionTooSoonError": lambda it: e(it).set_commission(new_id(), NODE, 100_001),
        "ClaimRepeatedError": insured,
        "InsuranceShortError": lambda it: e(it).pay_insurance(new_id(), new_id(), BEN, 1),
        "StakingRefusedError": lambda it: e(it).reward(new_id(), NODE, bonded, 1),
        "UnknownRuleError": earn("nothing"),
        "UnknownFactError": earn("hosting", quality=1),
        "FactMissingError": earn("knowledge"),
        "RequirementNotMetError": earn("knowledge", quality=699),
        "FactTooLargeError": earn("knowledge", quality=1001),
        "SessionTooShortError": session(1000, 1),
        "SessionTooLargeError": session(1000, DAY + 1),
        "ZeroAmountError": session(0, DAY),
        "SupplyExceededError": lambda it: e(it).reward(
            new_id(), NODE, purse_account("mint"), 10**9 * CREDIT
        ),
        "ArgumentError": lambda it: e(it).register_operator(new_id(), NOBODY, ANA, 1_000_001),
    }


@pytest.mark.parametrize(
    ("name", "call"), [pytest.param(name, call, id=name) for name, call in refusals().items()]
)
def test_every_refusal_has_its_exception(name: str, call: Callable[[f.Ledger], object]) -> None:
    with pytest.raises(getattr(f, name)) as caught:
        call(founded())
    assert type(caught.value) is getattr(f, name)


def test_an_exception_says_why_the_rules_refuse() -> None:
    with pytest.raises(f.NotJailedError) as caught:
        founded().economy.unjail(new_id(), NODE)
    assert "is not in jail" in str(caught.value)


def test_every_operation_of_the_economy_goes_into_a_batch() -> None:
    ledger = f.Ledger.in_memory()
    ledger.set_time(START)
    ids = [new_id() for _ in range(15)]
    (configure, parameter, register, other, bond, reward, claim, commission, redelegate) = ids[:9]
    (unbond, slash, earn, session, fee, insurance) = ids[9:]
    ledger.execute(
        [
            Operation.configure(configure),
            Operation.set_parameter(parameter, "staking.unbonding_ms", 30 * DAY),
            Operation.open(ANA, f.AccountKind.HOLDER),
            Operation.open(BEN, f.AccountKind.HOLDER),
            Operation.transfer(new_id(), TREASURY, BEN, 1000 * CREDIT),
            Operation.register_operator(register, NODE, ANA, 100_000),
            Operation.register_operator(other, OTHER, ANA, 100_000),
            Operation.bond(bond, NODE, BEN, 100_000),
            Operation.reward(reward, NODE, TREASURY, 100),
            Operation.claim(claim, NODE, BEN),
            Operation.claim_commission(commission, NODE),
            Operation.redelegate(redelegate, BEN, NODE, OTHER, 10_000),
            Operation.unbond(unbond, NODE, BEN, 10_000),
            Operation.slash(slash, NODE, Evidence.DOWNTIME, START, 100_000),
            Operation.earn(earn, "hosting", BEN, HOSTING),
            Operation.earn_session(session, BEN, 100_000, 3_600_000, 0),
            Operation.pay_fee(fee, BEN, ANA, 100),
            Operation.pay_insurance(insurance, new_id(), BEN, 1),
        ]
    )
    receipts = [ledger.economy.receipt(id) for id in ids]
    assert [receipt.event for receipt in receipts if receipt] == [
        "configured", "parameter_set", "registered", "registered", "bonded", "rewarded", "claimed",
        "commission_claimed", "redelegated", "unbonded", "slashed", "earned", "earned",
        "fee_paid", "insurance_paid",
    ]  # fmt: skip
    ledger.set_time(START + DAY)
    entry = receipts[9].entry if receipts[9] else None
    assert entry is not None
    ledger.execute(
        [
            Operation.unjail(new_id(), NODE),
            Operation.cancel_unbonding(new_id(), NODE, BEN, entry),
            Operation.set_commission(new_id(), NODE, 100_001),
        ]
    )
    assert ledger.economy.stake(NODE, BEN).unbondings == ()
    same = Operation.bond(bond, NODE, BEN, 1), Operation.bond(bond, NODE, BEN, 1)
    assert len(set(same)) == 1
    assert Operation.bond(bond, NODE, BEN, 2) not in same


def test_an_owner_stakes_with_a_signature() -> None:
    ledger = founded()
    ledger.own(new_id(), BEN, owner_key(SECRET))
    id = new_id()
    batch = SignedBatch.sign(BEN, 1, 2**63, [Operation.bond(id, NODE, BEN, 5)], SECRET)
    ledger.execute_signed(SignedBatch.from_bytes(batch.to_bytes()))
    receipt = ledger.economy.receipt(id)
    assert receipt is not None and receipt.amount == 5


def test_what_an_economy_tells_can_be_copied_compared_and_kept() -> None:
    ledger = founded()
    receipt = ledger.economy.bond(new_id(), NODE, BEN, 100)
    ledger.economy.unbond(new_id(), NODE, BEN, 1)
    told = [
        receipt,
        ledger.economy.operator(NODE),
        ledger.economy.stake(NODE, BEN),
        ledger.economy.parameters()[0],
    ]
    for value in told:
        assert pickle.loads(pickle.dumps(value)) == value
        assert hash(value) == hash(pickle.loads(pickle.dumps(value)))


def test_purses_are_named() -> None:
    with pytest.raises(f.ArgumentError, match="pocket"):
        purse_account("pocket")
    assert bytes.fromhex(purse_account("insurance")) == b"purse:insurance\0"


async def test_coroutines_stake_at_the_same_time() -> None:
    ledger = founded()
    economy = ledger.economy
    await asyncio.gather(
        *(asyncio.to_thread(economy.bond, new_id(), NODE, BEN, 10) for _ in range(20))
    )
    assert economy.stake(NODE, BEN).staked == 200


def test_a_closed_ledger_has_no_economy() -> None:
    ledger = founded()
    economy = ledger.economy
    ledger.close()
    with pytest.raises(f.ClosedError):
        economy.operators()
