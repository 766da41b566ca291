package postgres

import (
	"context"
	"encoding/hex"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
)

// textColumns are texts as lists, one a column.
type textColumns struct {
	digests, sessions, people, salts, texts [][]byte
}

func (c *textColumns) add(t audit.Text) bool {
	digest, err := hex.DecodeString(t.Digest)
	if err != nil {
		return false // no record names it
	}
	c.digests, c.sessions, c.people = append(c.digests, digest), append(c.sessions, []byte(t.Session)), append(c.people, audit.JoinPeople(t.People))
	c.salts, c.texts = append(c.salts, t.Salt), append(c.texts, []byte(t.Text))
	return true
}

func (c *textColumns) args() []any { return []any{c.digests, c.sessions, c.people, c.salts, c.texts} }

const insertTexts = `INSERT INTO audit_texts (project_id, digest, session, people, salt, text) `

func queueTexts(queue *pgx.Batch, project stead.ProjectID, texts []audit.Text) {
	var c textColumns
	for _, t := range texts {
		c.add(t)
	}
	if len(c.digests) == 0 {
		return
	}
	queue.Queue(insertTexts+`SELECT $1, * FROM unnest($2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[]) ON CONFLICT DO NOTHING`,
		append([]any{string(project)}, c.args()...)...)
}

func forgetTexts(ctx context.Context, tx pgx.Tx, project stead.ProjectID, digests []string) (int, error) {
	list := bytesOf(digests)
	if len(list) == 0 {
		return 0, nil
	}
	tag, err := tx.Exec(ctx, `DELETE FROM audit_texts WHERE project_id = $1 AND digest = ANY ($2)`, string(project), list)
	return int(tag.RowsAffected()), err
}

func bytesOf(digests []string) (out [][]byte) {
	for _, d := range digests {
		if b, err := hex.DecodeString(d); err == nil {
			out = append(out, b)
		}
	}
	return out
}

// ForgetAuditTexts implements audit.Store.
func (s *Store) ForgetAuditTexts(ctx context.Context, project stead.ProjectID, digests []string) (n int, err error) {
	if !storable(string(project)) || len(digests) == 0 {
		return 0, nil
	}
	err = s.again(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		n, err = forgetTexts(ctx, tx, project, digests)
		return err
	})
	return n, err
}

// AuditTexts implements audit.Store.
func (s *Store) AuditTexts(ctx context.Context, project stead.ProjectID, q audit.TextQuery) ([]audit.Text, error) {
	after, err := hex.DecodeString(q.After)
	if err != nil {
		return nil, stead.Invalid("after", "%.80q is no digest", q.After)
	}
	var which string
	var arg any
	switch {
	case !storable(string(project)):
		return nil, nil
	case len(q.Digests) > 0:
		which, arg = `digest = ANY ($2)`, bytesOf(q.Digests)
	case q.Session != "":
		which, arg = `session = $2 AND session <> ''`, []byte(q.Session)
	case q.Person != "":
		which, arg = `position($2 in people) > 0`, audit.PersonIn(q.Person)
	default:
		return nil, nil
	}
	return auditQuery(ctx, s, func(row pgx.CollectableRow) (t audit.Text, err error) {
		var session, text []byte
		err = row.Scan(&t.Digest, &session, &t.Salt, &text)
		t.Session, t.Text = stead.SessionID(session), string(text)
		return t, err
	}, `SELECT encode(digest, 'hex'), session, salt, text FROM audit_texts WHERE project_id = $1 AND `+which+` AND digest > $4 ORDER BY digest LIMIT $3`, string(project), arg, audit.MaxTexts, after)
}
