-- What a coordinator keeps. Times are Unix milliseconds; amounts are 16 bytes, big-endian.

CREATE TABLE identity (
    id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    secret BLOB    NOT NULL CHECK (length(secret) = 32)
) STRICT;

CREATE TABLE jobs (
    id        BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    owner     BLOB    NOT NULL CHECK (length(owner) = 16),
    priority  INTEGER NOT NULL,
    submitted INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    lost      INTEGER NOT NULL,
    open      INTEGER NOT NULL,
    paid      BLOB    NOT NULL CHECK (length(paid) = 16),
    reserved  BLOB    NOT NULL CHECK (length(reserved) = 16),
    released  BLOB    NOT NULL CHECK (length(released) = 16)
) STRICT, WITHOUT ROWID;

CREATE TABLE modules (
    id   BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 32),  -- BLAKE3 of the body
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    arrival   INTEGER NOT NULL PRIMARY KEY,
    id        BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    job       BLOB    NOT NULL,
    priority  INTEGER NOT NULL,
    spec      BLOB    NOT NULL,              -- TaskSpec, with the module's digest for its module
    fuel      INTEGER NOT NULL,              -- as estimated
    price_max BLOB    NOT NULL CHECK (length(price_max) = 16),
    state     TEXT    NOT NULL,              -- queued, assigned, succeeded, failed, cancelled, lost
    attempts  INTEGER NOT NULL,              -- that were begun
    node      BLOB,                          -- that has it, or ended it
    rate      BLOB,                          -- what the node asks for 10^9 fuel
    avoid     BLOB    NOT NULL,              -- nodes, 32 bytes each
    payee     BLOB,
    paid      BLOB,
    result    BLOB,                          -- TaskReport
    changed   INTEGER NOT NULL,
    settled   INTEGER NOT NULL CHECK (settled IN (0, 1))
) STRICT;

CREATE INDEX tasks_of_job ON tasks (job);
CREATE INDEX tasks_open ON tasks (arrival) WHERE settled = 0;

CREATE TABLE nodes (
    id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    successes  REAL NOT NULL,
    failures   REAL NOT NULL
) STRICT, WITHOUT ROWID;
