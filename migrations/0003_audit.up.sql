-- The audit becomes a chain in which a change shows; events are counted apart from it; each try of a
-- delivery is kept.

-- Where it came from: a door and a peer, or a channel and a chat.
ALTER TABLE audit ADD COLUMN origin TEXT NOT NULL DEFAULT '';
-- Who allowed it, where that is somebody else than the actor.
ALTER TABLE audit ADD COLUMN decided_by TEXT;
-- SHA-256 over the hash before it and this row. Rows from before have none; the first one that has
-- a hash binds them all.
ALTER TABLE audit ADD COLUMN prev BLOB;
ALTER TABLE audit ADD COLUMN hash BLOB;

CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_action ON audit (action, id);
CREATE INDEX audit_object ON audit (object, id);

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit is append only');
END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit is append only');
END;

-- What happened, for counting. No texts of messages, and no reference that a deleted session breaks.
CREATE TABLE analytics (
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    event      TEXT NOT NULL,
    session_id TEXT,
    turn_id    TEXT,
    user_id    TEXT,
    properties TEXT NOT NULL
) STRICT;
CREATE INDEX analytics_at ON analytics (at);
CREATE INDEX analytics_event ON analytics (event, at);

-- Tries of a delivery.
CREATE TABLE attempts (
    parcel_id  TEXT NOT NULL REFERENCES outbox (id) ON DELETE CASCADE,
    n          INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    ended_at   INTEGER,
    -- 'sending', or how it ended: the state of the parcel after it
    outcome    TEXT NOT NULL,
    error      TEXT,
    PRIMARY KEY (parcel_id, n)
) STRICT, WITHOUT ROWID;
