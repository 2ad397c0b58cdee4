//! Governance of a ledger.

use fogcompute::base::{Digest, UnixMillis};
use fogcompute::{
    AccountId, DelegatedPart, GovernanceRequest, LEDGER_PAGE_MAX, ProposalContent, RoleHolder,
    TransferId,
};
use pyo3::prelude::*;

use super::Ledger;
use super::economy::{EconomyReceipt, ppm};
use crate::convert::{
    Choice, Hex, Money, Number, PauseScope, ProposalKind, ProposalState, Role, Tuple, Weighing,
};
use crate::error;
use crate::value::value;

/// What came together for each choice, in base units.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute.ledger")]
#[derive(Clone)]
pub(crate) struct Tally {
    /// Against it.
    against: u128,
    /// For it.
    in_favor: u128,
    /// Neither.
    abstain: u128,
}

value! {
    Tally { against, in_favor, abstain }

    #[new]
    fn new(
        against: Number<u128>,
        in_favor: Number<u128>,
        abstain: Number<u128>,
    ) -> Self {
        Self {
            against: against.0,
            in_favor: in_favor.0,
            abstain: abstain.0,
        }
    }
}

impl From<fogcompute::Tally> for Tally {
    fn from(tally: fogcompute::Tally) -> Self {
        Self {
            against: tally.against.0,
            in_favor: tally.in_favor.0,
            abstain: tally.abstain.0,
        }
    }
}

/// What a voter has said about a proposal.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct Ballot {
    /// What it says.
    choice: Choice,
    /// All power it carries: the voter's own and what was delegated, but for what others took back
    /// by voting themselves.
    power: u128,
    /// The power that counts: no voter has more than the rules allow one.
    counted: u128,
    /// The votes that makes.
    votes: u128,
    /// How often it was changed.
    changes: u32,
}

value! {
    Ballot { choice, power, counted, votes, changes }

    #[new]
    fn new(
        choice: Choice,
        power: Number<u128>,
        counted: Number<u128>,
        votes: Number<u128>,
        changes: Number<u32>,
    ) -> Self {
        Self {
            choice,
            power: power.0,
            counted: counted.0,
            votes: votes.0,
            changes: changes.0,
        }
    }
}

impl From<fogcompute::Ballot> for Ballot {
    fn from(ballot: fogcompute::Ballot) -> Self {
        Self {
            choice: Choice(ballot.choice),
            power: ballot.power.0,
            counted: ballot.counted.0,
            votes: ballot.votes.0,
            changes: ballot.changes,
        }
    }
}

/// Where an account's power on a topic comes from and goes to, in base units.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct VotingPower {
    /// What it weighs itself, by its role.
    own: u128,
    /// What was delegated to it, directly or through others.
    received: u128,
    /// What it delegates of both.
    passed_on: u128,
}

value! {
    VotingPower { own, received, passed_on }

    #[new]
    fn new(
        own: Number<u128>,
        received: Number<u128>,
        passed_on: Number<u128>,
    ) -> Self {
        Self {
            own: own.0,
            received: received.0,
            passed_on: passed_on.0,
        }
    }

    /// What it can vote with, if nobody whose votes it casts votes: for a vote of its own takes
    /// back what it delegated.
    #[getter]
    fn power(&self) -> u128 {
        self.own.saturating_add(self.received)
    }

    /// What stays with it: what a proposer must weigh.
    #[getter]
    fn kept(&self) -> u128 {
        self.power().saturating_sub(self.passed_on)
    }
}

impl From<fogcompute::VotingPower> for VotingPower {
    fn from(power: fogcompute::VotingPower) -> Self {
        Self {
            own: power.own.0,
            received: power.received.0,
            passed_on: power.passed_on.0,
        }
    }
}

/// What an account is to governance.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct Member {
    /// Whether what it has counts.
    enrolled: bool,
    /// Its role.
    role: Role,
    /// Base units that count, in its account.
    tokens: u128,
    /// Base units that count, staked.
    staked: u128,
    /// The reputation that was set for it, in millionths.
    reputation_ppm: Option<u32>,
}

