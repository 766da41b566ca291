-- Which sessions a memory comes from, so that what was derived from one is found by its id.
CREATE TABLE memory_origin (
    project TEXT NOT NULL,
    session TEXT NOT NULL,
    store   TEXT NOT NULL,
    id      TEXT NOT NULL,
    PRIMARY KEY (project, session, store, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX memory_origin_id ON memory_origin (project, store, id);

INSERT INTO memory_origin (project, session, store, id)
SELECT DISTINCT project, session, store, id FROM (
    SELECT project, json_extract(CASE WHEN json_valid(data) THEN data ELSE '{}' END, '$.source.session_id') AS session, store, id FROM memory
    UNION ALL
    SELECT m.project, json_extract(s.value, '$.session_id'), m.store, m.id FROM memory m, json_each(CASE WHEN json_valid(m.data) THEN m.data ELSE '{}' END, '$.sources') s
) WHERE session IS NOT NULL AND session <> '';
