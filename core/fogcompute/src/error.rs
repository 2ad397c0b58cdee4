//! One error for the whole library, with codes that stay.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};

use fogcompute_base::wire::DecodeError;
use fogcompute_base::{AccountId, JobId, ParseIdError};
use fogcompute_coord::SubmitError;
use fogcompute_exec::executor::{SubmitError as JobSubmitError, TaskCallError};
use fogcompute_exec::{SpecError, TaskError};
use fogcompute_harvest::{PolicyError, PolicyTextError, ProbeError};
use fogcompute_ledger::dao::{ActionError, DaoError};
use fogcompute_ledger::earning::{EarningError, Name, NameError};
use fogcompute_ledger::economy::EconomyError;
use fogcompute_ledger::staking::StakingError;
use fogcompute_ledger::{Corruption, LedgerError, ParseAmountError, PpmTooLarge};
use fogcompute_mesh::SendError as MeshSendError;
use fogcompute_mix::{
    BuildError, GeometryError, MessageError, PacketError, ParseContactError, SendError, SurbError,
    TooManyTags, TopologyError, TopologyFileError,
};
use fogcompute_net::EngineError;
use fogcompute_node::{
    FogClientError, FogError, FogFileError, MeshError, MixnetError, NodeError, Reason, WorkerError,
};
use fogcompute_schedule::evolution::{DirectionsError, EvolutionError};
use fogcompute_schedule::indicators::IndicatorError;
use fogcompute_schedule::strategy::Name as Strategy;
use fogcompute_schedule::{PlacementError, PreferenceError, SortError};
use fogcompute_store::StoreError;
use thiserror::Error;

