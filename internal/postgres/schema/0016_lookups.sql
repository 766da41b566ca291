-- An index that begins like a primary key looks as good to the planner as that key, where statistics are missing
-- or those of one store stand for all: reads by id then went through every row of the store. These begin
-- with another column, or serve only who asks for revisions (which count from 1).
DROP INDEX memories_by_revision;
CREATE INDEX memories_by_revision ON memories (project_id, store_id, revision) WHERE revision > 0;
DROP INDEX memory_vectors_by_revision;
CREATE INDEX memory_vectors_by_revision ON memory_vectors (project_id, store_id, space, revision) WHERE revision > 0;
DROP INDEX memory_keys_by_id;
CREATE INDEX memory_keys_by_id ON memory_keys (id, store_id, project_id);
DROP INDEX documents_by_tag;
CREATE INDEX documents_by_tag ON documents (tag, kind, project_id, id);
DROP INDEX document_keys_by_id;
CREATE INDEX document_keys_by_id ON document_keys (id, kind, project_id);
