"""Harvest decisions; the shared vectors have most of them."""

import pytest

import fogcompute as f
from fogcompute import BatteryProbe

IDLE = f.DeviceState(
    f.DeviceClass.SERVER,
    cpu_load=0.1,
    memory_total_bytes=64 << 30,
    memory_available_bytes=48 << 30,
    battery=f.Battery.ABSENT,
    temperature_celsius=41.0,
    network=f.Network.ETHERNET,
    metered=False,
    minute_of_day=23 * 60,
)


class Custom(BaseException):
    pass


class Probe:
    def __init__(self, reading: object) -> None:
        self.reading = reading
        self.calls = 0

    def battery(self) -> f.Battery | None:
        self.calls += 1
        if isinstance(self.reading, BaseException):
            raise self.reading
        return self.reading  # type: ignore[return-value]


def test_an_idle_server_lends() -> None:
    decision = f.HarvestPolicy().decide(IDLE)
    assert decision.verdict is f.Verdict.ALLOW
    assert decision.budget.cpu_share == 0.5


def test_a_phone_has_a_policy_of_its_own() -> None:
    state = f.DeviceState(f.DeviceClass.PHONE, battery=f.Battery(45.0, charging=True))

    def is_low(policy: f.HarvestPolicy) -> bool:
        return any(reason.code == "battery_low" for reason in policy.decide(state).reasons)

    phone = f.HarvestPolicy.phone()
    assert is_low(phone) and not is_low(f.HarvestPolicy())
    assert not is_low(phone.with_toml("battery_percent_min = 40.0"))
    assert phone.with_toml("") == phone
    with pytest.raises(f.PolicyError):
        phone.with_toml("batery = 1")


def test_the_probe_replaces_the_battery_and_is_asked_once() -> None:
    probe: BatteryProbe = (low := Probe(f.Battery(12.0, charging=True)))
    decision = f.HarvestPolicy().decide_with_probe(IDLE, probe)
    assert decision.verdict is f.Verdict.REFUSE
    match decision.reasons:
        case (f.Reason("battery_low", text, True),):
            assert text == "the battery is at 12 %, at least 20 % is needed"
        case other:
            raise AssertionError(other)
    assert low.calls == 1


def test_a_probe_may_know_nothing() -> None:
    decision = f.HarvestPolicy().decide_with_probe(IDLE, Probe(None))
    assert [reason.code for reason in decision.reasons] == ["reading_unknown"]


@pytest.mark.parametrize(
    "exception",
    [ValueError("no battery"), Custom(), KeyboardInterrupt(), f.ProbeFailedError("tired")],
)
def test_what_a_probe_raises_comes_out_unchanged(exception: BaseException) -> None:
    with pytest.raises(type(exception)) as caught:
        f.HarvestPolicy().decide_with_probe(IDLE, Probe(exception))
    assert caught.value is exception


@pytest.mark.parametrize("reading", [80, "80 %", (80.0, True)])
def test_a_probe_must_return_a_battery(reading: object) -> None:
    with pytest.raises(TypeError, match="Battery"):
        f.HarvestPolicy().decide_with_probe(IDLE, Probe(reading))
