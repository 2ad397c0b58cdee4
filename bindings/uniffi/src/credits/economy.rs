//! The economy of a ledger.

use std::collections::HashMap;
use std::sync::Arc;

use fogcompute::base::UnixMillis;
use fogcompute::ledger::Purse;
use fogcompute::ledger::earning::Operation as Earn;
use fogcompute::ledger::staking::Operation as Stake;
use fogcompute::{Amount, Economy, Error, Evidence, LEDGER_PAGE_MAX, Ppm, Unit};

use super::Ledger;
use crate::FogError;
use crate::error::guarded;

/// What an operator is accused of.
#[uniffi::remote(Enum)]
pub enum Evidence {
    /// It signed two different results of one task: never an accident.
    DoubleResult,
    /// It signed a result that others proved wrong.
    InvalidResult,
    /// It was not there when it had promised to be.
    Downtime,
}

/// What a parameter is counted in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum ParameterUnit {
    /// Base units of credits.
    BaseUnits,
    /// Millionths.
    Ppm,
    /// Thousandths.
    PerMille,
    /// Milliseconds.
    Milliseconds,
    /// Things.
    Count,
    /// 0 for no, 1 for yes.
    Flag,
}

impl From<Unit> for ParameterUnit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::BaseUnits => Self::BaseUnits,
            Unit::Ppm => Self::Ppm,
            Unit::PerMille => Self::PerMille,
            Unit::Milliseconds => Self::Milliseconds,
            Unit::Count => Self::Count,
            Unit::Flag => Self::Flag,
        }
    }
}

/// What can be asked of an economy: [`LedgerEconomy::ask`], or as a step of a batch. Operators are
/// nodes, 64 hexadecimal digits; amounts decimal text of base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum EconomyRequest {
    /// Sets every number and rule. The first time founds the economy: an account is opened for each
    /// purse, and the initial supply is minted into the treasury.
    Configure {
        /// JSON text like that of [`default_economy_rules`]; just that if it is left out.
        #[uniffi(default = None)]
        rules: Option<String>,
    },
    /// Sets one number.
    SetParameter {
        /// The parameter's name.
        name: String,
        /// What it will be in its unit, in decimal digits.
        value: String,
    },
    /// Makes a node an operator that may be staked on. `account` receives its commission.
    RegisterOperator {
        /// The operator, 64 hexadecimal digits.
        operator: String,
        /// Receives its commission.
        account: String,
        /// Its part of every reward, in millionths.
        commission_ppm: u32,
    },
    /// Changes an operator's commission: by little, and once in 24 hours.
    SetCommission {
        /// The operator, 64 hexadecimal digits.
        operator: String,
        /// Its part of every reward, in millionths.
        commission_ppm: u32,
    },
    /// Stakes on an operator.
    Bond {
        /// The operator, 64 hexadecimal digits.
        operator: String,
        /// Whose stake it is.
        delegator: String,
        /// Base units.
        amount: String,
    },
    /// Starts to take stake back, all of it if the amount is left out. Time pays it out, less what
    /// slashes take until then.
    Unbond {
        /// The operator, 64 hexadecimal digits.
        operator: String,
        /// Whose stake it is.
        delegator: String,
        /// Base units; all of it if it is left out.
        #[uniffi(default = None)]
        amount: Option<String>,
    },
    /// Returns stake on its way out to its operator, all of the entry if the amount is left out.
    CancelUnbonding {
        /// The operator, 64 hexadecimal digits.
        operator: String,
        /// Whose stake it is.
        delegator: String,
        /// The unbonding: [`EconomyReceipt::entry`].
        entry: u64,
        /// Base units; all of it if it is left out.
        #[uniffi(default = None)]
        amount: Option<String>,
    },
    /// Moves stake to another operator at once, all of it if the amount is left out. Until it
    /// matures it answers for what the first operator did, and may not move on.
    Redelegate {
        /// Whose stake it is.
        delegator: String,
        /// The operator it leaves.
        from_operator: String,
        /// The operator it goes to.
        to_operator: String,
        /// Base units; all of it if it is left out.
        #[uniffi(default = None)]
        amount: Option<String>,
    },
    /// Pays a delegator's rewards out.
    Claim {
        /// The operator, 64 hexadecimal digits.
        operator: String,
        /// Whose stake it is.
        delegator: String,
    },
    /// Pays an operator's commission out.
    ClaimCommission {
        /// The operator, 64 hexadecimal digits.
        operator: String,
    },
    /// Shares a reward between an operator and its delegators. It is paid from an account, or from
    /// that of the treasury or the mint ([`purse_account`]).
    Reward {
        /// The operator, 64 hexadecimal digits.
        operator: String,
        /// The account that pays.
        source: String,
        /// Base units.
        amount: String,
    },
    /// Punishes what an operator did at some time. Whether the evidence is true is for the caller
    /// to know.
    Slash {
        /// The operator, 64 hexadecimal digits.
        operator: String,
        /// What it did.
        evidence: Evidence,
        /// When it did so, in milliseconds since 1970.
        infraction_unix_ms: u64,
        /// What was staked on it then, in base units.
        power: String,
    },
    /// Lets an operator back whose time in jail is over.
    Unjail {
        /// The operator, 64 hexadecimal digits.
        operator: String,
    },
    /// Pays a claim from the insurance fund, once.
    PayInsurance {
        /// Names the claim that was granted.
        claim: String,
        /// Receives.
        to_account: String,
        /// Base units.
        amount: String,
    },
    /// Rewards a contribution by one of the rules. Facts are in thousandths: yes is 1000, a quality
    /// of 0.95 is 950.
    Earn {
        /// The rule's name.
        rule: String,
        /// Receives.
        account: String,
        /// What is so, in thousandths.
        facts: HashMap<String, u64>,
    },
    /// Rewards a session of computing. Power and the sum of the bonuses are in thousandths, the
    /// duration is in milliseconds.
    EarnSession {
        /// Receives.
        account: String,
        /// The device's power, in thousandths.
        power_milli: u64,
        /// How long it computed, in milliseconds.
        duration_ms: u64,
        /// The sum of its bonuses, in thousandths.
        bonus_per_mille: u32,
    },
    /// Pays a fee: treasury and sovereign fund have their parts, and the payee the rest.
    PayFee {
        /// Pays.
        payer: String,
        /// Receives what the funds leave.
        payee: String,
        /// Base units.
        amount: String,
    },
}

