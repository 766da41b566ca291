-- What people wrote into audit records. It stands beside the log, whose records have a digest of it and of its salt, so that it can be
-- erased while the log stays as it was: see audit.Text.
CREATE TABLE audit_text (
    project TEXT NOT NULL,
    digest  BLOB NOT NULL,                -- SHA-256 of salt and text
    session BLOB NOT NULL,                -- of the record; empty: of none
    people  BLOB NOT NULL,                -- audit.JoinPeople
    salt    BLOB NOT NULL,
    text    BLOB NOT NULL,
    PRIMARY KEY (project, digest)
) WITHOUT ROWID;

CREATE INDEX audit_text_session ON audit_text (project, session) WHERE session <> x'';
