//! Governance of a ledger.

use std::sync::Arc;

use fogcompute::base::UnixMillis;
use fogcompute::{
    Choice, LEDGER_PAGE_MAX, PauseScope, Ppm, ProposalKind, ProposalState, Role, Weighing,
};

use super::Ledger;
use super::economy::EconomyReceipt;
use crate::FogError;
use crate::error::guarded;

/// What a voter says.
#[uniffi::remote(Enum)]
pub enum Choice {
    /// No.
    Against,
    /// Yes.
    For,
    /// Neither; counts for the quorum.
    Abstain,
}

/// What governance can pause.
#[uniffi::remote(Enum)]
pub enum PauseScope {
    /// Rewards for contributions and sessions.
    Earning,
    /// Bonding, unbonding, redelegation and claims.
    Staking,
    /// Fees.
    Fees,
    /// Payments from the treasury.
    Treasury,
}

/// What a proposal is about. Also what votes are delegated by.
#[uniffi::remote(Enum)]
pub enum ProposalKind {
    /// Numbers of the economy.
    ParameterChange,
    /// Payments from the treasury.
    TreasuryAllocation,
    /// The version that nodes run.
    ProtocolUpgrade,
    /// A pause, on a shorter clock and with a higher bar.
    EmergencyAction,
    /// An agent and its budget.
    AgentDeployment,
    /// Roles and resolutions.
    General,
}

/// Where a proposal is in its life.
#[uniffi::remote(Enum)]
pub enum ProposalState {
    /// Its author's own; no clock runs.
    Draft,
    /// Submitted; the snapshot is not past.
    Pending,
    /// Can be voted on.
    Active,
    /// The deadline passed without a quorum or approval.
    Defeated,
    /// Passed; can be queued.
    Succeeded,
    /// Waits for its timelock, then can be executed.
    Queued,
    /// Done.
    Executed,
    /// Nobody queued or executed it in time.
    Expired,
    /// Withdrawn by its author or stopped by a guardian.
    Cancelled,
}

/// What an account is in governance.
#[uniffi::remote(Enum)]
pub enum Role {
    /// Everybody else.
    Citizen,
    /// Votes for others, by trade.
    Delegate,
    /// Sits on a council.
    Councilor,
    /// May cancel proposals.
    Guardian,
    /// May cancel proposals.
    King,
}

/// How power becomes votes.
#[uniffi::remote(Enum)]
pub enum Weighing {
    /// As it is.
    Linear,
    /// Times a reputation.
    Reputation,
    /// Its square root.
    Quadratic,
    /// The more, the longer a vote stands.
    Conviction,
}

/// What a proposal does when it is executed, one step of it. Each kind of proposal carries some of
/// them: a parameter change sets parameters, a treasury allocation pays, a protocol upgrade
/// schedules one and sets parameters, an agent deployment deploys, an emergency action pauses and
/// unpauses, and a general proposal grants and revokes roles, unpauses and resolves. Digests are 64
/// hexadecimal digits.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum ProposalAction {
    /// Sets a parameter of the economy.
    SetParameter {
        /// Its name.
        name: String,
        /// What it will be in its unit, in decimal digits.
        value: String,
    },
    /// Pays from the treasury.
    Pay {
        /// Receives.
        to_account: String,
        /// Base units.
        amount: String,
        /// What for; 0 is unsaid.
        #[uniffi(default = 0)]
        code: u16,
    },
    /// Gives an account a role, in place of the one it had.
    GrantRole {
        /// The account.
        account: String,
        /// Its role from then on.
        role: Role,
    },
    /// Makes an account a citizen.
    RevokeRole {
        /// The account.
        account: String,
    },
    /// Announces a version that nodes are to run from a time on.
    ScheduleUpgrade {
        /// Its name.
        version: String,
        /// Digest of what is to be run.
        digest: String,
        /// From when on, in milliseconds since 1970.
        activates_unix_ms: u64,
    },
    /// Registers an agent and pays its budget from the treasury.
    DeployAgent {
        /// Digest of the agent.
        agent: String,
        /// Runs it, and receives the budget.
        operator_account: String,
        /// Base units; may be nothing.
        budget: String,
    },
    /// Stops something until it is unpaused.
    Pause {
        /// What is stopped.
        scope: PauseScope,
    },
    /// Lets something go on.
    Unpause {
        /// What was stopped.
        scope: PauseScope,
    },
    /// Records a resolution.
    Resolve {
        /// Digest of its text.
        text: String,
    },
}

