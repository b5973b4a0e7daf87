ALTER TABLE sessions DROP COLUMN tainted;
ALTER TABLE inbox DROP COLUMN plan;
ALTER TABLE messages DROP COLUMN provenance;
-- What waits for a person is interrupted: the older program knows no waiting.
UPDATE steps SET status = 'interrupted' WHERE waiting = 1 AND status = 'running';
ALTER TABLE steps DROP COLUMN provenance;
ALTER TABLE steps DROP COLUMN effects;
ALTER TABLE steps DROP COLUMN waiting;
ALTER TABLE turns DROP COLUMN waited;
ALTER TABLE turns DROP COLUMN parked_at;
DROP TABLE grants;
DROP TABLE approvals;
