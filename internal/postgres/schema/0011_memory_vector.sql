-- What an embedding model made of memories' texts: see package memory. A space is a model with its dimensions.
CREATE TABLE memory_vectors (
    project_id text COLLATE "C" NOT NULL,
    store_id   text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    space      text COLLATE "C" NOT NULL,
    revision   bigint NOT NULL, -- of the memory that it was made of
    digest     bytea  NOT NULL, -- of the text
    data       bytea  NOT NULL,
    PRIMARY KEY (project_id, store_id, id, space)
);
CREATE INDEX memory_vectors_by_revision ON memory_vectors (project_id, store_id, space, revision);

-- How far a store is in a space: every revision up to this one has its vector.
CREATE TABLE memory_vector_heads (
    project_id text COLLATE "C" NOT NULL,
    store_id   text COLLATE "C" NOT NULL,
    space      text COLLATE "C" NOT NULL,
    revision   bigint NOT NULL,
    epoch      bigint NOT NULL, -- of the worker that has it, rising
    due        bigint NOT NULL, -- when another may take it, Unix milliseconds
    failures   bigint NOT NULL, -- in a row
    PRIMARY KEY (project_id, store_id, space)
);
