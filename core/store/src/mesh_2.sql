-- Messages can be deleted, are forgotten after a time, and are read by conversation.

ALTER TABLE messages ADD COLUMN hops INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;        -- when it was written here
ALTER TABLE messages ADD COLUMN is_deleted INTEGER NOT NULL DEFAULT 0;  -- its text is gone; it does not come again

UPDATE messages SET kept = at;

CREATE INDEX messages_of_everybody ON messages (number) WHERE audience = 0;
CREATE INDEX messages_of_peer ON messages (peer, number) WHERE audience = 1;
CREATE INDEX messages_of_group ON messages (of_group, number) WHERE audience = 2;
CREATE INDEX messages_by_age ON messages (kept);
