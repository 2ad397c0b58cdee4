-- Whether a node is to leave: it gets no tasks until somebody says otherwise.

ALTER TABLE nodes ADD COLUMN draining INTEGER NOT NULL DEFAULT 0 CHECK (draining IN (0, 1));