impl TryFrom<ProposalAction> for fogcompute::ProposalAction {
    type Error = FogError;

    fn try_from(action: ProposalAction) -> Result<Self, FogError> {
        Ok(match action {
            ProposalAction::SetParameter { name, value } => {
                let fogcompute::Amount(value) = value.parse()?;
                Self::SetParameter { name, value }
            }
            ProposalAction::Pay {
                to_account,
                amount,
                code,
            } => Self::Pay {
                to: to_account.parse()?,
                amount: amount.parse()?,
                code,
            },
            ProposalAction::GrantRole { account, role } => Self::GrantRole {
                account: account.parse()?,
                role,
            },
            ProposalAction::RevokeRole { account } => Self::RevokeRole {
                account: account.parse()?,
            },
            ProposalAction::ScheduleUpgrade {
                version,
                digest,
                activates_unix_ms,
            } => Self::ScheduleUpgrade {
                version,
                digest: digest.parse()?,
                activates: UnixMillis(activates_unix_ms),
            },
            ProposalAction::DeployAgent {
                agent,
                operator_account,
                budget,
            } => Self::DeployAgent {
                agent: agent.parse()?,
                operator: operator_account.parse()?,
                budget: budget.parse()?,
            },
            ProposalAction::Pause { scope } => Self::Pause { scope },
            ProposalAction::Unpause { scope } => Self::Unpause { scope },
            ProposalAction::Resolve { text } => Self::Resolve {
                text: text.parse()?,
            },
        })
    }
}

impl From<fogcompute::ProposalAction> for ProposalAction {
    fn from(action: fogcompute::ProposalAction) -> Self {
        use fogcompute::ProposalAction as Action;
        match action {
            Action::SetParameter { name, value } => Self::SetParameter {
                name,
                value: value.to_string(),
            },
            Action::Pay { to, amount, code } => Self::Pay {
                to_account: to.to_string(),
                amount: amount.to_string(),
                code,
            },
            Action::GrantRole { account, role } => Self::GrantRole {
                account: account.to_string(),
                role,
            },
            Action::RevokeRole { account } => Self::RevokeRole {
                account: account.to_string(),
            },
            Action::ScheduleUpgrade {
                version,
                digest,
                activates,
            } => Self::ScheduleUpgrade {
                version,
                digest: digest.to_string(),
                activates_unix_ms: activates.0,
            },
            Action::DeployAgent {
                agent,
                operator,
                budget,
            } => Self::DeployAgent {
                agent: agent.to_string(),
                operator_account: operator.to_string(),
                budget: budget.to_string(),
            },
            Action::Pause { scope } => Self::Pause { scope },
            Action::Unpause { scope } => Self::Unpause { scope },
            Action::Resolve { text } => Self::Resolve {
                text: text.to_string(),
            },
        }
    }
}

/// What a proposal says.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct ProposalContent {
    /// What it is about.
    pub kind: ProposalKind,
    /// 1 to 200 characters, none of them a control character.
    pub title: String,
    /// At most 16 KiB. Of control characters, line feeds and tabs only.
    pub description: String,
    /// What it does, in order: 1 to 16.
    pub actions: Vec<ProposalAction>,
}

impl TryFrom<ProposalContent> for fogcompute::ProposalContent {
    type Error = FogError;

    fn try_from(content: ProposalContent) -> Result<Self, FogError> {
        let actions = content.actions.into_iter().map(TryInto::try_into);
        Ok(Self {
            kind: content.kind,
            title: content.title,
            description: content.description,
            actions: actions.collect::<Result<_, FogError>>()?,
        })
    }
}

/// A part of somebody's votes, and who casts it.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct DelegatedPart {
    /// Casts it.
    pub to_account: String,
    /// How much of it, in millionths.
    pub part_ppm: u32,
}

/// A role and who has it.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct RoleHolder {
    /// Who has it.
    pub account: String,
    /// The role.
    pub role: Role,
}

