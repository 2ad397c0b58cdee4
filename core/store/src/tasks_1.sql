-- Tasks are numbered in the order of their submission; those of a job follow each other.
-- Times are Unix milliseconds. Blobs are encodings of fogcompute_exec.

CREATE TABLE jobs (
    first   INTEGER NOT NULL PRIMARY KEY CHECK (first > 0),  -- number of its first task
    tasks   INTEGER NOT NULL CHECK (tasks > 0),
    id      BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    owner   BLOB    NOT NULL CHECK (length(owner) = 16),
    key     TEXT,                                            -- the submitter's
    content BLOB    NOT NULL CHECK (length(content) = 32),
    UNIQUE (owner, key)
) STRICT;

CREATE TABLE tasks (
    number    INTEGER NOT NULL PRIMARY KEY,
    id        BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    task      BLOB    NOT NULL,                -- Task
    life      BLOB    NOT NULL,                -- lifecycle::Life
    state     TEXT    NOT NULL,                -- for people: where `life` is
    log_bytes INTEGER NOT NULL CHECK (log_bytes >= 0)
) STRICT;

CREATE TABLE steps (
    number INTEGER NOT NULL,                   -- of the task
    step   INTEGER NOT NULL,
    time   INTEGER NOT NULL,
    state  TEXT    NOT NULL,                   -- for people: what `body` says
    cause  TEXT    NOT NULL,
    body   BLOB    NOT NULL,                   -- lifecycle::Transition
    PRIMARY KEY (number, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    number   INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    content  BLOB    NOT NULL CHECK (length(content) = 32),
    body     BLOB    NOT NULL,
    PRIMARY KEY (number, sequence)
) STRICT;

CREATE TABLE logs (
    number   INTEGER NOT NULL,
    position INTEGER NOT NULL,                 -- of the first byte in the task's log
    attempt  INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    PRIMARY KEY (number, position)
) STRICT;

CREATE TABLE content (
    id    BLOB    NOT NULL UNIQUE CHECK (length(id) = 32),   -- BLAKE3 of the body
    added INTEGER NOT NULL,
    body  BLOB    NOT NULL
) STRICT;
