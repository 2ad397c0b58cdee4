//! Double-entry credits: transfers, two-phase reservations, accounts.
