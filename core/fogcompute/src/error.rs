//! One error for the whole library, with codes that stay.

use std::convert::Infallible;

use fogcompute_base::{AccountId, ParseIdError};
use fogcompute_coord::SubmitError;
use fogcompute_exec::{SpecError, TaskError};
use fogcompute_harvest::{PolicyError, ProbeError};
use fogcompute_ledger::{LedgerError, ParseAmountError};
use fogcompute_mix::{
    BuildError, GeometryError, MessageError, PacketError, ParseContactError, SendError, SurbError,
    TooManyTags, TopologyError, TopologyFileError,
};
use fogcompute_net::EngineError;
use fogcompute_node::{FogError, MixnetError, NodeError};
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
        /// 5 harvesting, 6 execution, 7 storage, 8 nodes and network.
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
    /// A reservation was posted, was voided or has expired.
    ReservationClosed = 404,
    /// An operation makes no sense: zero amount, one account twice, other assets, overflow.
    InvalidOperation = 405,
    /// A reservation is unknown: there never was one of that id.
    UnknownReservation = 406,

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

    /// A file cannot be opened, read or written.
    Storage = 700,
    /// A file is in use by another handle or process.
    StorageLocked = 701,
    /// A file is damaged, or not what it should be.
    StorageCorrupt = 702,

    /// A node or coordinator cannot go on.
    Node = 800,
    /// An address cannot be listened on: it is in use, or not one of this machine.
    Listen = 801,
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
    /// A harvest policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The text of a harvest policy. Lines that are shown are cut at
    /// [`POLICY_ERROR_LINE_CHARS_MAX`](crate::POLICY_ERROR_LINE_CHARS_MAX).
    #[error("harvest policy: {}", Excerpt(.0))]
    PolicyText(Box<toml::de::Error>),
    /// A device.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Describing a task.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A fog in this process, or a task of it.
    #[error(transparent)]
    Fog(#[from] FogError),
    /// A node or coordinator.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The text of an identifier.
    #[error(transparent)]
    Id(#[from] ParseIdError),
    /// The text of an amount.
    #[error(transparent)]
    Amount(#[from] ParseAmountError),
}

impl Error {
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
            Self::Policy(_) | Self::PolicyText(_) => ErrorCode::InvalidPolicy,
            Self::Probe(ProbeError::Host { .. }) => ErrorCode::HostCallback,
            Self::Probe(_) => ErrorCode::ProbeFailed,
            Self::Fog(error) => fog_code(error),
            Self::Node(_) => ErrorCode::Node,
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

fn store_code(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::Ledger(error) => ledger_code(error),
        StoreError::Locked { .. } => ErrorCode::StorageLocked,
        StoreError::SpecialPath { .. } | StoreError::NulInPath { .. } => ErrorCode::InvalidArgument,
        StoreError::Forked { .. } => ErrorCode::Closed,
        StoreError::NotADatabase { .. }
        | StoreError::OtherDatabase { .. }
        | StoreError::SchemaTooNew { .. }
        | StoreError::Corruption(_)
        | StoreError::BadEntry { .. }
        | StoreError::BadAccount { .. }
        | StoreError::BadBatch { .. }
        | StoreError::BadProjection { .. }
        | StoreError::ProjectionDiffers { .. }
        | StoreError::StateDiffers
        | StoreError::HeadDiffers { .. }
        | StoreError::Damaged { .. }
        | StoreError::Malformed { .. } => ErrorCode::StorageCorrupt,
        _ => ErrorCode::Storage,
    }
}

fn ledger_code(error: &LedgerError) -> ErrorCode {
    match error {
        LedgerError::InsufficientFunds { .. } => ErrorCode::InsufficientFunds,
        LedgerError::UnknownAccount { .. } => ErrorCode::UnknownAccount,
        LedgerError::AccountExists { .. } => ErrorCode::AccountExists,
        LedgerError::IdReused { .. } => ErrorCode::IdReused,
        LedgerError::UnknownReservation { .. } | LedgerError::NotAReservation { .. } => {
            ErrorCode::UnknownReservation
        }
        LedgerError::ReservationPosted { .. }
        | LedgerError::ReservationVoided { .. }
        | LedgerError::ReservationExpired { .. } => ErrorCode::ReservationClosed,
        _ => ErrorCode::InvalidOperation,
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
        TaskError::InputOutsideMemory { .. } | TaskError::Trap { .. } => ErrorCode::Trap,
        TaskError::Cancelled => ErrorCode::Cancelled,
        _ => ErrorCode::TaskLost,
    }
}

fn fog_code(error: &FogError) -> ErrorCode {
    match error {
        FogError::Workers { .. } | FogError::NoMemory => ErrorCode::InvalidArgument,
        FogError::Closed | FogError::Forked => ErrorCode::Closed,
        FogError::Unplaceable(_) => ErrorCode::Infeasible,
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
    fn errors_of_every_crate_have_their_code() {
        let code = |error: Error| error.code();
        assert_eq!(code(PacketError::Header.into()), ErrorCode::InvalidPacket);
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
