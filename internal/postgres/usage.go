package postgres

import (
	"bytes"
	"context"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// packedBytes is the length of an owner that is a UUID: most sessions' ids hold one.
const packedBytes = 16

// packSession writes a session's id as an owner: the UUID in it, or else the id behind so many zero
// bytes that it is none.
func packSession(id stead.SessionID) []byte {
	text, ok := strings.CutPrefix(string(id), stead.SessionPrefix)
	if ok && len(text) == 2*packedBytes && strings.ToLower(text) == text {
		if b, err := hex.DecodeString(text); err == nil {
			return b
		}
	}
	return append(make([]byte, max(1, packedBytes+1-len(id))), id...)
}

func unpackSession(b []byte) stead.SessionID {
	if len(b) == packedBytes {
		return stead.SessionID(stead.SessionPrefix + hex.EncodeToString(b))
	}
	return stead.SessionID(bytes.TrimLeft(b, "\x00"))
}

// ownerOf is the owner of a record in usage_rows.
func ownerOf(n *journal.UsageName) []byte {
	if n.Seq == 0 {
		return n.Call[:]
	}
	return packSession(n.Session)
}

// usageColumns are records as lists of their columns. no is the operation that each is of.
type usageColumns struct {
	no, at, place []int64
	owner, data   [][]byte
	names         []usageName // of each record two: its project, and what it shares
}

func (c *usageColumns) add(no int, project stead.ProjectID, r *journal.UsageRow) {
	data := r.Data
	if data == nil {
		data = []byte{} // nil is NULL
	}
	c.no, c.at, c.place = append(c.no, int64(no)), append(c.at, r.At), append(c.place, r.Place())
	c.owner, c.data = append(c.owner, ownerOf(&r.UsageName)), append(c.data, data)
	c.names = append(c.names, usageName{project, true, ""}, usageName{project, false, r.Shared})
}

// args are the arguments of a statement that stores them, without no.
func (c *usageColumns) args(ctx context.Context, conn *pgx.Conn, names *usageNames) ([]any, error) {
	numbers := make([]int32, len(c.names))
	if err := names.numbers(ctx, conn, c.names, numbers); err != nil {
		return nil, err
	}
	project, shared := make([]int32, len(c.at)), make([]int32, len(c.at))
	for i := range c.at {
		project[i], shared[i] = numbers[2*i], numbers[2*i+1]
	}
	return []any{c.at, c.place, project, shared, c.owner, c.data}, nil
}

// noUsage are the arguments, with those that say of which operation, that no records are.
func noUsage() []any {
	return []any{[]int64{}, []int64{}, []int64{}, []int32{}, []int32{}, [][]byte{}, [][]byte{}}
}

// addLock is taken by whoever adds records that no append brings, which makes them look in turn. The
// number is this package's own.
const addLock = 0x7573616765

// addUsageSQL adds what is not there. Rows of one statement don't see each other: a repeated one is
// dropped before.
const addUsageSQL = `
INSERT INTO usage_rows (at, place, project, shared, owner, data)
SELECT u.* FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::integer[], $5::bytea[], $6::bytea[]) AS u (at, place, project, shared, owner, data)
WHERE NOT EXISTS (SELECT 1 FROM usage_rows r
	WHERE r.owner = u.owner AND r.place = u.place AND r.at = u.at AND r.project = u.project)`

// AddUsage implements journal.Usage.
func (s *Store) AddUsage(ctx context.Context, project stead.ProjectID, rows []journal.UsageRow) error {
	if err := journal.CheckUsage(rows); err != nil {
		return err
	}
	for _, r := range rows {
		if !storable(string(r.Session)) {
			return stead.Invalid("session", "the session of a usage record is not text")
		}
	}
	if len(rows) == 0 {
		return nil
	}
	var columns usageColumns
	type id struct {
		journal.UsageName
		at int64
	}
	seen := map[id]bool{}
	for i := range rows {
		id := id{rows[i].UsageName, rows[i].At}
		if !seen[id] {
			columns.add(0, project, &rows[i])
		}
		seen[id] = true
	}
	return s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error { // it may run twice: the second finds what the first stored
		args, err := columns.args(ctx, c.Conn(), &s.usage)
		if err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, c.Conn(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(addLock)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, addUsageSQL, args...)
			return err
		})
	})
}

// UsageProjects implements journal.Usage. A project that has a number may have no record yet: its batch
// was not stored.
func (s *Store) UsageProjects(ctx context.Context) ([]stead.ProjectID, error) {
	var out []stead.ProjectID
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT project_id FROM usage_names n WHERE name IS NULL
			AND EXISTS (SELECT 1 FROM usage_rows r WHERE r.project = n.id) ORDER BY project_id`)
		if err == nil {
			out, err = pgx.CollectRows(rows, pgx.RowTo[stead.ProjectID])
		}
		return err
	})
	return out, err
}

// UsageRows implements journal.Usage.
func (s *Store) UsageRows(ctx context.Context, project stead.ProjectID, q journal.UsageQuery) ([]journal.UsageRow, error) {
	if !storable(string(project)) || !storable(string(q.Session)) || !storable(string(q.After.Session)) {
		return nil, nil
	}
	text, args := usageQuery(project, q)
	var out []journal.UsageRow
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		var shared []int32
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r journal.UsageRow, err error) {
			var place int64
			var number int32
			var owner []byte
			err = row.Scan(&r.At, &place, &number, &owner, &r.Data)
			if r.SetPlace(place); place == 0 {
				copy(r.Call[:], owner)
			} else {
				r.Session = unpackSession(owner)
			}
			shared = append(shared, number)
			return r, err
		})
		if err != nil {
			return err
		}
		names, err := s.usage.of(ctx, c.Conn(), shared)
		for i := range out {
			out[i].Shared = names[shared[i]]
		}
		return err
	})
	return out, err
}

func usageQuery(project stead.ProjectID, q journal.UsageQuery) (string, []any) {
	text := `SELECT at, place, shared, owner, data FROM usage_rows
		WHERE project = (SELECT id FROM usage_names WHERE project_id = $1 AND ` + nameDigest + ` = ` + digestOfProject + `)`
	args := []any{string(project)}
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	if q.Session != "" {
		text += ` AND place > 0 AND owner = ` + arg(packSession(q.Session))
	}
	if q.From != 0 {
		text += ` AND at >= ` + arg(q.From)
	}
	if q.To != 0 {
		text += ` AND at < ` + arg(q.To)
	}
	order, beyond := `at, owner, place`, `>`
	if q.Desc {
		order, beyond = `at DESC, owner DESC, place DESC`, `<`
	}
	if (q.After != journal.UsageName{}) {
		at := arg(q.AfterAt)
		// The first condition says what the second implies, in a form that the index by time answers.
		text += ` AND at ` + beyond + `= ` + at + ` AND (at, owner, place) ` + beyond + ` (` + at + `, ` + arg(ownerOf(&q.After)) + `, ` + arg(q.After.Place()) + `)`
	}
	text += ` ORDER BY ` + order + ` LIMIT ` + arg(q.PageLimit())
	return text, args
}
