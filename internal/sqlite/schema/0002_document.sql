-- What is configured and not journaled: see package document.
CREATE TABLE document (
    project    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL, -- Unix milliseconds, of version 1
    updated_at INTEGER NOT NULL, -- Unix milliseconds, of this version
    expires_at INTEGER,          -- Unix milliseconds; NULL: never
    tag        TEXT    NOT NULL,
    data       TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX document_id ON document (project, kind, id);
CREATE INDEX document_tag ON document (project, kind, tag, id);
CREATE INDEX document_expiry ON document (kind, expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE document_key (
    project TEXT NOT NULL,
    kind    TEXT NOT NULL,
    key     BLOB NOT NULL,
    digest  TEXT NOT NULL,
    id      TEXT NOT NULL,
    PRIMARY KEY (project, kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX document_key_id ON document_key (project, kind, id);