/// What can be asked of governance: [`LedgerGovernance::ask`], or as a step of a batch that is
/// signed. What an account asks for must be signed by its owner, unless the rules
/// (`dao.signatures_required`) say otherwise.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum GovernanceRequest {
    /// Gives the founding roles, once. From then on the host sets no parameters and pays no rewards
    /// from treasury or mint: proposals do.
    Establish {
        /// Who has which.
        roles: Vec<RoleHolder>,
    },
    /// Lets an account vote with what it has from now on. Delegating and being granted a role do so
    /// too.
    Enrol {
        /// The account.
        account: String,
    },
    /// Delegates votes, in place of what was delegated before on those topics.
    Delegate {
        /// Whose votes they are.
        voter: String,
        /// To whom. The rest stays with the voter; all of it if it is empty, which revokes.
        to: Vec<DelegatedPart>,
        /// On what; on everything if it is empty.
        #[uniffi(default = [])]
        topics: Vec<ProposalKind>,
    },
    /// Sets what an account's votes are counted by from now on, where reputation counts.
    SetReputation {
        /// The account.
        account: String,
        /// Its reputation, in millionths.
        reputation_ppm: u32,
    },
    /// Keeps a proposal that is not submitted yet.
    Draft {
        /// Its author.
        author: String,
        /// Names the proposal, for ever.
        proposal: String,
        /// What it says.
        content: ProposalContent,
    },
    /// Submits a draft.
    Submit {
        /// Its author.
        author: String,
        /// The draft.
        proposal: String,
    },
    /// Submits a proposal that was no draft.
    Propose {
        /// Its author.
        author: String,
        /// Names the proposal, for ever.
        proposal: String,
        /// What it says.
        content: ProposalContent,
    },
    /// Votes, or changes a vote. Who has delegated and votes takes that back for this proposal.
    Vote {
        /// Who votes.
        voter: String,
        /// On what.
        proposal: String,
        /// What it says.
        choice: Choice,
    },
    /// Cancels a proposal: its author before voting begins, a guardian or a king until it is over.
    Cancel {
        /// Who cancels it.
        by: String,
        /// The proposal.
        proposal: String,
    },
    /// Starts the timelock of a proposal that has passed. Anybody may.
    Queue {
        /// The proposal.
        proposal: String,
    },
    /// Does what a proposal says, all or nothing. Anybody may.
    Execute {
        /// The proposal.
        proposal: String,
    },
}

impl TryFrom<GovernanceRequest> for fogcompute::GovernanceRequest {
    type Error = FogError;

    fn try_from(request: GovernanceRequest) -> Result<Self, FogError> {
        use GovernanceRequest as Request;
        Ok(match request {
            Request::Establish { roles } => {
                let holder = |holder: RoleHolder| {
                    Ok(fogcompute::RoleHolder {
                        account: holder.account.parse()?,
                        role: holder.role,
                    })
                };
                let roles = roles.into_iter().map(holder);
                Self::Establish {
                    roles: roles.collect::<Result<_, FogError>>()?,
                }
            }
            Request::Enrol { account } => Self::Enrol {
                account: account.parse()?,
            },
            Request::Delegate { voter, to, topics } => {
                let part = |part: DelegatedPart| {
                    Ok(fogcompute::DelegatedPart {
                        to: part.to_account.parse()?,
                        part: millionths(part.part_ppm)?,
                    })
                };
                Self::Delegate {
                    voter: voter.parse()?,
                    topics,
                    to: to.into_iter().map(part).collect::<Result<_, FogError>>()?,
                }
            }
            Request::SetReputation {
                account,
                reputation_ppm,
            } => Self::SetReputation {
                account: account.parse()?,
                reputation: millionths(reputation_ppm)?,
            },
            Request::Draft {
                author,
                proposal,
                content,
            } => Self::Draft {
                author: author.parse()?,
                proposal: proposal.parse()?,
                content: content.try_into()?,
            },
            Request::Submit { author, proposal } => Self::Submit {
                author: author.parse()?,
                proposal: proposal.parse()?,
            },
            Request::Propose {
                author,
                proposal,
                content,
            } => Self::Propose {
                author: author.parse()?,
                proposal: proposal.parse()?,
                content: content.try_into()?,
            },
            Request::Vote {
                voter,
                proposal,
                choice,
            } => Self::Vote {
                voter: voter.parse()?,
                proposal: proposal.parse()?,
                choice,
            },
            Request::Cancel { by, proposal } => Self::Cancel {
                by: by.parse()?,
                proposal: proposal.parse()?,
            },
            Request::Queue { proposal } => Self::Queue {
                proposal: proposal.parse()?,
            },
            Request::Execute { proposal } => Self::Execute {
                proposal: proposal.parse()?,
            },
        })
    }
}

fn millionths(part: u32) -> Result<Ppm, FogError> {
    Ok(Ppm::new(part).map_err(fogcompute::Error::Part)?)
}

