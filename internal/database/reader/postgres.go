package reader

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
)

type postgresDatabase struct {
	name   string
	config *pgx.ConnConfig
	hidden database.Hiding

	asking, telling room // for statements of others, and for our own
	alive           context.Context
	end             context.CancelFunc
}

func openPostgres(c database.Config) (database.Database, error) {
	config, err := pgx.ParseConfig(c.DSN)
	if err != nil {
		return nil, database.BadAddress(c.Name)
	}
	config.ConnectTimeout = database.ConnectTimeout
	// A statement is used once: nothing is prepared under a name, which poolers of transactions would lose.
	config.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := pgproto3.NewFrontend(r, w)
		f.SetMaxBodyLen(maxAnswerBytes)
		return f
	}
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelGrace}
	}
	alive, end := context.WithCancel(context.Background())
	return &postgresDatabase{name: c.Name, config: config, hidden: c.Hidden, asking: make(room, MaxConns), telling: make(room, maxTelling), alive: alive, end: end}, nil
}

func (d *postgresDatabase) Name() string   { return d.name }
func (d *postgresDatabase) Driver() string { return database.PostgreSQL }

// Close implements database.Database. A connection lasts as long as what it is for.
func (d *postgresDatabase) Close() error {
	d.end()
	return nil
}

// with gives a connection in a read-only transaction as of one moment, which ends with what it is for.
func (d *postgresDatabase) with(ctx context.Context, place room, within time.Duration, do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := place.enter(ctx); err != nil {
		return full(ctx, d.name, cap(place), err)
	}
	var on backend
	lost := false
	defer func() {
		if lost {
			go d.watch(on, place)
			return
		}
		place.leave()
	}()
	conn, err := pgx.ConnectConfig(ctx, d.settings(within))
	if err != nil {
		return d.unconnected(ctx, within, err)
	}
	defer func() {
		lost = conn.IsClosed() && on.pid != 0 // it has not ended what it was told to end
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelGrace)
		defer cancel()
		_ = conn.Close(ctx) // with all that the statement did to the session
	}()
	if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return d.failed(ctx, within, err)
	}
	if err := conn.QueryRow(ctx, backendSQL).Scan(&on.pid, &on.start); err != nil {
		return d.failed(ctx, within, err)
	}
	if err := do(ctx, conn); err != nil {
		return d.failed(ctx, within, err)
	}
	return nil
}

// unconnected tells why there is no connection, without the driver's words, which have its address. That the role is not let in is KindForbidden.
func (d *postgresDatabase) unconnected(ctx context.Context, within time.Duration, err error) error {
	const noLogin, noPrivilege = "28", "42501" // classes and codes of SQLSTATE; the latter: it may not connect to this database
	e, ok := errors.AsType[*pgconn.PgError](err)
	if ok && (strings.HasPrefix(e.Code, noLogin) || e.Code == noPrivilege) {
		return stead.Errorf(stead.KindForbidden, "the database %s does not let its role in (SQLSTATE %s)", d.name, e.Code)
	}
	if ctx.Err() != nil {
		return d.failed(ctx, within, ctx.Err())
	}
	if e != nil {
		return stead.Errorf(stead.KindUnavailable, "the database %s can't be reached (SQLSTATE %s)", d.name, e.Code)
	}
	var said error = errors.New("there is no connection")
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if _, unknown := errors.AsType[*net.DNSError](op.Err); !unknown { // which has the name
			said = op.Err
		}
	}
	return stead.Wrap(stead.KindUnavailable, said, "the database %s can't be reached", d.name)
}

// settings are those of a connection that is used for no longer than within.
func (d *postgresDatabase) settings(within time.Duration) *pgx.ConnConfig {
	config := d.config.Copy()
	maps.Copy(config.RuntimeParams, database.ServerParams(within))
	return config
}

