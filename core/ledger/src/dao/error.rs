//! Why governance refuses, and what is wrong with an event or a snapshot.

use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};
use thiserror::Error;

use super::{Choice, ProposalKind, ProposalState, Role, Scope, Weight};
use crate::economy::EconomyError;
use crate::{Amount, Ppm};

/// Why an operation is refused. Nothing has changed then.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum DaoError {
    /// The host's clock was set back. Ask again when it has caught up.
    #[error("time {now} is before the last event ({last})")]
    ClockBehind {
        /// The time that was given.
        now: UnixMillis,
        /// The time of the last event.
        last: UnixMillis,
    },
    /// There is no such proposal.
    #[error("there is no proposal {proposal}")]
    UnknownProposal {
        /// The proposal.
        proposal: TransferId,
    },
    /// The id names a proposal already.
    #[error("proposal {proposal} exists already")]
    ProposalExists {
        /// The proposal.
        proposal: TransferId,
    },
    /// There is no such account, or it is a purse of the economy.
    #[error("there is no account {account} that takes part in governance")]
    UnknownAccount {
        /// The account.
        account: AccountId,
    },
    /// The account is enrolled already.
    #[error("account {account} is enrolled already")]
    AlreadyEnrolled {
        /// The account.
        account: AccountId,
    },
    /// The founding roles were given already. Others are granted by proposals.
    #[error("founding roles were given already")]
    AlreadyEstablished,
    /// No role was to be given.
    #[error("no roles are named")]
    NoRoles,
    /// An account was to have two roles.
    #[error("account {account} is named twice")]
    RoleRepeated {
        /// The account.
        account: AccountId,
    },
    /// Nobody is made a citizen: everybody is who has no other role.
    #[error("account {account} would be made a citizen")]
    RoleIsCitizen {
        /// The account.
        account: AccountId,
    },
    /// So many accounts have a role already.
    #[error("more than {limit} accounts would have a role")]
    TooManyRoleHolders {
        /// [`Rules::role_holders_max`](super::Rules::role_holders_max).
        limit: u32,
    },
    /// The account has that reputation.
    #[error("account {account} has a reputation of {reputation} already")]
    ReputationUnchanged {
        /// The account.
        account: AccountId,
        /// Its reputation.
        reputation: Ppm,
    },
    /// A topic is named twice.
    #[error("topic {topic} is named twice")]
    TopicRepeated {
        /// The topic.
        topic: ProposalKind,
    },
    /// Votes were to be split among too many.
    #[error("votes of account {voter} would be split into {actual} parts, the limit is {limit}")]
    TooManyDelegates {
        /// Who delegates.
        voter: AccountId,
        /// The parts.
        actual: usize,
        /// [`DELEGATES_MAX`](super::DELEGATES_MAX).
        limit: usize,
    },
    /// A delegate is named twice.
    #[error("delegate {delegate} is named twice")]
    DelegateRepeated {
        /// The delegate.
        delegate: AccountId,
    },
    /// An account keeps what it does not delegate; it is not its own delegate.
    #[error("account {voter} would delegate to itself")]
    SelfDelegation {
        /// The account.
        voter: AccountId,
    },
    /// A delegate would get nothing.
    #[error("delegate {delegate} would get no part")]
    PartZero {
        /// The delegate.
        delegate: AccountId,
    },
    /// More was to be delegated than there is.
    #[error("account {voter} would delegate {sum} parts per million")]
    PartsExceedWhole {
        /// Who delegates.
        voter: AccountId,
        /// The parts together, in millionths.
        sum: u64,
    },
    /// There is no delegation to revoke.
    #[error("account {voter} has delegated nothing on those topics")]
    NothingDelegated {
        /// The account.
        voter: AccountId,
    },
    /// Power would come back to where it came from.
    #[error(
        "delegation of account {voter} on {topic} is circular: account {closes} delegates back to it"
    )]
    CircularDelegation {
        /// Who delegates.
        voter: AccountId,
        /// On what.
        topic: ProposalKind,
        /// The account whose delegation closes the circle.
        closes: AccountId,
    },
    /// Power would pass through too many delegations.
    #[error("power would pass through {depth} delegations on {topic}, the limit is {limit}")]
    DelegationTooDeep {
        /// On what.
        topic: ProposalKind,
        /// The longest chain there would be.
        depth: u32,
        /// [`Rules::delegation_depth_max`](super::Rules::delegation_depth_max).
        limit: u32,
    },
    /// Power would be split into too many ways.
    #[error("power could be split into {paths} ways on {topic}, the limit is {limit}")]
    DelegationTooWide {
        /// On what.
        topic: ProposalKind,
        /// The most ways there could be.
        paths: u64,
        /// [`Rules::delegation_paths_max`](super::Rules::delegation_paths_max).
        limit: u32,
    },
    /// More weight would come together than can be counted.
    #[error("voting weight overflows")]
    WeightOverflow,
    /// What will be is not known, and what is may change within the millisecond.
    #[error("weights at {time} are not settled at {now}")]
    FutureLookup {
        /// The time asked about.
        time: UnixMillis,
        /// The time.
        now: UnixMillis,
    },
    /// The title is empty, or of spaces alone.
    #[error("title is empty")]
    TitleEmpty,
    /// The title is too long.
    #[error("title of {actual} characters exceeds the limit of {limit}")]
    TitleTooLong {
        /// Its characters.
        actual: usize,
        /// [`Content::TITLE_CHARS_MAX`](super::Content::TITLE_CHARS_MAX).
        limit: usize,
    },
    /// The description is too long.
    #[error("description of {actual} bytes exceeds the limit of {limit}")]
    DescriptionTooLong {
        /// Its bytes.
        actual: usize,
        /// [`Content::DESCRIPTION_BYTES_MAX`](super::Content::DESCRIPTION_BYTES_MAX).
        limit: usize,
    },
    /// A text has a character that is not printed, and could hide what it says: a control character,
    /// one of no width, or one that turns the direction of the text.
    #[error("character U+{code:04X} at byte {position} is not printed")]
    ControlCharacter {
        /// Where, in bytes.
        position: usize,
        /// Its number in Unicode.
        code: u32,
    },
    /// The proposal would do nothing.
    #[error("proposal has no actions")]
    NoActions,
    /// The proposal would do too much.
    #[error("proposal of {actual} actions exceeds the limit of {limit}")]
    TooManyActions {
        /// Its actions.
        actual: usize,
        /// [`Content::ACTIONS_MAX`](super::Content::ACTIONS_MAX).
        limit: usize,
    },
    /// Proposals of that kind do not carry such an action: see [`Action`](super::Action).
    #[error("action {index}, {action}, is not for a proposal of kind {kind}")]
    ActionNotAllowed {
        /// Which action, from 0.
        index: usize,
        /// [`Action::name`](super::Action::name).
        action: &'static str,
        /// The kind.
        kind: ProposalKind,
    },
    /// An action cannot be done, now or ever.
    #[error("action {index}: {reason}")]
    ActionInvalid {
        /// Which action, from 0.
        index: usize,
        /// Why not.
        #[source]
        reason: Box<ActionError>,
    },
    /// The author does not weigh enough to propose. What it has delegated does not count, nor
    /// what it has received in this millisecond.
    #[error("account {author} weighs {weight}, a proposer must weigh {threshold}")]
    ThresholdNotMet {
        /// Who proposes.
        author: AccountId,
        /// What it weighed the millisecond before.
        weight: Weight,
        /// What a proposer must weigh.
        threshold: Amount,
    },
    /// So many proposals are not over yet.
    #[error("{limit} proposals are not over, the most allowed")]
    TooManyProposals {
        /// [`Rules::live_max`](super::Rules::live_max).
        limit: u32,
    },
    /// So many of the author's proposals are not over yet.
    #[error("{limit} proposals of account {author} are not over, the most allowed")]
    TooManyProposalsOfAuthor {
        /// The author.
        author: AccountId,
        /// [`Rules::live_per_author_max`](super::Rules::live_per_author_max).
        limit: u32,
    },
    /// There are so many drafts.
    #[error("there are {limit} drafts, the most allowed")]
    TooManyDrafts {
        /// [`Rules::drafts_max`](super::Rules::drafts_max).
        limit: u32,
    },
    /// The author has so many drafts.
    #[error("account {author} has {limit} drafts, the most allowed")]
    TooManyDraftsOfAuthor {
        /// The author.
        author: AccountId,
        /// [`Rules::drafts_per_author_max`](super::Rules::drafts_per_author_max).
        limit: u32,
    },
    /// Somebody else's draft was to be submitted.
    #[error("proposal {proposal} is of account {author}, not of {by}")]
    NotTheAuthor {
        /// The proposal.
        proposal: TransferId,
        /// Its author.
        author: AccountId,
        /// Who asked.
        by: AccountId,
    },
    /// The proposal was submitted already, or withdrawn.
    #[error("proposal {proposal} is {}, not a draft", .state.name())]
    NotADraft {
        /// The proposal.
        proposal: TransferId,
        /// What it is.
        state: ProposalState,
    },
    /// It is too early to vote.
    #[error("voting on proposal {proposal} begins after {snapshot}")]
    VotingNotStarted {
        /// The proposal.
        proposal: TransferId,
        /// The last millisecond before voting begins.
        snapshot: UnixMillis,
    },
    /// It is too late to vote, or the proposal was never submitted.
    #[error("proposal {proposal} is {} and cannot be voted on", .state.name())]
    VotingOver {
        /// The proposal.
        proposal: TransferId,
        /// What it is.
        state: ProposalState,
    },
    /// There is no such choice.
    #[error("there is no choice with the number {code}")]
    UnknownChoice {
        /// The number.
        code: u8,
    },
    /// The voter had no weight at the snapshot, or all of what it was given has voted itself.
    #[error("account {voter} has no voting power on proposal {proposal}")]
    NoVotingPower {
        /// The proposal.
        proposal: TransferId,
        /// Who voted.
        voter: AccountId,
    },
    /// The voter said that already.
    #[error("account {voter} voted {choice} on proposal {proposal} already")]
    AlreadyVoted {
        /// The proposal.
        proposal: TransferId,
        /// Who voted.
        voter: AccountId,
        /// What it said.
        choice: Choice,
    },
    /// The voter has changed its vote so often.
    #[error(
        "account {voter} has changed its vote on proposal {proposal} {limit} times, the most allowed"
    )]
    TooManyChanges {
        /// The proposal.
        proposal: TransferId,
        /// Who voted.
        voter: AccountId,
        /// [`Terms::vote_changes_max`](super::Terms::vote_changes_max).
        limit: u32,
    },
    /// Only its author may cancel a proposal before voting begins; later a guardian or king may
    /// who has been one for a millisecond, until it is over.
    #[error("account {by} may not cancel proposal {proposal}, which is {}", .state.name())]
    CancelRefused {
        /// The proposal.
        proposal: TransferId,
        /// Who asked.
        by: AccountId,
        /// What it is.
        state: ProposalState,
    },
    /// The proposal has not passed, or is further already.
    #[error("proposal {proposal} is {}, not succeeded", .state.name())]
    NotSucceeded {
        /// The proposal.
        proposal: TransferId,
        /// What it is.
        state: ProposalState,
    },
    /// The proposal was not queued, or is further already.
    #[error("proposal {proposal} is {}, not queued", .state.name())]
    NotQueued {
        /// The proposal.
        proposal: TransferId,
        /// What it is.
        state: ProposalState,
    },
    /// It is too early to execute.
    #[error("proposal {proposal} can be executed at {eta}")]
    TimelockRunning {
        /// The proposal.
        proposal: TransferId,
        /// When it can be.
        eta: UnixMillis,
    },
    /// An action cannot be done. Nothing of the proposal is, and it stays queued.
    #[error("action {index} of proposal {proposal} failed: {reason}")]
    ActionFailed {
        /// The proposal.
        proposal: TransferId,
        /// Which action, from 0.
        index: usize,
        /// Why.
        #[source]
        reason: Box<ActionError>,
    },
}

