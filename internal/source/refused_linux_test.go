package source_test

import (
	"context"
	stdsql "database/sql"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead"
	sqldb "github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/database/reader"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/git"
	"github.com/stead-dev/stead/internal/source/mcp"
	"github.com/stead-dev/stead/internal/source/sql"
	toolmcp "github.com/stead-dev/stead/internal/tool/mcp"
)

// guarded is something that a source reads until it is refused, or away.
type guarded struct {
	spec   source.Spec
	query  string
	path   string // of the document that query finds
	reader source.Reader
	refuse func(bool)
	away   func(bool)
}

// door answers with a status, when it has one, and else lets through.
func door(status *atomic.Int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := status.Load(); s != 0 {
			w.WriteHeader(int(s))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func turns(status *atomic.Int64, to int64) func(bool) {
	return func(on bool) {
		if status.Store(0); on {
			status.Store(to)
		}
	}
}

func guardedSite(t *testing.T) guarded {
	s, status := newSite(t), &atomic.Int64{}
	s.on("/", door(status, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<p>Wages.</p>"))
	})).ServeHTTP)
	return guarded{source.Spec{Type: source.Web, Site: "docs"}, "wages", "/", reading(nil, s.local("/")), turns(status, http.StatusUnauthorized), turns(status, http.StatusBadGateway)}
}

func guardedRepository(t *testing.T) guarded {
	r, status := newRepository(t), &atomic.Int64{}
	r.write("wages.md", "Wages.\n")
	r.commit()
	server := elsewhere(t, r, func(next http.Handler) http.Handler { return door(status, next) })
	return guarded{source.Spec{Type: source.Git, Repository: "tool"}, "wages", "wages.md", git.New([]git.Repository{{Name: "tool", URL: server.URL + "/.git", Token: "a-token"}}, t.TempDir()),
		turns(status, http.StatusNotFound), turns(status, http.StatusBadGateway)}
}

func guardedServer(t *testing.T) guarded {
	s := sdk.NewServer(&sdk.Implementation{Name: "library", Version: "1"}, nil)
	s.AddResource(&sdk.Resource{URI: "shop://wages", Name: "wages"}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: "shop://wages", Text: "Wages."}}}, nil
	})
	s.AddResource(&sdk.Resource{URI: "shop://wages/notes", Name: "notes", Annotations: &sdk.Annotations{Audience: []sdk.Role{"user"}}}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: "shop://wages/notes", Text: "Wages for people's eyes."}}}, nil
	})
	status := &atomic.Int64{}
	srv := httptest.NewServer(door(status, sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil)))
	t.Cleanup(srv.Close)
	m := toolmcp.New(toolmcp.Config{Servers: []toolmcp.Configured{{Label: "library", URL: srv.URL}}, ConnectTimeout: 10 * time.Second})
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return guarded{source.Spec{Type: source.MCP, Server: "library"}, "wages", "shop://wages", mcp.New([]mcp.Server{{Label: "library"}}, m, time.Now), turns(status, http.StatusForbidden), turns(status, http.StatusBadGateway)}
}

func guardedPostgres(t *testing.T) guarded {
	w := newWarehouse(t, "reader", "elsewhere")
	w.exec(`ALTER ROLE @reader LOGIN; CREATE TABLE wages (id INTEGER PRIMARY KEY); GRANT SELECT ON wages TO @reader`)
	d, err := reader.Open(sqldb.Config{Name: "shop", Driver: sqldb.PostgreSQL, DSN: strings.Replace(w.url, "user=postgres", "user="+w.role("reader"), 1)})
	check(t, err)
	t.Cleanup(func() { d.Close() })
	login := func(may bool) {
		if may {
			w.exec("ALTER ROLE @reader LOGIN")
		} else {
			w.exec("ALTER ROLE @reader NOLOGIN")
		}
	}
	return guarded{source.Spec{Type: source.SQL, Database: "shop"}, "wages", "public.wages", sqlReader(d), func(on bool) { login(!on) }, nil}
}