value! {
    Member { enrolled, role, tokens, staked, reputation_ppm }

    #[new]
    fn new(
        enrolled: bool,
        role: Role,
        tokens: Number<u128>,
        staked: Number<u128>,
        reputation_ppm: Option<Number<u32>>,
    ) -> Self {
        Self {
            enrolled,
            role,
            tokens: tokens.0,
            staked: staked.0,
            reputation_ppm: reputation_ppm.map(|number| number.0),
        }
    }
}

impl From<fogcompute::GovernanceMember> for Member {
    fn from(member: fogcompute::GovernanceMember) -> Self {
        Self {
            enrolled: member.enrolled,
            role: Role(member.role),
            tokens: member.tokens.0,
            staked: member.staked.0,
            reputation_ppm: member.reputation.map(fogcompute::Ppm::get),
        }
    }
}

/// A version that nodes are to run.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute.ledger")]
#[derive(Clone)]
pub(crate) struct Upgrade {
    /// Its name.
    version: String,
    /// The proposal that scheduled it.
    proposal: Hex<TransferId>,
    /// Digest of what is to be run, 64 hexadecimal digits.
    digest: Hex<Digest>,
    /// From when on, in milliseconds since 1970.
    activates_unix_ms: u64,
}

value! {
    Upgrade { version, proposal, digest, activates_unix_ms }

    #[new]
    fn new(
        version: String,
        proposal: Hex<TransferId>,
        digest: Hex<Digest>,
        activates_unix_ms: Number<u64>,
    ) -> Self {
        Self {
            version,
            proposal,
            digest,
            activates_unix_ms: activates_unix_ms.0,
        }
    }
}

/// An agent that was deployed.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute.ledger")]
#[derive(Clone)]
pub(crate) struct Agent {
    /// Digest of the agent, 64 hexadecimal digits.
    agent: Hex<Digest>,
    /// The proposal that deployed it.
    proposal: Hex<TransferId>,
    /// Runs it.
    operator: Hex<AccountId>,
    /// Base units that were paid for it.
    budget: u128,
}

value! {
    Agent { agent, proposal, operator, budget }

    #[new]
    fn new(
        agent: Hex<Digest>,
        proposal: Hex<TransferId>,
        operator: Hex<AccountId>,
        budget: Number<u128>,
    ) -> Self {
        Self {
            agent,
            proposal,
            operator,
            budget: budget.0,
        }
    }
}

/// A resolution.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute.ledger")]
#[derive(Clone)]
pub(crate) struct Resolution {
    /// The proposal that resolved it.
    proposal: Hex<TransferId>,
    /// Digest of its text, 64 hexadecimal digits.
    text: Hex<Digest>,
    /// When, in milliseconds since 1970.
    unix_ms: u64,
}

value! {
    Resolution { proposal, text, unix_ms }

    #[new]
    fn new(
        proposal: Hex<TransferId>,
        text: Hex<Digest>,
        unix_ms: Number<u64>,
    ) -> Self {
        Self {
            proposal,
            text,
            unix_ms: unix_ms.0,
        }
    }
}

/// What governance is beside its proposals.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct GovernanceOverview {
    /// Whether founding roles were given: from then on, rules and treasury are governed.
    established: bool,
    /// How many accounts are enrolled.
    members: usize,
    /// Base units that everybody holds and has staked: counted from when the first account is
    /// enrolled.
    circulating: u128,
    /// All weight: what circulates, and what roles add to it.
    total: u128,
    /// Accounts with a role, and the role.
    roles: Tuple<(Hex<AccountId>, Role)>,
    /// What is paused.
    paused: Tuple<PauseScope>,
    /// Versions that were scheduled, by name.
    upgrades: Tuple<Upgrade>,
    /// Agents that were deployed, by digest.
    agents: Tuple<Agent>,
    /// Resolutions, in order.
    resolutions: Tuple<Resolution>,
}

