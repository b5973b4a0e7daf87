-- What was looked at when a skill was trusted: a later change of it is shown against this.
CREATE TABLE skill_files (
    skill  TEXT NOT NULL REFERENCES skills (name) ON DELETE CASCADE,
    path   TEXT NOT NULL,
    -- as git writes it: 33188 a file (100644), 33261 a program (100755), 40960 a link (120000)
    mode   INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    size   INTEGER NOT NULL,
    -- its text, or where a link leads; NULL where it is no text or too large to be kept
    text   TEXT,
    PRIMARY KEY (skill, path)
) STRICT, WITHOUT ROWID;

-- Every content of a skill of ours that was ever found unchanged here. One that a newer version
-- no longer ships is an old copy that nobody edited.
CREATE TABLE shipped_skills (
    folder TEXT NOT NULL,
    hash   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (folder, hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX tasks_skill ON tasks (skill, created_at);
