use std::ffi::c_char;

use fogcompute::base::UnixMillis;
use fogcompute::{
    Amount, Ballot, Choice, DelegatedPart, EconomyRequest, Error, GovernanceMember,
    GovernanceProposal, GovernanceRequest, Operation, PauseScope, Ppm, ProposalContent,
    ProposalKind, ProposalState, Role, RoleHolder, Tally, VotingPower, Weighing, Weight,
};

use super::batch::add;
use super::{fog_amount, fog_batch, fog_economy_receipt, fog_ledger};
use crate::support::{
    Failure, chars, check_room, fill_items, give_text, guard, optional_result, parsed,
    parsed_chars, reference, result, slice, text,
};
use crate::{FOG_ID_SIZE, fog_status};

/// What a voter says.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_choice {
    /// No.
    Against = 1,
    /// Yes.
    For = 2,
    /// Neither; counts for the quorum.
    Abstain = 3,
}

/// What a proposal is about. Also what votes are delegated by.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_proposal_kind {
    /// Numbers of the economy.
    ParameterChange = 1,
    /// Payments from the treasury.
    TreasuryAllocation = 2,
    /// The version that nodes run.
    ProtocolUpgrade = 3,
    /// A pause, on a shorter clock and with a higher bar.
    EmergencyAction = 4,
    /// An agent and its budget.
    AgentDeployment = 5,
    /// Roles and resolutions.
    General = 6,
}

/// Where a proposal is in its life.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_proposal_state {
    /// Its author's own; no clock runs.
    Draft = 1,
    /// Submitted; the snapshot is not past.
    Pending = 2,
    /// Can be voted on.
    Active = 3,
    /// The deadline passed without a quorum or approval.
    Defeated = 4,
    /// Passed; can be queued.
    Succeeded = 5,
    /// Waits for its timelock, then can be executed.
    Queued = 6,
    /// Done.
    Executed = 7,
    /// Nobody queued or executed it in time.
    Expired = 8,
    /// Withdrawn by its author or stopped by a guardian.
    Cancelled = 9,
}

/// What an account is in governance.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_role {
    /// Everybody else.
    Citizen = 1,
    /// Votes for others, by trade.
    Delegate = 2,
    /// Sits on a council.
    Councilor = 3,
    /// May cancel proposals.
    Guardian = 4,
    /// May cancel proposals.
    King = 5,
}

/// How power becomes votes.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_weighing {
    /// As it is.
    Linear = 1,
    /// Times a reputation.
    Reputation = 2,
    /// Its square root.
    Quadratic = 3,
    /// The more, the longer a vote stands.
    Conviction = 4,
}

impl From<Choice> for fog_choice {
    fn from(value: Choice) -> Self {
        match value {
            Choice::Against => Self::Against,
            Choice::For => Self::For,
            Choice::Abstain => Self::Abstain,
        }
    }
}

impl From<ProposalKind> for fog_proposal_kind {
    fn from(value: ProposalKind) -> Self {
        match value {
            ProposalKind::ParameterChange => Self::ParameterChange,
            ProposalKind::TreasuryAllocation => Self::TreasuryAllocation,
            ProposalKind::ProtocolUpgrade => Self::ProtocolUpgrade,
            ProposalKind::EmergencyAction => Self::EmergencyAction,
            ProposalKind::AgentDeployment => Self::AgentDeployment,
            ProposalKind::General => Self::General,
        }
    }
}