fn optional(amount: Option<String>) -> Result<Option<Amount>, FogError> {
    Ok(amount.map(|amount| amount.parse()).transpose()?)
}

fn part(millionths: u32) -> Result<Ppm, FogError> {
    Ok(Ppm::new(millionths).map_err(Error::Part)?)
}

impl TryFrom<EconomyRequest> for fogcompute::EconomyRequest {
    type Error = FogError;

    fn try_from(request: EconomyRequest) -> Result<Self, FogError> {
        Ok(match request {
            EconomyRequest::Configure { rules: None } => Self::Configure(Economy::default()),
            EconomyRequest::Configure { rules: Some(rules) } => {
                Self::Configure(fogcompute::economy_from_json(&rules)?)
            }
            EconomyRequest::SetParameter { name, value } => {
                let Amount(value) = value.parse()?;
                Self::SetParameter { name, value }
            }
            EconomyRequest::RegisterOperator {
                operator,
                account,
                commission_ppm,
            } => Self::Staking(Stake::Register {
                operator: operator.parse()?,
                account: account.parse()?,
                commission: part(commission_ppm)?,
            }),
            EconomyRequest::SetCommission {
                operator,
                commission_ppm,
            } => Self::Staking(Stake::SetCommission {
                operator: operator.parse()?,
                commission: part(commission_ppm)?,
            }),
            EconomyRequest::Bond {
                operator,
                delegator,
                amount,
            } => Self::Staking(Stake::Bond {
                operator: operator.parse()?,
                delegator: delegator.parse()?,
                amount: amount.parse()?,
            }),
            EconomyRequest::Unbond {
                operator,
                delegator,
                amount,
            } => Self::Staking(Stake::Unbond {
                operator: operator.parse()?,
                delegator: delegator.parse()?,
                amount: optional(amount)?,
            }),
            EconomyRequest::CancelUnbonding {
                operator,
                delegator,
                entry,
                amount,
            } => Self::Staking(Stake::CancelUnbonding {
                operator: operator.parse()?,
                delegator: delegator.parse()?,
                entry,
                amount: optional(amount)?,
            }),
            EconomyRequest::Redelegate {
                delegator,
                from_operator,
                to_operator,
                amount,
            } => Self::Staking(Stake::Redelegate {
                delegator: delegator.parse()?,
                from: from_operator.parse()?,
                to: to_operator.parse()?,
                amount: optional(amount)?,
            }),
            EconomyRequest::Claim {
                operator,
                delegator,
            } => Self::Staking(Stake::Claim {
                operator: operator.parse()?,
                delegator: delegator.parse()?,
            }),
            EconomyRequest::ClaimCommission { operator } => Self::Staking(Stake::ClaimCommission {
                operator: operator.parse()?,
            }),
            EconomyRequest::Reward {
                operator,
                source,
                amount,
            } => Self::Staking(Stake::Reward {
                operator: operator.parse()?,
                source: Purse::held_by(source.parse()?),
                amount: amount.parse()?,
            }),
            EconomyRequest::Slash {
                operator,
                evidence,
                infraction_unix_ms,
                power,
            } => Self::Staking(Stake::Slash {
                operator: operator.parse()?,
                evidence,
                infraction: UnixMillis(infraction_unix_ms),
                power: power.parse()?,
            }),
            EconomyRequest::Unjail { operator } => Self::Staking(Stake::Unjail {
                operator: operator.parse()?,
            }),
            EconomyRequest::PayInsurance {
                claim,
                to_account,
                amount,
            } => Self::Staking(Stake::PayInsurance {
                claim: claim.parse()?,
                to: to_account.parse()?,
                amount: amount.parse()?,
            }),
            EconomyRequest::Earn {
                rule,
                account,
                facts,
            } => fogcompute::earn_request(&rule, account.parse()?, facts)?,
            EconomyRequest::EarnSession {
                account,
                power_milli,
                duration_ms,
                bonus_per_mille,
            } => Self::Earning(Earn::Session {
                account: account.parse()?,
                power_milli,
                duration_ms,
                bonus_per_mille,
            }),
            EconomyRequest::PayFee {
                payer,
                payee,
                amount,
            } => Self::Earning(Earn::Fee {
                payer: payer.parse()?,
                payee: payee.parse()?,
                amount: amount.parse()?,
            }),
        })
    }
}