/// What came together for each choice, in base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Tally {
    /// Against it.
    pub against: String,
    /// For it.
    pub in_favor: String,
    /// Neither.
    pub abstain: String,
}

impl From<fogcompute::Tally> for Tally {
    fn from(tally: fogcompute::Tally) -> Self {
        Self {
            against: tally.against.to_string(),
            in_favor: tally.in_favor.to_string(),
            abstain: tally.abstain.to_string(),
        }
    }
}

/// What a voter has said about a proposal. Weights are base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Ballot {
    /// What it says.
    pub choice: Choice,
    /// All power it carries: the voter's own and what was delegated, but for what others took back
    /// by voting themselves.
    pub power: String,
    /// The power that counts: no voter has more than the rules allow one.
    pub counted: String,
    /// The votes that makes.
    pub votes: String,
    /// How often it was changed.
    pub changes: u32,
}

impl From<fogcompute::Ballot> for Ballot {
    fn from(ballot: fogcompute::Ballot) -> Self {
        Self {
            choice: ballot.choice,
            power: ballot.power.to_string(),
            counted: ballot.counted.to_string(),
            votes: ballot.votes.to_string(),
            changes: ballot.changes,
        }
    }
}

/// Where an account's power on a topic comes from and goes to, in base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct VotingPower {
    /// What it weighs itself, by its role.
    pub own: String,
    /// What was delegated to it, directly or through others.
    pub received: String,
    /// What it delegates of both.
    pub passed_on: String,
    /// What it can vote with, if nobody whose votes it casts votes: for a vote of its own takes
    /// back what it delegated.
    pub power: String,
    /// What stays with it: what a proposer must weigh.
    pub kept: String,
}

impl From<fogcompute::VotingPower> for VotingPower {
    fn from(power: fogcompute::VotingPower) -> Self {
        Self {
            own: power.own.to_string(),
            received: power.received.to_string(),
            passed_on: power.passed_on.to_string(),
            power: power.power().to_string(),
            kept: power.kept().to_string(),
        }
    }
}

/// What an account is to governance.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct GovernanceMember {
    /// Whether what it has counts.
    pub enrolled: bool,
    /// Its role.
    pub role: Role,
    /// Base units that count, in its account.
    pub tokens: String,
    /// Base units that count, staked.
    pub staked: String,
    /// The reputation that was set for it, in millionths.
    pub reputation_ppm: Option<u32>,
}

impl From<fogcompute::GovernanceMember> for GovernanceMember {
    fn from(member: fogcompute::GovernanceMember) -> Self {
        Self {
            enrolled: member.enrolled,
            role: member.role,
            tokens: member.tokens.to_string(),
            staked: member.staked.to_string(),
            reputation_ppm: member.reputation.map(fogcompute::Ppm::get),
        }
    }
}

/// A version that nodes are to run.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct ScheduledUpgrade {
    /// Its name.
    pub version: String,
    /// The proposal that scheduled it.
    pub proposal: String,
    /// Digest of what is to be run.
    pub digest: String,
    /// From when on, in milliseconds since 1970.
    pub activates_unix_ms: u64,
}

/// An agent that was deployed.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct DeployedAgent {
    /// Digest of the agent.
    pub agent: String,
    /// The proposal that deployed it.
    pub proposal: String,
    /// Runs it.
    pub operator_account: String,
    /// Base units that were paid for it.
    pub budget: String,
}

/// A resolution.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Resolution {
    /// The proposal that resolved it.
    pub proposal: String,
    /// Digest of its text.
    pub text: String,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// What governance is beside its proposals. Weights are base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct GovernanceOverview {
    /// Whether founding roles were given: from then on, rules and treasury are governed.
    pub established: bool,
    /// How many accounts are enrolled.
    pub members: u64,
    /// What everybody holds and has staked: counted from when the first account is enrolled.
    pub circulating: String,
    /// All weight: what circulates, and what roles add to it.
    pub total: String,
    /// Accounts with a role, by id.
    pub roles: Vec<RoleHolder>,
    /// What is paused.
    pub paused: Vec<PauseScope>,
    /// Versions that were scheduled, by name.
    pub upgrades: Vec<ScheduledUpgrade>,
    /// Agents that were deployed, by digest.
    pub agents: Vec<DeployedAgent>,
    /// Resolutions, in order.
    pub resolutions: Vec<Resolution>,
}