impl From<ProposalState> for fog_proposal_state {
    fn from(value: ProposalState) -> Self {
        match value {
            ProposalState::Draft => Self::Draft,
            ProposalState::Pending => Self::Pending,
            ProposalState::Active => Self::Active,
            ProposalState::Defeated => Self::Defeated,
            ProposalState::Succeeded => Self::Succeeded,
            ProposalState::Queued => Self::Queued,
            ProposalState::Executed => Self::Executed,
            ProposalState::Expired => Self::Expired,
            ProposalState::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Role> for fog_role {
    fn from(value: Role) -> Self {
        match value {
            Role::Citizen => Self::Citizen,
            Role::Delegate => Self::Delegate,
            Role::Councilor => Self::Councilor,
            Role::Guardian => Self::Guardian,
            Role::King => Self::King,
        }
    }
}

impl From<Weighing> for fog_weighing {
    fn from(value: Weighing) -> Self {
        match value {
            Weighing::Linear => Self::Linear,
            Weighing::Reputation => Self::Reputation,
            Weighing::Quadratic => Self::Quadratic,
            Weighing::Conviction => Self::Conviction,
        }
    }
}

fn topic_of(number: i32) -> Result<ProposalKind, Failure> {
    let all = ProposalKind::ALL.into_iter();
    let mut found = all.zip(1..).filter(|(_, its)| *its == number);
    (found.next().map(|(value, _)| value))
        .ok_or_else(|| Failure::argument("topic is no fog_proposal_kind"))
}

fn role_of(number: i32) -> Result<Role, Failure> {
    let all = Role::ALL.into_iter();
    let mut found = all.zip(1..).filter(|(_, its)| *its == number);
    (found.next().map(|(value, _)| value)).ok_or_else(|| Failure::argument("role is no fog_role"))
}

fn choice_of(number: i32) -> Result<Choice, Failure> {
    let all = Choice::ALL.into_iter();
    let mut found = all.zip(1..).filter(|(_, its)| *its == number);
    (found.next().map(|(value, _)| value)).ok_or_else(|| Failure {
        status: fog_status::UnknownChoice,
        message: format!("choice {number} is no fog_choice"),
    })
}

/// What is asked of governance.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_governance_kind {
    /// Gives the founding roles, once: `roles`. From then on the host sets no parameters and pays
    /// no rewards from treasury or mint: proposals do.
    Establish = 1,
    /// Lets an account vote with what it has from now on: `account`. Delegating and being granted a
    /// role do so too.
    Enrol = 2,
    /// Delegates votes of `account` to `delegates`, in place of what was delegated before on
    /// `topics`: on all of them if there are none. The rest stays with it; without delegates all
    /// does, which revokes.
    Delegate = 3,
    /// Sets what the votes of `account` are counted by where reputation counts: `reputation_ppm`.
    SetReputation = 4,
    /// Keeps a proposal that is not submitted yet: `account`, `proposal`, `content`.
    Draft = 5,
    /// Submits a draft: `account`, `proposal`.
    Submit = 6,
    /// Submits a proposal that was no draft: `account`, `proposal`, `content`.
    Propose = 7,
    /// Votes, or changes a vote: `account`, `proposal`, `choice`. Who has delegated and votes takes
    /// that back for this proposal.
    Vote = 8,
    /// Cancels a proposal: `account`, its author before voting begins, or a guardian or a king
    /// until it is over, and `proposal`.
    Cancel = 9,
    /// Starts the timelock of a proposal that has passed: `proposal`. Anybody may.
    Queue = 10,
    /// Does what a proposal says, all or nothing: `proposal`. Anybody may.
    Execute = 11,
}

/// A part of somebody's votes, and who casts it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fog_delegated_part {
    /// Casts it.
    pub to_account: [c_char; FOG_ID_SIZE],
    /// How much of it, in millionths.
    pub part_ppm: u32,
}

/// A role and who has it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fog_role_holder {
    /// Who has it.
    pub account: [c_char; FOG_ID_SIZE],
    /// A fog_role.
    pub role: i32,
}

/// What is asked of governance. Only the fields that its kind names are read; zero the others.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fog_governance_request {
    /// A fog_governance_kind.
    pub kind: i32,
    /// Who asks, 32 hexadecimal digits, or whom it is about.
    pub account: *const c_char,
    /// Names the proposal, 32 hexadecimal digits, for ever.
    pub proposal: *const c_char,
    /// What a proposal says, as JSON text:
    ///
    ///     {"kind": "parameter_change", "title": "Pay hosts more", "description": "",
    ///      "actions": [{"set_parameter": {"name": "earning.contributions.hosting.base",
    ///                                     "value": "8000000000000000000"}}]}
    ///
    /// Kinds are those of fog_proposal_kind in lower case; actions are set_parameter (name, value),
    /// pay (to, amount, code), grant_role (account, role), revoke_role (account), schedule_upgrade
    /// (version, digest, activates), deploy_agent (agent, operator, budget), pause and unpause
    /// (scope), resolve (text). Amounts and values are texts of decimal digits, digests 64
    /// hexadecimal digits, times numbers of milliseconds since 1970.
    pub content: *const c_char,
    /// A fog_choice.
    pub choice: i32,
    /// Of a SetReputation, in millionths.
    pub reputation_ppm: u32,
    /// Values of fog_proposal_kind.
    pub topics: *const i32,
    /// How many topics.
    pub topics_len: usize,
    /// To whom votes are delegated.
    pub delegates: *const fog_delegated_part,
    /// How many delegates.
    pub delegates_len: usize,
    /// Who has which role.
    pub roles: *const fog_role_holder,
    /// How many roles.
    pub roles_len: usize,
}

