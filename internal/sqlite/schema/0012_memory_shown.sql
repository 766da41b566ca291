-- Which sessions were shown a memory, so that what they made of it is found when it is forgotten.
CREATE TABLE memory_shown (
    project   TEXT    NOT NULL,
    store     TEXT    NOT NULL,
    id        TEXT    NOT NULL,
    session   TEXT    NOT NULL,
    at        INTEGER NOT NULL, -- the session's last event when it was shown first
    forgotten INTEGER NOT NULL DEFAULT 0, -- when it was, Unix milliseconds; 0: it is there
    due       INTEGER NOT NULL DEFAULT 0, -- when what was made of it is looked for, Unix milliseconds; 0: not
    PRIMARY KEY (project, store, id, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX memory_shown_session ON memory_shown (project, session);
CREATE INDEX memory_shown_due ON memory_shown (due) WHERE due > 0;