impl From<fogcompute::GovernanceOverview> for GovernanceOverview {
    fn from(overview: fogcompute::GovernanceOverview) -> Self {
        let holder = |holder: fogcompute::RoleHolder| RoleHolder {
            account: holder.account.to_string(),
            role: holder.role,
        };
        let (upgrades, agents) = (overview.upgrades, overview.agents);
        let upgrades = upgrades.into_iter().map(|(version, it)| ScheduledUpgrade {
            version,
            proposal: it.proposal.to_string(),
            digest: it.digest.to_string(),
            activates_unix_ms: it.activates.0,
        });
        let agents = agents.into_iter().map(|(agent, it)| DeployedAgent {
            agent: agent.to_string(),
            proposal: it.proposal.to_string(),
            operator_account: it.operator.to_string(),
            budget: it.budget.to_string(),
        });
        let resolutions = overview.resolutions.into_iter().map(|it| Resolution {
            proposal: it.proposal.to_string(),
            text: it.text.to_string(),
            unix_ms: it.time.0,
        });
        Self {
            established: overview.established,
            members: overview.members as u64,
            circulating: overview.circulating.to_string(),
            total: overview.total.to_string(),
            roles: overview.roles.into_iter().map(holder).collect(),
            paused: overview.paused,
            upgrades: upgrades.collect(),
            agents: agents.collect(),
            resolutions: resolutions.collect(),
        }
    }
}

/// A proposal as it stands. Weights are base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Proposal {
    /// Names it.
    pub id: String,
    /// Who made it.
    pub author: String,
    /// What it says.
    pub content: ProposalContent,
    /// Where it is in its life.
    pub state: ProposalState,
    /// Weights count as they were at the end of this millisecond since 1970, and voting begins
    /// after it. Null for a draft, like all that the rules decide when it is submitted.
    pub snapshot_unix_ms: Option<u64>,
    /// The last millisecond to vote in since 1970, as far as is known: a late quorum moves it.
    pub deadline_unix_ms: Option<u64>,
    /// When it may be executed, once it is queued, in milliseconds since 1970.
    pub eta_unix_ms: Option<u64>,
    /// When it was executed or cancelled, in milliseconds since 1970.
    pub closed_unix_ms: Option<u64>,
    /// Who cancelled it.
    pub cancelled_by: Option<String>,
    /// All weight at the snapshot, once that is past.
    pub total: Option<String>,
    /// The power of votes for it and of abstentions that makes a quorum, once the snapshot is past.
    pub quorum: Option<String>,
    /// Whether there is a quorum.
    pub quorum_reached: bool,
    /// The part of the votes for and against that must be for it, in millionths.
    pub approval_ppm: u32,
    /// Whether that many are.
    pub approved: bool,
    /// How power becomes votes.
    pub weighing: Weighing,
    /// The power of those who voted, which a quorum is counted in.
    pub power: Tally,
    /// The votes that makes, which approval is counted in.
    pub votes: Tally,
    /// How many have voted. None once it is over: ballots are forgotten, the history has them.
    pub ballots: u64,
}

impl From<fogcompute::GovernanceProposal> for Proposal {
    fn from(proposal: fogcompute::GovernanceProposal) -> Self {
        let content = proposal.content;
        Self {
            id: proposal.id.to_string(),
            author: proposal.author.to_string(),
            content: ProposalContent {
                kind: content.kind,
                title: content.title,
                description: content.description,
                actions: content.actions.into_iter().map(Into::into).collect(),
            },
            state: proposal.state,
            snapshot_unix_ms: proposal.snapshot.map(|time| time.0),
            deadline_unix_ms: proposal.deadline.map(|time| time.0),
            eta_unix_ms: proposal.eta.map(|time| time.0),
            closed_unix_ms: proposal.closed.map(|time| time.0),
            cancelled_by: proposal.cancelled_by.map(|account| account.to_string()),
            total: proposal.total.map(|weight| weight.to_string()),
            quorum: proposal.quorum.map(|weight| weight.to_string()),
            quorum_reached: proposal.quorum_reached,
            approval_ppm: proposal.approval.get(),
            approved: proposal.approved,
            weighing: proposal.weighing,
            power: proposal.power.into(),
            votes: proposal.votes.into(),
            ballots: proposal.ballots as u64,
        }
    }
}

