-- One row an append instead of one an event: half the rows, half the index, and a statement that
-- needs to count nothing. frame.go has the form of events; for people,
--   SELECT first, last, encode(events, 'escape') FROM log WHERE ... ORDER BY last
-- shows them. The key has the last seq, so that the row which holds a seq is the first one at or after it.
CREATE TABLE log (
    project_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    last       bigint NOT NULL, -- seq of its last event
    first      bigint NOT NULL, -- seq of its first event
    events     bytea NOT NULL,
    PRIMARY KEY (project_id, session_id, last)
) WITH (toast_tuple_target = 8160);

INSERT INTO log (project_id, session_id, last, first, events)
SELECT project_id, session_id, seq, seq, int8send(at) || convert_to(kind, 'UTF8') || '\x00'
	|| int4send(octet_length(coalesce(data, ''))) || coalesce(data, '')
FROM events ORDER BY project_id, session_id, seq;

DROP TABLE events;
