//! The economy of a ledger: its numbers, its purses, who may be staked on, and what one account has
//! staked.

use fogcompute_base::{AccountId, NodeId, UnixMillis};
use fogcompute_ledger::economy::Parameter;
use fogcompute_ledger::staking::{Operator, Unbonding};
use fogcompute_ledger::{Account, AccountKind, Amount, Purse, State};
use serde_json::{Value, json};

use super::arguments::EconomyArguments;
use super::text::in_unit;
use super::{LedgerCommandError, Said, open};

pub(super) fn economy(arguments: &EconomyArguments) -> Result<Said, LedgerCommandError> {
    let ledger = open(&arguments.ledger)?;
    let state = ledger.state();
    let sequence = state.head().sequence;
    if let Some(account) = arguments.account
        && state.account(account).is_none()
    {
        return Err(LedgerCommandError::UnknownAccount { account, sequence });
    }
    let mut json = json!({"ok": true, "sequence": sequence, "founded": false});
    let Some(economy) = state.economy() else {
        let text = format!("there is no economy after entry {sequence}");
        return Ok(Said::new(json, text));
    };
    let parameters = economy.parameters();
    let purses = Purse::ALL.map(|purse| (purse, state.account(purse.account())));
    let operators: Vec<_> = state.staking().operators().collect();

    json["founded"] = json!(true);
    json["parameters"] = parameters.iter().map(parameter_json).collect();
    json["purses"] = purses
        .iter()
        .map(|(purse, it)| purse_json(*purse, *it))
        .collect();
    let in_json = operators.iter().map(|(id, it)| operator_json(*id, it));
    json["operators"] = in_json.collect();
    let mut text = String::from("parameters\n");
    for parameter in &parameters {
        let value = in_unit(parameter.unit, parameter.value);
        text.push_str(&format!("  {} {value}\n", parameter.name));
    }
    text.push_str("purses\n");
    for (purse, account) in purses {
        text.push_str(&format!("  {} {}\n", name(purse), held(account)));
    }
    text.push_str("operators\n");
    for (id, operator) in &operators {
        text.push_str(&format!("  {}\n", operator_text(*id, operator)));
    }
    if let Some(account) = arguments.account {
        text.push_str(&format!("stakes of {account}\n"));
        let mut stakes = Vec::new();
        for (operator, _) in operators {
            if let Some(stake) = Stake::of(state, operator, account) {
                text.push_str(&format!("  {}\n", stake.text()));
                stakes.push(stake.json());
            }
        }
        json["account"] = json!(account);
        json["stakes"] = stakes.into();
    }
    text.push_str(&format!("after entry {sequence}"));
    Ok(Said::new(json, text))
}

/// What an account has at an operator.
struct Stake<'a> {
    operator: NodeId,
    staked: Amount,
    claimable: Amount,
    unbondings: &'a [Unbonding],
}

impl<'a> Stake<'a> {
    /// `None` if it has nothing there.
    fn of(state: &'a State, operator: NodeId, account: AccountId) -> Option<Self> {
        let staking = state.staking();
        let stake = Self {
            operator,
            staked: staking.staked(operator, account),
            claimable: staking.claimable(operator, account),
            unbondings: staking.unbondings(operator, account),
        };
        let nothing = stake.staked.is_zero() && stake.claimable.is_zero();
        (!nothing || !stake.unbondings.is_empty()).then_some(stake)
    }

    fn json(&self) -> Value {
        let leaving = self.unbondings.iter().map(|it| {
            json!({
                "entry": it.entry,
                "started": it.started,
                "matures": it.matures,
                "initial": it.initial,
                "balance": it.balance,
            })
        });
        json!({
            "operator": self.operator,
            "staked": self.staked,
            "claimable": self.claimable,
            "unbondings": leaving.collect::<Value>(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} staked {} claimable {}",
            self.operator,
            self.staked.to_credits_string(),
            self.claimable.to_credits_string()
        );
        for leaving in self.unbondings {
            let (balance, matures) = (leaving.balance.to_credits_string(), leaving.matures);
            text.push_str(&format!(" leaving {balance} at {matures}"));
        }
        text
    }
}

/// Amounts are text, for they do not fit the numbers of JSON, and so are the others, to be alike.
fn parameter_json(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "unit": parameter.unit,
        "value": parameter.value.to_string(),
        "min": parameter.min.to_string(),
        "max": parameter.max.to_string(),
    })
}

fn purse_json(purse: Purse, account: Option<&Account>) -> Value {
    json!({
        "purse": name(purse),
        "account": purse.account(),
        "balance": account.map(Account::balance),
        "issued": account.map(Account::issued),
    })
}

/// The word for a purse in every language: `fogcompute::purse_account` takes it.
const fn name(purse: Purse) -> &'static str {
    match purse {
        Purse::Bonded => "bonded",
        Purse::Unbonding => "unbonding",
        Purse::Rewards => "rewards",
        Purse::Insurance => "insurance",
        Purse::Treasury => "treasury",
        Purse::SovereignFund => "sovereign_fund",
        Purse::Mint => "mint",
        Purse::Account(_) => "account",
    }
}

/// What is in a purse; the mint is below zero by what it has put out.
fn held(account: Option<&Account>) -> String {
    match account {
        None => "0".to_owned(),
        Some(mint) if mint.kind == AccountKind::Issuer => {
            format!("-{}", mint.issued().to_credits_string())
        }
        Some(account) => account.balance().to_credits_string(),
    }
}

fn operator_json(id: NodeId, operator: &Operator) -> Value {
    json!({
        "operator": id,
        "account": operator.account,
        "commission_ppm": operator.commission.get(),
        "commission_set": operator.commission_set,
        "staked": operator.tokens,
        "unclaimed": operator.unclaimed,
        "commission_due": operator.commission_due,
        "jailed_until": operator.jailed_until,
        "tombstoned": operator.tombstoned,
    })
}

fn operator_text(id: NodeId, operator: &Operator) -> String {
    let mut text = format!(
        "{id} staked {} unclaimed {} commission {} millionths, {} due",
        operator.tokens.to_credits_string(),
        operator.unclaimed.to_credits_string(),
        operator.commission.get(),
        operator.commission_due.to_credits_string()
    );
    let until = |until: UnixMillis| format!(", in jail until {until}");
    if operator.tombstoned {
        text.push_str(", barred for good");
    } else if let Some(time) = operator.jailed_until {
        text.push_str(&until(time));
    }
    text
}
