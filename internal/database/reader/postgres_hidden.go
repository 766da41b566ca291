package reader

import (
	"context"

	"github.com/jackc/pgx/v5"
)

const (
	// mayReadSQL is all that the role may read, partitions and what is of extensions as well.
	mayReadSQL = `SELECT c.oid, n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND has_schema_privilege(n.oid, 'USAGE')
AND a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege(c.oid, a.attnum, 'SELECT')
GROUP BY c.oid, n.nspname, c.relname ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

	// heirsSQL is which tables' rows are read with those of others: partitions, and tables that inherit.
	heirsSQL = `SELECT i.inhrelid, cn.nspname, c.relname, i.inhparent, pn.nspname, p.relname FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE c.relkind IN ('r', 'p', 'f')`
)

// name is a relation's.
type name struct{ schema, table string }

func (n name) String() string { return n.schema + "." + n.table }

// family is which relations hold rows of others.
type family struct {
	names    map[uint32]name
	parents  map[uint32][]uint32
	children map[uint32][]uint32
}

// keepsHidden refuses statements where the role may read what is hidden: only its rights hold for every statement. The rows of a partition are its
// table's as well, so that each is looked at under the names of all above it and below it.
func (d *postgresDatabase) keepsHidden(ctx context.Context, conn *pgx.Conn) error {
	if len(d.hidden) == 0 {
		return nil
	}
	f, err := familyOf(ctx, conn)
	if err != nil {
		return err
	}
	return each(ctx, conn, mayReadSQL, nil, func(rows pgx.Rows) error {
		var oid uint32
		var own name
		var columns []string
		if err := rows.Scan(&oid, &own.schema, &own.table, &columns); err != nil {
			return err
		}
		for _, as := range append([]name{own}, f.others(oid)...) {
			for _, c := range columns {
				if !d.hidden.Column(as.schema, as.table, c) {
					continue
				}
				said := own.String() + "." + c
				if as != own {
					said += ", which are rows of " + as.String() + ","
				}
				return d.unfit("may read what is hidden, " + said + " for one")
			}
		}
		return nil
	})
}

func familyOf(ctx context.Context, conn *pgx.Conn) (family, error) {
	f := family{map[uint32]name{}, map[uint32][]uint32{}, map[uint32][]uint32{}}
	return f, each(ctx, conn, heirsSQL, nil, func(rows pgx.Rows) error {
		var child, parent uint32
		var c, p name
		if err := rows.Scan(&child, &c.schema, &c.table, &parent, &p.schema, &p.table); err != nil {
			return err
		}
		f.names[child], f.names[parent] = c, p
		f.parents[child], f.children[parent] = append(f.parents[child], parent), append(f.children[parent], child)
		return nil
	})
}

// others are the names of all above a relation and of all below it.
func (f family) others(oid uint32) []name {
	var out []name
	for _, way := range []map[uint32][]uint32{f.parents, f.children} {
		met := map[uint32]bool{oid: true}
		for next := []uint32{oid}; len(next) > 0; {
			at := next[0]
			next = next[1:]
			for _, o := range way[at] {
				if !met[o] {
					met[o] = true
					next, out = append(next, o), append(out, f.names[o])
				}
			}
		}
	}
	return out
}
