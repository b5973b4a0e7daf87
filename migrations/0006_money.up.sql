-- Money: no model call without a committed reservation, one usage row for each attempt, and counters so
-- that a limit is checked without summing up history.

-- What a call may cost at most, written before it begins.
CREATE TABLE reservations (
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
CREATE INDEX reservations_open ON reservations (id) WHERE state = 'open';
CREATE INDEX reservations_ended ON reservations (ended_at) WHERE state <> 'open';

ALTER TABLE usage ADD COLUMN step_id TEXT;
ALTER TABLE usage ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE usage ADD COLUMN person_id TEXT;
ALTER TABLE usage ADD COLUMN agent TEXT NOT NULL DEFAULT 'default';
ALTER TABLE usage ADD COLUMN schedule_id TEXT;
-- What the call was for: 'chat', 'summarise', 'skill', ...
ALTER TABLE usage ADD COLUMN purpose TEXT NOT NULL DEFAULT 'chat';
-- 'ok', 'failed', 'cancelled' or 'interrupted'
ALTER TABLE usage ADD COLUMN status TEXT NOT NULL DEFAULT 'ok';
-- One word for what went wrong.
ALTER TABLE usage ADD COLUMN error TEXT;
-- Where the price came from: 'configuration', 'provider', 'list', 'free' or 'ceiling'.
ALTER TABLE usage ADD COLUMN price_source TEXT;
UPDATE usage SET step_id = id,
                 person_id = (SELECT u.person_id FROM users u WHERE u.id = usage.user_id);
CREATE INDEX usage_step ON usage (step_id);
CREATE INDEX usage_turn ON usage (turn_id);
CREATE INDEX usage_session ON usage (session_id);

-- What was spent in a scope within a period. A row that is missing is summed up from usage when it is
-- first asked for; from then on every usage row adds to it.
CREATE TABLE budget_counters (
    scope         TEXT NOT NULL,
    key           TEXT NOT NULL,
    since         INTEGER NOT NULL,
    until         INTEGER NOT NULL,
    spent_nanousd INTEGER NOT NULL,
    -- 1 once somebody was told that the soft limit was reached
    noticed       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, key, since, until)
) STRICT, WITHOUT ROWID;

-- All that was ever used, for metrics.
CREATE TABLE usage_totals (
    provider      TEXT NOT NULL,
    model         TEXT NOT NULL,
    calls         INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost_nanousd  INTEGER NOT NULL,
    PRIMARY KEY (provider, model)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_totals
    SELECT provider, model, count(*), 0, sum(input_tokens), sum(cached_tokens), sum(output_tokens),
           coalesce(sum(cost_nanousd), 0)
    FROM usage GROUP BY provider, model;
