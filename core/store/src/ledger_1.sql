-- Amounts are 16 bytes, big-endian: blobs compare as the numbers do. Times are Unix milliseconds.

-- What the history adds up to.
CREATE TABLE accounts (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    asset           INTEGER NOT NULL,
    kind            INTEGER NOT NULL,            -- 1 issuer, 2 holder
    credits_posted  BLOB    NOT NULL CHECK (length(credits_posted) = 16),
    debits_posted   BLOB    NOT NULL CHECK (length(debits_posted) = 16),
    credits_pending BLOB    NOT NULL CHECK (length(credits_pending) = 16),
    debits_pending  BLOB    NOT NULL CHECK (length(debits_pending) = 16),
    CHECK (kind <> 2 OR credits_posted >= debits_posted)
) STRICT, WITHOUT ROWID;

-- The history.
CREATE TABLE entries (
    sequence     INTEGER NOT NULL PRIMARY KEY CHECK (sequence > 0),
    time         INTEGER NOT NULL,
    -- 1 opened, 2 transferred, 3 reserved, 4 posted, 5 voided, 6 expired
    kind         INTEGER NOT NULL,
    id           BLOB    UNIQUE CHECK (length(id) = 16),
    reservation  BLOB    CHECK (length(reservation) = 16),
    from_account BLOB    NOT NULL REFERENCES accounts (id), -- of kind 1: the account
    to_account   BLOB    REFERENCES accounts (id),
    asset        INTEGER,
    account_kind INTEGER,
    amount       BLOB    CHECK (length(amount) = 16),
    released     BLOB    CHECK (length(released) = 16),
    expires      INTEGER,
    chain        BLOB    NOT NULL CHECK (length(chain) = 32)
) STRICT;
CREATE INDEX entries_by_from ON entries (from_account);
CREATE INDEX entries_by_to ON entries (to_account);

CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries
BEGIN SELECT raise(ABORT, 'entries are not changed'); END;
CREATE TRIGGER entries_are_not_deleted BEFORE DELETE ON entries
BEGIN SELECT raise(ABORT, 'entries are not deleted'); END;
