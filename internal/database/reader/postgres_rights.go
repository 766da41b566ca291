package reader

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead/internal/database"
)

// rightsSQL is which of some roles may read each column: by grants to them, to roles whose rights they have without asking for them, and to all.
const rightsSQL = `SELECT n.nspname, c.relname, a.attname, array_agg(r.name::text ORDER BY r.name)
FROM (SELECT rolname AS name FROM pg_roles WHERE rolname = ANY($1) UNION ALL SELECT 'public' WHERE 'public' = ANY($1)) r
CROSS JOIN pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
AND a.attnum > 0 AND NOT a.attisdropped
AND has_database_privilege(r.name, current_database(), 'CONNECT') AND has_schema_privilege(r.name, n.oid, 'USAGE') AND has_column_privilege(r.name, c.oid, a.attnum, 'SELECT')
GROUP BY n.nspname, c.relname, a.attname`

// Rights implements database.Rightful.
func (d *postgresDatabase) Rights(ctx context.Context, roles []string) (database.Rights, error) {
	out := database.Rights{}
	err := d.with(ctx, d.telling, catalogTimeout, func(ctx context.Context, conn *pgx.Conn) error {
		return each(ctx, conn, rightsSQL, roles, func(rows pgx.Rows) error {
			var c database.ColumnName
			var may []string
			err := rows.Scan(&c.Schema, &c.Table, &c.Column, &may)
			out[c] = may
			return err
		})
	})
	return out, err
}
