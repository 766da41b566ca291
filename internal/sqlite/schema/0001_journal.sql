-- One row a session. What changes with every append (the tail, the epoch of a running lease) is not
-- here but in the newest row of the log, so that an append touches one table only.
CREATE TABLE session (
    id           INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: a reader that resolved it before a Delete finds nothing, not a stranger's log
    project      TEXT    NOT NULL,
    session      TEXT    NOT NULL,
    agent        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,            -- Unix milliseconds
    creation_key TEXT    NOT NULL DEFAULT '', -- to delete the creation's receipt with the session
    epoch        INTEGER NOT NULL DEFAULT 0,  -- of the last release; the log's newest row may have a greater one
    due_at       INTEGER,                     -- NULL: idle; > 0: due from then on; < 0: work under way, begun at -due_at
    status       TEXT    NOT NULL DEFAULT '',
    metadata     TEXT    NOT NULL DEFAULT '{}',
    last_active  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX session_key ON session (project, session);
CREATE INDEX session_agent ON session (project, agent, session);
CREATE INDEX session_due ON session (due_at) WHERE due_at IS NOT NULL;

-- One row an append, in order of insertion and without an index: frame.go has the form of events.
CREATE TABLE log (
    id      INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    first   INTEGER NOT NULL, -- seq of its first event
    last    INTEGER NOT NULL, -- seq of its last event
    epoch   INTEGER NOT NULL, -- of the session at that moment
    events  BLOB    NOT NULL
) STRICT;

-- Where a session's log rows are, up to the row that mark names; the committer keeps the places of
-- later rows in memory and moves them here by the thousand. place.go has the form of places.
CREATE TABLE extent (
    session INTEGER NOT NULL,
    first   INTEGER NOT NULL, -- seq of its first event
    last    INTEGER NOT NULL, -- seq of its last event
    epoch   INTEGER NOT NULL, -- of its last row
    places  BLOB    NOT NULL,
    PRIMARY KEY (session, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE mark (log INTEGER NOT NULL) STRICT; -- one row: the last log row that extents hold
INSERT INTO mark VALUES (0);

-- The receipts that idempotency keys gave. Scope is the session, or '' for the project's creations.
CREATE TABLE receipt (
    project TEXT    NOT NULL,
    scope   TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    digest  TEXT    NOT NULL,
    session TEXT    NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    PRIMARY KEY (project, scope, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshot (
    session INTEGER PRIMARY KEY,
    seq     INTEGER NOT NULL,
    data    BLOB    NOT NULL
) STRICT;

CREATE TABLE agent (
    project    TEXT    NOT NULL,
    agent      TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL, -- Unix milliseconds, of version 1
    updated_at INTEGER NOT NULL, -- Unix milliseconds, of this version
    spec       TEXT    NOT NULL,
    PRIMARY KEY (project, agent, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent_key (
    project TEXT NOT NULL,
    key     TEXT NOT NULL,
    digest  TEXT NOT NULL,
    agent   TEXT NOT NULL,
    PRIMARY KEY (project, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_key_agent ON agent_key (project, agent);
