package semantic

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Dialect is the SQL of a kind of database.
type Dialect string

// The dialects.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgres"
)

// How a timestamp may be stored, besides as one.
const (
	storedUnix  = "unix"    // seconds
	storedMilli = "unix_ms" // milliseconds
)

// quote makes an identifier of a name: whatever is in it, it stays one.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// placeholder names the n-th argument.
func (d Dialect) placeholder(n int) string {
	if d == PostgreSQL {
		return "$" + strconv.Itoa(n)
	}
	return "?" + strconv.Itoa(n)
}

// exact makes a number one that is divided without loss of what is behind the point.
func (d Dialect) exact(x string) string {
	if d == PostgreSQL {
		const before, behind = "CAST(", " AS numeric)"
		if strings.HasPrefix(x, before) && strings.HasSuffix(x, behind) { // it is one: two that are put together are in brackets
			return x
		}
		return before + x + behind
	}
	return "CAST(" + x + " AS REAL)"
}

// number makes a number of what may be money, which neither adds to a number nor equals one.
func (d Dialect) number(x string) string {
	if d == PostgreSQL {
		return d.exact(x)
	}
	return x
}

// argument is a value as the driver takes it, and how it stands in the statement.
func (d Dialect) argument(v any, t Type, stored, place string) (any, string) {
	switch v := v.(type) {
	case decimal:
		if d == PostgreSQL {
			return string(v), "CAST(CAST(" + place + " AS text) AS numeric)"
		}
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n, place
		}
		f, _ := strconv.ParseFloat(string(v), 64)
		return f, place
	case int64:
		if d == PostgreSQL {
			return v, "CAST(" + place + " AS bigint)"
		}
	case bool:
		if d == PostgreSQL {
			return v, "CAST(" + place + " AS boolean)"
		}
		if v {
			return int64(1), place
		}
		return int64(0), place
	case time.Time:
		return d.time(v, t, stored, place)
	}
	return v, place // a text takes the type of what it is compared with: uuid and enumerations too
}

func (d Dialect) time(v time.Time, t Type, stored, place string) (any, string) {
	switch {
	case t == Date && d == PostgreSQL:
		return v.Format(time.DateOnly), "CAST(CAST(" + place + " AS text) AS date)"
	case t == Date:
		return v.Format(time.DateOnly), place
	case stored == storedMilli:
		return v.UnixMilli(), d.bigint(place)
	case stored == storedUnix || d == SQLite:
		return v.Unix(), d.bigint(place)
	}
	return v.UTC().Format(time.RFC3339), "CAST(CAST(" + place + " AS text) AS timestamptz)"
}

func (d Dialect) bigint(place string) string {
	if d == PostgreSQL {
		return "CAST(" + place + " AS bigint)"
	}
	return place
}

// comparable is a column as values of its type are compared with it.
func (d Dialect) comparable(column string, t Type, stored string) string {
	switch {
	case d == SQLite && t == Date:
		return "date(" + column + ")"
	case t == Date:
		return "CAST(" + column + " AS date)"
	case d == SQLite && t == Timestamp && stored == "":
		return "unixepoch(" + column + ")"
	}
	return column
}

// seconds makes a comparison of times one of their seconds, which are what an answer shows. Those with a range keep the column as it is, for its index.
func (d Dialect) seconds(a *Attribute, column, op string, values []any) (*Attribute, string, string, []any) {
	switch op {
	case opGreater, opAtMost:
		if at, ok := values[0].(time.Time); ok {
			op, values = map[string]string{opGreater: opAtLeast, opAtMost: opLess}[op], []any{at.Add(time.Second)}
		}
		return a, column, op, values
	case opEquals, opNot, opIn, opNotIn:
		whole := *a
		if a.Stored != "" {
			whole.Stored = storedUnix
		}
		return &whole, d.second(column, a.Stored), op, values
	}
	return a, column, op, values
}

// second is the second of a stored time: seconds where it is stored as a number.
func (d Dialect) second(column, stored string) string {
	if stored == storedMilli {
		column += " / 1000"
	}
	switch {
	case stored == "" && d == PostgreSQL:
		return "date_trunc('second', " + column + ")"
	case stored == "":
		return column
	case d == PostgreSQL:
		return "floor(" + column + ")"
	}
	return "CAST(" + column + " AS INTEGER)"
}

