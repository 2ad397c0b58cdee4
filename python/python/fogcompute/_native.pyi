"""The native module, which is written in Rust (`bindings/python`).

This file is written by hand; `stubtest` compares it with the module and `mypy --strict` reads it.
"""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import timedelta
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Literal, TypeAlias, final
from uuid import UUID

from typing_extensions import Buffer, Self

from ._enums import (
    AccountKind,
    Choice,
    Constraint,
    DeviceClass,
    Domain,
    Durability,
    Evidence,
    Network,
    PauseScope,
    Priority,
    ProposalKind,
    ProposalState,
    Role,
    Sharing,
    Strategy,
    TextFormat,
    Tier,
    Verdict,
    Weighing,
)
from ._protocols import BatteryProbe, BleRadio, DeviceProbe

# --- Errors

class FogError(Exception):
    """Base of all errors of fogcompute."""

    code: ClassVar[int]
    """The stable number of this kind of error, the same in every language."""
    name: ClassVar[str]
    """Its name in every language."""
    job: str | None
    """The job of which it is not known whether it was admitted: submit it again under that id."""

class ArgumentError(FogError, ValueError): ...
class PanicError(FogError): ...
class HostCallbackError(FogError): ...
class CancelledError(FogError): ...
class ClosedError(FogError): ...
class BufferTooSmallError(FogError): ...
class MixError(FogError): ...
class PacketError(MixError): ...
class RouteError(MixError): ...
class PayloadTooLargeError(MixError): ...
class ReplayedError(MixError): ...
class TopologyError(MixError): ...
class ReplyBlockError(MixError): ...
class NotDeliveredError(MixError): ...
class NoAnswerError(MixError): ...
class MixnetBusyError(MixError): ...
class ScheduleError(FogError): ...
class ProblemError(ScheduleError): ...
class NotFiniteError(ScheduleError): ...
class InfeasibleError(ScheduleError): ...
class LedgerError(FogError): ...
class InsufficientFundsError(LedgerError): ...
class UnknownAccountError(LedgerError): ...
class AccountExistsError(LedgerError): ...
class IdReusedError(LedgerError): ...
class ReservationClosedError(LedgerError): ...
class OperationError(LedgerError): ...
class UnknownReservationError(LedgerError): ...
class BatchEmptyError(LedgerError): ...
class BatchTooLargeError(LedgerError): ...
class ZeroAmountError(LedgerError): ...
class SameAccountError(LedgerError): ...
class AccountClosedError(LedgerError): ...
class AccountInUseError(LedgerError): ...
class NotAnIssuerError(LedgerError): ...
class AssetMismatchError(LedgerError): ...
class NotAReservationError(LedgerError): ...
class PostExceedsReservationError(LedgerError): ...
class ReservationExpiredError(LedgerError): ...
class ExpiresInPastError(LedgerError): ...
class AmountOverflowError(LedgerError): ...
class SupplyExceededError(LedgerError): ...
class CreditsExceedDebitsError(LedgerError): ...
class QuotaExceededError(LedgerError): ...
class SignatureExpiredError(LedgerError): ...
class NoOwnerError(LedgerError): ...
class SignatureForgedError(LedgerError): ...
class SignatureReplayedError(LedgerError): ...
class NonceSkippedError(LedgerError): ...
class NotTheOwnerError(LedgerError): ...
class NotForOwnersError(LedgerError): ...
class CheckpointForgedError(LedgerError): ...
class CheckpointDiffersError(LedgerError): ...
class CheckpointMissingError(LedgerError): ...
class NoEconomyError(LedgerError): ...
class EconomyError(LedgerError): ...
class UnknownParameterError(LedgerError): ...
class PurseAccountError(LedgerError): ...
class AccountStakedError(LedgerError): ...
class HostOnlyError(LedgerError): ...
class MaturesByTimeError(LedgerError): ...
class BatchTooLongError(LedgerError): ...
class ClockBehindError(LedgerError): ...
class UnknownOperatorError(LedgerError): ...
class OperatorExistsError(LedgerError): ...
class UnknownDelegatorError(LedgerError): ...
class ExceedsStakeError(LedgerError): ...
class JailedError(LedgerError): ...
class TombstonedError(LedgerError): ...
class NotJailedError(LedgerError): ...
class TooManyEntriesError(LedgerError): ...
class UnknownEntryError(LedgerError): ...
class EntryMaturedError(LedgerError): ...
class ExceedsEntryError(LedgerError): ...
class TransitiveRedelegationError(LedgerError): ...
class NothingToClaimError(LedgerError): ...
class EvidenceTooOldError(LedgerError): ...
class EvidenceRepeatedError(LedgerError): ...
class CommissionTooLargeError(LedgerError): ...
class CommissionTooSoonError(LedgerError): ...
class ClaimRepeatedError(LedgerError): ...
class InsuranceShortError(LedgerError): ...
class StakingRefusedError(LedgerError): ...
class UnknownRuleError(LedgerError): ...
class UnknownFactError(LedgerError): ...
class FactMissingError(LedgerError): ...
class RequirementNotMetError(LedgerError): ...
class FactTooLargeError(LedgerError): ...
class SessionTooShortError(LedgerError): ...
class SessionTooLargeError(LedgerError): ...
class DailyLimitReachedError(LedgerError): ...
class EarningRefusedError(LedgerError): ...
class HarvestError(FogError): ...
class PolicyError(HarvestError): ...
class ProbeFailedError(HarvestError): ...
class TaskError(FogError): ...
class ModuleError(TaskError): ...
class OutOfFuelError(TaskError): ...
class OutOfMemoryError(TaskError): ...
class OutputError(TaskError): ...
class TrapError(TaskError): ...
class TaskLostError(TaskError): ...
class UnknownTaskError(TaskError): ...
class TaskTimedOutError(TaskError): ...
class TaskSkippedError(TaskError): ...
class TaskOpenError(TaskError): ...
class TooManyTasksError(TaskError): ...
class StorageError(FogError): ...
class StorageLockedError(StorageError): ...
class StorageCorruptError(StorageError): ...
class StorageFullError(StorageError): ...
class StorageReadOnlyError(StorageError): ...
class StorageIsFolderError(StorageError): ...
class StorageNoFolderError(StorageError): ...
class StorageForeignError(StorageError): ...
class StorageTooNewError(StorageError): ...
class StorageExistsError(StorageError): ...
class StorageNotEmptyError(StorageError): ...
class StorageUncertainError(StorageError): ...
class StorageReopenError(StorageError): ...
class TranscriptError(StorageError): ...
class StorageMissingError(StorageError): ...
class NodeError(FogError): ...
class ListenError(NodeError): ...
class GovernanceError(FogError): ...
class GovernedError(GovernanceError): ...
class PausedError(GovernanceError): ...
class SignatureRequiredError(GovernanceError): ...
class UnknownProposalError(GovernanceError): ...
class ProposalExistsError(GovernanceError): ...
class ProposalError(GovernanceError): ...
class ControlCharacterError(GovernanceError): ...
class NoActionsError(GovernanceError): ...
class TooManyActionsError(GovernanceError): ...
class ActionNotAllowedError(GovernanceError): ...
class ParameterOutOfRangeError(GovernanceError): ...
class TreasuryShortError(GovernanceError): ...
class ActionRefusedError(GovernanceError): ...
class BelowThresholdError(GovernanceError): ...
class TooManyProposalsError(GovernanceError): ...
class VotingNotStartedError(GovernanceError): ...
class VotingOverError(GovernanceError): ...
class UnknownChoiceError(GovernanceError): ...
class NoVotingPowerError(GovernanceError): ...
class AlreadyVotedError(GovernanceError): ...
class TooManyVoteChangesError(GovernanceError): ...
class WrongStateError(GovernanceError): ...
class TimelockRunningError(GovernanceError): ...
class NotPermittedError(GovernanceError): ...
class ActionFailedError(GovernanceError): ...
class CircularDelegationError(GovernanceError): ...
class DelegationTooComplexError(GovernanceError): ...
class DelegationError(GovernanceError): ...
class NothingDelegatedError(GovernanceError): ...
class AlreadyEnrolledError(GovernanceError): ...
class AlreadyEstablishedError(GovernanceError): ...
class FutureLookupError(GovernanceError): ...
class GovernanceRefusedError(GovernanceError): ...
class MeshError(FogError): ...
class UnknownPeerError(MeshError): ...
class NotUnderstoodError(MeshError): ...
class UnknownGroupError(MeshError): ...
class NotGroupCreatorError(MeshError): ...
class MeshBusyError(MeshError): ...
class MeshContentError(MeshError): ...
class UnknownFileError(MeshError): ...
class CoordinatorError(FogError): ...
class CoordinatorUnreachableError(CoordinatorError): ...
class CoordinatorSilentError(CoordinatorError): ...
class TokenError(CoordinatorError): ...
class TokenExpiredError(CoordinatorError): ...
class TokenForbidsError(CoordinatorError): ...
class TokenUsedUpError(CoordinatorError): ...
class CallRefusedError(CoordinatorError): ...
class CoordinatorBusyError(CoordinatorError): ...
class JobError(CoordinatorError): ...
class NoResultError(CoordinatorError): ...
class UnknownNodeError(CoordinatorError): ...
class AnswerError(CoordinatorError): ...

ERROR_CLASSES: Final[Mapping[int, type[FogError]]]
"""The class of each code."""

def version() -> str:
    """Version of the library."""

# --- Sphinx packets

@final
class PrivateKey:
    """A private mix key. Its text does not show it."""

    @staticmethod
    def generate() -> PrivateKey:
        """A new key from the operating system's randomness."""

    @staticmethod
    def from_bytes(data: Buffer) -> PrivateKey:
        """Takes a key from 32 secret bytes."""

    def to_bytes(self) -> bytes:
        """The secret bytes."""

    @property
    def public_key(self) -> bytes:
        """The public half, 32 bytes."""

@final
class Hop:
    """One stop of a route: who it is, its mix key, and how long it holds the packet."""

    __match_args__: Final = ("node", "key", "delay")
    def __new__(cls, node: str, key: Buffer, delay: timedelta = ...) -> Self: ...
    @property
    def node(self) -> str:
        """The node's id, 64 hexadecimal digits."""

    @property
    def key(self) -> bytes:
        """The node's public mix key, 32 bytes."""

    @property
    def delay(self) -> timedelta:
        """How long the node holds the packet, by default not at all. The last one does not wait."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Forward:
    """Hold the packet for `delay`, then send it to `next`."""

    __match_args__: Final = ("next", "delay", "packet", "replay_tag")
    def __new__(cls, next: str, delay: timedelta, packet: Buffer, replay_tag: Buffer) -> Self: ...
    @property
    def next(self) -> str:
        """The first 16 hexadecimal digits of the next node's id."""

    @property
    def delay(self) -> timedelta:
        """How long to hold the packet, to the microsecond."""

    @property
    def packet(self) -> bytes:
        """What to send, as long as the packet that came in."""

    @property
    def replay_tag(self) -> bytes:
        """Names the packet at this hop: see it twice, drop it."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Deliver:
    """The packet was for this node."""

    __match_args__: Final = ("payload", "replay_tag")
    def __new__(cls, payload: Buffer, replay_tag: Buffer) -> Self: ...
    @property
    def payload(self) -> bytes:
        """The sender's message."""

    @property
    def replay_tag(self) -> bytes:
        """Names the packet at this hop: see it twice, drop it."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Reply:
    """The packet came back by a reply block that this node made."""

    __match_args__: Final = ("surb", "sealed", "replay_tag")
    def __new__(cls, surb: Buffer, sealed: Buffer, replay_tag: Buffer) -> Self: ...
    @property
    def surb(self) -> bytes:
        """Which reply block, 16 bytes."""

    @property
    def sealed(self) -> bytes:
        """What `Sphinx.open_reply` opens with the block's key."""

    @property
    def replay_tag(self) -> bytes:
        """Names the packet at this hop: see it twice, drop it."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Sphinx:
    """Builds and processes the packets of a network, which all have one size."""

    __match_args__: Final = ("payload_bytes", "hops_max")
    def __new__(cls, payload_bytes: int = 2048, hops_max: int = 7) -> Self:
        """Packets that carry up to `payload_bytes` bytes, a multiple of 1,024 up to 65,536, over
        routes of up to `hops_max` hops, 1 to 7.

        With 1,024 bytes and 5 hops a packet fits one UDP datagram.
        """

    @property
    def payload_bytes(self) -> int:
        """Bytes of message one packet carries."""

    @property
    def hops_max(self) -> int:
        """Most hops of a route."""

    @property
    def packet_bytes(self) -> int:
        """Length of every packet."""

    @property
    def surb_bytes(self) -> int:
        """Length of every reply block."""

    def build(self, route: Sequence[Hop], payload: Buffer) -> bytes:
        """Builds a packet that takes `route` and delivers `payload` to its last hop.

        Raises `RouteError`, `PayloadTooLargeError`.
        """

    def build_batch(self, packets: Sequence[tuple[Sequence[Hop], Buffer]]) -> bytes:
        """Builds many packets, each of a route and a payload, one after the other.

        That is faster than one by one. Raises what `build` does, for the first that is refused;
        then none is built.
        """

    def process(self, key: PrivateKey, packet: Buffer) -> Forward | Deliver | Reply:
        """Takes one layer off a packet with this node's key.

        Nothing is remembered: seeing a replay tag twice is for the caller to notice, or for a
        `fogcompute.mix.SphinxProcessor`.

        Raises `PacketError`.
        """

    def process_batch(self, key: PrivateKey, packets: Buffer) -> Batch:
        """Takes one layer off each of the packets that stand one after the other in `packets`.

        That is faster than one by one. Raises `PacketError` if they are not whole packets. A packet
        that is refused has its error in the place of an outcome.
        """

    def make_surb(self, route: Sequence[Hop]) -> tuple[bytes, ReplyKey]:
        """Makes a single-use reply block whose route ends here, and the key that opens the reply.

        The block goes to whoever is to reply, the key stays. Raises `RouteError`.
        """

    def reply(self, surb: Buffer, payload: Buffer) -> tuple[str, bytes]:
        """The first node of a reply block's way back, and the packet to send there.

        A block works once: a second packet by it is dropped there. Raises `ReplyBlockError`,
        `PayloadTooLargeError`.
        """

    def open_reply(self, key: ReplyKey, sealed: Buffer) -> bytes:
        """Opens what came by a reply block that was made here: `Reply.sealed`.

        Raises `ReplyBlockError`.
        """

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Batch:
    """Packets of a batch with one layer taken off.

    A sequence of outcomes, and of errors in the place of packets that were refused.
    """

    @property
    def data(self) -> bytes:
        """What is left of all packets, one after the other, each as long as it was.

        The packets to be sent on are there without having been copied.
        """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Forward | Deliver | Reply | FogError: ...
    def __iter__(self) -> Iterator[Forward | Deliver | Reply | FogError]: ...

@final
class ReplyKey:
    """What opens the one reply that comes by a reply block."""

    @property
    def surb(self) -> bytes:
        """The reply block's id, 16 bytes: `Reply.surb` of what comes by it."""

@final
class ProcessorStats:
    """What a `SphinxProcessor` counted since it was made."""

    __match_args__: Final = (
        "received",
        "forwarded",
        "delivered",
        "replies",
        "malformed",
        "replayed",
        "overloaded",
    )
    def __new__(
        cls,
        received: int,
        forwarded: int,
        delivered: int,
        replies: int,
        malformed: int,
        replayed: int,
        overloaded: int,
    ) -> Self: ...
    @property
    def received(self) -> int:
        """Packets that came in."""

    @property
    def forwarded(self) -> int:
        """Of those, to be sent on."""

    @property
    def delivered(self) -> int:
        """Of those, messages for this node."""

    @property
    def replies(self) -> int:
        """Of those, replies for this node."""

    @property
    def malformed(self) -> int:
        """Of those, refused: wrong length, version, tag, key or payload."""

    @property
    def replayed(self) -> int:
        """Of those, refused: processed before."""

    @property
    def overloaded(self) -> int:
        """Of those, refused: no more packets can be remembered."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class SphinxProcessor:
    """Processes the packets of one mix key and remembers them, so that none is processed twice.

    Threads can share it. It is a mixnode's cryptography without its delays and links.
    """

    def __new__(
        cls,
        key: PrivateKey | None = None,
        *,
        sphinx: Sphinx | None = None,
        packets_max: int = 1000000,
    ) -> Self:
        """A processor with a key that was not used before; without one it makes its own.

        It remembers `packets_max` packets, 5 bytes each.
        """

    @property
    def sphinx(self) -> Sphinx:
        """The packets' sizes."""

    @property
    def public_key(self) -> bytes:
        """The public half of its key, 32 bytes."""

    def process(self, packet: Buffer) -> Forward | Deliver | Reply:
        """Takes one layer off a packet that was not processed before.

        Raises `PacketError`, `ReplayedError`, and `MixnetBusyError` when no more packets can be
        remembered: then it takes a new key.
        """

    def process_batch(self, packets: Buffer) -> Batch:
        """Takes one layer off each of the packets that stand one after the other in `packets`.

        Raises `PacketError` if they are not whole packets. A packet that is refused has its error
        in the place of an outcome.
        """

    def stats(self) -> ProcessorStats:
        """What it counted since it was made."""

# --- The mixnet

@final
class Descriptor:
    """What others must know of a mixnode."""

    __match_args__: Final = ("node", "key", "epoch", "address")
    def __new__(cls, node: str, key: Buffer, epoch: int, address: str) -> Self: ...
    @property
    def node(self) -> str:
        """Its id, 64 hexadecimal digits."""

    @property
    def key(self) -> bytes:
        """Its public mix key, 32 bytes."""

    @property
    def epoch(self) -> int:
        """Number of the epoch its key is of."""

    @property
    def address(self) -> str:
        """Where it accepts links, as in "127.0.0.1:4000"."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Topology:
    """The mixnodes of a network in layers, and what all of them agree on."""

    def __new__(
        cls,
        layers: Sequence[Sequence[Descriptor]],
        *,
        epoch: int = 0,
        valid_from_ms: int = 0,
        valid_until_ms: int = 9223372036854775807,
        hops_max: int = 7,
        payload_bytes: int = 2048,
        delay_mean: timedelta = ...,
    ) -> Self:
        """A network of these nodes, entry layer first.

        Times of validity are in milliseconds since 1970; without them it is always valid. A node
        holds a packet for `delay_mean` in the mean. Raises `TopologyError`, `ArgumentError`.
        """

    @staticmethod
    def verify(text: str, authority: Buffer) -> Topology:
        """Reads a topology file that the authority of this public key has signed and that is valid
        now.

        Raises `TopologyError`.
        """

    def sign(self, secret: Buffer) -> str:
        """The topology as the text of a file, signed with an authority's 32 secret bytes."""

    @staticmethod
    def authority_of(secret: Buffer) -> bytes:
        """The public key to an authority's secret bytes."""

    @property
    def layers(self) -> tuple[tuple[Descriptor, ...], ...]:
        """The nodes, entry layer first."""

    @property
    def epoch(self) -> int:
        """Number of the key epoch."""

    @property
    def hops_max(self) -> int:
        """Most hops of a route, the receiver included."""

    @property
    def payload_bytes(self) -> int:
        """Bytes of message one packet carries."""

    @property
    def delay_mean(self) -> timedelta:
        """How long a mixnode holds a packet in the mean."""

