//! A month of an economy: rewards for hosting, stake on an operator, a punishment, and the way out.

use std::error::Error;

use fogcompute::base::UnixMillis;
use fogcompute::ledger::{Amount, Ppm, economy::Economy};
use fogcompute::{AccountId, AccountKind, Evidence, Ledger, NodeId, TransferId, purse_account};

const DAY: u64 = 86_400_000;

fn main() -> Result<(), Box<dyn Error>> {
    let ledger = Ledger::in_memory()?;
    let economy = ledger.economy();
    let (node, alice, bob) = (
        NodeId::from_bytes([0x0a; 32]),
        AccountId::from_bytes([1; 16]),
        AccountId::from_bytes([2; 16]),
    );
    // Each request has an id of its own. Asked for again under it, it happens once.
    let mut ids = (1..=u8::MAX).map(|n| TransferId::from_bytes([n; 16]));
    let mut id = || ids.next().ok_or("more requests than this example has");
    // A month goes by in a moment: without this the ledger goes by the clock.
    let mut day = UnixMillis(1_800_000_000_000);
    ledger.set_time(Some(day))?;

    // Every number of an economy is a parameter; these are the documented defaults.
    economy.configure(id()?, Economy::default())?;
    ledger.open_account(alice, AccountKind::Holder)?;
    ledger.open_account(bob, AccountKind::Holder)?;

    // A daily limit holds, whatever the number of claims.
    let mut earned = Amount::ZERO;
    while let Ok(receipt) = economy.earn(id()?, "hosting", alice, [("uptime", 1_000)]) {
        earned = Amount(earned.0 + receipt.amount.0);
    }
    println!("alice earned {} credits today", earned.to_credits_string());

    // Bob runs the node, alice stakes on it, and both have their part of a reward.
    economy.register_operator(id()?, node, bob, Ppm::percent(10))?;
    economy.bond(id()?, node, alice, Amount::from_credits(100))?;
    let treasury = purse_account("treasury")?;
    economy.reward(id()?, node, treasury, Amount::from_credits(10))?;
    let claimed = economy.claim(id()?, node, alice)?;
    println!(
        "alice claimed {} credits",
        claimed.amount.to_credits_string()
    );

    // She leaves, but answers for what the node did while she was there.
    let leaving = economy.unbond(id()?, node, alice, None)?;
    let (infraction, power) = (day, Amount::from_credits(100));
    day.0 += DAY;
    ledger.set_time(Some(day))?;
    let slashed = economy.slash(id()?, node, Evidence::InvalidResult, infraction, power)?;
    println!(
        "the node lost {} credits",
        slashed.amount.to_credits_string()
    );

    ledger.set_time(leaving.matures)?;
    ledger.expire()?;
    let balance = ledger.balance(alice)?;
    println!("alice has {} credits", balance.to_credits_string());
    assert_eq!(balance, Amount::from_credits(9 + 99));
    ledger.verify()?;
    Ok(())
}
