-- Which sessions were shown a memory, so that what they made of it is found when it is forgotten.
CREATE TABLE memory_shown (
    project_id text COLLATE "C" NOT NULL,
    store_id   text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    at         bigint NOT NULL, -- the session's last event when it was shown first
    forgotten  bigint NOT NULL DEFAULT 0, -- when it was, Unix milliseconds; 0: it is there
    due        bigint NOT NULL DEFAULT 0, -- when what was made of it is looked for, Unix milliseconds; 0: not
    PRIMARY KEY (project_id, store_id, id, session_id)
);
CREATE INDEX memory_shown_by_session ON memory_shown (project_id, session_id);
CREATE INDEX memory_shown_due ON memory_shown (due) WHERE due > 0;