/// What an operation of the economy did. What an event of its kind does not say is null, or zero.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct EconomyReceipt {
    /// Place of its entry in the history, from 1.
    pub sequence: u64,
    /// When it happened, in milliseconds since 1970.
    pub unix_ms: u64,
    /// It was asked for before: nothing happened this time.
    pub replayed: bool,
    /// What happened: "configured", "parameter_set", "registered", "commission_set", "bonded",
    /// "unbonded", "unbonding_cancelled", "redelegated", "claimed", "commission_claimed",
    /// "rewarded", "slashed", "unjailed", "insurance_paid", "earned", "fee_paid"; of governance
    /// "established", "enrolled", "delegated", "reputation_set", "drafted", "submitted", "proposed",
    /// "voted", "cancelled", "queued", "executed". There may be more later.
    pub event: String,
    /// Base units that were staked, left, came back, changed their operator, were claimed or paid
    /// out, were granted for a contribution; all of a reward, of a fee, or that a slash took.
    pub amount: String,
    /// Base units of a contribution's reward that the daily limit cut off.
    pub cut_by_limit: String,
    /// Of a reward, the operator's commission.
    pub commission: String,
    /// Of a reward that no stake had a right to, or of a fee, what went to the treasury.
    pub treasury: String,
    /// Of a fee, what went to the sovereign fund. The payee has the rest.
    pub sovereign_fund: String,
    /// Of what a slash took, what the insurance fund has. The rest was burned.
    pub insured: String,
    /// Number of the unbonding or redelegation.
    pub entry: Option<u64>,
    /// When an unbonding is paid out, and until when a redelegation answers for what its first
    /// operator did, in milliseconds since 1970.
    pub matures_unix_ms: Option<u64>,
    /// When a slashed operator may come back, in milliseconds since 1970.
    pub jailed_until_unix_ms: Option<u64>,
    /// Whether a slashed operator may never come back.
    pub tombstoned: bool,
    /// The proposal that was drafted, submitted, voted on, cancelled, queued or executed.
    pub proposal: Option<String>,
    /// All power of the ballot that was cast or changed, in base units.
    pub power: String,
    /// The last millisecond to vote in since 1970, of a proposal that was submitted or voted on.
    pub deadline_unix_ms: Option<u64>,
    /// When a proposal that was queued may be executed, in milliseconds since 1970.
    pub eta_unix_ms: Option<u64>,
}