/// What came together for each choice.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_tally {
    /// Against it.
    pub against: fog_amount,
    /// For it.
    pub in_favor: fog_amount,
    /// Neither.
    pub abstain: fog_amount,
}

/// A proposal as it stands, but for what it says: fog_governance_content().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_proposal {
    /// Names it.
    pub id: [c_char; FOG_ID_SIZE],
    /// Who made it.
    pub author: [c_char; FOG_ID_SIZE],
    /// What it is about.
    pub kind: fog_proposal_kind,
    /// Where it is in its life.
    pub state: fog_proposal_state,
    /// Weights count as they were at the end of this millisecond since 1970, and voting begins
    /// after it. 0 for a draft, like all that the rules decide when it is submitted.
    pub snapshot_unix_ms: u64,
    /// The last millisecond to vote in since 1970, as far as is known: a late quorum moves it.
    pub deadline_unix_ms: u64,
    /// When it may be executed, once it is queued, in milliseconds since 1970.
    pub eta_unix_ms: u64,
    /// When it was executed or cancelled, in milliseconds since 1970.
    pub closed_unix_ms: u64,
    /// Who cancelled it, or empty.
    pub cancelled_by: [c_char; FOG_ID_SIZE],
    /// All weight at the snapshot, or empty until that is past.
    pub total: fog_amount,
    /// The power of votes for it and of abstentions that makes a quorum, or empty until the
    /// snapshot is past.
    pub quorum: fog_amount,
    /// Whether there is a quorum.
    pub quorum_reached: bool,
    /// The part of the votes for and against that must be for it, in millionths.
    pub approval_ppm: u32,
    /// Whether that many are.
    pub approved: bool,
    /// How power becomes votes.
    pub weighing: fog_weighing,
    /// The power of those who voted, which a quorum is counted in.
    pub power: fog_tally,
    /// The votes that makes, which approval is counted in.
    pub votes: fog_tally,
    /// How many have voted. None once it is over: ballots are forgotten, the history has them.
    pub ballots: usize,
}

/// What a voter has said about a proposal.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_ballot {
    /// What it says.
    pub choice: fog_choice,
    /// All power it carries: the voter's own and what was delegated, but for what others took back
    /// by voting themselves.
    pub power: fog_amount,
    /// The power that counts: no voter has more than the rules allow one.
    pub counted: fog_amount,
    /// The votes that makes.
    pub votes: fog_amount,
    /// How often it was changed.
    pub changes: u32,
}

/// Where an account's power on a topic comes from and goes to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_voting_power {
    /// What it weighs itself, by its role.
    pub own: fog_amount,
    /// What was delegated to it, directly or through others.
    pub received: fog_amount,
    /// What it delegates of both.
    pub passed_on: fog_amount,
    /// What it can vote with, if nobody whose votes it casts votes: for a vote of its own takes
    /// back what it delegated.
    pub power: fog_amount,
    /// What stays with it: what a proposer must weigh.
    pub kept: fog_amount,
}

/// What an account is to governance.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_member {
    /// Whether what it has counts.
    pub enrolled: bool,
    /// Its role.
    pub role: fog_role,
    /// What counts, in its account.
    pub tokens: fog_amount,
    /// What counts, staked.
    pub staked: fog_amount,
    /// Whether a reputation was set for it.
    pub has_reputation: bool,
    /// That reputation, in millionths.
    pub reputation_ppm: u32,
}

/// What governance is beside its proposals.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_governance {
    /// Whether founding roles were given: from then on, rules and treasury are governed.
    pub established: bool,
    /// How many accounts are enrolled.
    pub members: usize,
    /// How many accounts have a role: fog_governance_roles().
    pub roles: usize,
    /// What everybody holds and has staked: counted from when the first account is enrolled.
    pub circulating: fog_amount,
    /// All weight: what circulates, and what roles add to it.
    pub total: fog_amount,
    /// Whether rewards for contributions and sessions are paused.
    pub earning_paused: bool,
    /// Whether bonding, unbonding, redelegation and claims are paused.
    pub staking_paused: bool,
    /// Whether fees are paused.
    pub fees_paused: bool,
    /// Whether payments from the treasury are paused.
    pub treasury_paused: bool,
}

