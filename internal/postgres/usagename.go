package postgres

import (
	"context"
	"maps"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead"
)

// usageName is what has a number in usage_names: a project itself, or what records of it share.
type usageName struct {
	project stead.ProjectID
	itself  bool
	shared  string
}

// maxNames is how many numbers stay in memory, each way: some 20 MB.
const maxNames = 65_536

// How usage_names is looked up: by the digest of the name, behind a byte that tells it from NULL.
const (
	nameDigest      = `sha256(coalesce('\x01'::bytea || name, ''))`
	digestOfProject = `sha256('')`
)

// usageNames remembers numbers. One that was read is committed, and stays.
type usageNames struct {
	mu     sync.Mutex
	number map[usageName]int32
	shared map[int32]string
}

// numbers writes the numbers of names into out, which is as long. A name that has none yet is given one,
// in a transaction of its own: a number that nothing uses does no harm. There are as many of them as
// there are kinds of call.
func (n *usageNames) numbers(ctx context.Context, conn *pgx.Conn, names []usageName, out []int32) error {
	var missing []int
	n.mu.Lock()
	for i := range names {
		number, ok := n.number[names[i]]
		if !ok {
			missing = append(missing, i)
		}
		out[i] = number
	}
	n.mu.Unlock()
	if missing == nil {
		return nil
	}
	found := map[usageName]int32{}
	for _, i := range missing {
		number, ok := found[names[i]]
		if !ok {
			var err error
			if number, err = giveNumber(ctx, conn, names[i]); err != nil {
				return err
			}
			found[names[i]] = number
		}
		out[i] = number
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.number == nil || len(n.number)+len(found) > maxNames {
		n.number = map[usageName]int32{}
	}
	maps.Copy(n.number, found)
	return nil
}

func giveNumber(ctx context.Context, conn *pgx.Conn, name usageName) (number int32, err error) {
	var bytes []byte
	if !name.itself {
		bytes = []byte(name.shared)
	}
	const find = `SELECT id FROM usage_names WHERE project_id = $1 AND ` + nameDigest + ` = sha256(coalesce('\x01'::bytea || $2::bytea, ''))`
	err = conn.QueryRow(ctx, find, string(name.project), bytes).Scan(&number)
	if err != pgx.ErrNoRows {
		return number, err
	}
	if _, err = conn.Exec(ctx, `INSERT INTO usage_names (project_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING`, string(name.project), bytes); err != nil {
		return 0, err
	}
	err = conn.QueryRow(ctx, find, string(name.project), bytes).Scan(&number)
	return number, err
}

// of returns what records share, by number.
func (n *usageNames) of(ctx context.Context, conn *pgx.Conn, numbers []int32) (map[int32]string, error) {
	out := make(map[int32]string, 8)
	var missing []int32
	n.mu.Lock()
	for _, number := range numbers {
		if _, ok := out[number]; ok {
			continue
		}
		name, ok := n.shared[number]
		if !ok {
			missing = append(missing, number)
		}
		out[number] = name
	}
	n.mu.Unlock()
	if len(missing) == 0 {
		return out, nil
	}
	rows, err := conn.Query(ctx, `SELECT id, name FROM usage_names WHERE id = ANY($1)`, missing)
	if err != nil {
		return nil, err
	}
	read := map[int32]string{}
	var number int32
	var name []byte
	_, err = pgx.ForEachRow(rows, []any{&number, &name}, func() error {
		read[number] = string(name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	maps.Copy(out, read)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shared == nil || len(n.shared)+len(read) > maxNames {
		n.shared = map[int32]string{}
	}
	maps.Copy(n.shared, read)
	return out, nil
}
