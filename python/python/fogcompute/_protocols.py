"""What a program may implement for the library to call."""

from collections.abc import Sequence
from typing import Protocol

from ._native import Battery, Choice, Integer, Real


class BatteryProbe(Protocol):
    """Reads the battery for `HarvestPolicy.decide_with_probe`."""

    def battery(self) -> Battery | None:
        """The battery as it is now; `None` if nobody can say.

        What this raises comes out of `decide_with_probe` unchanged.
        """
        ...


class Problem(Protocol):
    """What `nsga2` optimises: variables in, objectives out, all of them minimised."""

    @property
    def variables(self) -> Sequence[Real | Integer | Choice]:
        """The variables, one for each gene. Read once, at the start."""
        ...

    @property
    def objective_count(self) -> int:
        """How many objectives `evaluate` returns. Read once, at the start."""
        ...

    def evaluate(self, genes: list[float], /) -> tuple[Sequence[float], float]:
        """The objectives of `genes`, and by how much the constraints are violated in total.

        0 is no violation. All values must be finite. What this raises stops the run and comes out
        of `nsga2` unchanged.
        """
        ...