impl From<Weight> for fog_amount {
    fn from(weight: Weight) -> Self {
        Amount(weight.0).into()
    }
}

impl From<Tally> for fog_tally {
    fn from(tally: Tally) -> Self {
        Self {
            against: tally.against.into(),
            in_favor: tally.in_favor.into(),
            abstain: tally.abstain.into(),
        }
    }
}

impl From<GovernanceProposal> for fog_proposal {
    fn from(proposal: GovernanceProposal) -> Self {
        let time = |time: Option<UnixMillis>| time.map_or(0, |time| time.0);
        let unknown = fog_amount { text: chars("") };
        Self {
            id: chars(&proposal.id.to_string()),
            author: chars(&proposal.author.to_string()),
            kind: proposal.content.kind.into(),
            state: proposal.state.into(),
            snapshot_unix_ms: time(proposal.snapshot),
            deadline_unix_ms: time(proposal.deadline),
            eta_unix_ms: time(proposal.eta),
            closed_unix_ms: time(proposal.closed),
            cancelled_by: proposal
                .cancelled_by
                .map_or_else(|| chars(""), |account| chars(&account.to_string())),
            total: proposal.total.map_or(unknown, Into::into),
            quorum: proposal.quorum.map_or(unknown, Into::into),
            quorum_reached: proposal.quorum_reached,
            approval_ppm: proposal.approval.get(),
            approved: proposal.approved,
            weighing: proposal.weighing.into(),
            power: proposal.power.into(),
            votes: proposal.votes.into(),
            ballots: proposal.ballots,
        }
    }
}

impl From<Ballot> for fog_ballot {
    fn from(ballot: Ballot) -> Self {
        Self {
            choice: ballot.choice.into(),
            power: ballot.power.into(),
            counted: ballot.counted.into(),
            votes: ballot.votes.into(),
            changes: ballot.changes,
        }
    }
}

impl From<VotingPower> for fog_voting_power {
    fn from(power: VotingPower) -> Self {
        Self {
            own: power.own.into(),
            received: power.received.into(),
            passed_on: power.passed_on.into(),
            power: power.power().into(),
            kept: power.kept().into(),
        }
    }
}

impl From<GovernanceMember> for fog_member {
    fn from(member: GovernanceMember) -> Self {
        Self {
            enrolled: member.enrolled,
            role: member.role.into(),
            tokens: member.tokens.into(),
            staked: member.staked.into(),
            has_reputation: member.reputation.is_some(),
            reputation_ppm: member.reputation.map_or(0, Ppm::get),
        }
    }
}

fn part(millionths: u32) -> Result<Ppm, Failure> {
    Ok(Ppm::new(millionths).map_err(Error::Part)?)
}

