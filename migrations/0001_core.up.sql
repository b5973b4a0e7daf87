-- The core: who speaks, what was said, what is being answered, what still has to be delivered.
-- Ids are UUIDv7 as text; times are microseconds since 1970 UTC.

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id              TEXT PRIMARY KEY,
    channel         TEXT NOT NULL,
    channel_user_id TEXT NOT NULL,
    name            TEXT NOT NULL,
    role            TEXT NOT NULL CHECK (role IN ('owner', 'member', 'viewer')),
    -- Accounts of one person on several channels point at the first one.
    person_id       TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (channel, channel_user_id)
) STRICT;

CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    -- 'api' (bearer), 'session' (the page's cookie) or 'link' (one-time login code).
    kind       TEXT NOT NULL CHECK (kind IN ('api', 'session', 'link')),
    role       TEXT NOT NULL CHECK (role IN ('owner', 'member', 'viewer')),
    -- SHA-256 of the token: 256 random bits need no slow hash.
    hash       BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    used_at    INTEGER
) STRICT;

CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    connector  TEXT NOT NULL,
    account    TEXT NOT NULL,
    chat       TEXT NOT NULL,
    title      TEXT,
    -- The session that the next message from this address joins.
    active     INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX sessions_active ON sessions (connector, account, chat) WHERE active = 1;
CREATE INDEX sessions_recent ON sessions (updated_at DESC);

CREATE TABLE inbox (
    id           TEXT PRIMARY KEY,           -- the message id
    connector    TEXT NOT NULL,
    account      TEXT NOT NULL,
    chat         TEXT NOT NULL,
    external_id  TEXT NOT NULL,
    external_user TEXT NOT NULL,
    session_id   TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    user_id      TEXT NOT NULL REFERENCES users (id),
    text         TEXT NOT NULL,
    model        TEXT,
    state        TEXT NOT NULL CHECK (state IN
                 ('pending', 'running', 'answered', 'failed', 'cancelled', 'merged', 'expired', 'refused')),
    received_at  INTEGER NOT NULL,
    finished_at  INTEGER,
    UNIQUE (connector, account, external_id)
) STRICT;
CREATE INDEX inbox_open ON inbox (session_id, id) WHERE state IN ('pending', 'running');
CREATE INDEX inbox_session ON inbox (session_id);

