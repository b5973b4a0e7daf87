-- Who may talk and where: roles that the owner gave or a list says, people who ask to be let in,
-- rooms; what becomes of a message that its sender changes or deletes.

-- The role that the owner gave the account; none where the lists of the configuration decide alone.
ALTER TABLE users ADD COLUMN granted TEXT CHECK (granted IN ('owner', 'member', 'viewer'));
-- What the lists of its door said of it the last time.
ALTER TABLE users ADD COLUMN listed TEXT CHECK (listed IN ('operator', 'listed'));
ALTER TABLE users ADD COLUMN seen_at INTEGER;
-- Since when it may not talk any more.
ALTER TABLE users ADD COLUMN removed_at INTEGER;

-- Strangers who wrote, and wait for the owner's word.
CREATE TABLE pairings (
    id              TEXT PRIMARY KEY,
    connector       TEXT NOT NULL,
    account         TEXT NOT NULL,
    chat            TEXT NOT NULL,
    external_user   TEXT NOT NULL,
    name            TEXT NOT NULL,
    -- SHA-256 of id and code; the code is in the letter alone, for as long as this is pending.
    code_hash       BLOB NOT NULL,
    -- The conversation that the letter belongs to; no list shows it.
    session_id      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- The newest letter in the outbox.
    letter          TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('pending', 'denied')),
    told_at         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    UNIQUE (connector, account, external_user)
) STRICT;

-- What a room is called, and the tools and skills that may be used in it, as a JSON list; both none
-- in a conversation of two.
ALTER TABLE sessions ADD COLUMN room TEXT;
ALTER TABLE sessions ADD COLUMN room_skills TEXT;

-- What a model is told before the text: who speaks, what it replies to, which files came with it.
ALTER TABLE inbox ADD COLUMN preface TEXT NOT NULL DEFAULT '';
ALTER TABLE inbox ADD COLUMN deleted_at INTEGER;
ALTER TABLE messages ADD COLUMN preface TEXT NOT NULL DEFAULT '';
-- Whose words it quotes, where they are neither the agent's nor the sender's own.
ALTER TABLE messages ADD COLUMN quoted TEXT;
ALTER TABLE messages ADD COLUMN edited_at INTEGER;
ALTER TABLE messages ADD COLUMN deleted_at INTEGER;

CREATE TRIGGER messages_changed AFTER UPDATE OF content ON messages BEGIN
    INSERT INTO messages_words (messages_words, rowid, content) VALUES ('delete', old.n, old.content);
    INSERT INTO messages_words (rowid, content) VALUES (new.n, new.content);
END;