value! {
    GovernanceOverview {
        established,
        members,
        circulating,
        total,
        roles,
        paused,
        upgrades,
        agents,
        resolutions,
    }

    #[new]
    #[expect(clippy::too_many_arguments, reason = "fields in Python")]
    fn new(
        established: bool,
        members: Number<usize>,
        circulating: Number<u128>,
        total: Number<u128>,
        roles: Tuple<(Hex<AccountId>, Role)>,
        paused: Tuple<PauseScope>,
        upgrades: Tuple<Upgrade>,
        agents: Tuple<Agent>,
        resolutions: Tuple<Resolution>,
    ) -> Self {
        Self {
            established,
            members: members.0,
            circulating: circulating.0,
            total: total.0,
            roles,
            paused,
            upgrades,
            agents,
            resolutions,
        }
    }
}

impl From<fogcompute::GovernanceOverview> for GovernanceOverview {
    fn from(overview: fogcompute::GovernanceOverview) -> Self {
        Self {
            established: overview.established,
            members: overview.members,
            circulating: overview.circulating.0,
            total: overview.total.0,
            roles: Tuple(
                (overview.roles.into_iter())
                    .map(|holder| (Hex(holder.account), Role(holder.role)))
                    .collect(),
            ),
            paused: Tuple(overview.paused.into_iter().map(PauseScope).collect()),
            upgrades: Tuple(
                (overview.upgrades.into_iter())
                    .map(|(version, it)| Upgrade {
                        version,
                        proposal: Hex(it.proposal),
                        digest: Hex(it.digest),
                        activates_unix_ms: it.activates.0,
                    })
                    .collect(),
            ),
            agents: Tuple(
                (overview.agents.into_iter())
                    .map(|(agent, it)| Agent {
                        agent: Hex(agent),
                        proposal: Hex(it.proposal),
                        operator: Hex(it.operator),
                        budget: it.budget.0,
                    })
                    .collect(),
            ),
            resolutions: Tuple(
                (overview.resolutions.into_iter())
                    .map(|it| Resolution {
                        proposal: Hex(it.proposal),
                        text: Hex(it.text),
                        unix_ms: it.time.0,
                    })
                    .collect(),
            ),
        }
    }
}

/// A proposal as it stands.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct Proposal {
    /// Names it, 32 hexadecimal digits.
    id: Hex<TransferId>,
    /// Who made it.
    author: Hex<AccountId>,
    /// What it is about.
    kind: ProposalKind,
    /// In a line.
    title: String,
    /// In full.
    description: String,
    /// What it does, in order.
    actions: Tuple<Action>,
    /// Where it is in its life.
    state: ProposalState,
    /// Weights count as they were at the end of this millisecond since 1970, and voting begins
    /// after it. `None` for a draft, like all that the rules decide when it is submitted.
    snapshot_unix_ms: Option<u64>,
    /// The last millisecond to vote in since 1970, as far as is known: a late quorum moves it.
    deadline_unix_ms: Option<u64>,
    /// When it may be executed, once it is queued, in milliseconds since 1970.
    eta_unix_ms: Option<u64>,
    /// When it was executed or cancelled, in milliseconds since 1970.
    closed_unix_ms: Option<u64>,
    /// Who cancelled it.
    cancelled_by: Option<Hex<AccountId>>,
    /// All weight at the snapshot, once that is past.
    total: Option<u128>,
    /// The power of votes for it and of abstentions that makes a quorum, once the snapshot is past.
    quorum: Option<u128>,
    /// Whether there is a quorum.
    quorum_reached: bool,
    /// The part of the votes for and against that must be for it, in millionths.
    approval_ppm: u32,
    /// Whether that many are.
    approved: bool,
    /// How power becomes votes.
    weighing: Weighing,
    /// The power of those who voted, which a quorum is counted in.
    power: Tally,
    /// The votes that makes, which approval is counted in.
    votes: Tally,
    /// How many have voted. None once it is over: ballots are forgotten, the history has them.
    ballots: usize,
}

