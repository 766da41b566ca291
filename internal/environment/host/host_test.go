package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/bare"
	"github.com/stead-dev/stead/internal/environment/ns"
	"github.com/stead-dev/stead/internal/environment/wrap"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/template"
)

func TestMain(m *testing.M) {
	if os.Args[0] == ns.Argv0 {
		ns.Main()
	}
	os.Exit(m.Run())
}

// painted is the bare driver, made to look as if it could do what a sandbox can: it keeps the specs
// that it was given. Set-up commands find the directory of their layer in $UPPER, and the
// sockets in $SERVICES.
type painted struct {
	bare.Provider
	mu    sync.Mutex
	specs []environment.Spec
	fails []error // of the next opens
}

func (p *painted) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	p.mu.Lock()
	p.specs = append(p.specs, spec)
	var err error
	if len(p.fails) > 0 {
		err, p.fails = p.fails[0], p.fails[1:]
	}
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	spec.Env = maps.Clone(spec.Env)
	if spec.Env == nil {
		spec.Env = map[string]string{}
	}
	spec.Env["UPPER"], spec.Env["SERVICES"] = spec.Root.Upper, spec.Services
	spec.Root, spec.Egress, spec.AsRoot = environment.Root{}, false, false
	return p.Provider.Open(ctx, spec)
}

// last is the spec of the last open.
func (p *painted) last() environment.Spec {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.specs[len(p.specs)-1]
}