/// Governance of a ledger: proposals, votes, delegation and roles, by the rules of its economy
/// (parameters `dao.*`). [`Ledger::governance`] gives it. Topics are kinds of proposals.
#[derive(uniffi::Object)]
pub struct LedgerGovernance {
    pub(super) ledger: Arc<Ledger>,
}

#[uniffi::export]
impl LedgerGovernance {
    /// Asks something of governance, in one transaction. The same request under the same id happens
    /// once. What an account asks for is signed instead, by [`sign_batch`](crate::sign_batch) or
    /// [`batch_message`](crate::batch_message), unless the rules say otherwise.
    ///
    /// # Errors
    /// [`FogError::NoEconomy`] before there is an economy, [`FogError::IdReused`],
    /// [`FogError::SignatureRequired`], and why governance refuses: [`FogError::Governed`] to
    /// [`FogError::GovernanceRefused`].
    pub fn ask(&self, id: String, request: GovernanceRequest) -> Result<EconomyReceipt, FogError> {
        guarded(|| {
            let governance = self.ledger.0.governance();
            Ok(governance.ask(id.parse()?, request.try_into()?)?.into())
        })
    }

    /// A proposal as it stands; null if there is none of that name.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    pub fn proposal(&self, proposal: String) -> Result<Option<Proposal>, FogError> {
        guarded(|| {
            let found = self.ledger.0.governance().proposal(proposal.parse()?)?;
            Ok(found.map(Into::into))
        })
    }

    /// Proposals with an id above `after`, by id: at most `limit`, at most 10,000.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    #[uniffi::method(default(after = None, limit = None))]
    pub fn proposals(
        &self,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<Vec<Proposal>, FogError> {
        guarded(|| {
            let after = after.map(|after| after.parse()).transpose()?;
            let limit = limit.map_or(LEDGER_PAGE_MAX, |limit| limit as usize);
            let found = self.ledger.0.governance().proposals(after, limit)?;
            Ok(found.into_iter().map(Into::into).collect())
        })
    }

    /// What a voter has said about a proposal; null if it has not voted, or the proposal is over.
    ///
    /// # Errors
    /// [`FogError::UnknownProposal`].
    pub fn ballot(&self, proposal: String, voter: String) -> Result<Option<Ballot>, FogError> {
        guarded(|| {
            let governance = self.ledger.0.governance();
            let found = governance.ballot(proposal.parse()?, voter.parse()?)?;
            Ok(found.map(Into::into))
        })
    }

    /// Where an account stands on a topic: now, or at the end of a millisecond since 1970 that is
    /// past.
    ///
    /// # Errors
    /// [`FogError::FutureLookup`].
    #[uniffi::method(default(unix_ms = None))]
    pub fn power(
        &self,
        account: String,
        topic: ProposalKind,
        unix_ms: Option<u64>,
    ) -> Result<VotingPower, FogError> {
        guarded(|| {
            let governance = self.ledger.0.governance();
            let time = unix_ms.map(UnixMillis);
            Ok(governance.power(account.parse()?, topic, time)?.into())
        })
    }

    /// All weight, in base units: now, or at the end of a millisecond since 1970 that is past.
    ///
    /// # Errors
    /// [`FogError::FutureLookup`].
    #[uniffi::method(default(unix_ms = None))]
    pub fn total(&self, unix_ms: Option<u64>) -> Result<String, FogError> {
        guarded(|| {
            let governance = self.ledger.0.governance();
            Ok(governance.total(unix_ms.map(UnixMillis))?.to_string())
        })
    }

    /// What an account delegates on a topic.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`].
    pub fn delegation(
        &self,
        voter: String,
        topic: ProposalKind,
    ) -> Result<Vec<DelegatedPart>, FogError> {
        guarded(|| {
            let found = self
                .ledger
                .0
                .governance()
                .delegation(voter.parse()?, topic)?;
            let part = |part: fogcompute::DelegatedPart| DelegatedPart {
                to_account: part.to.to_string(),
                part_ppm: part.part.get(),
            };
            Ok(found.into_iter().map(part).collect())
        })
    }

    /// What an account is to governance.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`].
    pub fn member(&self, account: String) -> Result<GovernanceMember, FogError> {
        guarded(|| Ok(self.ledger.0.governance().member(account.parse()?)?.into()))
    }

    /// What governance is beside its proposals.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    pub fn overview(&self) -> Result<GovernanceOverview, FogError> {
        guarded(|| Ok(self.ledger.0.governance().overview()?.into()))
    }
}