/// What a request asks for.
///
/// # Safety
/// The pointer is NULL or points to a request whose pointers are NULL, strings, or to as many
/// items as it says.
unsafe fn request_of(request: *const fog_governance_request) -> Result<GovernanceRequest, Failure> {
    use fog_governance_kind as Kind;
    // SAFETY: as the caller promises.
    let asked = unsafe { reference(request, "request") }?;
    // SAFETY: as the caller promises.
    let account = || unsafe { parsed(asked.account, "request.account") };
    // SAFETY: as the caller promises.
    let proposal = || unsafe { parsed(asked.proposal, "request.proposal") };
    let content = || -> Result<ProposalContent, Failure> {
        // SAFETY: as the caller promises.
        let content = unsafe { text(asked.content, "request.content") }?;
        Ok(fogcompute::proposal_from_json(content)?)
    };
    let kind = asked.kind;
    Ok(if kind == Kind::Establish as i32 {
        // SAFETY: as the caller promises.
        let roles = unsafe { slice(asked.roles, asked.roles_len, "request.roles") }?;
        let holder = |holder: &fog_role_holder| {
            Ok(RoleHolder {
                account: parsed_chars(&holder.account, "request.roles[].account")?,
                role: role_of(holder.role)?,
            })
        };
        GovernanceRequest::Establish {
            roles: roles.iter().map(holder).collect::<Result<_, Failure>>()?,
        }
    } else if kind == Kind::Enrol as i32 {
        GovernanceRequest::Enrol {
            account: account()?,
        }
    } else if kind == Kind::Delegate as i32 {
        // SAFETY: as the caller promises.
        let (topics, delegates) = unsafe {
            (
                slice(asked.topics, asked.topics_len, "request.topics")?,
                slice(asked.delegates, asked.delegates_len, "request.delegates")?,
            )
        };
        let delegate = |delegate: &fog_delegated_part| {
            Ok(DelegatedPart {
                to: parsed_chars(&delegate.to_account, "request.delegates[].to_account")?,
                part: part(delegate.part_ppm)?,
            })
        };
        let topics = topics.iter().map(|topic| topic_of(*topic));
        GovernanceRequest::Delegate {
            voter: account()?,
            topics: topics.collect::<Result<_, Failure>>()?,
            to: (delegates.iter().map(delegate)).collect::<Result<_, Failure>>()?,
        }
    } else if kind == Kind::SetReputation as i32 {
        GovernanceRequest::SetReputation {
            account: account()?,
            reputation: part(asked.reputation_ppm)?,
        }
    } else if kind == Kind::Draft as i32 {
        GovernanceRequest::Draft {
            author: account()?,
            proposal: proposal()?,
            content: content()?,
        }
    } else if kind == Kind::Submit as i32 {
        GovernanceRequest::Submit {
            author: account()?,
            proposal: proposal()?,
        }
    } else if kind == Kind::Propose as i32 {
        GovernanceRequest::Propose {
            author: account()?,
            proposal: proposal()?,
            content: content()?,
        }
    } else if kind == Kind::Vote as i32 {
        GovernanceRequest::Vote {
            voter: account()?,
            proposal: proposal()?,
            choice: choice_of(asked.choice)?,
        }
    } else if kind == Kind::Cancel as i32 {
        GovernanceRequest::Cancel {
            by: account()?,
            proposal: proposal()?,
        }
    } else if kind == Kind::Queue as i32 {
        GovernanceRequest::Queue {
            proposal: proposal()?,
        }
    } else if kind == Kind::Execute as i32 {
        GovernanceRequest::Execute {
            proposal: proposal()?,
        }
    } else {
        return Err(Failure::argument("request.kind is no fog_governance_kind"));
    })
}

/// Asks something of governance, in one transaction. The same request under the same id happens
/// once.
///
/// What an account asks for must be signed by its owner (FOG_STATUS_SIGNATURE_REQUIRED): add it to
/// a batch with fog_batch_governance() and sign that. Only if the rules say otherwise
/// (dao.signatures_required is 0) may the host speak for accounts, by this.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param id names the operation, 32 hexadecimal digits chosen by the caller
/// @param request what is asked
/// @param receipt receives what it did, or NULL
/// @return FOG_STATUS_NO_ECONOMY, FOG_STATUS_ID_REUSED, or one from FOG_STATUS_GOVERNED on
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_ask(
    ledger: *const fog_ledger,
    id: *const c_char,
    request: *const fog_governance_request,
    receipt: *mut fog_economy_receipt,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and NULL or room for a receipt.
        let (ledger, id, out) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(id, "id")?,
                optional_result(receipt),
            )
        };
        // SAFETY: the caller passes a request with what it points to.
        let request = unsafe { request_of(request) }?;
        let done = ledger.0.governance().ask(id, request)?;
        if let Some(out) = out {
            out.write(done.into());
        }
        Ok(())
    })
}

/// Adds to a batch what fog_governance_ask() does.
///
/// Thread safety: one thread at a time.
/// @param batch   the batch
/// @param id      names the operation, 32 hexadecimal digits chosen by the caller
/// @param request what is asked
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_governance(
    batch: *mut fog_batch,
    id: *const c_char,
    request: *const fog_governance_request,
) -> fog_status {
    let step = || {
        Ok(Operation::Economy {
            // SAFETY: the caller passes a string.
            id: unsafe { parsed(id, "id") }?,
            // SAFETY: the caller passes a request with what it points to.
            request: Box::new(EconomyRequest::Governance(unsafe { request_of(request) }?)),
        })
    };
    // SAFETY: the caller passes a live handle that nothing else uses now.
    unsafe { add(batch, step) }
}

