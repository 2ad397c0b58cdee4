-- What a task has said: the log that came with its report.

ALTER TABLE tasks ADD COLUMN log TEXT;
