"""What `help()` and an exception's text say."""

import ast
import inspect
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fogcompute as f
from fogcompute import fog, mesh, mix, schedule
from fogcompute import ledger as credits

A: Any = f
STUB = ast.parse(Path(f.__file__).with_name("_native.pyi").read_text(encoding="utf-8"))
ID = "ab" * 16


def words(text: str | None) -> str:
    return " ".join((text or "").split())


def documented() -> Iterator[tuple[str, object, str]]:
    """Everything public of the native module: its name, itself, and what its stub says of it."""
    for node in STUB.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        places = (f, mix, mesh, fog, credits)
        this = next((getattr(it, node.name) for it in places if hasattr(it, node.name)), None)
        if this is None:
            continue
        if doc := ast.get_docstring(node):
            yield node.name, this, doc
        if isinstance(node, ast.FunctionDef) or issubclass(this, BaseException):
            continue
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and (doc := ast.get_docstring(item)):
                # The arguments of a class are explained by the class.
                member = this if item.name == "__new__" else getattr(this, item.name)
                yield f"{node.name}.{item.name}", member, doc


@pytest.mark.parametrize(
    ("this", "doc"), [pytest.param(this, doc, id=name) for name, this, doc in documented()]
)
def test_help_says_what_the_stub_says(this: object, doc: str) -> None:
    assert words(doc) in words(this.__doc__)


def test_every_signature_can_be_read() -> None:
    # Those of MeshNode and Worker were refused by inspect.
    places = (f, mix, mesh, fog, credits)
    read = 0
    for node in STUB.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        this: Any = next((getattr(it, node.name) for it in places if hasattr(it, node.name)), None)
        for member in [this, *(getattr(this, name, None) for name in dir(this))]:
            if getattr(member, "__text_signature__", None) is not None:
                inspect.signature(member)
                read += 1
    assert read > 100
    assert "fog_period" in inspect.signature(mesh.MeshNode).parameters
    assert "reading_every" in inspect.signature(f.Worker).parameters


def test_defaults_are_shown_and_are_those_that_hold() -> None:
    # They were shown as "...".
    for this in [f.Limits, f.Nsga2, f.Sphinx]:
        made: Any = this()
        for name, parameter in inspect.signature(this).parameters.items():
            assert parameter.default == getattr(made, name), f"{this.__name__}.{name}"
    shown = inspect.signature(f.Job).parameters
    job: Any = f.Job(ID, cpu_millis=1, memory_bytes=1, duration_ms=1)
    state: Any = f.DeviceState(f.DeviceClass.SERVER)
    for name, parameter in shown.items():
        if parameter.default is not inspect.Parameter.empty:
            assert parameter.default == getattr(job, name), name
    node: Any = f.Node(ID * 2, cpu_millis_free=1, cpu_millis_total=1, memory_bytes_free=1)
    for name, parameter in inspect.signature(f.Node).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            assert parameter.default == getattr(node, name), name
    for name, parameter in inspect.signature(f.DeviceState).parameters.items():
        if name != "device_class":
            assert parameter.default == getattr(state, name)
    of_fog = inspect.signature(f.Fog).parameters
    functions: list[Any] = [schedule.minimize, f.place, f.place_what_fits]
    with f.Fog() as running:
        assert running.stats().available == of_fog["endowment"].default
    # It could not be read: a duration is no text of a signature.
    of_token = inspect.signature(fog.FogCoordinator.issue_token).parameters
    assert of_token["valid_for"].default is None
    assert of_token["tasks_max"].default == 1_000_000
    for parameter in [*of_fog.values(), *inspect.signature(functions[0]).parameters.values()]:
        assert parameter.default is not ...
    for function in functions:
        assert inspect.signature(function).parameters["seed"].default == 0
    assert inspect.signature(f.place).parameters["strategy"].default is f.Strategy.NSGA_II


def test_a_wrong_argument_is_named() -> None:
    ledger = A.Ledger.in_memory()
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: ledger.transfer(ID, ID, "x", 1), "to_account"),
        (lambda: ledger.transfer(ID, "y" * 32, ID, 1), "from_account"),
        (lambda: ledger.transfer(ID, ID, ID, -1), "amount"),
        (lambda: ledger.void(ID, "z"), "reservation"),
        (lambda: A.Fog(workers=-1), "workers"),
        (lambda: A.Job(ID, cpu_millis=2**64, memory_bytes=1, duration_ms=1), "cpu_millis"),
        (lambda: A.DeviceState("toaster"), "device_class"),
        (lambda: A.Hop("ab" * 32, b"short"), "key"),
    ]
    for call, name in calls:
        with pytest.raises(f.ArgumentError) as caught:
            call()
        assert str(caught.value).startswith(f"{name}: ")
    # A wrong type is Python's own error, which names the argument in its note.
    with pytest.raises(TypeError) as wrong:
        ledger.transfer(ID, ID, ID, True)
    assert wrong.value.__notes__ == ["while processing 'amount'"]
    # Other notes stay notes.
    error = f.ArgumentError("text")
    error.add_note("note")
    assert (str(error), error.__notes__) == ("text", ["note"])


def test_a_uuid_is_an_id_of_its_length() -> None:
    account = uuid.uuid4()
    with f.Ledger.in_memory() as ledger:
        ledger.open_account(account, f.AccountKind.HOLDER)
        assert ledger.account(account.hex).id == account.hex
        assert ledger.balance(account) == 0
    with pytest.raises(f.ArgumentError, match="node: .* 32 characters, expected 64"):
        A.Hop(account, bytes(32))


def test_a_ledger_says_why_it_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(f.StorageError, match="is a folder"):
        f.Ledger.open(tmp_path)
    with pytest.raises(f.StorageError, match="its folder does not exist"):
        f.Ledger.open(tmp_path / "no" / "such")


def test_help_on_a_mixnodes_configuration_explains_each_field() -> None:
    # Only the class had a text: those of its fields are in no help.
    text = inspect.getdoc(mix.MixnodeConfig) or ""
    for name in inspect.signature(mix.MixnodeConfig).parameters:
        assert f"\n{name}: " in text, name
