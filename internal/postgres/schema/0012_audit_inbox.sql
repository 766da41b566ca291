-- Drafts of audit records that came with the appends of sessions, in their transactions. They have no place in a log
-- yet: an append that took one would wait for every other of its project.
CREATE TABLE audit_inbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    draft      bytea NOT NULL
);
