-- What an embedding model made of memories' texts: see package memory. A space is a model with its dimensions.
CREATE TABLE memory_vector (
    project  TEXT    NOT NULL,
    store    TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    space    TEXT    NOT NULL,
    revision INTEGER NOT NULL, -- of the memory that it was made of
    digest   BLOB    NOT NULL, -- of the text
    data     BLOB    NOT NULL,
    PRIMARY KEY (project, store, id, space)
) STRICT, WITHOUT ROWID;
CREATE INDEX memory_vector_revision ON memory_vector (project, store, space, revision);

-- How far a store is in a space: every revision up to this one has its vector.
CREATE TABLE memory_vector_head (
    project  TEXT    NOT NULL,
    store    TEXT    NOT NULL,
    space    TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    epoch    INTEGER NOT NULL, -- of the worker that has it, rising
    due      INTEGER NOT NULL, -- when another may take it, Unix milliseconds
    failures INTEGER NOT NULL, -- in a row
    PRIMARY KEY (project, store, space)
) STRICT, WITHOUT ROWID;
