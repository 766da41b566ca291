-- What agents remember: see package memory. One row an entry; data NULL: forgotten.
CREATE TABLE memories (
    project_id text COLLATE "C" NOT NULL,
    store_id   text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    revision   bigint NOT NULL,
    created_at bigint NOT NULL, -- Unix milliseconds
    updated_at bigint NOT NULL,
    expires_at bigint,          -- NULL: never
    data       bytea,           -- JSON, as bytes: jsonb holds no NUL
    PRIMARY KEY (project_id, store_id, id)
);
CREATE INDEX memories_by_revision ON memories (project_id, store_id, revision);
CREATE INDEX memories_by_expiry ON memories (expires_at) WHERE expires_at IS NOT NULL;

-- The versions before the present one.
CREATE TABLE memory_versions (
    project_id text COLLATE "C" NOT NULL,
    store_id   text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    revision   bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    expires_at bigint,
    data       bytea NOT NULL,
    PRIMARY KEY (project_id, store_id, id, version)
);

CREATE TABLE memory_keys (
    project_id text COLLATE "C" NOT NULL,
    store_id   text COLLATE "C" NOT NULL,
    key        bytea NOT NULL,
    digest     bytea NOT NULL,
    id         text COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, store_id, key)
);
CREATE INDEX memory_keys_by_id ON memory_keys (project_id, store_id, id);

-- The last revision of each store. A writer holds its store's row until it has committed: revisions
-- become visible in their order.
CREATE TABLE memory_heads (
    project_id text COLLATE "C" NOT NULL,
    store_id   text COLLATE "C" NOT NULL,
    revision   bigint NOT NULL,
    PRIMARY KEY (project_id, store_id)
);
