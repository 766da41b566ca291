-- What agents remember: see package memory. One row an entry; data NULL: forgotten.
CREATE TABLE memory (
    project    TEXT    NOT NULL,
    store      TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL, -- Unix milliseconds
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,          -- NULL: never
    data       TEXT
) STRICT;
CREATE UNIQUE INDEX memory_id ON memory (project, store, id);
CREATE UNIQUE INDEX memory_revision ON memory (project, store, revision);
CREATE INDEX memory_expiry ON memory (expires_at) WHERE expires_at IS NOT NULL;

-- The versions before the present one.
CREATE TABLE memory_version (
    project    TEXT    NOT NULL,
    store      TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    data       TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX memory_version_id ON memory_version (project, store, id, version);

CREATE TABLE memory_key (
    project TEXT NOT NULL,
    store   TEXT NOT NULL,
    key     BLOB NOT NULL,
    digest  TEXT NOT NULL,
    id      TEXT NOT NULL,
    PRIMARY KEY (project, store, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX memory_key_id ON memory_key (project, store, id);

-- The last revision of each store.
CREATE TABLE memory_head (
    project  TEXT    NOT NULL,
    store    TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (project, store)
) STRICT, WITHOUT ROWID;