impl From<fogcompute::EconomyReceipt> for EconomyReceipt {
    fn from(receipt: fogcompute::EconomyReceipt) -> Self {
        Self {
            sequence: receipt.sequence,
            unix_ms: receipt.time.0,
            replayed: receipt.replayed,
            event: receipt.event.to_owned(),
            amount: receipt.amount.to_string(),
            cut_by_limit: receipt.cut_by_limit.to_string(),
            commission: receipt.commission.to_string(),
            treasury: receipt.treasury.to_string(),
            sovereign_fund: receipt.sovereign_fund.to_string(),
            insured: receipt.insured.to_string(),
            entry: receipt.entry,
            matures_unix_ms: receipt.matures.map(|time| time.0),
            jailed_until_unix_ms: receipt.jailed_until.map(|time| time.0),
            tombstoned: receipt.tombstoned,
            proposal: receipt.proposal.map(|proposal| proposal.to_string()),
            power: receipt.power.to_string(),
            deadline_unix_ms: receipt.deadline.map(|time| time.0),
            eta_unix_ms: receipt.eta.map(|time| time.0),
        }
    }
}

/// A node that may be staked on, as it stands.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct EconomyOperator {
    /// The node, 64 hexadecimal digits.
    pub id: String,
    /// Receives its commission.
    pub account: String,
    /// Its part of every reward, in millionths.
    pub commission_ppm: u32,
    /// When that was set, in milliseconds since 1970.
    pub commission_set_unix_ms: u64,
    /// Base units that are staked on it.
    pub staked: String,
    /// Base units of rewards that its delegators have not claimed yet, remainders included.
    pub unclaimed: String,
    /// Base units of its own commission that it has not claimed yet.
    pub commission_due: String,
    /// When it may come back, if it is in jail, in milliseconds since 1970.
    pub jailed_until_unix_ms: Option<u64>,
    /// Whether it will never come back.
    pub tombstoned: bool,
}

impl From<fogcompute::EconomyOperator> for EconomyOperator {
    fn from(operator: fogcompute::EconomyOperator) -> Self {
        Self {
            id: operator.operator.to_string(),
            account: operator.account.to_string(),
            commission_ppm: operator.commission.get(),
            commission_set_unix_ms: operator.commission_set.0,
            staked: operator.staked.to_string(),
            unclaimed: operator.unclaimed.to_string(),
            commission_due: operator.commission_due.to_string(),
            jailed_until_unix_ms: operator.jailed_until.map(|time| time.0),
            tombstoned: operator.tombstoned,
        }
    }
}

/// Stake on its way out.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Unbonding {
    /// Its number.
    pub entry: u64,
    /// When it began to leave, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// When it will be paid out, in milliseconds since 1970.
    pub matures_unix_ms: u64,
    /// Base units that left, but for what came back.
    pub initial: String,
    /// Base units that slashes have left of it.
    pub balance: String,
}

impl From<fogcompute::Unbonding> for Unbonding {
    fn from(unbonding: fogcompute::Unbonding) -> Self {
        Self {
            entry: unbonding.entry,
            started_unix_ms: unbonding.started.0,
            matures_unix_ms: unbonding.matures.0,
            initial: unbonding.initial.to_string(),
            balance: unbonding.balance.to_string(),
        }
    }
}

/// What an account has at an operator.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct EconomyStake {
    /// Base units that are staked, rounded down.
    pub staked: String,
    /// Base units that a claim would pay now.
    pub claimable: String,
    /// What is on its way out, oldest first.
    pub unbondings: Vec<Unbonding>,
}

impl From<fogcompute::EconomyStake> for EconomyStake {
    fn from(stake: fogcompute::EconomyStake) -> Self {
        Self {
            staked: stake.staked.to_string(),
            claimable: stake.claimable.to_string(),
            unbondings: stake.unbondings.into_iter().map(Into::into).collect(),
        }
    }
}

/// A number of the economy.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct EconomyParameter {
    /// Its name, which never changes: the path of the number in the JSON of the rules, with points
    /// between the parts. An element of a list goes by its `fact`.
    pub name: String,
    /// What it is counted in.
    pub unit: ParameterUnit,
    /// What it is, in decimal digits.
    pub value: String,
    /// The least it may be.
    pub min: String,
    /// The most it may be.
    pub max: String,
}

impl From<fogcompute::Parameter> for EconomyParameter {
    fn from(parameter: fogcompute::Parameter) -> Self {
        Self {
            name: parameter.name,
            unit: parameter.unit.into(),
            value: parameter.value.to_string(),
            min: parameter.min.to_string(),
            max: parameter.max.to_string(),
        }
    }
}

