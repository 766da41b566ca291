package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// A batch of copyRows or of more than copyBytes is fenced first and then copied: two round trips,
// but a third of the work a row.
const (
	copyRows  = 100
	copyBytes = 1 << 20
)

// createSQL makes the heads of sessions that do not exist and whose key is new, without events yet:
// for fenceSQL they then are sessions like others, told apart by birth.
const createSQL = `
WITH fresh AS MATERIALIZED (
	SELECT c.* FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bytea[], $7::bytea[], $8::bigint[])
		AS c (project_id, session_id, birth, agent_id, created_at, key, digest, n)
	WHERE NOT EXISTS (SELECT 1 FROM heads h WHERE h.project_id = c.project_id AND h.session_id = c.session_id)
	  AND (c.key IS NULL OR (SELECT 1 FROM creation_keys k WHERE k.project_id = c.project_id AND k.key = c.key LIMIT 1) IS NULL)
), made AS (
	INSERT INTO heads (project_id, session_id, birth)
	SELECT project_id, session_id, birth FROM fresh
), listed AS (
	INSERT INTO sessions (project_id, session_id, agent_id, created_at, status, metadata, last_active)
	SELECT project_id, session_id, agent_id, created_at, '', '{}', 0 FROM fresh
)
INSERT INTO creation_keys (project_id, key, digest, session_id, last_seq)
SELECT project_id, key, digest, session_id, n FROM fresh WHERE key IS NOT NULL`

// fenceSQL raises the tail of each head whose condition holds, in the order given, and returns
// which. The key is looked up by a scalar subquery, since the planner would turn NOT EXISTS into a
// hash of all keys. Two transactions that would store the same key collide on the key's table, and the later
// one is tried again: it then finds the key.
const fenceSQL = `
WITH fenced AS (
	UPDATE heads h SET
		tail   = h.tail + op.n,
		holder = CASE WHEN op.release THEN NULL ELSE h.holder END,
		due_at = CASE WHEN op.release THEN nullif(op.wake, 0)
		              WHEN op.rouse AND h.holder IS NULL THEN least(h.due_at, ` + nowSQL + `)
		              ELSE h.due_at END
	FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bool[], $8::bigint[], $9::bool[],
			$10::bigint[], $11::bytea[], $12::bytea[]) WITH ORDINALITY
		AS op (project_id, session_id, expect, epoch, node, n, release, wake, rouse, birth, key, digest, no)
	WHERE h.project_id = op.project_id AND h.session_id = op.session_id
	  AND (op.expect < 0 OR h.tail = op.expect)
	  AND (op.epoch < 0 OR (h.epoch = op.epoch AND h.holder = op.node))
	  AND (op.birth = 0 OR h.birth = op.birth)
	  AND (op.key IS NULL OR (SELECT 1 FROM session_keys k
	       WHERE k.project_id = op.project_id AND k.session_id = op.session_id AND k.key = op.key LIMIT 1) IS NULL)
	RETURNING op.no, h.project_id, h.session_id, h.tail, op.n, op.key, op.digest, h.holder IS NULL AS free
), keyed AS (
	INSERT INTO session_keys (project_id, session_id, key, digest, first_seq, last_seq)
	SELECT project_id, session_id, key, digest, tail - n + 1, tail FROM fenced WHERE key IS NOT NULL
), listing AS MATERIALIZED (
	SELECT f.project_id, f.session_id, l.*
	FROM unnest($13::bigint[], $14::text[], $15::text[], $16::bigint[], $17::text[], $18::text[]) AS l (no, status, metadata, last_active, agent, environment)
	JOIN fenced f ON f.no = l.no
), listed AS (
	UPDATE sessions s SET status = l.status, metadata = l.metadata::bytea[], last_active = l.last_active,
		agent_id = coalesce(nullif(l.agent, ''), s.agent_id), environment = coalesce(nullif(l.environment, ''), s.environment)
	FROM listing l WHERE s.project_id = l.project_id AND s.session_id = l.session_id
)`

