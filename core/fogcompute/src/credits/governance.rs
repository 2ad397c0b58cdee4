//! Proposals, votes and delegation of a ledger, in calls that every language can have.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};
use fogcompute_ledger::dao::{
    Action, Agent, Ballot, Choice, Content, Dao, DaoError, Holder, Operation, Part, Proposal,
    ProposalKind, ProposalState, Resolution, Role, Scope, Stage, Standing, Tally, Upgrade,
    Weighing, Weight,
};
use fogcompute_ledger::economy::Request;
use fogcompute_ledger::{Amount, Ppm};
use serde::Serialize;

use super::{EconomyReceipt, LEDGER_PAGE_MAX, Ledger};
use crate::Error;

/// Governance of a [`Ledger`]: proposals, votes, delegation and roles, by the rules of its economy
/// (parameters `dao.*`).
///
/// It borrows the ledger and holds nothing itself. Each operation is one transaction under an id of
/// the caller's; the same request under the same id happens once. Accounts speak by signatures:
/// what an account asks for is refused ([`ErrorCode::SignatureRequired`]) unless its owner has
/// signed it, as a step of a batch ([`sign_batch`], [`batch_message`]). Only if the rules say
/// otherwise (`dao.signatures_required` is 0) may the host speak for accounts, by the methods here.
///
/// [`ErrorCode::SignatureRequired`]: crate::ErrorCode::SignatureRequired
/// [`batch_message`]: crate::batch_message
/// [`sign_batch`]: crate::sign_batch
///
/// ```
/// use fogcompute::{
///     AccountId, AccountKind, Amount, Economy, EconomyRequest, GovernanceRequest, Ledger,
///     Operation, TransferId, owner_key, purse_account, sign_batch,
/// };
/// use fogcompute::base::UnixMillis;
///
/// let (ana, secret) = (AccountId::from_bytes([1; 16]), [7; 32]);
/// let id = |n| TransferId::from_bytes([n; 16]);
/// let ledger = Ledger::in_memory()?;
/// ledger.economy().configure(id(1), Economy::default())?;
/// ledger.open_account(ana, AccountKind::Holder)?;
/// ledger.transfer(id(2), purse_account("treasury")?, ana, Amount::from_credits(5_000))?;
/// ledger.own(id(3), ana, owner_key(&secret))?;
///
/// let enrol = Operation::Economy {
///     id: id(4),
///     request: Box::new(EconomyRequest::Governance(GovernanceRequest::Enrol { account: ana })),
/// };
/// let signed = sign_batch(ana, 1, UnixMillis(u64::MAX), vec![enrol], &secret);
/// ledger.execute_signed(&signed)?;
/// assert_eq!(ledger.governance().overview()?.members, 1);
/// # Ok::<(), fogcompute::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LedgerGovernance<'a> {
    ledger: &'a Ledger,
}

/// A proposal as it stands, flat, so that every language can have it as one record.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GovernanceProposal {
    /// Names it.
    pub id: TransferId,
    /// Who made it.
    pub author: AccountId,
    /// What it says.
    pub content: Content,
    /// Where it is in its life.
    pub state: ProposalState,
    /// Weights count as they were at the end of this millisecond, and voting begins after it. None
    /// for a draft, like all that the rules decide when it is submitted.
    pub snapshot: Option<UnixMillis>,
    /// The last millisecond to vote in, as far as is known: a late quorum moves it.
    pub deadline: Option<UnixMillis>,
    /// When it may be executed, once it is queued.
    pub eta: Option<UnixMillis>,
    /// When it was executed or cancelled.
    pub closed: Option<UnixMillis>,
    /// Who cancelled it.
    pub cancelled_by: Option<AccountId>,
    /// All weight at the snapshot, once that is past.
    pub total: Option<Weight>,
    /// The power of votes for it and of abstentions that makes a quorum, once the snapshot is past.
    pub quorum: Option<Weight>,
    /// Whether there is a quorum.
    pub quorum_reached: bool,
    /// The part of the votes for and against that must be for it.
    pub approval: Ppm,
    /// Whether that many are.
    pub approved: bool,
    /// How power becomes votes.
    pub weighing: Weighing,
    /// The power of those who voted, which a quorum is counted in.
    pub power: Tally,
    /// The votes that makes, which approval is counted in.
    pub votes: Tally,
    /// How many have voted. None once it is over: ballots are forgotten, the history has them.
    pub ballots: usize,
}

/// What governance is beside its proposals.
#[non_exhaustive]
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GovernanceOverview {
    /// Whether founding roles were given: from then on, rules and treasury are governed.
    pub established: bool,
    /// How many accounts are enrolled.
    pub members: usize,
    /// What everybody holds and has staked: counted from when the first account is enrolled.
    pub circulating: Weight,
    /// All weight: what circulates, and what roles add to it.
    pub total: Weight,
    /// Accounts with a role, by id.
    pub roles: Vec<Holder>,
    /// What is paused.
    pub paused: Vec<Scope>,
    /// Versions that were scheduled, by name.
    pub upgrades: Vec<(String, Upgrade)>,
    /// Agents that were deployed, by digest.
    pub agents: Vec<(Digest, Agent)>,
    /// Resolutions, in order.
    pub resolutions: Vec<Resolution>,
}

