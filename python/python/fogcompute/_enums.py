"""Enumerations. Their values are what the native module takes and gives."""

from enum import IntEnum, StrEnum


class AccountKind(StrEnum):
    """What an account may do."""

    ISSUER = "issuer"
    """Puts credits out and takes them back."""
    HOLDER = "holder"
    """Holds what it was given, never less than nothing."""


class DeviceClass(StrEnum):
    """What kind of device this is. It decides what an unknown reading means."""

    PHONE = "phone"
    LAPTOP = "laptop"
    DESKTOP = "desktop"
    SERVER = "server"


class Network(StrEnum):
    """How a device reaches other devices."""

    UNKNOWN = "unknown"
    OFFLINE = "offline"
    ETHERNET = "ethernet"
    WIFI = "wifi"
    CELLULAR = "cellular"


class Priority(IntEnum):
    """How urgent something is. Lower is sooner."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BULK = 4


class Sharing(StrEnum):
    """How jobs share a node."""

    CONCURRENT = "concurrent"
    """All jobs run at once: together they must fit what is free."""
    QUEUED = "queued"
    """Jobs queue: each alone must fit what is free."""


class Verdict(StrEnum):
    """Whether a device lends compute now."""

    ALLOW = "allow"
    """As much as the policy permits."""
    THROTTLE = "throttle"
    """Less than that; the budget says how much."""
    REFUSE = "refuse"
    """Nothing."""
