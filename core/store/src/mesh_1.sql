-- Messages are numbered in the order in which they were sent or came. Times are Unix milliseconds.
-- Peers are 8 bytes, as the mesh names them.

CREATE TABLE identity (
    slot   INTEGER NOT NULL PRIMARY KEY CHECK (slot = 1),
    secret BLOB    NOT NULL CHECK (length(secret) = 64)  -- X25519 private key, Ed25519 seed
) STRICT;

CREATE TABLE state (
    slot  INTEGER NOT NULL PRIMARY KEY CHECK (slot = 1),
    saved BLOB    NOT NULL                               -- what fogcompute_mesh::Node::save gave
) STRICT;

CREATE TABLE messages (
    number   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id       TEXT    NOT NULL,
    peer     BLOB    NOT NULL,                           -- who wrote it; of own private ones, for whom
    is_own   INTEGER NOT NULL CHECK (is_own IN (0, 1)),
    audience INTEGER NOT NULL CHECK (audience BETWEEN 0 AND 2),  -- everybody, one peer, a group
    of_group BLOB,
    text     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    state    INTEGER NOT NULL,                           -- of own ones: how far it has come
    via      BLOB,
    UNIQUE (id, peer, is_own)
) STRICT;
