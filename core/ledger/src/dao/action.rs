//! What a proposal does when it is executed.

use std::fmt;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, Digest, UnixMillis};
use serde::{Deserialize, Serialize};

use super::codec::{account, amount, time, unknown};
use super::{ProposalKind, Role};
use crate::{Amount, economy};

/// What can be paused. Governance itself cannot.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Rewards for contributions and sessions.
    Earning,
    /// Bonding, unbonding, redelegation and claims.
    Staking,
    /// Fees.
    Fees,
    /// Payments from the treasury.
    Treasury,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 4] = [Self::Earning, Self::Staking, Self::Fees, Self::Treasury];

    /// The scope's number in the canonical encoding.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Earning => 1,
            Self::Staking => 2,
            Self::Fees => 3,
            Self::Treasury => 4,
        }
    }

    /// The scope of that number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.code() == code)
    }

    /// The scope as commands and files name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Earning => "earning",
            Self::Staking => "staking",
            Self::Fees => "fees",
            Self::Treasury => "treasury",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One step of a proposal.
///
/// | action | kinds that may carry it |
/// |---|---|
/// | [`SetParameter`](Self::SetParameter) | parameter change, protocol upgrade |
/// | [`Pay`](Self::Pay) | treasury allocation |
/// | [`GrantRole`](Self::GrantRole), [`RevokeRole`](Self::RevokeRole) | general |
/// | [`ScheduleUpgrade`](Self::ScheduleUpgrade) | protocol upgrade |
/// | [`DeployAgent`](Self::DeployAgent) | agent deployment |
/// | [`Pause`](Self::Pause) | emergency action |
/// | [`Unpause`](Self::Unpause) | emergency action, general |
/// | [`Resolve`](Self::Resolve) | general |
///
/// So an emergency never pays, and never grants what would outlast it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Sets a parameter of the economy.
    SetParameter {
        /// Its name.
        name: String,
        /// What it will be, in its unit. As text in decimal, as amounts are.
        #[serde(with = "economy::decimal")]
        value: u128,
    },
    /// Pays from the treasury.
    Pay {
        /// Receives.
        to: AccountId,
        /// Base units.
        amount: Amount,
        /// What for ([`Memo::code`](crate::Memo)); 0 is unsaid.
        code: u16,
    },
    /// Gives an account a role, in place of the one it had.
    GrantRole {
        /// The account.
        account: AccountId,
        /// Its role from then on: not [`Role::Citizen`].
        role: Role,
    },
    /// Makes an account a citizen.
    RevokeRole {
        /// The account.
        account: AccountId,
    },
    /// Announces a version that nodes are to run from a time on.
    ScheduleUpgrade {
        /// Its name: 1 to 64 bytes without control characters.
        version: String,
        /// Digest of what is to be run.
        digest: Digest,
        /// From when on.
        activates: UnixMillis,
    },
    /// Registers an agent and pays its budget from the treasury.
    DeployAgent {
        /// Digest of the agent.
        agent: Digest,
        /// Runs it, and receives the budget.
        operator: AccountId,
        /// Base units; may be nothing.
        budget: Amount,
    },
    /// Stops something until it is unpaused.
    Pause {
        /// What is stopped.
        scope: Scope,
    },
    /// Lets something go on.
    Unpause {
        /// What was stopped.
        scope: Scope,
    },
    /// Records a resolution.
    Resolve {
        /// Digest of its text.
        text: Digest,
    },
}

/// Most bytes of a parameter's name.
pub(super) const NAME_BYTES_MAX: usize = 128;
/// Most bytes of a version's name.
pub(super) const VERSION_BYTES_MAX: usize = 64;

