-- Sessions, rest and quotas of the device: an encoding of fogcompute_harvest, in one row.

CREATE TABLE harvest (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    body BLOB    NOT NULL
) STRICT;