// bench is a host with real files and real blobs, and one session's story.
type bench struct {
	*Host
	t      *testing.T
	driver *painted
	key    stead.SessionKey
	state  environment.State
}

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	dir, err := blob.OpenDir(filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	keys, err := seal.New(bytes.Repeat([]byte{7}, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, driver: &painted{}, key: stead.SessionKey{Project: "default", Session: "sess_0123"}}
	cfg := Config{Dir: t.TempDir(), Blobs: dir, Keys: keys, Driver: b.driver, Whole: wrap.New(documenttest.NewMemory(), time.Now).Whole}
	for _, c := range change {
		c(&cfg)
	}
	b.host(cfg)
	b.setup(template.Config{})
	return b
}

// host starts a host, as another start of the server would.
func (b *bench) host(cfg Config) {
	b.t.Helper()
	h, err := New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Host = h
	b.t.Cleanup(func() { _ = h.Close(context.Background()) })
}

// again is another start of the server on the same disk; what it had resident is gone.
func (b *bench) again(change ...func(*Config)) {
	b.t.Helper()
	_ = b.Close(context.Background())
	cfg := b.cfg
	for _, c := range change {
		c(&cfg)
	}
	b.host(cfg)
}

// setup says what the session's environment is made of.
func (b *bench) setup(cfg template.Config) {
	b.t.Helper()
	ctx := context.Background()
	cfg.Type = template.TypeHosted
	for range cfg.Commands {
		cfg.Setup = append(cfg.Setup, template.Setup{Dir: environment.WorkspaceDir})
	}
	for _, data := range cfg.Bytes {
		if _, err := b.cfg.Blobs.Put(ctx, b.key, data); err != nil {
			b.t.Fatal(err)
		}
	}
	public, err := json.Marshal(cfg.Public)
	if err != nil {
		b.t.Fatal(err)
	}
	sealed := cfg.Secret.Seal(b.cfg.Keys, wrap.Label(b.key.Project, b.key.Session))
	digest, err := b.cfg.Blobs.Put(ctx, b.key, sealed)
	if err != nil {
		b.t.Fatal(err)
	}
	b.state.Setup = environment.Setup{
		Type: string(template.TypeHosted), Config: public, Owner: b.key.Session, Sealed: &stead.Text{Digest: digest, Bytes: len(sealed)},
	}
	b.state.Note = func(context.Context, string, any) error { return nil }
}

func (b *bench) prepare() {
	b.t.Helper()
	made, err := b.Prepare(context.Background(), b.key, b.state.Setup, b.state.Note)
	if err != nil {
		b.t.Fatal(err)
	}
	b.state.Layer, b.state.Checkpoint = made.Layer, made.Checkpoint.Digest
}

// open begins the next residence, as a journal that knows all before it would.
func (b *bench) open() environment.Opened {
	b.t.Helper()
	o, err := b.tryOpen()
	if err != nil {
		b.t.Fatal(err)
	}
	b.state.Residence, b.state.Files = b.state.Next, nil
	return o
}

func (b *bench) tryOpen() (environment.Opened, error) {
	b.state.Next += 10
	return b.Open(context.Background(), b.key, b.state)
}

func (b *bench) sh(script string) string {
	b.t.Helper()
	env, err := b.find(b.key)
	if err != nil {
		b.t.Fatal(err)
	}
	var out strings.Builder
	exit, err := env.Exec(context.Background(), environment.Command{Args: []string{"sh", "-c", script}}, func(c environment.Chunk) { out.Write(c.Data) })
	if err != nil || exit.Code != 0 {
		b.t.Fatalf("%s: %+v, %v: %s", script, exit, err, out.String())
	}
	return out.String()
}

func (b *bench) save() environment.Saved {
	b.t.Helper()
	s, err := b.Save(context.Background(), b.key, environment.SaveRequest{Previous: b.state.Checkpoint, Files: b.state.Files})
	if err != nil {
		b.t.Fatal(err)
	}
	b.state.Checkpoint, b.state.Files = s.Checkpoint.Digest, nil
	return s
}

// gone removes the workspace from outside.
func (b *bench) gone() {
	b.t.Helper()
	if err := os.RemoveAll(b.place(b.key).workspace()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) suspend() environment.Saved {
	b.t.Helper()
	s, err := b.Suspend(context.Background(), b.key, environment.SaveRequest{Previous: b.state.Checkpoint})
	if err != nil {
		b.t.Fatal(err)
	}
	b.state.Checkpoint = s.Checkpoint.Digest
	return s
}

// read is the content of a file as the host answers it; "" when there is none.
func (b *bench) read(path string) string {
	b.t.Helper()
	var data bytes.Buffer
	err := b.ReadFile(context.Background(), b.key, b.state, path, &data)
	if stead.KindOf(err) == stead.KindNotFound {
		return ""
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return data.String()
}

func (b *bench) is(path, want string) {
	b.t.Helper()
	if got := b.read(path); got != want {
		b.t.Errorf("%s holds %q, want %q", path, got, want)
	}
}

// ready is a bench whose environment is open, with a checkpoint that has /workspace/f with "saved" and
// a workspace in which it says "later".
func ready(t *testing.T, change ...func(*Config)) *bench {
	b := newBench(t, change...)
	b.prepare()
	b.open()
	b.sh("echo saved > f")
	b.save()
	b.sh("echo later > f")
	return b
}

// TestWorkspaceAtTheNextOpen: what a new residence begins with.
func TestWorkspaceAtTheNextOpen(t *testing.T) {
	for _, tc := range []struct {
		name  string
		harm  func(b *bench)
		kept  bool
		holds string
	}{
		{"the server was killed", func(b *bench) { b.again() }, true, "later\n"},
		{"this node's environment died", func(b *bench) { b.Drop(b.key, b.state.Residence) }, true, "later\n"},
		{"a residence before it is dropped late", func(b *bench) { b.Drop(b.key, b.state.Residence-10) }, true, "later\n"},
		{"it was suspended", func(b *bench) { b.suspend() }, false, "later\n"},
		{"the suspension never came into the journal", func(b *bench) {
			before := b.state.Checkpoint
			b.suspend()
			b.state.Checkpoint = before
		}, true, "later\n"},
		{"a checkpoint never came into the journal", func(b *bench) {
			before := b.state.Checkpoint
			b.save()
			b.state.Checkpoint = before
			b.again()
		}, true, "later\n"},
		{"the machine was started anew", func(b *bench) {
			b.again()
			b.boot = "another"
		}, false, "saved\n"},
		{"another node had it since", func(b *bench) {
			b.again()
			b.state.Residence += 5
		}, false, "saved\n"},
		{"its state is torn", func(b *bench) {
			b.again()
			if err := os.WriteFile(filepath.Join(b.place(b.key).dir, stateFile), []byte(`{"checkpoint":"`), 0o600); err != nil {
				b.t.Fatal(err)
			}
		}, false, "saved\n"},
		{"its state is gone", func(b *bench) {
			b.again()
			if err := os.Remove(filepath.Join(b.place(b.key).dir, stateFile)); err != nil {
				b.t.Fatal(err)
			}
		}, false, "saved\n"},
		{"a crash in a restore", func(b *bench) {
			b.again()
			if err := errors.Join(b.place(b.key).setState(state{Boot: b.boot}), os.WriteFile(filepath.Join(b.place(b.key).workspace(), "half"), nil, 0o600)); err != nil {
				b.t.Fatal(err)
			}
		}, false, "saved\n"},
		{"somebody removed its files", func(b *bench) {
			b.again()
			b.gone()
		}, false, "saved\n"},
		{"somebody removed its files while it was resident", func(b *bench) {
			b.gone()
			if _, err := b.Save(b.t.Context(), b.key, environment.SaveRequest{Previous: b.state.Checkpoint}); stead.KindOf(err) != stead.KindUnavailable {
				b.t.Errorf("a save of nothing: %v", err)
			}
			if _, err := b.box(b.key); err == nil {
				b.t.Error("what can't be stored goes on")
			}
		}, false, "saved\n"},
		{"it is on another disk", func(b *bench) {
			b.again(func(c *Config) { c.Dir = b.t.TempDir() })
		}, false, "saved\n"},
		{"an open that failed for now", func(b *bench) {
			b.again()
			b.driver.fails = []error{stead.Errorf(stead.KindUnavailable, "busy"), stead.Errorf(stead.KindUnavailable, "busy")}
			for range 2 {
				if _, err := b.tryOpen(); err == nil {
					b.t.Fatal("it opened")
				}
			}
		}, true, "later\n"},
		{"an open that the journal never heard of", func(b *bench) {
			before := b.state.Residence
			b.again()
			b.open()
			b.again()
			b.state.Residence = before
		}, true, "later\n"},
		{"somebody looked at it", func(b *bench) {
			b.again()
			b.is("/workspace/f", "later\n")
		}, true, "later\n"},
		{"somebody looked at it who knew less of the journal", func(b *bench) {
			b.again()
			now := b.state
			b.state.Residence -= 10
			b.is("/workspace/f", "later\n")
			b.state = now
		}, true, "later\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := ready(t)
			tc.harm(b)
			if o := b.open(); o.Kept != tc.kept {
				t.Errorf("kept: %v", o.Kept)
			}
			if got := b.sh("cat f; ls"); got != tc.holds+"f\noutputs\n" {
				t.Errorf("the workspace holds %q", got)
			}
		})
	}
}

// TestLookingWhileItOpens: a listing and an open at once leave the workspace whole.
func TestLookingWhileItOpens(t *testing.T) {
	b := ready(t)
	b.sh("for i in $(seq 100); do echo $i > n$i; done")
	b.suspend()
	b.again(func(c *Config) { c.Dir = t.TempDir() }) // everything has to be restored
	from := b.state
	var looking sync.WaitGroup
	for range 4 {
		looking.Go(func() {
			page, err := b.Files(context.Background(), b.key, from, environment.ListQuery{Limit: environment.MaxListed})
			if err != nil || len(page.Files) != 101 {
				t.Errorf("%d files, %v", len(page.Files), err)
			}
		})
	}
	b.open()
	looking.Wait()
	if got := b.sh("cat n* f | wc -l"); strings.TrimSpace(got) != "101" {
		t.Errorf("%s lines", got)
	}
	if len(b.places.held) != 0 {
		t.Errorf("%d turns are left", len(b.places.held))
	}
}

func TestSuspendStoresWhatProcessesDidAtTheirEnd(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Driver = nil })
	slow := &lastWord{Provider: bare.Provider{}}
	b.cfg.Driver = slow
	b.prepare()
	b.open()
	b.suspend()
	b.again(func(c *Config) { c.Dir = t.TempDir() })
	b.is("/workspace/end", "the last word")
}