/// Why an action cannot be done.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ActionError {
    /// A parameter cannot be set to that.
    #[error("{reason}")]
    Parameter {
        /// Why not.
        #[source]
        reason: EconomyError,
    },
    /// It would change nothing: the parameter is set to that.
    #[error("parameter {name} is {value} already")]
    ParameterUnchanged {
        /// The parameter.
        name: String,
        /// What it is set to.
        value: u128,
    },
    /// It does over or undoes what an earlier action of the same proposal does: one parameter set
    /// twice, one account given two roles, something paused and unpaused.
    #[error("it does over what action {earlier} does")]
    Overrules {
        /// Which action, from 0.
        earlier: usize,
    },
    /// The name of a parameter or a version has no allowed length.
    #[error("name of {actual} bytes, 1 to {limit} are allowed")]
    NameLength {
        /// Its bytes.
        actual: usize,
        /// The most allowed.
        limit: usize,
    },
    /// A version has a character that is not printed.
    #[error("character U+{code:04X} at byte {position} of the version is not printed")]
    NameCharacter {
        /// Where, in bytes.
        position: usize,
        /// Its number in Unicode.
        code: u32,
    },
    /// A payment is of nothing.
    #[error("payment of nothing")]
    PaysNothing,
    /// Payments together are more than can be counted.
    #[error("payments overflow")]
    SumOverflow,
    /// The treasury does not have what the payments up to this one come to.
    #[error("payments come to {asked} with it, the treasury has {available}")]
    Unpayable {
        /// What the payments come to, with this one.
        asked: Amount,
        /// What the treasury has.
        available: Amount,
    },
    /// Payments from the treasury are paused.
    #[error("the treasury is paused")]
    TreasuryPaused,
    /// There is no such account, or it is a purse of the economy.
    #[error("there is no account {account} that takes part")]
    UnknownAccount {
        /// The account.
        account: AccountId,
    },
    /// A role is taken by revoking it.
    #[error("account {account} would be granted the role of a citizen")]
    RoleIsCitizen {
        /// The account.
        account: AccountId,
    },
    /// The account has that role.
    #[error("account {account} is a {role} already")]
    RoleUnchanged {
        /// The account.
        account: AccountId,
        /// Its role.
        role: Role,
    },
    /// So many accounts have a role already.
    #[error("{limit} accounts have a role, the most allowed")]
    TooManyRoleHolders {
        /// [`Rules::role_holders_max`](super::Rules::role_holders_max).
        limit: u32,
    },
    /// The account has no role to revoke.
    #[error("account {account} has no role")]
    NoRole {
        /// The account.
        account: AccountId,
    },
    /// The upgrade would be in force before it can be decided, or is past.
    #[error("upgrade at {activates} is not after {earliest}")]
    UpgradeTooSoon {
        /// When it would be in force.
        activates: UnixMillis,
        /// The earliest it can be executed.
        earliest: UnixMillis,
    },
    /// That version was scheduled already.
    #[error("version {version:?} is scheduled already")]
    UpgradeExists {
        /// The version.
        version: String,
    },
    /// That agent was deployed already.
    #[error("agent {agent} is deployed already")]
    AgentExists {
        /// The agent.
        agent: Digest,
    },
    /// It is paused already.
    #[error("{scope} is paused already")]
    Paused {
        /// What.
        scope: Scope,
    },
    /// It is not paused.
    #[error("{scope} is not paused")]
    NotPaused {
        /// What.
        scope: Scope,
    },
}

