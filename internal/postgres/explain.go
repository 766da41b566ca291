package postgres

import (
	"bytes"
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// explainSQL looks up, for operations that fell out of a batch, what may have stood in their way.
const explainSQL = `
SELECT op.no, h.tail, h.epoch, h.holder, k.digest, k.first_seq, k.last_seq, c.digest, c.session_id, c.last_seq
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bool[]) WITH ORDINALITY AS op (project_id, session_id, key, creation, no)
LEFT JOIN heads h ON h.project_id = op.project_id AND h.session_id = op.session_id
LEFT JOIN session_keys k ON NOT op.creation AND k.project_id = op.project_id AND k.session_id = op.session_id AND k.key = op.key
LEFT JOIN creation_keys c ON op.creation AND c.project_id = op.project_id AND c.key = op.key`

// obstacle is a row of explainSQL.
type obstacle struct {
	tail, epoch *int64
	holder      *string

	sendDigest  []byte
	first, last *int64

	createDigest []byte
	created      *string
	createdLast  *int64
}

// explain finishes refused operations with the reason. When there is none any more, since another
// transaction has moved the session on, it returns them to be tried again.
func (c *committer) explain(ctx context.Context, ops []*op) (again []*op, err error) {
	var project, session []string
	var key [][]byte
	var creation []bool
	for _, o := range ops {
		project = append(project, string(o.key.Project))
		session = append(session, string(o.key.Session))
		key = append(key, o.idem)
		creation = append(creation, o.create != nil)
	}
	rows, err := c.pool.Query(ctx, explainSQL, project, session, key, creation)
	if err != nil {
		return nil, err
	}
	found := make([]obstacle, len(ops))
	var no int64
	var x obstacle
	_, err = pgx.ForEachRow(rows, []any{&no, &x.tail, &x.epoch, &x.holder, &x.sendDigest, &x.first, &x.last,
		&x.createDigest, &x.created, &x.createdLast}, func() error {
		found[no-1] = x
		x = obstacle{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, o := range ops {
		receipt, err := o.judge(found[i])
		if err == nil && !receipt.Replayed {
			again = append(again, o)
			continue
		}
		o.finish(receipt, err)
	}
	return again, nil
}

// judge returns a replayed receipt, the error, or neither.
func (o *op) judge(x obstacle) (journal.Receipt, error) {
	none := journal.Receipt{}
	if x.createDigest != nil {
		if !bytes.Equal(x.createDigest, o.digest) {
			return none, keyConflict()
		}
		return journal.Receipt{Session: stead.SessionID(*x.created), First: 1, Last: stead.Seq(*x.createdLast), Replayed: true}, nil
	}
	id := o.key.Session
	switch {
	case o.create != nil && x.tail != nil:
		return none, stead.Errorf(stead.KindConflict, "session %s exists already", id)
	case o.create != nil:
		return none, nil
	case o.epoch != anyEpoch && (x.tail == nil || x.holder == nil || *x.holder != string(o.node) || stead.Epoch(*x.epoch) != o.epoch):
		return none, stead.Errorf(stead.KindFenced, "the lease on session %s is lost", id)
	case x.tail == nil:
		return none, stead.NotFound("session", string(id))
	case x.sendDigest != nil && !bytes.Equal(x.sendDigest, o.digest):
		return none, keyConflict()
	case x.sendDigest != nil:
		return journal.Receipt{Session: id, First: stead.Seq(*x.first), Last: stead.Seq(*x.last), Replayed: true}, nil
	case o.expect != anyTail && stead.Seq(*x.tail) != o.expect:
		return none, stead.Errorf(stead.KindTail, "session %s is at event %d, not %d", id, *x.tail, o.expect)
	}
	return none, nil
}

func keyConflict() error {
	return stead.Errorf(stead.KindConflict, "this idempotency key was used for another request")
}