value! {
    Proposal {
        id,
        author,
        kind,
        title,
        description,
        actions,
        state,
        snapshot_unix_ms,
        deadline_unix_ms,
        eta_unix_ms,
        closed_unix_ms,
        cancelled_by,
        total,
        quorum,
        quorum_reached,
        approval_ppm,
        approved,
        weighing,
        power,
        votes,
        ballots,
    }

    #[new]
    #[expect(clippy::too_many_arguments, reason = "fields in Python")]
    fn new(
        id: Hex<TransferId>,
        author: Hex<AccountId>,
        kind: ProposalKind,
        title: String,
        description: String,
        actions: Tuple<Action>,
        state: ProposalState,
        snapshot_unix_ms: Option<Number<u64>>,
        deadline_unix_ms: Option<Number<u64>>,
        eta_unix_ms: Option<Number<u64>>,
        closed_unix_ms: Option<Number<u64>>,
        cancelled_by: Option<Hex<AccountId>>,
        total: Option<Number<u128>>,
        quorum: Option<Number<u128>>,
        quorum_reached: bool,
        approval_ppm: Number<u32>,
        approved: bool,
        weighing: Weighing,
        power: Tally,
        votes: Tally,
        ballots: Number<usize>,
    ) -> Self {
        Self {
            id,
            author,
            kind,
            title,
            description,
            actions,
            state,
            snapshot_unix_ms: snapshot_unix_ms.map(|number| number.0),
            deadline_unix_ms: deadline_unix_ms.map(|number| number.0),
            eta_unix_ms: eta_unix_ms.map(|number| number.0),
            closed_unix_ms: closed_unix_ms.map(|number| number.0),
            cancelled_by,
            total: total.map(|number| number.0),
            quorum: quorum.map(|number| number.0),
            quorum_reached,
            approval_ppm: approval_ppm.0,
            approved,
            weighing,
            power,
            votes,
            ballots: ballots.0,
        }
    }
}

impl From<fogcompute::GovernanceProposal> for Proposal {
    fn from(proposal: fogcompute::GovernanceProposal) -> Self {
        Self {
            id: Hex(proposal.id),
            author: Hex(proposal.author),
            kind: ProposalKind(proposal.content.kind),
            title: proposal.content.title,
            description: proposal.content.description,
            actions: Tuple(proposal.content.actions.into_iter().map(Action).collect()),
            state: ProposalState(proposal.state),
            snapshot_unix_ms: proposal.snapshot.map(|time| time.0),
            deadline_unix_ms: proposal.deadline.map(|time| time.0),
            eta_unix_ms: proposal.eta.map(|time| time.0),
            closed_unix_ms: proposal.closed.map(|time| time.0),
            cancelled_by: proposal.cancelled_by.map(Hex),
            total: proposal.total.map(|weight| weight.0),
            quorum: proposal.quorum.map(|weight| weight.0),
            quorum_reached: proposal.quorum_reached,
            approval_ppm: proposal.approval.get(),
            approved: proposal.approved,
            weighing: Weighing(proposal.weighing),
            power: proposal.power.into(),
            votes: proposal.votes.into(),
            ballots: proposal.ballots,
        }
    }
}

/// What a proposal does when it is executed, one step of it. Each kind of proposal carries some of
/// them: a parameter change sets parameters, a treasury allocation pays, a protocol upgrade
/// schedules one and sets parameters, an agent deployment deploys, an emergency action pauses and
/// unpauses, and a general proposal grants and revokes roles, unpauses and resolves.
#[pyclass(frozen, from_py_object, module = "fogcompute.ledger")]
#[derive(Clone)]
pub(crate) struct Action(fogcompute::ProposalAction);