use crate::policy::Excerpt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal,)*) => {
        /// What kind of thing went wrong. The numbers never change; new ones may be added.
        ///
        /// Hundreds say where: 1 arguments and bindings, 2 mixnet, 3 scheduling, 4 ledger,
        /// 5 harvesting, 6 execution, 7 storage, 8 nodes and network, 9 governance, 10 mesh,
        /// 11 fogs of processes.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(u32)]
        pub enum ErrorCode {
            $($(#[doc = $doc])* $name = $code,)*
        }

        impl ErrorCode {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code's name, the same in every language but for its case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What the code means, in one sentence: the text that documents it in every language.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

codes! {
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
    /// A file must be opened again: an earlier change was not confirmed, or the file was removed or
    /// replaced.
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

/// Everything that can go wrong, from every crate, with a stable [`code`](Error::code).
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum Error {
    /// A packet size.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Building a packet.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Processing a packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Reply blocks.
    #[error(transparent)]
    Surb(#[from] SurbError),
    /// A packet came before.
    #[error("packet was processed before")]
    Replayed,
    /// A processor cannot remember more packets.
    #[error("{packets_max} packets were processed with this key already, it must be replaced")]
    ReplayFilterFull {
        /// Packets there was room for.
        packets_max: usize,
    },
    /// There is no memory for so many replay tags.
    #[error(transparent)]
    TooManyTags(#[from] TooManyTags),
    /// The nodes of a network.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A signed topology.
    #[error(transparent)]
    TopologyFile(#[from] TopologyFileError),
    /// A mixnode or mixnet client.
    #[error(transparent)]
    Mixnet(#[from] MixnetError),
    /// The text of a contact.
    #[error(transparent)]
    Contact(#[from] ParseContactError),
    /// Optimising.
    #[error(transparent)]
    Evolution(EvolutionError<Infallible>),
    /// Going on with an optimisation from bytes that hold none.
    #[error("no saved search: {0}")]
    SearchState(#[source] serde_json::Error),
    /// Reference directions.
    #[error(transparent)]
    Directions(#[from] DirectionsError),
    /// Points that are to be sorted.
    #[error(transparent)]
    Sort(#[from] SortError),
    /// Measuring a front.
    #[error(transparent)]
    Indicator(#[from] IndicatorError),
    /// Placing.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// Choosing a placement.
    #[error(transparent)]
    Preference(#[from] PreferenceError),
    /// A strategy was asked to leave out what does not fit, which it cannot.
    #[error("{strategy} places all jobs or none; nsga_ii leaves out what does not fit")]
    AllOrNone {
        /// The strategy.
        strategy: Strategy,
    },
    /// The ledger and its storage.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An account that was asked for is not open.
    #[error("account {account} is not open")]
    UnknownAccount {
        /// The account.
        account: AccountId,
    },
    /// The text of a history could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that are no signed batch and no signed checkpoint of a ledger.
    #[error("bytes are nothing that was signed for a ledger: {0}")]
    Signed(#[source] DecodeError),
    /// The numbers of an economy.
    #[error(transparent)]
    Economy(#[from] EconomyError),
    /// The text of an economy.
    #[error("economy: {0}")]
    EconomyText(#[source] serde_json::Error),
    /// Governance was asked about what there is not.
    #[error(transparent)]
    Governance(#[from] DaoError),
    /// The text of a proposal.
    #[error("proposal: {0}")]
    ProposalText(#[source] serde_json::Error),
    /// The name of a file tells no format of a history, and none was asked for.
    #[error("{}: a history is in a .csv or a .jsonl, or its format is named", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// There is no purse of that name.
    #[error("there is no purse {name:?}")]
    UnknownPurse {
        /// The name.
        name: String,
    },
    /// The name of a rule or of a fact.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The economy has no rule of that name for contributions.
    #[error("there is no rule {0}")]
    UnknownRule(Name),
    /// A fact of a contribution was told twice.
    #[error("fact {fact} is told twice")]
    FactTwice {
        /// The fact.
        fact: String,
    },
    /// A part in parts per million.
    #[error(transparent)]
    Part(#[from] PpmTooLarge),
    /// A harvest policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The text of a harvest policy. Lines that are shown are cut at
    /// [`POLICY_ERROR_LINE_CHARS_MAX`](crate::POLICY_ERROR_LINE_CHARS_MAX).
    #[error("harvest policy: {}", Excerpt(.0))]
    PolicyText(Box<PolicyTextError>),
    /// A device.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Describing a task.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A fog in this process, or a task of it.
    #[error(transparent)]
    Fog(#[from] FogError),
    /// Tasks that a worker keeps.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A node or coordinator.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// What a coordinator was asked.
    #[error(transparent)]
    FogClient(#[from] FogClientError),
    /// The files of a coordinator or of a token.
    #[error(transparent)]
    FogFile(#[from] FogFileError),
    /// A text names nothing of what has names.
    #[error("{name:?} is no {what}")]
    UnknownName {
        /// The text.
        name: String,
        /// What it should name.
        what: &'static str,
    },
    /// A peer of the mesh.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The text of an identifier.
    #[error(transparent)]
    Id(#[from] ParseIdError),
    /// The text of an amount.
    #[error(transparent)]
    Amount(#[from] ParseAmountError),
}

impl Error {
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }

    /// What went wrong, with what lies beneath it: the message for languages whose errors have one
    /// text and no source.
    #[must_use]
    pub fn message(&self) -> String {
        let mut said = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_said = cause.to_string();
            if !said.contains(&cause_said) {
                said = format!("{said}: {cause_said}");
            }
            source = cause.source();
        }
        said
    }

    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Geometry(_)
            | Self::Preference(_)
            | Self::AllOrNone { .. }
            | Self::Directions(_)
            | Self::Sort(_)
            | Self::Indicator(_)
            | Self::Spec(_)
            | Self::Id(_)
            | Self::Contact(_)
            | Self::TooManyTags(_)
            | Self::Signed(_)
            | Self::UnknownFormat { .. }
            | Self::UnknownPurse { .. }
            | Self::Name(_)
            | Self::FactTwice { .. }
            | Self::Part(_)
            | Self::UnknownName { .. }
            | Self::Amount(_) => ErrorCode::InvalidArgument,
            Self::Build(error) => build_code(error),
            Self::Packet(_) => ErrorCode::InvalidPacket,
            Self::Surb(error) => surb_code(error),
            Self::Replayed => ErrorCode::Replayed,
            Self::ReplayFilterFull { .. } => ErrorCode::MixnetBusy,
            Self::Topology(_) | Self::TopologyFile(_) => ErrorCode::InvalidTopology,
            Self::Mixnet(error) => mixnet_code(error),
            Self::Evolution(
                EvolutionError::Objective { .. } | EvolutionError::Violation { .. },
            ) => ErrorCode::NotFinite,
            Self::Placement(
                PlacementError::Infeasible { .. }
                | PlacementError::NoCommonNode { .. }
                | PlacementError::Impossible { .. }
                | PlacementError::OverCommitted { .. }
                | PlacementError::Crowded { .. }
                | PlacementError::Late { .. },
            ) => ErrorCode::Infeasible,
            Self::Placement(PlacementError::Stopped) => ErrorCode::Cancelled,
            Self::Evolution(_) | Self::SearchState(_) | Self::Placement(_) => {
                ErrorCode::InvalidProblem
            }
            Self::Store(error) => store_code(error),
            Self::UnknownAccount { .. } => ErrorCode::UnknownAccount,
            Self::File { source, .. } => io_code(source),
            Self::UnknownRule(_) => ErrorCode::UnknownRule,
            Self::Economy(error) => economy_code(error),
            Self::EconomyText(_) => ErrorCode::InvalidEconomy,
            Self::Governance(error) => dao_code(error),
            Self::ProposalText(_) => ErrorCode::InvalidProposal,
            Self::Policy(_) | Self::PolicyText(_) => ErrorCode::InvalidPolicy,
            Self::Probe(ProbeError::Host { .. }) => ErrorCode::HostCallback,
            Self::Probe(_) => ErrorCode::ProbeFailed,
            Self::Fog(error) => fog_code(error),
            Self::Worker(error) => worker_code(error),
            Self::Node(error) => node_code(error),
            Self::FogClient(error) => fog_client_code(error),
            Self::FogFile(error) => fog_file_code(error),
            Self::Mesh(error) => mesh_code(error),
        }
    }
}

impl Error {
    /// The job whose fate is not known, if the answer to its submission did not come: submit it again
    /// under that id.
    #[must_use]
    pub const fn unanswered_job(&self) -> Option<JobId> {
        match self {
            Self::FogClient(FogClientError::Unanswered { job, .. }) => Some(*job),
            _ => None,
        }
    }
}

const fn build_code(error: &BuildError) -> ErrorCode {
    match error {
        BuildError::PayloadTooLarge { .. } => ErrorCode::PayloadTooLarge,
        _ => ErrorCode::InvalidRoute,
    }
}

const fn surb_code(error: &SurbError) -> ErrorCode {
    match error {
        SurbError::PayloadTooLarge { .. } => ErrorCode::PayloadTooLarge,
        _ => ErrorCode::InvalidReplyBlock,
    }
}

const fn mixnet_code(error: &MixnetError) -> ErrorCode {
    match error {
        MixnetError::Closed { .. } | MixnetError::Forked { .. } => ErrorCode::Closed,
        MixnetError::OtherPackets { .. }
        | MixnetError::NotInTopology { .. }
        | MixnetError::TopologyFile(_)
        | MixnetError::Directory(_) => ErrorCode::InvalidTopology,
        MixnetError::TooManyTags(_)
        | MixnetError::Engine(EngineError::Links(_))
        | MixnetError::OtherIdentity
        | MixnetError::UnknownRequest { .. } => ErrorCode::InvalidArgument,
        MixnetError::SurbStore(_) => ErrorCode::StorageCorrupt,
        MixnetError::Topology(_) | MixnetError::Send(SendError::Topology(_)) => {
            ErrorCode::InvalidRoute
        }
        MixnetError::Engine(EngineError::AddressInUse { .. } | EngineError::Bind { .. }) => {
            ErrorCode::Listen
        }
        MixnetError::Send(SendError::Build(error)) => build_code(error),
        MixnetError::Send(SendError::Surb(error)) => surb_code(error),
        MixnetError::Send(
            SendError::Message(MessageError::TooLarge { .. }) | SendError::TooFewSurbs { .. },
        ) => ErrorCode::PayloadTooLarge,
        MixnetError::GivenUp { .. } => ErrorCode::NotDelivered,
        MixnetError::NoAnswer { .. } => ErrorCode::NoAnswer,
        MixnetError::NoReplyWanted
        | MixnetError::ReplyExpired
        | MixnetError::Answered
        | MixnetError::Send(SendError::ForeignEntry { .. }) => ErrorCode::InvalidReplyBlock,
        MixnetError::Send(_) => ErrorCode::MixnetBusy,
        _ => ErrorCode::Node,
    }
}

fn mesh_code(error: &MeshError) -> ErrorCode {
    match error {
        MeshError::Closed | MeshError::Forked => ErrorCode::Closed,
        MeshError::Send(MeshSendError::UnknownPeer { .. }) => ErrorCode::UnknownPeer,
        MeshError::Send(MeshSendError::NotUnderstood { .. }) => ErrorCode::NotUnderstood,
        MeshError::Send(MeshSendError::UnknownGroup { .. }) => ErrorCode::UnknownGroup,
        MeshError::Send(MeshSendError::NotCreator { .. }) => ErrorCode::NotGroupCreator,
        MeshError::Send(MeshSendError::Full { .. } | MeshSendError::PeerFull { .. })
        | MeshError::FilesFull { .. }
        | MeshError::RadiosFull { .. } => ErrorCode::MeshBusy,
        MeshError::Send(_) | MeshError::Format(_) => ErrorCode::InvalidMeshContent,
        MeshError::Restore(_) => ErrorCode::StorageCorrupt,
        MeshError::Store(error) => store_code(error),
        MeshError::Failed(error) => store_code(error),
        MeshError::Listen { .. } => ErrorCode::Listen,
        MeshError::File { source, .. } => io_code(source),
        MeshError::FileExists { .. } => ErrorCode::StorageExists,
        MeshError::NotAFile { .. } => ErrorCode::InvalidArgument,
        MeshError::UnknownFile { .. } => ErrorCode::UnknownFile,
        _ => ErrorCode::Node,
    }
}

fn node_code(error: &NodeError) -> ErrorCode {
    match error {
        NodeError::DataDirectory { source, .. } => io_code(source),
        NodeError::Listen { .. } => ErrorCode::Listen,
        NodeError::Store(error) => store_code(error),
        NodeError::Worker(error) => worker_code(error),
        NodeError::Files(error) => fog_file_code(error),
        NodeError::NodesMax { .. } | NodeError::MixLayer { .. } | NodeError::Topology(_) => {
            ErrorCode::InvalidArgument
        }
        NodeError::Recover(_) => ErrorCode::StorageCorrupt,
        NodeError::Closed { .. } | NodeError::Forked { .. } => ErrorCode::Closed,
        _ => ErrorCode::Node,
    }
}

fn fog_file_code(error: &FogFileError) -> ErrorCode {
    match error {
        FogFileError::File { source, .. } => io_code(source),
        FogFileError::BadFile { .. } | FogFileError::BadToken { .. } => ErrorCode::InvalidToken,
        FogFileError::Exists { .. } => ErrorCode::StorageExists,
        FogFileError::OtherFolder { .. } => ErrorCode::StorageForeign,
        FogFileError::NoCoordinator { .. }
        | FogFileError::NoToken { .. }
        | FogFileError::Incomplete { .. } => ErrorCode::StorageMissing,
        FogFileError::Endowed { .. } => ErrorCode::InvalidArgument,
        _ => ErrorCode::Storage,
    }
}

fn fog_client_code(error: &FogClientError) -> ErrorCode {
    match error {
        FogClientError::Unreachable { .. } => ErrorCode::CoordinatorUnreachable,
        FogClientError::TimedOut { .. } => ErrorCode::CoordinatorSilent,
        FogClientError::Refused { reason, .. } => reason_code(*reason),
        FogClientError::TooLong { .. } | FogClientError::TooManyTasks { .. } => {
            ErrorCode::InvalidJob
        }
        FogClientError::NoModule { source, .. } => task_code(source),
        FogClientError::Confused { .. } => ErrorCode::InvalidAnswer,
        FogClientError::Ended | FogClientError::Forked => ErrorCode::Closed,
        FogClientError::Unanswered { source, .. } => fog_client_code(source),
        _ => ErrorCode::Node,
    }
}

const fn reason_code(reason: Reason) -> ErrorCode {
    match reason {
        Reason::Elsewhere | Reason::UnknownIssuer | Reason::ForgedToken => ErrorCode::InvalidToken,
        Reason::NotYetValid | Reason::Expired | Reason::Stale => ErrorCode::TokenExpired,
        Reason::NotPermitted => ErrorCode::TokenForbids,
        Reason::TasksExceeded | Reason::SpendExceeded => ErrorCode::TokenUsedUp,
        Reason::TooManyCalls | Reason::GateFull | Reason::Shed | Reason::Stalled => {
            ErrorCode::CoordinatorBusy
        }
        Reason::NoTasks | Reason::TooManyTasks | Reason::TooLong => ErrorCode::InvalidJob,
        Reason::JobTaken | Reason::TaskTaken => ErrorCode::IdReused,
        Reason::NoModule => ErrorCode::InvalidModule,
        Reason::Unroutable => ErrorCode::Infeasible,
        Reason::Funds => ErrorCode::InsufficientFunds,
        Reason::UnknownJob | Reason::UnknownTask => ErrorCode::UnknownTask,
        Reason::NotEnded => ErrorCode::TaskOpen,
        Reason::NoResult => ErrorCode::NoResult,
        Reason::UnknownNode => ErrorCode::UnknownNode,
        Reason::Storage => ErrorCode::Storage,
        _ => ErrorCode::CallRefused,
    }
}

fn store_code(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::Ledger(error) => ledger_code(error),
        StoreError::Corruption(error) => corruption_code(error),
        StoreError::Locked { .. } => ErrorCode::StorageLocked,
        StoreError::ReadOnly { .. } => ErrorCode::StorageReadOnly,
        StoreError::IsFolder { .. } => ErrorCode::StorageIsFolder,
        StoreError::NoFolder { .. } => ErrorCode::StorageNoFolder,
        StoreError::Missing { .. } | StoreError::Empty { .. } => ErrorCode::StorageMissing,
        StoreError::DiskFull { .. } => ErrorCode::StorageFull,
        StoreError::Exists { .. } => ErrorCode::StorageExists,
        StoreError::NotEmpty { .. } => ErrorCode::StorageNotEmpty,
        StoreError::BadLine { .. } => ErrorCode::InvalidTranscript,
        StoreError::Io { source } => io_code(source),
        StoreError::SpecialPath { .. }
        | StoreError::NotAFile { .. }
        | StoreError::NulInPath { .. }
        | StoreError::TimeOutOfRange { .. }
        | StoreError::MissingContent { .. }
        | StoreError::ContentTooLong { .. } => ErrorCode::InvalidArgument,
        StoreError::Forked { .. } | StoreError::ThreadEnded => ErrorCode::Closed,
        StoreError::CommitFailed { .. } | StoreError::GroupFailed { unsure: true } => {
            ErrorCode::StorageUncertain
        }
        StoreError::ReopenNeeded | StoreError::Replaced { .. } => ErrorCode::StorageReopen,
        StoreError::NotADatabase { .. } | StoreError::OtherDatabase { .. } => {
            ErrorCode::StorageForeign
        }
        StoreError::SchemaTooNew { .. } => ErrorCode::StorageTooNew,
        StoreError::BadEntry { .. }
        | StoreError::BadIdentity
        | StoreError::BadMessage { .. }
        | StoreError::BadGate
        | StoreError::BadAccount { .. }
        | StoreError::BadBatch { .. }
        | StoreError::BadProjection { .. }
        | StoreError::ProjectionDiffers { .. }
        | StoreError::StateDiffers
        | StoreError::HeadDiffers { .. }
        | StoreError::Damaged { .. }
        | StoreError::BadTask { .. }
        | StoreError::BadContent { .. }
        | StoreError::Restore(_)
        | StoreError::Malformed { .. } => ErrorCode::StorageCorrupt,
        _ => ErrorCode::Storage,
    }
}

fn io_code(error: &io::Error) -> ErrorCode {
    match error.kind() {
        // What a quota or a limit of the process stops is no different to who wants to write.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorCode::StorageFull
        }
        io::ErrorKind::ReadOnlyFilesystem => ErrorCode::StorageReadOnly,
        io::ErrorKind::IsADirectory => ErrorCode::StorageIsFolder,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorCode::StorageNoFolder,
        io::ErrorKind::AlreadyExists => ErrorCode::StorageExists,
        // Text that is no UTF-8.
        io::ErrorKind::InvalidData => ErrorCode::InvalidTranscript,
        _ => ErrorCode::Storage,
    }
}

fn corruption_code(error: &Corruption) -> ErrorCode {
    match error {
        Corruption::CheckpointForged { .. } => ErrorCode::CheckpointForged,
        Corruption::CheckpointDiffers { .. } => ErrorCode::CheckpointDiffers,
        Corruption::CheckpointMissing { .. } => ErrorCode::CheckpointMissing,
        _ => ErrorCode::StorageCorrupt,
    }
}

fn ledger_code(error: &LedgerError) -> ErrorCode {
    match error {
        LedgerError::InsufficientFunds { .. } => ErrorCode::InsufficientFunds,
        LedgerError::UnknownAccount { .. } => ErrorCode::UnknownAccount,
        LedgerError::AccountExists { .. } => ErrorCode::AccountExists,
        LedgerError::IdReused { .. } => ErrorCode::IdReused,
        LedgerError::UnknownReservation { .. } => ErrorCode::UnknownReservation,
        LedgerError::NotAReservation { .. } => ErrorCode::NotAReservation,
        LedgerError::ReservationPosted { .. } | LedgerError::ReservationVoided { .. } => {
            ErrorCode::ReservationClosed
        }
        LedgerError::ReservationExpired { .. } => ErrorCode::ReservationExpired,
        LedgerError::PostExceedsReservation { .. } => ErrorCode::PostExceedsReservation,
        LedgerError::ExpiresInPast { .. } => ErrorCode::ExpiresInPast,
        LedgerError::BatchEmpty => ErrorCode::BatchEmpty,
        LedgerError::BatchTooLarge { .. } => ErrorCode::BatchTooLarge,
        LedgerError::ZeroAmount { .. } => ErrorCode::ZeroAmount,
        LedgerError::SameAccount { .. } => ErrorCode::SameAccount,
        LedgerError::AccountClosed { .. } => ErrorCode::AccountClosed,
        LedgerError::AccountInUse { .. } => ErrorCode::AccountInUse,
        LedgerError::NotAnIssuer { .. } => ErrorCode::NotAnIssuer,
        LedgerError::AssetMismatch { .. } => ErrorCode::AssetMismatch,
        LedgerError::Overflow { .. } => ErrorCode::AmountOverflow,
        LedgerError::SupplyExceeded { .. } => ErrorCode::SupplyExceeded,
        LedgerError::CreditsExceedDebits { .. } => ErrorCode::CreditsExceedDebits,
        LedgerError::QuotaExceeded { .. } => ErrorCode::QuotaExceeded,
        LedgerError::SignatureExpired { .. } => ErrorCode::SignatureExpired,
        LedgerError::NoOwner { .. } => ErrorCode::NoOwner,
        LedgerError::SignatureForged { .. } => ErrorCode::SignatureForged,
        LedgerError::SignatureReplayed { .. } => ErrorCode::SignatureReplayed,
        LedgerError::NonceSkipped { .. } => ErrorCode::NonceSkipped,
        LedgerError::NotTheOwner { .. } => ErrorCode::NotTheOwner,
        LedgerError::NotForOwners { .. } => ErrorCode::NotForOwners,
        LedgerError::NoEconomy { .. } => ErrorCode::NoEconomy,
        LedgerError::PurseAccount { .. } => ErrorCode::PurseAccount,
        LedgerError::AccountStaked { .. } => ErrorCode::AccountStaked,
        LedgerError::HostOnly { .. } => ErrorCode::HostOnly,
        LedgerError::MaturesByTime { .. } => ErrorCode::MaturesByTime,
        LedgerError::BatchTooLong { .. } => ErrorCode::BatchTooLong,
        LedgerError::Economy { reason, .. } => economy_code(reason),
        LedgerError::Staking { reason, .. } => staking_code(reason),
        LedgerError::Earning { reason, .. } => earning_code(reason),
        LedgerError::Governed { .. } => ErrorCode::Governed,
        LedgerError::Paused { .. } => ErrorCode::Paused,
        LedgerError::SignatureRequired { .. } => ErrorCode::SignatureRequired,
        LedgerError::Dao { reason, .. } => dao_code(reason),
        _ => ErrorCode::InvalidOperation,
    }
}

const fn economy_code(error: &EconomyError) -> ErrorCode {
    match error {
        EconomyError::UnknownParameter { .. } => ErrorCode::UnknownParameter,
        _ => ErrorCode::InvalidEconomy,
    }
}

const fn staking_code(error: &StakingError) -> ErrorCode {
    match error {
        StakingError::ClockBehind { .. } => ErrorCode::ClockBehind,
        StakingError::UnknownOperator { .. } => ErrorCode::UnknownOperator,
        StakingError::OperatorExists { .. } => ErrorCode::OperatorExists,
        StakingError::UnknownDelegator { .. } => ErrorCode::UnknownDelegator,
        StakingError::AmountZero => ErrorCode::ZeroAmount,
        StakingError::Overflow { .. } | StakingError::PurseOverflow { .. } => {
            ErrorCode::AmountOverflow
        }
        StakingError::ExceedsStake { .. } => ErrorCode::ExceedsStake,
        StakingError::Jailed { .. } => ErrorCode::Jailed,
        StakingError::Tombstoned { .. } => ErrorCode::Tombstoned,
        StakingError::NotJailed { .. } => ErrorCode::NotJailed,
        StakingError::TooManyEntries { .. } => ErrorCode::TooManyEntries,
        StakingError::UnknownEntry { .. } => ErrorCode::UnknownEntry,
        StakingError::EntryMatured { .. } => ErrorCode::EntryMatured,
        StakingError::ExceedsEntry { .. } => ErrorCode::ExceedsEntry,
        StakingError::TransitiveRedelegation { .. } => ErrorCode::TransitiveRedelegation,
        StakingError::NothingToClaim { .. } | StakingError::NoCommission { .. } => {
            ErrorCode::NothingToClaim
        }
        StakingError::EvidenceTooOld { .. } => ErrorCode::EvidenceTooOld,
        StakingError::EvidenceRepeated { .. } => ErrorCode::EvidenceRepeated,
        StakingError::CommissionTooLarge { .. } | StakingError::CommissionTooFast { .. } => {
            ErrorCode::CommissionTooLarge
        }
        StakingError::CommissionTooSoon { .. } => ErrorCode::CommissionTooSoon,
        StakingError::ClaimRepeated { .. } => ErrorCode::ClaimRepeated,
        StakingError::InsuranceShort { .. } => ErrorCode::InsuranceShort,
        _ => ErrorCode::StakingRefused,
    }
}

const fn earning_code(error: &EarningError) -> ErrorCode {
    match error {
        EarningError::ClockBehind { .. } => ErrorCode::ClockBehind,
        EarningError::UnknownRule { .. } => ErrorCode::UnknownRule,
        EarningError::UnknownFact { .. } => ErrorCode::UnknownFact,
        EarningError::FactMissing { .. } => ErrorCode::FactMissing,
        EarningError::RequirementNotMet { .. } => ErrorCode::RequirementNotMet,
        EarningError::FactTooLarge { .. } => ErrorCode::FactTooLarge,
        EarningError::SessionTooShort { .. } => ErrorCode::SessionTooShort,
        EarningError::SessionTooLong { .. }
        | EarningError::PowerTooLarge { .. }
        | EarningError::BonusTooLarge { .. } => ErrorCode::SessionTooLarge,
        EarningError::LimitReached { .. } => ErrorCode::DailyLimitReached,
        EarningError::AmountZero => ErrorCode::ZeroAmount,
        EarningError::Overflow { .. } => ErrorCode::AmountOverflow,
        _ => ErrorCode::EarningRefused,
    }
}

const fn dao_code(error: &DaoError) -> ErrorCode {
    match error {
        DaoError::ClockBehind { .. } => ErrorCode::ClockBehind,
        DaoError::UnknownProposal { .. } => ErrorCode::UnknownProposal,
        DaoError::ProposalExists { .. } => ErrorCode::ProposalExists,
        DaoError::UnknownAccount { .. } => ErrorCode::UnknownAccount,
        DaoError::AlreadyEnrolled { .. } => ErrorCode::AlreadyEnrolled,
        DaoError::AlreadyEstablished => ErrorCode::AlreadyEstablished,
        DaoError::TooManyDelegates { .. }
        | DaoError::DelegationTooDeep { .. }
        | DaoError::DelegationTooWide { .. } => ErrorCode::DelegationTooComplex,
        DaoError::TopicRepeated { .. }
        | DaoError::DelegateRepeated { .. }
        | DaoError::SelfDelegation { .. }
        | DaoError::PartZero { .. }
        | DaoError::PartsExceedWhole { .. } => ErrorCode::InvalidDelegation,
        DaoError::NothingDelegated { .. } => ErrorCode::NothingDelegated,
        DaoError::CircularDelegation { .. } => ErrorCode::CircularDelegation,
        DaoError::WeightOverflow => ErrorCode::AmountOverflow,
        DaoError::FutureLookup { .. } => ErrorCode::FutureLookup,
        DaoError::TitleEmpty
        | DaoError::TitleTooLong { .. }
        | DaoError::DescriptionTooLong { .. } => ErrorCode::InvalidProposal,
        DaoError::ControlCharacter { .. } => ErrorCode::ControlCharacter,
        DaoError::NoActions => ErrorCode::NoActions,
        DaoError::TooManyActions { .. } => ErrorCode::TooManyActions,
        DaoError::ActionNotAllowed { .. } => ErrorCode::ActionNotAllowed,
        DaoError::ActionInvalid { reason, .. } => action_code(reason),
        DaoError::ThresholdNotMet { .. } => ErrorCode::BelowThreshold,
        DaoError::TooManyProposals { .. }
        | DaoError::TooManyProposalsOfAuthor { .. }
        | DaoError::TooManyDrafts { .. }
        | DaoError::TooManyDraftsOfAuthor { .. } => ErrorCode::TooManyProposals,
        DaoError::NotTheAuthor { .. } | DaoError::CancelRefused { .. } => ErrorCode::NotPermitted,
        DaoError::NotADraft { .. } | DaoError::NotSucceeded { .. } | DaoError::NotQueued { .. } => {
            ErrorCode::WrongState
        }
        DaoError::VotingNotStarted { .. } => ErrorCode::VotingNotStarted,
        DaoError::VotingOver { .. } => ErrorCode::VotingOver,
        DaoError::UnknownChoice { .. } => ErrorCode::UnknownChoice,
        DaoError::NoVotingPower { .. } => ErrorCode::NoVotingPower,
        DaoError::AlreadyVoted { .. } => ErrorCode::AlreadyVoted,
        DaoError::TooManyChanges { .. } => ErrorCode::TooManyVoteChanges,
        DaoError::TimelockRunning { .. } => ErrorCode::TimelockRunning,
        DaoError::ActionFailed { .. } => ErrorCode::ActionFailed,
        _ => ErrorCode::GovernanceRefused,
    }
}

const fn action_code(error: &ActionError) -> ErrorCode {
    match error {
        ActionError::Parameter {
            reason: EconomyError::UnknownParameter { .. },
        } => ErrorCode::UnknownParameter,
        ActionError::Parameter { .. } => ErrorCode::ParameterOutOfRange,
        ActionError::Unpayable { .. } => ErrorCode::TreasuryShort,
        ActionError::TreasuryPaused => ErrorCode::Paused,
        ActionError::UnknownAccount { .. } => ErrorCode::UnknownAccount,
        _ => ErrorCode::ActionRefused,
    }
}

fn task_code(error: &TaskError) -> ErrorCode {
    match error {
        TaskError::MalformedModule { .. }
        | TaskError::ModuleTooComplex { .. }
        | TaskError::ForbiddenImport { .. }
        | TaskError::MissingExport { .. }
        | TaskError::WrongExportType { .. } => ErrorCode::InvalidModule,
        TaskError::OutOfFuel { .. } => ErrorCode::OutOfFuel,
        TaskError::OutOfMemory { .. } => ErrorCode::OutOfMemory,
        TaskError::OutputTooLarge { .. } | TaskError::OutputOutsideMemory { .. } => {
            ErrorCode::InvalidOutput
        }
        TaskError::InputOutsideMemory { .. }
        | TaskError::Trap { .. }
        | TaskError::Exited { .. }
        | TaskError::Killed { .. } => ErrorCode::Trap,
        TaskError::Cancelled => ErrorCode::Cancelled,
        _ => ErrorCode::TaskLost,
    }
}

fn worker_code(error: &WorkerError) -> ErrorCode {
    match error {
        WorkerError::NothingLent
        | WorkerError::NoInterval
        | WorkerError::Spec(_)
        | WorkerError::Grants(_)
        | WorkerError::UnknownContent { .. }
        | WorkerError::UnknownRuntime { .. }
        | WorkerError::Submit(JobSubmitError::Job(_)) => ErrorCode::InvalidArgument,
        WorkerError::Policy(_) => ErrorCode::InvalidPolicy,
        WorkerError::Closed | WorkerError::Forked => ErrorCode::Closed,
        WorkerError::Store(error) | WorkerError::NotStored { source: error, .. } => {
            store_code(error)
        }
        WorkerError::BadRecord => ErrorCode::StorageCorrupt,
        WorkerError::Submit(JobSubmitError::KeyReused { .. }) => ErrorCode::IdReused,
        WorkerError::Submit(JobSubmitError::UnknownTask { .. })
        | WorkerError::Call(TaskCallError::UnknownTask { .. } | TaskCallError::UnknownJob { .. }) => {
            ErrorCode::UnknownTask
        }
        WorkerError::Submit(_) => ErrorCode::TooManyTasks,
        // The one call about a task that has ended is to cancel it.
        WorkerError::Call(_) => ErrorCode::Cancelled,
        WorkerError::Task(error) => task_code(error),
        WorkerError::TimedOut { .. } => ErrorCode::TaskTimedOut,
        WorkerError::Skipped { .. } => ErrorCode::TaskSkipped,
        WorkerError::NotEnded { .. } => ErrorCode::TaskOpen,
        _ => ErrorCode::TaskLost,
    }
}

fn fog_code(error: &FogError) -> ErrorCode {
    match error {
        FogError::Workers { .. } | FogError::NoMemory => ErrorCode::InvalidArgument,
        FogError::Closed | FogError::Forked => ErrorCode::Closed,
        FogError::Unplaceable(_) | FogError::Submit(SubmitError::Unroutable { .. }) => {
            ErrorCode::Infeasible
        }
        FogError::Task(error) => task_code(error),
        FogError::Submit(SubmitError::Bank(error)) | FogError::Ledger(error) => ledger_code(error),
        _ => ErrorCode::TaskLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(
            ErrorCode::ALL
                .windows(2)
                .all(|pair| (pair[0] as u32) < pair[1] as u32)
        );
    }

    #[test]
    fn a_message_says_what_lies_beneath_and_nothing_twice() {
        let corruption = Corruption::ChainBroken { sequence: 7 };
        let error = Error::from(StoreError::from(corruption));
        assert_eq!(
            error.message(),
            "stored ledger is corrupt: chain of the history is broken at entry 7"
        );
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::file(Path::new("a.csv"), full);
        assert_eq!(error.message(), error.to_string());
        assert_eq!(error.code(), ErrorCode::StorageFull);
    }

    #[test]
    fn refusals_that_take_a_long_batch_or_a_full_counter_have_their_code() {
        let (count, limit) = (2, 1);
        let long = LedgerError::BatchTooLong { count, limit };
        assert_eq!(ledger_code(&long), ErrorCode::BatchTooLong);
        let operator = fogcompute_base::NodeId::from_bytes([1; 32]);
        let full = StakingError::Overflow { operator };
        assert_eq!(staking_code(&full), ErrorCode::AmountOverflow);
        let (entry, matures) = (1, fogcompute_base::UnixMillis(1));
        let matured = StakingError::EntryMatured { entry, matures };
        assert_eq!(staking_code(&matured), ErrorCode::EntryMatured);
    }

    #[test]
    fn every_refusal_of_a_coordinator_has_its_code() {
        let refused = |reason: Reason| {
            let said = reason.to_string();
            Error::from(FogClientError::Refused { reason, said }).code()
        };
        for (reason, code) in [
            (Reason::Elsewhere, ErrorCode::InvalidToken),
            (Reason::ForgedToken, ErrorCode::InvalidToken),
            (Reason::Expired, ErrorCode::TokenExpired),
            (Reason::NotPermitted, ErrorCode::TokenForbids),
            (Reason::SpendExceeded, ErrorCode::TokenUsedUp),
            (Reason::Shed, ErrorCode::CoordinatorBusy),
            (Reason::NoTasks, ErrorCode::InvalidJob),
            (Reason::JobTaken, ErrorCode::IdReused),
            (Reason::NoModule, ErrorCode::InvalidModule),
            (Reason::Unroutable, ErrorCode::Infeasible),
            (Reason::Funds, ErrorCode::InsufficientFunds),
            (Reason::UnknownJob, ErrorCode::UnknownTask),
            (Reason::NotEnded, ErrorCode::TaskOpen),
            (Reason::NoResult, ErrorCode::NoResult),
            (Reason::UnknownNode, ErrorCode::UnknownNode),
            (Reason::Storage, ErrorCode::Storage),
        ] {
            assert_eq!(refused(reason), code);
        }
        // What has no code of its own is a defect of a client, or a door that is shut.
        for reason in Reason::ALL {
            let has_none = refused(*reason) == ErrorCode::CallRefused;
            let expected = matches!(
                reason,
                Reason::ForgedCall | Reason::Replayed | Reason::Closed | Reason::Protocol
            );
            assert_eq!(has_none, expected, "{reason}");
        }
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let (actual, limit) = (2, 1);
        for (error, code) in [
            (
                FogClientError::Unreachable {
                    address,
                    source: fogcompute_net::LinkError::Protocol,
                },
                ErrorCode::CoordinatorUnreachable,
            ),
            (
                FogClientError::TimedOut {
                    address,
                    within: std::time::Duration::ZERO,
                },
                ErrorCode::CoordinatorSilent,
            ),
            (
                FogClientError::TooManyTasks { actual, limit },
                ErrorCode::InvalidJob,
            ),
            (
                FogClientError::Confused {
                    address,
                    source: DecodeError::Unknown { at: 0, value: 0 },
                },
                ErrorCode::InvalidAnswer,
            ),
            (FogClientError::Ended, ErrorCode::Closed),
            (FogClientError::Forked, ErrorCode::Closed),
        ] {
            assert_eq!(Error::from(error).code(), code);
        }
        let missing = FogFileError::File {
            doing: "reading",
            path: PathBuf::from("fog.token"),
            source: io::ErrorKind::StorageFull.into(),
        };
        let missing = Error::from(NodeError::from(missing));
        assert_eq!(missing.code(), ErrorCode::StorageFull);
        let reason = String::new();
        let bad = Error::from(FogFileError::BadToken { reason });
        assert_eq!(bad.code(), ErrorCode::InvalidToken);
        let taken = NodeError::Listen {
            address,
            source: io::ErrorKind::AddrInUse.into(),
        };
        assert_eq!(Error::from(taken).code(), ErrorCode::Listen);
    }

    #[test]
    fn errors_of_every_crate_have_their_code() {
        let code = |error: Error| error.code();
        assert_eq!(code(PacketError::Header.into()), ErrorCode::InvalidPacket);
        let peer = fogcompute_mesh::PeerId::from_bytes([1; 8]);
        let group = fogcompute_mesh::group::GroupId([1; 16]);
        let file = fogcompute_base::Digest::of(b"file");
        for (error, expected) in [
            (MeshError::Closed, ErrorCode::Closed),
            (MeshError::Forked, ErrorCode::Closed),
            (
                MeshError::Failed(StoreError::DiskFull { path: None }.into()),
                ErrorCode::StorageFull,
            ),
            (
                MeshSendError::UnknownPeer { peer }.into(),
                ErrorCode::UnknownPeer,
            ),
            (
                MeshSendError::NotUnderstood { peer }.into(),
                ErrorCode::NotUnderstood,
            ),
            (
                MeshSendError::UnknownGroup { group }.into(),
                ErrorCode::UnknownGroup,
            ),
            (
                MeshSendError::NotCreator { group }.into(),
                ErrorCode::NotGroupCreator,
            ),
            (MeshSendError::Full { limit: 1 }.into(), ErrorCode::MeshBusy),
            (
                MeshSendError::PeerFull { peer, limit: 1 }.into(),
                ErrorCode::MeshBusy,
            ),
            (MeshError::FilesFull { limit: 1 }, ErrorCode::MeshBusy),
            (MeshError::RadiosFull { limit: 1 }, ErrorCode::MeshBusy),
            (
                MeshSendError::Text {
                    actual: 0,
                    limit: 1,
                }
                .into(),
                ErrorCode::InvalidMeshContent,
            ),
            (
                fogcompute_mesh::FormatError::Missing { tag: 1 }.into(),
                ErrorCode::InvalidMeshContent,
            ),
            (StoreError::BadIdentity.into(), ErrorCode::StorageCorrupt),
            (MeshError::UnknownFile { file }, ErrorCode::UnknownFile),
            (
                MeshError::FileExists { path: "a".into() },
                ErrorCode::StorageExists,
            ),
            (
                MeshError::NotAFile { path: "a".into() },
                ErrorCode::InvalidArgument,
            ),
            (
                StoreError::NotAFile { path: "a".into() }.into(),
                ErrorCode::InvalidArgument,
            ),
            (
                StoreError::Empty { path: "a".into() }.into(),
                ErrorCode::StorageMissing,
            ),
        ] {
            assert_eq!(code(error.into()), expected);
        }
        assert_eq!(
            code(BuildError::PayloadTooLarge { actual: 1, max: 0 }.into()),
            ErrorCode::PayloadTooLarge
        );
        assert_eq!(
            code(BuildError::HopCount { actual: 0, max: 7 }.into()),
            ErrorCode::InvalidRoute
        );
        let mixnet = |error: MixnetError| Error::Mixnet(error).code();
        let what = "mixnode";
        assert_eq!(mixnet(MixnetError::Closed { what }), ErrorCode::Closed);
        assert_eq!(mixnet(MixnetError::Forked { what }), ErrorCode::Closed);
        assert_eq!(mixnet(MixnetError::Answered), ErrorCode::InvalidReplyBlock);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        for (error, expected) in [
            (
                SendError::Topology(TopologyError::EmptyLayer { layer: 0 }),
                ErrorCode::InvalidRoute,
            ),
            (
                SendError::TooFewSurbs {
                    needed: 2,
                    available: 1,
                },
                ErrorCode::PayloadTooLarge,
            ),
            (SendError::OutgoingFull { limit: 1 }, ErrorCode::MixnetBusy),
            (
                SendError::Surb(SurbError::Sealed),
                ErrorCode::InvalidReplyBlock,
            ),
            (
                SendError::ForeignEntry {
                    first: fogcompute_mix::NodeRef::from_bytes([1; 8]),
                },
                ErrorCode::InvalidReplyBlock,
            ),
        ] {
            assert_eq!(mixnet(error.into()), expected);
        }
        assert_eq!(
            mixnet(fogcompute_mix::SurbStoreError::Sealed.into()),
            ErrorCode::StorageCorrupt
        );
        assert_eq!(
            mixnet(MixnetError::OtherIdentity),
            ErrorCode::InvalidArgument
        );
        assert_eq!(
            mixnet(EngineError::AddressInUse { address }.into()),
            ErrorCode::Listen
        );
        assert_eq!(
            mixnet(MixnetError::GivenUp {
                arrived: 0,
                packets: 1
            }),
            ErrorCode::NotDelivered
        );
        assert_eq!(code(Error::Replayed), ErrorCode::Replayed);
        assert_eq!(
            code(TopologyFileError::Signature.into()),
            ErrorCode::InvalidTopology
        );
        assert_eq!(
            code(PlacementError::NoJobs.into()),
            ErrorCode::InvalidProblem
        );
        assert_eq!(code(PlacementError::Stopped.into()), ErrorCode::Cancelled);
        let job = fogcompute_base::TaskId::from_bytes([1; 16]);
        for error in [
            PlacementError::NoCommonNode {
                jobs: vec![job],
                shared: 1,
            },
            PlacementError::Impossible {
                jobs: vec![job],
                rules: vec![],
            },
            PlacementError::Crowded { job },
            PlacementError::Late { job, late_ms: 1 },
        ] {
            assert_eq!(code(error.into()), ErrorCode::Infeasible);
        }
        assert_eq!(
            code(FogError::Task(TaskError::OutOfFuel { limit: 1 }).into()),
            ErrorCode::OutOfFuel
        );
        assert_eq!(code(FogError::Closed.into()), ErrorCode::Closed);
        assert_eq!(code(FogError::Forked.into()), ErrorCode::Closed);
        assert_eq!(code(FogError::NoMemory.into()), ErrorCode::InvalidArgument);
        assert_eq!(code(ProbeError::Unavailable.into()), ErrorCode::ProbeFailed);
        assert_eq!(
            code(
                ProbeError::Host {
                    reason: String::new()
                }
                .into()
            ),
            ErrorCode::HostCallback
        );
    }
}
