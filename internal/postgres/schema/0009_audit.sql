-- Audit logs. Records and notes only grow: what was recorded is never changed nor removed.
CREATE TABLE audit_logs (
    project_id text COLLATE "C" PRIMARY KEY,
    size       bigint NOT NULL DEFAULT 0,     -- records
    tree       bytea NOT NULL DEFAULT '',     -- audit.Tree.Bytes
    signed     bigint NOT NULL DEFAULT 0      -- size of the largest checkpoint
) WITH (fillfactor = 50);

CREATE TABLE audit_records (
    project_id text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    data       bytea NOT NULL,                -- the bytes that are hashed
    PRIMARY KEY (project_id, seq)
);

CREATE FUNCTION audit_records_stay() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'audit records are neither changed nor removed'; END $$;

CREATE TRIGGER audit_records_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_records
    FOR EACH STATEMENT EXECUTE FUNCTION audit_records_stay();

CREATE TABLE audit_notes (
    project_id text COLLATE "C" NOT NULL,
    size       bigint NOT NULL,
    note       text NOT NULL,                 -- a signed checkpoint
    PRIMARY KEY (project_id, size)
);
