//! What accounts have, now or at a moment of the past.

use fogcompute_base::AccountId;
use fogcompute_ledger::{Account, AccountKind, Amount};
use serde_json::{Value, json};

use super::arguments::BalanceArguments;
use super::{LedgerCommandError, Said, open};

/// What an account had at some moment.
struct Held<'a> {
    account: &'a Account,
    credits_posted: Amount,
    debits_posted: Amount,
}

impl Held<'_> {
    fn balance(&self) -> Amount {
        let balance = self.credits_posted.checked_sub(self.debits_posted);
        balance.unwrap_or_default()
    }

    fn issued(&self) -> Amount {
        let issued = self.debits_posted.checked_sub(self.credits_posted);
        issued.unwrap_or_default()
    }

    fn json(&self) -> Value {
        json!({
            "id": self.account.id,
            "asset": self.account.asset,
            "kind": self.account.kind,
            "balance": self.balance(),
            "issued": self.issued(),
            "credits_posted": self.credits_posted,
            "debits_posted": self.debits_posted,
        })
    }

    /// Columns for people; an issuer that has put out more than it took back is below zero.
    fn columns(&self) -> [String; 4] {
        let (balance, issued) = (self.balance(), self.issued());
        [
            self.account.id.to_string(),
            match self.account.kind {
                AccountKind::Issuer => "issuer".to_owned(),
                AccountKind::Holder => "holder".to_owned(),
            },
            self.account.asset.to_string(),
            if issued.is_zero() {
                balance.to_credits_string()
            } else {
                format!("-{}", issued.to_credits_string())
            },
        ]
    }
}

/// What the account may give now; `None` if nothing but its counters bounds it.
fn available(account: &Account) -> Option<Amount> {
    match account.kind {
        AccountKind::Issuer => account.supply_left(),
        AccountKind::Holder => Some(account.available()),
    }
}

pub(super) fn balance(arguments: &BalanceArguments) -> Result<Said, LedgerCommandError> {
    let mut ledger = open(&arguments.ledger)?;
    let head = ledger.state().head();
    let past = match (arguments.at_sequence, arguments.at_time) {
        (Some(sequence), _) if sequence > head.sequence => {
            return Err(LedgerCommandError::UnknownEntry {
                sequence,
                end: head.sequence,
            });
        }
        (Some(sequence), _) => Some(sequence),
        (None, Some(at)) => Some(ledger.sequence_at(at)?),
        (None, None) => None,
    };
    let sequence = past.unwrap_or(head.sequence);
    let state = ledger.state();
    let known: Vec<Account> = if arguments.accounts.is_empty() {
        state.accounts().copied().collect()
    } else {
        let account = |id: &AccountId| {
            let account = state.account(*id).copied();
            account.ok_or(LedgerCommandError::UnknownAccount {
                account: *id,
                sequence,
            })
        };
        arguments
            .accounts
            .iter()
            .map(account)
            .collect::<Result<_, _>>()?
    };
    let mut accounts = Vec::with_capacity(known.len());
    let mut table = vec![["account", "kind", "asset", "balance", "available"].map(str::to_owned)];
    for account in &known {
        let mut held = Held {
            account,
            credits_posted: account.credits_posted,
            debits_posted: account.debits_posted,
        };
        let (json, last) = if let Some(sequence) = past {
            match ledger.as_of(account.id, sequence)? {
                Some(standing) => {
                    held.credits_posted = standing.credits_posted;
                    held.debits_posted = standing.debits_posted;
                }
                None if arguments.accounts.is_empty() => continue,
                None => {
                    let account = account.id;
                    return Err(LedgerCommandError::UnknownAccount { account, sequence });
                }
            }
            (held.json(), String::new())
        } else {
            let available = available(account);
            let mut json = held.json();
            json["available"] = json!(available);
            json["credits_pending"] = json!(account.credits_pending);
            json["debits_pending"] = json!(account.debits_pending);
            json["closed"] = json!(account.closed);
            let last = if account.closed {
                "closed".to_owned()
            } else {
                available.map_or("any".to_owned(), Amount::to_credits_string)
            };
            (json, last)
        };
        accounts.push(json);
        let [id, kind, asset, balance] = held.columns();
        table.push([id, kind, asset, balance, last]);
    }
    if past.is_some() {
        table[0][4].clear();
    }
    let text = format!("{}after entry {sequence}", aligned(&table));
    let json = json!({
        "ok": true,
        "sequence": sequence,
        "head": head,
        "accounts": accounts,
    });
    Ok(Said::new(json, text))
}

/// Rows under each other, the last two columns to the right.
fn aligned(table: &[[String; 5]]) -> String {
    let width = |column: usize| table.iter().map(|row| row[column].len()).max();
    let widths: [usize; 5] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in table {
        let [account, kind, asset, balance, available] = row;
        let [a, k, s, b, v] = widths;
        let line =
            format!("{account:<a$}  {kind:<k$}  {asset:<s$}  {balance:>b$}  {available:>v$}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use fogcompute_ledger::AssetId;

    use super::*;

    #[test]
    fn an_issuer_is_below_zero_by_what_it_has_out_and_bounded_by_its_cap() {
        let id = AccountId::from_bytes([1; 16]);
        let mut issuer = Account::new(id, AssetId::CREDITS, AccountKind::Issuer);
        issuer.debits_posted = Amount::from_credits(3);
        issuer.credits_posted = Amount::from_credits(1);
        let held = Held {
            account: &issuer,
            credits_posted: issuer.credits_posted,
            debits_posted: issuer.debits_posted,
        };
        assert_eq!(held.columns()[3], "-2");
        assert_eq!(held.json()["issued"], "2000000000000000000");
        assert_eq!(held.json()["balance"], "0");
        assert_eq!(available(&issuer), None);
        issuer.limits.max_supply = Some(Amount::from_credits(5));
        assert_eq!(available(&issuer), Some(Amount::from_credits(3)));
    }

    #[test]
    fn numbers_stand_under_each_other() {
        let row = |balance: &str| ["a", "holder", "0", balance, ""].map(str::to_owned);
        assert_eq!(
            aligned(&[row("10"), row("2.5")]),
            "a  holder  0   10\na  holder  0  2.5\n"
        );
    }
}
