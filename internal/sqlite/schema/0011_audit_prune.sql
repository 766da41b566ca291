-- A log may begin behind a checkpoint: base is the tree (audit.Tree.Bytes) of the records before, of which there are pruned.
-- Records behind that are never removed, and none is ever changed.
ALTER TABLE audit_log ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit_log ADD COLUMN base BLOB NOT NULL DEFAULT x'';
DROP TRIGGER audit_record_stays;
CREATE TRIGGER audit_record_stays BEFORE DELETE ON audit_record
WHEN OLD.seq > ifnull((SELECT pruned FROM audit_log WHERE project = OLD.project), 0)
BEGIN SELECT RAISE(ABORT, 'audit records are not removed'); END;
