-- Calls that a person decides about, and lasting decisions. Where what was said came from.

CREATE TABLE approvals (
    id          TEXT PRIMARY KEY,
    session_id  TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    turn_id     TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    step_id     TEXT NOT NULL,
    call_id     TEXT NOT NULL,
    -- Who the call is for, and the person behind that account.
    user_id     TEXT NOT NULL REFERENCES users (id),
    person_id   TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('call', 'plan')),
    tool        TEXT NOT NULL,
    -- Hash of the skill; empty for a built-in tool.
    hash        TEXT NOT NULL,
    args        TEXT NOT NULL,
    -- SHA-256 of tool, arguments, hash and session: what is run is what was approved.
    fingerprint TEXT NOT NULL,
    effects     TEXT NOT NULL,
    -- For the person: what it does, why it asks, the command or the change of a file.
    summary     TEXT NOT NULL,
    reason      TEXT NOT NULL,
    source      TEXT,
    command     TEXT,
    diff        TEXT,
    -- What a lasting answer would allow, as JSON; none where there is none to give.
    pattern     TEXT,
    gated       INTEGER NOT NULL,
    who         TEXT NOT NULL CHECK (who IN ('owner', 'asker')),
    state       TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'cancelled')),
    decision    TEXT,
    -- Of a plan: the steps that were approved.
    steps       TEXT,
    note        TEXT,
    decided_by  TEXT,
    decided_via TEXT,
    decided_at  INTEGER,
    -- When the approved call began: it runs once.
    used_at     INTEGER,
    -- The message with which an expired one was asked again.
    reopened_by TEXT,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX approvals_pending ON approvals (expires_at) WHERE state = 'pending';
CREATE INDEX approvals_turn ON approvals (turn_id);
CREATE INDEX approvals_session ON approvals (session_id);
CREATE INDEX approvals_reopened ON approvals (reopened_by) WHERE reopened_by IS NOT NULL;

CREATE TABLE grants (
    id          TEXT PRIMARY KEY,
    -- For one conversation, or for all of a person's.
    session_id  TEXT REFERENCES sessions (id) ON DELETE CASCADE,
    person_id   TEXT NOT NULL,
    tool        TEXT NOT NULL,
    hash        TEXT NOT NULL,
    pattern     TEXT NOT NULL,
    -- Whether it also holds for calls that the flow gate asks about.
    gated       INTEGER NOT NULL,
    approval_id TEXT,
    made_by     TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER,
    used        INTEGER NOT NULL DEFAULT 0,
    used_at     INTEGER
) STRICT;
CREATE INDEX grants_tool ON grants (tool) WHERE revoked_at IS NULL;

-- A turn that waits for a person, since when, and how long it has waited in all.
ALTER TABLE turns ADD COLUMN parked_at INTEGER;
ALTER TABLE turns ADD COLUMN waited INTEGER NOT NULL DEFAULT 0;

-- A call that was asked for and did not begin: it waits for a person.
ALTER TABLE steps ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
-- The effects that its tool had, and where its result came from.
ALTER TABLE steps ADD COLUMN effects TEXT;
ALTER TABLE steps ADD COLUMN provenance TEXT;

-- Who said it; none for the agent's own words.
ALTER TABLE messages ADD COLUMN provenance TEXT;
-- Whether a plan is wanted first.
ALTER TABLE inbox ADD COLUMN plan INTEGER NOT NULL DEFAULT 0;
-- What brought outside content into the files of its workspace.
ALTER TABLE sessions ADD COLUMN tainted TEXT;

UPDATE messages SET provenance = coalesce(
    (SELECT CASE u.role WHEN 'owner' THEN 'owner' ELSE 'stranger' END
     FROM inbox i JOIN users u ON u.id = i.user_id WHERE i.id = messages.id), 'stranger')
WHERE role = 'user';
