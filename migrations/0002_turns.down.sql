DROP INDEX outbox_undecided;
ALTER TABLE outbox DROP COLUMN decided_at;
ALTER TABLE outbox DROP COLUMN unsure;
ALTER TABLE outbox DROP COLUMN also_in_reply_to;
DROP INDEX inbox_joined;
DROP INDEX inbox_turn;
ALTER TABLE inbox DROP COLUMN joined;
ALTER TABLE inbox DROP COLUMN turn_id;
ALTER TABLE inbox DROP COLUMN mode;
