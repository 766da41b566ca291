package source_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/git"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// repository is one that somebody works in.
type repository struct{ *tree }

func newRepository(t *testing.T) repository {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	r := repository{newTree(t)}
	r.git("init", "--quiet", "--initial-branch=main")
	return r
}

func (r repository) git(args ...string) string {
	r.Helper()
	c := exec.CommandContext(r.Context(), "git", args...)
	c.Dir = r.dir
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := c.CombinedOutput()
	if err != nil {
		r.Fatalf("git %v: %v %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit commits everything, and returns the commit.
func (r repository) commit() string {
	r.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "--message=x")
	return r.git("rev-parse", "HEAD")
}

// gitNode is a node that reads repositories.
func gitNode(t *testing.T, db database, repositories ...git.Repository) *node {
	t.Helper()
	n := newNode(t, db, t.TempDir(), &atomic.Int64{}, policy.AllowLocal{})
	n.reader = &counting{Reader: git.New(repositories, t.TempDir())}
	n.Service = source.NewService(source.Config{Documents: db, Stores: n.vectors, Readers: map[string]source.Reader{source.Git: n.reader}, Now: time.Now})
	return n.begin()
}

func (n *node) gitSource(store string, spec source.Spec) source.Source {
	n.Helper()
	spec.Type = source.Git
	made, err := n.Create(n.Context(), n.me, store, spec, "", "")
	if err != nil {
		n.Fatal(err)
	}
	return made
}

func TestARepositoryIsFollowed(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		r := newRepository(t)
		r.write("README.md", "# Tool\n\n## Setup\n\nInstall the tool by hand.\n")
		r.write("src/main.go", "package main\n\nfunc frobnicate() {\n}\n")
		r.write("docs/with space – ü.md", "Unusual names are read.\n")
		r.write(".github/ci.yml", "frobnicate: true\n")
		r.write("src/big.bin", "\x00\x01")
		if err := os.Symlink("/etc/passwd", filepath.Join(r.dir, "link.md")); err != nil {
			t.Fatal(err)
		}
		// What a repository says to run is not run.
		trap := filepath.Join(t.TempDir(), "trap")
		r.write(".gitattributes", "*.md filter=trap diff=trap\n")
		for _, key := range []string{"filter.trap.smudge", "filter.trap.clean", "diff.trap.textconv", "core.fsmonitor", "core.sshCommand", "core.pager"} {
			r.git("config", key, "sh -c 'cat; touch "+trap+"'")
		}
		r.git("-c", "filter.trap.clean=cat", "-c", "core.fsmonitor=false", "add", "--all")
		r.git("-c", "filter.trap.clean=cat", "-c", "core.fsmonitor=false", "commit", "--quiet", "--message=x")
		first := r.git("rev-parse", "HEAD")
		_ = os.Remove(trap)
		n := gitNode(t, db, git.Repository{Name: "tool", Path: r.dir}, git.Repository{Name: "theirs", Path: r.dir, Projects: []stead.ProjectID{"two"}})
		store := n.store()
		src := n.gitSource(store, source.Spec{Repository: "tool"})
		n.want("the first", did(n.ended(src, 1)), "+3 ~0 -0 =0 !1")
		n.want("setup", n.finds(n.me, store, "install setup"), "README.md")
		found, err := n.vectors.Search(t.Context(), n.me, store, vectorstore.Search{Queries: []string{"frobnicate"}})
		if err != nil || len(found) != 1 || found[0].File.Origin.Version != first || found[0].File.Origin.URI != "repository://tool/src/main.go" || fmt.Sprint(found[0].Lines) != "[1 4]" {
			t.Fatalf("%+v %v", found, err)
		}
		if _, err := os.Stat(trap); err == nil {
			t.Error("what the repository names was run")
		}
		for _, key := range []string{"filter.trap.smudge", "filter.trap.clean", "diff.trap.textconv", "core.fsmonitor", "core.sshCommand", "core.pager"} {
			r.git("config", "--unset", key)
		}

		read := n.reader.read.Load()
		r.git("rm", "--quiet", "src/big.bin", ".gitattributes")
		r.write("src/main.go", "package main\n\nfunc defenestrate() {\n}\n")
		r.git("mv", "README.md", "docs/README.md")
		second := r.commit()
		n.want("the second", n.again(src), "+1 ~1 -2 =1 !0")
		if got := n.reader.read.Load() - read; got != 2 {
			t.Errorf("%d blobs were read, two are new to a path", got)
		}
		n.want("it moved", n.finds(n.me, store, "install setup"), "docs/README.md")
		n.want("it is gone", n.finds(n.me, store, "frobnicate"), "")
		file, err := n.vectors.GetFile(t.Context(), n.me, store, vectorstore.DocumentID(src.ID, "src/main.go"))
		if err != nil || file.Origin.Version != second || len(file.Origin.Superseded) != 1 || file.Origin.Superseded[0].Version != first {
			t.Errorf("%+v %v", file.Origin, err)
		}
		read = n.reader.read.Load()
		n.want("as it was", n.again(src), "+0 ~0 -0 =3 !0")
		if n.reader.read.Load() != read || n.ended(src, 1).Version != second {
			t.Error("what did not change was read")
		}

		// Another branch; a force push that takes a commit back; a branch that is gone.
		r.git("checkout", "--quiet", "-b", "next")
		r.write("next.md", "Cucumbers come next.\n")
		r.commit()
		other := n.store()
		next := n.gitSource(other, source.Spec{Repository: "tool", Branch: "next", Include: []string{"*.md"}})
		n.want("a branch", did(n.ended(next, 1)), "+3 ~0 -0 =0 !0")
		r.git("reset", "--quiet", "--hard", "main")
		n.want("it was taken back", n.again(next), "+0 ~0 -1 =2 !0")
		r.git("checkout", "--quiet", "main")
		r.git("branch", "--quiet", "-D", "next")
		n.want("it is gone", n.again(next), "+0 ~0 -0 =0 !0")
		if s := n.ended(next, 1); s.State.Error == nil || !strings.Contains(s.State.Error.Message, `no branch "next"`) || strings.Contains(s.State.Error.Message, r.dir) {
			t.Errorf("%+v", s.State.Error)
		}
		n.want("nothing is forgotten", n.finds(n.me, other, "install"), "docs/README.md")
		part := n.gitSource(n.store(), source.Spec{Repository: "tool", Path: "src"})
		n.want("a part", did(n.ended(part, 1)), "+1 ~0 -0 =0 !0")

		for param, spec := range map[string]source.Spec{
			"repository": {Type: source.Git, Repository: "theirs"}, "branch": {Type: source.Git, Repository: "tool", Branch: "--upload-pack=x"}, "path": {Type: source.Git, Repository: "tool", Path: "a:b"},
		} {
			if _, err := n.Create(t.Context(), n.me, store, spec, "", ""); err == nil || err.(*stead.Error).Param != param {
				t.Errorf("%s: %v", param, err)
			}
		}
	})
}

