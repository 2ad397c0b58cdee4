"""What a program may implement for the library to call."""

from typing import Protocol

from ._native import Battery, DeviceState, RadioInbox


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


class BleRadio(Protocol):
    """A Bluetooth radio with the service of BitChat, for `MeshNode.add_radio`.

    Its methods run on the node's thread, but for `limits` and `attach`, and return at once; what comes of
    them is told to the `RadioInbox`. What they raise is a failure of that command, on a connection of that
    connection, and of nothing else; it is an event `radio_failed` and goes to `sys.unraisablehook`. `False`
    is a refusal: of a write or notification that there is no room for it now, and `RadioInbox.writable`
    says when there is; of `connect` that the peer is not known; of the others that this radio never does
    that.

    Values have at most 512 bytes. Over one connection they arrive whole, once and in order.
    """

    def attach(self, inbox: RadioInbox, /) -> object:
        """Where to tell what happens, from any thread. Called once, before all commands."""
        ...

    def limits(self) -> tuple[bool, bool, int]:
        """Whether it scans and connects, whether it advertises and is connected to, and how many
        connections it has at most."""
        ...

    def advertise(self, service_data: bytes, /) -> bool | None:
        """Can be found from now on, with this service data, which may be empty."""
        ...

    def stop_advertising(self) -> bool | None:
        """Can not be found any more; connections stay."""
        ...

    def scan(self) -> bool | None:
        """Looks for others with the service."""
        ...

    def stop_scanning(self) -> bool | None:
        """Looks no more."""
        ...

    def connect(self, peer: bytes, /) -> bool | None:
        """Connects to a peer that was heard, as its central."""
        ...

    def disconnect(self, link: int, /) -> bool | None:
        """Ends a connection."""
        ...

    def write(self, link: int, value: bytes, with_response: bool, /) -> bool | None:
        """Writes a value, as the central."""
        ...

    def notify(self, link: int, value: bytes, /) -> bool | None:
        """Notifies a value, as the peripheral."""
        ...

    def detach(self) -> object:
        """The node has ended, or does not take the radio: end all connections and be quiet. Called once,
        last."""
        ...