// past writes that a time is not to come.
func (d Dialect) past(column string, t Type, stored string) string {
	now := map[string]string{"": "unixepoch()", storedUnix: "unixepoch()", storedMilli: "unixepoch() * 1000"}[stored]
	if d == PostgreSQL {
		now = map[string]string{"": "now()", storedUnix: "extract(epoch FROM now())", storedMilli: "extract(epoch FROM now()) * 1000"}[stored]
	}
	if t == Date {
		now = map[Dialect]string{SQLite: "date('now')", PostgreSQL: "CURRENT_DATE"}[d]
	}
	return d.comparable(column, t, stored) + " <= " + now
}

// newest is the last of a column's times, as an answer has it. SQLite would sort texts of times by their letters.
func (d Dialect) newest(column string, t Type, stored string) string {
	if d == SQLite && t == Timestamp && stored == "" {
		return d.shown("MAX(unixepoch("+column+"))", t, storedUnix)
	}
	return d.shown("MAX("+column+")", t, stored)
}

// zero is 0 in the type of what it stands beside, which may be money.
func (d Dialect) zero() string {
	if d == PostgreSQL {
		return "'0'"
	}
	return "0"
}

// shown is a column as an answer has it: texts, and times as ISO 8601 in UTC.
func (d Dialect) shown(column string, t Type, stored string) string {
	switch {
	case t == Text:
		return "CAST(" + column + " AS text)"
	case t == Date && d == SQLite:
		return "date(" + column + ")"
	case t == Date:
		return "to_char(" + column + ", 'YYYY-MM-DD')"
	case t == Timestamp && d == SQLite:
		return "strftime('%Y-%m-%dT%H:%M:%SZ', " + d.instant(column, stored) + ")"
	case t == Timestamp:
		return "to_char(" + d.instant(column, stored) + `, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`
	}
	return column
}

// instant is a stored time as the functions of times take it. A connection's time zone is UTC.
func (d Dialect) instant(column, stored string) string {
	switch {
	case d == SQLite && stored == storedUnix:
		return column + ", 'unixepoch'"
	case d == SQLite && stored == storedMilli:
		return column + " / 1000, 'unixepoch'"
	case d == SQLite:
		return column
	case stored == storedUnix:
		return "to_timestamp(" + column + ")"
	case stored == storedMilli:
		return "to_timestamp(" + column + " / 1000)"
	}
	return "CAST(" + column + " AS timestamptz)"
}

// bucket is the begin of the hour, day, … in which a time is, as text.
func (d Dialect) bucket(column, stored, grain string) string {
	at := d.instant(column, stored)
	if d == PostgreSQL {
		form := "YYYY-MM-DD"
		if grain == "hour" {
			form = `YYYY-MM-DD"T"HH24:MI:SS"Z"`
		}
		return fmt.Sprintf(`to_char(date_trunc('%s', %s), '%s')`, grain, at, form)
	}
	switch grain {
	case "hour":
		return "strftime('%Y-%m-%dT%H:00:00Z', " + at + ")"
	case "week":
		return "date(" + at + ", 'weekday 0', '-6 days')" // the Monday of the week that ends with that Sunday
	case "month":
		return "strftime('%Y-%m-01', " + at + ")"
	case "quarter":
		return "strftime('%Y-', " + at + ") || substr('010101040404070707101010', 2 * CAST(strftime('%m', " + at + ") AS INTEGER) - 1, 2) || '-01'"
	case "year":
		return "strftime('%Y-01-01', " + at + ")"
	}
	return "date(" + at + ")"
}

// ordered is a text as answers are sorted by it: by its bytes, in both databases.
func (d Dialect) ordered(column string, t Type) string {
	if d == PostgreSQL && (t == Text || t == Date || t == Timestamp) {
		return column + ` COLLATE "C"`
	}
	return column
}

// FunctionContains is the function that a SQLite database is read with beside its own: whether a text, the first, has a part, the second. Its
// LIKE takes small and large letters as equal for ASCII alone.
const FunctionContains = "stead_contains"

// contains writes that a text has a part, small and large letters alike.
func (d Dialect) contains(column, place string) string {
	if d == PostgreSQL {
		return "CAST(" + column + " AS text) ILIKE CAST(" + place + ` AS text) ESCAPE '\'`
	}
	return FunctionContains + "(CAST(" + column + " AS TEXT), " + place + ")"
}

// same writes that a column is one of some texts, byte by byte, whatever its type and collation are. In SQLite its index is used for the first part.
func (d Dialect) same(column, places string) string {
	if d == PostgreSQL {
		return "CAST(" + column + " AS text) IN (" + places + ")"
	}
	return "(" + column + " IN (" + places + ") AND CAST(" + column + " AS text) COLLATE BINARY IN (" + places + "))"
}

// part is what contains is given.
func (d Dialect) part(part string) string {
	if d == SQLite {
		return part
	}
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(part) + "%"
}
