use std::ffi::{CStr, c_char};

use fogcompute::ErrorCode;

use crate::support::{self, Failure, guard};

macro_rules! codes {
    ($($name:ident = $code:literal: $text:literal,)*) => {
        const fn status_name(status: i32) -> &'static CStr {
            match status {
                0 => c"Ok",
                $($code => $text,)*
                _ => c"Unknown",
            }
        }

        impl From<ErrorCode> for fog_status {
            fn from(code: ErrorCode) -> Self {
                match code {
                    $(ErrorCode::$name => Self::$name,)*
                    // A code that was added to the facade and forgotten here: a test fails then.
                    _ => Self::Panic,
                }
            }
        }

        #[cfg(test)]
        const LISTED: &[(fog_status, &CStr)] = &[$((fog_status::$name, $text),)*];
    };
}

/// Result of a call. The numbers never change; later versions may add some.
///
/// Hundreds say where: 1 arguments and bindings, 2 mixnet, 3 scheduling, 4 ledger, 5 harvesting,
/// 6 execution, 7 storage, 8 nodes and network, 9 governance, 10 mesh, 11 fogs of processes.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_status {
    /// Done.
    Ok = 0,
    /// An argument is out of its range or not well formed.
    InvalidArgument = 100,
    /// The library panicked: a defect of the library. The call had no effect that is known.
    Panic = 101,
    /// A callback of the host failed.
    HostCallback = 102,
    /// The call was cancelled.
    Cancelled = 103,
    /// The object was closed, or belongs to the process that this one was forked from.
    Closed = 104,
    /// A buffer of the caller is too small; the needed size is reported.
    BufferTooSmall = 105,
    /// A packet was refused: wrong length, version, tag, key or payload.
    InvalidPacket = 200,
    /// A route was refused: hop count, repeated node, weak key, delay too long.
    InvalidRoute = 201,
    /// A payload is larger than a packet carries.
    PayloadTooLarge = 202,
    /// A packet was processed before.
    Replayed = 203,
    /// A topology was refused: its signature, form, validity, nodes or packet sizes.
    InvalidTopology = 204,
    /// A reply block was refused: malformed, used before, or not the one a reply belongs to.
    InvalidReplyBlock = 205,
    /// A message was given up: not all of it was acknowledged.
    NotDelivered = 206,
    /// A message was not answered in time.
    NoAnswer = 207,
    /// A limit of what a mixnet client sends or a node remembers was reached. Try again later.
    MixnetBusy = 208,
    /// Parameters, bounds or genomes of an optimisation do not work.
    InvalidProblem = 300,
    /// An objective or violation is not a finite number.
    NotFinite = 301,
    /// No placement satisfies the constraints.
    Infeasible = 302,
    /// An account has less than needed.
    InsufficientFunds = 400,
    /// An account is not open.
    UnknownAccount = 401,
    /// An account is open already, with other properties.
    AccountExists = 402,
    /// An id was used before for something else.
    IdReused = 403,
    /// A reservation was posted or was voided.
    ReservationClosed = 404,
    /// The ledger refuses an operation for a reason that has no code of its own.
    InvalidOperation = 405,
    /// A reservation is unknown: there never was one of that id.
    UnknownReservation = 406,
    /// A batch has no operations.
    BatchEmpty = 407,
    /// A batch has more than 8,190 operations. Split it.
    BatchTooLarge = 408,
    /// An operation would move or hold nothing.
    ZeroAmount = 409,
    /// An operation has one account on both sides.
    SameAccount = 410,
    /// An account was closed, for good.
    AccountClosed = 411,
    /// An account that is to be closed still holds something, or has reservations.
    AccountInUse = 412,
    /// A limit on supply was set on an account that is no issuer.
    NotAnIssuer = 413,
    /// The accounts of a transfer hold different assets.
    AssetMismatch = 414,
    /// An id names an operation that reserved nothing.
    NotAReservation = 415,
    /// A post asks for more than is reserved.
    PostExceedsReservation = 416,
    /// A reservation has expired.
    ReservationExpired = 417,
    /// A reservation would be expired from the start.
    ExpiresInPast = 418,
    /// A counter of an account cannot count that much more.
    AmountOverflow = 419,
    /// An issuer would have more out than its limit on supply.
    SupplyExceeded = 420,
    /// An issuer would take back more than it has put out.
    CreditsExceedDebits = 421,
    /// An account may not spend that much more today.
    QuotaExceeded = 422,
    /// A signature was good until a time that has passed. Sign again.
    SignatureExpired = 423,
    /// No key is registered for an account, so nobody can sign for it.
    NoOwner = 424,
    /// A signature is not one of the account's key over this batch.
    SignatureForged = 425,
    /// The number of a signature was used: the batch may have been executed.
    SignatureReplayed = 426,
    /// The number of a signature is not the next one.
    NonceSkipped = 427,
    /// A batch does something that only the owner of another account may ask for.
    NotTheOwner = 428,
    /// A batch does something that only the host may do, no owner.
    NotForOwners = 429,
    /// A checkpoint is not signed by the key that is trusted.
    CheckpointForged = 430,
    /// A history is not the one a checkpoint was made of: it was rewritten.
    CheckpointDiffers = 431,
    /// A history ends before a checkpoint: it was cut short.
    CheckpointMissing = 432,
    /// An economy is asked for something, and none was configured.
    NoEconomy = 433,
    /// The numbers of an economy do not agree or are out of bounds, or its text is malformed.
    InvalidEconomy = 434,
    /// An economy has no parameter of that name.
    UnknownParameter = 435,
    /// An account is a purse of the economy, which only its rules use so.
    PurseAccount = 436,
    /// An account that is to be closed takes part in staking.
    AccountStaked = 437,
    /// A signed batch asks something of the economy that only the host may ask.
    HostOnly = 438,
    /// An operation asks for what time does by itself.
    MaturesByTime = 439,
    /// A batch would make more entries than one may. Split it.
    BatchTooLong = 440,
    /// The time is before the last event of staking or earning. Ask again later.
    ClockBehind = 441,
    /// A node is not an operator.
    UnknownOperator = 442,
    /// A node is an operator already.
    OperatorExists = 443,
    /// An account has neither stake nor rewards at an operator.
    UnknownDelegator = 444,
    /// More is asked for than an account has staked.
    ExceedsStake = 445,
    /// An operator is in jail: it takes no stake and no rewards.
    Jailed = 446,
    /// An operator will never come back.
    Tombstoned = 447,
    /// An operator is not in jail.
    NotJailed = 448,
    /// So many unbondings or redelegations are open already. Wait for one to mature.
    TooManyEntries = 449,
    /// There is no such unbonding or redelegation.
    UnknownEntry = 450,
    /// An unbonding's time has come: it can only be paid out.
    EntryMatured = 451,
    /// More is asked for than an unbonding holds.
    ExceedsEntry = 452,
    /// Stake that was redelegated may not move on before it has matured.
    TransitiveRedelegation = 453,
    /// No rewards and no commission are due.
    NothingToClaim = 454,
    /// An infraction is too long ago to be punished.
    EvidenceTooOld = 455,
    /// An infraction was punished already.
    EvidenceRepeated = 456,
    /// A commission is above the highest allowed, or would change by too much at once.
    CommissionTooLarge = 457,
    /// A commission was set less than a day ago.
    CommissionTooSoon = 458,
    /// A claim was paid by the insurance fund already.
    ClaimRepeated = 459,
    /// The insurance fund does not have that much.
    InsuranceShort = 460,
    /// The rules of staking refuse an operation for a reason that has no code of its own.
    StakingRefused = 461,
    /// There is no rule of that name by which anything is earned.
    UnknownRule = 462,
    /// A rule knows no fact of that name.
    UnknownFact = 463,
    /// A fact that a rule requires is missing.
    FactMissing = 464,
    /// A fact is not what a rule requires.
    RequirementNotMet = 465,
    /// A fact is greater than a rule allows.
    FactTooLarge = 466,
    /// A session of computing is too short to be paid.
    SessionTooShort = 467,
    /// A session's duration, power or bonus is greater than it can be.
    SessionTooLarge = 468,
    /// An account was granted all that one day allows.
    DailyLimitReached = 469,
    /// The rules of earning refuse an operation for a reason that has no code of its own.
    EarningRefused = 470,
    /// A harvest policy contradicts itself or does not parse.
    InvalidPolicy = 500,
    /// A device could not be read.
    ProbeFailed = 501,
    /// A module is malformed, imports what is not offered, or does not export what it must.
    InvalidModule = 600,
    /// A task used up its fuel.
    OutOfFuel = 601,
    /// A task asked for more memory than its limit.
    OutOfMemory = 602,
    /// A task's output is over its limit or outside its memory.
    InvalidOutput = 603,
    /// A task trapped.
    Trap = 604,
    /// A task was given up after its last attempt, or the sandbox failed.
    TaskLost = 605,
    /// There is no task or job of that id: there never was, or it was forgotten.
    UnknownTask = 606,
    /// A task took longer than it may.
    TaskTimedOut = 607,
    /// A task never ran: one that it waited for did not succeed.
    TaskSkipped = 608,
    /// A task has not ended: there is no output yet.
    TaskOpen = 609,
    /// A worker has as many tasks as it may. Try later, or forget those that ended.
    TooManyTasks = 610,
    /// A file cannot be opened, read or written.
    Storage = 700,
    /// A file is in use by another handle or process.
    StorageLocked = 701,
    /// A file is damaged. Restore it from a copy.
    StorageCorrupt = 702,
    /// There is no room for a file. Nothing was changed.
    StorageFull = 703,
    /// A file can be read but not written.
    StorageReadOnly = 704,
    /// A folder was named where a file is needed.
    StorageIsFolder = 705,
    /// A file cannot be made or read: it, or the folder it is in, does not exist.
    StorageNoFolder = 706,
    /// A file is no database, or one of something else.
    StorageForeign = 707,
    /// A file was written by a newer version of this library.
    StorageTooNew = 708,
    /// A file exists, and none is replaced.
    StorageExists = 709,
    /// A history can be imported into an empty ledger only.
    StorageNotEmpty = 710,
    /// A change may be on disk or not. Open the file again and repeat it.
    StorageUncertain = 711,
    /// A file must be opened again, since an earlier change was not confirmed.
    StorageReopen = 712,
    /// A line of a text is no entry of a history.
    InvalidTranscript = 713,
    /// A file is not there, and the call makes none.
    StorageMissing = 714,
    /// A node or coordinator cannot go on.
    Node = 800,
    /// An address cannot be listened on: it is in use, or not one of this machine.
    Listen = 801,
    /// Rules and treasury are decided about by proposals since founding roles were given.
    Governed = 900,
    /// What is asked for is paused by a decision of governance.
    Paused = 901,
    /// What an account asks of governance must be signed by its owner.
    SignatureRequired = 902,
    /// There is no such proposal.
    UnknownProposal = 903,
    /// An id names a proposal already.
    ProposalExists = 904,
    /// The text of a proposal is malformed, or its title or description has no allowed length.
    InvalidProposal = 905,
    /// A title or description has a control character that could hide what it says.
    ControlCharacter = 906,
    /// A proposal has no actions.
    NoActions = 907,
    /// A proposal has more actions than one may.
    TooManyActions = 908,
    /// A proposal of that kind does not carry such an action.
    ActionNotAllowed = 909,
    /// A proposal would set a parameter to what it cannot be.
    ParameterOutOfRange = 910,
    /// The treasury does not have what a proposal would pay.
    TreasuryShort = 911,
    /// An action of a proposal cannot be done, for a reason that has no code of its own.
    ActionRefused = 912,
    /// An account does not weigh enough to propose.
    BelowThreshold = 913,
    /// So many proposals or drafts are not over already.
    TooManyProposals = 914,
    /// It is too early to vote on a proposal.
    VotingNotStarted = 915,
    /// It is too late to vote on a proposal, or it was never submitted.
    VotingOver = 916,
    /// There is no such choice in a vote.
    UnknownChoice = 917,
    /// An account has no voting power on a proposal.
    NoVotingPower = 918,
    /// An account has voted so on a proposal already.
    AlreadyVoted = 919,
    /// An account has changed its vote on a proposal as often as it may.
    TooManyVoteChanges = 920,
    /// A proposal is not where it must be in its life: a draft, succeeded or queued.
    WrongState = 921,
    /// A proposal was queued, and it is too early to execute it.
    TimelockRunning = 922,
    /// Only its author, or a guardian or king, may do this with a proposal.
    NotPermitted = 923,
    /// A proposal could not be executed. Nothing of it was done, and it stays queued.
    ActionFailed = 924,
    /// Votes would be delegated back to where they came from.
    CircularDelegation = 925,
    /// Votes would be split into too many parts, or pass through too many delegations.
    DelegationTooComplex = 926,
    /// A delegation names somebody twice, nobody, the voter itself, or more than there is.
    InvalidDelegation = 927,
    /// There is no delegation to revoke.
    NothingDelegated = 928,
    /// An account is enrolled in governance already.
    AlreadyEnrolled = 929,
    /// Founding roles were given already.
    AlreadyEstablished = 930,
    /// A time is asked about that is not past.
    FutureLookup = 931,
    /// The rules of governance refuse an operation for a reason that has no code of its own.
    GovernanceRefused = 932,
    /// Nothing was heard of a peer of the mesh.
    UnknownPeer = 1000,
    /// A peer of the mesh does not say that it understands what it is to be sent.
    NotUnderstood = 1001,
    /// This peer is in no such group of the mesh.
    UnknownGroup = 1002,
    /// A group of the mesh is changed by who made it, and nobody else.
    NotGroupCreator = 1003,
    /// As much waits in a mesh node already as may. Try again later.
    MeshBusy = 1004,
    /// A text, a name or a file is empty, or longer than the mesh carries.
    InvalidMeshContent = 1005,
    /// Nobody in the mesh offered such a file, or too long ago.
    UnknownFile = 1006,
    /// A coordinator cannot be reached, or the link to it ended. Asking again does nothing twice.
    CoordinatorUnreachable = 1100,
    /// A coordinator did not answer in time. Asking again does nothing twice.
    CoordinatorSilent = 1101,
    /// A token is malformed, forged, for another coordinator, or by somebody who may not issue any.
    InvalidToken = 1102,
    /// A token is not valid now, or the clocks of both sides differ.
    TokenExpired = 1103,
    /// A token does not permit what is asked for.
    TokenForbids = 1104,
    /// The tasks or the credits of a token are used up.
    TokenUsedUp = 1105,
    /// A coordinator refuses a call for a reason that has no code of its own.
    CallRefused = 1106,
    /// A coordinator takes no more for now. Try again later.
    CoordinatorBusy = 1107,
    /// A job has no task, too many, or is too long.
    InvalidJob = 1108,
    /// A task ended without a result, or its result is kept no more.
    NoResult = 1109,
    /// No such node is in the fog.
    UnknownNode = 1110,
    /// A coordinator answers something that makes no sense: it is of another version.
    InvalidAnswer = 1111,
}