// fenceOnlySQL leaves the log rows to a copy. storeSQL stores them in the same statement: $19 says
// where the rows of each operation begin in the lists that follow, and at its end where the last
// ones end. Picking an element of a list walks up to it, which for short lists is far cheaper than a join.
//
// A batch with usage records, or drafts of audit records, stores them in the same statement, with more lists: the
// operation that each is of, and its columns. One without any does not pay for them.
const (
	fenceOnlySQL       = fenceSQL + passedSQL
	fenceUsageSQL      = fenceSQL + usageHead + `$19::bigint[], $20::bigint[], $21::bigint[], $22::integer[], $23::integer[], $24::bytea[], $25::bytea[]` + usageTail + passedSQL
	fenceAuditSQL      = fenceSQL + auditHead + `$19::bigint[], $20::bytea[]` + auditTail + passedSQL
	fenceUsageAuditSQL = fenceSQL + usageHead + `$19::bigint[], $20::bigint[], $21::bigint[], $22::integer[], $23::integer[], $24::bytea[], $25::bytea[]` + usageTail +
		auditHead + `$26::bigint[], $27::bytea[]` + auditTail + passedSQL
	storeSQL           = fenceSQL + storedSQL + passedSQL
	storeUsageSQL      = fenceSQL + storedSQL + usageHead + `$23::bigint[], $24::bigint[], $25::bigint[], $26::integer[], $27::integer[], $28::bytea[], $29::bytea[]` + usageTail + passedSQL
	storeAuditSQL      = fenceSQL + storedSQL + auditHead + `$23::bigint[], $24::bytea[]` + auditTail + passedSQL
	storeUsageAuditSQL = fenceSQL + storedSQL + usageHead + `$23::bigint[], $24::bigint[], $25::bigint[], $26::integer[], $27::integer[], $28::bytea[], $29::bytea[]` + usageTail +
		auditHead + `$30::bigint[], $31::bytea[]` + auditTail + passedSQL

	// A batch with texts of audit records, which few have, stores them too; usage records are as many as there are then.
	fenceTextSQL = fenceSQL + usageHead + `$19::bigint[], $20::bigint[], $21::bigint[], $22::integer[], $23::integer[], $24::bytea[], $25::bytea[]` + usageTail +
		auditHead + `$26::bigint[], $27::bytea[]` + auditTail +
		textHead + `$28::bigint[], $29::bytea[], $30::bytea[], $31::bytea[], $32::bytea[], $33::bytea[]` + textTail + passedSQL
	storeTextSQL = fenceSQL + storedSQL + usageHead + `$23::bigint[], $24::bigint[], $25::bigint[], $26::integer[], $27::integer[], $28::bytea[], $29::bytea[]` + usageTail +
		auditHead + `$30::bigint[], $31::bytea[]` + auditTail +
		textHead + `$32::bigint[], $33::bytea[], $34::bytea[], $35::bytea[], $36::bytea[], $37::bytea[]` + textTail + passedSQL

	textHead = `, told AS (
	` + insertTexts + `
	SELECT f.project_id, x.digest, x.session, x.people, x.salt, x.text FROM unnest(`
	textTail = `) AS x (no, digest, session, people, salt, text) JOIN fenced f ON f.no = x.no
	ON CONFLICT DO NOTHING
)`

	passedSQL = `
SELECT no, tail, free FROM fenced`

	usageHead = `, metered AS (
	INSERT INTO usage_rows (at, place, project, shared, owner, data)
	SELECT u.at, u.place, u.project, u.shared, u.owner, u.data
	FROM unnest(`
	usageTail = `) AS u (no, at, place, project, shared, owner, data) JOIN fenced f ON f.no = u.no
)`

	auditHead = `, audited AS (
	INSERT INTO audit_inbox (project_id, draft)
	SELECT f.project_id, a.draft FROM unnest(`
	auditTail = `) WITH ORDINALITY AS a (no, draft, i) JOIN fenced f ON f.no = a.no ORDER BY a.i
)`

	storedSQL = `, stored AS (
	INSERT INTO log (project_id, session_id, last, first, events)
	SELECT f.project_id, f.session_id, f.tail - f.n + ($21::bigint[])[i], f.tail - f.n + ($20::bigint[])[i], ($22::bytea[])[i]
	FROM fenced f CROSS JOIN LATERAL generate_series(($19::bigint[])[f.no] + 1, ($19::bigint[])[f.no + 1]) AS i
)`

	// nowSQL is the database's clock in Unix milliseconds.
	nowSQL = `(extract(epoch FROM clock_timestamp()) * 1000)::bigint`
)

