-- A record of usage_record took 380 bytes with its index, most of them the same in thousands of
-- records. Here a record is numbers; what many records say alike is kept once.

-- What has a number, of a project: itself (what 0, name empty), a session (what 1, its id) and what
-- records share (what 2).
CREATE TABLE usage_name (
    id      INTEGER PRIMARY KEY,
    project TEXT    NOT NULL,
    what    INTEGER NOT NULL,
    name    BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX usage_name_of ON usage_name (project, what, name);

-- The key is nearly in the order of insertion, so that records are written behind each other.
CREATE TABLE usage_row (
    project INTEGER NOT NULL, -- usage_name
    at      INTEGER NOT NULL, -- Unix milliseconds
    owner   ANY     NOT NULL, -- usage_name of the session, or the UUID of a call that has none
    place   INTEGER NOT NULL, -- the event's seq and the index behind it, see journal.UsageName; 0: of a call
    shared  INTEGER NOT NULL, -- usage_name
    data    BLOB    NOT NULL,
    PRIMARY KEY (project, at, owner, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_row_session ON usage_row (owner, at, place) WHERE place > 0;

-- Records of before keep their JSON, and share nothing. Their ids are usage_SESSION_SEQ_INDEX, or
-- usage_UUID of a call without a session.
INSERT INTO usage_name (project, what, name) SELECT DISTINCT project, 0, x'' FROM usage_record;
INSERT INTO usage_name (project, what, name) SELECT DISTINCT project, 1, CAST(session AS BLOB) FROM usage_record WHERE session <> '';
INSERT INTO usage_name (project, what, name) SELECT DISTINCT project, 2, x'' FROM usage_record;
INSERT OR IGNORE INTO usage_row (project, at, owner, place, shared, data)
SELECT p.id, r.at, CASE WHEN r.session = '' THEN unhex(substr(r.id, 7)) ELSE s.id END,
    CASE WHEN r.session = '' THEN 0 ELSE
        16 * CAST(substr(r.tail, 1, instr(r.tail, '_') - 1) AS INTEGER) + CAST(substr(r.tail, instr(r.tail, '_') + 1) AS INTEGER) END,
    d.id, r.data
FROM (SELECT *, substr(id, 8 + length(session) - length('sess_')) AS tail FROM usage_record) r
JOIN usage_name p ON p.project = r.project AND p.what = 0
JOIN usage_name d ON d.project = r.project AND d.what = 2 AND d.name = x''
LEFT JOIN usage_name s ON s.project = r.project AND s.what = 1 AND s.name = CAST(r.session AS BLOB)
ORDER BY r.project, r.at;

DROP TABLE usage_record;
