-- What a ledger on plain SQLite would be: a row for each transfer, and two counters.
CREATE TABLE account (
    id      INTEGER NOT NULL PRIMARY KEY,
    debits  INTEGER NOT NULL,
    credits INTEGER NOT NULL,
    CHECK (debits <= credits)
) STRICT;
CREATE TABLE transfer (
    id     BLOB    NOT NULL PRIMARY KEY,
    debit  INTEGER NOT NULL REFERENCES account,
    credit INTEGER NOT NULL REFERENCES account,
    amount INTEGER NOT NULL CHECK (amount > 0),
    code   INTEGER NOT NULL,
    time   INTEGER NOT NULL,
    CHECK (debit <> credit)
) STRICT, WITHOUT ROWID;