codes! {
    InvalidArgument = 100: c"InvalidArgument",
    Panic = 101: c"Panic",
    HostCallback = 102: c"HostCallback",
    Cancelled = 103: c"Cancelled",
    Closed = 104: c"Closed",
    BufferTooSmall = 105: c"BufferTooSmall",
    InvalidPacket = 200: c"InvalidPacket",
    InvalidRoute = 201: c"InvalidRoute",
    PayloadTooLarge = 202: c"PayloadTooLarge",
    Replayed = 203: c"Replayed",
    InvalidTopology = 204: c"InvalidTopology",
    InvalidReplyBlock = 205: c"InvalidReplyBlock",
    NotDelivered = 206: c"NotDelivered",
    NoAnswer = 207: c"NoAnswer",
    MixnetBusy = 208: c"MixnetBusy",
    InvalidProblem = 300: c"InvalidProblem",
    NotFinite = 301: c"NotFinite",
    Infeasible = 302: c"Infeasible",
    InsufficientFunds = 400: c"InsufficientFunds",
    UnknownAccount = 401: c"UnknownAccount",
    AccountExists = 402: c"AccountExists",
    IdReused = 403: c"IdReused",
    ReservationClosed = 404: c"ReservationClosed",
    InvalidOperation = 405: c"InvalidOperation",
    UnknownReservation = 406: c"UnknownReservation",
    BatchEmpty = 407: c"BatchEmpty",
    BatchTooLarge = 408: c"BatchTooLarge",
    ZeroAmount = 409: c"ZeroAmount",
    SameAccount = 410: c"SameAccount",
    AccountClosed = 411: c"AccountClosed",
    AccountInUse = 412: c"AccountInUse",
    NotAnIssuer = 413: c"NotAnIssuer",
    AssetMismatch = 414: c"AssetMismatch",
    NotAReservation = 415: c"NotAReservation",
    PostExceedsReservation = 416: c"PostExceedsReservation",
    ReservationExpired = 417: c"ReservationExpired",
    ExpiresInPast = 418: c"ExpiresInPast",
    AmountOverflow = 419: c"AmountOverflow",
    SupplyExceeded = 420: c"SupplyExceeded",
    CreditsExceedDebits = 421: c"CreditsExceedDebits",
    QuotaExceeded = 422: c"QuotaExceeded",
    SignatureExpired = 423: c"SignatureExpired",
    NoOwner = 424: c"NoOwner",
    SignatureForged = 425: c"SignatureForged",
    SignatureReplayed = 426: c"SignatureReplayed",
    NonceSkipped = 427: c"NonceSkipped",
    NotTheOwner = 428: c"NotTheOwner",
    NotForOwners = 429: c"NotForOwners",
    CheckpointForged = 430: c"CheckpointForged",
    CheckpointDiffers = 431: c"CheckpointDiffers",
    CheckpointMissing = 432: c"CheckpointMissing",
    NoEconomy = 433: c"NoEconomy",
    InvalidEconomy = 434: c"InvalidEconomy",
    UnknownParameter = 435: c"UnknownParameter",
    PurseAccount = 436: c"PurseAccount",
    AccountStaked = 437: c"AccountStaked",
    HostOnly = 438: c"HostOnly",
    MaturesByTime = 439: c"MaturesByTime",
    BatchTooLong = 440: c"BatchTooLong",
    ClockBehind = 441: c"ClockBehind",
    UnknownOperator = 442: c"UnknownOperator",
    OperatorExists = 443: c"OperatorExists",
    UnknownDelegator = 444: c"UnknownDelegator",
    ExceedsStake = 445: c"ExceedsStake",
    Jailed = 446: c"Jailed",
    Tombstoned = 447: c"Tombstoned",
    NotJailed = 448: c"NotJailed",
    TooManyEntries = 449: c"TooManyEntries",
    UnknownEntry = 450: c"UnknownEntry",
    EntryMatured = 451: c"EntryMatured",
    ExceedsEntry = 452: c"ExceedsEntry",
    TransitiveRedelegation = 453: c"TransitiveRedelegation",
    NothingToClaim = 454: c"NothingToClaim",
    EvidenceTooOld = 455: c"EvidenceTooOld",
    EvidenceRepeated = 456: c"EvidenceRepeated",
    CommissionTooLarge = 457: c"CommissionTooLarge",
    CommissionTooSoon = 458: c"CommissionTooSoon",
    ClaimRepeated = 459: c"ClaimRepeated",
    InsuranceShort = 460: c"InsuranceShort",
    StakingRefused = 461: c"StakingRefused",
    UnknownRule = 462: c"UnknownRule",
    UnknownFact = 463: c"UnknownFact",
    FactMissing = 464: c"FactMissing",
    RequirementNotMet = 465: c"RequirementNotMet",
    FactTooLarge = 466: c"FactTooLarge",
    SessionTooShort = 467: c"SessionTooShort",
    SessionTooLarge = 468: c"SessionTooLarge",
    DailyLimitReached = 469: c"DailyLimitReached",
    EarningRefused = 470: c"EarningRefused",
    InvalidPolicy = 500: c"InvalidPolicy",
    ProbeFailed = 501: c"ProbeFailed",
    InvalidModule = 600: c"InvalidModule",
    OutOfFuel = 601: c"OutOfFuel",
    OutOfMemory = 602: c"OutOfMemory",
    InvalidOutput = 603: c"InvalidOutput",
    Trap = 604: c"Trap",
    TaskLost = 605: c"TaskLost",
    UnknownTask = 606: c"UnknownTask",
    TaskTimedOut = 607: c"TaskTimedOut",
    TaskSkipped = 608: c"TaskSkipped",
    TaskOpen = 609: c"TaskOpen",
    TooManyTasks = 610: c"TooManyTasks",
    Storage = 700: c"Storage",
    StorageLocked = 701: c"StorageLocked",
    StorageCorrupt = 702: c"StorageCorrupt",
    StorageFull = 703: c"StorageFull",
    StorageReadOnly = 704: c"StorageReadOnly",
    StorageIsFolder = 705: c"StorageIsFolder",
    StorageNoFolder = 706: c"StorageNoFolder",
    StorageForeign = 707: c"StorageForeign",
    StorageTooNew = 708: c"StorageTooNew",
    StorageExists = 709: c"StorageExists",
    StorageNotEmpty = 710: c"StorageNotEmpty",
    StorageUncertain = 711: c"StorageUncertain",
    StorageReopen = 712: c"StorageReopen",
    InvalidTranscript = 713: c"InvalidTranscript",
    StorageMissing = 714: c"StorageMissing",
    Node = 800: c"Node",
    Listen = 801: c"Listen",
    Governed = 900: c"Governed",
    Paused = 901: c"Paused",
    SignatureRequired = 902: c"SignatureRequired",
    UnknownProposal = 903: c"UnknownProposal",
    ProposalExists = 904: c"ProposalExists",
    InvalidProposal = 905: c"InvalidProposal",
    ControlCharacter = 906: c"ControlCharacter",
    NoActions = 907: c"NoActions",
    TooManyActions = 908: c"TooManyActions",
    ActionNotAllowed = 909: c"ActionNotAllowed",
    ParameterOutOfRange = 910: c"ParameterOutOfRange",
    TreasuryShort = 911: c"TreasuryShort",
    ActionRefused = 912: c"ActionRefused",
    BelowThreshold = 913: c"BelowThreshold",
    TooManyProposals = 914: c"TooManyProposals",
    VotingNotStarted = 915: c"VotingNotStarted",
    VotingOver = 916: c"VotingOver",
    UnknownChoice = 917: c"UnknownChoice",
    NoVotingPower = 918: c"NoVotingPower",
    AlreadyVoted = 919: c"AlreadyVoted",
    TooManyVoteChanges = 920: c"TooManyVoteChanges",
    WrongState = 921: c"WrongState",
    TimelockRunning = 922: c"TimelockRunning",
    NotPermitted = 923: c"NotPermitted",
    ActionFailed = 924: c"ActionFailed",
    CircularDelegation = 925: c"CircularDelegation",
    DelegationTooComplex = 926: c"DelegationTooComplex",
    InvalidDelegation = 927: c"InvalidDelegation",
    NothingDelegated = 928: c"NothingDelegated",
    AlreadyEnrolled = 929: c"AlreadyEnrolled",
    AlreadyEstablished = 930: c"AlreadyEstablished",
    FutureLookup = 931: c"FutureLookup",
    GovernanceRefused = 932: c"GovernanceRefused",
    UnknownPeer = 1000: c"UnknownPeer",
    NotUnderstood = 1001: c"NotUnderstood",
    UnknownGroup = 1002: c"UnknownGroup",
    NotGroupCreator = 1003: c"NotGroupCreator",
    MeshBusy = 1004: c"MeshBusy",
    InvalidMeshContent = 1005: c"InvalidMeshContent",
    UnknownFile = 1006: c"UnknownFile",
    CoordinatorUnreachable = 1100: c"CoordinatorUnreachable",
    CoordinatorSilent = 1101: c"CoordinatorSilent",
    InvalidToken = 1102: c"InvalidToken",
    TokenExpired = 1103: c"TokenExpired",
    TokenForbids = 1104: c"TokenForbids",
    TokenUsedUp = 1105: c"TokenUsedUp",
    CallRefused = 1106: c"CallRefused",
    CoordinatorBusy = 1107: c"CoordinatorBusy",
    InvalidJob = 1108: c"InvalidJob",
    NoResult = 1109: c"NoResult",
    UnknownNode = 1110: c"UnknownNode",
    InvalidAnswer = 1111: c"InvalidAnswer",
}

