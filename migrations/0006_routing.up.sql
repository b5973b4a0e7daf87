-- Which model is asked: what people and conversations chose, what was tried, and answers that are kept.

-- What a person chose: on the account that stands for the person.
ALTER TABLE users ADD COLUMN model TEXT;
-- What was chosen for a conversation.
ALTER TABLE sessions ADD COLUMN model TEXT;

-- Calls of models that no step tells of: those that failed before another answered, answers that were kept,
-- and what skills asked.
CREATE TABLE model_calls (
    n           INTEGER PRIMARY KEY,
    -- NULL for a skill that runs outside a turn
    turn_id     TEXT REFERENCES turns (id) ON DELETE CASCADE,
    -- the step that it was made for; for a skill its row in `usage`
    call_id     TEXT NOT NULL,
    -- 'turn', or 'skill:NAME'
    purpose     TEXT NOT NULL,
    task        TEXT NOT NULL,
    provider    TEXT NOT NULL,
    model       TEXT NOT NULL,
    -- 'ok', 'cached', or the word of the error
    outcome     TEXT NOT NULL,
    error       TEXT,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER NOT NULL
) STRICT;
CREATE INDEX model_calls_turn ON model_calls (turn_id);

-- Whose doing a model call was: 'turn', or 'skill:NAME'.
ALTER TABLE usage ADD COLUMN purpose TEXT NOT NULL DEFAULT 'turn';

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
