"""Exceptions: the hierarchy, panics, what a caller can read from them."""

import pickle
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import fogcompute as f
from fogcompute import _native


def test_every_code_has_a_class_that_is_exported_and_documented() -> None:
    for code, error in f.ERROR_CLASSES.items():
        assert issubclass(error, f.FogError)
        assert error.code == code
        assert getattr(f, error.__name__) is error
        assert error.__name__ in f.__all__
        assert error.__module__ == "fogcompute"
        assert error.__doc__


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        f.ERROR_CLASSES[1] = f.FogError  # type: ignore[index]


def test_areas_hold_the_codes_of_their_hundred() -> None:
    areas = {
        1: f.FogError,
        2: f.MixError,
        3: f.ScheduleError,
        4: f.LedgerError,
        5: f.HarvestError,
        6: f.TaskError,
        7: f.StorageError,
        8: f.NodeError,
        9: f.GovernanceError,
        10: f.MeshError,
        11: f.CoordinatorError,
    }
    for code, error in f.ERROR_CLASSES.items():
        assert issubclass(error, areas[code // 100])


def test_an_argument_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="payload of 1 bytes is not a multiple of 1024"):
        f.Sphinx(1)


def test_errors_are_pickled() -> None:
    error = pickle.loads(pickle.dumps(f.OutOfFuelError("fuel")))
    assert type(error) is f.OutOfFuelError
    assert error.args == ("fuel",)
    assert (error.code, error.name) == (601, "OutOfFuel")


def test_what_lies_beneath_an_error_is_in_its_notes(tmp_path: Path) -> None:
    with f.Ledger.open(tmp_path / "ledger"):
        pass
    with closing(sqlite3.connect(tmp_path / "ledger")) as connection:
        connection.execute("DROP TABLE batches")
    with pytest.raises(f.StorageError) as caught:
        f.Ledger.open(tmp_path / "ledger")
    assert "no such table" in caught.value.__notes__[0]


def test_a_panic_is_an_exception_and_the_process_lives(capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with pytest.raises(f.PanicError, match="the library panicked: panic on purpose") as caught:
            _native._panic()
        assert caught.value.code == 101
    assert len(re.findall("panicked at", capfd.readouterr().err)) == 3
    assert f.version()


async def test_a_panic_of_a_future_is_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with pytest.raises(f.PanicError, match="the library panicked: panic on purpose"):
            await _native._panic_async()
    assert "panicked at" in capfd.readouterr().err
