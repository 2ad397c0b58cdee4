//! A host of governance: accounts, a treasury and an economy.

use std::collections::{BTreeMap, BTreeSet};

use fogcompute_base::{AccountId, Digest, NodeId, TransferId, UnixMillis};
use fogcompute_ledger::dao::{
    Action, Ballot, Checks, Choice, Content, Corruption, Dao, DaoError, Draft, Effect, Event,
    EventKind, Holder, Operation, Part, ProposalKind, ProposalState, Role, Rules, Snapshot,
    Standing, Tally, Weight,
};
use fogcompute_ledger::economy::{Economy, EconomyError};
use fogcompute_ledger::{Amount, Ppm};

pub(crate) const KIND: ProposalKind = ProposalKind::General;

pub(crate) fn account(n: u16) -> AccountId {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    AccountId::from_bytes(bytes)
}

pub(crate) fn id(n: u8) -> TransferId {
    TransferId::from_bytes([n; 16])
}

pub(crate) fn operator(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

pub(crate) fn part(to: u16, part: u32) -> Part {
    Part {
        to: account(to),
        part: Ppm::new(part).unwrap(),
    }
}

pub(crate) fn resolve() -> Action {
    Action::Resolve {
        text: Digest::of(b"resolved"),
    }
}

pub(crate) fn content(kind: ProposalKind, actions: Vec<Action>) -> Content {
    Content {
        kind,
        title: "A title".to_owned(),
        description: "Two\n\tlines".to_owned(),
        actions,
    }
}

/// What the host knows.
pub(crate) struct Host {
    pub(crate) economy: Economy,
    pub(crate) treasury: Amount,
    pub(crate) strangers: BTreeSet<AccountId>,
    tokens: BTreeMap<AccountId, Amount>,
    stakes: BTreeMap<(NodeId, AccountId), Amount>,
}

impl Host {
    /// Says what accounts have that were enrolled just now.
    fn fill(&self, draft: &mut Draft<'_>) -> Result<(), DaoError> {
        for account in draft.take_enrolled() {
            draft.set_tokens(
                account,
                self.tokens.get(&account).copied().unwrap_or_default(),
            )?;
            for (&(operator, staker), &worth) in &self.stakes {
                if staker == account {
                    draft.set_stake(operator, account, worth)?;
                }
            }
        }
        Ok(())
    }
}

impl Checks for Host {
    fn parameters(&self, changes: &[(&str, u128)]) -> Result<(), (usize, EconomyError)> {
        let mut economy = self.economy.clone();
        for (place, (name, value)) in changes.iter().enumerate() {
            economy
                .set(name, *value)
                .map_err(|reason| (place, reason))?;
        }
        Ok(())
    }

    fn parameter(&self, name: &str) -> Option<u128> {
        self.economy.get(name)
    }

    fn payable(&self, sum: Amount) -> Result<(), Amount> {
        if sum <= self.treasury {
            Ok(())
        } else {
            Err(self.treasury)
        }
    }

    fn account(&self, account: AccountId) -> bool {
        !self.strangers.contains(&account)
    }
}

pub(crate) struct World {
    pub(crate) dao: Dao,
    /// Has seen the events only.
    shadow: Dao,
    pub(crate) rules: Rules,
    pub(crate) host: Host,
    pub(crate) now: u64,
}

impl World {
    /// Quick rules with no cap, no timelock and a plain majority.
    pub(crate) fn new() -> Self {
        let rules = Rules {
            proposal_threshold: Amount::ZERO,
            voting_delay_ms: 4,
            voting_ms: 16,
            timelock_ms: 0,
            grace_ms: 1_000,
            quorum: Ppm::percent(10),
            approval: Ppm::ZERO,
            late_quorum_ms: 0,
            voter_share_max: Ppm::WHOLE,
            live_per_author_max: 100,
            ..Rules::default()
        };
        Self {
            dao: Dao::default(),
            shadow: Dao::default(),
            rules,
            host: Host {
                economy: Economy::default(),
                treasury: Amount(1_000),
                strangers: BTreeSet::new(),
                tokens: BTreeMap::new(),
                stakes: BTreeMap::new(),
            },
            now: 0,
        }
    }

    pub(crate) fn at(&mut self, now: u64) -> &mut Self {
        self.now = now;
        self
    }

    /// What the host says, to both.
    pub(crate) fn tell(&mut self, say: impl Fn(&mut Draft<'_>) -> Result<(), DaoError>) {
        let now = UnixMillis(self.now);
        self.dao.update(now, &say).unwrap();
        self.shadow.update(now, &say).unwrap();
    }

    pub(crate) fn run(&mut self, operation: &Operation) -> Result<Vec<Effect>, DaoError> {
        let now = UnixMillis(self.now);
        let (rules, host) = (&self.rules, &self.host);
        let before = self.dao.clone();
        let done = (self.dao).update(now, |draft| {
            let done = draft.execute(rules, operation, host)?;
            host.fill(draft).map(|()| done)
        });
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                assert_eq!(self.dao, before, "a refusal changes nothing");
                return Err(error);
            }
        };
        assert!(done.event.answers(operation));
        let event = Event {
            time: now,
            kind: done.event,
        };
        let event = Event::decode(&event.encode()).unwrap();
        let effects = (self.shadow).update(now, |draft| {
            let effects = draft.repeat(&event.kind)?;
            host.fill(draft).expect("the first state could do it");
            Ok::<_, Corruption>(effects)
        });
        assert_eq!(effects.unwrap(), done.effects);
        assert_eq!(self.dao, self.shadow);
        for effect in &done.effects {
            match effect {
                Effect::SetParameter { name, value, .. } => {
                    self.host.economy.set(name, *value).unwrap();
                }
                Effect::Pay { amount, .. } => {
                    self.host.treasury = self.host.treasury.checked_sub(*amount).unwrap();
                }
            }
        }
        Ok(done.effects)
    }

    /// Checks that the state adds up and survives a snapshot.
    pub(crate) fn check(&self) {
        assert_eq!(self.dao.check(), Ok(()));
        let text = serde_json::to_string(&self.dao.snapshot()).unwrap();
        let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
        assert_eq!(Dao::restore(&snapshot).unwrap(), self.dao);
        let snapshot = Snapshot::decode(&snapshot.encode()).unwrap();
        assert_eq!(Dao::restore(&snapshot).unwrap(), self.dao);
    }

    pub(crate) fn tokens(&mut self, n: u16, tokens: u128) -> &mut Self {
        self.host.tokens.insert(account(n), Amount(tokens));
        self.tell(|draft| draft.set_tokens(account(n), Amount(tokens)));
        self
    }

    pub(crate) fn stake(&mut self, on: u8, n: u16, worth: u128) -> &mut Self {
        let key = (operator(on), account(n));
        self.host.stakes.insert(key, Amount(worth));
        self.tell(|draft| draft.set_stake(key.0, key.1, Amount(worth)));
        self
    }

    pub(crate) fn circulating(&mut self, units: u128) -> &mut Self {
        self.tell(|draft| draft.set_circulating(Amount(units)));
        self
    }

    /// Enrols an account that has so much.
    pub(crate) fn enrol(&mut self, n: u16, tokens: u128) -> &mut Self {
        self.host.tokens.insert(account(n), Amount(tokens));
        let account = account(n);
        self.run(&Operation::Enrol { account }).unwrap();
        self
    }

    pub(crate) fn establish(&mut self, roles: &[(u16, Role)]) -> Result<Vec<Effect>, DaoError> {
        let holder = |&(n, role): &(u16, Role)| Holder {
            account: account(n),
            role,
        };
        let roles = roles.iter().map(holder).collect();
        self.run(&Operation::Establish { roles })
    }

    pub(crate) fn delegate(&mut self, n: u16, to: &[Part]) -> Result<Vec<Effect>, DaoError> {
        self.run(&Operation::Delegate {
            voter: account(n),
            topics: vec![],
            to: to.to_vec(),
        })
    }

    pub(crate) fn propose(&mut self, n: u16, proposal: u8) -> Result<Vec<Effect>, DaoError> {
        self.propose_that(n, proposal, content(KIND, vec![resolve()]))
    }

    pub(crate) fn propose_that(
        &mut self,
        n: u16,
        proposal: u8,
        content: Content,
    ) -> Result<Vec<Effect>, DaoError> {
        self.run(&Operation::Propose {
            author: account(n),
            proposal: id(proposal),
            content,
        })
    }

    pub(crate) fn vote(
        &mut self,
        n: u16,
        proposal: u8,
        choice: Choice,
    ) -> Result<Vec<Effect>, DaoError> {
        self.run(&Operation::Vote {
            voter: account(n),
            proposal: id(proposal),
            choice,
        })
    }

    pub(crate) fn cancel(&mut self, n: u16, proposal: u8) -> Result<Vec<Effect>, DaoError> {
        self.run(&Operation::Cancel {
            by: account(n),
            proposal: id(proposal),
        })
    }

    pub(crate) fn queue(&mut self, proposal: u8) -> Result<Vec<Effect>, DaoError> {
        self.run(&Operation::Queue {
            proposal: id(proposal),
        })
    }

    pub(crate) fn execute(&mut self, proposal: u8) -> Result<Vec<Effect>, DaoError> {
        self.run(&Operation::Execute {
            proposal: id(proposal),
        })
    }

    pub(crate) fn state(&self, proposal: u8) -> ProposalState {
        self.dao.state(id(proposal), UnixMillis(self.now)).unwrap()
    }

    pub(crate) fn ballot(&self, n: u16, proposal: u8) -> Option<Ballot> {
        self.dao.ballot(id(proposal), account(n))
    }

    pub(crate) fn power(&self, proposal: u8) -> Tally {
        self.dao.proposal(id(proposal)).unwrap().power
    }

    pub(crate) fn standing(&self, n: u16) -> Standing {
        self.dao.standing(account(n), KIND)
    }
}

pub(crate) fn tally(in_favor: u128, against: u128, abstain: u128) -> Tally {
    Tally {
        against: Weight(against),
        in_favor: Weight(in_favor),
        abstain: Weight(abstain),
    }
}

/// Bytes of an event of a vote with that choice.
pub(crate) fn vote_bytes(choice: u8) -> Vec<u8> {
    let event = Event {
        time: UnixMillis(5),
        kind: EventKind::Voted {
            voter: account(1),
            proposal: id(1),
            choice: Choice::For,
            power: Weight(1),
            deadline: UnixMillis(6),
        },
    };
    let mut bytes = event.encode();
    let place = 8 + 1 + 16 + 16;
    bytes[place] = choice;
    bytes
}
