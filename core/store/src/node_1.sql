-- Times are Unix milliseconds. Counters are 8 bytes, big-endian.

CREATE TABLE identity (
    slot   INTEGER NOT NULL PRIMARY KEY CHECK (slot = 1),
    secret BLOB    NOT NULL CHECK (length(secret) = 32)
) STRICT;

CREATE TABLE task_results (
    task     BLOB    NOT NULL PRIMARY KEY CHECK (length(task) = 16),
    digest   BLOB    NOT NULL CHECK (length(digest) = 32),
    body     BLOB    NOT NULL,
    finished INTEGER NOT NULL
) STRICT;
CREATE INDEX task_results_by_finished ON task_results (finished);

CREATE TABLE usage (
    slot    INTEGER NOT NULL PRIMARY KEY CHECK (slot = 1),
    fuel    BLOB    NOT NULL CHECK (length(fuel) = 8),
    wall_ms BLOB    NOT NULL CHECK (length(wall_ms) = 8)
) STRICT;