@final
class MixnetNodeStats:
    """What a mixnode counted since its start."""

    __match_args__: Final = (
        "received",
        "forwarded",
        "delivered",
        "malformed",
        "replayed",
        "overloaded",
        "late",
        "refused",
        "datagrams",
        "cover",
        "sent",
        "links_sent",
        "link_refused",
        "unreachable",
        "unsent",
        "undrained",
    )
    def __new__(
        cls,
        received: int,
        forwarded: int,
        delivered: int,
        malformed: int,
        replayed: int,
        overloaded: int,
        late: int,
        refused: int,
        datagrams: int,
        cover: int,
        sent: int,
        links_sent: int,
        link_refused: int,
        unreachable: int,
        unsent: int,
        undrained: int,
    ) -> Self: ...
    @property
    def received(self) -> int:
        """Packets that came in."""

    @property
    def forwarded(self) -> int:
        """Packets that were sent on."""

    @property
    def delivered(self) -> int:
        """Packets that ended here: cover, and what opens links."""

    @property
    def malformed(self) -> int:
        """Dropped: wrong length, version, epoch, tag, key or payload."""

    @property
    def replayed(self) -> int:
        """Dropped: processed before."""

    @property
    def overloaded(self) -> int:
        """Dropped: a limit was reached."""

    @property
    def late(self) -> int:
        """Dropped: their delay was over long ago."""

    @property
    def refused(self) -> int:
        """Dropped: they ask for what this node does not do."""

    @property
    def datagrams(self) -> int:
        """Datagrams that came in."""

    @property
    def cover(self) -> int:
        """Cover of links that came in."""

    @property
    def sent(self) -> int:
        """Packets put on links."""

    @property
    def links_sent(self) -> int:
        """Datagrams of handshakes, and cover of links, sent."""

    @property
    def link_refused(self) -> int:
        """Datagrams dropped before a packet was seen: forged, replayed, over their rate."""

    @property
    def unreachable(self) -> int:
        """Packets dropped: no link to their next hop."""

    @property
    def unsent(self) -> int:
        """Dropped: the system did not send them."""

    @property
    def undrained(self) -> int:
        """Dropped: still held when the node ended."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class MixnetNode:
    """A mixnode that runs on threads of this process, over UDP.

    It relays as soon as it knows the network: make the nodes, put their descriptors into a
    `Topology`, and give that to each of them.
    """

    def __new__(
        cls,
        listen: str = "127.0.0.1:0",
        *,
        address: str | None = None,
        identity: Buffer | None = None,
        epoch: int = 0,
        hops_max: int = 7,
        payload_bytes: int = 2048,
        workers: int = 1,
        replay_tags_max: int = 4000000,
    ) -> Self:
        """Starts a mixnode that knows no other yet.

        Port 0 is any that is free; `address` is where others reach it, if that is not where it
        listens; `identity` are 32 secret bytes. Its mix key is always new. Raises `ListenError`,
        `ArgumentError`.
        """

    @property
    def descriptor(self) -> Descriptor:
        """What others must know of it."""

    def set_topology(self, topology: Topology) -> None:
        """Tells it of the other nodes.

        Raises `TopologyError`, `ClosedError`.
        """

    def stats(self) -> MixnetNodeStats:
        """What it counted since its start."""

    def drain(self, within: timedelta) -> MixnetNodeStats:
        """Takes no further packets, sends what it holds when that is due, and ends.

        It ends after `within` at the latest. Waits for it on this thread. Returns what it counted.
        """

    def close(self) -> None:
        """Ends it at once; what it holds is lost. Closing again does nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> None: ...

@final
class Message:
    """A message that came in."""

    @property
    def id(self) -> bytes:
        """The sender's id of the message, 16 bytes."""

    @property
    def body(self) -> bytes:
        """The message."""

    @property
    def reply_blocks(self) -> int:
        """Packets an answer may have; 0 if none is wanted."""

@final
class ReplyBlocks:
    """What to answer a message with that came to a client before."""

    @property
    def count(self) -> int:
        """How many there are: packets an answer may have."""

@final
class Restored:
    """What a client that was restored can go on with: ids of 16 bytes."""

    __match_args__: Final = ("messages", "requests")
    def __new__(cls, messages: Sequence[Buffer], requests: Sequence[Buffer]) -> Self: ...
    @property
    def messages(self) -> tuple[bytes, ...]:
        """Messages that came before and were not answered: `MixnetClient.reply_blocks`."""

    @property
    def requests(self) -> tuple[bytes, ...]:
        """Requests that were made before and not answered: `MixnetClient.answer_to`."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class MixnetClientStats:
    """What a mixnet client counted since its start."""

    __match_args__: Final = (
        "sent",
        "delivered",
        "given_up",
        "received",
        "answers",
        "refused",
        "loops_sent",
        "loops_returned",
        "loops_lost",
        "drops_sent",
    )
    def __new__(
        cls,
        sent: int,
        delivered: int,
        given_up: int,
        received: int,
        answers: int,
        refused: int,
        loops_sent: int,
        loops_returned: int,
        loops_lost: int,
        drops_sent: int,
    ) -> Self: ...
    @property
    def sent(self) -> int:
        """Messages and requests that were handed in."""

    @property
    def delivered(self) -> int:
        """Of those, known to have arrived whole."""

    @property
    def given_up(self) -> int:
        """Of those, given up."""

    @property
    def received(self) -> int:
        """Messages that came in whole."""

    @property
    def answers(self) -> int:
        """Answers that came in whole."""

    @property
    def refused(self) -> int:
        """Packets that came in and were refused."""

    @property
    def loops_sent(self) -> int:
        """Loops of cover traffic sent."""

    @property
    def loops_returned(self) -> int:
        """Loops that came back in time."""

    @property
    def loops_lost(self) -> int:
        """Loops that did not."""

    @property
    def drops_sent(self) -> int:
        """Drops of cover traffic sent."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class MixnetClient:
    """Sends and receives messages through a mixnet, over UDP.

    Messages are cut into packets, each over a route of its own, sent until they are acknowledged,
    and put together by their receiver. A client is the last hop itself and keeps links to all nodes
    of the last layer.

    `async for message in client` receives until the client is closed.
    """

    def __new__(
        cls,
        topology: Topology,
        listen: str = "0.0.0.0:0",
        *,
        identity: Buffer | None = None,
        loops: timedelta | None = ...,
        drops: timedelta | None = ...,
        inbox_messages_max: int = 1024,
    ) -> Self:
        """Starts a client of a network.

        `loops` and `drops` are the mean times between packets of cover traffic, `None` for none;
        `identity` are 32 secret bytes. When `inbox_messages_max` messages wait to be received,
        further ones are not acknowledged, so that they come again. Raises `ListenError`,
        `TopologyError`, `ArgumentError`.
        """

    @staticmethod
    def restore(
        topology: Topology,
        state: Buffer,
        key: Buffer,
        listen: str = "0.0.0.0:0",
        *,
        identity: Buffer | None = None,
        loops: timedelta | None = ...,
        drops: timedelta | None = ...,
        inbox_messages_max: int = 1024,
    ) -> MixnetClient:
        """Starts a client that goes on where another one was suspended, under the same `key`.

        It has the identity, the mix keys and the reply blocks of that client, and in its epoch the
        same contact. The other arguments are those of `MixnetClient`; `identity` can be left out.

        Open each state once: of two clients from one state, the mixnodes drop the second use of a
        reply block as a replay. Raises `StorageCorruptError` if the state does not open with this
        key, was changed or is of a network with other packets, `ArgumentError` if `identity` is
        another, and what `MixnetClient` does.
        """

    @property
    def contact(self) -> str:
        """What others need to send it messages: its node, its key and the key's epoch."""

    def send(self, to: str, body: Buffer) -> Awaitable[None]:
        """Sends a message; await its acknowledgement by the receiver.

        It is sent to its end even if nobody awaits that any more. Raises `PayloadTooLargeError`,
        `RouteError`, `MixnetBusyError`, `NotDeliveredError`, `ClosedError`.
        """

    def send_blocking(self, to: str, body: Buffer) -> None:
        """Sends a message and waits for its acknowledgement on this thread."""

    def request(
        self, to: str, body: Buffer, *, answer_bytes_max: int = 2048, within: timedelta = ...
    ) -> Awaitable[bytes]:
        """Sends a message that asks for an answer of at most `answer_bytes_max` bytes; await that.

        The limit is rounded up to what whole packets carry.
        Whoever answers does not learn who asked. Raises what `send` does, and `NoAnswerError` after
        `within`, a minute unless said otherwise.
        """

    def request_blocking(
        self, to: str, body: Buffer, *, answer_bytes_max: int = 2048, within: timedelta = ...
    ) -> bytes:
        """Sends a message that asks for an answer, and waits for that on this thread."""

    def send_through(self, nodes: Sequence[str], to: str, body: Buffer) -> bytes:
        """Sends a message once, without an acknowledgement, over these mixnodes in this order.

        Returns its id. Raises `RouteError`, `PayloadTooLargeError`, `ClosedError`.
        """

    def choose_nodes(self, hops: int) -> tuple[str, ...]:
        """So many different mixnodes for a route of its own choice, one of each layer in turn.

        Raises `RouteError`.
        """

    def reply(self, message: Message, body: Buffer) -> None:
        """Answers a message, once.

        Raises `ReplyBlockError` if no answer is wanted or one was given, `PayloadTooLargeError` if
        it is longer than was asked for; then a shorter one can still be given.
        """

    def restored(self) -> Restored:
        """What the client before this one left to go on with, less what was taken since.

        Raises `ClosedError`.
        """

    def reply_blocks(self, message: Buffer) -> ReplyBlocks | None:
        """What to answer a message with that came to the client before this one, once.

        `message` is its id. `None` if it was answered, wants no answer, or came before the last
        epoch. Raises `ClosedError`.
        """

    def reply_with(self, blocks: ReplyBlocks, body: Buffer) -> None:
        """Answers a message that came to the client before this one, once.

        Raises what `reply` does.
        """

    def answer_to(self, request: Buffer, *, within: timedelta = ...) -> Awaitable[bytes]:
        """Await the answer to a request of the client before this one, once. It may be there
        already.

        `request` is its id. Raises `ArgumentError` if there is no such request or its answer was
        asked for before, `ClosedError`, and `NoAnswerError` after `within`, a minute unless said
        otherwise.
        """

    def answer_to_blocking(self, request: Buffer, *, within: timedelta = ...) -> bytes:
        """Waits on this thread for the answer to a request of the client before this one."""

    def try_receive(self) -> Message | None:
        """The next message, if one is there."""

    def receive(self) -> Coroutine[Any, Any, Message]:
        """Await the next message. None is lost if that is cancelled.

        Raises `ClosedError`.
        """

    def receive_blocking(self, within: timedelta | None = None) -> Message | None:
        """The next message. Waits for it on this thread, and returns `None` after `within`."""

    def _readable(self) -> Awaitable[None]: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, Message]: ...
    def set_topology(self, topology: Topology) -> None:
        """Goes on with another topology of the network. In another epoch the client has another
        contact.

        Raises `TopologyError`, `ClosedError`; then the old one stays.
        """

    def set_power(self, power: str) -> None:
        """Sends cover traffic as a device so powered should: "mains", "battery" or
        "low_battery"."""

    def stats(self) -> MixnetClientStats:
        """What it counted since its start."""

    def suspend(self, key: Buffer) -> bytes:
        """Ends the client, and returns what one after it needs to go on, sealed under 32 random
        bytes.

        Keep both for `MixnetClient.restore`. In the state are the identity, the mix keys, the reply
        blocks of messages that were not answered and are still held, and the keys for answers that
        did not come. A reply block is good for five minutes, a stop included, and no longer than
        the epoch after its own. What is awaited ends with `ClosedError`; messages that came in can
        still be received here and are not in the state. Raises `ClosedError`.
        """

    def close(self) -> None:
        """Ends the client; what is awaited ends with `ClosedError`.

        Messages that came in before can still be received, then receiving ends with `ClosedError`.
        Closing again does nothing.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> Awaitable[None]: ...

# --- Optimisation

@final
class Nsga2:
    """Parameters of a placement by NSGA-II."""

    __match_args__: Final = (
        "population",
        "generations",
        "crossover_probability",
        "crossover_eta",
        "mutation_probability",
        "mutation_eta",
    )
    def __new__(
        cls,
        population: int = 100,
        generations: int = 250,
        *,
        crossover_probability: float = 0.9,
        crossover_eta: float = 15.0,
        mutation_probability: float | None = None,
        mutation_eta: float = 20.0,
    ) -> Self: ...
    @property
    def population(self) -> int:
        """Individuals kept from one generation to the next: even, 4 to 65,536."""

    @property
    def generations(self) -> int:
        """How many times the population has children."""

    @property
    def crossover_probability(self) -> float:
        """Probability that a pair of parents is recombined."""

    @property
    def crossover_eta(self) -> float:
        """Distribution index of simulated binary crossover."""

    @property
    def mutation_probability(self) -> float | None:
        """Probability that a gene mutates; `None` is one gene in each child on average."""

    @property
    def mutation_eta(self) -> float:
        """Distribution index of polynomial mutation."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

# What `fogcompute.schedule` is made of. `Any` is an array of `float64`, which type checkers know to
# have a buffer only from Python 3.12 on.

_GENES_MAX: Final[int]

@final
class _Search:
    def __new__(
        cls,
        evaluate: Callable[[bytearray], tuple[Any, Any]],
        genes: int | Sequence[tuple[str, float, float]],
        objective_count: int,
        selection: str | Sequence[Sequence[float]],
        *,
        population: int,
        generations: int,
        evaluations_max: int | None,
        stagnation: tuple[int, float] | None,
        crossover_probability: float,
        crossover_eta: float,
        mutation_probability: float | None,
        mutation_eta: float,
        initial: Sequence[Sequence[float]],
        seed: int,
        state: Buffer | None,
    ) -> Self: ...
    def step(
        self, evaluate: Callable[[bytearray], tuple[Any, Any]], objective_count: int
    ) -> None: ...
    def ended(self) -> str | None: ...
    def generation(self) -> int: ...
    def is_at(self, generation: int) -> bool: ...
    def evaluations(self) -> int: ...
    def population(self) -> tuple[bytearray, bytearray, bytearray]: ...
    def front(self) -> tuple[bytearray, bytearray, bytearray]: ...
    def save(self) -> bytes: ...

def _directions(objectives: int, divisions: int) -> bytearray: ...
def _hypervolume(points: Any, reference: Any) -> float: ...
def _igd(points: Any, front: Any, m: int) -> float: ...
def _igd_plus(points: Any, front: Any, m: int) -> float: ...
def _ranks(points: Any, m: int) -> list[int]: ...
def _spacing(points: Any, m: int) -> float: ...
def _spread(points: Any, ends: Any, m: int) -> float: ...

# --- Placement

OBJECTIVE_NAMES: Final[Sequence[str]]
"""The objectives of a placement in their order. All are minimised."""