/// What an account is to governance.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct GovernanceMember {
    /// Whether what it has counts.
    pub enrolled: bool,
    /// Its role.
    pub role: Role,
    /// Base units that count, in its account.
    pub tokens: Amount,
    /// Base units that count, staked.
    pub staked: Amount,
    /// The reputation that was set for it.
    pub reputation: Option<Ppm>,
}

impl LedgerGovernance<'_> {
    /// Asks something of governance: all that the other operations do.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn ask(&self, id: TransferId, request: Operation) -> Result<EconomyReceipt, Error> {
        self.ledger.economy().ask(id, Request::Governance(request))
    }

    /// Gives the founding roles, once. From then on the host sets no parameters and pays no rewards
    /// from treasury or mint ([`ErrorCode::Governed`](crate::ErrorCode::Governed)): proposals do.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn establish(&self, id: TransferId, roles: Vec<Holder>) -> Result<EconomyReceipt, Error> {
        self.ask(id, Operation::Establish { roles })
    }

    /// Lets an account vote with what it has from now on.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn enrol(&self, id: TransferId, account: AccountId) -> Result<EconomyReceipt, Error> {
        self.ask(id, Operation::Enrol { account })
    }

    /// Delegates parts of an account's votes, in place of what it delegated before on those topics:
    /// on all of them if there are none. The rest stays with it; without delegates all does, which
    /// revokes.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn delegate(
        &self,
        id: TransferId,
        voter: AccountId,
        topics: Vec<ProposalKind>,
        to: Vec<Part>,
    ) -> Result<EconomyReceipt, Error> {
        self.ask(id, Operation::Delegate { voter, topics, to })
    }

    /// Sets what an account's votes are counted by from now on, where reputation counts.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn set_reputation(
        &self,
        id: TransferId,
        account: AccountId,
        reputation: Ppm,
    ) -> Result<EconomyReceipt, Error> {
        let set = Operation::SetReputation {
            account,
            reputation,
        };
        self.ask(id, set)
    }

    /// Keeps a proposal that is not submitted yet.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn draft(
        &self,
        id: TransferId,
        author: AccountId,
        proposal: TransferId,
        content: Content,
    ) -> Result<EconomyReceipt, Error> {
        let draft = Operation::Draft {
            author,
            proposal,
            content,
        };
        self.ask(id, draft)
    }

    /// Submits a draft.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn submit(
        &self,
        id: TransferId,
        author: AccountId,
        proposal: TransferId,
    ) -> Result<EconomyReceipt, Error> {
        self.ask(id, Operation::Submit { author, proposal })
    }

    /// Submits a proposal that was no draft. `proposal` names it for ever.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn propose(
        &self,
        id: TransferId,
        author: AccountId,
        proposal: TransferId,
        content: Content,
    ) -> Result<EconomyReceipt, Error> {
        let propose = Operation::Propose {
            author,
            proposal,
            content,
        };
        self.ask(id, propose)
    }

    /// Votes, or changes a vote. Who has delegated and votes takes that back for this proposal.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn vote(
        &self,
        id: TransferId,
        voter: AccountId,
        proposal: TransferId,
        choice: Choice,
    ) -> Result<EconomyReceipt, Error> {
        let vote = Operation::Vote {
            voter,
            proposal,
            choice,
        };
        self.ask(id, vote)
    }

    /// Cancels a proposal: its author before voting begins, a guardian or a king until it is over.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn cancel(
        &self,
        id: TransferId,
        by: AccountId,
        proposal: TransferId,
    ) -> Result<EconomyReceipt, Error> {
        self.ask(id, Operation::Cancel { by, proposal })
    }

    /// Starts the timelock of a proposal that has passed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn queue(&self, id: TransferId, proposal: TransferId) -> Result<EconomyReceipt, Error> {
        self.ask(id, Operation::Queue { proposal })
    }

    /// Does what a proposal says, all or nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn execute(&self, id: TransferId, proposal: TransferId) -> Result<EconomyReceipt, Error> {
        self.ask(id, Operation::Execute { proposal })
    }

    /// A proposal as it stands; `None` if there is none of that name.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn proposal(&self, proposal: TransferId) -> Result<Option<GovernanceProposal>, Error> {
        self.see(|dao, now| {
            let record = dao.proposal(proposal);
            let seen = record.map(|record| GovernanceProposal::of(dao, proposal, record, now));
            Ok(seen.transpose()?)
        })
    }

    /// Proposals with an id above `after`, by id: at most `limit`, at most [`LEDGER_PAGE_MAX`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn proposals(
        &self,
        after: Option<TransferId>,
        limit: usize,
    ) -> Result<Vec<GovernanceProposal>, Error> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.see(|dao, now| {
            let seen = (dao.proposals())
                .filter(|(id, _)| (after, Bound::Unbounded).contains(id))
                .take(limit.min(LEDGER_PAGE_MAX))
                .map(|(id, record)| GovernanceProposal::of(dao, id, record, now));
            Ok(seen.collect::<Result<_, _>>()?)
        })
    }

    /// What a voter has said about a proposal; `None` if it has not voted, or the proposal is over.
    ///
    /// # Errors
    /// [`Error::Governance`] without such a proposal, [`Error::Store`].
    pub fn ballot(&self, proposal: TransferId, voter: AccountId) -> Result<Option<Ballot>, Error> {
        self.see(|dao, now| {
            let _ = dao.state(proposal, now)?;
            Ok(dao.ballot(proposal, voter))
        })
    }

    /// Where an account stands on a topic: now, or at the end of a millisecond that is past.
    ///
    /// # Errors
    /// [`Error::Governance`] for a time that is not past, [`Error::Store`].
    pub fn power(
        &self,
        account: AccountId,
        topic: ProposalKind,
        time: Option<UnixMillis>,
    ) -> Result<Standing, Error> {
        self.see(|dao, now| {
            Ok(match time {
                None => dao.standing(account, topic),
                Some(time) => dao.past_standing(account, topic, time, now)?,
            })
        })
    }

    /// All weight: now, or at the end of a millisecond that is past.
    ///
    /// # Errors
    /// [`Error::Governance`] for a time that is not past, [`Error::Store`].
    pub fn total(&self, time: Option<UnixMillis>) -> Result<Weight, Error> {
        self.see(|dao, now| {
            Ok(match time {
                None => dao.total(),
                Some(time) => dao.past_total(time, now)?,
            })
        })
    }

    /// What an account delegates on a topic.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn delegation(&self, voter: AccountId, topic: ProposalKind) -> Result<Vec<Part>, Error> {
        self.see(|dao, _| Ok(dao.delegation(voter, topic).to_vec()))
    }

    /// What an account is to governance.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn member(&self, account: AccountId) -> Result<GovernanceMember, Error> {
        self.see(|dao, _| {
            let member = dao.member(account);
            Ok(GovernanceMember {
                enrolled: member.is_some(),
                role: dao.role(account),
                tokens: member.map_or(Amount::ZERO, |member| member.tokens),
                staked: member.map_or(Amount::ZERO, |member| member.staked),
                reputation: dao.reputation(account),
            })
        })
    }

    /// What governance is beside its proposals.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn overview(&self) -> Result<GovernanceOverview, Error> {
        self.see(|dao, _| {
            let upgrades = dao.upgrades();
            let agents = dao.agents();
            Ok(GovernanceOverview {
                established: dao.is_established(),
                members: dao.member_count(),
                circulating: dao.circulating(),
                total: dao.total(),
                roles: dao.holders().collect(),
                paused: (Scope::ALL.into_iter())
                    .filter(|scope| dao.is_paused(*scope))
                    .collect(),
                upgrades: upgrades
                    .map(|(name, it)| (name.to_owned(), it.clone()))
                    .collect(),
                agents: agents
                    .map(|(digest, agent)| (digest, agent.clone()))
                    .collect(),
                resolutions: dao.resolutions().to_vec(),
            })
        })
    }

    fn see<T>(&self, look: impl FnOnce(&Dao, UnixMillis) -> Result<T, Error>) -> Result<T, Error> {
        let (store, now) = self.ledger.store_now()?;
        look(store.state().dao(), now)
    }
}

