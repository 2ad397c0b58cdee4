//! What the actions of a proposal would make of roles, pauses and lists: tried before it is
//! submitted, done when it is executed.

use std::collections::{BTreeMap, BTreeSet};

use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};

use super::{
    Action, ActionError, Agent, Checks, Content, Draft, Effect, Resolution, Role, Scope, Upgrade,
};
use crate::dao::action::{NAME_BYTES_MAX, VERSION_BYTES_MAX};
use crate::dao::proposal::is_unseen;
use crate::{Amount, Purse};

/// The whole of roles and pauses, and what is added to lists.
pub(super) struct Scene<'a> {
    draft: &'a Draft<'a>,
    proposal: TransferId,
    holders_max: u32,
    /// What is announced must lie after it.
    earliest: UnixMillis,
    pub(super) holders: BTreeMap<AccountId, Role>,
    pub(super) paused: BTreeSet<Scope>,
    pub(super) upgrades: BTreeMap<String, Upgrade>,
    pub(super) agents: BTreeMap<Digest, Agent>,
    pub(super) resolutions: Vec<Resolution>,
    pub(super) effects: Vec<Effect>,
    paid: Amount,
    /// Accounts that must be somebody's, and the actions that say so.
    accounts: Vec<(usize, AccountId)>,
}

type Failure = (usize, ActionError);

impl<'a> Scene<'a> {
    /// Plays all actions, in order.
    pub(super) fn play(
        draft: &'a Draft<'a>,
        proposal: TransferId,
        content: &Content,
        holders_max: u32,
        earliest: UnixMillis,
    ) -> Result<Self, Failure> {
        let mut scene = Self {
            draft,
            proposal,
            holders_max,
            earliest,
            holders: draft.holders().clone(),
            paused: draft.paused().clone(),
            upgrades: BTreeMap::new(),
            agents: BTreeMap::new(),
            resolutions: Vec::new(),
            effects: Vec::new(),
            paid: Amount::ZERO,
            accounts: Vec::new(),
        };
        for (index, action) in content.actions.iter().enumerate() {
            scene.act(index, action).map_err(|reason| (index, reason))?;
        }
        Ok(scene)
    }

    /// Asks the host about what only it knows.
    pub(super) fn allowed_by(self, checks: &dyn Checks, content: &Content) -> Result<(), Failure> {
        for (index, account) in self.accounts {
            if !checks.account(account) {
                return Err((index, ActionError::UnknownAccount { account }));
            }
        }
        let mut places = Vec::new();
        let mut changes = Vec::new();
        for (index, action) in content.actions.iter().enumerate() {
            if let Action::SetParameter { name, value } = action {
                places.push(index);
                changes.push((name.as_str(), *value));
            }
        }
        checks.parameters(&changes).map_err(|(place, reason)| {
            let index = places.get(place).copied().unwrap_or_default();
            (index, ActionError::Parameter { reason })
        })?;
        let mut asked = Amount::ZERO;
        for effect in &self.effects {
            if let Effect::Pay { index, amount, .. } = *effect {
                let sum = asked.checked_add(amount);
                asked = sum.ok_or((index, ActionError::SumOverflow))?;
                (checks.payable(asked)).map_err(|available| {
                    let unpayable = ActionError::Unpayable { asked, available };
                    (index, unpayable)
                })?;
            }
        }
        Ok(())
    }

