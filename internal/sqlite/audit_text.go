package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
)

// storeTexts keeps the texts of records that the group stores.
func (g *group) storeTexts(project stead.ProjectID, texts []audit.Text) error {
	for _, t := range texts {
		digest, err := hex.DecodeString(t.Digest)
		if err != nil {
			return stead.Wrap(stead.KindInternal, err, "the digest of an audit text can't be read")
		}
		if err := g.execText(context.Background(), "store audit text", `INSERT OR IGNORE INTO audit_text (project, digest, session, people, salt, text) VALUES (?, ?, ?, ?, ?, ?)`,
			string(project), digest, []byte(t.Session), audit.JoinPeople(t.People), t.Salt, []byte(t.Text)); err != nil {
			return err
		}
	}
	return nil
}

// forgetTexts removes texts, and says how many were there.
func (g *group) forgetTexts(project stead.ProjectID, digests []string) (n int, err error) {
	if len(digests) == 0 {
		return 0, nil
	}
	if err := g.begin(); err != nil {
		return 0, err
	}
	for _, d := range digests {
		digest, err := hex.DecodeString(d)
		if err != nil {
			continue // none has such a digest
		}
		res, err := g.c.conn.ExecContext(context.Background(), `DELETE FROM audit_text WHERE project = ? AND digest = ?`, string(project), digest)
		if err != nil {
			return n, failed(err, "forget audit text")
		}
		gone, err := res.RowsAffected()
		if err != nil {
			return n, failed(err, "forget audit text")
		}
		n += int(gone)
	}
	return n, nil
}

// ForgetAuditTexts implements audit.Store.
func (s *Store) ForgetAuditTexts(ctx context.Context, project stead.ProjectID, digests []string) (n int, err error) {
	if len(digests) == 0 {
		return 0, nil
	}
	err = s.do(ctx, &op{write: func(g *group) (err error) {
		n, err = g.forgetTexts(project, digests)
		return err
	}})
	return n, err
}

// AuditTexts implements audit.Store.
func (s *Store) AuditTexts(ctx context.Context, project stead.ProjectID, q audit.TextQuery) ([]audit.Text, error) {
	const columns = `SELECT hex(digest), session, salt, text FROM audit_text WHERE project = ?1 AND `
	after, err := hex.DecodeString(q.After)
	if err != nil {
		return nil, stead.Invalid("after", "%.80q is no digest", q.After)
	}
	which, arg := `1 = 0 AND ?2 IS NOT NULL`, any("")
	switch {
	case len(q.Digests) > 0:
		list, err := json.Marshal(q.Digests)
		if err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "digests of audit texts can't be written")
		}
		which, arg = `digest IN (SELECT unhex(value) FROM json_each(?2))`, string(list)
	case q.Session != "":
		which, arg = `session = ?2 AND session <> x''`, []byte(q.Session)
	case q.Person != "":
		which, arg = `instr(people, ?2) > 0`, audit.PersonIn(q.Person)
	}
	return auditQuery(ctx, s, "read audit texts", scanText, columns+which+` AND digest > ?4 ORDER BY digest LIMIT ?3`, string(project), arg, audit.MaxTexts, after)
}

func scanText(rows *sql.Rows, t *audit.Text) error {
	var session, text, salt []byte
	err := rows.Scan(&t.Digest, &session, &salt, &text)
	t.Session, t.Salt, t.Text = stead.SessionID(session), salt, string(text)
	if digest, bad := hex.DecodeString(t.Digest); bad == nil {
		t.Digest = hex.EncodeToString(digest) // SQLite writes it in capitals
	}
	return err
}