@final
class Terms:
    """What a tier promises and what it costs."""

    __match_args__: Final = (
        "replicas",
        "distinct",
        "latency_ms_p95",
        "availability",
        "error_rate",
        "preemption_notice_ms",
        "price_permille",
    )
    def __new__(
        cls,
        replicas: int,
        distinct: Sequence[Domain],
        latency_ms_p95: float,
        availability: float,
        error_rate: float,
        preemption_notice_ms: int | None,
        price_permille: int,
    ) -> Self: ...
    @property
    def replicas(self) -> int:
        """How many nodes run the job, each on its own."""

    @property
    def distinct(self) -> tuple[Domain, ...]:
        """What the nodes of two replicas must differ in, all of it."""

    @property
    def latency_ms_p95(self) -> float:
        """Latency of a node that at most one answer in twenty exceeds, in milliseconds."""

    @property
    def availability(self) -> float:
        """Share of the time for which at least one replica is there, 0 to 1."""

    @property
    def error_rate(self) -> float:
        """Largest share of wrong or missing answers, 0 to 1."""

    @property
    def preemption_notice_ms(self) -> int | None:
        """The notice after which the job gives up its place, in milliseconds; `None`: it never
        does.
        """

    @property
    def price_permille(self) -> int:
        """What a node's asking price is multiplied by, in thousandths."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

def _terms(tier: Tier) -> Terms: ...

@final
class Spread:
    """A bound on how many jobs of a group share a domain."""

    __match_args__: Final = ("group", "over", "most")
    def __new__(cls, group: str, over: Domain, most: int) -> Self: ...
    @property
    def group(self) -> str:
        """Name of the group. All its jobs say the same of `over` and `most`."""

    @property
    def over(self) -> Domain:
        """What is a domain."""

    @property
    def most(self) -> int:
        """Most jobs of the group in one domain, each replica counted, at least 1."""

    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Replicas:
    """A rule: replicas of a job must be in different domains."""

    __match_args__: Final = ("over",)
    def __new__(cls, over: Domain) -> Self: ...
    @property
    def over(self) -> Domain:
        """What is a domain."""

    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class AntiAffinity:
    """A rule: jobs must avoid each other."""

    __match_args__: Final = ()
    def __new__(cls) -> Self: ...
    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Capacity:
    """A rule: nodes have only so much of something."""

    __match_args__: Final = ("of",)
    def __new__(cls, of: Constraint) -> Self: ...
    @property
    def of(self) -> Constraint:
        """What there is too little of."""

    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Job:
    """A job to be placed."""

    __match_args__: Final = (
        "id",
        "cpu_millis",
        "memory_bytes",
        "duration_ms",
        "priority",
        "min_trust",
        "max_cost",
        "max_latency_ms",
        "excluded",
        "disk_bytes",
        "gpus",
        "bandwidth_bps",
        "input_bytes",
        "input_on",
        "max_price",
        "deadline_ms",
        "regions",
        "tier",
        "affinity",
        "anti_affinity",
        "spread",
        "gang",
        "replicas",
        "preemptible",
    )
    def __new__(
        cls,
        id: str | UUID,
        *,
        cpu_millis: int,
        memory_bytes: int,
        duration_ms: int,
        priority: Priority = Priority.NORMAL,
        min_trust: float = 0.0,
        max_cost: int | None = None,
        max_latency_ms: float | None = None,
        excluded: Sequence[str] = (),
        disk_bytes: int = 0,
        gpus: int = 0,
        bandwidth_bps: int = 0,
        input_bytes: int = 0,
        input_on: Sequence[str] = (),
        max_price: int | None = None,
        deadline_ms: int | None = None,
        regions: Sequence[str] = (),
        tier: Tier = Tier.BRONZE,
        affinity: Sequence[str | UUID] = (),
        anti_affinity: Sequence[str | UUID] = (),
        spread: Spread | None = None,
        gang: str | None = None,
        replicas: int | None = None,
        preemptible: bool = False,
    ) -> Self: ...
    @property
    def id(self) -> str:
        """Its name, 32 hexadecimal digits; a `uuid.UUID` is accepted too."""

    @property
    def cpu_millis(self) -> int:
        """Processor it needs, in thousandths of a core."""

    @property
    def memory_bytes(self) -> int:
        """Memory it needs, in bytes."""

    @property
    def duration_ms(self) -> int:
        """How long it runs on a node of speed 1, in milliseconds."""

    @property
    def priority(self) -> Priority:
        """How urgent it is."""

    @property
    def min_trust(self) -> float:
        """Least trust of its node, 0 to 1."""

    @property
    def max_cost(self) -> int | None:
        """Most it may cost, in base units. Each of its replicas may cost as much."""

    @property
    def max_latency_ms(self) -> float | None:
        """Highest latency of its node, in milliseconds."""

    @property
    def excluded(self) -> tuple[str, ...]:
        """Nodes it must not run on."""

    @property
    def disk_bytes(self) -> int:
        """Disk it needs, in bytes."""

    @property
    def gpus(self) -> int:
        """Whole GPUs it needs."""

    @property
    def bandwidth_bps(self) -> int:
        """Bandwidth it needs while it runs, in bits per second."""

    @property
    def input_bytes(self) -> int:
        """Size of what it reads, in bytes. Where that is not yet, it is fetched before the job
        runs.
        """

    @property
    def input_on(self) -> tuple[str, ...]:
        """Nodes that hold its input already. They need not be among those offered."""

    @property
    def max_price(self) -> int | None:
        """Highest market price of one replica, in base units."""

    @property
    def deadline_ms(self) -> int | None:
        """When it must be done and its node have been reached, from now, in milliseconds."""

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions it may run in; none stands for any."""

    @property
    def tier(self) -> Tier:
        """What it is promised. Nodes that cannot keep the promise are no choice for it."""

    @property
    def affinity(self) -> tuple[str, ...]:
        """Jobs that must be on the same node as this one. Saying so of one of two is enough."""

    @property
    def anti_affinity(self) -> tuple[str, ...]:
        """Jobs that must be on another node than this one. Saying so of one of two is enough."""

    @property
    def spread(self) -> Spread | None:
        """How thinly it is spread together with others."""

    @property
    def gang(self) -> str | None:
        """The gang it is part of: all jobs of a gang are placed, or none."""

    @property
    def replicas(self) -> int | None:
        """How many nodes run it; if `None`, as many as its tier has."""

    @property
    def preemptible(self) -> bool:
        """Whether it may be preempted at once, whatever its tier says."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Node:
    """A node that takes jobs.

    Region, zone and operator may be empty if they are not known. All nodes of which one is not
    known count as one domain of it, for nobody can show that they differ.
    """

    __match_args__: Final = (
        "id",
        "cpu_millis_free",
        "cpu_millis_total",
        "memory_bytes_free",
        "speed",
        "latency_ms",
        "trust",
        "price_per_cpu_second",
        "disk_bytes_free",
        "gpus_free",
        "bandwidth_bps_free",
        "ask_per_cpu_second",
        "region",
        "zone",
        "operator",
        "availability",
        "error_rate",
    )
    def __new__(
        cls,
        id: str,
        *,
        cpu_millis_free: int,
        cpu_millis_total: int,
        memory_bytes_free: int,
        speed: float = 1.0,
        latency_ms: float = 0.0,
        trust: float = 0.0,
        price_per_cpu_second: int = 0,
        disk_bytes_free: int = 0,
        gpus_free: int = 0,
        bandwidth_bps_free: int = 0,
        ask_per_cpu_second: int | None = None,
        region: str = "",
        zone: str = "",
        operator: str = "",
        availability: float | None = None,
        error_rate: float | None = None,
    ) -> Self: ...
    @property
    def id(self) -> str:
        """Its name, 64 hexadecimal digits."""

    @property
    def cpu_millis_free(self) -> int:
        """Processor that is free, in thousandths of a core."""

    @property
    def cpu_millis_total(self) -> int:
        """Processor there is, in thousandths of a core."""

    @property
    def memory_bytes_free(self) -> int:
        """Memory that is free, in bytes."""

    @property
    def speed(self) -> float:
        """A job takes its duration divided by this. More than 0."""

    @property
    def latency_ms(self) -> float:
        """Time to reach it and back, in milliseconds."""

    @property
    def trust(self) -> float:
        """How far it is trusted, 0 to 1."""

    @property
    def price_per_cpu_second(self) -> int:
        """Price of one core for one second, in base units."""

    @property
    def disk_bytes_free(self) -> int:
        """Disk that is free, in bytes."""

    @property
    def gpus_free(self) -> int:
        """Whole GPUs that are free."""

    @property
    def bandwidth_bps_free(self) -> int:
        """Bandwidth that is free, in bits per second."""

    @property
    def ask_per_cpu_second(self) -> int | None:
        """What it asks on the market for one core for one second; if `None`, its price."""

    @property
    def region(self) -> str:
        """The part of the world it is in."""

    @property
    def zone(self) -> str:
        """What it shares power and network with."""

    @property
    def operator(self) -> str:
        """Who runs it."""

    @property
    def availability(self) -> float | None:
        """Share of the time for which it is there, 0 to 1, if known."""

    @property
    def error_rate(self) -> float | None:
        """Share of its answers that are wrong or missing, 0 to 1, if known."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Weights:
    """Prefers the least sum of objectives, weighted in the order of `OBJECTIVE_NAMES`."""

    __match_args__: Final = ("weights",)
    def __new__(cls, weights: Sequence[float]) -> Self: ...
    @property
    def weights(self) -> tuple[float, ...]:
        """One weight for each objective."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Lexicographic:
    """Prefers the best by the first objective named, of equals the best by the second, ..."""

    __match_args__: Final = ("order",)
    def __new__(cls, order: Sequence[int]) -> Self: ...
    @property
    def order(self) -> tuple[int, ...]:
        """Indices of all objectives."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Point:
    """One placement of all jobs."""

    __match_args__: Final = ("assignment", "objectives", "cost", "price")
    def __new__(
        cls,
        assignment: Sequence[tuple[str, str]],
        objectives: Sequence[float],
        cost: int,
        price: int,
    ) -> Self: ...
    @property
    def assignment(self) -> tuple[tuple[str, str], ...]:
        """Job and node of each replica, in the order in which jobs were given."""

    @property
    def objectives(self) -> tuple[float, ...]:
        """What it is worth, in the order of `OBJECTIVE_NAMES`."""

    @property
    def cost(self) -> int:
        """What it costs, in base units."""

    @property
    def price(self) -> int:
        """What it costs on the market, in base units."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Plan:
    """Placements that no other beats, and the one chosen."""

    __match_args__: Final = ("front", "chosen_index", "explanation")
    def __new__(cls, front: Sequence[Point], chosen_index: int, explanation: str) -> Self: ...
    @property
    def front(self) -> tuple[Point, ...]:
        """All placements found of which none is beaten by another in every objective."""

    @property
    def chosen_index(self) -> int:
        """Which of them is chosen."""

    @property
    def chosen(self) -> Point:
        """The placement chosen."""

    @property
    def explanation(self) -> str:
        """What it gives up in each objective against the best found, for people to read."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Lacks:
    """What a node lacks for a job."""

    __match_args__: Final = ("cpu_millis", "memory_bytes", "disk_bytes", "gpus", "bandwidth_bps")
    def __new__(
        cls, cpu_millis: int, memory_bytes: int, disk_bytes: int, gpus: int, bandwidth_bps: int
    ) -> Self: ...
    @property
    def cpu_millis(self) -> int:
        """Processor, in thousandths of a core."""

    @property
    def memory_bytes(self) -> int:
        """Memory, in bytes."""

    @property
    def disk_bytes(self) -> int:
        """Disk, in bytes."""

    @property
    def gpus(self) -> int:
        """Whole GPUs."""

    @property
    def bandwidth_bps(self) -> int:
        """Bandwidth, in bits per second."""

    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class NoNode:
    """A job was left out because no node may take it."""

    __match_args__: Final = ("removed_by", "nearest", "nearest_fails")
    def __new__(
        cls,
        removed_by: Sequence[tuple[Constraint, int]],
        nearest: str,
        nearest_fails: Sequence[Constraint],
    ) -> Self: ...
    @property
    def removed_by(self) -> tuple[tuple[Constraint, int], ...]:
        """Each constraint that removes nodes, with how many."""

    @property
    def nearest(self) -> str:
        """The node that fails the fewest constraints."""

    @property
    def nearest_fails(self) -> tuple[Constraint, ...]:
        """Those constraints."""

    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class NoCommonNode:
    """A job was left out because no node may take it together with those that must be with it."""

    __match_args__: Final = ("jobs", "shared")
    def __new__(cls, jobs: Sequence[str | UUID], shared: int) -> Self: ...
    @property
    def jobs(self) -> tuple[str, ...]:
        """All of them."""

    @property
    def shared(self) -> int:
        """How many nodes may take each of them alone."""

    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class NoRoom:
    """A job was left out because beside the more urgent jobs no node has room for it."""

    __match_args__: Final = ("node", "lacks")
    def __new__(cls, node: str, lacks: Lacks) -> Self: ...
    @property
    def node(self) -> str:
        """The node that lacks least."""

    @property
    def lacks(self) -> Lacks:
        """What it lacks."""

    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Crowded:
    """A job was left out because wherever it has room, it would be with others that it must not be
    with.
    """

    __match_args__: Final = ("rules",)
    def __new__(cls, rules: Sequence[Replicas | AntiAffinity | Spread | Capacity]) -> Self: ...
    @property
    def rules(self) -> tuple[Replicas | AntiAffinity | Spread | Capacity, ...]:
        """What forbids that, each of them somewhere."""

    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Late:
    """A job was left out because wherever it ran, it or a more urgent job would be late."""

    __match_args__: Final = ("late_ms",)
    def __new__(cls, late_ms: int) -> Self: ...
    @property
    def late_ms(self) -> int:
        """By how much at best, in milliseconds."""

    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class GoesWith:
    """A job was left out because another was that it must be with or that is of its gang."""

    __match_args__: Final = ("job",)
    def __new__(cls, job: str | UUID) -> Self: ...
    @property
    def job(self) -> str:
        """The other."""

    def __str__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class PartialPlan:
    """A placement of those jobs that fit."""

    __match_args__: Final = ("plan", "left_out")
    def __new__(
        cls,
        plan: Plan | None,
        left_out: Sequence[tuple[str, NoNode | NoCommonNode | NoRoom | Crowded | Late | GoesWith]],
    ) -> Self: ...
    @property
    def plan(self) -> Plan | None:
        """Where they run; `None` if none fits."""

    @property
    def left_out(
        self,
    ) -> tuple[tuple[str, NoNode | NoCommonNode | NoRoom | Crowded | Late | GoesWith], ...]:
        """The others in the order given, each with the reason, whose `str` is for people to read."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

def place(
    jobs: Sequence[Job],
    nodes: Sequence[Node],
    sharing: Sharing,
    config: Nsga2 | None = None,
    *,
    strategy: Strategy = Strategy.NSGA_II,
    preference: Weights | Lexicographic | None = None,
    seed: int = 0,
) -> Plan:
    """Places jobs on nodes and chooses one placement. One seed gives one plan.

    `Strategy.NSGA_II` searches, as much as `config` says, for placements that no other beats; the
    other strategies make one placement in one pass. Without a preference the placement nearest to
    the best of every objective is chosen. Ctrl-C ends the search between two generations.

    Raises `InfeasibleError`, `ProblemError`, `ArgumentError`.
    """

def place_what_fits(
    jobs: Sequence[Job],
    nodes: Sequence[Node],
    sharing: Sharing,
    config: Nsga2 | None = None,
    *,
    preference: Weights | Lexicographic | None = None,
    seed: int = 0,
) -> PartialPlan:
    """Places the jobs that fit and says why the others are left out: those that no node may take,
    then the less urgent, by priority, by tier, then in the order given. A gang is left out whole,
    and so are jobs that must be together.

    It searches as `place` does. What is left out is not proven to have no place.

    Raises `ProblemError`, `ArgumentError`.
    """

# --- Ledger

_Step: TypeAlias = Operation | tuple[str | UUID, str | UUID, str | UUID, int]

@final
class Account:
    """An account: its counters since it was opened, in base units."""

    __match_args__: Final = (
        "id",
        "asset",
        "kind",
        "credits_posted",
        "debits_posted",
        "credits_pending",
        "debits_pending",
        "limits",
        "closed",
        "spent_day",
        "spent",
    )
    def __new__(
        cls,
        id: str | UUID,
        asset: int,
        kind: AccountKind,
        credits_posted: int,
        debits_posted: int,
        credits_pending: int,
        debits_pending: int,
        limits: AccountLimits | None = None,
        closed: bool = False,
        spent_day: int = 0,
        spent: int = 0,
    ) -> Self: ...
    @property
    def id(self) -> str:
        """The account's name, 32 hexadecimal digits."""

    @property
    def asset(self) -> int:
        """What it holds; 0 is credits."""

    @property
    def kind(self) -> AccountKind:
        """What it may do."""

    @property
    def credits_posted(self) -> int:
        """All it ever received."""

    @property
    def debits_posted(self) -> int:
        """All it ever gave."""

    @property
    def credits_pending(self) -> int:
        """What open reservations may still bring."""

    @property
    def debits_pending(self) -> int:
        """What open reservations hold back."""

    @property
    def limits(self) -> AccountLimits:
        """Bounds beyond those of its kind."""

    @property
    def closed(self) -> bool:
        """It gives and receives nothing any more."""

    @property
    def spent_day(self) -> int:
        """The last UTC day on which it gave anything, in days since 1970."""

    @property
    def spent(self) -> int:
        """Base units that transfers and posts took from it on that day."""

    @property
    def available(self) -> int:
        """What may be transferred or reserved now."""

    @property
    def balance(self) -> int:
        """Posted balance, including what open reservations hold back."""

    @property
    def issued(self) -> int:
        """The supply an issuer has put out."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class AccountLimits:
    """Bounds of an account beyond those of its kind, in base units."""

    __match_args__: Final = ("max_supply", "credits_must_not_exceed_debits", "spend_per_day")
    def __new__(
        cls,
        *,
        max_supply: int | None = None,
        credits_must_not_exceed_debits: bool = False,
        spend_per_day: int | None = None,
    ) -> Self: ...
    @property
    def max_supply(self) -> int | None:
        """Most that an issuer may have out at once, open reservations included."""

    @property
    def credits_must_not_exceed_debits(self) -> bool:
        """An issuer takes back no more than it has put out."""

    @property
    def spend_per_day(self) -> int | None:
        """Most that transfers and posts may take from the account in one UTC day."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Receipt:
    """What became of a change to the ledger."""

    __match_args__: Final = ("sequence", "unix_ms", "moved", "chain", "replayed")
    def __new__(
        cls, sequence: int, unix_ms: int, moved: int, chain: str, replayed: bool
    ) -> Self: ...
    @property
    def sequence(self) -> int:
        """Place of its entry in the history, from 1."""

    @property
    def unix_ms(self) -> int:
        """When it was made, in milliseconds since 1970."""

    @property
    def moved(self) -> int:
        """Base units that went from one account to another; of what was asked of the economy, what
        `EconomyReceipt.amount` says.
        """

    @property
    def chain(self) -> str:
        """Digest of the whole history up to its entry, 64 hexadecimal digits."""

    @property
    def replayed(self) -> bool:
        """The same was asked for before: nothing moved this time."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Receipts:
    """The receipts of a batch, in the order of its operations. Each becomes an object when it is
    looked at: most callers of large batches look at none.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Receipt: ...
    def __iter__(self) -> Iterator[Receipt]: ...

@final
class Entry:
    """One line of a ledger's history. What an entry of its kind does not say is `None`, or 0."""

    __match_args__: Final = (
        "sequence",
        "unix_ms",
        "kind",
        "chain",
        "id",
        "reservation",
        "account",
        "from_account",
        "to_account",
        "amount",
        "released",
        "code",
        "reference",
        "expires_unix_ms",
        "asset",
        "account_kind",
        "limits",
        "key",
        "nonce",
        "digest",
        "cause",
        "event",
    )
    def __new__(
        cls,
        sequence: int,
        unix_ms: int,
        kind: str,
        chain: str,
        *,
        id: str | UUID | None = None,
        reservation: str | UUID | None = None,
        account: str | UUID | None = None,
        from_account: str | UUID | None = None,
        to_account: str | UUID | None = None,
        amount: int = 0,
        released: int = 0,
        code: int = 0,
        reference: Buffer | None = None,
        expires_unix_ms: int | None = None,
        asset: int | None = None,
        account_kind: AccountKind | None = None,
        limits: AccountLimits | None = None,
        key: Buffer | None = None,
        nonce: int | None = None,
        digest: str | None = None,
        cause: int | None = None,
        event: str | None = None,
    ) -> Self: ...
    @property
    def sequence(self) -> int:
        """Place in the history, from 1 without gaps."""

    @property
    def unix_ms(self) -> int:
        """When it was made, in milliseconds since 1970."""

    @property
    def kind(self) -> str:
        """What happened: "opened", "transferred", "reserved", "posted", "voided", "expired",
        "limited", "closed", "owned", "signed", "economy", "matured", "moved". There may be more
        later.
        """

    @property
    def chain(self) -> str:
        """Digest of the whole history up to it, 64 hexadecimal digits."""

    @property
    def id(self) -> str | None:
        """The operation that made it, if that had an id of its own."""

    @property
    def reservation(self) -> str | None:
        """The reservation that it closed."""

    @property
    def account(self) -> str | None:
        """The account, of what is about one only."""

    @property
    def from_account(self) -> str | None:
        """The account that gives, or would have."""

    @property
    def to_account(self) -> str | None:
        """The account that receives, or would have."""

    @property
    def amount(self) -> int:
        """Base units that moved, or that a reservation holds back."""

    @property
    def released(self) -> int:
        """Base units that were reserved and are free again."""

    @property
    def code(self) -> int:
        """What it was for, from a list of the caller's."""

    @property
    def reference(self) -> bytes:
        """The caller's own reference, 16 bytes."""

    @property
    def expires_unix_ms(self) -> int | None:
        """When a reservation expires, in milliseconds since 1970."""

    @property
    def asset(self) -> int | None:
        """What an opened account holds."""

    @property
    def account_kind(self) -> AccountKind | None:
        """What an opened account may do."""

    @property
    def limits(self) -> AccountLimits | None:
        """An account's new limits."""

    @property
    def key(self) -> bytes | None:
        """An account's new key, 32 bytes."""

    @property
    def nonce(self) -> int | None:
        """Number of a signature."""

    @property
    def digest(self) -> str | None:
        """Digest of what was signed, 64 hexadecimal digits."""

    @property
    def cause(self) -> int | None:
        """Sequence of the entry of the economy that a movement follows from."""

    @property
    def event(self) -> str | None:
        """What happened in the economy, as JSON text."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Entries:
    """Entries one after the other, read in pages."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Entry: ...