impl Ledger {
    /// Governance of this ledger: proposals, votes, delegation and roles.
    #[must_use]
    pub const fn governance(&self) -> LedgerGovernance<'_> {
        LedgerGovernance { ledger: self }
    }
}

impl GovernanceProposal {
    fn of(dao: &Dao, id: TransferId, record: &Proposal, now: UnixMillis) -> Result<Self, DaoError> {
        let terms = record.terms;
        let snapshot = terms.map(|terms| terms.snapshot);
        let total = match snapshot {
            Some(time) if time < now => Some(dao.past_total(time, now)?),
            _ => None,
        };
        let quorum = terms
            .zip(total)
            .map(|(terms, total)| terms.quorum_of(total));
        let approval = terms.map_or(Ppm::ZERO, |terms| terms.approval);
        let votes = record.votes(now);
        let (eta, closed, cancelled_by) = match record.stage {
            Stage::Draft | Stage::Submitted => (None, None, None),
            Stage::Queued { eta } => (Some(eta), None, None),
            Stage::Executed { time } => (None, Some(time), None),
            Stage::Cancelled { time, by } => (None, Some(time), Some(by)),
        };
        Ok(Self {
            id,
            author: record.author,
            content: Content::clone(&record.content),
            state: dao.state(id, now)?,
            snapshot,
            deadline: terms.map(|_| record.deadline),
            eta,
            closed,
            cancelled_by,
            total,
            quorum,
            quorum_reached: quorum.is_some_and(|quorum| record.power.reaches(quorum)),
            approval,
            approved: terms.is_some() && votes.approves(approval),
            weighing: terms.map_or_else(Weighing::default, |terms| terms.weighing),
            power: record.power,
            votes,
            ballots: dao.ballot_count(id),
        })
    }
}

