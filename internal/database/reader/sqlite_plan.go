package reader

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// order notes the indexes of a table that hold what is hidden of it: rows that are read by such an index come in its order, which tells who has
// more of it than whom, and SQLite asks its authorizer nothing about an index.
func (w *wall) order(ctx context.Context, conn *sql.Conn, table string) error {
	hidden := w.parts[strings.ToLower(table)]
	return list(ctx, conn, `SELECT s.rootpage, coalesce(s.sql, ''), coalesce(i.name, '') FROM pragma_index_list(?) l JOIN sqlite_schema s ON s.type = 'index' AND s.name = l.name, pragma_index_xinfo(l.name) i WHERE i.key`, table,
		func(scan func(...any) error) error {
			var root int64
			var text, column string
			if err := scan(&root, &text, &column); err != nil {
				return err
			}
			_, text, _ = strings.Cut(text, "(") // expressions, and of which rows it is
			if slices.Contains(hidden, strings.ToLower(column)) || slices.ContainsFunc(hidden, func(h string) bool { return mentions(words(text), h) }) {
				w.ordered[root] = table
			}
			return nil
		})
}

// goesBy refuses a statement that SQLite would carry out by an index of what is hidden, whether it names the index or not: as it is planned, in
// the transaction in which it then runs. Counting by one has no order.
func (w *wall) goesBy(ctx context.Context, conn *sql.Conn, statement string) error {
	if len(w.ordered) == 0 {
		return nil
	}
	opened, counted := map[int64]string{}, map[int64]bool{} // by their cursors
	err := list(ctx, conn, `EXPLAIN `+statement, nil, func(scan func(...any) error) error {
		var opcode string
		var cursor, root, database int64
		var none any
		if err := scan(&none, &opcode, &cursor, &root, &database, &none, &none, &none); err != nil {
			return err
		}
		switch opcode {
		case "OpenRead", "ReopenIdx":
			if table, ok := w.ordered[root]; ok && database == 0 {
				opened[cursor] = table
			}
		case "Count":
			counted[cursor] = true
		}
		return nil
	})
	if said, ok := logicError(err); ok && strings.Contains(strings.ToLower(said), `near "explain"`) {
		return nil // it is one that explains, and reads nothing
	}
	if err != nil {
		return err
	}
	for cursor, table := range opened {
		if !counted[cursor] {
			e := stead.Invalid("sql", "rows of %.100s would come in the order of something hidden, by an index of it", table)
			e.Hint = fmt.Sprintf("Write FROM %.100s NOT INDEXED.", ident(table))
			return e
		}
	}
	return nil
}
