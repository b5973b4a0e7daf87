ALTER TABLE outbox ADD COLUMN receipt TEXT;
UPDATE outbox SET receipt = json_extract(posts, '$[0]');
ALTER TABLE outbox DROP COLUMN posts;
ALTER TABLE outbox DROP COLUMN approval_id;
ALTER TABLE outbox DROP COLUMN replaces;
