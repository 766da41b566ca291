-- A log may begin behind a checkpoint: base is the tree (audit.Tree.Bytes) of the records before, of which there are pruned.
-- Records behind that are never removed, and none is ever changed.
ALTER TABLE audit_logs ADD COLUMN pruned bigint NOT NULL DEFAULT 0, ADD COLUMN base bytea NOT NULL DEFAULT '';

DROP TRIGGER audit_records_stay ON audit_records;

CREATE FUNCTION audit_records_pruned() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF OLD.seq > coalesce((SELECT pruned FROM audit_logs WHERE project_id = OLD.project_id), 0) THEN
        RAISE EXCEPTION 'audit records are neither changed nor removed';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER audit_records_stay BEFORE UPDATE OR TRUNCATE ON audit_records FOR EACH STATEMENT EXECUTE FUNCTION audit_records_stay();
CREATE TRIGGER audit_records_pruned BEFORE DELETE ON audit_records FOR EACH ROW EXECUTE FUNCTION audit_records_pruned();