// lastWord is a driver whose processes write a file as they end.
type lastWord struct{ bare.Provider }

func (l *lastWord) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	env, err := l.Provider.Open(ctx, spec)
	return &ending{env, filepath.Join(spec.Workspace, "end")}, err
}

type ending struct {
	environment.Environment
	file string
}

func (e *ending) Close(ctx context.Context) error {
	return errors.Join(os.WriteFile(e.file, []byte("the last word"), 0o600), e.Environment.Close(ctx))
}

func TestMaxResident(t *testing.T) {
	b := newBench(t)
	b.prepare()
	for i := range MaxResident {
		b.boxes[stead.SessionKey{Session: stead.SessionID(rune(i))}] = &box{}
	}
	if _, err := b.tryOpen(); stead.KindOf(err) != stead.KindUnavailable || !strings.Contains(err.Error(), "1000") {
		t.Errorf("one more: %v", err)
	}
	clear(b.boxes)
	b.open()
}

func TestForgetRemovesEverything(t *testing.T) {
	b := ready(t)
	b.sh("mkdir -p deep/er && echo x > deep/er/f && chmod 000 deep/er deep; ln -s / out; mkfifo pipe")
	if err := b.Forget(context.Background(), b.key); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(b.place(b.key).dir); !os.IsNotExist(err) {
		t.Errorf("it is left: %v", err)
	}
	if _, err := b.find(b.key); err == nil {
		t.Error("it is open")
	}
	if err := b.Forget(context.Background(), b.key); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestFilesThatWaitAreThere(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.open()
	b.sh("mkdir d; for f in b d/x e g; do echo old > $f; done")
	b.suspend()
	wait := func(path, text string) {
		digest, err := b.cfg.Blobs.Put(context.Background(), b.key, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		b.state.Files = append(b.state.Files, environment.Put{Path: path, Data: stead.Text{Digest: digest, Bytes: len(text)}})
	}
	for _, f := range []string{"a", "d/y", "e", "h", "new/z"} {
		wait("/workspace/"+f, "waits")
	}
	b.is("/workspace/e", "waits")
	b.is("/workspace/new/z", "waits")
	all := []string{"a", "b", "d/x", "d/y", "e", "g", "h", "new/z"}
	for _, desc := range []bool{false, true} {
		want := slices.Clone(all)
		if desc {
			slices.Reverse(want)
		}
		for limit := 1; limit <= 9; limit++ {
			var got []string
			q := environment.ListQuery{Limit: limit, Desc: desc}
			for more := true; more; {
				page, err := b.Files(context.Background(), b.key, b.state, q)
				if err != nil || len(page.Files) > limit || len(got) > len(all) {
					t.Fatalf("page %+v, %v", page, err)
				}
				for _, f := range page.Files {
					got = append(got, strings.TrimPrefix(f.Path, "/workspace/"))
					q.After = f.Path
				}
				more = page.More
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d, descending %v: %q", limit, desc, got)
			}
		}
	}
	page, err := b.Files(context.Background(), b.key, b.state, environment.ListQuery{Dir: "/workspace/new", Limit: 9})
	if err != nil || len(page.Files) != 1 {
		t.Errorf("a directory that comes with them: %+v, %v", page, err)
	}
	b.open()
	if got := b.sh("cat a b d/x d/y e new/z"); got != "waits"+"old\nold\n"+"waits"+"waits"+"waits" {
		t.Errorf("the workspace holds %q", got)
	}
}

// TestArtifactsThatAreTooMany: what there is no room for is told once, and published when there is.
func TestArtifactsThatAreTooMany(t *testing.T) {
	store := &counting{}
	b := newBench(t, func(c *Config) { store.Store, c.Blobs = c.Blobs, store })
	b.prepare()
	b.open()
	b.sh("mkdir -p outputs; echo a > outputs/a; echo b > outputs/b; echo c > outputs/c")
	known := map[string]string{}
	publish := func(room int) (out, left []string) {
		t.Helper()
		s, err := b.Save(context.Background(), b.key, environment.SaveRequest{Publish: "/workspace/outputs", Known: known, Room: room, Previous: b.state.Checkpoint})
		if err != nil {
			t.Fatal(err)
		}
		b.state.Checkpoint = s.Checkpoint.Digest
		for _, l := range s.TooLarge {
			if !l.Many {
				t.Errorf("told as too large: %+v", l)
			}
			known[l.Path] = l.Mark()
			left = append(left, filepath.Base(l.Path))
		}
		for _, a := range s.Artifacts {
			known[a.Path] = a.Digest
			out = append(out, filepath.Base(a.Path))
		}
		return out, left
	}
	if out, left := publish(1); !slices.Equal(out, []string{"a"}) || !slices.Equal(left, []string{"b", "c"}) {
		t.Errorf("with room for one %q are published, %q are left", out, left)
	}
	before := store.puts.Load()
	if out, left := publish(environment.NoRoom); len(out)+len(left) != 0 || store.puts.Load() != before {
		t.Errorf("without room %q are published, %q are left, %d blobs stored", out, left, store.puts.Load()-before)
	}
	if out, left := publish(5); !slices.Equal(out, []string{"b", "c"}) || len(left) != 0 {
		t.Errorf("with room %q are published, %q are left", out, left)
	}
}

func TestArtifacts(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.open()
	var tooLarge []environment.TooLarge // of the last save
	publish := func(known map[string]string) map[string]environment.Published {
		t.Helper()
		s, err := b.Save(context.Background(), b.key, environment.SaveRequest{Publish: "/workspace/outputs", Known: known, Previous: b.state.Checkpoint})
		if err != nil {
			t.Fatal(err)
		}
		tooLarge = s.TooLarge
		out := map[string]environment.Published{}
		for _, a := range s.Artifacts {
			out[a.Path] = a
		}
		return out
	}
	if got := publish(nil); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
	b.sh("mkdir -p outputs/sub; echo one > outputs/a; head -c 9000000 /dev/zero > outputs/sub/large; : > outputs/empty; ln -s /etc/passwd outputs/out; truncate -s 600M outputs/huge; mkdir outputs/dir")
	first := publish(nil)
	large := first["/workspace/outputs/sub/large"]
	if len(tooLarge) != 1 || tooLarge[0].Path != "/workspace/outputs/huge" || tooLarge[0].Size != 600<<20 || tooLarge[0].Limit != MaxArtifactBytes {
		t.Errorf("too large: %+v", tooLarge)
	}
	if len(first) != 3 || large.Size != 9000000 || len(large.Parts) != 2 || large.Parts[0].Bytes != PartBytes {
		t.Fatalf("published %+v", first)
	}
	known := map[string]string{"/workspace/outputs/huge": tooLarge[0].Mark()}
	for path, a := range first {
		known[path] = a.Digest
	}
	b.sh("echo two > outputs/a; rm outputs/empty; touch outputs/sub/large")
	second := publish(known)
	if len(tooLarge) != 0 {
		t.Errorf("told again: %+v", tooLarge)
	}
	if len(second) != 1 || second["/workspace/outputs/a"].Digest == known["/workspace/outputs/a"] {
		t.Errorf("published again %+v", second)
	}
	data, err := b.cfg.Blobs.Get(context.Background(), b.key, second["/workspace/outputs/a"].Parts[0].Digest)
	if err != nil || string(data) != "two\n" {
		t.Errorf("it holds %q, %v", data, err)
	}
}

// TestSecretsOpenForTheirOwnerAlone: what is sealed for one session is nothing to another.
func TestSecretsOpenForTheirOwnerAlone(t *testing.T) {
	b := newBench(t)
	b.setup(template.Config{Public: template.Public{Variables: []string{"TOKEN"}}, Secret: template.Secret{Env: map[string]string{"TOKEN": "hunter2"}}})
	b.prepare()
	b.open()
	if got := b.sh("printf %s $TOKEN"); got != "hunter2" {
		t.Errorf("TOKEN is %q", got)
	}
	b.suspend()
	copied := b.key
	copied.Session = "sess_4567"
	if err := b.cfg.Blobs.Copy(context.Background(), b.key, copied, []string{b.state.Setup.Sealed.Digest, b.state.Checkpoint}); err != nil {
		t.Fatal(err)
	}
	from := b.state
	from.Residence = 0
	if _, err := b.Open(context.Background(), copied, from); err != nil {
		t.Errorf("a copy, which keeps the owner: %v", err)
	}
	for _, owner := range []stead.SessionID{"", "sess_4567", "sess_other"} {
		from.Setup.Owner = owner
		if _, err := b.Open(context.Background(), copied, from); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("as %q: %v", owner, err)
		}
	}
	from.Setup.Owner = b.key.Session
	other := stead.SessionKey{Project: "another", Session: b.key.Session}
	if err := b.cfg.Blobs.Copy(context.Background(), b.key, other, []string{b.state.Setup.Sealed.Digest}); err == nil {
		if _, err := b.Open(context.Background(), other, from); err == nil {
			t.Error("another project opened it")
		}
	}
}

// TestArtifactThatVanishes: between the listing and the reading, a file may go, or become something else.
func TestArtifactThatVanishes(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.open()
	b.sh("mkdir -p outputs/dir; ln -s /etc/passwd outputs/link; mkfifo outputs/pipe")
	box, err := b.box(b.key)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := openWorkspace(box.place)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, name := range []string{"none", "none/below", "dir", "link", "pipe"} {
		if p, err := b.publishFile(context.Background(), b.key, dir, environment.File{Path: "/workspace/outputs/" + name}, "", true); p != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// hired is a machine of the user's: the bare driver, whose executor is always there.
type hired struct {
	bare.Provider
	dir    string
	forgot *string // the environment that was, last
}

func (hired) Connected(string) bool { return true }

func (h hired) Forget(id string) {
	if h.forgot != nil {
		*h.forgot = id
	}
}

// Open works where the executor does.
func (h hired) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	spec.Workspace = h.dir
	return h.Provider.Open(ctx, spec)
}

// TestADeletedSessionsExecutorIsTold: it stops, instead of waiting for ever.
func TestADeletedSessionsExecutorIsTold(t *testing.T) {
	forgot := ""
	b := newBench(t, func(c *Config) { c.Remote = hired{dir: t.TempDir(), forgot: &forgot} })
	if err := b.Forget(t.Context(), b.key); err != nil || forgot != environmentID(b.key) {
		t.Errorf("told is %q, %v", forgot, err)
	}
}

// TestUsageOfAUsersMachine: what was used is said once.
func TestUsageOfAUsersMachine(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Remote = hired{dir: t.TempDir()} })
	if u := b.Used(b.key); u != (environment.Resided{}) {
		t.Errorf("before anything ran: %+v", u)
	}
	env, err := b.find(b.key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Close(context.Background()) })
	run := func(n int) {
		for range n {
			if _, err := env.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "echo four"}}, func(environment.Chunk) {}); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(2)
	first := b.Used(b.key)
	if first.Commands != 2 || first.OutputBytes != 10 || first.CPU <= 0 || first.MemoryBytes <= 0 {
		t.Errorf("two commands: %+v", first)
	}
	run(1)
	second := b.Used(b.key)
	if second.Commands != 1 || second.OutputBytes != 5 || second.CPU <= 0 || second.MemoryBytes < first.MemoryBytes {
		t.Errorf("one more: %+v", second)
	}
	if u := b.Used(b.key); u.Commands != 0 || u.CPU != 0 || u.OutputBytes != 0 {
		t.Errorf("and none: %+v", u)
	}
}

