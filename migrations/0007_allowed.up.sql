-- Who allowed a call that needed somebody, in words for the audit.
ALTER TABLE steps ADD COLUMN allowed_by TEXT;
-- Not an answer: it tells its receiver that the answer waits for somebody.
ALTER TABLE outbox ADD COLUMN notice INTEGER NOT NULL DEFAULT 0;
CREATE INDEX outbox_notice ON outbox (turn_id) WHERE notice = 1;