/// Version of the library that is linked, such as "0.1.0". Static, not to be freed.
///
/// Thread safety: any thread.
#[unsafe(no_mangle)]
pub extern "C" fn fog_version() -> *const c_char {
    support::VERSION.as_ptr()
}

/// Name of a status, the same in every language, such as "InsufficientFunds". "Unknown" for a
/// number that is no status. Static, not to be freed.
///
/// Thread safety: any thread.
#[unsafe(no_mangle)]
pub extern "C" fn fog_status_name(status: i32) -> *const c_char {
    status_name(status).as_ptr()
}

/// What went wrong in the last call of this thread that failed, for people. Empty if none has.
/// Valid until the next call of this thread fails or the thread ends; not to be freed.
///
/// Thread safety: any thread; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn fog_last_error_message() -> *const c_char {
    support::last_message()
}

/// Frees a string that the library gave to the caller. Nothing else may be passed, and none twice.
///
/// Thread safety: any thread.
/// @param text the string, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_string_free(text: *mut c_char) {
    // SAFETY: the caller passes a string of `support::give_text`, once, or NULL.
    unsafe { support::free_text(text) }
}

/// Panics inside the library. For the tests that prove that a panic becomes an error.
///
/// Thread safety: any thread.
/// @return FOG_STATUS_PANIC
#[unsafe(no_mangle)]
pub extern "C" fn fog_test_panic() -> fog_status {
    guard(|| {
        fogcompute::panic_on_purpose();
        Ok::<(), Failure>(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_the_facades_codes() {
        assert_eq!(LISTED.len(), ErrorCode::ALL.len());
        for (code, (status, name)) in ErrorCode::ALL.iter().zip(LISTED) {
            assert_eq!(fog_status::from(*code), *status, "{code:?}");
            assert_eq!(*code as i32, *status as i32, "{code:?}");
            assert_eq!(name.to_str(), Ok(code.name()));
            assert_eq!(status_name(*status as i32), *name);
        }
        assert_eq!(status_name(0), c"Ok");
        assert_eq!(status_name(-1), c"Unknown");
    }

    #[test]
    fn version_is_the_facades() {
        assert_eq!(support::VERSION.to_str(), Ok(fogcompute::version()));
    }

    #[test]
    fn panics_become_a_status_with_a_message() {
        assert_eq!(fog_test_panic(), fog_status::Panic);
        // SAFETY: the message is a C string of this thread.
        let message = unsafe { CStr::from_ptr(fog_last_error_message()) };
        assert_eq!(
            message.to_str(),
            Ok("the library panicked: panic on purpose")
        );
    }
}