CREATE TABLE cursors (
    connector TEXT NOT NULL,
    account   TEXT NOT NULL,
    position  TEXT NOT NULL,
    PRIMARY KEY (connector, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE turns (
    id          TEXT PRIMARY KEY,
    session_id  TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    message_id  TEXT NOT NULL REFERENCES inbox (id) ON DELETE CASCADE,
    -- Where the answer goes: fixed when the message was accepted.
    connector   TEXT NOT NULL,
    account     TEXT NOT NULL,
    chat        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('running', 'answered', 'failed', 'cancelled')),
    attempt     INTEGER NOT NULL DEFAULT 1,
    provider    TEXT,
    model       TEXT,
    error       TEXT,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX turns_message ON turns (message_id);
CREATE INDEX turns_session ON turns (session_id, id);
CREATE INDEX turns_running ON turns (id) WHERE state = 'running';

CREATE TABLE steps (
    id          TEXT PRIMARY KEY,
    turn_id     TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    ordinal     INTEGER NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('model', 'tool')),
    status      TEXT NOT NULL CHECK (status IN
                ('running', 'ok', 'failed', 'interrupted', 'cancelled', 'refused')),
    -- model: provider/model; tool: its name
    name        TEXT NOT NULL,
    -- tool: the provider's id of the call
    call_id     TEXT,
    -- tool: the arguments as JSON
    input       TEXT,
    -- model: what it said and which calls it asked for, as JSON; tool: the result for the model
    output      TEXT,
    -- tool: the result for people and programs, as JSON
    detail      TEXT,
    usage       TEXT,
    started_at  INTEGER NOT NULL,
    first_token_at INTEGER,
    finished_at INTEGER,
    UNIQUE (turn_id, ordinal)
) STRICT;

CREATE TABLE messages (
    n          INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    turn_id    TEXT,
    role       TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    -- 'turn' or 'reminder': where it came from
    origin     TEXT NOT NULL DEFAULT 'turn',
    status     TEXT NOT NULL DEFAULT 'ok' CHECK (status IN ('ok', 'failed', 'cancelled')),
    content    TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_session ON messages (session_id, id);

CREATE TABLE blobs (
    id         TEXT PRIMARY KEY,
    message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    data       BLOB NOT NULL
) STRICT;
CREATE INDEX blobs_message ON blobs (message_id);

CREATE TABLE outbox (
    id              TEXT PRIMARY KEY,        -- the message id of the answer
    session_id      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    turn_id         TEXT,
    in_reply_to     TEXT,
    connector       TEXT NOT NULL,
    account         TEXT NOT NULL,
    chat            TEXT NOT NULL,
    external_user   TEXT NOT NULL,
    text            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN
                    ('prepared', 'sending', 'delivered', 'ambiguous', 'retry', 'dead', 'expired')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_at         INTEGER NOT NULL,
    last_error      TEXT,
    receipt         TEXT,
    created_at      INTEGER NOT NULL,
    finished_at     INTEGER
) STRICT;
CREATE INDEX outbox_open ON outbox (next_at) WHERE state IN ('prepared', 'sending', 'ambiguous', 'retry');
CREATE INDEX outbox_session ON outbox (session_id);
CREATE INDEX outbox_turn ON outbox (turn_id);

-- What observers of a session were shown; replayed to a page that reconnects.
CREATE TABLE frames (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    seq        INTEGER NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage (
    id            TEXT PRIMARY KEY,
    turn_id       TEXT,
    session_id    TEXT,
    user_id       TEXT,
    channel       TEXT NOT NULL,
    provider      TEXT NOT NULL,
    model         TEXT NOT NULL,
    input_tokens  INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    estimated     INTEGER NOT NULL,
    -- billionths of a dollar; NULL where no price is known
    cost_nanousd  INTEGER,
    at            INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_at ON usage (at);

CREATE TABLE skills (
    name         TEXT PRIMARY KEY,
    version      TEXT NOT NULL,
    location     TEXT NOT NULL,
    permissions  TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    trusted_hash TEXT,
    trusted_by   TEXT,
    trusted_at   INTEGER,
    enabled      INTEGER NOT NULL DEFAULT 1,
    updated_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
    id          TEXT PRIMARY KEY,
    session_id  TEXT,
    turn_id     TEXT,
    skill       TEXT NOT NULL,
    input       TEXT NOT NULL,
    output      TEXT,
    status      TEXT NOT NULL CHECK (status IN
                ('running', 'ok', 'failed', 'interrupted', 'cancelled', 'refused')),
    error       TEXT,
    sandbox     TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX tasks_recent ON tasks (id DESC);
CREATE INDEX tasks_running ON tasks (id) WHERE status = 'running';

CREATE TABLE schedules (
    id            TEXT PRIMARY KEY,
    session_id    TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    user_id       TEXT NOT NULL REFERENCES users (id),
    connector     TEXT NOT NULL,
    account       TEXT NOT NULL,
    chat          TEXT NOT NULL,
    external_user TEXT NOT NULL,
    -- 'reminder' says the text; 'skill' runs a skill; 'prompt' asks the agent
    kind          TEXT NOT NULL CHECK (kind IN ('reminder', 'skill', 'prompt')),
    skill         TEXT,
    input         TEXT NOT NULL,
    cron          TEXT,
    time_zone     TEXT NOT NULL,
    next_at       INTEGER,
    enabled       INTEGER NOT NULL DEFAULT 1,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX schedules_due ON schedules (next_at) WHERE enabled = 1;
CREATE INDEX schedules_session ON schedules (session_id);

-- One row for every expected firing.
CREATE TABLE fires (
    schedule_id TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
    slot        INTEGER NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome IN ('ran', 'skipped', 'missed')),
    reason      TEXT,
    at          INTEGER NOT NULL,
    PRIMARY KEY (schedule_id, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE memories (
    n          INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    person_id  TEXT NOT NULL,
    text       TEXT NOT NULL,
    -- the message it came from
    source     TEXT,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX memories_person ON memories (person_id, id);

-- Words of facts and messages.
CREATE VIRTUAL TABLE memories_words USING fts5 (
    text, content = 'memories', content_rowid = 'n', tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER memories_in AFTER INSERT ON memories BEGIN
    INSERT INTO memories_words (rowid, text) VALUES (new.n, new.text);
END;
CREATE TRIGGER memories_out AFTER DELETE ON memories BEGIN
    INSERT INTO memories_words (memories_words, rowid, text) VALUES ('delete', old.n, old.text);
END;

CREATE VIRTUAL TABLE messages_words USING fts5 (
    content, content = 'messages', content_rowid = 'n', tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER messages_in AFTER INSERT ON messages BEGIN
    INSERT INTO messages_words (rowid, content) VALUES (new.n, new.content);
END;
CREATE TRIGGER messages_out AFTER DELETE ON messages BEGIN
    INSERT INTO messages_words (messages_words, rowid, content) VALUES ('delete', old.n, old.content);
END;

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