@final
class Verification:
    """What a check of the whole history found. What is wrong is raised."""

    __match_args__: Final = ("sequence", "chain", "accounts", "open_reservations")
    def __new__(cls, sequence: int, chain: str, accounts: int, open_reservations: int) -> Self: ...
    @property
    def sequence(self) -> int:
        """Number of entries."""

    @property
    def chain(self) -> str:
        """Digest of the whole history, 64 hexadecimal digits."""

    @property
    def accounts(self) -> int:
        """Accounts that were compared."""

    @property
    def open_reservations(self) -> int:
        """Reservations that hold something back."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Head:
    """Where a history ends."""

    __match_args__: Final = ("sequence", "chain")
    def __new__(cls, sequence: int, chain: str) -> Self: ...
    @property
    def sequence(self) -> int:
        """Number of entries."""

    @property
    def chain(self) -> str:
        """Digest of the whole history, 64 hexadecimal digits."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Standing:
    """What an account had received and given at some moment of the past, in base units."""

    __match_args__: Final = ("sequence", "credits_posted", "debits_posted")
    def __new__(cls, sequence: int, credits_posted: int, debits_posted: int) -> Self: ...
    @property
    def sequence(self) -> int:
        """The last entry before that moment that named the account."""

    @property
    def credits_posted(self) -> int:
        """All it had received."""

    @property
    def debits_posted(self) -> int:
        """All it had given."""

    @property
    def balance(self) -> int:
        """Posted balance, including what was reserved then."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Operation:
    """One step of a batch for `Ledger.execute`, or of one that an owner signs."""

    @staticmethod
    def open(account: str | UUID, kind: AccountKind, *, asset: int = 0) -> Operation:
        """Opens an account for an asset; 0 is credits."""

    @staticmethod
    def transfer(
        id: str | UUID,
        from_account: str | UUID,
        to_account: str | UUID,
        amount: int,
        *,
        code: int = 0,
        reference: Buffer | None = None,
    ) -> Operation:
        """Moves an amount. `code` and `reference`, 16 bytes, say what it is for."""

    @staticmethod
    def reserve(
        id: str | UUID,
        from_account: str | UUID,
        to_account: str | UUID,
        amount: int,
        *,
        expires_unix_ms: int | None = None,
        code: int = 0,
        reference: Buffer | None = None,
    ) -> Operation:
        """Holds an amount back for a later post or void, or until it expires."""

    @staticmethod
    def post(id: str | UUID, reservation: str | UUID, amount: int | None = None) -> Operation:
        """Moves a reserved amount, or part of it; what is left is released."""

    @staticmethod
    def void(id: str | UUID, reservation: str | UUID) -> Operation:
        """Releases a reservation."""

    @staticmethod
    def limit(id: str | UUID, account: str | UUID, limits: AccountLimits) -> Operation:
        """Sets all limits of an account anew."""

    @staticmethod
    def close(id: str | UUID, account: str | UUID) -> Operation:
        """Closes an account for good."""

    @staticmethod
    def own(id: str | UUID, account: str | UUID, key: Buffer) -> Operation:
        """Registers the key, 32 bytes, whose signatures move an account's money."""

    @staticmethod
    def configure(id: str | UUID, rules: str | None = None) -> Operation:
        """Sets every number and rule of the economy: `Economy.configure`."""

    @staticmethod
    def set_parameter(id: str | UUID, name: str, value: int) -> Operation:
        """Sets one number of the economy: `Economy.set_parameter`."""

    @staticmethod
    def register_operator(
        id: str | UUID, operator: str, account: str | UUID, commission_ppm: int
    ) -> Operation:
        """Makes a node an operator that may be staked on. `account` receives its commission, so
        many millionths of every reward.
        """

    @staticmethod
    def set_commission(id: str | UUID, operator: str, commission_ppm: int) -> Operation:
        """Changes an operator's commission, in millionths: by little, and once in 24 hours."""

    @staticmethod
    def bond(id: str | UUID, operator: str, delegator: str | UUID, amount: int) -> Operation:
        """Stakes on an operator."""

    @staticmethod
    def unbond(
        id: str | UUID, operator: str, delegator: str | UUID, amount: int | None = None
    ) -> Operation:
        """Starts to take stake back, all of it if no amount is given. Time pays it out, less what
        slashes take until then.
        """

    @staticmethod
    def cancel_unbonding(
        id: str | UUID, operator: str, delegator: str | UUID, entry: int, amount: int | None = None
    ) -> Operation:
        """Returns stake on its way out to its operator, all of the entry if no amount is given."""

    @staticmethod
    def redelegate(
        id: str | UUID,
        delegator: str | UUID,
        from_operator: str,
        to_operator: str,
        amount: int | None = None,
    ) -> Operation:
        """Moves stake to another operator at once, all of it if no amount is given. Until it
        matures it answers for what the first operator did, and may not move on.
        """

    @staticmethod
    def claim(id: str | UUID, operator: str, delegator: str | UUID) -> Operation:
        """Pays a delegator's rewards out."""

    @staticmethod
    def claim_commission(id: str | UUID, operator: str) -> Operation:
        """Pays an operator's commission out."""

    @staticmethod
    def reward(id: str | UUID, operator: str, source: str | UUID, amount: int) -> Operation:
        """Shares a reward between an operator and its delegators. It is paid from an account, or
        from that of the treasury or the mint (`purse_account`).
        """

    @staticmethod
    def slash(
        id: str | UUID, operator: str, evidence: Evidence, infraction_unix_ms: int, power: int
    ) -> Operation:
        """Punishes what an operator did at some time, in milliseconds since 1970, when it had
        `power` base units staked on it. Whether the evidence is true is for the caller to know.
        """

    @staticmethod
    def unjail(id: str | UUID, operator: str) -> Operation:
        """Lets an operator back whose time in jail is over."""

    @staticmethod
    def pay_insurance(
        id: str | UUID, claim: str | UUID, to_account: str | UUID, amount: int
    ) -> Operation:
        """Pays a claim from the insurance fund, once."""

    @staticmethod
    def earn(id: str | UUID, rule: str, account: str | UUID, facts: dict[str, int]) -> Operation:
        """Rewards a contribution by one of the rules. Facts are in thousandths: yes is 1000, a
        quality of 0.95 is 950.
        """

    @staticmethod
    def earn_session(
        id: str | UUID,
        account: str | UUID,
        power_milli: int,
        duration_ms: int,
        bonus_per_mille: int,
    ) -> Operation:
        """Rewards a session of computing. Power and the sum of the bonuses are in thousandths, the
        duration is in milliseconds.
        """

    @staticmethod
    def pay_fee(id: str | UUID, payer: str | UUID, payee: str | UUID, amount: int) -> Operation:
        """Pays a fee: treasury and sovereign fund have their parts, and the payee the rest."""

    @staticmethod
    def establish(
        id: str | UUID,
        roles: Sequence[tuple[str | UUID, Role]],
    ) -> Operation:
        """Gives the founding roles, once. From then on the host sets no parameters and pays no
        rewards from treasury or mint: proposals do.
        """

    @staticmethod
    def enrol(
        id: str | UUID,
        account: str | UUID,
    ) -> Operation:
        """Lets an account vote with what it has from now on. Delegating and being granted a role do
        so too.
        """

    @staticmethod
    def delegate(
        id: str | UUID,
        voter: str | UUID,
        to: Sequence[tuple[str | UUID, int]],
        topics: Sequence[ProposalKind] = (),
    ) -> Operation:
        """Delegates parts of an account's votes, in millionths, in place of what it delegated
        before on those topics: on all of them if there are none. The rest stays with it; without
        delegates all does, which revokes.
        """

    @staticmethod
    def set_reputation(
        id: str | UUID,
        account: str | UUID,
        reputation_ppm: int,
    ) -> Operation:
        """Sets what an account's votes are counted by from now on, in millionths, where reputation
        counts.
        """

    @staticmethod
    def draft(
        id: str | UUID,
        author: str | UUID,
        proposal: str | UUID,
        kind: ProposalKind,
        title: str,
        description: str,
        actions: Sequence[Action],
    ) -> Operation:
        """Keeps a proposal that is not submitted yet. `proposal` names it for ever."""

    @staticmethod
    def submit(
        id: str | UUID,
        author: str | UUID,
        proposal: str | UUID,
    ) -> Operation:
        """Submits a draft."""

    @staticmethod
    def propose(
        id: str | UUID,
        author: str | UUID,
        proposal: str | UUID,
        kind: ProposalKind,
        title: str,
        description: str,
        actions: Sequence[Action],
    ) -> Operation:
        """Submits a proposal that was no draft. `proposal` names it for ever. A title has 1 to 200
        characters, a description at most 16 KiB, and there are 1 to 16 actions.
        """

    @staticmethod
    def vote(
        id: str | UUID,
        voter: str | UUID,
        proposal: str | UUID,
        choice: Choice,
    ) -> Operation:
        """Votes, or changes a vote. Who has delegated and votes takes that back for this proposal.
        """

    @staticmethod
    def cancel(
        id: str | UUID,
        by: str | UUID,
        proposal: str | UUID,
    ) -> Operation:
        """Cancels a proposal: its author before voting begins, a guardian or a king until it is
        over.
        """

    @staticmethod
    def queue(
        id: str | UUID,
        proposal: str | UUID,
    ) -> Operation:
        """Starts the timelock of a proposal that has passed. Anybody may."""

    @staticmethod
    def execute(
        id: str | UUID,
        proposal: str | UUID,
    ) -> Operation:
        """Does what a proposal says, all or nothing. Anybody may."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def owner_key(secret: Buffer) -> bytes:
    """The public key, 32 bytes, to an Ed25519 key's 32 secret bytes: for `Ledger.own`, and to check
    checkpoints against.
    """

@final
class SignedBatch:
    """A batch that the owner of an account has signed, for `Ledger.execute_signed`. It happens
    once, before it expires.
    """

    @staticmethod
    def sign(
        account: str | UUID,
        nonce: int,
        expires_unix_ms: int,
        operations: Sequence[_Step],
        secret: Buffer,
    ) -> SignedBatch:
        """Signs a batch with 32 secret bytes. `nonce` is `Ledger.next_nonce`."""

    @staticmethod
    def message(
        account: str | UUID, nonce: int, expires_unix_ms: int, operations: Sequence[_Step]
    ) -> bytes:
        """The bytes that a signature is over, for keys that are kept elsewhere."""

    @staticmethod
    def with_signature(
        account: str | UUID,
        nonce: int,
        expires_unix_ms: int,
        operations: Sequence[_Step],
        signature: Buffer,
    ) -> SignedBatch:
        """A batch with a signature, 64 bytes, that was made elsewhere."""

    @staticmethod
    def from_bytes(data: Buffer) -> SignedBatch:
        """Reads a batch from its bytes; its signature is checked when it is executed."""

    def to_bytes(self) -> bytes:
        """The batch as bytes, the same in every language."""

    def is_signed_by(self, key: Buffer) -> bool:
        """Whether the key made the signature, over this batch."""

    @property
    def account(self) -> str:
        """The account whose owner signed."""

    @property
    def nonce(self) -> int:
        """Number of the signature, from 1."""

    @property
    def expires_unix_ms(self) -> int:
        """From this time on the signature is worth nothing, in milliseconds since 1970."""

    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Checkpoint:
    """Where a history ended at some time and what the accounts were then, signed."""

    @staticmethod
    def from_bytes(data: Buffer) -> Checkpoint:
        """Reads a checkpoint from its bytes; `verify` checks its signature."""

    def to_bytes(self) -> bytes:
        """The checkpoint as bytes, the same in every language."""

    def verify(self, key: Buffer) -> None:
        """Checks that it was signed by the key that is trusted, 32 bytes. Raises
        `CheckpointForgedError`.
        """

    @property
    def sequence(self) -> int:
        """Entries that the history had."""

    @property
    def chain(self) -> str:
        """Digest of the whole history, 64 hexadecimal digits."""

    @property
    def accounts_root(self) -> str:
        """Digest of all accounts, 64 hexadecimal digits."""

    @property
    def unix_ms(self) -> int:
        """When it was made, in milliseconds since 1970."""

    @property
    def key(self) -> bytes:
        """The key that it says has signed it, 32 bytes."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class EconomyReceipt:
    """What an operation of the economy did. What an event of its kind does not say is `None`, or
    0.
    """

    __match_args__: Final = (
        "sequence",
        "unix_ms",
        "replayed",
        "event",
        "amount",
        "cut_by_limit",
        "commission",
        "treasury",
        "sovereign_fund",
        "insured",
        "entry",
        "matures_unix_ms",
        "jailed_until_unix_ms",
        "tombstoned",
        "proposal",
        "power",
        "deadline_unix_ms",
        "eta_unix_ms",
    )
    def __new__(
        cls,
        sequence: int,
        unix_ms: int,
        replayed: bool,
        event: str,
        *,
        amount: int = 0,
        cut_by_limit: int = 0,
        commission: int = 0,
        treasury: int = 0,
        sovereign_fund: int = 0,
        insured: int = 0,
        entry: int | None = None,
        matures_unix_ms: int | None = None,
        jailed_until_unix_ms: int | None = None,
        tombstoned: bool = False,
        proposal: str | UUID | None = None,
        power: int = 0,
        deadline_unix_ms: int | None = None,
        eta_unix_ms: int | None = None,
    ) -> Self: ...
    @property
    def sequence(self) -> int:
        """Place of its entry in the history, from 1."""

    @property
    def unix_ms(self) -> int:
        """When it happened, in milliseconds since 1970."""

    @property
    def replayed(self) -> bool:
        """It was asked for before: nothing happened this time."""

    @property
    def event(self) -> str:
        """What happened: "configured", "parameter_set", "registered", "commission_set", "bonded",
        "unbonded", "unbonding_cancelled", "redelegated", "claimed", "commission_claimed",
        "rewarded", "slashed", "unjailed", "insurance_paid", "earned", "fee_paid"; of governance
        "established", "enrolled", "delegated", "reputation_set", "drafted", "submitted",
        "proposed", "voted", "cancelled", "queued", "executed". There may be more later.
        """

    @property
    def amount(self) -> int:
        """Base units that were staked, left, came back, changed their operator, were claimed or
        paid out, were granted for a contribution; all of a reward, of a fee, or that a slash
        took.
        """

    @property
    def cut_by_limit(self) -> int:
        """Base units of a contribution's reward that the daily limit cut off."""

    @property
    def commission(self) -> int:
        """Of a reward, the operator's commission."""

    @property
    def treasury(self) -> int:
        """Of a reward that no stake had a right to, or of a fee, what went to the treasury."""

    @property
    def sovereign_fund(self) -> int:
        """Of a fee, what went to the sovereign fund. The payee has the rest."""

    @property
    def insured(self) -> int:
        """Of what a slash took, what the insurance fund has. The rest was burned."""

    @property
    def entry(self) -> int | None:
        """Number of the unbonding or redelegation."""

    @property
    def matures_unix_ms(self) -> int | None:
        """When an unbonding is paid out, and until when a redelegation answers for what its first
        operator did, in milliseconds since 1970.
        """

    @property
    def jailed_until_unix_ms(self) -> int | None:
        """When a slashed operator may come back, in milliseconds since 1970."""

    @property
    def tombstoned(self) -> bool:
        """Whether a slashed operator may never come back."""

    @property
    def proposal(self) -> str | None:
        """The proposal that was drafted, submitted, voted on, cancelled, queued or executed."""

    @property
    def power(self) -> int:
        """All power of the ballot that was cast or changed."""

    @property
    def deadline_unix_ms(self) -> int | None:
        """The last millisecond to vote in since 1970, of a proposal that was submitted or voted on.
        """

    @property
    def eta_unix_ms(self) -> int | None:
        """When a proposal that was queued may be executed, in milliseconds since 1970."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Operator:
    """A node that may be staked on, as it stands."""

    __match_args__: Final = (
        "operator",
        "account",
        "commission_ppm",
        "commission_set_unix_ms",
        "staked",
        "unclaimed",
        "commission_due",
        "jailed_until_unix_ms",
        "tombstoned",
    )
    def __new__(
        cls,
        operator: str,
        account: str | UUID,
        commission_ppm: int,
        commission_set_unix_ms: int,
        staked: int,
        unclaimed: int,
        commission_due: int,
        jailed_until_unix_ms: int | None,
        tombstoned: bool,
    ) -> Self: ...
    @property
    def operator(self) -> str:
        """The node, 64 hexadecimal digits."""

    @property
    def account(self) -> str:
        """Receives its commission."""

    @property
    def commission_ppm(self) -> int:
        """Its part of every reward, in millionths."""

    @property
    def commission_set_unix_ms(self) -> int:
        """When that was set, in milliseconds since 1970."""

    @property
    def staked(self) -> int:
        """Base units that are staked on it."""

    @property
    def unclaimed(self) -> int:
        """Base units of rewards that its delegators have not claimed yet, remainders included."""

    @property
    def commission_due(self) -> int:
        """Base units of its own commission that it has not claimed yet."""

    @property
    def jailed_until_unix_ms(self) -> int | None:
        """When it may come back, if it is in jail, in milliseconds since 1970."""

    @property
    def tombstoned(self) -> bool:
        """Whether it will never come back."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Unbonding:
    """Stake on its way out."""

    __match_args__: Final = ("entry", "started_unix_ms", "matures_unix_ms", "initial", "balance")
    def __new__(
        cls, entry: int, started_unix_ms: int, matures_unix_ms: int, initial: int, balance: int
    ) -> Self: ...
    @property
    def entry(self) -> int:
        """Its number."""

    @property
    def started_unix_ms(self) -> int:
        """When it began to leave, in milliseconds since 1970."""

    @property
    def matures_unix_ms(self) -> int:
        """When it will be paid out, in milliseconds since 1970."""

    @property
    def initial(self) -> int:
        """Base units that left, but for what came back."""

    @property
    def balance(self) -> int:
        """Base units that slashes have left of it."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Stake:
    """What an account has at an operator."""

    __match_args__: Final = ("staked", "claimable", "unbondings")
    def __new__(cls, staked: int, claimable: int, unbondings: Sequence[Unbonding]) -> Self: ...
    @property
    def staked(self) -> int:
        """Base units that are staked, rounded down."""

    @property
    def claimable(self) -> int:
        """Base units that a claim would pay now."""

    @property
    def unbondings(self) -> tuple[Unbonding, ...]:
        """What is on its way out, oldest first."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Parameter:
    """A number of the economy."""

    __match_args__: Final = ("name", "unit", "value", "min", "max")
    def __new__(cls, name: str, unit: str, value: int, min: int, max: int) -> Self: ...
    @property
    def name(self) -> str:
        """Its name, which never changes: the path of the number in the JSON of the rules, with points
        between the parts. An element of a list goes by its `fact`.
        """

    @property
    def unit(self) -> str:
        """What it is counted in: "base_units", "ppm" (millionths), "per_mille" (thousandths),
        "milliseconds", "count" or "flag" (0 for no, 1 for yes).
        """

    @property
    def value(self) -> int:
        """What it is."""

    @property
    def min(self) -> int:
        """The least it may be."""

    @property
    def max(self) -> int:
        """The most it may be."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Economy:
    """The economy of a ledger: operators and those who stake on them, rewards for contributions,
    fees, and the numbers that govern them. `Ledger.economy` gives it.

    Each call is one transaction. Operators are nodes, 64 hexadecimal digits. Staking and earning
    never go back in time: before their last operation they raise `ClockBehindError`. All but
    `configure` raise `NoEconomyError` before there is an economy.
    """

    @staticmethod
    def default_rules() -> str:
        """The rules that an economy has unless it is told others, as JSON text: every number with
        its name. Amounts are texts of base units, parts are millionths, facts and multipliers
        thousandths.
        """

    def configure(self, id: str | UUID, rules: str | None = None) -> EconomyReceipt:
        """Sets every number and rule, given as JSON text like that of `default_rules`, or the
        default ones. The first time founds the economy: an account is opened for each purse, and
        the initial supply is minted into the treasury.

        Raises `EconomyError`, `IdReusedError`.
        """

    def rules(self) -> str | None:
        """Every number and rule as JSON text; `None` before there is an economy."""

    def parameters(self) -> tuple[Parameter, ...]:
        """Every number with its name and bounds, in a fixed order; none before there is an
        economy.
        """

    def set_parameter(self, id: str | UUID, name: str, value: int) -> EconomyReceipt:
        """Sets one number.

        Raises `UnknownParameterError`, `EconomyError`, `IdReusedError`.
        """

    def register_operator(
        self, id: str | UUID, operator: str, account: str | UUID, commission_ppm: int
    ) -> EconomyReceipt:
        """Makes a node an operator that may be staked on. `account` receives its commission, so
        many millionths of every reward.

        Raises `OperatorExistsError`, `CommissionTooLargeError`, `UnknownAccountError`,
        `PurseAccountError`, `IdReusedError`.
        """

    def set_commission(self, id: str | UUID, operator: str, commission_ppm: int) -> EconomyReceipt:
        """Changes an operator's commission, in millionths: by little, and once in 24 hours.

        Raises `UnknownOperatorError`, `CommissionTooLargeError`, `CommissionTooSoonError`,
        `IdReusedError`.
        """

    def bond(
        self, id: str | UUID, operator: str, delegator: str | UUID, amount: int
    ) -> EconomyReceipt:
        """Stakes on an operator.

        Raises `UnknownOperatorError`, `JailedError`, `TombstonedError`, `InsufficientFundsError`,
        `ZeroAmountError`, `IdReusedError`.
        """

    def unbond(
        self, id: str | UUID, operator: str, delegator: str | UUID, amount: int | None = None
    ) -> EconomyReceipt:
        """Starts to take stake back, all of it if no amount is given. Time pays it out, less what
        slashes take until then.

        Raises `UnknownOperatorError`, `UnknownDelegatorError`, `ExceedsStakeError`,
        `TooManyEntriesError`, `IdReusedError`.
        """

    def cancel_unbonding(
        self,
        id: str | UUID,
        operator: str,
        delegator: str | UUID,
        entry: int,
        amount: int | None = None,
    ) -> EconomyReceipt:
        """Returns stake on its way out to its operator, all of the entry if no amount is given.

        Raises `UnknownEntryError`, `EntryMaturedError`, `ExceedsEntryError`, `JailedError`,
        `TombstonedError`, `IdReusedError`.
        """

    def redelegate(
        self,
        id: str | UUID,
        delegator: str | UUID,
        from_operator: str,
        to_operator: str,
        amount: int | None = None,
    ) -> EconomyReceipt:
        """Moves stake to another operator at once, all of it if no amount is given. Until it
        matures it answers for what the first operator did, and may not move on.

        Raises `UnknownDelegatorError`, `ExceedsStakeError`, `TransitiveRedelegationError`,
        `TooManyEntriesError`, `JailedError`, `TombstonedError`, `IdReusedError`.
        """

    def claim(self, id: str | UUID, operator: str, delegator: str | UUID) -> EconomyReceipt:
        """Pays a delegator's rewards out.

        Raises `UnknownDelegatorError`, `NothingToClaimError`, `IdReusedError`.
        """

    def claim_commission(self, id: str | UUID, operator: str) -> EconomyReceipt:
        """Pays an operator's commission out.

        Raises `UnknownOperatorError`, `NothingToClaimError`, `IdReusedError`.
        """

    def reward(
        self, id: str | UUID, operator: str, source: str | UUID, amount: int
    ) -> EconomyReceipt:
        """Shares a reward between an operator and its delegators. It is paid from an account, or
        from that of the treasury or the mint (`purse_account`).

        Raises `UnknownOperatorError`, `JailedError`, `TombstonedError`, `InsufficientFundsError`,
        `StakingRefusedError`, `IdReusedError`.
        """

    def slash(
        self, id: str | UUID, operator: str, evidence: Evidence, infraction_unix_ms: int, power: int
    ) -> EconomyReceipt:
        """Punishes what an operator did at some time, in milliseconds since 1970, when it had
        `power` base units staked on it. Whether the evidence is true is for the caller to know.

        Raises `UnknownOperatorError`, `TombstonedError`, `EvidenceTooOldError`,
        `EvidenceRepeatedError`, `StakingRefusedError`, `IdReusedError`.
        """

    def unjail(self, id: str | UUID, operator: str) -> EconomyReceipt:
        """Lets an operator back whose time in jail is over.

        Raises `UnknownOperatorError`, `NotJailedError`, `JailedError`, `TombstonedError`,
        `IdReusedError`.
        """

    def pay_insurance(
        self, id: str | UUID, claim: str | UUID, to_account: str | UUID, amount: int
    ) -> EconomyReceipt:
        """Pays a claim from the insurance fund, once.

        Raises `ClaimRepeatedError`, `InsuranceShortError`, `UnknownAccountError`,
        `IdReusedError`.
        """

    def earn(
        self, id: str | UUID, rule: str, account: str | UUID, facts: dict[str, int]
    ) -> EconomyReceipt:
        """Rewards a contribution by one of the rules. Facts are in thousandths: yes is 1000, a
        quality of 0.95 is 950.

        Raises `UnknownRuleError`, `UnknownFactError`, `FactMissingError`,
        `RequirementNotMetError`, `FactTooLargeError`, `DailyLimitReachedError`,
        `SupplyExceededError`, `IdReusedError`.
        """

    def earn_session(
        self,
        id: str | UUID,
        account: str | UUID,
        power_milli: int,
        duration_ms: int,
        bonus_per_mille: int,
    ) -> EconomyReceipt:
        """Rewards a session of computing. Power and the sum of the bonuses are in thousandths, the
        duration is in milliseconds.

        Raises `SessionTooShortError`, `SessionTooLargeError`, `DailyLimitReachedError`,
        `SupplyExceededError`, `IdReusedError`.
        """

    def pay_fee(
        self, id: str | UUID, payer: str | UUID, payee: str | UUID, amount: int
    ) -> EconomyReceipt:
        """Pays a fee: treasury and sovereign fund have their parts, and the payee the rest.

        Raises `InsufficientFundsError`, `UnknownAccountError`, `ZeroAmountError`,
        `IdReusedError`.
        """

    def receipt(self, id: str | UUID) -> EconomyReceipt | None:
        """What an operation of the economy did that was asked for under that id, alone, in a batch
        or signed; `None` if the id was used for nothing, or for something else.
        """

    def operator(self, operator: str) -> Operator | None:
        """An operator as it stands; `None` if the node is none."""

    def operators(self, after: str | None = None, limit: int = 10000) -> tuple[Operator, ...]:
        """Operators with an id above `after`, by id: at most `limit`, at most 10,000."""

    def stake(self, operator: str, delegator: str | UUID) -> Stake:
        """What an account has at an operator; nothing if it never staked there."""

    def granted_today(self, rule: str, account: str | UUID) -> int:
        """What an account was granted under a rule on this UTC day, in base units."""

@final
class Tally:
    """What came together for each choice, in base units."""

    __match_args__: Final = (
        "against",
        "in_favor",
        "abstain",
    )
    def __new__(
        cls,
        against: int,
        in_favor: int,
        abstain: int,
    ) -> Self: ...
    @property
    def against(self) -> int:
        """Against it."""

    @property
    def in_favor(self) -> int:
        """For it."""

    @property
    def abstain(self) -> int:
        """Neither."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Ballot:
    """What a voter has said about a proposal."""

    __match_args__: Final = (
        "choice",
        "power",
        "counted",
        "votes",
        "changes",
    )
    def __new__(
        cls,
        choice: Choice,
        power: int,
        counted: int,
        votes: int,
        changes: int,
    ) -> Self: ...
    @property
    def choice(self) -> Choice:
        """What it says."""

    @property
    def power(self) -> int:
        """All power it carries: the voter's own and what was delegated, but for what others took
        back by voting themselves.
        """

    @property
    def counted(self) -> int:
        """The power that counts: no voter has more than the rules allow one."""

    @property
    def votes(self) -> int:
        """The votes that makes."""

    @property
    def changes(self) -> int:
        """How often it was changed."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class VotingPower:
    """Where an account's power on a topic comes from and goes to, in base units."""

    __match_args__: Final = (
        "own",
        "received",
        "passed_on",
    )
    def __new__(
        cls,
        own: int,
        received: int,
        passed_on: int,
    ) -> Self: ...
    @property
    def own(self) -> int:
        """What it weighs itself, by its role."""

    @property
    def received(self) -> int:
        """What was delegated to it, directly or through others."""

    @property
    def passed_on(self) -> int:
        """What it delegates of both."""

    @property
    def power(self) -> int:
        """What it can vote with, if nobody whose votes it casts votes: for a vote of its own takes
        back what it delegated.
        """

    @property
    def kept(self) -> int:
        """What stays with it: what a proposer must weigh."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Member:
    """What an account is to governance."""

    __match_args__: Final = (
        "enrolled",
        "role",
        "tokens",
        "staked",
        "reputation_ppm",
    )
    def __new__(
        cls,
        enrolled: bool,
        role: Role,
        tokens: int,
        staked: int,
        reputation_ppm: int | None,
    ) -> Self: ...
    @property
    def enrolled(self) -> bool:
        """Whether what it has counts."""

    @property
    def role(self) -> Role:
        """Its role."""

    @property
    def tokens(self) -> int:
        """Base units that count, in its account."""

    @property
    def staked(self) -> int:
        """Base units that count, staked."""

    @property
    def reputation_ppm(self) -> int | None:
        """The reputation that was set for it, in millionths."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Upgrade:
    """A version that nodes are to run."""

    __match_args__: Final = (
        "version",
        "proposal",
        "digest",
        "activates_unix_ms",
    )
    def __new__(
        cls,
        version: str,
        proposal: str | UUID,
        digest: str,
        activates_unix_ms: int,
    ) -> Self: ...
    @property
    def version(self) -> str:
        """Its name."""

    @property
    def proposal(self) -> str:
        """The proposal that scheduled it."""

    @property
    def digest(self) -> str:
        """Digest of what is to be run, 64 hexadecimal digits."""

    @property
    def activates_unix_ms(self) -> int:
        """From when on, in milliseconds since 1970."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Agent:
    """An agent that was deployed."""

    __match_args__: Final = (
        "agent",
        "proposal",
        "operator",
        "budget",
    )
    def __new__(
        cls,
        agent: str,
        proposal: str | UUID,
        operator: str | UUID,
        budget: int,
    ) -> Self: ...
    @property
    def agent(self) -> str:
        """Digest of the agent, 64 hexadecimal digits."""

    @property
    def proposal(self) -> str:
        """The proposal that deployed it."""

    @property
    def operator(self) -> str:
        """Runs it."""

    @property
    def budget(self) -> int:
        """Base units that were paid for it."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Resolution:
    """A resolution."""

    __match_args__: Final = (
        "proposal",
        "text",
        "unix_ms",
    )
    def __new__(
        cls,
        proposal: str | UUID,
        text: str,
        unix_ms: int,
    ) -> Self: ...
    @property
    def proposal(self) -> str:
        """The proposal that resolved it."""

    @property
    def text(self) -> str:
        """Digest of its text, 64 hexadecimal digits."""

    @property
    def unix_ms(self) -> int:
        """When, in milliseconds since 1970."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class GovernanceOverview:
    """What governance is beside its proposals."""

    __match_args__: Final = (
        "established",
        "members",
        "circulating",
        "total",
        "roles",
        "paused",
        "upgrades",
        "agents",
        "resolutions",
    )
    def __new__(
        cls,
        established: bool,
        members: int,
        circulating: int,
        total: int,
        roles: Sequence[tuple[str, Role]],
        paused: Sequence[PauseScope],
        upgrades: Sequence[Upgrade],
        agents: Sequence[Agent],
        resolutions: Sequence[Resolution],
    ) -> Self: ...
    @property
    def established(self) -> bool:
        """Whether founding roles were given: from then on, rules and treasury are governed."""

    @property
    def members(self) -> int:
        """How many accounts are enrolled."""

    @property
    def circulating(self) -> int:
        """Base units that everybody holds and has staked: counted from when the first account is
        enrolled.
        """

    @property
    def total(self) -> int:
        """All weight: what circulates, and what roles add to it."""

    @property
    def roles(self) -> tuple[tuple[str, Role], ...]:
        """Accounts with a role, and the role."""

    @property
    def paused(self) -> tuple[PauseScope, ...]:
        """What is paused."""

    @property
    def upgrades(self) -> tuple[Upgrade, ...]:
        """Versions that were scheduled, by name."""

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Agents that were deployed, by digest."""

    @property
    def resolutions(self) -> tuple[Resolution, ...]:
        """Resolutions, in order."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Proposal:
    """A proposal as it stands."""

    __match_args__: Final = (
        "id",
        "author",
        "kind",
        "title",
        "description",
        "actions",
        "state",
        "snapshot_unix_ms",
        "deadline_unix_ms",
        "eta_unix_ms",
        "closed_unix_ms",
        "cancelled_by",
        "total",
        "quorum",
        "quorum_reached",
        "approval_ppm",
        "approved",
        "weighing",
        "power",
        "votes",
        "ballots",
    )
    def __new__(
        cls,
        id: str | UUID,
        author: str | UUID,
        kind: ProposalKind,
        title: str,
        description: str,
        actions: Sequence[Action],
        state: ProposalState,
        snapshot_unix_ms: int | None,
        deadline_unix_ms: int | None,
        eta_unix_ms: int | None,
        closed_unix_ms: int | None,
        cancelled_by: str | UUID | None,
        total: int | None,
        quorum: int | None,
        quorum_reached: bool,
        approval_ppm: int,
        approved: bool,
        weighing: Weighing,
        power: Tally,
        votes: Tally,
        ballots: int,
    ) -> Self: ...
    @property
    def id(self) -> str:
        """Names it, 32 hexadecimal digits."""

    @property
    def author(self) -> str:
        """Who made it."""

    @property
    def kind(self) -> ProposalKind:
        """What it is about."""

    @property
    def title(self) -> str:
        """In a line."""

    @property
    def description(self) -> str:
        """In full."""

    @property
    def actions(self) -> tuple[Action, ...]:
        """What it does, in order."""

    @property
    def state(self) -> ProposalState:
        """Where it is in its life."""

    @property
    def snapshot_unix_ms(self) -> int | None:
        """Weights count as they were at the end of this millisecond since 1970, and voting begins
        after it. `None` for a draft, like all that the rules decide when it is submitted.
        """

    @property
    def deadline_unix_ms(self) -> int | None:
        """The last millisecond to vote in since 1970, as far as is known: a late quorum moves it.
        """

    @property
    def eta_unix_ms(self) -> int | None:
        """When it may be executed, once it is queued, in milliseconds since 1970."""

    @property
    def closed_unix_ms(self) -> int | None:
        """When it was executed or cancelled, in milliseconds since 1970."""

    @property
    def cancelled_by(self) -> str | None:
        """Who cancelled it."""

    @property
    def total(self) -> int | None:
        """All weight at the snapshot, once that is past."""

    @property
    def quorum(self) -> int | None:
        """The power of votes for it and of abstentions that makes a quorum, once the snapshot is
        past.
        """

    @property
    def quorum_reached(self) -> bool:
        """Whether there is a quorum."""

    @property
    def approval_ppm(self) -> int:
        """The part of the votes for and against that must be for it, in millionths."""

    @property
    def approved(self) -> bool:
        """Whether that many are."""

    @property
    def weighing(self) -> Weighing:
        """How power becomes votes."""

    @property
    def power(self) -> Tally:
        """The power of those who voted, which a quorum is counted in."""

    @property
    def votes(self) -> Tally:
        """The votes that makes, which approval is counted in."""

    @property
    def ballots(self) -> int:
        """How many have voted. None once it is over: ballots are forgotten, the history has them.
        """

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Action:
    """What a proposal does when it is executed, one step of it. Each kind of proposal carries some
    of them: a parameter change sets parameters, a treasury allocation pays, a protocol upgrade
    schedules one and sets parameters, an agent deployment deploys, an emergency action pauses
    and unpauses, and a general proposal grants and revokes roles, unpauses and resolves.
    """

    __match_args__: Final = ("json",)
    def __new__(cls, json: str) -> Self: ...
    @property
    def json(self) -> str:
        """The action as JSON text, the same in every language."""

    @staticmethod
    def set_parameter(name: str, value: int) -> Action:
        """Sets a parameter of the economy."""

    @staticmethod
    def pay(to_account: str | UUID, amount: int, code: int = 0) -> Action:
        """Pays from the treasury. `code` says what for."""

    @staticmethod
    def grant_role(account: str | UUID, role: Role) -> Action:
        """Gives an account a role, in place of the one it had."""

    @staticmethod
    def revoke_role(account: str | UUID) -> Action:
        """Makes an account a citizen."""

    @staticmethod
    def schedule_upgrade(version: str, digest: str, activates_unix_ms: int) -> Action:
        """Announces a version that nodes are to run from a time on: the digest, 64 hexadecimal
        digits, of what is to be run.
        """

    @staticmethod
    def deploy_agent(agent: str, operator: str | UUID, budget: int) -> Action:
        """Registers an agent by its digest, and pays its budget from the treasury to its operator.
        """

    @staticmethod
    def pause(scope: PauseScope) -> Action:
        """Stops something until it is unpaused."""

    @staticmethod
    def unpause(scope: PauseScope) -> Action:
        """Lets something go on."""

    @staticmethod
    def resolve(text: str) -> Action:
        """Records a resolution: the digest of its text, 64 hexadecimal digits."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Governance:
    """Governance of a ledger: proposals, votes, delegation and roles, by the rules of its economy
    (parameters `dao.*`). `Ledger.governance` gives it.

    Each call is one transaction. What an account asks for is refused by `SignatureRequiredError`
    unless its owner has signed it: as an `Operation` of the same name in a `SignedBatch`, made on a
    device without a network if need be and handed over later. Only if the rules say otherwise
    (`dao.signatures_required` is 0) may the host speak for accounts, by the methods here. Weights
    are base units; topics are kinds of proposals.
    """

    def establish(
        self,
        id: str | UUID,
        roles: Sequence[tuple[str | UUID, Role]],
    ) -> EconomyReceipt:
        """Gives the founding roles, once. From then on the host sets no parameters and pays no
        rewards from treasury or mint: proposals do.

        Raises `AlreadyEstablishedError`, `GovernanceRefusedError`, `IdReusedError`.
        """

    def enrol(
        self,
        id: str | UUID,
        account: str | UUID,
    ) -> EconomyReceipt:
        """Lets an account vote with what it has from now on. Delegating and being granted a role do
        so too.

        Raises `SignatureRequiredError`, `AlreadyEnrolledError`, `UnknownAccountError`,
        `IdReusedError`.
        """

    def delegate(
        self,
        id: str | UUID,
        voter: str | UUID,
        to: Sequence[tuple[str | UUID, int]],
        topics: Sequence[ProposalKind] = (),
    ) -> EconomyReceipt:
        """Delegates parts of an account's votes, in millionths, in place of what it delegated
        before on those topics: on all of them if there are none. The rest stays with it; without
        delegates all does, which revokes.

        Raises `SignatureRequiredError`, `CircularDelegationError`, `DelegationTooComplexError`,
        `DelegationError`, `NothingDelegatedError`, `UnknownAccountError`, `IdReusedError`.
        """

    def set_reputation(
        self,
        id: str | UUID,
        account: str | UUID,
        reputation_ppm: int,
    ) -> EconomyReceipt:
        """Sets what an account's votes are counted by from now on, in millionths, where reputation
        counts.

        Raises `GovernanceRefusedError`, `UnknownAccountError`, `IdReusedError`.
        """

    def draft(
        self,
        id: str | UUID,
        author: str | UUID,
        proposal: str | UUID,
        kind: ProposalKind,
        title: str,
        description: str,
        actions: Sequence[Action],
    ) -> EconomyReceipt:
        """Keeps a proposal that is not submitted yet. `proposal` names it for ever.

        Raises `SignatureRequiredError`, `BelowThresholdError`, and what `propose` raises of its
        content, `IdReusedError`.
        """

    def submit(
        self,
        id: str | UUID,
        author: str | UUID,
        proposal: str | UUID,
    ) -> EconomyReceipt:
        """Submits a draft.

        Raises `SignatureRequiredError`, `UnknownProposalError`, `WrongStateError`,
        `NotPermittedError`, and what `propose` raises, `IdReusedError`.
        """

    def propose(
        self,
        id: str | UUID,
        author: str | UUID,
        proposal: str | UUID,
        kind: ProposalKind,
        title: str,
        description: str,
        actions: Sequence[Action],
    ) -> EconomyReceipt:
        """Submits a proposal that was no draft. `proposal` names it for ever. A title has 1 to 200
        characters, a description at most 16 KiB, and there are 1 to 16 actions.

        Raises `SignatureRequiredError`, `BelowThresholdError`, `TooManyProposalsError`,
        `ProposalExistsError`, and of its content `ProposalError`, `ControlCharacterError`,
        `NoActionsError`, `TooManyActionsError`, `ActionNotAllowedError`,
        `ParameterOutOfRangeError`, `UnknownParameterError`, `TreasuryShortError`,
        `ActionRefusedError`, `IdReusedError`.
        """

    def vote(
        self,
        id: str | UUID,
        voter: str | UUID,
        proposal: str | UUID,
        choice: Choice,
    ) -> EconomyReceipt:
        """Votes, or changes a vote. Who has delegated and votes takes that back for this proposal.

        Raises `SignatureRequiredError`, `UnknownProposalError`, `VotingNotStartedError`,
        `VotingOverError`, `NoVotingPowerError`, `AlreadyVotedError`, `TooManyVoteChangesError`,
        `UnknownChoiceError`, `IdReusedError`.
        """

    def cancel(
        self,
        id: str | UUID,
        by: str | UUID,
        proposal: str | UUID,
    ) -> EconomyReceipt:
        """Cancels a proposal: its author before voting begins, a guardian or a king until it is
        over.

        Raises `SignatureRequiredError`, `UnknownProposalError`, `NotPermittedError`,
        `IdReusedError`.
        """

    def queue(
        self,
        id: str | UUID,
        proposal: str | UUID,
    ) -> EconomyReceipt:
        """Starts the timelock of a proposal that has passed. Anybody may.

        Raises `UnknownProposalError`, `WrongStateError`, `IdReusedError`.
        """

    def execute(
        self,
        id: str | UUID,
        proposal: str | UUID,
    ) -> EconomyReceipt:
        """Does what a proposal says, all or nothing. Anybody may.

        Raises `UnknownProposalError`, `WrongStateError`, `TimelockRunningError`,
        `ActionFailedError`, `IdReusedError`.
        """

    def proposal(self, proposal: str | UUID) -> Proposal | None:
        """A proposal as it stands; `None` if there is none of that name."""

    def proposals(self, after: str | UUID | None = None, limit: int = 10000) -> tuple[Proposal, ...]:
        """Proposals with an id above `after`, by id: at most `limit`, at most 10,000."""

    def ballot(self, proposal: str | UUID, voter: str | UUID) -> Ballot | None:
        """What a voter has said about a proposal; `None` if it has not voted, or the proposal is
        over.

        Raises `UnknownProposalError`.
        """

    def power(self, account: str | UUID, topic: ProposalKind, unix_ms: int | None = None) -> VotingPower:
        """Where an account stands on a topic: now, or at the end of a millisecond since 1970 that
        is past.

        Raises `FutureLookupError`.
        """

    def total(self, unix_ms: int | None = None) -> int:
        """All weight: now, or at the end of a millisecond since 1970 that is past.

        Raises `FutureLookupError`.
        """

    def delegation(self, voter: str | UUID, topic: ProposalKind) -> tuple[tuple[str, int], ...]:
        """To whom an account delegates on a topic, and how many millionths."""

    def member(self, account: str | UUID) -> Member:
        """What an account is to governance."""

    def overview(self) -> GovernanceOverview:
        """What governance is beside its proposals."""