/// Reads one action of a proposal from JSON text, as in [`proposal_from_json`].
///
/// # Errors
/// [`Error::ProposalText`] for any other text.
pub fn action_from_json(text: &str) -> Result<Action, Error> {
    serde_json::from_str(text).map_err(Error::ProposalText)
}

/// One action of a proposal as JSON text in one line, for [`action_from_json`].
///
/// # Panics
/// Never: what is written has no keys that JSON cannot have.
#[must_use]
pub fn action_to_json(action: &Action) -> String {
    serde_json::to_string(action).expect("it has no maps, and is written to memory")
}

/// Reads what a proposal says from JSON text, the same in every language:
///
/// ```json
/// {
///   "kind": "parameter_change",
///   "title": "Pay hosts more",
///   "description": "",
///   "actions": [
///     {"set_parameter": {"name": "earning.contributions.hosting.base", "value": "8000000"}}
///   ]
/// }
/// ```
///
/// Kinds are those of [`ProposalKind`]; actions are one of
///
/// | action | fields |
/// |---|---|
/// | `set_parameter` | `name`, `value` |
/// | `pay` | `to`, `amount`, `code` |
/// | `grant_role` | `account`, `role` |
/// | `revoke_role` | `account` |
/// | `schedule_upgrade` | `version`, `digest`, `activates` (milliseconds since 1970) |
/// | `deploy_agent` | `agent`, `operator`, `budget` |
/// | `pause`, `unpause` | `scope` |
/// | `resolve` | `text` (a digest) |
///
/// Amounts and values are texts of decimal digits, identifiers and digests hexadecimal.
///
/// # Errors
/// [`Error::ProposalText`] for any other text. What governance refuses of it is told when it is
/// proposed.
pub fn proposal_from_json(text: &str) -> Result<Content, Error> {
    serde_json::from_str(text).map_err(Error::ProposalText)
}

/// What a proposal says as JSON text, for [`proposal_from_json`].
///
/// # Panics
/// Never: what is written has no keys that JSON cannot have.
#[must_use]
pub fn proposal_to_json(content: &Content) -> String {
    serde_json::to_string_pretty(content).expect("it has no maps, and is written to memory")
}

