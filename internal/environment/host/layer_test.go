package host

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/template"
)

// zipped is an archive as a client sends it: path → content.
func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range files {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// bundled adds an inline skill and an inline plugin that say something to a configuration.
func bundled(t *testing.T, c template.Config, says string) template.Config {
	t.Helper()
	skill := zipped(t, map[string]string{"rules/SKILL.md": "---\nname: rules\ndescription: d\n---\n" + says})
	plugin := zipped(t, map[string]string{"more/plugin.md": says})
	c.Bytes = map[string][]byte{}
	name := func(data []byte) string {
		sum := sha256.Sum256(data)
		digest := hex.EncodeToString(sum[:])
		c.Bytes[digest] = data
		return digest
	}
	c.Skills = []template.Skill{{Name: "rules", Description: "d", Digest: name(skill)}}
	c.Plugins = []template.Plugin{{Name: "more", Description: "d", Digest: name(plugin)}}
	return c
}

// session is another one on the same node, which is prepared and open.
func (b *bench) session(id stead.SessionID, c template.Config) *bench {
	b.t.Helper()
	other := &bench{Host: b.Host, t: b.t, driver: b.driver, key: stead.SessionKey{Project: b.key.Project, Session: id}}
	other.setup(c)
	other.prepare()
	other.open()
	return other
}

// TestASessionHasItsOwnBundlesAndNobodyElses: also where a layer was made by another session with the same
// set-up commands, which found in the workspace what that session had put there.
func TestASessionHasItsOwnBundlesAndNobodyElses(t *testing.T) {
	b := newBench(t)
	c := commands("ls -A .agents 2>/dev/null | sort > seen; true")
	for id, says := range map[stead.SessionID]string{"sess_ann": "ann's customers", "sess_bob": "bob's rules", "sess_none": ""} {
		mine := c
		if says != "" {
			mine = bundled(t, c, says)
		}
		s := b.session(id, mine)
		got := s.sh("cat .agents/skills/rules/SKILL.md .agents/plugins/more/plugin.md 2>/dev/null; cat seen")
		want := ""
		if says != "" {
			want = "---\nname: rules\ndescription: d\n---\n" + says + says + "plugins\nskills\n"
		}
		if got != want {
			t.Errorf("%s has %q, want %q", id, got, want)
		}
	}
	again := b.session("sess_ann2", bundled(t, c, "ann's new rules"))
	if got := again.sh("tail -n 1 .agents/skills/rules/SKILL.md"); got != "ann's new rules" {
		t.Errorf("after an update its skill says %q", got)
	}
}

// node is another node on the same data directory, with a session that has the same set-up.
func (b *bench) node(id stead.SessionID, c template.Config) *bench {
	b.t.Helper()
	other := &bench{t: b.t, driver: b.driver, key: stead.SessionKey{Project: b.key.Project, Session: id}}
	other.host(b.cfg)
	other.setup(c)
	return other
}

// layersLeft lists what is in the directory of the project's layers.
func (b *bench) layersLeft() []string {
	b.t.Helper()
	left, err := filepath.Glob(filepath.Join(b.cfg.Dir, layersDir, "*", "*"))
	if err != nil {
		b.t.Fatal(err)
	}
	return left
}

// TestNodesThatMakeTheSameLayerAtOnce: neither takes the other's away, and both sessions have all of it.
func TestNodesThatMakeTheSameLayerAtOnce(t *testing.T) {
	b := newBench(t)
	at := t.TempDir()
	c := commands("mkdir -p $UPPER/opt; echo one > $UPPER/opt/one; echo w1 > w1; echo >> "+at+"/begun",
		"for i in $(seq 500); do test $(wc -l < "+at+"/begun) -ge 2 && break; sleep 0.02; done; echo two > $UPPER/opt/two; echo w2 > w2")
	b.setup(c)
	other := b.node("sess_other", c)
	var both sync.WaitGroup
	for _, n := range []*bench{b, other} {
		both.Go(n.prepare)
	}
	both.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, n := range []*bench{b, other} {
		n.open()
		root := b.driver.last().Root.Layers[0]
		for name, want := range map[string]string{"opt/one": "one\n", "opt/two": "two\n"} {
			if data, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(data) != want {
				t.Errorf("session %s: %s holds %q, %v", n.key.Session, name, data, err)
			}
		}
		if got := n.sh("cat w1 w2"); got != "w1\nw2\n" {
			t.Errorf("session %s: in the workspace is %q", n.key.Session, got)
		}
	}
	b.node("sess_later", c).prepare()
	if data, err := os.ReadFile(at + "/begun"); err != nil || len(data) > 2 {
		t.Errorf("the set-up ran %d times, %v", len(data), err)
	}
}

// TestALayerEndsWithItsLastSession: on the disk where it was made, and on one where it was restored.
func TestALayerEndsWithItsLastSession(t *testing.T) {
	b := newBench(t)
	c := commands("mkdir -p $UPPER/opt/deep; echo s3cret > $UPPER/opt/deep/key; echo s3cret > mine; chmod 000 $UPPER/opt/deep")
	b.setup(c)
	b.prepare()
	second := b.session("sess_second", c)
	if len(b.layersLeft()) != 1 {
		t.Fatalf("the layers are %q", b.layersLeft())
	}
	for _, s := range []*bench{b, second} {
		if len(b.layersLeft()) == 0 {
			t.Fatal("a layer ended while a session had it")
		}
		if err := s.Forget(context.Background(), s.key); err != nil {
			t.Fatal(err)
		}
	}
	if left := b.layersLeft(); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
	b.again(func(c *Config) { c.Dir = t.TempDir() })
	b.open()
	if len(b.layersLeft()) != 1 {
		t.Fatalf("the layers are %q", b.layersLeft())
	}
	if err := b.Forget(context.Background(), b.key); err != nil || len(b.layersLeft()) != 0 {
		t.Errorf("left are %q, %v", b.layersLeft(), err)
	}
}

// TestWhatASetUpUsesIsTold: by the session whose set-up ran, and also when it failed; who finds the layer has used nothing.
func TestWhatASetUpUsesIsTold(t *testing.T) {
	b := newBench(t)
	c := commands("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo four")
	b.setup(c)
	prepare := func() *environment.SetUp {
		made, _ := b.Prepare(context.Background(), b.key, b.state.Setup, b.state.Note)
		return made.SetUp
	}
	if u := prepare(); u == nil || u.Millis <= 0 || u.Usage.CPU <= 0 || u.Usage.Commands != 1 || u.Usage.OutputBytes != 5 || u.Usage.DiskBytes != 0 {
		t.Errorf("it used %+v", u)
	}
	if u := prepare(); u != nil {
		t.Errorf("what was there used %+v", u)
	}
	b.setup(commands("true", "echo four; exit 3"))
	if u := prepare(); u == nil || u.Usage.Commands != 2 || u.Usage.OutputBytes != 5 {
		t.Errorf("what failed used %+v", u)
	}
}

// TestATemplateKeepsItsLayer: for its next session, until it is deleted or makes something else; and nothing that a session has put in
// beside it.
func TestATemplateKeepsItsLayer(t *testing.T) {
	const id = "envtmpl_1"
	ran := filepath.Join(t.TempDir(), "ran")
	c := commands("echo >> " + ran)
	c.TemplateID, c.TemplateVersion = id, 3
	now, gone := int64(3), error(nil)
	b := newBench(t, func(h *Config) {
		h.Template = func(_ context.Context, _ stead.ProjectID, asked string) (int64, error) {
			if asked != id {
				return 0, stead.NotFound("template", asked)
			}
			return now, gone
		}
	})
	once := func(c template.Config, id stead.SessionID) {
		t.Helper()
		s := b.session(id, c)
		if err := s.Forget(context.Background(), s.key); err != nil {
			t.Fatal(err)
		}
		b.sweep(context.Background(), time.Now())
	}
	once(c, "sess_1")
	once(c, "sess_2")
	if data, err := os.ReadFile(ran); err != nil || string(data) != "\n" {
		t.Errorf("the set-up ran %d times, %v", len(data), err)
	}
	more := c
	more.TemplateVersion = 0
	more.Env, more.Variables = map[string]string{"TOKEN": "s3cret"}, []string{"TOKEN"}
	once(more, "sess_3")
	if left := b.layersLeft(); len(left) != 1 {
		t.Errorf("a session's own is kept as well: %q", left)
	}
	gone = stead.Errorf(stead.KindUnavailable, "the database is away")
	b.sweep(context.Background(), time.Now())
	if left := b.layersLeft(); len(left) != 1 {
		t.Errorf("while the template can't be read %q are left", left)
	}
	gone, now = nil, 4
	b.sweep(context.Background(), time.Now())
	if left := b.layersLeft(); len(left) != 0 {
		t.Errorf("after an update %q are left", left)
	}
}

// TestAnUnfinishedClaimOfATemplateEnds: one whose node was killed between the claim and its version keeps no layer, and
// one that is being written keeps its own.
func TestAnUnfinishedClaimOfATemplateEnds(t *testing.T) {
	b := newBench(t, func(h *Config) {
		h.Template = func(context.Context, stead.ProjectID, string) (int64, error) { return 1, nil }
	})
	b.setup(commands("true"))
	b.prepare()
	l := layer{b.layersLeft()[0]}
	if found, err := l.claim("envtmpl_1"); err != nil || !found { // and no more
		t.Fatal(found, err)
	}
	if err := b.Forget(context.Background(), b.key); err != nil {
		t.Fatal(err)
	}
	b.sweep(context.Background(), time.Now().Add(ClaimTime-time.Minute))
	if left := b.layersLeft(); len(left) != 1 {
		t.Errorf("while it may be written %q are left", left)
	}
	b.sweep(context.Background(), time.Now().Add(ClaimTime+time.Minute))
	if left := b.layersLeft(); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
}

// TestTheClaimOfADeletedSessionEnds: where the node that deleted it did not see the claim.
func TestTheClaimOfADeletedSessionEnds(t *testing.T) {
	deleted, away := stead.SessionID(""), error(nil)
	b := newBench(t, func(h *Config) {
		h.Session = func(_ context.Context, key stead.SessionKey) error {
			if key.Session == deleted {
				return stead.NotFound("session", string(key.Session))
			}
			return away
		}
	})
	b.setup(commands("true"))
	b.prepare()
	kept := func(what string, later time.Duration, want int) {
		t.Helper()
		err := b.sweepClaims(context.Background(), time.Now().Add(later))
		if left := b.layersLeft(); len(left) != want || stead.KindOf(err) != stead.KindOf(away) {
			t.Errorf("%s: %q are left, want %d, %v", what, left, want, err)
		}
	}
	kept("there", 2*ClaimTime, 1)
	away = stead.Errorf(stead.KindUnavailable, "the database is away")
	kept("nobody can say", 2*ClaimTime, 1)
	deleted, away = b.key.Session, nil
	kept("a claim of now", 0, 1)
	b.open()
	kept("it is open here", 2*ClaimTime, 1)
	b.suspend()
	kept("deleted", 2*ClaimTime, 0)
}

// TestAWaitForAnothersSetUpEndsWithItsRequest: and deleting the session that waited takes no longer.
func TestAWaitForAnothersSetUpEndsWithItsRequest(t *testing.T) {
	b := newBench(t)
	at := t.TempDir()
	c := commands("touch " + at + "/begun; for i in $(seq 500); do test -e " + at + "/go && break; sleep 0.02; done")
	b.setup(c)
	var first sync.WaitGroup
	first.Go(b.prepare)
	until(t, "the set-up to begin", func() bool { _, err := os.Stat(at + "/begun"); return err == nil })
	waits := &bench{Host: b.Host, t: t, driver: b.driver, key: stead.SessionKey{Project: b.key.Project, Session: "sess_waits"}}
	waits.setup(c)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := waits.Prepare(ctx, waits.key, waits.state.Setup, waits.state.Note)
	if stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("the wait ended with %v", err)
	}
	if err := waits.Forget(context.Background(), waits.key); err != nil {
		t.Error(err)
	}
	if left := b.layersLeft(); len(left) != 1 || !strings.Contains(left[0], makingPrefix) {
		t.Errorf("meanwhile the other's set-up was done: %q", left)
	}
	if err := os.WriteFile(at+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first.Wait()
}

func TestWhatASweepTakes(t *testing.T) {
	b := newBench(t)
	c := commands("mkdir -p $UPPER/opt; echo tool > $UPPER/opt/tool")
	b.setup(c)
	b.prepare()
	whole := b.layersLeft()[0]
	now := time.Now()
	project := filepath.Dir(whole)
	beginning := func(boot string, age time.Duration) string {
		dir, err := os.MkdirTemp(project, makingPrefix)
		if err != nil {
			t.Fatal(err)
		}
		m, err := making(dir, boot)
		if err != nil {
			t.Fatal(err)
		}
		then := now.Add(-age)
		if err := os.Chtimes(m.Name(), then, then); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return dir
	}
	ends := []string{beginning("another machine", MakingTime+time.Minute)}
	stays := []string{whole, beginning("another machine", time.Minute), beginning(b.boot, MakingTime+time.Minute)}
	crashed := beginning(b.boot, time.Minute)
	if err := os.Remove(filepath.Join(crashed, makerFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(crashed, makerFile), []byte(b.boot), 0o600); err != nil { // which nobody has locked
		t.Fatal(err)
	}
	ends = append(ends, crashed)
	old := filepath.Join(project, "setup-of-before") // as layers were until they had users
	if err := os.MkdirAll(filepath.Join(old, layerRoot), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(old, oldMark), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stays = append(stays, old)
	look := func(names []string, there bool) {
		t.Helper()
		for _, n := range names {
			if _, err := os.Stat(n); (err == nil) != there {
				t.Errorf("%s is there: %v, want %v", filepath.Base(n), err == nil, there)
			}
		}
	}
	b.sweep(context.Background(), now)
	look(ends, false)
	look(stays, true)
	b.sweep(context.Background(), now.Add(LayerUnused+time.Minute))
	look(stays[:2], false)
	look([]string{old}, false)
	b.open() // what nobody used for so long comes from the session's blobs
	if data, err := os.ReadFile(filepath.Join(b.driver.last().Root.Layers[0], "opt", "tool")); err != nil || string(data) != "tool\n" {
		t.Errorf("the layer holds %q, %v", data, err)
	}
}

// TestAnOldLayerStaysAfterItIsNoticed: a node of its time has it mounted and says nothing of that, however long ago it
// was made; a node of now says so by the time of its mark.
func TestAnOldLayerStaysAfterItIsNoticed(t *testing.T) {
	b := newBench(t)
	project := b.layersOf(b.key.Project)
	old, name := filepath.Join(project, "setup-of-before"), filepath.Join(project, "digest-of-its-checkpoint")
	tool, mark := filepath.Join(old, layerRoot, "tool"), filepath.Join(old, oldMark)
	now := time.Now()
	long := now.Add(-3 * LayerUnused)
	if err := errors.Join(os.MkdirAll(filepath.Dir(tool), 0o700), os.WriteFile(tool, nil, 0o600), os.WriteFile(mark, nil, 0o600),
		os.Chtimes(mark, long, long), os.Symlink(filepath.Base(old), name)); err != nil {
		t.Fatal(err)
	}
	after := func(d time.Duration, there bool) {
		t.Helper()
		b.sweep(context.Background(), now.Add(d))
		for _, f := range []string{tool, filepath.Join(name, layerRoot, "tool")} {
			if _, err := os.Stat(f); (err == nil) != there {
				t.Fatalf("%v after it was noticed it is there: %v, want %v", d, err == nil, there)
			}
		}
	}
	after(0, true)
	after(LayerUnused-time.Minute, true)
	used := now.Add(LayerUnused / 2)
	if err := os.Chtimes(mark, used, used); err != nil {
		t.Fatal(err)
	}
	after(LayerUnused+time.Minute, true)
	after(LayerUnused*3/2+time.Minute, false)
	b.sweep(context.Background(), now.Add(2*LayerUnused))
	if left := b.layersLeft(); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
}

// TestALayerThatIsALinkLeadsNowhere: a checkpoint comes with an imported session, and may be anybody's.
func TestALayerThatIsALinkLeadsNowhere(t *testing.T) {
	b := newBench(t)
	b.setup(commands("true"))
	b.prepare()
	away, evil := t.TempDir(), t.TempDir()
	for name, target := range map[string]string{layerRoot: away, "usr": "/usr"} {
		if err := os.Symlink(target, filepath.Join(evil, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(evil, layerTraits), []byte(`{"version":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint(context.Background(), evil, b.blobs(b.key))
	if err != nil {
		t.Fatal(err)
	}
	b.state.Layer = c.Digest
	b.open()
	root := b.driver.last().Root.Layers[0]
	info, err := os.Lstat(root)
	if err != nil || !info.IsDir() {
		t.Errorf("the layer is %v, %v", info, err)
	}
}
