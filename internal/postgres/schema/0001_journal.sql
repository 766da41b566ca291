-- One row a node that ever beat. A node is alive until expires_at, by this database's clock.
CREATE TABLE nodes (
    id         text COLLATE "C" PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- What every append reads and writes of a session, kept narrow: the rest is in sessions. The free
-- space lets most updates stay in their page and touch no index.
CREATE TABLE heads (
    project_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    birth      bigint NOT NULL,           -- random: tells this session from one of the same id before or beside it
    tail       bigint NOT NULL DEFAULT 0,
    epoch      bigint NOT NULL DEFAULT 0,
    holder     text COLLATE "C",          -- node id; NULL: nobody
    granted_by bigint,                    -- random number of the acquisition that made it the holder
    due_at     bigint,                    -- Unix milliseconds; NULL: not by itself, or held
    PRIMARY KEY (project_id, session_id)
) WITH (fillfactor = 60);

CREATE INDEX heads_due ON heads (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX heads_held ON heads (holder) WHERE holder IS NOT NULL;

-- What lists show and filter by.
CREATE TABLE sessions (
    project_id  text COLLATE "C" NOT NULL,
    session_id  text COLLATE "C" NOT NULL,
    agent_id    text COLLATE "C" NOT NULL,
    created_at  bigint NOT NULL,
    status      text COLLATE "C" NOT NULL,
    metadata    bytea[] NOT NULL,         -- each pair as the JSON array ["key","value"]: bytes, since text holds no NUL
    last_active bigint NOT NULL,
    PRIMARY KEY (project_id, session_id)
);

CREATE INDEX sessions_by_agent ON sessions (project_id, agent_id, session_id);

-- The log. Rows up to a page stay whole: moving a 2 KB event out of line costs more than it saves.
CREATE TABLE events (
    project_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    at         bigint NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    data       bytea,
    PRIMARY KEY (project_id, session_id, seq)
) WITH (toast_tuple_target = 8160);

-- Idempotency: the receipts that keys gave, of sends and of creations.
CREATE TABLE session_keys (
    project_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    key        bytea NOT NULL,
    digest     bytea NOT NULL,
    first_seq  bigint NOT NULL,
    last_seq   bigint NOT NULL,
    PRIMARY KEY (project_id, session_id, key)
);

CREATE TABLE creation_keys (
    project_id text COLLATE "C" NOT NULL,
    key        bytea NOT NULL,
    digest     bytea NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    last_seq   bigint NOT NULL,
    PRIMARY KEY (project_id, key)
);

CREATE INDEX creation_keys_by_session ON creation_keys (project_id, session_id);

CREATE TABLE snapshots (
    project_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    data       bytea NOT NULL,
    PRIMARY KEY (project_id, session_id)
);

CREATE TABLE agents (
    project_id text COLLATE "C" NOT NULL,
    agent_id   text COLLATE "C" NOT NULL,
    version    integer NOT NULL,          -- the newest
    created_at bigint NOT NULL,
    PRIMARY KEY (project_id, agent_id)
);

CREATE TABLE agent_versions (
    project_id text COLLATE "C" NOT NULL,
    agent_id   text COLLATE "C" NOT NULL,
    version    integer NOT NULL,
    updated_at bigint NOT NULL,
    spec       bytea NOT NULL,            -- JSON, as bytes: jsonb holds no NUL
    PRIMARY KEY (project_id, agent_id, version)
);

CREATE TABLE agent_keys (
    project_id text COLLATE "C" NOT NULL,
    key        bytea NOT NULL,
    digest     bytea NOT NULL,
    agent_id   text COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, key)
);

CREATE INDEX agent_keys_by_agent ON agent_keys (project_id, agent_id);
