# Founds an economy, stakes on an operator, and lets a contribution and the stake earn.
from uuid import uuid4

from fogcompute import AccountKind, Ledger
from fogcompute.ledger import CREDIT, purse_account

NODE, DAY = "0a" * 32, 86_400_000

with Ledger.in_memory() as ledger:
    economy = ledger.economy
    # The default rules, which open an account for each purse and mint a million credits.
    economy.configure(uuid4())
    treasury = purse_account("treasury")
    alice, operator = uuid4(), uuid4()
    ledger.open_account(alice, AccountKind.HOLDER)
    ledger.open_account(operator, AccountKind.HOLDER)

    # A contribution is paid by its rule: 15 credits, and 76 % more for a quality of 0.95.
    earned = economy.earn(uuid4(), "knowledge", alice, {"quality": 950})
    print("alice earned", earned.amount / CREDIT, "credits")

    # Stake earns its part of the rewards of an operator, which keeps 10 % of them.
    economy.register_operator(uuid4(), NODE, operator, 100_000)
    economy.bond(uuid4(), NODE, alice, earned.amount)
    economy.reward(uuid4(), NODE, treasury, 10 * CREDIT)
    print("alice claims", economy.claim(uuid4(), NODE, alice).amount // CREDIT, "credits")

    # Stake takes 21 days to leave. A ledger's time can be set, to try what it brings.
    economy.unbond(uuid4(), NODE, alice)
    ledger.set_time(ledger.now() + 22 * DAY)
    print("alice has", ledger.balance(alice) / CREDIT, "credits")
