-- What version 1 had is carried over by `ledger/migration.rs`, and these tables are dropped then.
DROP TRIGGER entries_are_not_changed;
DROP TRIGGER entries_are_not_deleted;
DROP INDEX entries_by_from;
DROP INDEX entries_by_to;
ALTER TABLE entries RENAME TO entries_1;
ALTER TABLE accounts RENAME TO accounts_1;

-- The history, a row for each batch. Everything else follows from it.
CREATE TABLE batches (
    first_sequence INTEGER NOT NULL PRIMARY KEY CHECK (first_sequence > 0),
    last_sequence  INTEGER NOT NULL CHECK (last_sequence >= first_sequence),
    time           INTEGER NOT NULL,             -- Unix milliseconds
    chain          BLOB    NOT NULL CHECK (length(chain) = 32), -- digest after its last entry
    body           BLOB    NOT NULL              -- fogcompute_ledger::Batch
) STRICT;
CREATE TRIGGER batches_are_not_changed BEFORE UPDATE ON batches
BEGIN SELECT raise(ABORT, 'batches are not changed'); END;
CREATE TRIGGER batches_are_not_deleted BEFORE DELETE ON batches
BEGIN SELECT raise(ABORT, 'batches are not deleted'); END;

-- What opening starts from: fogcompute_ledger::Snapshot.
CREATE TABLE snapshots (
    sequence INTEGER NOT NULL PRIMARY KEY,
    chain    BLOB    NOT NULL,
    digest   BLOB    NOT NULL                    -- of the image
) STRICT;
CREATE TABLE snapshot_chunks (
    sequence INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    PRIMARY KEY (sequence, number)
) STRICT;
CREATE TABLE id_segments (
    last_sequence  INTEGER NOT NULL PRIMARY KEY,
    first_sequence INTEGER NOT NULL,
    digest         BLOB    NOT NULL,
    body           BLOB    NOT NULL
) STRICT;

-- From here on: tables for people and their SQL, brought up to date behind the history. How far
-- they are stands in `projection`. Amounts are 16 bytes, big-endian: blobs compare as the numbers
-- do. Times are Unix milliseconds.
CREATE TABLE projection (
    one                INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    projected_sequence INTEGER NOT NULL,
    moment             INTEGER NOT NULL          -- the latest time so far
) STRICT;
INSERT INTO projection VALUES (1, 0, 0);

CREATE TABLE accounts (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    asset           INTEGER NOT NULL,
    kind            INTEGER NOT NULL,            -- 1 issuer, 2 holder
    credits_posted  BLOB    NOT NULL CHECK (length(credits_posted) = 16),
    debits_posted   BLOB    NOT NULL CHECK (length(debits_posted) = 16),
    credits_pending BLOB    NOT NULL CHECK (length(credits_pending) = 16),
    debits_pending  BLOB    NOT NULL CHECK (length(debits_pending) = 16),
    closed          INTEGER NOT NULL,            -- 0 or 1
    max_supply      BLOB    CHECK (length(max_supply) = 16),
    credits_must_not_exceed_debits INTEGER NOT NULL, -- 0 or 1
    spend_per_day   BLOB    CHECK (length(spend_per_day) = 16)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    sequence     INTEGER NOT NULL PRIMARY KEY,
    time         INTEGER NOT NULL,
    moment       INTEGER NOT NULL,               -- the latest time up to here: never goes back
    -- 1 opened, 2 transferred, 3 reserved, 4 posted, 5 voided, 6 expired, 7 limited, 8 closed,
    -- 9 owned, 10 signed
    kind         INTEGER NOT NULL,
    id           BLOB,
    reservation  BLOB,
    from_account BLOB    NOT NULL,               -- or the one account that the entry is about
    to_account   BLOB,
    asset        INTEGER,
    account_kind INTEGER,
    amount       BLOB,
    released     BLOB,
    expires      INTEGER,
    code         INTEGER,                        -- what it was for
    reference    BLOB,
    detail       BLOB,                           -- kinds 7 to 10: a fogcompute_ledger::Batch of it
    chain        BLOB    NOT NULL,
    -- Posted counters of the two accounts after the entry.
    from_credits BLOB    NOT NULL,
    from_debits  BLOB    NOT NULL,
    to_credits   BLOB,
    to_debits    BLOB
) STRICT;
CREATE INDEX entries_by_id ON entries (id) WHERE id IS NOT NULL;
CREATE INDEX entries_by_from ON entries (from_account);
CREATE INDEX entries_by_to ON entries (to_account) WHERE to_account IS NOT NULL;
CREATE INDEX entries_by_moment ON entries (moment);
