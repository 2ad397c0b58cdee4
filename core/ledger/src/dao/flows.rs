//! All delegations of a state, by topic, for what walks through everything.
//!
//! A million who delegate on every topic are six million delegations. Each table is read once and
//! sorted; from there on accounts are places in lists, so that nothing is looked up by hashing.

use fogcompute_base::AccountId;

use super::{Corruption, Dao, Part, ProposalKind, Weight};

/// What is delegated on each topic, by topic and account, and what each account has of its own.
pub(super) struct Delegations<'a> {
    by_topic: Vec<Vec<(AccountId, &'a [Part])>>,
}

impl<'a> Delegations<'a> {
    pub(super) fn of(dao: &'a Dao) -> Self {
        let mut by_topic: Vec<_> = ProposalKind::ALL.map(|_| Vec::new()).into();
        for ((account, topic), trace) in dao.delegations.iter() {
            let parts = trace.last().map_or(&[][..], Vec::as_slice);
            if !parts.is_empty() {
                by_topic[place_of(topic)].push((account, parts));
            }
        }
        for givers in &mut by_topic {
            givers.sort_unstable_by_key(|(account, _)| *account);
        }
        Self { by_topic }
    }

    /// The ways of power on a topic.
    ///
    /// # Errors
    /// [`Corruption::FlowsDiffer`] if some of them are circular.
    pub(super) fn flows(&self, topic: ProposalKind) -> Result<Flows<'a>, Corruption> {
        Flows::new(topic, &self.by_topic[place_of(topic)])
    }
}

fn place_of(topic: ProposalKind) -> usize {
    usize::from(topic.code() - 1)
}

/// Who delegates to whom on a topic, in an order in which givers come before receivers.
pub(super) struct Flows<'a> {
    topic: ProposalKind,
    /// All who delegate or are delegated to, by id.
    pub(super) accounts: Vec<AccountId>,
    /// What each of them delegates.
    pub(super) parts: Vec<&'a [Part]>,
    /// Places of the accounts, givers before receivers.
    pub(super) order: Vec<usize>,
    /// Accounts that are delegated to, by id, and their places.
    receivers: Vec<(AccountId, usize)>,
}

impl<'a> Flows<'a> {
    fn new(topic: ProposalKind, givers: &[(AccountId, &'a [Part])]) -> Result<Self, Corruption> {
        let mut receivers: Vec<AccountId> = Vec::new();
        for (_, parts) in givers {
            for part in *parts {
                // Neighbours often give to the same.
                if receivers.last() != Some(&part.to) {
                    receivers.push(part.to);
                }
            }
        }
        receivers.sort_unstable();
        receivers.dedup();
        let most = givers.len() + receivers.len();
        let (mut accounts, mut parts) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let mut placed = Vec::with_capacity(receivers.len());
        let mut receivers = receivers.into_iter().peekable();
        for &(giver, given) in givers {
            while let Some(receiver) = receivers.next_if(|receiver| *receiver < giver) {
                placed.push((receiver, accounts.len()));
                accounts.push(receiver);
                parts.push(&[][..]);
            }
            if receivers.next_if_eq(&giver).is_some() {
                placed.push((giver, accounts.len()));
            }
            accounts.push(giver);
            parts.push(given);
        }
        for receiver in receivers {
            placed.push((receiver, accounts.len()));
            accounts.push(receiver);
            parts.push(&[][..]);
        }
        let mut flows = Self {
            topic,
            accounts,
            parts,
            order: Vec::with_capacity(most),
            receivers: placed,
        };
        flows.put_in_order()?;
        Ok(flows)
    }

    /// Source: Kahn 1962, "Topological sorting of large networks".
    fn put_in_order(&mut self) -> Result<(), Corruption> {
        let mut coming = vec![0_u32; self.accounts.len()];
        for parts in &self.parts {
            for part in *parts {
                coming[self.place(part)] += 1;
            }
        }
        let mut order = std::mem::take(&mut self.order);
        order.extend((0..self.accounts.len()).filter(|place| coming[*place] == 0));
        let mut next = 0;
        while let Some(&place) = order.get(next) {
            next += 1;
            for part in self.parts[place] {
                let to = self.place(part);
                coming[to] -= 1;
                if coming[to] == 0 {
                    order.push(to);
                }
            }
        }
        self.order = order;
        // Those who wait for each other are never reached.
        let circular = |place: &usize| {
            coming[*place] > 0
                && self.parts[*place]
                    .iter()
                    .any(|part| coming[self.place(part)] > 0)
        };
        match (0..self.accounts.len()).rev().find(circular) {
            Some(place) => Err(self.differs(place)),
            None => Ok(()),
        }
    }

    /// The place of the account that a part goes to.
    pub(super) fn place(&self, part: &Part) -> usize {
        let found = self
            .receivers
            .binary_search_by_key(&part.to, |(account, _)| *account);
        let found = found.expect("all that parts go to are receivers");
        self.receivers[found].1
    }

    pub(super) fn differs(&self, place: usize) -> Corruption {
        Corruption::FlowsDiffer {
            account: self.accounts[place],
            topic: self.topic,
        }
    }

    /// Checks that what accounts have received is what was delegated to them. `own` is what accounts
    /// weigh themselves and `received` what they have received on this topic, both by id.
    pub(super) fn check(
        &self,
        own: &[(AccountId, Weight)],
        received: &[(AccountId, Weight)],
    ) -> Result<(), Corruption> {
        let own = self.placed(own).0;
        let (received, stray) = self.placed(received);
        let mut expected = vec![0_u128; self.accounts.len()];
        for &place in &self.order {
            let power = own[place].0.checked_add(received[place].0);
            let Some(power) = power.filter(|_| expected[place] == received[place].0) else {
                return Err(self.differs(place));
            };
            for part in self.parts[place] {
                let sum = &mut expected[self.place(part)];
                *sum = sum.saturating_add(part.of(Weight(power)).0);
            }
        }
        match stray {
            Some(account) => Err(Corruption::FlowsDiffer {
                account,
                topic: self.topic,
            }),
            None => Ok(()),
        }
    }

    /// The weights of the accounts, and the first of others that have one.
    fn placed(&self, weights: &[(AccountId, Weight)]) -> (Vec<Weight>, Option<AccountId>) {
        let mut placed = vec![Weight::ZERO; self.accounts.len()];
        let (mut place, mut stray) = (0, None);
        for &(account, weight) in weights {
            while self
                .accounts
                .get(place)
                .is_some_and(|there| *there < account)
            {
                place += 1;
            }
            if self.accounts.get(place) == Some(&account) {
                placed[place] = weight;
            } else if !weight.is_zero() {
                stray = stray.or(Some(account));
            }
        }
        (placed, stray)
    }
}