value! {
    Action { json }

    #[new]
    fn new(py: Python<'_>, json: &str) -> PyResult<Self> {
        error::call(py, || fogcompute::action_from_json(json)).map(Self)
    }

    /// The action as JSON text, the same in every language.
    #[getter]
    fn json(&self) -> String {
        fogcompute::action_to_json(&self.0)
    }

    /// Sets a parameter of the economy.
    #[staticmethod]
    fn set_parameter(name: String, value: Number<u128>) -> Self {
        Self(fogcompute::ProposalAction::SetParameter { name, value: value.0 })
    }

    /// Pays from the treasury. `code` says what for.
    #[staticmethod]
    #[pyo3(
        signature = (to_account, amount, code = Number(0)),
        text_signature = "(to_account, amount, code=0)"
    )]
    fn pay(to_account: Hex<AccountId>, amount: Money, code: Number<u16>) -> Self {
        Self(fogcompute::ProposalAction::Pay { to: to_account.0, amount: amount.0, code: code.0 })
    }

    /// Gives an account a role, in place of the one it had.
    #[staticmethod]
    fn grant_role(account: Hex<AccountId>, role: Role) -> Self {
        Self(fogcompute::ProposalAction::GrantRole { account: account.0, role: role.0 })
    }

    /// Makes an account a citizen.
    #[staticmethod]
    fn revoke_role(account: Hex<AccountId>) -> Self {
        Self(fogcompute::ProposalAction::RevokeRole { account: account.0 })
    }

    /// Announces a version that nodes are to run from a time on: the digest, 64 hexadecimal digits,
    /// of what is to be run.
    #[staticmethod]
    fn schedule_upgrade(
        version: String,
        digest: Hex<Digest>,
        activates_unix_ms: Number<u64>,
    ) -> Self {
        Self(fogcompute::ProposalAction::ScheduleUpgrade {
            version,
            digest: digest.0,
            activates: UnixMillis(activates_unix_ms.0),
        })
    }

    /// Registers an agent by its digest, and pays its budget from the treasury to its operator.
    #[staticmethod]
    fn deploy_agent(agent: Hex<Digest>, operator: Hex<AccountId>, budget: Money) -> Self {
        Self(fogcompute::ProposalAction::DeployAgent {
            agent: agent.0,
            operator: operator.0,
            budget: budget.0,
        })
    }

    /// Stops something until it is unpaused.
    #[staticmethod]
    fn pause(scope: PauseScope) -> Self {
        Self(fogcompute::ProposalAction::Pause { scope: scope.0 })
    }

    /// Lets something go on.
    #[staticmethod]
    fn unpause(scope: PauseScope) -> Self {
        Self(fogcompute::ProposalAction::Unpause { scope: scope.0 })
    }

    /// Records a resolution: the digest of its text, 64 hexadecimal digits.
    #[staticmethod]
    fn resolve(text: Hex<Digest>) -> Self {
        Self(fogcompute::ProposalAction::Resolve { text: text.0 })
    }
}

/// Governance of a ledger: proposals, votes, delegation and roles, by the rules of its economy
/// (parameters `dao.*`). `Ledger.governance` gives it.
///
/// Each call is one transaction. What an account asks for is refused by `SignatureRequiredError`
/// unless its owner has signed it: as an `Operation` of the same name in a `SignedBatch`, made on a
/// device without a network if need be and handed over later. Only if the rules say otherwise
/// (`dao.signatures_required` is 0) may the host speak for accounts, by the methods here. Weights
/// are base units; topics are kinds of proposals.
#[pyclass(frozen, module = "fogcompute.ledger")]
pub(crate) struct Governance {
    pub(super) ledger: Py<Ledger>,
}

#[pymethods]
impl Governance {
    /// Gives the founding roles, once. From then on the host sets no parameters and pays no rewards
    /// from treasury or mint: proposals do.
    ///
    /// Raises `AlreadyEstablishedError`, `GovernanceRefusedError`, `IdReusedError`.
    fn establish(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        roles: Vec<(Hex<AccountId>, Role)>,
    ) -> PyResult<EconomyReceipt> {
        self.ask(
            py,
            id,
            GovernanceRequest::Establish {
                roles: holders(roles),
            },
        )
    }

