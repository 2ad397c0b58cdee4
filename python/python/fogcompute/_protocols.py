"""What a program may implement for the library to call."""

from typing import Protocol

from ._native import Battery


class BatteryProbe(Protocol):
    """Reads the battery for `HarvestPolicy.decide_with_probe`."""

    def battery(self) -> Battery | None:
        """The battery as it is now; `None` if nobody can say.

        What this raises comes out of `decide_with_probe` unchanged.
        """
        ...
