"""The package as a whole: its example, its bench, what is exported and documented."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import fogcompute as f
from conftest import ROOT


def run(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_the_example_runs() -> None:
    assert run("examples/python/quickstart.py") == (
        "sum: 42\nalice has 3 credits\npacket says: hello\n"
    )


def test_the_stake_of_the_example_earns_and_leaves() -> None:
    assert run("examples/python/economy.py") == (
        "alice earned 26.4 credits\nalice claims 9 credits\nalice has 35.4 credits\n"
    )


def test_the_problem_of_the_example_is_solved_and_drawn() -> None:
    assert run("examples/python/optimise.py") == (
        "fastest: 6 nodes at 3.0 GHz, 2.5 s, 426 J\n"
        "thriftiest: 3 nodes at 0.9 GHz, 10.0 s, 49 J\n"
    )
    assert "<svg" in (ROOT / "out/front.svg").read_text()


def test_the_jobs_of_the_example_are_placed() -> None:
    lines = run("examples/python/placement.py").splitlines()
    assert [line.split()[0] for line in lines] == ["a0", "a0", "a0", "b0", "c0", "d0"]
    assert {line.split()[-1] for line in lines[:3]} > {"2", "3"}
    assert lines[3].split()[1:] == lines[4].split()[1:]
    assert lines[5] == "d0 is left out: no node may take it: GPUs rules out 4"


def test_the_fog_of_the_example_survives_the_death_of_a_process() -> None:
    assert run("examples/python/fog.py") == (
        "20 tasks in a fog of 3 processes\na process is killed\nevery text was counted: True\n"
    )


def test_the_words_of_the_example_are_counted(tmp_path: Path) -> None:
    (tmp_path / "one.md").write_text("three words here\n")
    (tmp_path / "two.md").write_text("word " * 300_000)
    result = subprocess.run(
        [sys.executable, "examples/python/words.py", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    # The second text is longer than one task takes.
    assert (result.returncode, result.stderr) == (0, "3/3\n")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["3", "300000", "300003"]


def test_nothing_but_the_package_is_needed_to_import_it() -> None:
    script = "import sys; sys.modules['typing_extensions'] = None; import fogcompute.mix"
    assert run("-c", script) == ""


def test_the_bench_prints_its_cases() -> None:
    lines = [json.loads(line) for line in run("python/bench/bench.py", "--short").splitlines()]
    cases = [line["case"] for line in lines]
    assert {"noop", "sphinx_process_2k", "ledger_balance", "callback"} <= set(cases)
    assert len(set(cases)) == len(cases)
    assert all(line["ns"] > 0 and line["n"] > 0 for line in lines)


def test_everything_public_is_exported_once() -> None:
    assert len(set(f.__all__)) == len(f.__all__)
    public = {
        name
        for name, item in vars(f).items()
        if not name.startswith("_") and not inspect.ismodule(item)
    }
    assert set(f.__all__) - {"__version__"} == public - {"TypeAlias"}


def test_every_class_and_function_has_a_text() -> None:
    for name in f.__all__:
        item = getattr(f, name)
        if inspect.isclass(item) or callable(item):
            assert item.__doc__, name