/// What proposals have left behind as JSON text: `upgrades` by version and `agents` by digest, with
/// the fields of [`Upgrade`] and [`Agent`], and the list of `resolutions`.
///
/// # Panics
/// Never: its maps have texts as keys.
#[must_use]
pub fn governance_records_to_json(overview: &GovernanceOverview) -> String {
    #[derive(Serialize)]
    struct Records<'a> {
        upgrades: BTreeMap<&'a str, &'a Upgrade>,
        agents: BTreeMap<String, &'a Agent>,
        resolutions: &'a [Resolution],
    }
    let upgrades = overview.upgrades.iter();
    let agents = overview.agents.iter();
    let records = Records {
        upgrades: upgrades.map(|(name, it)| (name.as_str(), it)).collect(),
        agents: agents
            .map(|(digest, it)| (digest.to_string(), it))
            .collect(),
        resolutions: &overview.resolutions,
    };
    serde_json::to_string_pretty(&records).expect("its keys are texts, and it is written to memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AccountKind, Economy, EconomyRequest, ErrorCode, NodeId, SignedBatch, batch_message,
        decode_batch, owner_key, purse_account, sign_batch,
    };
    use ed25519_dalek::{Signer, SigningKey};

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const START: u64 = 20_000 * DAY;
    const NAME: &str = "earning.contributions.hosting.base";
    const ANA: AccountId = AccountId::from_bytes([1; 16]);
    const BEN: AccountId = AccountId::from_bytes([2; 16]);
    const CLEO: AccountId = AccountId::from_bytes([3; 16]);
    const EVERYBODY: [(AccountId, [u8; 32]); 3] = [(ANA, [1; 32]), (BEN, [2; 32]), (CLEO, [3; 32])];
    const P: TransferId = TransferId::from_bytes([100; 16]);

    fn id(n: u8) -> TransferId {
        TransferId::from_bytes([n; 16])
    }

    fn after(ledger: &Ledger, ms: u64) {
        ledger.set_time(Some(UnixMillis(START + ms))).unwrap();
    }

    /// Ana, Ben and Cleo have 10,000 credits each and are enrolled.
    fn founded(economy: Economy) -> Ledger {
        let ledger = Ledger::in_memory().unwrap();
        after(&ledger, 0);
        let signed = economy.dao.signatures_required;
        ledger.economy().configure(id(1), economy).unwrap();
        for (n, (account, secret)) in (2..).step_by(3).zip(EVERYBODY) {
            ledger.open_account(account, AccountKind::Holder).unwrap();
            let amount = Amount::from_credits(10_000);
            let treasury = purse_account("treasury").unwrap();
            ledger.transfer(id(n), treasury, account, amount).unwrap();
            ledger.own(id(n + 1), account, owner_key(&secret)).unwrap();
            let enrol = Operation::Enrol { account };
            if signed {
                ledger
                    .execute_signed(&sign(&ledger, account, n + 2, enrol))
                    .unwrap();
            } else {
                ledger.governance().ask(id(n + 2), enrol).unwrap();
            }
        }
        after(&ledger, DAY);
        ledger
    }

    fn unsigned() -> Economy {
        let mut economy = Economy::default();
        economy.dao.signatures_required = false;
        economy
    }

    fn sign(ledger: &Ledger, account: AccountId, n: u8, asked: Operation) -> SignedBatch {
        let operation = fogcompute_ledger::Operation::Economy {
            id: id(n),
            request: Box::new(EconomyRequest::Governance(asked)),
        };
        let (_, secret) = EVERYBODY.iter().find(|(id, _)| *id == account).unwrap();
        let nonce = ledger.next_nonce(account).unwrap();
        sign_batch(
            account,
            nonce,
            UnixMillis(u64::MAX),
            vec![operation],
            secret,
        )
    }

    fn change(value: u128) -> Content {
        Content {
            kind: ProposalKind::ParameterChange,
            title: "Pay hosts more".to_owned(),
            description: "Hosts are few.\nThey should be more.".to_owned(),
            actions: vec![Action::SetParameter {
                name: NAME.to_owned(),
                value,
            }],
        }
    }

    fn propose(author: AccountId, proposal: TransferId, content: Content) -> Operation {
        Operation::Propose {
            author,
            proposal,
            content,
        }
    }

    fn vote(voter: AccountId, choice: Choice) -> Operation {
        Operation::Vote {
            voter,
            proposal: P,
            choice,
        }
    }

    #[test]
    fn a_signed_vote_changes_what_the_ledger_pays_and_is_refused_a_second_time() {
        let ledger = founded(Economy::default());
        let governance = ledger.governance();
        let facts = [("uptime", 1_000)];
        let paid = ledger
            .economy()
            .earn(id(20), "hosting", ANA, facts)
            .unwrap();
        let base = ledger
            .economy()
            .rules()
            .unwrap()
            .unwrap()
            .get(NAME)
            .unwrap();

        let asked = sign(&ledger, ANA, 21, propose(ANA, P, change(2 * base)));
        ledger.execute_signed(&asked).unwrap();
        let receipt = ledger.economy().receipt(id(21)).unwrap().unwrap();
        assert_eq!((receipt.event, receipt.proposal), ("proposed", Some(P)));
        let snapshot = START + 2 * DAY;
        assert_eq!(receipt.deadline, Some(UnixMillis(snapshot + 7 * DAY)));
        let pending = governance.proposal(P).unwrap().unwrap();
        assert_eq!(pending.state, ProposalState::Pending);
        assert_eq!((pending.total, pending.quorum), (None, None));

        // A phone without a network signs by a key that never leaves it.
        let mut offline = sign(&ledger, BEN, 22, vote(BEN, Choice::For));
        offline.signature = [0; 64];
        let key = SigningKey::from_bytes(&[2; 32]);
        offline.signature = key.sign(&batch_message(&offline)).to_bytes();
        let handed_over = decode_batch(&offline.encode()).unwrap();

        after(&ledger, 2 * DAY + 1);
        ledger.execute_signed(&handed_over).unwrap();
        let voted = ledger.economy().receipt(id(22)).unwrap().unwrap();
        assert_eq!(voted.power, Weight(Amount::from_credits(10_000).0));
        let again = ledger.execute_signed(&handed_over).unwrap_err();
        assert_eq!(again.code(), ErrorCode::SignatureReplayed);
        let against = sign(&ledger, CLEO, 23, vote(CLEO, Choice::Against));
        ledger.execute_signed(&against).unwrap();
        let changed = sign(&ledger, CLEO, 24, vote(CLEO, Choice::For));
        ledger.execute_signed(&changed).unwrap();
        let ballot = governance.ballot(P, CLEO).unwrap().unwrap();
        assert_eq!((ballot.choice, ballot.changes), (Choice::For, 1));
        let active = governance.proposal(P).unwrap().unwrap();
        assert_eq!((active.state, active.ballots), (ProposalState::Active, 2));
        let total = active.total.unwrap().0;
        assert_eq!(active.quorum, Some(Weight(total.div_ceil(10))));
        assert!(active.quorum_reached && active.approved);

        after(&ledger, 9 * DAY + 1);
        let queued = governance.queue(id(25), P).unwrap();
        assert_eq!(queued.eta, Some(UnixMillis(START + 10 * DAY + 1)));
        let early = governance.execute(id(26), P).unwrap_err();
        assert_eq!(early.code(), ErrorCode::TimelockRunning);
        assert_eq!(governance.proposal(P).unwrap().unwrap().eta, queued.eta);
        after(&ledger, 10 * DAY + 1);
        assert_eq!(governance.execute(id(26), P).unwrap().event, "executed");
        let done = governance.proposal(P).unwrap().unwrap();
        assert_eq!(done.state, ProposalState::Executed);
        assert_eq!(done.closed, Some(UnixMillis(START + 10 * DAY + 1)));
        assert_eq!(governance.proposals(None, 9).unwrap(), [done]);
        assert_eq!(governance.proposals(Some(P), 9).unwrap(), []);

        let now_paid = ledger
            .economy()
            .earn(id(27), "hosting", ANA, facts)
            .unwrap();
        let set = ledger.economy().rules().unwrap().unwrap().get(NAME);
        assert_eq!(set, Some(2 * base));
        assert_eq!(now_paid.amount.0, 2 * paid.amount.0);
        ledger.verify().unwrap();
    }

    #[test]
    fn votes_are_delegated_whole_in_part_and_by_topic_and_taken_back() {
        let ledger = founded(unsigned());
        let governance = ledger.governance();
        let topic = ProposalKind::General;
        let power = |account, time| {
            let standing = governance.power(account, topic, time).unwrap();
            standing.kept().0 / Amount::from_credits(1).0
        };
        let part = |to, percent| Part {
            to,
            part: Ppm::percent(percent),
        };
        let before = ledger.now().unwrap();
        after(&ledger, DAY + 1);
        governance
            .delegate(id(20), ANA, vec![], vec![part(BEN, 100)])
            .unwrap();
        assert_eq!((power(ANA, None), power(BEN, None)), (0, 20_000));
        assert_eq!(power(ANA, Some(before)), 10_000);
        let split = vec![part(BEN, 25), part(CLEO, 50)];
        governance
            .delegate(id(21), ANA, vec![topic], split.clone())
            .unwrap();
        assert_eq!(
            (power(ANA, None), power(BEN, None), power(CLEO, None)),
            (2_500, 12_500, 15_000)
        );
        assert_eq!(governance.delegation(ANA, topic).unwrap(), split);
        let elsewhere = governance
            .delegation(ANA, ProposalKind::ParameterChange)
            .unwrap();
        assert_eq!(elsewhere, [part(BEN, 100)]);
        governance.delegate(id(22), ANA, vec![], vec![]).unwrap();
        assert_eq!(power(ANA, None), 10_000);
        assert_eq!(
            governance.total(None).unwrap(),
            governance.total(Some(before)).unwrap()
        );
        let error = governance.total(Some(ledger.now().unwrap())).unwrap_err();
        assert_eq!(error.code(), ErrorCode::FutureLookup);
    }

    #[test]
    fn founding_roles_end_the_reign_of_the_host_and_the_overview_tells() {
        let ledger = founded(unsigned());
        let governance = ledger.governance();
        assert_eq!(governance.member(BEN).unwrap().role, Role::Citizen);
        let roles = vec![Holder {
            account: ANA,
            role: Role::Guardian,
        }];
        governance.establish(id(20), roles.clone()).unwrap();
        governance
            .set_reputation(id(21), BEN, Ppm::percent(30))
            .unwrap();
        let set = ledger.economy().set_parameter(id(22), NAME, 1);
        assert_eq!(set.unwrap_err().code(), ErrorCode::Governed);
        let overview = governance.overview().unwrap();
        assert_eq!((overview.established, overview.members), (true, 3));
        assert_eq!(overview.roles, roles);
        assert_eq!(
            overview.total.0,
            overview.circulating.0 + Amount::from_credits(40_000).0
        );
        let ben = governance.member(BEN).unwrap();
        assert_eq!(ben.reputation, Some(Ppm::percent(30)));
        assert_eq!(
            (ben.enrolled, ben.tokens),
            (true, Amount::from_credits(10_000))
        );
        let nobody = governance.member(purse_account("mint").unwrap()).unwrap();
        assert_eq!(nobody, GovernanceMember::default());

        let pause = Content {
            kind: ProposalKind::EmergencyAction,
            title: "Stop".to_owned(),
            description: String::new(),
            actions: vec![Action::Pause {
                scope: Scope::Earning,
            }],
        };
        after(&ledger, DAY + 1);
        governance.propose(id(23), ANA, P, pause).unwrap();
        after(&ledger, DAY + HOUR + 2);
        governance.vote(id(24), ANA, P, Choice::For).unwrap();
        governance.vote(id(25), BEN, P, Choice::For).unwrap();
        after(&ledger, 4 * DAY);
        governance.queue(id(26), P).unwrap();
        after(&ledger, 4 * DAY + HOUR);
        governance.execute(id(27), P).unwrap();
        assert_eq!(governance.overview().unwrap().paused, [Scope::Earning]);
        let earned = ledger
            .economy()
            .earn(id(28), "hosting", BEN, [("uptime", 1)]);
        assert_eq!(earned.unwrap_err().code(), ErrorCode::Paused);
    }

    #[test]
    fn every_refusal_of_governance_has_its_code() {
        let ledger = founded(unsigned());
        let governance = ledger.governance();
        let ask = |request| governance.ask(id(200), request).unwrap_err().code();
        let proposes = |content| ask(propose(ANA, id(101), content));
        let content = |kind, actions| Content {
            kind,
            actions,
            ..change(1)
        };
        let pay = |amount| {
            let (to, code) = (BEN, 0);
            content(
                ProposalKind::TreasuryAllocation,
                vec![Action::Pay { to, amount, code }],
            )
        };
        let text = Digest::of(b"x");
        governance.propose(id(20), ANA, P, change(1)).unwrap();
        let mut cases = vec![
            (ask(vote(ANA, Choice::For)), ErrorCode::VotingNotStarted),
            (
                proposes(content(ProposalKind::General, vec![])),
                ErrorCode::NoActions,
            ),
            (
                proposes(content(
                    ProposalKind::General,
                    vec![Action::Resolve { text }; 17],
                )),
                ErrorCode::TooManyActions,
            ),
            (
                proposes(Content {
                    description: "\u{1b}[2J".to_owned(),
                    ..change(1)
                }),
                ErrorCode::ControlCharacter,
            ),
            (
                proposes(Content {
                    title: String::new(),
                    ..change(1)
                }),
                ErrorCode::InvalidProposal,
            ),
            (
                proposes(content(ProposalKind::General, change(1).actions)),
                ErrorCode::ActionNotAllowed,
            ),
            (proposes(change(u128::MAX)), ErrorCode::ParameterOutOfRange),
            (
                proposes(content(
                    ProposalKind::ParameterChange,
                    vec![Action::SetParameter {
                        name: "x".to_owned(),
                        value: 1,
                    }],
                )),
                ErrorCode::UnknownParameter,
            ),
            (proposes(pay(Amount(u128::MAX))), ErrorCode::TreasuryShort),
            (proposes(pay(Amount::ZERO)), ErrorCode::ActionRefused),
            (ask(propose(ANA, P, change(1))), ErrorCode::ProposalExists),
            (
                ask(Operation::Enrol { account: ANA }),
                ErrorCode::AlreadyEnrolled,
            ),
            (
                ask(Operation::Enrol {
                    account: AccountId::from_bytes([9; 16]),
                }),
                ErrorCode::UnknownAccount,
            ),
            (
                ask(Operation::Queue { proposal: id(9) }),
                ErrorCode::UnknownProposal,
            ),
            (ask(Operation::Queue { proposal: P }), ErrorCode::WrongState),
            (
                ask(Operation::Cancel {
                    by: BEN,
                    proposal: P,
                }),
                ErrorCode::NotPermitted,
            ),
            (
                ask(Operation::Establish { roles: vec![] }),
                ErrorCode::GovernanceRefused,
            ),
            (
                governance.ballot(id(9), ANA).unwrap_err().code(),
                ErrorCode::UnknownProposal,
            ),
            (
                Error::from(Choice::try_from(3).unwrap_err()).code(),
                ErrorCode::UnknownChoice,
            ),
        ];
        let delegate = |voter, to: &[(AccountId, u32)]| {
            let part = |&(to, part)| Part {
                to,
                part: Ppm::new(part).unwrap(),
            };
            Operation::Delegate {
                voter,
                topics: vec![],
                to: to.iter().map(part).collect(),
            }
        };
        governance
            .ask(id(21), delegate(ANA, &[(BEN, 1_000_000)]))
            .unwrap();
        cases.extend([
            (
                ask(delegate(BEN, &[(ANA, 1_000_000)])),
                ErrorCode::CircularDelegation,
            ),
            (
                ask(delegate(BEN, &[(BEN, 1)])),
                ErrorCode::InvalidDelegation,
            ),
            (
                ask(delegate(BEN, &[(CLEO, 1); 9])),
                ErrorCode::DelegationTooComplex,
            ),
            (ask(delegate(BEN, &[])), ErrorCode::NothingDelegated),
        ]);
        // What Ana keeps of her own is below the threshold now.
        after(&ledger, DAY + 1);
        cases.push((proposes(change(1)), ErrorCode::BelowThreshold));
        for n in 0..3 {
            governance
                .propose(id(22 + n), BEN, id(110 + n), change(1))
                .unwrap();
        }
        cases.push((
            ask(propose(BEN, id(113), change(1))),
            ErrorCode::TooManyProposals,
        ));
        ledger
            .open_account(AccountId::from_bytes([8; 16]), AccountKind::Holder)
            .unwrap();
        after(&ledger, 2 * DAY + 1);
        let nobody = AccountId::from_bytes([8; 16]);
        cases.push((ask(vote(nobody, Choice::For)), ErrorCode::NoVotingPower));
        governance.vote(id(30), CLEO, P, Choice::For).unwrap();
        cases.push((ask(vote(CLEO, Choice::For)), ErrorCode::AlreadyVoted));
        for n in 0..8 {
            let choice = if n % 2 == 0 {
                Choice::Against
            } else {
                Choice::For
            };
            governance.vote(id(31 + n), CLEO, P, choice).unwrap();
        }
        cases.push((
            ask(vote(CLEO, Choice::Abstain)),
            ErrorCode::TooManyVoteChanges,
        ));
        after(&ledger, 9 * DAY + 1);
        cases.push((ask(vote(BEN, Choice::For)), ErrorCode::VotingOver));
        let roles = vec![Holder {
            account: ANA,
            role: Role::King,
        }];
        governance.establish(id(40), roles.clone()).unwrap();
        cases.push((
            ask(Operation::Establish { roles }),
            ErrorCode::AlreadyEstablished,
        ));
        after(&ledger, DAY);
        cases.push((
            ask(Operation::Queue { proposal: P }),
            ErrorCode::ClockBehind,
        ));
        for (index, (found, expected)) in cases.into_iter().enumerate() {
            assert_eq!(found, expected, "case {index}");
        }
    }

    #[test]
    fn an_execution_that_fails_does_nothing_and_stays_queued() {
        let ledger = founded(unsigned());
        let governance = ledger.governance();
        let treasury = purse_account("treasury").unwrap();
        let amount = ledger.balance(treasury).unwrap();
        let content = Content {
            kind: ProposalKind::TreasuryAllocation,
            actions: vec![Action::Pay {
                to: BEN,
                amount,
                code: 0,
            }],
            ..change(1)
        };
        governance.propose(id(20), ANA, P, content).unwrap();
        after(&ledger, 2 * DAY + 1);
        governance.vote(id(21), ANA, P, Choice::For).unwrap();
        governance.vote(id(22), BEN, P, Choice::For).unwrap();
        after(&ledger, 9 * DAY + 1);
        governance.queue(id(23), P).unwrap();
        ledger.transfer(id(24), treasury, CLEO, Amount(1)).unwrap();
        after(&ledger, 10 * DAY + 1);
        let failed = governance.execute(id(25), P).unwrap_err();
        assert_eq!(failed.code(), ErrorCode::ActionFailed);
        assert!(
            failed.message().contains("treasury has"),
            "{}",
            failed.message()
        );
        let proposal = governance.proposal(P).unwrap().unwrap();
        assert_eq!(proposal.state, ProposalState::Queued);
    }

    #[test]
    fn accounts_speak_for_themselves_and_by_signatures() {
        let ledger = founded(Economy::default());
        let governance = ledger.governance();
        let asked = governance.propose(id(20), ANA, P, change(1)).unwrap_err();
        assert_eq!(asked.code(), ErrorCode::SignatureRequired);
        let foreign = sign(&ledger, BEN, 20, propose(ANA, P, change(1)));
        let refused = ledger.execute_signed(&foreign).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::NotTheOwner);
        let roles = Operation::Establish {
            roles: vec![Holder {
                account: BEN,
                role: Role::King,
            }],
        };
        let crowned = ledger
            .execute_signed(&sign(&ledger, BEN, 20, roles))
            .unwrap_err();
        assert_eq!(crowned.code(), ErrorCode::HostOnly);
        let reward = ledger.economy().reward(
            id(20),
            NodeId::from_bytes([1; 32]),
            purse_account("treasury").unwrap(),
            Amount(1),
        );
        assert_eq!(reward.unwrap_err().code(), ErrorCode::UnknownOperator);
        // Nor is a key replaced, once roles are established, but by a signature under it.
        let roles = vec![Holder {
            account: CLEO,
            role: Role::Guardian,
        }];
        governance.establish(id(20), roles).unwrap();
        let key = owner_key(&[9; 32]);
        let taken = ledger.own(id(21), BEN, key).unwrap_err();
        assert_eq!(taken.code(), ErrorCode::SignatureRequired);
        let (_, secret) = EVERYBODY.iter().find(|(id, _)| *id == BEN).unwrap();
        let own = fogcompute_ledger::Operation::Own {
            id: id(21),
            account: BEN,
            key,
        };
        let nonce = ledger.next_nonce(BEN).unwrap();
        let batch = sign_batch(BEN, nonce, UnixMillis(u64::MAX), vec![own], secret);
        ledger.execute_signed(&batch).unwrap();
    }

    #[test]
    fn text_of_a_proposal_is_exact() {
        let text = proposal_to_json(&change(7));
        assert!(text.contains(r#""value": "7""#), "{text}");
        assert_eq!(proposal_from_json(&text).unwrap(), change(7));
        let action = &change(7).actions[0];
        assert_eq!(action_from_json(&action_to_json(action)).unwrap(), *action);
        let code = |text: &str| proposal_from_json(text).unwrap_err().code();
        assert_eq!(code("{}"), ErrorCode::InvalidProposal);
        // A parameter of the wrong type, and an action there is not.
        assert_eq!(
            code(&text.replace("\"7\"", "true")),
            ErrorCode::InvalidProposal
        );
        assert_eq!(
            code(&text.replace("set_parameter", "mint")),
            ErrorCode::InvalidProposal
        );
        assert_eq!(
            code(&text.replace("title", "tittle")),
            ErrorCode::InvalidProposal
        );
    }
}
