-- What is configured and not journaled: see package document.
CREATE TABLE documents (
    project_id text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    created_at bigint NOT NULL,           -- Unix milliseconds, of version 1
    updated_at bigint NOT NULL,           -- Unix milliseconds, of this version
    expires_at bigint,                    -- Unix milliseconds; NULL: never
    tag        text COLLATE "C" NOT NULL,
    data       bytea NOT NULL,            -- JSON, as bytes: jsonb holds no NUL
    PRIMARY KEY (project_id, kind, id)
);

CREATE INDEX documents_by_tag ON documents (project_id, kind, tag, id);
CREATE INDEX documents_by_expiry ON documents (kind, expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE document_keys (
    project_id text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    key        bytea NOT NULL,
    digest     bytea NOT NULL,
    id         text COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, kind, key)
);

CREATE INDEX document_keys_by_id ON document_keys (project_id, kind, id);