/// The account of a purse of the economy, the same in every ledger: "bonded", "unbonding",
/// "rewards", "insurance", "treasury", "sovereign_fund" or "mint". [`Ledger::balance`] and
/// [`Ledger::account`] tell what is in it.
///
/// # Errors
/// [`FogError::InvalidArgument`].
#[uniffi::export]
pub fn purse_account(purse: String) -> Result<String, FogError> {
    guarded(|| Ok(fogcompute::purse_account(&purse)?.to_string()))
}

/// The rules that an economy has unless it is told others, as JSON text: every number with its
/// name. Amounts are texts of base units, parts are millionths, facts and multipliers thousandths.
///
/// # Errors
/// [`FogError::Panic`].
#[uniffi::export]
pub fn default_economy_rules() -> Result<String, FogError> {
    guarded(|| Ok(fogcompute::economy_to_json(&Economy::default())))
}

/// The economy of a ledger: operators and those who stake on them, rewards for contributions, fees,
/// and the numbers that govern them. [`Ledger::economy`] gives it.
///
/// Staking and earning never go back in time: before their last operation they fail with
/// [`FogError::ClockBehind`].
#[derive(uniffi::Object)]
pub struct LedgerEconomy {
    pub(super) ledger: Arc<Ledger>,
}

#[uniffi::export]
impl LedgerEconomy {
    /// Asks something of the economy, in one transaction. The same request under the same id
    /// happens once.
    ///
    /// # Errors
    /// [`FogError::NoEconomy`] before there is one, [`FogError::IdReused`], and why the rules
    /// refuse: of the numbers [`FogError::InvalidEconomy`], [`FogError::UnknownParameter`]; of
    /// staking [`FogError::UnknownOperator`] to [`FogError::StakingRefused`]; of earning
    /// [`FogError::UnknownRule`] to [`FogError::EarningRefused`].
    pub fn ask(&self, id: String, request: EconomyRequest) -> Result<EconomyReceipt, FogError> {
        guarded(|| {
            let economy = self.ledger.0.economy();
            Ok(economy.ask(id.parse()?, request.try_into()?)?.into())
        })
    }

    /// What was asked for under that id did, alone, in a batch or signed; null if the id was used
    /// for nothing, or for something else.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    pub fn receipt(&self, id: String) -> Result<Option<EconomyReceipt>, FogError> {
        guarded(|| {
            let receipt = self.ledger.0.economy().receipt(id.parse()?)?;
            Ok(receipt.map(Into::into))
        })
    }

    /// Every number and rule as JSON text; null before there is an economy.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    pub fn rules(&self) -> Result<Option<String>, FogError> {
        guarded(|| {
            let rules = self.ledger.0.economy().rules()?;
            Ok(rules.as_ref().map(fogcompute::economy_to_json))
        })
    }

    /// Every number with its name and bounds, in a fixed order; none before there is an economy.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    pub fn parameters(&self) -> Result<Vec<EconomyParameter>, FogError> {
        guarded(|| {
            let parameters = self.ledger.0.economy().parameters()?;
            Ok(parameters.into_iter().map(Into::into).collect())
        })
    }

    /// An operator as it stands; null if the node is none.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    pub fn operator_of(&self, node: String) -> Result<Option<EconomyOperator>, FogError> {
        guarded(|| {
            let operator = self.ledger.0.economy().operator(node.parse()?)?;
            Ok(operator.map(Into::into))
        })
    }

    /// Operators with an id above `after`, by id: at most `limit`, at most 10,000.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    #[uniffi::method(default(after = None, limit = None))]
    pub fn operators(
        &self,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<Vec<EconomyOperator>, FogError> {
        guarded(|| {
            let after = after.map(|after| after.parse()).transpose()?;
            let limit = limit.map_or(LEDGER_PAGE_MAX, |limit| limit as usize);
            let operators = self.ledger.0.economy().operators(after, limit)?;
            Ok(operators.into_iter().map(Into::into).collect())
        })
    }

    /// What an account has at an operator; nothing if it never staked there.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    pub fn stake(&self, node: String, delegator: String) -> Result<EconomyStake, FogError> {
        guarded(|| {
            let economy = self.ledger.0.economy();
            Ok(economy.stake(node.parse()?, delegator.parse()?)?.into())
        })
    }

    /// What an account was granted under a rule on this UTC day, in base units.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`], [`FogError::Storage`].
    pub fn granted_today(&self, rule: String, account: String) -> Result<String, FogError> {
        guarded(|| {
            let economy = self.ledger.0.economy();
            Ok(economy.granted_today(&rule, account.parse()?)?.to_string())
        })
    }
}