    fn act(&mut self, index: usize, action: &Action) -> Result<(), ActionError> {
        match action {
            Action::SetParameter { name, value } => {
                length(name, NAME_BYTES_MAX)?;
                self.effects.push(Effect::SetParameter {
                    index,
                    name: name.clone(),
                    value: *value,
                });
            }
            &Action::Pay { to, amount, code } => {
                if amount.is_zero() {
                    return Err(ActionError::PaysNothing);
                }
                self.pay(index, to, amount, code)?;
            }
            &Action::GrantRole { account, role } => {
                self.somebody(index, account)?;
                if role == Role::Citizen {
                    return Err(ActionError::RoleIsCitizen { account });
                }
                if self.holders.get(&account) == Some(&role) {
                    return Err(ActionError::RoleUnchanged { account, role });
                }
                self.holders.insert(account, role);
                let limit = self.holders_max;
                if self.holders.len() > limit as usize {
                    return Err(ActionError::TooManyRoleHolders { limit });
                }
            }
            &Action::RevokeRole { account } => {
                if self.holders.remove(&account).is_none() {
                    return Err(ActionError::NoRole { account });
                }
            }
            Action::ScheduleUpgrade {
                version,
                digest,
                activates,
            } => self.schedule(version, *digest, *activates)?,
            &Action::DeployAgent {
                agent,
                operator,
                budget,
            } => {
                let known = self.draft.base.agents.contains_key(&agent)
                    || self.draft.changes.agents.contains_key(&agent);
                let record = Agent {
                    proposal: self.proposal,
                    operator,
                    budget,
                };
                if known || self.agents.insert(agent, record).is_some() {
                    return Err(ActionError::AgentExists { agent });
                }
                if budget.is_zero() {
                    self.somebody(index, operator)?;
                } else {
                    self.pay(index, operator, budget, 0)?;
                }
            }
            &Action::Pause { scope } => {
                if !self.paused.insert(scope) {
                    return Err(ActionError::Paused { scope });
                }
            }
            &Action::Unpause { scope } => {
                if !self.paused.remove(&scope) {
                    return Err(ActionError::NotPaused { scope });
                }
            }
            &Action::Resolve { text } => self.resolutions.push(Resolution {
                proposal: self.proposal,
                text,
                time: self.draft.now,
            }),
        }
        Ok(())
    }

    fn somebody(&mut self, index: usize, account: AccountId) -> Result<(), ActionError> {
        if Purse::of(account).is_some() {
            return Err(ActionError::UnknownAccount { account });
        }
        self.accounts.push((index, account));
        Ok(())
    }

    fn pay(
        &mut self,
        index: usize,
        to: AccountId,
        amount: Amount,
        code: u16,
    ) -> Result<(), ActionError> {
        self.somebody(index, to)?;
        if self.paused.contains(&Scope::Treasury) {
            return Err(ActionError::TreasuryPaused);
        }
        let paid = self.paid.checked_add(amount);
        self.paid = paid.ok_or(ActionError::SumOverflow)?;
        self.effects.push(Effect::Pay {
            index,
            to,
            amount,
            code,
        });
        Ok(())
    }

    fn schedule(
        &mut self,
        version: &str,
        digest: Digest,
        activates: UnixMillis,
    ) -> Result<(), ActionError> {
        length(version, VERSION_BYTES_MAX)?;
        let unseen = version.char_indices().find(|(_, found)| is_unseen(*found));
        if let Some((position, found)) = unseen {
            return Err(ActionError::NameCharacter {
                position,
                code: u32::from(found),
            });
        }
        let earliest = self.earliest;
        if activates <= earliest {
            return Err(ActionError::UpgradeTooSoon {
                activates,
                earliest,
            });
        }
        let known = self.draft.base.upgrades.contains_key(version)
            || self.draft.changes.upgrades.contains_key(version);
        let record = Upgrade {
            proposal: self.proposal,
            digest,
            activates,
        };
        if known || self.upgrades.insert(version.to_owned(), record).is_some() {
            let version = version.to_owned();
            return Err(ActionError::UpgradeExists { version });
        }
        Ok(())
    }
}

/// Refuses what would come to nothing, for which nobody need be asked to vote. When a proposal is
/// executed this is not asked: a parameter may have become what it is to be.
pub(super) fn meant(content: &Content, checks: &dyn Checks) -> Result<(), Failure> {
    for (index, action) in content.actions.iter().enumerate() {
        let mut before = content.actions[..index].iter();
        if let Some(earlier) = before.position(|earlier| earlier.is_overruled_by(action)) {
            return Err((index, ActionError::Overrules { earlier }));
        }
        if let Action::SetParameter { name, value } = action
            && checks.parameter(name) == Some(*value)
        {
            let unchanged = ActionError::ParameterUnchanged {
                name: name.clone(),
                value: *value,
            };
            return Err((index, unchanged));
        }
    }
    Ok(())
}

fn length(name: &str, limit: usize) -> Result<(), ActionError> {
    let actual = name.len();
    if (1..=limit).contains(&actual) {
        Ok(())
    } else {
        Err(ActionError::NameLength { actual, limit })
    }
}
