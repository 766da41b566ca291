-- What a session was shown of a memory that is forgotten is taken out of its journal too.
ALTER TABLE memory_shown
    ADD COLUMN unshow bigint NOT NULL DEFAULT 0, -- when it is to be, Unix milliseconds; 0: not, or it was
    ADD COLUMN cause text COLLATE "C" NOT NULL DEFAULT ''; -- id of the erasure that it was forgotten for; '': of none
UPDATE memory_shown SET unshow = 1 WHERE forgotten > 0;
CREATE INDEX memory_shown_unshow ON memory_shown (unshow) WHERE unshow > 0;
CREATE INDEX memory_shown_cause ON memory_shown (project_id, cause, session_id) WHERE cause <> '';
