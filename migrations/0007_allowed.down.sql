DROP INDEX outbox_notice;
-- The older program would send it as an answer.
DELETE FROM outbox WHERE notice = 1;
ALTER TABLE outbox DROP COLUMN notice;
ALTER TABLE steps DROP COLUMN allowed_by;
