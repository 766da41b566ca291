-- What people wrote into audit records. It stands beside the log, whose records have a digest of it and of its salt, so that it can be
-- erased while the log stays as it was: see audit.Text.
CREATE TABLE audit_texts (
    project_id text COLLATE "C" NOT NULL,
    digest     bytea NOT NULL,                -- SHA-256 of salt and text
    session    bytea NOT NULL,                -- of the record; empty: of none
    people     bytea NOT NULL,                -- audit.JoinPeople
    salt       bytea NOT NULL,
    text       bytea NOT NULL,
    PRIMARY KEY (project_id, digest)
);

CREATE INDEX audit_texts_session ON audit_texts (project_id, session) WHERE session <> '';
