//! A task in a fog, a payment, and a Sphinx packet.

use std::error::Error;
use std::time::Duration;

use fogcompute::base::OsEntropy;
use fogcompute::{
    AccountId, AccountKind, Amount, Fog, FogConfig, Hop, Ledger, Limits, NodeId, PrivateKey,
    Processed, Sphinx, TaskSpec, TransferId,
};

fn main() -> Result<(), Box<dyn Error>> {
    // Run a WebAssembly task: it adds up the bytes of its input.
    let path = std::env::args().nth(1);
    let module = std::fs::read(path.as_deref().unwrap_or("examples/wasm/sum.wasm"))?;
    let fog = Fog::new(FogConfig::default())?;
    let task = TaskSpec::new(module, [1, 2, 39].as_slice(), Limits::default())?;
    let done = fog.run(task)?;
    let mut sum = [0; 8];
    sum.copy_from_slice(&done.output);
    println!(
        "sum {} for {} fuel",
        u64::from_le_bytes(sum),
        done.usage.fuel
    );

    // Pay for it: every credit that arrives has left somewhere else.
    let ledger = Ledger::in_memory()?;
    let (mint, alice) = (
        AccountId::from_bytes([1; 16]),
        AccountId::from_bytes([2; 16]),
    );
    ledger.open_account(mint, AccountKind::Issuer)?;
    ledger.open_account(alice, AccountKind::Holder)?;
    ledger.transfer(
        TransferId::from_bytes([1; 16]),
        mint,
        alice,
        Amount::from_credits(5),
    )?;
    println!(
        "alice has {} credits",
        ledger.balance(alice)?.to_credits_string()
    );

    // Send a message through two hops: the first one learns only where the second one is.
    let sphinx = Sphinx::default();
    let keys = [
        PrivateKey::random(&mut OsEntropy),
        PrivateKey::random(&mut OsEntropy),
    ];
    let route: Vec<_> = keys
        .iter()
        .zip(1..)
        .map(|(key, id)| Hop::new(NodeId::from_bytes([id; 32]), key.public(), Duration::ZERO))
        .collect();
    let packet = sphinx.build(&route, b"hello")?;
    if let Processed::Forward { packet, .. } = sphinx.process(&keys[0], &packet)?.outcome
        && let Processed::Deliver { payload } = sphinx.process(&keys[1], packet.as_bytes())?.outcome
    {
        println!("delivered {:?}", String::from_utf8_lossy(&payload));
    }
    Ok(())
}
