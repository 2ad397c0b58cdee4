-- What the gate of a coordinator remembers: who called, and what was used of tokens.

CREATE TABLE snapshot (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    body BLOB    NOT NULL                        -- Gate::encode
) STRICT;

-- What came after the snapshot, in that order.
CREATE TABLE passes (
    number INTEGER NOT NULL PRIMARY KEY,
    body   BLOB    NOT NULL,                     -- Pass::encode
    back   INTEGER NOT NULL CHECK (back IN (0, 1)) -- whether its need was given back
) STRICT;