    /// Lets an account vote with what it has from now on. Delegating and being granted a role do so
    /// too.
    ///
    /// Raises `SignatureRequiredError`, `AlreadyEnrolledError`, `UnknownAccountError`,
    /// `IdReusedError`.
    fn enrol(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        account: Hex<AccountId>,
    ) -> PyResult<EconomyReceipt> {
        self.ask(py, id, GovernanceRequest::Enrol { account: account.0 })
    }

    /// Delegates parts of an account's votes, in millionths, in place of what it delegated before
    /// on those topics: on all of them if there are none. The rest stays with it; without delegates
    /// all does, which revokes.
    ///
    /// Raises `SignatureRequiredError`, `CircularDelegationError`, `DelegationTooComplexError`,
    /// `DelegationError`, `NothingDelegatedError`, `UnknownAccountError`, `IdReusedError`.
    #[pyo3(
        signature = (id, voter, to, topics = Vec::new()),
        text_signature = "($self, id, voter, to, topics=())"
    )]
    fn delegate(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        voter: Hex<AccountId>,
        to: Vec<(Hex<AccountId>, Number<u32>)>,
        topics: Vec<ProposalKind>,
    ) -> PyResult<EconomyReceipt> {
        self.ask(py, id, delegation(py, voter, to, topics)?)
    }

    /// Sets what an account's votes are counted by from now on, in millionths, where reputation
    /// counts.
    ///
    /// Raises `GovernanceRefusedError`, `UnknownAccountError`, `IdReusedError`.
    fn set_reputation(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        account: Hex<AccountId>,
        reputation_ppm: Number<u32>,
    ) -> PyResult<EconomyReceipt> {
        self.ask(
            py,
            id,
            GovernanceRequest::SetReputation {
                account: account.0,
                reputation: ppm(py, reputation_ppm)?,
            },
        )
    }

    /// Keeps a proposal that is not submitted yet. `proposal` names it for ever.
    ///
    /// Raises `SignatureRequiredError`, `BelowThresholdError`, and what `propose` raises of its
    /// content, `IdReusedError`.
    #[expect(clippy::too_many_arguments, reason = "arguments in Python")]
    fn draft(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        author: Hex<AccountId>,
        proposal: Hex<TransferId>,
        kind: ProposalKind,
        title: String,
        description: String,
        actions: Vec<Action>,
    ) -> PyResult<EconomyReceipt> {
        self.ask(
            py,
            id,
            GovernanceRequest::Draft {
                author: author.0,
                proposal: proposal.0,
                content: content(kind, title, description, actions),
            },
        )
    }

    /// Submits a draft.
    ///
    /// Raises `SignatureRequiredError`, `UnknownProposalError`, `WrongStateError`,
    /// `NotPermittedError`, and what `propose` raises, `IdReusedError`.
    fn submit(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        author: Hex<AccountId>,
        proposal: Hex<TransferId>,
    ) -> PyResult<EconomyReceipt> {
        self.ask(
            py,
            id,
            GovernanceRequest::Submit {
                author: author.0,
                proposal: proposal.0,
            },
        )
    }

    /// Submits a proposal that was no draft. `proposal` names it for ever. A title has 1 to 200
    /// characters, a description at most 16 KiB, and there are 1 to 16 actions.
    ///
    /// Raises `SignatureRequiredError`, `BelowThresholdError`, `TooManyProposalsError`,
    /// `ProposalExistsError`, and of its content `ProposalError`, `ControlCharacterError`,
    /// `NoActionsError`, `TooManyActionsError`, `ActionNotAllowedError`,
    /// `ParameterOutOfRangeError`, `UnknownParameterError`, `TreasuryShortError`,
    /// `ActionRefusedError`, `IdReusedError`.
    #[expect(clippy::too_many_arguments, reason = "arguments in Python")]
    fn propose(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        author: Hex<AccountId>,
        proposal: Hex<TransferId>,
        kind: ProposalKind,
        title: String,
        description: String,
        actions: Vec<Action>,
    ) -> PyResult<EconomyReceipt> {
        self.ask(
            py,
            id,
            GovernanceRequest::Propose {
                author: author.0,
                proposal: proposal.0,
                content: content(kind, title, description, actions),
            },
        )
    }

    /// Votes, or changes a vote. Who has delegated and votes takes that back for this proposal.
    ///
    /// Raises `SignatureRequiredError`, `UnknownProposalError`, `VotingNotStartedError`,
    /// `VotingOverError`, `NoVotingPowerError`, `AlreadyVotedError`, `TooManyVoteChangesError`,
    /// `UnknownChoiceError`, `IdReusedError`.
    fn vote(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        voter: Hex<AccountId>,
        proposal: Hex<TransferId>,
        choice: Choice,
    ) -> PyResult<EconomyReceipt> {
        self.ask(
            py,
            id,
            GovernanceRequest::Vote {
                voter: voter.0,
                proposal: proposal.0,
                choice: choice.0,
            },
        )
    }

    /// Cancels a proposal: its author before voting begins, a guardian or a king until it is over.
    ///
    /// Raises `SignatureRequiredError`, `UnknownProposalError`, `NotPermittedError`,
    /// `IdReusedError`.
    fn cancel(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        by: Hex<AccountId>,
        proposal: Hex<TransferId>,
    ) -> PyResult<EconomyReceipt> {
        self.ask(
            py,
            id,
            GovernanceRequest::Cancel {
                by: by.0,
                proposal: proposal.0,
            },
        )
    }

    /// Starts the timelock of a proposal that has passed. Anybody may.
    ///
    /// Raises `UnknownProposalError`, `WrongStateError`, `IdReusedError`.
    fn queue(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        proposal: Hex<TransferId>,
    ) -> PyResult<EconomyReceipt> {
        self.ask(
            py,
            id,
            GovernanceRequest::Queue {
                proposal: proposal.0,
            },
        )
    }

    /// Does what a proposal says, all or nothing. Anybody may.
    ///
    /// Raises `UnknownProposalError`, `WrongStateError`, `TimelockRunningError`,
    /// `ActionFailedError`, `IdReusedError`.
    fn execute(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        proposal: Hex<TransferId>,
    ) -> PyResult<EconomyReceipt> {
        self.ask(
            py,
            id,
            GovernanceRequest::Execute {
                proposal: proposal.0,
            },
        )
    }

    /// A proposal as it stands; `None` if there is none of that name.
    fn proposal(&self, py: Python<'_>, proposal: Hex<TransferId>) -> PyResult<Option<Proposal>> {
        let ledger = self.ledger.get().0.get(py)?;
        let found = error::call(py, || ledger.governance().proposal(proposal.0))?;
        Ok(found.map(Into::into))
    }

    /// Proposals with an id above `after`, by id: at most `limit`, at most 10,000.
    #[pyo3(
        signature = (after = None, limit = Number(LEDGER_PAGE_MAX)),
        text_signature = "($self, after=None, limit=10000)"
    )]
    fn proposals(
        &self,
        py: Python<'_>,
        after: Option<Hex<TransferId>>,
        limit: Number<usize>,
    ) -> PyResult<Tuple<Proposal>> {
        let ledger = self.ledger.get().0.get(py)?;
        let after = after.map(|after| after.0);
        let found = error::call(py, || ledger.governance().proposals(after, limit.0))?;
        Ok(Tuple(found.into_iter().map(Into::into).collect()))
    }

    /// What a voter has said about a proposal; `None` if it has not voted, or the proposal is over.
    ///
    /// Raises `UnknownProposalError`.
    fn ballot(
        &self,
        py: Python<'_>,
        proposal: Hex<TransferId>,
        voter: Hex<AccountId>,
    ) -> PyResult<Option<Ballot>> {
        let ledger = self.ledger.get().0.get(py)?;
        let found = error::call(py, || ledger.governance().ballot(proposal.0, voter.0))?;
        Ok(found.map(Into::into))
    }

    /// Where an account stands on a topic: now, or at the end of a millisecond since 1970 that is
    /// past.
    ///
    /// Raises `FutureLookupError`.
    #[pyo3(signature = (account, topic, unix_ms = None))]
    fn power(
        &self,
        py: Python<'_>,
        account: Hex<AccountId>,
        topic: ProposalKind,
        unix_ms: Option<Number<u64>>,
    ) -> PyResult<VotingPower> {
        let ledger = self.ledger.get().0.get(py)?;
        let time = unix_ms.map(|time| UnixMillis(time.0));
        let found = error::call(py, || ledger.governance().power(account.0, topic.0, time));
        found.map(Into::into)
    }

    /// All weight: now, or at the end of a millisecond since 1970 that is past.
    ///
    /// Raises `FutureLookupError`.
    #[pyo3(signature = (unix_ms = None))]
    fn total(&self, py: Python<'_>, unix_ms: Option<Number<u64>>) -> PyResult<u128> {
        let ledger = self.ledger.get().0.get(py)?;
        let time = unix_ms.map(|time| UnixMillis(time.0));
        error::call(py, || ledger.governance().total(time)).map(|weight| weight.0)
    }

    /// To whom an account delegates on a topic, and how many millionths.
    fn delegation(
        &self,
        py: Python<'_>,
        voter: Hex<AccountId>,
        topic: ProposalKind,
    ) -> PyResult<Tuple<(Hex<AccountId>, u32)>> {
        let ledger = self.ledger.get().0.get(py)?;
        let found = error::call(py, || ledger.governance().delegation(voter.0, topic.0))?;
        let part = |part: fogcompute::DelegatedPart| (Hex(part.to), part.part.get());
        Ok(Tuple(found.into_iter().map(part).collect()))
    }

    /// What an account is to governance.
    fn member(&self, py: Python<'_>, account: Hex<AccountId>) -> PyResult<Member> {
        let ledger = self.ledger.get().0.get(py)?;
        let found = error::call(py, || ledger.governance().member(account.0));
        found.map(Into::into)
    }

    /// What governance is beside its proposals.
    fn overview(&self, py: Python<'_>) -> PyResult<GovernanceOverview> {
        let ledger = self.ledger.get().0.get(py)?;
        let found = error::call(py, || ledger.governance().overview());
        found.map(Into::into)
    }
}