def purse_account(purse: str) -> str:
    """The account, 32 hexadecimal digits, of a purse of the economy, the same in every ledger:
    "bonded", "unbonding", "rewards", "insurance", "treasury", "sovereign_fund" or "mint".
    `Ledger.balance` and `Ledger.account` tell what is in it.
    """

@final
class Ledger:
    """Double-entry credits in a SQLite file, or in memory. Each call is one transaction.

    Ids are chosen by the caller, as 32 hexadecimal digits or a `uuid.UUID`: the same request under
    the same id moves nothing twice. Amounts are ints of base units.

    Calls wait for the disk without the interpreter's lock: in a coroutine, `await
    asyncio.to_thread(ledger.transfer, ...)`. What threads ask for at the same time shares one wait.
    """

    @staticmethod
    def open(
        path: str | PathLike[str],
        create: bool = True,
        *,
        durability: Durability = ...,
        snapshot_entries: int = 131072,
    ) -> Ledger:
        """Opens a ledger's file, or makes it unless `create` is false: then a mistyped name makes no
        new ledger. An empty file is a new ledger if one may be made, and none otherwise. Every
        change waits for the disk, unless `durability` says otherwise. A snapshot is made every
        `snapshot_entries` entries.

        Raises `StorageMissingError`, `StorageForeignError`, `StorageLockedError`,
        `StorageCorruptError`, `StorageReadOnlyError`, `StorageError`.
        """

    @staticmethod
    def in_memory() -> Ledger:
        """A ledger that ends with the process."""

    def execute(self, operations: Sequence[_Step]) -> Receipts:
        """Executes a batch as a whole or not at all. Gives a receipt for each operation.

        A transfer may be a tuple: id, account that gives, account that receives, amount.

        Raises `BatchEmptyError`, `BatchTooLargeError`, and what the operations raise.
        """

    def execute_signed(self, batch: SignedBatch) -> Receipts:
        """Executes a batch that the owner of an account has signed, as a whole or not at all.

        Raises `SignatureForgedError`, `SignatureReplayedError`, `NonceSkippedError`,
        `SignatureExpiredError`, `NoOwnerError`, `NotTheOwnerError`, `NotForOwnersError`, and what
        the operations raise.
        """

    def open_account(self, account: str | UUID, kind: AccountKind, *, asset: int = 0) -> Receipt:
        """Opens an account for an asset; 0 is credits. Raises `AccountExistsError`."""

    def transfer(
        self,
        id: str | UUID,
        from_account: str | UUID,
        to_account: str | UUID,
        amount: int,
        *,
        code: int = 0,
        reference: Buffer | None = None,
    ) -> Receipt:
        """Moves an amount. From an issuer it mints, to one it burns. `code` and `reference`, 16
        bytes, say what it is for; the ledger keeps them.

        Raises `InsufficientFundsError`, `UnknownAccountError`, `IdReusedError`, `ZeroAmountError`,
        `SameAccountError`, `AssetMismatchError`, `AccountClosedError`, `QuotaExceededError`,
        `SupplyExceededError`, `CreditsExceedDebitsError`, `AmountOverflowError`.
        """

    def reserve(
        self,
        id: str | UUID,
        from_account: str | UUID,
        to_account: str | UUID,
        amount: int,
        *,
        expires_unix_ms: int | None = None,
        code: int = 0,
        reference: Buffer | None = None,
    ) -> Receipt:
        """Holds an amount back for a later `post` or `void`, or until it expires. Raises like
        `transfer`, and `ExpiresInPastError`.
        """

    def post(self, id: str | UUID, reservation: str | UUID, amount: int | None = None) -> Receipt:
        """Moves a reserved amount, or part of it; what is left is released.

        Raises `UnknownReservationError`, `ReservationClosedError`, `ReservationExpiredError`,
        `PostExceedsReservationError`, `NotAReservationError`, `ZeroAmountError`, `IdReusedError`.
        """

    def void(self, id: str | UUID, reservation: str | UUID) -> Receipt:
        """Releases a reservation.

        Raises `UnknownReservationError`, `ReservationClosedError`, `ReservationExpiredError`,
        `NotAReservationError`, `IdReusedError`.
        """

    def limit(self, id: str | UUID, account: str | UUID, limits: AccountLimits) -> Receipt:
        """Sets all limits of an account anew. Raises `NotAnIssuerError`, `UnknownAccountError`,
        `AccountClosedError`, `IdReusedError`.
        """

    def close_account(self, id: str | UUID, account: str | UUID) -> Receipt:
        """Closes an account for good. Raises `AccountInUseError`, `UnknownAccountError`,
        `AccountClosedError`, `IdReusedError`.
        """

    def own(self, id: str | UUID, account: str | UUID, key: Buffer) -> Receipt:
        """Registers the key, 32 bytes, whose signatures move an account's money. Raises
        `UnknownAccountError`, `AccountClosedError`, `IdReusedError`.
        """

    def owner(self, account: str | UUID) -> bytes | None:
        """The key whose signatures move an account's money, if one was registered."""

    def next_nonce(self, account: str | UUID) -> int:
        """Number of the next signature for an account. Raises `NoOwnerError`."""

    def account(self, account: str | UUID) -> Account:
        """An account as it stands. Raises `UnknownAccountError`."""

    def accounts(self, after: str | UUID | None = None, limit: int = 10000) -> tuple[Account, ...]:
        """Accounts with an id above `after`, by id: at most `limit`, at most 10,000."""

    def balance(self, account: str | UUID) -> int:
        """What an account has, in base units, including what open reservations hold back. Raises
        `UnknownAccountError`.
        """

    def available(self, account: str | UUID) -> int:
        """What an account can spend, in base units: its balance less what open reservations hold
        back. Raises `UnknownAccountError`.
        """

    def balance_as_of(
        self, account: str | UUID, *, sequence: int | None = None, unix_ms: int | None = None
    ) -> Standing | None:
        """What an account had received and given after the entry of that sequence, or at that time;
        `None` if it was opened later. Raises `UnknownAccountError`.
        """

    def supply(self, asset: int = 0) -> int | None:
        """What all holders of an asset have together, in base units; `None` above 2**128 - 1."""

    def entry(self, id: str | UUID) -> Entry | None:
        """The entry that an id was used for, to learn what became of a request whose answer was
        lost.
        """

    def entries(self, after: int = 0, limit: int | None = None) -> Entries:
        """Iterates over the entries after that sequence, in order. They are read in pages as they
        are needed.
        """

    def history(self, account: str | UUID, after: int = 0, limit: int | None = None) -> Entries:
        """Iterates over the entries after that sequence that name the account, in order. They are
        read in pages as they are needed. Raises `UnknownAccountError` on the first.
        """

    @property
    def economy(self) -> Economy:
        """The economy of this ledger: staking, earning and parameters."""

    @property
    def governance(self) -> Governance:
        """Governance of this ledger: proposals, votes, delegation and roles."""

    def now(self) -> int:
        """The time at which an operation would happen now, in milliseconds since 1970: the wall
        clock's, or the one that was set.
        """

    def set_time(self, unix_ms: int | None = None) -> None:
        """Lets everything happen at that time from now on, in milliseconds since 1970, for
        simulations and tests, or at the wall clock's again if there is none. It is not part of the
        file.

        Nothing happens by this alone: `expire`, or the next call, does what the time brings.
        Staking and earning never go back: before the time of their last operation they raise
        `ClockBehindError`, also once the wall clock has its say again.
        """

    def expire(self) -> int:
        """Does what time brings: releases the reservations whose time has come, pays out stake that
        has left and frees stake that has moved. Says how many they were. Every other call does so
        first.
        """

    def head(self) -> Head:
        """Where the history ends."""

    def durability(self) -> Durability:
        """What a power cut may cost, as the file has it."""

    def verify(self) -> Verification:
        """Checks the whole history against its chain of digests and the balances.

        Raises `StorageCorruptError`.
        """

    def verify_since(self, checkpoint: Checkpoint, key: Buffer) -> Verification:
        """The same, and that this is the history of which `key` signed a checkpoint: nothing before
        that was rewritten since.

        Raises `CheckpointForgedError`, `CheckpointDiffersError`, `CheckpointMissingError`,
        `StorageCorruptError`.
        """

    def checkpoint(self, secret: Buffer) -> Checkpoint:
        """A statement about the ledger as it is now, signed with 32 secret bytes, for others to
        keep.
        """

    def check_integrity(self) -> None:
        """SQLite's own check of pages, indexes and rows. Raises `StorageCorruptError`."""

    def snapshot(self) -> None:
        """Makes a snapshot now, so that opening has nothing to carry out again."""

    def backup(self, path: str | PathLike[str]) -> None:
        """Copies the ledger into a new file, which is a ledger of its own. Raises
        `StorageExistsError`.
        """

    def export_history(
        self, path: str | PathLike[str], format: TextFormat | Literal["csv", "jsonl"] | None = None
    ) -> int:
        """Writes the history into a new file as text, and says how many entries that were. Without a
        format it is the one that the file's name tells: it ends with .csv or .jsonl.

        Raises `ArgumentError` if the name tells none, `StorageExistsError`, `StorageFullError`.
        """

    def import_history(
        self, path: str | PathLike[str], format: TextFormat | Literal["csv", "jsonl"] | None = None
    ) -> None:
        """Reads a history that `export_history` wrote into this ledger, which must be empty. Every
        entry is carried out again and must come out the same; all of them or nothing. Without a
        format it is the one that the file's name tells.

        Raises `ArgumentError` if the name tells none, `StorageNotEmptyError`, `TranscriptError`,
        `StorageCorruptError`.
        """

    def close(self) -> None:
        """Closes the file. Closing again does nothing; any other call raises `ClosedError`."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> None: ...

# --- Harvesting

@final
class Battery:
    """A reading of the battery: both values, or neither on a device without one."""

    __match_args__: Final = ("level_percent", "charging")
    ABSENT: ClassVar[Battery]
    """The device runs on mains power only."""

    def __new__(cls, level_percent: float | None = None, charging: bool | None = None) -> Self: ...
    @property
    def level_percent(self) -> float | None:
        """Charge in percent, 0 to 100."""

    @property
    def charging(self) -> bool | None:
        """Whether the device is connected to power."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class DeviceState:
    """One reading of a device's sensors, just now. `None` is a reading that could not be taken."""

    __match_args__: Final = (
        "device_class",
        "cpu_cores",
        "cpu_load",
        "memory_total_bytes",
        "memory_available_bytes",
        "battery",
        "battery_temperature_celsius",
        "temperature_celsius",
        "network",
        "metered",
        "screen_on",
        "user_idle",
        "minute_of_day",
    )
    def __new__(
        cls,
        device_class: DeviceClass,
        *,
        cpu_cores: int | None = None,
        cpu_load: float | None = None,
        memory_total_bytes: int | None = None,
        memory_available_bytes: int | None = None,
        battery: Battery | None = None,
        battery_temperature_celsius: float | None = None,
        temperature_celsius: float | None = None,
        network: Network = Network.UNKNOWN,
        metered: bool | None = None,
        screen_on: bool | None = None,
        user_idle: timedelta | None = None,
        minute_of_day: int | None = None,
    ) -> Self: ...
    @property
    def device_class(self) -> DeviceClass:
        """What kind of device this is."""

    @property
    def cpu_cores(self) -> int | None:
        """Logical processors."""

    @property
    def cpu_load(self) -> float | None:
        """Share of all processors that the owner's own work uses, 0 to 1."""

    @property
    def memory_total_bytes(self) -> int | None:
        """Memory installed."""

    @property
    def memory_available_bytes(self) -> int | None:
        """Memory that can be had without swapping."""

    @property
    def battery(self) -> Battery | None:
        """The battery."""

    @property
    def battery_temperature_celsius(self) -> float | None:
        """Temperature of the battery."""

    @property
    def temperature_celsius(self) -> float | None:
        """Highest temperature of the device itself."""

    @property
    def network(self) -> Network:
        """How the device reaches others."""

    @property
    def metered(self) -> bool | None:
        """Whether the network is paid for by volume."""

    @property
    def screen_on(self) -> bool | None:
        """Whether a screen is lit."""

    @property
    def user_idle(self) -> timedelta | None:
        """Time since the user last touched the device."""

    @property
    def minute_of_day(self) -> int | None:
        """Local time of day in minutes since midnight, 0 to 1439."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Budget:
    """How much may be used. All zero when refused."""

    __match_args__: Final = (
        "cpu_share",
        "memory_bytes",
        "bandwidth_bits_per_second",
    )
    def __new__(
        cls, cpu_share: float, memory_bytes: int, bandwidth_bits_per_second: int
    ) -> Self: ...
    @property
    def cpu_share(self) -> float:
        """Share of all processors together, 0 to 1."""

    @property
    def memory_bytes(self) -> int:
        """Memory."""

    @property
    def bandwidth_bits_per_second(self) -> int:
        """Bandwidth."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Reason:
    """One thing that contributed to a decision."""

    __match_args__: Final = ("code", "text", "objection")
    def __new__(cls, code: str, text: str, objection: bool) -> Self: ...
    @property
    def code(self) -> str:
        """A name for programs, which never changes."""

    @property
    def text(self) -> str:
        """A sentence for people."""

    @property
    def objection(self) -> bool:
        """Whether it alone is enough for an enforced policy to refuse."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Decision:
    """What a policy answers about a device at one moment."""

    __match_args__: Final = ("verdict", "budget", "reasons")
    def __new__(cls, verdict: Verdict, budget: Budget, reasons: Sequence[Reason]) -> Self: ...
    @property
    def verdict(self) -> Verdict:
        """Whether."""

    @property
    def budget(self) -> Budget:
        """How much."""

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Everything that speaks against lending, or for lending less, or is merely unknown."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class HarvestPolicy:
    """What the owner of a device permits. The defaults suit a phone that charges at night."""

    def __new__(cls) -> Self: ...
    @staticmethod
    def always() -> HarvestPolicy:
        """Allows whatever the state is; objections are only named."""

    @staticmethod
    def phone() -> HarvestPolicy:
        """What suits a phone or a tablet: stricter about its battery, and with a daily quota of bytes."""

    @staticmethod
    def from_toml(text: str) -> HarvestPolicy:
        """Reads a policy from TOML; what is not named keeps its default.

        Raises `PolicyError`.
        """

    def with_toml(self, text: str) -> HarvestPolicy:
        """Reads a policy from TOML; what is not named is as in this one, which stays as it is.

        Raises `PolicyError`.
        """

    def decide(self, state: DeviceState) -> Decision:
        """What the policy says of readings that were taken just now."""

    def decide_with_probe(self, state: DeviceState, probe: BatteryProbe) -> Decision:
        """The same with the battery read by `probe`. What that raises comes out unchanged."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