/// A proposal as it stands.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param proposal the proposal, 32 hexadecimal digits
/// @param out receives it
/// @param found receives whether there is one of that name; nothing is written to `out` otherwise
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_proposal(
    ledger: *const fog_ledger,
    proposal: *const c_char,
    out: *mut fog_proposal,
    found: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, strings, and room for the results.
        let (ledger, proposal, out, found) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(proposal, "proposal")?,
                result(out, "out")?,
                result(found, "found")?,
            )
        };
        let seen = ledger.0.governance().proposal(proposal)?;
        found.write(seen.is_some());
        if let Some(seen) = seen {
            out.write(seen.into());
        }
        Ok(())
    })
}

/// What a proposal says, as JSON text like that of fog_governance_request.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param proposal the proposal, 32 hexadecimal digits
/// @param out receives the text; free it with fog_string_free()
/// @param found receives whether there is one of that name; nothing is written to `out` otherwise
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_content(
    ledger: *const fog_ledger,
    proposal: *const c_char,
    out: *mut *mut c_char,
    found: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, strings, and room for the results.
        let (ledger, proposal, out, found) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(proposal, "proposal")?,
                result(out, "out")?,
                result(found, "found")?,
            )
        };
        let seen = ledger.0.governance().proposal(proposal)?;
        found.write(seen.is_some());
        if let Some(seen) = seen {
            give_text(out, &fogcompute::proposal_to_json(&seen.content));
        }
        Ok(())
    })
}

/// What a voter has said about a proposal.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param proposal the proposal, 32 hexadecimal digits
/// @param voter the account
/// @param out receives it
/// @param found receives whether there is one: it has voted, and the proposal is not over
/// @return FOG_STATUS_UNKNOWN_PROPOSAL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_ballot(
    ledger: *const fog_ledger,
    proposal: *const c_char,
    voter: *const c_char,
    out: *mut fog_ballot,
    found: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, strings, and room for the results.
        let (ledger, proposal, voter, out, found) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(proposal, "proposal")?,
                parsed(voter, "voter")?,
                result(out, "out")?,
                result(found, "found")?,
            )
        };
        let seen = ledger.0.governance().ballot(proposal, voter)?;
        found.write(seen.is_some());
        if let Some(seen) = seen {
            out.write(seen.into());
        }
        Ok(())
    })
}

/// Proposals with an identifier above `after`, by identifier.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param after the last proposal of the page before, or NULL
/// @param out receives the proposals
/// @param capacity proposals that there is room for; at most 10000 are written
/// @param count receives how many were written
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_proposals(
    ledger: *const fog_ledger,
    after: *const c_char,
    out: *mut fog_proposal,
    capacity: usize,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, NULL or a string, and room for a number.
        let (ledger, count) = unsafe { (reference(ledger, "ledger")?, result(count, "count")?) };
        let after = if after.is_null() {
            None
        } else {
            // SAFETY: as above.
            Some(unsafe { parsed(after, "after") }?)
        };
        let proposals = ledger.0.governance().proposals(after, capacity)?;
        let proposals: Vec<fog_proposal> = proposals.into_iter().map(Into::into).collect();
        // SAFETY: the caller gives room for `capacity`, and there are no more.
        unsafe { fill_items(&proposals, out, "out") }?;
        count.write(proposals.len());
        Ok(())
    })
}

/// Where an account stands on a topic: now, or at the end of a millisecond that is past.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param account the account
/// @param topic a fog_proposal_kind
/// @param unix_ms the time, in milliseconds since 1970; 0 for now
/// @param out receives its power
/// @return FOG_STATUS_FUTURE_LOOKUP
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_power(
    ledger: *const fog_ledger,
    account: *const c_char,
    topic: i32,
    unix_ms: u64,
    out: *mut fog_voting_power,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for the result.
        let (ledger, account, out) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(account, "account")?,
                result(out, "out")?,
            )
        };
        let time = (unix_ms > 0).then_some(UnixMillis(unix_ms));
        let power = (ledger.0.governance()).power(account, topic_of(topic)?, time)?;
        out.write(power.into());
        Ok(())
    })
}