func guardedFile(t *testing.T) guarded {
	f := newTree(t)
	f.public()
	at := filepath.Join(f.dir, "shop.db")
	raw, err := stdsql.Open("sqlite", "file:"+at)
	check(t, err)
	_, err = raw.Exec("CREATE TABLE wages (id INTEGER PRIMARY KEY)")
	check(t, err)
	raw.Close()
	d, err := reader.Open(sqldb.Config{Name: "shop", Driver: sqldb.SQLite, DSN: at})
	check(t, err)
	t.Cleanup(func() { d.Close() })
	return guarded{source.Spec{Type: source.SQL, Database: "shop"}, "wages", "main.wages", nobody{sqlReader(d)}, func(on bool) {
		mode := os.FileMode(0o644)
		if on {
			mode = 0o600
		}
		if os.Geteuid() != 0 && on {
			mode = 0
		}
		f.chmod("shop.db", mode)
	}, func(on bool) {
		from, to := at, at+".away"
		if !on {
			from, to = to, from
		}
		check(t, os.Rename(from, to))
	}}
}

func sqlReader(d sqldb.Database) source.Reader {
	return sql.New([]sql.Grant{{Database: d, Projects: []stead.ProjectID{stead.DefaultProject}}})
}

// taken is a Reader that the operator may take away.
type taken struct {
	source.Reader
	away atomic.Bool
}

func (r *taken) Check(p stead.ProjectID, s source.Spec) error {
	if r.away.Load() {
		return stead.Invalid("directory", "there is no directory for this project")
	}
	return r.Reader.Check(p, s)
}

// TestASourceThatRefusesIsNobodys: what a source lets us read no more, as a whole, is hidden from the next synchronisation on, by whatever word it says so, and found
// again once it lets us, though nothing of it is read again. A source that is only away hides nothing.
func TestASourceThatRefusesIsNobodys(t *testing.T) {
	for name, begin := range map[string]func(*testing.T) guarded{"site": guardedSite, "repository": guardedRepository, "tool server": guardedServer, "PostgreSQL": guardedPostgres, "SQLite": guardedFile} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, db database) {
				g := begin(t)
				r := &taken{Reader: g.reader}
				n := readBy(t, db, g.spec.Type, r, &atomic.Int64{}).begin()
				store := n.store()
				src, err := n.Create(t.Context(), n.me, store, g.spec, "", "")
				check(t, err)
				if now := n.ended(src, 1); now.State.Error != nil {
					t.Fatalf("it is not read: %+v", now.State.Error)
				}
				finds := func(when, want string) {
					t.Helper()
					n.want(when, n.finds(n.me, store, g.query), want)
				}
				syncs := func(when, code string) {
					t.Helper()
					n.again(src)
					now := n.ended(src, 1)
					if got := now.State.Error; code == "" && got != nil || code != "" && (got == nil || got.Code != code) {
						t.Errorf("%s: the error is %+v, want %q", when, got, code)
					}
				}
				finds("at first", g.path)
				if g.away != nil {
					g.away(true)
					syncs("away", "unavailable")
					finds("away", g.path)
					g.away(false)
				}
				g.refuse(true)
				syncs("refused", "refused")
				finds("refused", "")
				changed, err := n.Update(t.Context(), n.me, store, src.ID, &[]source.Rule{{Paths: []string{"**"}, Everyone: true}}, nil)
				check(t, err)
				finds("with other rules", "")
				n.ended(changed, changed.Run+1)
				g.refuse(false)
				if g.away != nil {
					g.away(true)
					syncs("away, then", "unavailable")
					finds("away, then: nobody knows that it lets us again", "")
					g.away(false)
				}
				syncs("let in", "")
				finds("let in", g.path)
				r.away.Store(true)
				syncs("taken away", "refused")
				finds("by the operator", "")
				r.away.Store(false)
				syncs("given", "")
				finds("given", g.path)
			})
		})
	}
}

// TestARepositoryThatIsNotListed: git needs no list of a repository's directory, and so nor do we.
func TestARepositoryThatIsNotListed(t *testing.T) {
	r := newRepository(t)
	r.public()
	r.write("a.md", "Apples.")
	r.commit()
	read := nobody{git.New([]git.Repository{{Name: "tool", Path: r.dir}}, t.TempDir())}
	r.chmod(".", 0o311)
	t.Cleanup(func() { r.chmod(".", 0o755) })
	var got []string
	if _, err := read.Walk(t.Context(), source.Walk{Project: stead.DefaultProject, Spec: source.Spec{Type: source.Git, Repository: "tool"}, Visit: func(d source.Document) error {
		got = append(got, d.Path)
		return nil
	}}); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
