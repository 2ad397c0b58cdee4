"""What a program may implement for the library to call."""

from typing import Protocol

from ._native import Battery, DeviceState


class BatteryProbe(Protocol):
    """Reads the battery for `HarvestPolicy.decide_with_probe`."""

    def battery(self) -> Battery | None:
        """The battery as it is now; `None` if nobody can say.

        What this raises comes out of `decide_with_probe` unchanged.
        """
        ...


class DeviceProbe(Protocol):
    """Reads the whole device for a `Worker`, on a thread of its own."""

    def read(self) -> DeviceState:
        """The device as it is now; what nobody can say is `None` in it.

        When this raises, the device is unknown until it is read again, and the worker's status says
        what was raised.
        """
        ...
