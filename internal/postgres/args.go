package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead/internal/audit"
)

// Statements of a batch take one array a column. An empty list is an empty array, never NULL.

type opColumns struct {
	project, session, node        []string
	expect, epoch, n, wake, birth []int64
	release, rouse                []bool
	key, digest                   [][]byte
	listNo, lastActive            []int64
	status, metadata              []string
	agent, environment            []string
}

func (b *batch) fenceArgs() []any {
	c := columnsFor(len(b.ops))
	for i, o := range b.ops {
		c.project = append(c.project, string(o.key.Project))
		c.session = append(c.session, string(o.key.Session))
		c.node = append(c.node, string(o.node))
		c.expect = append(c.expect, int64(o.expect))
		c.epoch = append(c.epoch, int64(o.epoch))
		c.n = append(c.n, int64(len(o.events)))
		c.wake = append(c.wake, o.wake)
		c.birth = append(c.birth, o.birth)
		c.release = append(c.release, o.release)
		c.rouse = append(c.rouse, o.rouse)
		key, digest := o.idem, o.digest
		if o.create != nil {
			key, digest = nil, nil // createSQL has them
		}
		c.key = append(c.key, key)
		c.digest = append(c.digest, digest)
		if u := o.update; u != nil {
			c.listNo = append(c.listNo, int64(i+1))
			c.status = append(c.status, u.Status)
			c.metadata = append(c.metadata, arrayLiteral(pairs(u.Metadata)))
			c.lastActive = append(c.lastActive, u.LastActive)
			c.agent = append(c.agent, string(u.Agent))
			c.environment = append(c.environment, u.Environment)
		}
	}
	return []any{c.project, c.session, c.expect, c.epoch, c.node, c.n, c.release, c.wake, c.rouse, c.birth, c.key, c.digest,
		c.listNo, c.status, c.metadata, c.lastActive, c.agent, c.environment}
}

func columnsFor(n int) opColumns {
	return opColumns{
		project: make([]string, 0, n), session: make([]string, 0, n), node: make([]string, 0, n),
		expect: make([]int64, 0, n), epoch: make([]int64, 0, n), n: make([]int64, 0, n),
		wake: make([]int64, 0, n), birth: make([]int64, 0, n),
		release: make([]bool, 0, n), rouse: make([]bool, 0, n),
		key: make([][]byte, 0, n), digest: make([][]byte, 0, n),
		listNo: []int64{}, lastActive: []int64{}, status: []string{}, metadata: []string{}, agent: []string{}, environment: []string{},
	}
}

// rowArgs are the log rows of all operations: where those of each begin, and of each row its first
// and last event, counted from the operation's own, and its events.
func (b *batch) rowArgs() []any {
	begin := append(make([]int64, 0, len(b.ops)+1), 0)
	first, last, rows := make([]int64, 0, b.rows), make([]int64, 0, b.rows), make([][]byte, 0, b.rows)
	for _, o := range b.ops {
		for at := 0; at < len(o.events); {
			events := o.events[at:]
			events = events[:rowEvents(events)]
			first = append(first, int64(at+1))
			at += len(events)
			last = append(last, int64(at))
			rows = append(rows, appendFrames(make([]byte, 0, rowSize(events)), events))
		}
		begin = append(begin, int64(len(rows)))
	}
	return []any{begin, first, last, rows}
}

// createArgs returns nil when no operation makes a session.
func (b *batch) createArgs() []any {
	var project, session, agent []string
	var birth, created, n []int64
	var key, digest [][]byte
	for _, o := range b.ops {
		if o.create == nil {
			continue
		}
		project = append(project, string(o.key.Project))
		session = append(session, string(o.key.Session))
		agent = append(agent, string(o.create.Agent))
		birth = append(birth, o.birth)
		created = append(created, o.create.CreatedAt)
		n = append(n, int64(len(o.events)))
		key = append(key, o.idem)
		digest = append(digest, o.digest)
	}
	if project == nil {
		return nil
	}
	return []any{project, session, birth, agent, created, key, digest, n}
}

// auditArgs returns nil when no operation brings a draft of an audit record.
func (b *batch) auditArgs() []any {
	var no []int64
	var drafts [][]byte
	for i, o := range b.ops {
		for _, d := range o.audit {
			line, texts := audit.Carried(d)
			no, drafts = append(no, int64(i+1)), append(drafts, audit.Pack(line))
			for _, t := range texts {
				if b.texts.add(t) {
					b.textsOf = append(b.textsOf, int64(i+1))
				}
			}
		}
	}
	if no == nil {
		return nil
	}
	return []any{no, drafts}
}

// meter makes the arguments that the operations' usage records are.
func (b *batch) meter(ctx context.Context, conn *pgx.Conn, names *usageNames) error {
	var c usageColumns
	for i, o := range b.ops {
		for j := range o.usage {
			c.add(i+1, o.key.Project, &o.usage[j])
		}
	}
	if c.no == nil {
		return nil
	}
	args, err := c.args(ctx, conn, names)
	b.usage = append([]any{c.no}, args...)
	return err
}
