"""What several test files use."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fogcompute import Fog

ROOT = Path(__file__).parents[2]


def module(name: str) -> bytes:
    """A WebAssembly module of the repository."""
    folder = "bindings/vectors" if name == "endless" else "examples/wasm"
    return (ROOT / folder / f"{name}.wasm").read_bytes()


def load_vectors() -> dict[str, Any]:
    """What the library answers in every language."""
    vectors: dict[str, Any] = json.loads((ROOT / "bindings/vectors/shared.json").read_text())
    return vectors


VECTORS = load_vectors()
SUM = module("sum")
ECHO = module("echo")
ENDLESS = module("endless")


@pytest.fixture
def fog() -> Iterator[Fog]:
    with Fog(workers=1) as fog:
        yield fog