/// What is wrong with an event or a snapshot: it was made by other rules, or changed.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Corruption {
    /// The event records what the state does not allow.
    #[error("event cannot have happened")]
    Impossible {
        /// Why.
        #[source]
        reason: Box<DaoError>,
    },
    /// The event records another effect than it has on this state.
    #[error("event does not record the effect it has")]
    Inconsistent,
    /// A row of the snapshot is there twice, out of order, or about what is not there.
    #[error("row {row} of {table} does not belong there")]
    RowMisplaced {
        /// Which rows.
        table: &'static str,
        /// Which of them, from 0.
        row: usize,
    },
    /// What an account weighs is not what it has.
    #[error("weight of account {account} is not what it has")]
    WeightsDiffer {
        /// The account.
        account: AccountId,
    },
    /// What an account has received is not what was delegated to it.
    #[error("account {account} did not receive on {topic} what was delegated to it")]
    FlowsDiffer {
        /// The account.
        account: AccountId,
        /// On what.
        topic: ProposalKind,
    },
    /// The total weight is not what its parts add up to.
    #[error("total weight is not what its parts add up to")]
    TotalDiffers,
    /// The tally of a proposal is not what its ballots add up to.
    #[error("tally of proposal {proposal} is not what its ballots add up to")]
    TallyDiffers {
        /// The proposal.
        proposal: TransferId,
    },
}
