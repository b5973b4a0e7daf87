-- Live drafts of running turns, posts of one chat in order, questions as posts, files that turns send.

-- What shows a turn on its platform: changed while the turn runs, gone once the answer took its place.
CREATE TABLE drafts (
    turn_id   TEXT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    -- 'opening': the first request is on its way; 'open': `post` shows it; 'unknown': nobody saw
    -- what became of the first request.
    state     TEXT NOT NULL CHECK (state IN ('opening', 'open', 'unknown')),
    -- The platform's id of it.
    post      TEXT,
    opened_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What goes to one chat goes in order.
CREATE INDEX outbox_chat ON outbox (connector, account, chat, id)
    WHERE state IN ('prepared', 'sending', 'ambiguous', 'retry');
CREATE INDEX outbox_question ON outbox (approval_id, id) WHERE approval_id IS NOT NULL;

-- Files that the answer of a running turn brings along; they become blobs of its message.
CREATE TABLE files (
    turn_id    TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    -- In the workspace: a file that is sent again in the same turn counts once, as it is then.
    path       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    data       BLOB NOT NULL,
    PRIMARY KEY (turn_id, path)
) STRICT;