/// All weight: now, or at the end of a millisecond that is past.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param unix_ms the time, in milliseconds since 1970; 0 for now
/// @param out receives it
/// @return FOG_STATUS_FUTURE_LOOKUP
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_total(
    ledger: *const fog_ledger,
    unix_ms: u64,
    out: *mut fog_amount,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the result.
        let (ledger, out) = unsafe { (reference(ledger, "ledger")?, result(out, "out")?) };
        let time = (unix_ms > 0).then_some(UnixMillis(unix_ms));
        out.write(ledger.0.governance().total(time)?.into());
        Ok(())
    })
}

/// What an account delegates on a topic.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param voter the account
/// @param topic a fog_proposal_kind
/// @param out receives the parts: at most 8
/// @param capacity parts that there is room for
/// @param count receives their number, also when there is no room
/// @return FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_delegation(
    ledger: *const fog_ledger,
    voter: *const c_char,
    topic: i32,
    out: *mut fog_delegated_part,
    capacity: usize,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a number.
        let (ledger, voter, count) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(voter, "voter")?,
                result(count, "count")?,
            )
        };
        let parts = (ledger.0.governance()).delegation(voter, topic_of(topic)?)?;
        check_room(parts.len(), capacity, count)?;
        let part = |part: &DelegatedPart| fog_delegated_part {
            to_account: chars(&part.to.to_string()),
            part_ppm: part.part.get(),
        };
        let parts: Vec<_> = parts.iter().map(part).collect();
        // SAFETY: the caller gives room for `capacity`, and there are no more.
        unsafe { fill_items(&parts, out, "out") }?;
        count.write(parts.len());
        Ok(())
    })
}

/// What an account is to governance.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param account the account
/// @param out receives it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_member(
    ledger: *const fog_ledger,
    account: *const c_char,
    out: *mut fog_member,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for the result.
        let (ledger, account, out) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(account, "account")?,
                result(out, "out")?,
            )
        };
        out.write(ledger.0.governance().member(account)?.into());
        Ok(())
    })
}

/// Accounts with a role, by identifier.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param out receives the accounts and their roles
/// @param capacity accounts that there is room for
/// @param count receives their number, also when there is no room
/// @return FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_roles(
    ledger: *const fog_ledger,
    out: *mut fog_role_holder,
    capacity: usize,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a number.
        let (ledger, count) = unsafe { (reference(ledger, "ledger")?, result(count, "count")?) };
        let roles = ledger.0.governance().overview()?.roles;
        check_room(roles.len(), capacity, count)?;
        let holder = |holder: &RoleHolder| fog_role_holder {
            account: chars(&holder.account.to_string()),
            role: fog_role::from(holder.role) as i32,
        };
        let roles: Vec<_> = roles.iter().map(holder).collect();
        // SAFETY: the caller gives room for `capacity`, and there are no more.
        unsafe { fill_items(&roles, out, "out") }?;
        count.write(roles.len());
        Ok(())
    })
}

/// What governance is beside its proposals.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param out receives it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_overview(
    ledger: *const fog_ledger,
    out: *mut fog_governance,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the result.
        let (ledger, out) = unsafe { (reference(ledger, "ledger")?, result(out, "out")?) };
        let overview = ledger.0.governance().overview()?;
        let paused = |scope| overview.paused.contains(&scope);
        out.write(fog_governance {
            established: overview.established,
            members: overview.members,
            roles: overview.roles.len(),
            circulating: overview.circulating.into(),
            total: overview.total.into(),
            earning_paused: paused(PauseScope::Earning),
            staking_paused: paused(PauseScope::Staking),
            fees_paused: paused(PauseScope::Fees),
            treasury_paused: paused(PauseScope::Treasury),
        });
        Ok(())
    })
}

/// What proposals have left behind, as JSON text: `{"upgrades": {version: {"proposal", "digest",
/// "activates"}}, "agents": {digest: {"proposal", "operator", "budget"}}, "resolutions":
/// [{"proposal", "text", "time"}]}`.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param out receives the text; free it with fog_string_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_governance_records(
    ledger: *const fog_ledger,
    out: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a pointer.
        let (ledger, out) = unsafe { (reference(ledger, "ledger")?, result(out, "out")?) };
        let overview = ledger.0.governance().overview()?;
        give_text(out, &fogcompute::governance_records_to_json(&overview));
        Ok(())
    })
}