// batch is one transaction's worth of operations, sorted by session.
type batch struct {
	ops    []*op
	rows   int // of the log
	bytes  int
	stored []stored // what the transaction stored, in the order the database said so
	usage  []any    // the arguments that usage records are; nil: there are none
	audit  []any    // the arguments that drafts of audit records are; nil: there are none

	texts   textColumns // of these records
	textsOf []int64     // the operation that each is of
}

// with adds what the batch brings beside its events to a statement, of which five forms are given: with neither, with usage
// records, with drafts of audit records, with both, and with texts of audit records beside these.
func (b *batch) with(args []any, plain, usage, audit, both, texts string) (string, []any) {
	text := plain
	switch {
	case b.textsOf != nil:
		used := b.usage
		if used == nil {
			used = noUsage()
		}
		return texts, slices.Concat(args, used, b.audit, []any{b.textsOf}, b.texts.args())
	case b.usage != nil && b.audit != nil:
		text = both
	case b.usage != nil:
		text = usage
	case b.audit != nil:
		text = audit
	}
	return text, append(append(args, b.usage...), b.audit...)
}

// stored is the fate of an operation that was not refused.
type stored struct {
	*op
	tail stead.Seq
	due  bool // the session became due, or will by itself
}

func newBatch(ops []*op) *batch {
	b := &batch{ops: slices.Clone(ops)}
	slices.SortStableFunc(b.ops, func(x, y *op) int {
		return cmp.Or(cmp.Compare(x.key.Project, y.key.Project), cmp.Compare(x.key.Session, y.key.Session))
	})
	for _, o := range b.ops {
		b.rows += rowCount(o.events)
		b.bytes += o.bytes
	}
	b.audit = b.auditArgs()
	return b
}

// commit runs the transaction. When it returns nil the transaction is on stable storage.
func (b *batch) commit(ctx context.Context, conn *pgx.Conn) error {
	b.stored = b.stored[:0]
	if b.rows >= copyRows || b.bytes > copyBytes {
		return b.commitCopy(ctx, conn)
	}
	text, args := b.with(append(b.fenceArgs(), b.rowArgs()...), storeSQL, storeUsageSQL, storeAuditSQL, storeUsageAuditSQL, storeTextSQL)
	create := b.createArgs()
	if create == nil {
		rows, err := conn.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		return b.collect(rows)
	}
	// One pipeline without BEGIN is one transaction, committed at its end.
	queue := &pgx.Batch{}
	queue.Queue(createSQL, create...)
	queue.Queue(text, args...).Query(b.collect)
	return conn.SendBatch(ctx, queue).Close()
}

// commitCopy fences, reads which operations passed, and copies their rows with the commit behind.
func (b *batch) commitCopy(ctx context.Context, conn *pgx.Conn) error {
	queue := &pgx.Batch{}
	queue.Queue("BEGIN")
	if create := b.createArgs(); create != nil {
		queue.Queue(createSQL, create...)
	}
	text, args := b.with(b.fenceArgs(), fenceOnlySQL, fenceUsageSQL, fenceAuditSQL, fenceUsageAuditSQL, fenceTextSQL)
	queue.Queue(text, args...).Query(b.collect)
	err := conn.SendBatch(ctx, queue).Close()
	if err == nil {
		_, err = conn.PgConn().CopyFrom(ctx, newCopyReader(b.stored), copySQL+"; COMMIT")
	}
	if err != nil && !conn.IsClosed() {
		_, _ = conn.Exec(ctx, "ROLLBACK") // the first error is the one to tell; a dead connection rolls back by itself
	}
	return err
}

func (b *batch) collect(rows pgx.Rows) error {
	var no, tail int64
	var free bool
	_, err := pgx.ForEachRow(rows, []any{&no, &tail, &free}, func() error {
		o := b.ops[no-1]
		b.stored = append(b.stored, stored{op: o, tail: stead.Seq(tail), due: o.rouse && free || o.release && o.wake != 0})
		return nil
	})
	return err
}

// settle finishes what was stored and returns what was not.
func (b *batch) settle() []*op {
	for _, s := range b.stored {
		s.finish(journal.Receipt{Session: s.key.Session, First: s.tail - stead.Seq(len(s.events)) + 1, Last: s.tail}, nil)
	}
	if len(b.stored) == len(b.ops) {
		return nil
	}
	passed := make(map[*op]bool, len(b.stored))
	for _, s := range b.stored {
		passed[s.op] = true
	}
	return slices.DeleteFunc(b.ops, func(o *op) bool { return passed[o] })
}
