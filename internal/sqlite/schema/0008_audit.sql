-- Audit logs. Both tables only grow: what was recorded is never changed nor removed.
CREATE TABLE audit_log (
    project TEXT PRIMARY KEY,
    size    INTEGER NOT NULL,             -- records
    tree    BLOB NOT NULL,                -- audit.Tree.Bytes
    signed  INTEGER NOT NULL DEFAULT 0    -- size of the largest checkpoint
) WITHOUT ROWID;

CREATE INDEX audit_unsigned ON audit_log (project) WHERE size > signed;

CREATE TABLE audit_record (
    project TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    data    BLOB NOT NULL,                -- the bytes that are hashed
    PRIMARY KEY (project, seq)
) WITHOUT ROWID;

CREATE TRIGGER audit_record_stays BEFORE DELETE ON audit_record BEGIN SELECT RAISE(ABORT, 'audit records are not removed'); END;
CREATE TRIGGER audit_record_holds BEFORE UPDATE ON audit_record BEGIN SELECT RAISE(ABORT, 'audit records are not changed'); END;

CREATE TABLE audit_note (
    project TEXT NOT NULL,
    size    INTEGER NOT NULL,
    note    TEXT NOT NULL,                -- a signed checkpoint
    PRIMARY KEY (project, size)
) WITHOUT ROWID;
