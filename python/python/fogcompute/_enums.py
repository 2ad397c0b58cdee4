"""Enumerations. Their values are what the native module takes and gives."""

from enum import IntEnum, StrEnum

from ._native import Terms, _terms


class AccountKind(StrEnum):
    """What an account may do."""

    ISSUER = "issuer"
    """Puts credits out and takes them back."""
    HOLDER = "holder"
    """Holds what it was given, never less than nothing."""


class Choice(StrEnum):
    """What a voter says."""

    AGAINST = "against"
    FOR = "for"
    ABSTAIN = "abstain"
    """Neither; counts for the quorum."""


class Constraint(StrEnum):
    """A reason why a node may not take a job."""

    EXCLUDED = "excluded"
    """The job excludes the node."""
    TRUST = "trust"
    """The node is not trusted enough."""
    LATENCY = "latency"
    """The node is too far away."""
    COST = "cost"
    """The job would cost more than it may, or more than an account can hold."""
    CPU = "cpu"
    """The job needs more processor than is free."""
    MEMORY = "memory"
    """The job needs more memory than is free."""
    RUN_TIME = "run_time"
    """The job would run, or fetch its input, for longer than can be counted."""
    DISK = "disk"
    """The job needs more disk than is free."""
    GPU = "gpu"
    """The job needs more GPUs than are free."""
    BANDWIDTH = "bandwidth"
    """The job needs more bandwidth than is free, or any at all to fetch its input."""
    REGION = "region"
    """The node is in none of the job's regions."""
    PRICE = "price"
    """The market price is higher than the job may pay, or more than an account can hold."""
    DEADLINE = "deadline"
    """The job could not be done in time even if it started at once."""
    TIER_LATENCY = "tier_latency"
    """The node is farther away than the job's tier allows."""
    TIER_AVAILABILITY = "tier_availability"
    """Nodes like this one are not there as often as the job's tier promises, or nobody knows."""
    TIER_ERRORS = "tier_errors"
    """The node errs more often than the job's tier allows, or nobody knows."""


class DeviceClass(StrEnum):
    """What kind of device this is. It decides what an unknown reading means."""

    PHONE = "phone"
    LAPTOP = "laptop"
    DESKTOP = "desktop"
    SERVER = "server"


class Domain(StrEnum):
    """What nodes are told apart by."""

    NODE = "node"
    """Each node is a domain of its own."""
    ZONE = "zone"
    """Nodes that share power and network."""
    REGION = "region"
    """Nodes of one part of the world."""
    OPERATOR = "operator"
    """Nodes that one party runs."""


class Durability(StrEnum):
    """What a power cut may cost a ledger. A killed process costs nothing."""

    FULL = "full"
    """Every change waits for the disk."""
    NORMAL = "normal"
    """The last changes may be lost, never torn."""


class Evidence(StrEnum):
    """What an operator is accused of."""

    DOUBLE_RESULT = "double_result"
    """It signed two different results of one task: never an accident."""
    INVALID_RESULT = "invalid_result"
    """It signed a result that others proved wrong."""
    DOWNTIME = "downtime"
    """It was not there when it had promised to be."""


class Network(StrEnum):
    """How a device reaches other devices."""

    UNKNOWN = "unknown"
    OFFLINE = "offline"
    ETHERNET = "ethernet"
    WIFI = "wifi"
    CELLULAR = "cellular"


class PauseScope(StrEnum):
    """What governance can pause."""

    EARNING = "earning"
    """Rewards for contributions and sessions."""
    STAKING = "staking"
    """Bonding, unbonding, redelegation and claims."""
    FEES = "fees"
    TREASURY = "treasury"
    """Payments from the treasury."""


