-- What was cancelled is counted apart from what was given up.

ALTER TABLE jobs ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;

UPDATE jobs
SET cancelled = (SELECT count(*) FROM tasks WHERE job = jobs.id AND state = 'cancelled')
WHERE lost > 0;

UPDATE jobs SET lost = lost - cancelled WHERE cancelled > 0;
