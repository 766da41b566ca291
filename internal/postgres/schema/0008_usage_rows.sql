-- A record of usage_records took 600 bytes with its indexes, most of them the same in thousands of
-- records. Here a record is numbers; what many records say alike is kept once.

-- What has a number, of a project: itself (name NULL), and what records share.
CREATE TABLE usage_names (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    name       bytea
);
CREATE UNIQUE INDEX usage_names_of ON usage_names (project_id, sha256(coalesce('\x01'::bytea || name, ''))); -- a name may be longer than a key

-- No index makes a record unique: those of an append are fenced with it, others look first.
CREATE TABLE usage_rows (
    at      bigint NOT NULL,  -- Unix milliseconds
    place   bigint NOT NULL,  -- the event's seq and the index behind it, see journal.UsageName; 0: of a call
    project integer NOT NULL, -- usage_names
    shared  integer NOT NULL, -- usage_names
    owner   bytea NOT NULL,   -- the session, see packSession, or the UUID of a call that has none
    data    bytea NOT NULL
);
CREATE INDEX usage_rows_by_time ON usage_rows (project, at);
CREATE INDEX usage_rows_by_owner ON usage_rows (owner); -- the rows of an owner share one entry

-- Records of before keep their JSON, and share nothing. Their ids are usage_SESSION_SEQ_INDEX, or
-- usage_UUID of a call without a session.
INSERT INTO usage_names (project_id, name) SELECT DISTINCT project_id, NULL::bytea FROM usage_records;
INSERT INTO usage_names (project_id, name) SELECT DISTINCT project_id, ''::bytea FROM usage_records;
INSERT INTO usage_rows (at, place, project, shared, owner, data)
SELECT r.at,
	CASE WHEN r.session_id = '' THEN 0 ELSE 16 * substring(r.id FROM '_([0-9]+)_[0-9]+$')::bigint + substring(r.id FROM '_([0-9]+)$')::bigint END,
	p.id, d.id,
	CASE WHEN r.session_id = '' THEN decode(substr(r.id, 7), 'hex')
	     WHEN r.session_id ~ '^sess_[0-9a-f]{32}$' THEN decode(substr(r.session_id, 6), 'hex')
	     ELSE decode(repeat('00', greatest(1, 17 - octet_length(r.session_id))), 'hex') || convert_to(r.session_id, 'UTF8') END,
	r.data
FROM usage_records r
JOIN usage_names p ON p.project_id = r.project_id AND p.name IS NULL
JOIN usage_names d ON d.project_id = r.project_id AND d.name = ''
ORDER BY r.project_id, r.at, r.id;

DROP TABLE usage_records;
