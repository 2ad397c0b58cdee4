"""The command `fogcompute`."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fogcompute as f

SCRIPT = Path(sys.executable).with_name("fogcompute")
COMMANDS = [[sys.executable, "-m", "fogcompute"], [str(SCRIPT)]]

either = pytest.mark.parametrize("command", COMMANDS, ids=["module", "script"])


def run(command: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@either
def test_it_says_its_version(command: list[str]) -> None:
    result = run(command, "--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == ["fogcompute", f.version()]


@either
def test_it_explains_itself(command: list[str]) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    assert "demo" in result.stdout
    assert "Usage: fogcompute" in result.stdout


@either
@pytest.mark.parametrize("arguments", [["sing"], ["demo", "--nodes", "0"], ["demo", "--tiles=x"]])
def test_it_refuses_what_it_does_not_know(command: list[str], arguments: list[str]) -> None:
    result = run(command, *arguments)
    assert result.returncode == 2
    assert result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_reaches_rust(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMANDS[0], "demo", "--width", "1200", "--out", str(tmp_path), "--policy", "always"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        # By its second line the command has processes to stop.
        first = process.stdout.readline() + process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, first + rest
    assert "Traceback" not in rest
    assert not list(tmp_path.iterdir())
