-- What was used, a row a record: see package journal, usage.go. The key is nearly in the order of
-- insertion, so that records are written behind each other.
CREATE TABLE usage_records (
    project_id text COLLATE "C" NOT NULL,
    at         bigint NOT NULL,           -- Unix milliseconds
    id         text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL, -- '': of no session. It may be deleted
    data       bytea NOT NULL,            -- JSON, as bytes: jsonb holds no NUL
    PRIMARY KEY (project_id, at, id)
);

CREATE INDEX usage_by_session ON usage_records (project_id, session_id, at, id) WHERE session_id <> '';