# --- Fog

@final
class Limits:
    """What a task may use before it is stopped."""

    __match_args__: Final = ("fuel", "memory_bytes", "output_bytes", "log_bytes", "wall")
    def __new__(
        cls,
        *,
        fuel: int = 1000000000,
        memory_bytes: int = 67108864,
        output_bytes: int = 1048576,
        log_bytes: int = 65536,
        wall: timedelta | None = None,
    ) -> Self: ...
    @property
    def fuel(self) -> int:
        """Work, about one unit for each simple instruction. At least 1."""

    @property
    def memory_bytes(self) -> int:
        """Linear memory and tables together: 64 KiB to 4 GiB."""

    @property
    def output_bytes(self) -> int:
        """Output: at most 1 MiB."""

    @property
    def log_bytes(self) -> int:
        """Log that is kept: at most 1 MiB. What is over it is dropped, and the task goes on."""

    @property
    def wall(self) -> timedelta | None:
        """Time, that in suspension left out: from 1 ms to a year. None leaves it to the fuel."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Usage:
    """What a task used."""

    __match_args__: Final = ("fuel", "memory_bytes_peak", "wall")
    def __new__(cls, fuel: int, memory_bytes_peak: int, wall: timedelta) -> Self: ...
    @property
    def fuel(self) -> int:
        """Work done: the same wherever the task runs."""

    @property
    def memory_bytes_peak(self) -> int:
        """Most memory held at once."""

    @property
    def wall(self) -> timedelta:
        """Wall time: differs from run to run."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class TaskOutput:
    """The result of a task that succeeded."""

    __match_args__: Final = ("output", "usage")
    def __new__(cls, output: Buffer, usage: Usage) -> Self: ...
    @property
    def output(self) -> bytes:
        """What the task returned."""

    @property
    def usage(self) -> Usage:
        """What it used."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class FogStats:
    """What a fog has done so far."""

    __match_args__: Final = (
        "succeeded",
        "failed",
        "available",
        "paid",
    )
    def __new__(cls, succeeded: int, failed: int, available: int, paid: int) -> Self: ...
    @property
    def succeeded(self) -> int:
        """Tasks that ended with an output."""

    @property
    def failed(self) -> int:
        """Tasks that ended otherwise."""

    @property
    def available(self) -> int:
        """What the owner can still spend, in base units."""

    @property
    def paid(self) -> int:
        """What was paid to workers, in base units."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class FogTask:
    """A task of a fog: await it, or wait for it on a thread, once; or cancel it."""

    @property
    def id(self) -> str:
        """The task's id, 32 hexadecimal digits."""

    def cancel(self) -> None:
        """Asks the task to stop: it ends with `CancelledError` unless it ends otherwise first."""

    def wait(self) -> TaskOutput:
        """Waits for the output on this thread. Ctrl-C cancels the task. Raises `TaskError`."""

    def __await__(self) -> Generator[Any, None, TaskOutput]: ...

