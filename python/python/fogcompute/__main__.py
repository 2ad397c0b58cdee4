"""The command `fogcompute`, also as `python -m fogcompute`."""

import signal
import sys

from ._native import _run_command


def main() -> int:
    """Runs the command line of the Rust library and returns its exit code."""
    # Rust looks for Ctrl-C itself; Python would only note it and wait for Rust to return.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _run_command(
        ["fogcompute", *sys.argv[1:]],
        [sys.executable, "-m", "fogcompute"],
    )


if __name__ == "__main__":
    sys.exit(main())