impl Governance {
    fn ask(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        request: GovernanceRequest,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        error::call(py, || ledger.governance().ask(id.0, request)).map(Into::into)
    }
}

/// What a proposal says.
pub(super) fn content(
    kind: ProposalKind,
    title: String,
    description: String,
    actions: Vec<Action>,
) -> ProposalContent {
    ProposalContent {
        kind: kind.0,
        title,
        description,
        actions: actions.into_iter().map(|action| action.0).collect(),
    }
}

/// Who has which role.
pub(super) fn holders(roles: Vec<(Hex<AccountId>, Role)>) -> Vec<RoleHolder> {
    let holder = |(account, role): (Hex<AccountId>, Role)| RoleHolder {
        account: account.0,
        role: role.0,
    };
    roles.into_iter().map(holder).collect()
}

/// Whose votes are delegated to whom.
pub(super) fn delegation(
    py: Python<'_>,
    voter: Hex<AccountId>,
    to: Vec<(Hex<AccountId>, Number<u32>)>,
    topics: Vec<ProposalKind>,
) -> PyResult<GovernanceRequest> {
    let part = |(to, part): (Hex<AccountId>, Number<u32>)| {
        let part = ppm(py, part)?;
        Ok(DelegatedPart { to: to.0, part })
    };
    Ok(GovernanceRequest::Delegate {
        voter: voter.0,
        topics: topics.into_iter().map(|topic| topic.0).collect(),
        to: to.into_iter().map(part).collect::<PyResult<_>>()?,
    })
}
