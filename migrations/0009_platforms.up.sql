-- Platforms where answers are posts: what was posted of each, which question it asks, what it replaces.

-- The platform's ids of the parts of an answer that were posted, in order, as a JSON list.
ALTER TABLE outbox ADD COLUMN posts TEXT NOT NULL DEFAULT '[]';
UPDATE outbox SET posts = json_array(receipt) WHERE receipt IS NOT NULL;
ALTER TABLE outbox DROP COLUMN receipt;
-- The question that a notice asks.
ALTER TABLE outbox ADD COLUMN approval_id TEXT;
-- The parcel whose post becomes this one: a question that was settled.
ALTER TABLE outbox ADD COLUMN replaces TEXT;
