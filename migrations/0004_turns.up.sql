-- Several messages answered by one turn, and deliveries whose outcome is not known.

-- What a message does when a turn runs: 'collect', 'steer', 'interrupt', 'queue' or 'stop'.
ALTER TABLE inbox ADD COLUMN mode TEXT NOT NULL DEFAULT 'queue';
-- The turn that answers it.
ALTER TABLE inbox ADD COLUMN turn_id TEXT;
-- For a message that joined a running turn: it is said before the step with this ordinal.
ALTER TABLE inbox ADD COLUMN joined INTEGER;
CREATE INDEX inbox_turn ON inbox (turn_id) WHERE turn_id IS NOT NULL;
CREATE INDEX inbox_joined ON inbox (session_id, id) WHERE joined IS NOT NULL;
UPDATE inbox SET turn_id = (SELECT t.id FROM turns t WHERE t.message_id = inbox.id ORDER BY t.id DESC LIMIT 1);

-- What every message looks for, however long its conversation is.
CREATE INDEX inbox_pending ON inbox (session_id, id) WHERE state = 'pending';
CREATE INDEX turns_open ON turns (session_id, id) WHERE state = 'running';
CREATE INDEX outbox_due ON outbox (next_at, id) WHERE state IN ('prepared', 'retry', 'ambiguous');

-- How often a turn was put down by a stop that was asked for: these are no crashes.
ALTER TABLE turns ADD COLUMN stops INTEGER NOT NULL DEFAULT 0;

-- External ids of the other messages that an answer answers, as a JSON list.
ALTER TABLE outbox ADD COLUMN also_in_reply_to TEXT;
-- Whether an earlier try may have arrived.
ALTER TABLE outbox ADD COLUMN unsure INTEGER NOT NULL DEFAULT 0;
-- When the owner said what becomes of it: its age counts from then.
ALTER TABLE outbox ADD COLUMN decided_at INTEGER;
CREATE INDEX outbox_undecided ON outbox (id) WHERE state IN ('dead', 'expired') AND decided_at IS NULL;
