-- The type of a session's environment, '' for none, so that environments can be listed.
ALTER TABLE sessions ADD COLUMN environment text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX sessions_with_environment ON sessions (project_id, session_id) WHERE environment <> '';
