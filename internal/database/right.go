package database

import "context"

// Public is who every role is: what is granted to it is granted to all. No role is called so.
const Public = "public"

// ColumnName names a column of a table.
type ColumnName struct{ Schema, Table, Column string }

// Rights are the roles of a database that may read a column.
type Rights map[ColumnName][]string

// Rightful is a Database that knows which of its roles may read what. SQLite's have no roles.
type Rightful interface {
	// Rights are those of roles, of which Public may be one. A role that there is not has none, and so has one that may not connect.
	Rights(ctx context.Context, roles []string) (Rights, error)
}

// Narrow takes out of tables what somebody may not read, with all that speaks of it.
func Narrow(tables []Table, may func(ColumnName) bool) []Table {
	return without(tables, func(schema, table string) bool { return false }, func(schema, table, column string) bool {
		return !may(ColumnName{schema, table, column})
	})
}
