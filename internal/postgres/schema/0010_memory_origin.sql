-- Which sessions a memory comes from, so that what was derived from one is found by its id.
CREATE TABLE memory_origins (
    project_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    store_id   text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, session_id, store_id, id)
);
CREATE INDEX memory_origins_by_id ON memory_origins (project_id, store_id, id);

-- The text is JSON as the server wrote it: in a content a quote has a backslash in front, so that this matches sources alone.
INSERT INTO memory_origins (project_id, session_id, store_id, id)
SELECT DISTINCT m.project_id, s.found[1], m.store_id, m.id
FROM memories m, regexp_matches(convert_from(m.data, 'UTF8'), '"session_id":"([^"\\]+)"', 'g') AS s(found)
WHERE m.data IS NOT NULL;
