-- Which model is asked: what people and conversations chose, what was tried, and answers that are kept.

-- What a person chose: on the account that stands for the person.
ALTER TABLE users ADD COLUMN model TEXT;
-- What was chosen for a conversation.
ALTER TABLE sessions ADD COLUMN model TEXT;

-- What a trace tells of an attempt besides: when it began, for which task, and the text of its error.
-- `status` may be 'cached' from now on: the answer was kept from an earlier time. `purpose` is 'chat', or
-- 'skill:NAME' for what a skill asked.
ALTER TABLE usage ADD COLUMN started_at INTEGER;
ALTER TABLE usage ADD COLUMN task TEXT;
ALTER TABLE usage ADD COLUMN detail TEXT;

-- A skill that runs outside a turn reserves too: turn_id may be NULL.
CREATE TABLE new_reservations (
    id                TEXT PRIMARY KEY,     -- the attempt; its usage row has the same id
    step_id           TEXT,
    attempt           INTEGER NOT NULL,
    turn_id           TEXT,
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
INSERT INTO new_reservations SELECT * FROM reservations;
DROP TABLE reservations;
ALTER TABLE new_reservations RENAME TO reservations;
CREATE INDEX reservations_open ON reservations (id) WHERE state = 'open';
CREATE INDEX reservations_ended ON reservations (ended_at) WHERE state <> 'open';

-- Answers to requests that would be answered in the same way again. The key is a hash of provider, model and
-- the whole request.
CREATE TABLE kept_answers (
    key        BLOB PRIMARY KEY,
    -- Gone with the conversation that it came from.
    session_id TEXT REFERENCES sessions (id) ON DELETE CASCADE,
    answer     TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_answers_age ON kept_answers (used_at, bytes);
CREATE INDEX kept_answers_session ON kept_answers (session_id);
