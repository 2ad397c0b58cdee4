-- How well jobs and their tasks are hidden: the code of fogcompute_coord::PrivacyLevel. Whatever was
-- there before goes through the mixnet, as it did.

ALTER TABLE jobs ADD COLUMN privacy INTEGER NOT NULL DEFAULT 1;
ALTER TABLE tasks ADD COLUMN privacy INTEGER NOT NULL DEFAULT 1;