// mighty tells whether the role may do what no transaction keeps it from. It stands behind the first query of a transaction, which can't be made
// one that writes any more.
const mighty = `SELECT r.rolsuper OR EXISTS (SELECT 1 FROM pg_roles g WHERE pg_has_role(current_user, g.oid, 'MEMBER')
AND (g.rolsuper OR g.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')))
FROM pg_roles r WHERE r.rolname = current_user`

// Query implements database.Database.
func (d *postgresDatabase) Query(ctx context.Context, statement string, limits database.Limits) (database.Result, error) {
	var out database.Result
	err := d.with(ctx, d.asking, limits.Time, func(ctx context.Context, conn *pgx.Conn) error {
		var may bool
		if err := conn.QueryRow(ctx, mighty).Scan(&may); err != nil {
			return err
		}
		if may {
			return d.unfit("may do more than read tables (it is a superuser, or may become one, or may read files of its server or run programs there)")
		}
		if err := d.keepsHidden(ctx, conn); err != nil {
			return err
		}
		var err error
		out, err = rowsOf(ctx, conn, statement, limits)
		return err
	})
	return out, err
}

func (d *postgresDatabase) unfit(why string) error {
	e := stead.Errorf(stead.KindForbidden, "statements are not taken: the role of the database %s %s", d.name, why)
	e.Hint = "The operator gives it a role that may read what agents may, and nothing else."
	return e
}

// rowsOf runs one statement; the extended protocol takes no more.
func rowsOf(ctx context.Context, conn *pgx.Conn, statement string, limits database.Limits) (database.Result, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	reader := conn.PgConn().ExecParams(ctx, statement, nil, nil, nil, nil) // values as PostgreSQL writes them
	g := database.Gather{Limits: limits}
	full := false
	for !full && reader.NextRow() {
		row := make([]any, len(reader.Values()))
		for i, v := range reader.Values() {
			row[i] = valueOf(reader.FieldDescriptions()[i].DataTypeOID, v)
		}
		full = !g.Add(row)
	}
	for _, f := range reader.FieldDescriptions() { // known with the first row, or when there is none
		g.Result.Columns = append(g.Result.Columns, database.ResultColumn{Name: f.Name, Type: typeName(conn, f.DataTypeOID)})
	}
	if full {
		stop() // the server is told to make no more rows
		_, _ = reader.Close()
		return g.Result, nil
	}
	_, err := reader.Close()
	return g.Result, err
}

func typeName(conn *pgx.Conn, oid uint32) string {
	if t, ok := conn.TypeMap().TypeForOID(oid); ok {
		return t.Name
	}
	return ""
}

// valueOf is a value as PostgreSQL writes it; numbers and booleans are such.
func valueOf(oid uint32, text []byte) any {
	if text == nil {
		return nil
	}
	s := string(text)
	switch oid {
	case pgtype.BoolOID:
		return s == "t"
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.NumericOID, pgtype.Float4OID, pgtype.Float8OID, pgtype.OIDOID:
		if json.Valid(text) { // NaN and Infinity are none
			return json.Number(s)
		}
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// failed tells what PostgreSQL says of a statement, but of what is no statement's fault.
func (d *postgresDatabase) failed(ctx context.Context, within time.Duration, err error) error {
	const cancelled, noConnection, noResources, operator = "57014", "08", "53", "57P"
	if e, ok := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err); ok && e != nil {
		return stead.Invalid("sql", "a row of the answer has more than %d bytes", maxAnswerBytes)
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok:
		return failures(d.name).Of(ctx, within, err, "")
	case e.Code == cancelled:
		return failures(d.name).Late(within, err)
	case strings.HasPrefix(e.Code, noConnection), strings.HasPrefix(e.Code, noResources), strings.HasPrefix(e.Code, operator), strings.HasPrefix(e.Code, "28"), strings.HasPrefix(e.Code, "3D"):
		return failures(d.name).Of(ctx, within, err, "")
	}
	said := e.Message
	if e.Hint != "" {
		said += " (" + e.Hint + ")"
	}
	return failures(d.name).Of(ctx, within, err, said)
}
