-- What was used, a row a record: see package journal, usage.go. The key is nearly in the order of
-- insertion, so that records are written behind each other.
CREATE TABLE usage_record (
    project TEXT    NOT NULL,
    at      INTEGER NOT NULL, -- Unix milliseconds
    id      TEXT    NOT NULL,
    session TEXT    NOT NULL, -- '': of no session. It may be deleted
    data    BLOB    NOT NULL, -- JSON
    PRIMARY KEY (project, at, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_session ON usage_record (project, session, at, id) WHERE session <> '';