@final
class Fog:
    """A fog inside this process: worker threads with sandboxes, a coordinator, and a ledger.

    Tasks are reserved for, placed, run and paid for as in a fog of many machines.
    """

    def __new__(
        cls,
        workers: int = 2,
        *,
        endowment: int = 1000000000000000000000000,
        price_per_gigafuel: int = 1000000000000000000,
        memory_bytes: int = 1073741824,
        seed: int = 0,
    ) -> Self:
        """Starts a fog of 1 to 1024 workers.

        `endowment` is what its owner starts with and `price_per_gigafuel` what a worker asks for
        10**9 fuel, both in base units; `memory_bytes` is what each worker lends; `seed` is that of
        the optimiser which places tasks.
        """

    def run(
        self, module: Buffer, data: Buffer, *, limits: Limits | None = None
    ) -> Awaitable[TaskOutput]:
        """Runs a WebAssembly module (ABI `fog-task/1`) on `data`; await its output.

        To cancel what awaits it cancels the task. Raises `TaskError`, `ClosedError`.
        """

    def run_blocking(
        self, module: Buffer, data: Buffer, *, limits: Limits | None = None
    ) -> TaskOutput:
        """Runs a task and waits for its output on this thread. Ctrl-C cancels it."""

    def submit(self, module: Buffer, data: Buffer, *, limits: Limits | None = None) -> FogTask:
        """Hands a task in."""

    def map(
        self,
        module: Buffer,
        inputs: Iterable[Buffer],
        *,
        limits: Limits | None = None,
        progress: Callable[[int, int], object] | bool | None = None,
    ) -> Coroutine[Any, Any, list[TaskOutput]]:
        """Runs a module on every input; await the outputs, in the order of the inputs.

        `progress` is called with how many have ended and how many there are, or is `True` for a bar
        on the standard error. Raises the first error, and cancels what is left then.
        """

    def stats(self) -> FogStats:
        """What the fog has done so far."""

    def close(self) -> None:
        """Stops the fog and its tasks. Closing again does nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> Awaitable[None]: ...

# --- Worker

@final
class TaskStatus:
    """Where a task of a worker is."""

    __match_args__: Final = (
        "state",
        "attempts",
        "failures",
        "preemptions",
        "checkpoints",
        "fraction_done",
        "log_bytes",
    )
    def __new__(
        cls,
        state: str,
        attempts: int,
        failures: int,
        preemptions: int,
        checkpoints: int,
        fraction_done: float,
        log_bytes: int,
    ) -> Self: ...
    @property
    def state(self) -> str:
        """`queued`, `running`, `suspended`, `succeeded`, `failed` and so on."""

    @property
    def attempts(self) -> int:
        """Attempts that were begun."""

    @property
    def failures(self) -> int:
        """Attempts that failed or vanished."""

    @property
    def preemptions(self) -> int:
        """Attempts that made way for the device's owner."""

    @property
    def checkpoints(self) -> int:
        """Number of its last checkpoint, from 1; 0 without one."""

    @property
    def fraction_done(self) -> float:
        """How much the running attempt says is done, 0 to 1: not to be trusted."""

    @property
    def log_bytes(self) -> int:
        """Log that was kept."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class WorkerStatus:
    """How a worker is."""

    __match_args__: Final = (
        "lends",
        "slots",
        "cpu_share",
        "state",
        "reasons",
        "readings",
        "probe_error",
        "store_error",
        "open",
        "running",
        "sessions",
        "lent",
    )
    def __new__(
        cls,
        lends: bool,
        slots: int,
        cpu_share: float,
        state: str | None,
        reasons: Sequence[Reason],
        readings: int,
        probe_error: str | None,
        store_error: str | None,
        open: int,
        running: int,
        sessions: int,
        lent: timedelta,
    ) -> Self: ...
    @property
    def lends(self) -> bool:
        """Whether tasks may run now."""

    @property
    def slots(self) -> int:
        """Tasks that may run at a time now."""

    @property
    def cpu_share(self) -> float:
        """Part of a processor that each of them may take, 0 to 1."""

    @property
    def state(self) -> str | None:
        """What the policy makes of the device: `idle`, `running`, `throttled`, `suspended`, `vacating`
        or `cooldown`; `None` without a policy, or before the first reading."""

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why."""

    @property
    def readings(self) -> int:
        """Readings that were looked at."""

    @property
    def probe_error(self) -> str | None:
        """What the probe raised, if the last reading failed."""

    @property
    def store_error(self) -> str | None:
        """Why the file cannot be written now, if it cannot."""

    @property
    def open(self) -> int:
        """Tasks that have not ended."""

    @property
    def running(self) -> int:
        """Tasks that run or are suspended."""

    @property
    def sessions(self) -> int:
        """Sessions ever begun under a policy."""

    @property
    def lent(self) -> timedelta:
        """How long compute was ever lent under a policy."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class TaskLog:
    """A piece of a task's log."""

    __match_args__: Final = ("data", "next", "ended")
    def __new__(cls, data: bytes, next: int, ended: bool) -> Self: ...
    @property
    def data(self) -> bytes:
        """The bytes."""

    @property
    def next(self) -> int:
        """Where the next piece begins, from the log's beginning."""

    @property
    def ended(self) -> bool:
        """Nothing will follow."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class WorkerTask:
    """A task of a worker: await its output, or wait for it on a thread, as often as you like.

    It is the worker's: forgetting this object does not end it.
    """

    @property
    def id(self) -> str:
        """The task's id, 32 hexadecimal digits, under which `Worker.task` finds it again."""

    def status(self) -> TaskStatus:
        """Where the task is."""

    def cancel(self) -> None:
        """Ends the task: its output is a `CancelledError` from now on."""

    def wait(self) -> TaskOutput:
        """Waits for the output on this thread. Raises `TaskError`."""

    def fetch(self) -> TaskOutput:
        """The output of a task that has ended; raises `TaskOpenError` before."""

    def read_log(self, start: int = 0, bytes_max: int = 65536) -> Awaitable[TaskLog]:
        """At most `bytes_max` bytes of the log from byte `start` on: as soon as there are some, or the
        task has ended."""

    def log(self) -> AsyncIterator[str]:
        """The lines of the log while the task writes them, for `async for`."""

    def __await__(self) -> Generator[Any, None, TaskOutput]: ...

@final
class Worker:
    """The tasks of this device: kept in a file, run in sandboxes, when the device's owner permits.

    What `submit` has returned is on disk. A worker that is made again with its file, also after a
    crash, goes on with its tasks from their last checkpoints. Without `path` they are in memory.

    With a `policy` or a `probe`, tasks run only while the policy allows it: they are slowed down,
    suspended, and make way. Without `policy` it is that of the device's class, without `probe` the
    device is read by its own sensors. A probe that raises makes the device unknown, and one that
    blocks makes its last reading grow old.
    """

    def __new__(
        cls,
        path: str | PathLike[str] | None = None,
        *,
        slots: int | None = None,
        memory_bytes: int = 4294967296,
        policy: HarvestPolicy | None = None,
        probe: DeviceProbe | None = None,
        reading_every: timedelta = ...,
    ) -> Self: ...
    def submit(
        self,
        module: Buffer,
        data: Buffer,
        *,
        limits: Limits | None = None,
        key: str | None = None,
    ) -> WorkerTask:
        """Hands a task in: a WebAssembly module (ABI `fog-task`) and its input. Returns when it is on
        disk; await the task for its output.

        Handed in again with its `key`, it is the same task. Raises `ArgumentError`, `StorageError`.
        """

    def submit_all(
        self,
        module: Buffer,
        inputs: Sequence[Buffer],
        *,
        limits: Limits | None = None,
        key: str | None = None,
    ) -> tuple[WorkerTask, ...]:
        """Hands in a task for each input, all or none."""

    def run_blocking(
        self, module: Buffer, data: Buffer, *, limits: Limits | None = None
    ) -> TaskOutput:
        """Runs a task and waits for its output on this thread."""

    def map(
        self,
        module: Buffer,
        inputs: Iterable[Buffer],
        *,
        limits: Limits | None = None,
        progress: Callable[[int, int], object] | bool | None = None,
    ) -> Coroutine[Any, Any, list[TaskOutput]]:
        """Runs a module on every input; await the outputs, in the order of the inputs.

        `progress` is called with how many have ended and how many there are, or is `True` for a bar
        on the standard error. Raises the first error, and cancels what is left then.
        """

    def task(self, id: str | UUID) -> WorkerTask:
        """The task of that id, whoever handed it in. Raises `UnknownTaskError`."""

    def status(self) -> WorkerStatus:
        """How the worker is."""

    def set_policy(self, policy: HarvestPolicy) -> None:
        """Goes on under another policy. Without effect on a worker that was made without one."""

    def look(self) -> None:
        """Reads the device now, and not only when it is due."""

    def close(self) -> None:
        """Stops running tasks, which go on when the worker is made again, and closes the file. Closing
        again does nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> Awaitable[None]: ...

# --- For this package and its tests

# --- Mesh

@final
class MeshEvent:
    """Something that happened to a mesh node. What its kind does not have is `None`, 0 or empty.

    Kinds: `peer_joined`, `peer_left`, `peer_changed`, `session_ready`, `public`, `private`,
    `delivery`, `passed`, `file`, `voice`, `group`, `group_message`, `call`, `other`, `file_offered`,
    `file_progress`, `file_received`, `file_failed`, `link_up`, `link_down`, `radio_failed`.
    """

    @property
    def kind(self) -> str:
        """What it tells."""

    @property
    def peer(self) -> str | None:
        """Whom it is about: who wrote, sent, offers, joined. 16 hexadecimal digits."""

    @property
    def id(self) -> str | None:
        """What a message is known by."""

    @property
    def text(self) -> str | None:
        """A message's text; the name of a file, which came from somebody else: no path to write to; or what
        a radio raised."""

    @property
    def mime(self) -> str | None:
        """A file's media type."""

    @property
    def at_ms(self) -> int | None:
        """When a message was written, says its writer, in milliseconds since 1970."""

    @property
    def via(self) -> str | None:
        """The neighbour a message came from, if it is known."""

    @property
    def protection(self) -> str | None:
        """What a message was encrypted with: `ratchet`, a key of its own that is gone once it is read;
        `noise`, the keys of a session, which last up to a day, or of an envelope; in a group `group_key`,
        which lasts until the group changes, or `sender_key`, its writer's, which moves on.
        """

    @property
    def hops(self) -> int:
        """Hops that a message seems to have taken; 0 if somebody carried it. Nothing proves the number.
        """

    @property
    def passing(self) -> str | None:
        """What a neighbour did with a message of ours: it was `given`, it `passed_on`, it `has` the message,
        or `carries` it.
        """

    @property
    def state(self) -> str | None:
        """How far a message of ours has come: `waiting`, `sent`, `relayed`, `delivered`, `read` or
        `given_up`.
        """

    @property
    def group(self) -> str | None:
        """The group, 32 hexadecimal digits."""

    @property
    def file(self) -> str | None:
        """What names a file that is offered, 64 hexadecimal digits."""

    @property
    def is_private(self) -> bool:
        """Whether it is for this peer alone."""

    @property
    def is_sent(self) -> bool:
        """Whether a file goes from here."""

    @property
    def done(self) -> int:
        """Bytes of a file that have come, or were asked for and sent."""

    @property
    def length(self) -> int:
        """Bytes of a file."""

    @property
    def path(self) -> Path | None:
        """Where a file is that is whole."""

    @property
    def why(self) -> str | None:
        """Why a file was given up: `missing`, `silent` or `disk`."""

    @property
    def content(self) -> bytes:
        """The content of a file that came in one piece, or the body of what is encoded."""

    @property
    def number(self) -> int:
        """The number of a link, of a radio (0 is the first one), or of the type of something unknown."""

@final
class MeshPeer:
    """What is known of a peer of the mesh."""

    @property
    def id(self) -> str:
        """Who: 16 hexadecimal digits."""

    @property
    def nickname(self) -> str:
        """What it wants to be called."""

    @property
    def noise_key(self) -> bytes:
        """Its key for sessions, 32 bytes."""

    @property
    def is_reachable(self) -> bool:
        """Whether it was heard of in the last minute."""

    @property
    def is_linked(self) -> bool:
        """Whether it has a link here."""

    @property
    def has_session(self) -> bool:
        """Whether there is a session with it."""

    @property
    def has_ratchet(self) -> bool:
        """Whether private messages to it are under keys of their own."""

    @property
    def neighbours(self) -> tuple[str, ...]:
        """Whom it has links to, says it."""

@final
class MeshGroup:
    """A group of the mesh that this peer is in."""

    @property
    def id(self) -> str:
        """The group, 32 hexadecimal digits."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def members(self) -> tuple[str, ...]:
        """Who is in it, the one who made it first."""

    @property
    def is_large(self) -> bool:
        """Whether each member writes under a key of its own."""

@final
class MeshMessage:
    """A message of a mesh node's history."""

    @property
    def number(self) -> int:
        """Its number: what came or was sent later has a higher one."""

    @property
    def id(self) -> str:
        """What sender and receiver know it by."""

    @property
    def peer(self) -> str:
        """Who wrote it; of a private one from here, whom it is for."""

    @property
    def is_own(self) -> bool:
        """Whether it was written here."""

    @property
    def is_private(self) -> bool:
        """Whether it is for one peer."""

    @property
    def group(self) -> str | None:
        """The group it is for, if it is for one."""

    @property
    def text(self) -> str:
        """Its text."""

    @property
    def at_ms(self) -> int:
        """When it was written, says its writer, in milliseconds since 1970."""

    @property
    def state(self) -> str:
        """How far one from here has come."""

    @property
    def via(self) -> str | None:
        """The neighbour it came from, if it is known."""

    @property
    def hops(self) -> int:
        """Hops it seems to have taken; 0 if that is not known."""

@final
class RadioInbox:
    """Where a radio that Python writes tells what happens, from any thread.

    Peers are bytes, as the radio names them; connections are numbers, none of which is used twice.
    """

    def adapter(self, is_on: bool) -> None:
        """Bluetooth was turned on or off. A radio begins on."""

    def discovered(self, peer: Buffer, rssi_dbm: int, service_data: Buffer | None = None) -> bool:
        """An advert with the service was heard, so loud in dBm, with this service data."""

    def connected(self, link: int, peer: Buffer, is_central: bool, mtu: int) -> None:
        """There is a connection, which this side or the other began."""

    def connect_failed(self, peer: Buffer) -> None:
        """A connection that was asked for could not be made."""

    def mtu_changed(self, link: int, mtu: int) -> None:
        """Another MTU was agreed on."""

    def subscribed(self, link: int) -> None:
        """Notifications go now."""

    def unsubscribed(self, link: int) -> None:
        """They go no more."""

    def received(self, link: int, value: Buffer) -> bool:
        """A value came: a write to this side, or a notification. `False` when it was not taken: end the
        connection then, or do not answer the write.
        """

    def writable(self, link: int) -> None:
        """After a write or notification was refused: there is room again."""

    def disconnected(self, link: int, by_this_side: bool) -> None:
        """A connection has ended, by this side or not."""

    def stopped(self, is_scanning: bool) -> None:
        """Scanning, or advertising, ended, and not because it was told to."""

@final
class MeshNode:
    """A peer of a BitChat mesh that runs on a thread of this process: over TCP, over radios, and to
    other nodes of the program.

    `async for event in node` receives what happens until the node is closed. What it says was sent
    or received is on disk, if it has a file.
    """

    def __new__(
        cls,
        nickname: str = "anonymous",
        *,
        file: str | PathLike[str] | None = None,
        listen: Sequence[str] = (),
        connect: Sequence[str] = (),
        events_max: int = 4096,
        fog_key: Buffer | None = None,
        fog_period: timedelta = ...,
    ) -> Self:
        """Starts a node.

        `file` is where it keeps its secrets, what waits to be delivered, and its messages; without one
        it is a new peer at every start. It accepts links at the addresses `listen`, and keeps links with
        whoever is at those of `connect`. When `events_max` events wait to be received, the oldest are
        dropped.

        With `fog_key`, 32 random bytes that the members of a fog share, it talks to them alone, sealed on
        the air and under identifiers that change every `fog_period` (at least ten seconds, and the same
        for all members), and to nobody who has not got the key, the BitChat apps among them. Raises
        `ListenError`, `MeshContentError`, `ArgumentError`, `StorageError`.
        """

    @property
    def id(self) -> str:
        """Who this is: 16 hexadecimal digits."""

    @property
    def air_id(self) -> str:
        """What this peer is called on the air now: something else after a while if it talks only to the
        members of a fog, and `id` if not.
        """

    @property
    def nickname(self) -> str:
        """What this peer is called."""

    def set_nickname(self, nickname: str) -> None:
        """Gives this peer another name. Raises `MeshContentError`."""

    def listen(self, address: str = "127.0.0.1:0") -> str:
        """Accepts TCP links at an address; returns it, with the port that was chosen where 0 was asked for.

        Raises `ListenError`.
        """

    @property
    def listening(self) -> tuple[str, ...]:
        """Addresses that TCP links are accepted on."""

    def connect(self, address: str) -> None:
        """Keeps a TCP link with whoever answers at an address: it is dialled again when it ends."""

    def disconnect(self, address: str) -> bool:
        """Keeps no link with an address any more. `False` if it kept none."""

    def link_with(self, other: MeshNode) -> None:
        """Makes a link to another node of this program, without any socket."""

    def add_radio(self, radio: BleRadio) -> None:
        """Talks over a radio too: an object with the methods of `BleRadio`.

        Its `limits` and then its `attach` are called at once, the latter with the inbox in which it tells
        what happens; the others run on the node's thread. Raises `MeshBusyError` for a ninth radio, and
        what those two do.
        """

    def send_public(self, text: str) -> str:
        """Writes to everybody near; returns what the message is known by. Raises `MeshContentError`.
        """

    def send_private(self, peer: str, text: str) -> str:
        """Writes to one peer; returns what the message is known by.

        It is kept, and on disk if there is a file, and sent until the peer has it or a day has passed.
        Raises `UnknownPeerError`, `MeshContentError`, `MeshBusyError`.
        """

    def mark_read(self, peer: str, id: str) -> None:
        """Tells a peer that the user saw its message. Raises `UnknownPeerError`, `MeshBusyError`.
        """

    def create_group(self, name: str, members: Iterable[str]) -> str:
        """Makes a group of this peer and others who are known, and invites them; returns its identifier.

        Raises `UnknownPeerError`, `MeshContentError`, `MeshBusyError`.
        """

    def create_large_group(self, name: str, members: Iterable[str]) -> str:
        """Makes a group of up to 255, each of whom writes under a key of its own; returns its identifier.

        All have to be of this library; they are told when they are there. It is changed, written to and
        left as any other. Raises `NotUnderstoodError`, and what `create_group` does.
        """

    def change_group(self, group: str, members: Iterable[str]) -> None:
        """Changes who is in a group of ours, and gives it another key, a large one other keys.

        Raises `UnknownGroupError`, `NotGroupCreatorError`, and what `create_group` does.
        """

    def leave_group(self, group: str) -> bool:
        """Leaves a group; nobody is told. `False` if this peer is in no such group."""

    def send_group(self, group: str, text: str) -> str:
        """Writes to a group; returns what the message is known by.

        Raises `UnknownGroupError`, `MeshContentError`.
        """

    def groups(self) -> tuple[MeshGroup, ...]:
        """Groups this peer is in."""

    def send_file(
        self, peer: str | None, content: Buffer, *, name: str | None = None, mime: str | None = None
    ) -> None:
        """Sends a file of at most a MiB in one piece, to one peer, or with `None` to everybody near.

        It is sent once; what is lost is not sent again. Raises `UnknownPeerError`, `MeshContentError`,
        `MeshBusyError`.
        """

    def offer_file(
        self, peer: str, path: str | PathLike[str], *, mime: str = "application/octet-stream"
    ) -> str:
        """Offers a file on disk of at most a GiB to a peer, which takes it in chunks; returns what the
        file is known by.

        It is read when it is asked for: leave it as it is until then. Raises `NotUnderstoodError` for
        peers that are not of this library, `UnknownPeerError`, `MeshContentError`, `MeshBusyError`,
        `StorageError`.
        """

    def accept_file(self, file: str, path: str | PathLike[str]) -> None:
        """Takes a file that was offered, and writes it to `path`: to `path.part` until it is whole.

        What is at `path` stays as it is. Raises `StorageExistsError` then, `UnknownFileError`,
        `MeshBusyError`, `StorageError`.
        """

    def cancel_file(self, file: str) -> bool:
        """Offers a file no longer, or does not take the rest of it. `False` if there is no such file.
        """

    def peers(self) -> tuple[MeshPeer, ...]:
        """Peers that are known."""

    def history(
        self,
        limit: int = 100,
        *,
        before: int | None = None,
        peer: str | None = None,
        group: str | None = None,
    ) -> tuple[MeshMessage, ...]:
        """The newest messages with numbers below `before`, the newest first: all, those with one peer, or
        those of one group. Without a file those since the start.
        """

    def delete_message(self, number: int) -> bool:
        """Deletes a message from the history, by its number; from here alone. `False` if there is none.
        """

    def stats(self) -> dict[str, int]:
        """What it counted since its start: `links`, `bytes_in`, `bytes_out`, `events_dropped`, `carried`,
        `waiting`, and what the rules did and refused.
        """

    def try_receive(self) -> MeshEvent | None:
        """The next event, if one is there."""

    def receive(self) -> Coroutine[Any, Any, MeshEvent]:
        """Await the next event. None is lost if that is cancelled.

        Raises `ClosedError`.
        """

    def receive_blocking(self, within: timedelta | None = None) -> MeshEvent | None:
        """The next event. Waits for it on this thread, and returns `None` after `within`."""

    def _readable(self) -> Awaitable[None]: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, MeshEvent]: ...
    def close(self) -> None:
        """Says goodbye and ends the node.

        Events that came before can still be received, then receiving ends with `ClosedError`. Closing
        again does nothing.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> Awaitable[None]: ...

# --- A fog of processes

@final
class JobStatus:
    """How a job of a fog stands."""

    __match_args__: Final = (
        "id",
        "account",
        "priority",
        "privacy",
        "submitted_unix_ms",
        "succeeded",
        "failed",
        "lost",
        "cancelled",
        "open",
        "paid",
        "reserved",
        "released",
    )
    def __new__(
        cls,
        id: str,
        account: str,
        priority: Priority,
        privacy: str,
        submitted_unix_ms: int,
        succeeded: int,
        failed: int,
        lost: int,
        cancelled: int,
        open: int,
        paid: int,
        reserved: int,
        released: int,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...
    @property
    def id(self) -> str:
        """The job, 32 hexadecimal digits."""

    @property
    def account(self) -> str:
        """Who pays for it."""

    @property
    def priority(self) -> Priority:
        """How urgent it is."""

    @property
    def privacy(self) -> str:
        """How well its tasks are hidden: `public`, `private`, `confidential` or `secret`."""

    @property
    def submitted_unix_ms(self) -> int:
        """When it was submitted, by the coordinator's clock."""

    @property
    def succeeded(self) -> int:
        """Tasks that ended with an output."""

    @property
    def failed(self) -> int:
        """Tasks that ended with an error."""

    @property
    def lost(self) -> int:
        """Tasks that were given up after their last attempt."""

    @property
    def cancelled(self) -> int:
        """Tasks that were cancelled."""

    @property
    def open(self) -> int:
        """Tasks that have not ended."""

    @property
    def paid(self) -> int:
        """What was paid for its tasks."""

    @property
    def reserved(self) -> int:
        """What is reserved for those that have not ended."""

    @property
    def released(self) -> int:
        """What was reserved and came back."""