impl Action {
    /// The action's number in the canonical encoding.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::SetParameter { .. } => 1,
            Self::Pay { .. } => 2,
            Self::GrantRole { .. } => 3,
            Self::RevokeRole { .. } => 4,
            Self::ScheduleUpgrade { .. } => 5,
            Self::DeployAgent { .. } => 6,
            Self::Pause { .. } => 7,
            Self::Unpause { .. } => 8,
            Self::Resolve { .. } => 9,
        }
    }

    /// The action as files name it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SetParameter { .. } => "set_parameter",
            Self::Pay { .. } => "pay",
            Self::GrantRole { .. } => "grant_role",
            Self::RevokeRole { .. } => "revoke_role",
            Self::ScheduleUpgrade { .. } => "schedule_upgrade",
            Self::DeployAgent { .. } => "deploy_agent",
            Self::Pause { .. } => "pause",
            Self::Unpause { .. } => "unpause",
            Self::Resolve { .. } => "resolve",
        }
    }

    /// Whether what it does is undone or done over by the other, if both are done.
    pub(super) fn is_overruled_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SetParameter { name, .. }, Self::SetParameter { name: again, .. }) => {
                name == again
            }
            (
                Self::GrantRole { account, .. } | Self::RevokeRole { account },
                Self::GrantRole { account: again, .. } | Self::RevokeRole { account: again },
            ) => account == again,
            (
                Self::Pause { scope } | Self::Unpause { scope },
                Self::Pause { scope: again } | Self::Unpause { scope: again },
            ) => scope == again,
            _ => false,
        }
    }

    /// Whether a proposal of that kind may carry it.
    #[must_use]
    pub const fn allowed_in(&self, kind: ProposalKind) -> bool {
        use ProposalKind as Kind;
        match self {
            Self::SetParameter { .. } => {
                matches!(kind, Kind::ParameterChange | Kind::ProtocolUpgrade)
            }
            Self::Pay { .. } => matches!(kind, Kind::TreasuryAllocation),
            Self::GrantRole { .. } | Self::RevokeRole { .. } | Self::Resolve { .. } => {
                matches!(kind, Kind::General)
            }
            Self::ScheduleUpgrade { .. } => matches!(kind, Kind::ProtocolUpgrade),
            Self::DeployAgent { .. } => matches!(kind, Kind::AgentDeployment),
            Self::Pause { .. } => matches!(kind, Kind::EmergencyAction),
            Self::Unpause { .. } => matches!(kind, Kind::EmergencyAction | Kind::General),
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.u8(self.code());
        match self {
            Self::SetParameter { name, value } => {
                w.text(name);
                w.u128(*value);
            }
            Self::Pay { to, amount, code } => {
                w.raw(to.as_bytes());
                w.u128(amount.0);
                w.u16(*code);
            }
            Self::GrantRole { account, role } => {
                w.raw(account.as_bytes());
                w.u8(role.code());
            }
            Self::RevokeRole { account } => w.raw(account.as_bytes()),
            Self::ScheduleUpgrade {
                version,
                digest,
                activates,
            } => {
                w.text(version);
                w.raw(digest.as_bytes());
                w.u64(activates.0);
            }
            Self::DeployAgent {
                agent,
                operator,
                budget,
            } => {
                w.raw(agent.as_bytes());
                w.raw(operator.as_bytes());
                w.u128(budget.0);
            }
            Self::Pause { scope } | Self::Unpause { scope } => w.u8(scope.code()),
            Self::Resolve { text } => w.raw(text.as_bytes()),
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.position();
        Ok(match r.u8()? {
            1 => Self::SetParameter {
                name: r.text(NAME_BYTES_MAX)?.to_owned(),
                value: r.u128()?,
            },
            2 => Self::Pay {
                to: account(r)?,
                amount: amount(r)?,
                code: r.u16()?,
            },
            3 => Self::GrantRole {
                account: account(r)?,
                role: role(r)?,
            },
            4 => Self::RevokeRole {
                account: account(r)?,
            },
            5 => Self::ScheduleUpgrade {
                version: r.text(VERSION_BYTES_MAX)?.to_owned(),
                digest: r.array().map(Digest::from_bytes)?,
                activates: time(r)?,
            },
            6 => Self::DeployAgent {
                agent: r.array().map(Digest::from_bytes)?,
                operator: account(r)?,
                budget: amount(r)?,
            },
            7 => Self::Pause { scope: scope(r)? },
            8 => Self::Unpause { scope: scope(r)? },
            9 => Self::Resolve {
                text: r.array().map(Digest::from_bytes)?,
            },
            code => return Err(unknown(at, code)),
        })
    }
}

pub(super) fn role(r: &mut Reader<'_>) -> Result<Role, DecodeError> {
    let at = r.position();
    let code = r.u8()?;
    Role::from_code(code).ok_or_else(|| unknown(at, code))
}

pub(super) fn scope(r: &mut Reader<'_>) -> Result<Scope, DecodeError> {
    let at = r.position();
    let code = r.u8()?;
    Scope::from_code(code).ok_or_else(|| unknown(at, code))
}

/// What the host must do for a proposal that is executed, before anything else and in the same
/// batch. If it cannot, nothing of the proposal may be done.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Effect {
    /// Set a parameter of the economy.
    SetParameter {
        /// Which action asks for it, from 0.
        index: usize,
        /// The parameter's name.
        name: String,
        /// Its value.
        value: u128,
    },
    /// Pay from the treasury.
    Pay {
        /// Which action asks for it, from 0.
        index: usize,
        /// Receives.
        to: AccountId,
        /// Base units, above zero.
        amount: Amount,
        /// What for; 0 is unsaid.
        code: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<Action> {
        let account = AccountId::from_bytes([1; 16]);
        let digest = Digest::of(b"x");
        vec![
            Action::SetParameter {
                name: "dao.quorum".to_owned(),
                value: u128::MAX,
            },
            Action::Pay {
                to: account,
                amount: Amount(7),
                code: 9,
            },
            Action::GrantRole {
                account,
                role: Role::King,
            },
            Action::RevokeRole { account },
            Action::ScheduleUpgrade {
                version: "1.2".to_owned(),
                digest,
                activates: UnixMillis(5),
            },
            Action::DeployAgent {
                agent: digest,
                operator: account,
                budget: Amount(3),
            },
            Action::Pause {
                scope: Scope::Earning,
            },
            Action::Unpause {
                scope: Scope::Treasury,
            },
            Action::Resolve { text: digest },
        ]
    }

    #[test]
    fn actions_survive_their_bytes_and_json_and_unknown_ones_never_decode() {
        for action in one_of_each() {
            let mut w = Writer::new();
            action.write(&mut w);
            let bytes = w.finish();
            let mut r = Reader::new(&bytes);
            assert_eq!(Action::read(&mut r), Ok(action.clone()));
            assert_eq!(r.finish(), Ok(()));
            let text = serde_json::to_string(&action).unwrap();
            assert_eq!(serde_json::from_str::<Action>(&text).unwrap(), action);
        }
        for code in [0, 10, 255] {
            let mut bytes = vec![code];
            bytes.extend([0; 64]);
            let unknown = DecodeError::Unknown {
                at: 0,
                value: u64::from(code),
            };
            assert_eq!(Action::read(&mut Reader::new(&bytes)), Err(unknown));
        }
        assert!(serde_json::from_str::<Action>(r#"{"mint":{"amount":"1"}}"#).is_err());
        let more = r#"{"set_parameter":{"name":"a","value":"1","until":"2"}}"#;
        assert!(serde_json::from_str::<Action>(more).is_err());
    }

    #[test]
    fn names_are_those_of_files() {
        let word = |value: serde_json::Value| match value {
            serde_json::Value::Object(fields) => fields.into_iter().next().unwrap().0,
            word => word.as_str().unwrap().to_owned(),
        };
        let json =
            |value: &dyn Fn() -> serde_json::Result<serde_json::Value>| word(value().unwrap());
        for action in one_of_each() {
            assert_eq!(json(&|| serde_json::to_value(&action)), action.name());
        }
        for scope in Scope::ALL {
            assert_eq!(json(&|| serde_json::to_value(scope)), scope.to_string());
        }
        for role in Role::ALL {
            assert_eq!(json(&|| serde_json::to_value(role)), role.to_string());
        }
        for kind in ProposalKind::ALL {
            assert_eq!(json(&|| serde_json::to_value(kind)), kind.to_string());
        }
        for choice in crate::dao::Choice::ALL {
            assert_eq!(json(&|| serde_json::to_value(choice)), choice.to_string());
        }
    }

    #[test]
    fn an_emergency_never_touches_the_treasury_or_roles() {
        let carried: Vec<_> = one_of_each()
            .iter()
            .filter(|action| action.allowed_in(ProposalKind::EmergencyAction))
            .map(Action::code)
            .collect();
        assert_eq!(carried, [7, 8]);
        for action in one_of_each() {
            let kinds = ProposalKind::ALL;
            assert!(kinds.into_iter().any(|kind| action.allowed_in(kind)));
        }
    }

    #[test]
    fn codes_name_the_scopes() {
        for scope in Scope::ALL {
            assert_eq!(Scope::from_code(scope.code()), Some(scope));
        }
        assert_eq!(Scope::from_code(0), None);
    }
}