// TestUsageOfAResidence: what a hosted environment has used is known after each command, its disk with
// each checkpoint, and all of it when it has died.
func TestUsageOfAResidence(t *testing.T) {
	b := newBench(t)
	b.prepare()
	o := b.open()
	b.sh("head -c 100000 /dev/zero > zeros; echo four")
	first := b.Used(b.key)
	if first.Residence != b.state.Residence || first.Commands != 1 || first.OutputBytes != 5 || first.CPU <= 0 {
		t.Errorf("after one command: %+v", first)
	}
	if s := b.save(); s.Usage.DiskBytes < 100_000 || s.Usage.DiskBytes > 200_000 || s.Usage.Commands != 1 {
		t.Errorf("with the checkpoint: %+v", s.Usage)
	}
	b.sh("rm zeros; echo four")
	if second := b.Used(b.key); second.Commands != 2 || second.OutputBytes != 10 || second.CPU < first.CPU {
		t.Errorf("after two: %+v", second)
	}
	if s := b.save(); s.Usage.DiskBytes > 50_000 {
		t.Errorf("of an empty workspace: %+v", s.Usage)
	}
	b.sh("echo four")
	box, err := b.box(b.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := box.env.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	comes(t, o.Done, "the end")
	if u := o.Used(); u.Commands != 3 || u.OutputBytes != 15 || u.CPU < first.CPU {
		t.Errorf("after the end: %+v", u)
	}
}

// TestOutputsAreThereFromTheStart: what an agent puts there needs no directory to be made first, and an
// environment in which nothing was done is neither stored again nor does it publish anything.
func TestOutputsAreThereFromTheStart(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]template.Config{
		"plain":              {},
		"made by the set-up": commands("mkdir outputs"),
		"layer":              commands("true"),
	} {
		b.setup(c)
		b.state = environment.State{Setup: b.state.Setup}
		b.prepare()
		before := b.state.Checkpoint
		b.open()
		saved, err := b.Save(context.Background(), b.key, environment.SaveRequest{Previous: before, Publish: environment.OutputsDir})
		if err != nil || saved.Checkpoint.Digest != before || len(saved.Artifacts) != 0 || len(saved.Blobs) != 0 {
			t.Errorf("%s: nothing was done, and it is stored as %+v, %v", name, saved, err)
		}
		b.sh("echo made > outputs/x")
		if saved, err = b.Save(context.Background(), b.key, environment.SaveRequest{Previous: before, Publish: environment.OutputsDir}); err != nil || len(saved.Artifacts) != 1 {
			t.Errorf("%s: published %+v, %v", name, saved.Artifacts, err)
		}
		b.suspend()
	}
	digest, err := b.cfg.Blobs.Put(context.Background(), b.key, []byte("a file of that name"))
	if err != nil {
		t.Fatal(err)
	}
	b.setup(template.Config{Public: template.Public{Files: []template.File{{Path: environment.OutputsDir, Digest: digest}}}})
	b.state = environment.State{Setup: b.state.Setup}
	b.prepare()
	b.is(environment.OutputsDir, "a file of that name")
}