@final
class JobTask:
    """How a task of a job stands."""

    __match_args__: Final = (
        "id",
        "job",
        "state",
        "attempts",
        "node",
        "paid",
        "changed_unix_ms",
    )
    def __new__(
        cls,
        id: str,
        job: str,
        state: str,
        attempts: int,
        node: str | None,
        paid: int,
        changed_unix_ms: int,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...
    @property
    def id(self) -> str:
        """The task, 32 hexadecimal digits."""

    @property
    def job(self) -> str:
        """Its job."""

    @property
    def state(self) -> str:
        """`queued`, `assigned`, `succeeded`, `failed`, `cancelled` or `lost`."""

    @property
    def attempts(self) -> int:
        """Attempts that were begun."""

    @property
    def node(self) -> str | None:
        """The node that has it, or had it last."""

    @property
    def paid(self) -> int:
        """What was paid for it."""

    @property
    def changed_unix_ms(self) -> int:
        """When it last changed, by the coordinator's clock."""

@final
class FogEvent:
    """Something that happened in a fog. What its kind does not have is `None` or 0.

    Kinds: `admitted`, `assigned`, `queued`, `ended`, `job_ended`, and `lagged` when events are
    forgotten because the watcher was away for so long.
    """

    __match_args__: Final = (
        "kind",
        "number",
        "at_unix_ms",
        "job",
        "task",
        "node",
        "attempts",
        "state",
        "paid",
        "tasks",
        "missed",
    )
    def __new__(
        cls,
        kind: str,
        number: int,
        at_unix_ms: int | None,
        job: str | None,
        task: str | None,
        node: str | None,
        attempts: int,
        state: str | None,
        paid: int,
        tasks: int,
        missed: int,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...
    @property
    def kind(self) -> str:
        """What it tells."""

    @property
    def number(self) -> int:
        """Its number: watching goes on behind it."""

    @property
    def at_unix_ms(self) -> int | None:
        """When it was, by the coordinator's clock."""

    @property
    def job(self) -> str | None:
        """The job it is about."""

    @property
    def task(self) -> str | None:
        """The task it is about."""

    @property
    def node(self) -> str | None:
        """The node a task goes to."""

    @property
    def attempts(self) -> int:
        """The attempt that begins, from 1, or the attempts that were begun."""

    @property
    def state(self) -> str | None:
        """How a task ended."""

    @property
    def paid(self) -> int:
        """What was paid for a task that ended."""

    @property
    def tasks(self) -> int:
        """Tasks of a job that was admitted."""

    @property
    def missed(self) -> int:
        """Events that are forgotten; 0 if nobody can tell how many."""

@final
class FogPlace:
    """Where a node is among the others: distances are round trip times."""

    __match_args__: Final = (
        "position_ms",
        "height_ms",
        "error",
    )
    def __new__(
        cls,
        position_ms: tuple[float, float, float],
        height_ms: float,
        error: float,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...
    @property
    def position_ms(self) -> tuple[float, float, float]:
        """Along three axes, in milliseconds."""

    @property
    def height_ms(self) -> float:
        """How long the way to the network's core is, in milliseconds."""

    @property
    def error(self) -> float:
        """By which share of a distance it expects to be wrong."""

@final
class FogMember:
    """A node of a fog, as its coordinator knows it."""

    __match_args__: Final = (
        "id",
        "layer",
        "kind",
        "address",
        "status",
        "barred",
        "linked",
        "cpu_millis",
        "memory_bytes",
        "free_cpu_millis",
        "free_memory_bytes",
        "fuel_per_second",
        "price_per_gigafuel",
        "latency_ms",
        "trust",
        "running",
        "waiting",
        "place",
    )
    def __new__(
        cls,
        id: str,
        layer: int | None,
        kind: str,
        address: str,
        status: str,
        barred: bool,
        linked: bool,
        cpu_millis: int,
        memory_bytes: int,
        free_cpu_millis: int,
        free_memory_bytes: int,
        fuel_per_second: int,
        price_per_gigafuel: int,
        latency_ms: float,
        trust: float,
        running: int,
        waiting: int,
        place: FogPlace | None,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...
    @property
    def id(self) -> str:
        """The node, 64 hexadecimal digits."""

    @property
    def layer(self) -> int | None:
        """The mix layer it is in; `None` for a node that computes."""

    @property
    def kind(self) -> str:
        """`edge_device`, `relay`, `mixnode`, `compute` or `gateway`."""

    @property
    def address(self) -> str:
        """Where it accepts links."""

    @property
    def status(self) -> str:
        """`active`, `idle`, `busy`, `suspect`, `draining`, `maintenance` or `offline`."""

    @property
    def barred(self) -> bool:
        """Whether it is left alone because it failed at its tasks."""

    @property
    def linked(self) -> bool:
        """Whether its link to the coordinator is up."""

    @property
    def cpu_millis(self) -> int:
        """Thousandths of a processor that it lends."""

    @property
    def memory_bytes(self) -> int:
        """Memory that it lends."""

    @property
    def free_cpu_millis(self) -> int:
        """Thousandths of a processor that nothing is promised of."""

    @property
    def free_memory_bytes(self) -> int:
        """Memory that nothing is promised of."""

    @property
    def fuel_per_second(self) -> int:
        """Fuel one of its processors burns in a second."""

    @property
    def price_per_gigafuel(self) -> int:
        """Base units it asks for 10⁹ fuel."""

    @property
    def latency_ms(self) -> float:
        """Time of a message to it and back."""

    @property
    def trust(self) -> float:
        """How likely it is to finish what it takes, 0 to 1."""

    @property
    def running(self) -> int:
        """Tasks it has."""

    @property
    def waiting(self) -> int:
        """Tasks that wait for it."""

    @property
    def place(self) -> FogPlace | None:
        """Where it is among the others, once round trips were measured."""

@final
class FogSnapshot:
    """The compute nodes of a fog at one moment, in numbers."""

    __match_args__: Final = (
        "at_unix_ms",
        "kinds",
        "statuses",
        "cpu_millis",
        "memory_bytes",
        "free_cpu_millis",
        "free_memory_bytes",
        "running",
        "waiting",
    )
    def __new__(
        cls,
        at_unix_ms: int,
        kinds: Sequence[tuple[str, int]],
        statuses: Sequence[tuple[str, int]],
        cpu_millis: int,
        memory_bytes: int,
        free_cpu_millis: int,
        free_memory_bytes: int,
        running: int,
        waiting: int,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...
    @property
    def at_unix_ms(self) -> int:
        """When, by the coordinator's clock."""

    @property
    def kinds(self) -> tuple[tuple[str, int], ...]:
        """How many of each kind, those that are gone included."""

    @property
    def statuses(self) -> tuple[tuple[str, int], ...]:
        """How many of each status."""

    @property
    def cpu_millis(self) -> int:
        """Thousandths of a processor that those lend that are there."""

    @property
    def memory_bytes(self) -> int:
        """Memory that they lend."""

    @property
    def free_cpu_millis(self) -> int:
        """Thousandths of a processor that nothing is promised of."""

    @property
    def free_memory_bytes(self) -> int:
        """Memory that nothing is promised of."""

    @property
    def running(self) -> int:
        """Tasks that run on them."""

    @property
    def waiting(self) -> int:
        """Tasks that wait for them."""

@final
class FogTopology:
    """What a fog looks like."""

    __match_args__: Final = (
        "at_unix_ms",
        "coordinator",
        "place",
        "members",
        "history",
    )
    def __new__(
        cls,
        at_unix_ms: int,
        coordinator: str,
        place: FogPlace,
        members: Sequence[FogMember],
        history: Sequence[FogSnapshot],
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...
    @property
    def at_unix_ms(self) -> int:
        """When, by the coordinator's clock."""

    @property
    def coordinator(self) -> str:
        """The coordinator, 64 hexadecimal digits."""

    @property
    def place(self) -> FogPlace:
        """Where the coordinator is among its nodes."""

    @property
    def members(self) -> tuple[FogMember, ...]:
        """Every node that is there."""

    @property
    def history(self) -> tuple[FogSnapshot, ...]:
        """How it was before, the oldest first: at most 100 snapshots since the coordinator was started.
        """

@final
class FogNodeStatus:
    """How a node of a fog is, as far as it can tell itself."""

    __match_args__: Final = (
        "joined",
        "lends",
        "trouble",
        "ended",
    )
    def __new__(
        cls,
        joined: bool,
        lends: bool,
        trouble: str | None,
        ended: bool,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...
    @property
    def joined(self) -> bool:
        """Whether its coordinator has let it in, on the link that is there now."""

    @property
    def lends(self) -> bool:
        """Whether it lends compute now."""

    @property
    def trouble(self) -> str | None:
        """Why it was not let in, or could not reach its coordinator, the last time that it tried.
        """

    @property
    def ended(self) -> bool:
        """Whether it has ended."""

@final
class FogClient:
    """Asks the coordinator of a fog: submits jobs, fetches results, watches what happens, drains nodes.

    Calls are awaited. The link is made at the first of them and again whenever it ends; what was not
    answered is asked again, and nothing is done twice. A call that takes longer than `patience` raises
    `CoordinatorUnreachableError` or `CoordinatorSilentError`.
    """

    def __new__(
        cls,
        token: str,
        *,
        patience: timedelta = ...,
    ) -> Self:
        """`token` is the text of a token's file, as `FogCoordinator.issue_token` and
        `fogcompute token issue` make it. Raises `TokenError`.
        """

    @staticmethod
    def open(path: str | PathLike[str], *, patience: timedelta = ...) -> FogClient:
        """A client with the token in a file. Raises `TokenError`, `StorageError`."""

    def submit(
        self,
        module: Buffer,
        inputs: Sequence[Buffer],
        *,
        limits: Limits | None = None,
        priority: Priority | None = None,
        privacy: str = "private",
        max_price: int = 1_000_000_000_000_000_000,
        fuel_estimate: int | None = None,
        id: str | UUID | None = None,
        host_calls: bool = False,
    ) -> Awaitable[JobStatus]:
        """Submits a job that runs a WebAssembly module once on each input; await how it stands, once it is
        on the coordinator's disk.

        Each task may cost `max_price` base units, which are reserved until it has ended.
        `fuel_estimate` is the work each will take, a tenth of its limit if it is not said. `priority` is
        `Priority.NORMAL` if it is not said. `privacy` is `public`, `private`, `confidential` or `secret`.
        `host_calls` lets tasks write a log, tell their progress and keep checkpoints. A job that is
        submitted again with its `id` is the same job. Raises `JobError`, `InfeasibleError` if no node
        could take a task of it, `CoordinatorBusyError`, `InsufficientFundsError`, `TokenUsedUpError`.
        """

    def job(self, job: str | UUID) -> Awaitable[JobStatus]:
        """Await how a job stands. Raises `UnknownTaskError`."""

    def jobs(self, limit: int = 100) -> Awaitable[tuple[JobStatus, ...]]:
        """Await the latest jobs of the account, at most `limit`, and never more than 1,000."""

    def wait(self, job: str | UUID) -> Awaitable[JobStatus]:
        """Await the end of all tasks of a job, and how it stands then. Raises `UnknownTaskError`.
        """

    def tasks(self, job: str | UUID) -> Awaitable[tuple[JobTask, ...]]:
        """Await the tasks of a job, in the order of its inputs. Raises `UnknownTaskError`."""

    def task(self, task: str | UUID) -> Awaitable[JobTask]:
        """Await how a task stands. Raises `UnknownTaskError`."""

    def result(self, task: str | UUID) -> Awaitable[TaskOutput]:
        """Await the output of a task that has ended.

        Raises the `TaskError` it ended with, `TaskOpenError` if it has not ended, `NoResultError` if it
        was cancelled, given up or is forgotten, `UnknownTaskError`.
        """

    def log(self, task: str | UUID) -> Awaitable[str]:
        """Await what a task that has ended wrote to its log, the end of it if it was more than 64 KiB: empty
        if it wrote nothing, was granted no host calls, or its log is forgotten.

        Raises `TaskOpenError` if it has not ended, `UnknownTaskError`.
        """

    def cancel(self, job: str | UUID) -> Awaitable[int]:
        """Ends what has not ended of a job; await how many tasks that were. Raises `UnknownTaskError`.
        """

    def cancel_task(self, task: str | UUID) -> Awaitable[bool]:
        """Ends a task; await whether it had not ended. Raises `UnknownTaskError`."""

    def drain(self, node: str) -> Awaitable[None]:
        """Gives a compute node no more tasks; it finishes what it has. Raises `UnknownNodeError`.
        """

    def undrain(self, node: str) -> Awaitable[None]:
        """Gives a compute node tasks again. Raises `UnknownNodeError`."""

    def topology(self) -> Awaitable[FogTopology]:
        """Await what the fog looks like."""

    def metrics(self) -> Awaitable[str]:
        """Await what the coordinator counts, in the text format of Prometheus."""

    def last_event(self) -> Awaitable[int]:
        """Await the number of the last thing that happened."""

    def watch(self, after: int = 0) -> FogWatch:
        """What happens to jobs of the account after the event of that number, for `async for`: by default
        everything that is remembered.

        Nothing is missed and nothing comes twice, also if the coordinator is started again meanwhile.
        """

    def close(self) -> None:
        """Ends the client: what was asked and not answered raises `ClosedError`, and watching ends. Closing
        again does nothing.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> Awaitable[None]: ...

@final
class FogWatch:
    """What happens in a fog, in order: `async for event in watch`, until it or its client is closed.

    An error ends the loop, for instance while the coordinator is away for longer than the client is
    patient; another loop over the same object goes on where that was.
    """

    @property
    def last(self) -> int:
        """The number of the last event that was received: another watch goes on behind it."""

    def try_receive(self) -> FogEvent | None:
        """The next event, if one is there. Raises what keeps it from watching."""

    def receive(self) -> Coroutine[Any, Any, FogEvent]:
        """Await the next event. None is lost if that is cancelled."""

    def _readable(self) -> Awaitable[None]: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, FogEvent]: ...
    def close(self) -> None:
        """Watches no more. What has come can still be received, then receiving ends with `ClosedError`.
        """

@final
class FogNode:
    """A node of a fog in this process: it runs the fog's tasks when its policy allows it, or with `layer`
    mixes packets in that layer.

    It dials the coordinator until that lets it in, and again whenever the link ends. Its key and what it
    was at are in the folder `data`; a node that is made again with it goes on.
    """

    def __new__(
        cls,
        coordinator: str,
        coordinator_id: str,
        data: str | PathLike[str],
        *,
        layer: int | None = None,
        listen: str = "127.0.0.1:0",
        policy: HarvestPolicy | None = None,
        probe: DeviceProbe | None = None,
        price_per_gigafuel: int = 1_000_000_000_000_000_000,
        heartbeat: timedelta = ...,
        nodes_on_machine: int = 1,
    ) -> Self:
        """Starts a node.

        `coordinator` and `coordinator_id` are what the coordinator says of itself. It lends by `policy`, the
        usual one if it is not said, and what `probe` reads, the device's own sensors if it is not said: an
        object with a method `read`. Raises `ListenError`, `PolicyError`, `ArgumentError`, `StorageError`.
        """

    @property
    def id(self) -> str:
        """Who it is, 64 hexadecimal digits."""

    @property
    def address(self) -> str:
        """Where it accepts links."""

    def status(self) -> FogNodeStatus:
        """How it is. Raises why it could not go on, once."""

    def joined(self) -> Awaitable[None]:
        """Await that its coordinator has let it in. Raises why it could not go on, and `ClosedError`.
        """

    def close(self) -> None:
        """Ends the node. Its tasks go on when it is made again with the same data. Closing again does
        nothing.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> Awaitable[None]: ...

@final
class FogCoordinator:
    """The coordinator of a fog in this process. Everything it knows is in the folder `data`: made again with
    it, also after a crash, and also by the command `fogcompute coordinator run`, it goes on.
    """

    def __new__(
        cls,
        data: str | PathLike[str],
        *,
        listen: str = "127.0.0.1:0",
        layers: int = 1,
        delay: timedelta = ...,
        placement: str = "least_loaded",
        endowment: int | None = None,
        nodes_max: int = 256,
    ) -> Self:
        """Starts a coordinator.

        Tasks cross one mixnode of each of `layers`, which holds each packet for `delay` in the mean.
        `placement` is `optimised`, `round_robin`, `least_loaded`, `affinity`, `proximity`, `privacy_aware`
        or `random`. Its owner's account begins with `endowment` base units, a million credits if it is not
        said. Raises `ListenError`, `ArgumentError`, `StorageError`.
        """

    @property
    def id(self) -> str:
        """Who it is, 64 hexadecimal digits."""

    @property
    def address(self) -> str:
        """Where it accepts links of nodes and submitters."""

    @property
    def account(self) -> str:
        """Its owner's account, 32 hexadecimal digits."""

    @property
    def trouble(self) -> str | None:
        """Why it cannot write down what happens, and admits nothing, if it cannot. Raises why it could not
        go on, once.
        """

    def issue_token(
        self,
        *,
        actions: Sequence[str] | None = None,
        tasks_max: int = 1_000_000,
        max_spend: int = 1_000_000_000_000_000_000_000,
        valid_for: timedelta | None = None,
        account: str | UUID | None = None,
    ) -> str:
        """Issues a token with a key of its own: the text of a token's file. Whoever has it may ask the
        coordinator for what it grants.

        `actions` are of `submit`, `cancel`, `query`, `drain` and `maintain`; without them the first three.
        At most `tasks_max` tasks may be submitted with it, and `max_spend` base units reserved for them,
        on the `account` of the owner if no other is said. It is good for 30 days if `valid_for` does not
        say otherwise.
        """

    def close(self) -> None:
        """Ends the coordinator. Jobs go on when it is made again with the same data. Closing again does
        nothing.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None = ...,
        exc_value: BaseException | None = ...,
        traceback: TracebackType | None = ...,
    ) -> Awaitable[None]: ...

def _run_command(arguments: Sequence[str], node_command: Sequence[str]) -> int: ...
def _stop_async() -> None: ...
def _panic() -> None: ...
def _panic_async() -> Awaitable[None]: ...
