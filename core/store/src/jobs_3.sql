-- What happened to jobs, for whoever watches: a row for each commit.
CREATE TABLE events (
    first INTEGER NOT NULL PRIMARY KEY,   -- number of its first event
    count INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    body  BLOB    NOT NULL                -- JobChange, each with its job if it names no task
) STRICT;

CREATE INDEX jobs_of_owner ON jobs (owner, submitted);
