-- The type of a session's environment, '' for none, so that environments can be listed.
ALTER TABLE session ADD COLUMN environment TEXT NOT NULL DEFAULT '';
CREATE INDEX session_environment ON session (project, session) WHERE environment <> '';