// elsewhere serves a repository over https to who has the token, through front; the machine's git trusts it.
func elsewhere(t *testing.T, r repository, front func(next http.Handler) http.Handler) *httptest.Server {
	t.Helper()
	core, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(strings.TrimSpace(string(core)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skip("this git serves no http: ", err)
	}
	handler := &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + r.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	server := httptest.NewTLSServer(front(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, token, _ := req.BasicAuth(); token != "a-token" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, req)
	})))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificateOf(server.Certificate())}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_SSL_CAINFO", ca)
	return server
}

// walked walks through a branch: its version, and what was met.
func walked(ctx context.Context, repo git.Repository, copies, branch, version string) (string, string, error) {
	var names []string
	repo.Name = "r"
	v, err := git.New([]git.Repository{repo}, copies).Walk(ctx, source.Walk{Project: "p", Spec: source.Spec{Type: source.Git, Repository: "r", Branch: branch}, Version: version, Visit: func(d source.Document) error {
		c, err := d.Read(context.Background())
		names = append(names, d.Path+"="+strings.TrimSpace(string(c.Data[:min(len(c.Data), 20)])))
		return err
	}})
	return v, strings.Join(names, " "), err
}

// A repository elsewhere is fetched over https, with its token, from whom the certificate is of, and from nowhere else.
func TestARepositoryIsFetched(t *testing.T) {
	r := newRepository(t)
	r.write("a.md", "Apples.\n")
	first := r.commit()
	var away atomic.Bool
	server := elsewhere(t, r, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if away.Load() {
				http.Redirect(w, req, "https://"+req.Host+"/elsewhere"+req.URL.Path, http.StatusFound)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	walk := func(repo git.Repository, copies, version string) (string, string, error) {
		return walked(t.Context(), repo, copies, "main", version)
	}
	copies := t.TempDir()
	repo := git.Repository{URL: server.URL + "/.git", Token: "a-token"}
	if v, names, err := walk(repo, copies, ""); err != nil || v != first || names != "a.md=Apples." {
		t.Fatal(v, names, err)
	}
	r.write("b.md", "Bananas.\n")
	second := r.commit()
	if v, names, err := walk(repo, copies, first); err != nil || v != second || names != "a.md=Apples. b.md=Bananas." {
		t.Fatal(v, names, err)
	}
	if v, names, err := walk(repo, copies, second); err != source.ErrUnchanged || v != second || names != "" {
		t.Fatal(v, names, err)
	}
	for what, repo := range map[string]git.Repository{
		"a wrong token": {URL: repo.URL, Token: "another"}, "no token": {URL: repo.URL}, "another protocol": {URL: "http" + strings.TrimPrefix(repo.URL, "https"), Token: "a-token"}, "a file": {URL: "file://" + r.dir},
		"a command": {URL: "ext::touch " + copies + "/ran"},
	} {
		want := stead.KindUnavailable
		if strings.HasSuffix(what, "token") {
			want = stead.KindForbidden
		}
		if _, _, err := walk(repo, t.TempDir(), ""); stead.KindOf(err) != want || strings.Contains(err.Error(), "a-token") {
			t.Errorf("%s: %v", what, err)
		}
	}
	away.Store(true)
	if _, _, err := walk(repo, copies, second); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("a redirect: %v", err)
	}
}

// Whatever a git that was killed left in a copy, the repository is read the next time; while it can't be reached, the copy stays.
func TestAKilledGitLeavesAnything(t *testing.T) {
	r := newRepository(t)
	r.write("a.md", "Apples.\n")
	first := r.commit()
	var away atomic.Bool
	server := elsewhere(t, r, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if away.Load() {
				http.Error(w, "not now", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	above := newRepository(t) // a data directory in somebody's repository is none of ours
	repo, copies := git.Repository{URL: server.URL + "/.git", Token: "a-token"}, filepath.Join(above.dir, "copies")
	mine := filepath.Join(copies, "r.git")
	want := func(what, branch, names string) {
		t.Helper()
		if _, got, err := walked(t.Context(), repo, copies, branch, ""); err != nil || got != names {
			t.Errorf("%s: %q %v", what, got, err)
		}
		left, err := os.ReadDir(copies)
		if err != nil || len(left) != 1 || left[0].Name() != "r.git" {
			t.Errorf("%s: left is %v %v", what, left, err)
		}
	}
	write := func(name string) {
		t.Helper()
		at := filepath.Join(mine, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(mine, 0o700); err != nil { // killed before init
		t.Fatal(err)
	}
	want("an empty copy", "main", "a.md=Apples.")
	if refs := above.git("for-each-ref"); refs != "" {
		t.Errorf("the repository above has %s", refs)
	}
	write("shallow.lock")
	r.write("b.md", "Bananas.\n")
	r.commit()
	want("a locked copy", "main", "a.md=Apples. b.md=Bananas.")
	write("refs/stead/branch/main.lock")
	r.git("reset", "--quiet", "--hard", first)
	want("a locked branch", "main", "a.md=Apples.")
	if err := os.MkdirAll(filepath.Join(copies, "r.git.new"), 0o700); err != nil { // killed while it was made anew
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(mine, "HEAD")); err != nil {
		t.Fatal(err)
	}
	want("half a copy", "main", "a.md=Apples.")
	r.git("branch", "--quiet", "--move", "main", "main/next")
	want("a branch under the name of one that is gone", "main/next", "a.md=Apples.")

	write("whole")
	away.Store(true)
	if _, _, err := walked(t.Context(), repo, copies, "main/next", ""); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("away: %v", err)
	}
	if _, err := os.Stat(filepath.Join(mine, "whole")); err != nil {
		t.Errorf("the copy went while its repository could not be reached: %v", err)
	}
	away.Store(false)
	want("and then", "main/next", "a.md=Apples.")
}

// A git that is told to end while it fetches leaves no locks.
func TestAFetchIsEnded(t *testing.T) {
	r := newRepository(t)
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	r.write("noise.bin", string(noise))
	r.commit()
	half := make(chan struct{})
	server := elsewhere(t, r, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			next.ServeHTTP(&stalling{ResponseWriter: w, until: req.Context(), left: 256 << 10, stalls: sync.OnceFunc(func() { close(half) }),
				stays: func() { t.Error("git is gone, and the helper that it had reads on") }}, req)
		})
	})
	copies := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, _, err := walked(ctx, git.Repository{URL: server.URL + "/.git", Token: "a-token"}, copies, "main", "")
		ended <- err
	}()
	<-half
	locks := func() (out []string) {
		err := filepath.WalkDir(copies, func(path string, _ os.DirEntry, err error) error {
			if strings.HasSuffix(path, ".lock") {
				out = append(out, path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return out
	}
	for end := time.Now().Add(10 * time.Second); len(locks()) == 0; time.Sleep(5 * time.Millisecond) { // half is what was sent, not what git has read
		if time.Now().After(end) {
			t.Fatal("git locks nothing: the test shows nothing")
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it went through")
	}
	if left := locks(); len(left) > 0 {
		t.Errorf("left is %v", left)
	}
}

// stalling is an answer that stops somewhere in the middle.
type stalling struct {
	http.ResponseWriter
	until  context.Context
	left   int
	stalls func()
	stays  func() // nobody goes away who reads
}

func (s *stalling) Write(b []byte) (int, error) {
	if s.left -= len(b); s.left < 0 {
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		s.stalls()
		select {
		case <-s.until.Done():
		case <-time.After(20 * time.Second):
			s.stays()
		}
		return 0, io.ErrUnexpectedEOF
	}
	return s.ResponseWriter.Write(b)
}

func certificateOf(c *x509.Certificate) []byte { return c.Raw }
