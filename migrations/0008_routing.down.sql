DROP TABLE kept_answers;
CREATE TABLE old_reservations (
    id                TEXT PRIMARY KEY,     -- the attempt; its usage row has the same id
    step_id           TEXT,
    attempt           INTEGER NOT NULL,
    turn_id           TEXT NOT NULL,
    session_id        TEXT NOT NULL,
    user_id           TEXT NOT NULL,
    person_id         TEXT NOT NULL,
    agent             TEXT NOT NULL,
    channel           TEXT NOT NULL,
    schedule_id       TEXT,
    purpose           TEXT NOT NULL,
    provider          TEXT NOT NULL,
    model             TEXT NOT NULL,
    input_tokens      INTEGER NOT NULL,
    max_output_tokens INTEGER NOT NULL,
    -- billionths of a dollar
    amount_nanousd    INTEGER NOT NULL,
    price_source      TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('open', 'settled', 'released')),
    at                INTEGER NOT NULL,
    ended_at          INTEGER
) STRICT;
-- A call outside a turn stands for a turn of its own.
INSERT INTO old_reservations
    SELECT id, step_id, attempt, coalesce(turn_id, id), session_id, user_id, person_id, agent, channel,
           schedule_id, purpose, provider, model, input_tokens, max_output_tokens, amount_nanousd,
           price_source, state, at, ended_at
    FROM reservations;
DROP TABLE reservations;
ALTER TABLE old_reservations RENAME TO reservations;
CREATE INDEX reservations_open ON reservations (id) WHERE state = 'open';
CREATE INDEX reservations_ended ON reservations (ended_at) WHERE state <> 'open';
ALTER TABLE usage DROP COLUMN detail;
ALTER TABLE usage DROP COLUMN task;
ALTER TABLE usage DROP COLUMN started_at;
ALTER TABLE sessions DROP COLUMN model;
ALTER TABLE users DROP COLUMN model;