class Priority(IntEnum):
    """How urgent something is. Lower is sooner."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BULK = 4


class ProposalKind(StrEnum):
    """What a proposal is about. Also what votes are delegated by."""

    PARAMETER_CHANGE = "parameter_change"
    """Numbers of the economy."""
    TREASURY_ALLOCATION = "treasury_allocation"
    """Payments from the treasury."""
    PROTOCOL_UPGRADE = "protocol_upgrade"
    """The version that nodes run."""
    EMERGENCY_ACTION = "emergency_action"
    """A pause, on a shorter clock and with a higher bar."""
    AGENT_DEPLOYMENT = "agent_deployment"
    """An agent and its budget."""
    GENERAL = "general"
    """Roles and resolutions."""


class ProposalState(StrEnum):
    """Where a proposal is in its life."""

    DRAFT = "draft"
    """Its author's own; no clock runs."""
    PENDING = "pending"
    """Submitted; the snapshot is not past."""
    ACTIVE = "active"
    """Can be voted on."""
    DEFEATED = "defeated"
    """The deadline passed without a quorum or approval."""
    SUCCEEDED = "succeeded"
    """Passed; can be queued."""
    QUEUED = "queued"
    """Waits for its timelock, then can be executed."""
    EXECUTED = "executed"
    """Done."""
    EXPIRED = "expired"
    """Nobody queued or executed it in time."""
    CANCELLED = "cancelled"
    """Withdrawn by its author or stopped by a guardian."""


class Role(StrEnum):
    """What an account is in governance."""

    CITIZEN = "citizen"
    """Everybody else."""
    DELEGATE = "delegate"
    """Votes for others, by trade."""
    COUNCILOR = "councilor"
    """Sits on a council."""
    GUARDIAN = "guardian"
    """May cancel proposals."""
    KING = "king"
    """May cancel proposals."""


class Sharing(StrEnum):
    """How jobs share a node."""

    CONCURRENT = "concurrent"
    """All jobs run at once: together they must fit what is free."""
    QUEUED = "queued"
    """Jobs queue: each alone must fit what is free."""


class Strategy(StrEnum):
    """How placements are found. All of them respect every constraint."""

    NSGA_II = "nsga_ii"
    """Searches for placements that no other beats; the others make one in one pass."""
    LATENCY_FIRST = "latency_first"
    """Each job where it is done first."""
    LOAD_BALANCE = "load_balance"
    """Each job where it leaves the use of nodes most even."""
    TRUST_FIRST = "trust_first"
    """Each job on the node that is trusted most."""
    COST_OPTIMIZE = "cost_optimize"
    """Each job where it costs least."""
    ROUND_ROBIN = "round_robin"
    """Each job on the next node in the order given that may take it."""
    BIN_PACK = "bin_pack"
    """Each job on a node that has others already, if there is one, where it leaves least unused."""
    TOPOLOGY_SPREAD = "topology_spread"
    """Each job in the zone with the fewest, there with the operator and on the node with them."""


class TextFormat(StrEnum):
    """How a ledger's history is written as text, a line for each entry."""

    CSV = "csv"
    """Columns under a line with their names, for spreadsheets."""
    JSON_LINES = "jsonl"
    """One JSON object a line, amounts as text."""


class Tier(StrEnum):
    """What a job is promised."""

    PLATINUM = "platinum"
    """For what must not fail."""
    GOLD = "gold"
    """For what somebody depends on."""
    SILVER = "silver"
    """For what should not be done twice."""
    BRONZE = "bronze"
    """Best effort on one node."""

    @property
    def terms(self) -> Terms:
        """What the tier promises and what it costs."""
        return _terms(self)


class Verdict(StrEnum):
    """Whether a device lends compute now."""

    ALLOW = "allow"
    """As much as the policy permits."""
    THROTTLE = "throttle"
    """Less than that; the budget says how much."""
    REFUSE = "refuse"
    """Nothing."""


class Weighing(StrEnum):
    """How power becomes votes."""

    LINEAR = "linear"
    """As it is."""
    REPUTATION = "reputation"
    """Times a reputation."""
    QUADRATIC = "quadratic"
    """Its square root."""
    CONVICTION = "conviction"
    """The more, the longer a vote stands."""
