//! Our side: governance as the ledger has it, under rules that say what the contracts do.

use std::collections::BTreeMap;

use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};
use fogcompute_ledger::dao::{
    Action, Choice, Content, Dao, DaoError, Draft, NoHost, Operation, Part, ProposalKind,
    ProposalState, Rules,
};
use fogcompute_ledger::{Amount, Ppm};

use crate::{ACCOUNTS, Settings, Step, Support};

const KIND: ProposalKind = ProposalKind::General;

/// What is compared: whole delegation to somebody who keeps its own votes, no roles, one vote each,
/// approval by more than half. A second of the block is a millisecond here.
#[derive(Clone, Debug)]
pub struct Ours {
    dao: Dao,
    rules: Rules,
    now: u64,
    tokens: BTreeMap<u64, u128>,
}

/// Why an operation is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// By governance.
    Dao(DaoError),
    /// The account has less.
    Balance,
}

impl From<DaoError> for Refused {
    fn from(error: DaoError) -> Self {
        Self::Dao(error)
    }
}

impl Ours {
    /// A governance with those settings in which everybody has nothing and keeps its votes.
    ///
    /// # Errors
    /// Any [`DaoError`].
    pub fn new(settings: Settings, now: u64) -> Result<Self, DaoError> {
        let rules = Rules {
            proposal_threshold: Amount(settings.proposal_threshold),
            voting_delay_ms: settings.voting_delay,
            voting_ms: u64::from(settings.voting_period),
            timelock_ms: settings.timelock,
            grace_ms: u64::MAX,
            quorum: Ppm::percent(settings.quorum_percent),
            approval: Ppm::percent(50),
            late_quorum_ms: settings.late_quorum_extension,
            voter_share_max: Ppm::WHOLE,
            vote_changes_max: 0,
            live_max: u32::MAX,
            live_per_author_max: u32::MAX,
            ..Rules::default()
        };
        let mut ours = Self {
            dao: Dao::default(),
            rules,
            now,
            tokens: BTreeMap::new(),
        };
        for number in 1..=ACCOUNTS {
            let account = Self::account(number);
            ours.run(&Operation::Enrol { account })?;
        }
        Ok(ours)
    }

    /// The account of a number.
    #[must_use]
    pub fn account(number: u64) -> AccountId {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        AccountId::from_bytes(bytes)
    }

    /// The id of a proposal.
    #[must_use]
    pub fn proposal(number: u64) -> TransferId {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        TransferId::from_bytes(bytes)
    }

    /// The governance itself.
    #[must_use]
    pub fn dao(&self) -> &Dao {
        &self.dao
    }

    /// The second it is.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// What an account could vote with now.
    #[must_use]
    pub fn votes(&self, of: u64) -> u128 {
        self.dao.standing(Self::account(of), KIND).kept().0
    }

    /// How many proposals were made.
    #[must_use]
    pub fn proposals(&self) -> u64 {
        self.dao.proposals().len() as u64
    }

    /// The proposals in a state.
    #[must_use]
    pub fn in_state(&self, state: ProposalState) -> Vec<u64> {
        let now = UnixMillis(self.now);
        let is = |proposal: &u64| self.dao.state(Self::proposal(*proposal), now) == Ok(state);
        (0..self.proposals()).filter(is).collect()
    }

    /// Who made a proposal.
    #[must_use]
    pub fn author(&self, proposal: u64) -> Option<u64> {
        let author = self.dao.proposal(Self::proposal(proposal))?.author;
        (1..=ACCOUNTS).find(|&number| Self::account(number) == author)
    }

    /// Whether an account kept votes at the snapshot of a proposal; also if that is to come.
    #[must_use]
    pub fn has_votes(&self, of: u64, proposal: u64) -> bool {
        let record = self.dao.proposal(Self::proposal(proposal));
        let Some(terms) = record.and_then(|record| record.terms) else {
            return true;
        };
        let now = UnixMillis(self.now);
        let standing = (self.dao).past_standing(Self::account(of), KIND, terms.snapshot, now);
        standing.is_err() || standing.is_ok_and(|standing| !standing.kept().is_zero())
    }

    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, DaoError>,
    ) -> Result<T, DaoError> {
        self.dao.update(UnixMillis(self.now), change)
    }

    fn run(&mut self, operation: &Operation) -> Result<(), DaoError> {
        let rules = self.rules;
        self.change(|draft| draft.execute(&rules, operation, &NoHost).map(drop))
    }

    fn held(&self, of: u64) -> u128 {
        self.tokens.get(&of).copied().unwrap_or_default()
    }

    /// Tells governance what accounts have, and all have together.
    fn hold(&mut self, held: &[(u64, u128)]) -> Result<(), Refused> {
        self.tokens.extend(held.iter().copied());
        let all: u128 = self.tokens.values().sum();
        self.change(|draft| {
            for &(number, tokens) in held {
                draft.set_tokens(Self::account(number), Amount(tokens))?;
            }
            draft.set_circulating(Amount(all))
        })?;
        Ok(())
    }

    /// Does an operation.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then.
    pub fn take(&mut self, step: Step) -> Result<(), Refused> {
        match step {
            Step::Mint { to, amount } => self.hold(&[(to, self.held(to) + amount)]),
            Step::Burn { from, amount } => {
                let left = self.held(from).checked_sub(amount);
                self.hold(&[(from, left.ok_or(Refused::Balance)?)])
            }
            Step::Transfer { from, to, amount } => {
                let left = self.held(from).checked_sub(amount);
                let left = left.ok_or(Refused::Balance)?;
                if from == to {
                    return Ok(());
                }
                self.hold(&[(from, left), (to, self.held(to) + amount)])
            }
            Step::Delegate { from, to } => {
                let part = Part {
                    to: Self::account(to),
                    part: Ppm::WHOLE,
                };
                let done = self.run(&Operation::Delegate {
                    voter: Self::account(from),
                    topics: Vec::new(),
                    to: if to == from { Vec::new() } else { vec![part] },
                });
                match done {
                    // Taking back what was not given is a mistake here and nothing there.
                    Err(DaoError::NothingDelegated { .. }) => Ok(()),
                    done => Ok(done?),
                }
            }
            Step::Propose { by, proposal } => Ok(self.run(&Operation::Propose {
                author: Self::account(by),
                proposal: Self::proposal(proposal),
                content: Content {
                    kind: KIND,
                    title: format!("proposal {proposal}"),
                    description: String::new(),
                    actions: vec![Action::Resolve {
                        text: Digest::of(&proposal.to_be_bytes()),
                    }],
                },
            })?),
            Step::Vote {
                by,
                proposal,
                support,
            } => Ok(self.run(&Operation::Vote {
                voter: Self::account(by),
                proposal: Self::proposal(proposal),
                choice: match support {
                    Support::Against => Choice::Against,
                    Support::For => Choice::For,
                    Support::Abstain => Choice::Abstain,
                },
            })?),
            Step::Queue { proposal } => {
                let proposal = Self::proposal(proposal);
                Ok(self.run(&Operation::Queue { proposal })?)
            }
            Step::Execute { proposal } => {
                let proposal = Self::proposal(proposal);
                Ok(self.run(&Operation::Execute { proposal })?)
            }
            Step::Cancel { by, proposal } => {
                let (by, proposal) = (Self::account(by), Self::proposal(proposal));
                Ok(self.run(&Operation::Cancel { by, proposal })?)
            }
            Step::Wait { seconds } => {
                self.now += seconds;
                Ok(())
            }
        }
    }
}
