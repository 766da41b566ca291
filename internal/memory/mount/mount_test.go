package mount_test

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/mount"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/sqlite"
)

// disk is a workspace.
type disk map[string]string

func (d disk) List(_ context.Context, dir string) ([]mount.File, error) {
	var out []mount.File
	for at, data := range d {
		if name, ok := strings.CutPrefix(at, dir+"/"); ok {
			out = append(out, mount.File{Name: name, Size: int64(len(data))})
		}
	}
	slices.SortFunc(out, func(a, b mount.File) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (d disk) Read(_ context.Context, at string) ([]byte, error) {
	if data, ok := d[at]; ok {
		return []byte(data), nil
	}
	return nil, stead.NotFound("file", at)
}

func (d disk) Write(_ context.Context, at string, data []byte) error {
	d[at] = string(data)
	return nil
}

type bench struct {
	*testing.T
	db    *sqlite.Store
	all   *memory.Service
	store string
	disk  disk
	seen  mount.Seen
	write bool
	scope func(string) (memory.Scope, error)
	of    stead.SessionKey // whose files they are; none: nothing is noted of it
}

func open(t *testing.T) *bench {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	b := &bench{T: t, db: s, all: memory.NewService(memory.Config{Documents: s, Store: s, Policy: policy.AllowLocal{}, Now: time.Now}), disk: disk{}, seen: mount.Seen{}, write: true}
	made, err := b.all.CreateStore(t.Context(), stead.LocalPrincipal(), memory.StoreFields{Name: "notes"}, "")
	if err != nil {
		t.Fatal(err)
	}
	b.store = made.ID
	return b
}

func (b *bench) sync() mount.Report {
	b.Helper()
	agent := stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalAgent, ID: "sess_1"}
	in := b.all.In(memory.For{Principal: stead.LocalPrincipal(), Agent: "agent_1", Session: b.of, Scopes: memory.SessionScopes("local", "agent_1", nil)})
	r, err := mount.Sync(b.Context(), in, agent, mount.Mount{Store: b.store, Dir: "memory", Writable: b.write, Scope: b.scope}, b.disk, b.seen)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func (b *bench) add(text string, scope memory.Scope, kind memory.Kind, labels ...string) memory.Entry {
	b.Helper()
	made, err := b.all.Add(b.Context(), stead.LocalPrincipal(), b.store, []memory.New{{Content: memory.Content{Text: text, Scope: scope, Kind: kind, Labels: labels}}}, "")
	if err != nil {
		b.Fatal(err)
	}
	return made[0]
}

func (b *bench) list() []memory.Entry {
	b.Helper()
	all, _, err := b.all.List(b.Context(), stead.LocalPrincipal(), b.store, "", 100, false)
	if err != nil {
		b.Fatal(err)
	}
	return all
}

// TestAnEmptyStoreIsADirectory: whoever works there can write the first memory. One that nobody may write into needs none.
func TestAnEmptyStoreIsADirectory(t *testing.T) {
	b := open(t)
	for range 2 {
		if r := b.sync(); len(r.Added)+len(r.Changed)+len(r.Conflicts)+len(r.Refused) != 0 || len(b.disk) != 1 || b.disk["memory/.memories"] == "" {
			t.Fatalf("%+v, files %q", r, b.disk)
		}
	}
	b.disk["memory/first.md"] = "Lunch is at noon."
	if r := b.sync(); len(r.Added) != 1 || len(r.Refused) != 0 {
		t.Errorf("%+v", r)
	}
	other := open(t)
	if other.write = false; len(other.sync().Refused) != 0 || len(other.disk) != 0 {
		t.Errorf("a store that is read-only has files %q", other.disk)
	}
}

// TestFilesAndEntries is a day of both: each step ends with nothing to do.
func TestFilesAndEntries(t *testing.T) {
	b := open(t)
	deploy := b.add("The deploy window is on Tuesdays.", memory.Scope{}, memory.KindFact, "ops")
	b.add("Mallory's secret", memory.Scope{Type: "user", ID: "mallory"}, memory.KindFact, "private")
	b.add("hi there", memory.Scope{}, memory.KindItem)
	at := "memory/" + deploy.ID + ".md"
	if r := b.sync(); len(r.Added)+len(r.Changed) > 0 || !slices.Equal(r.Labels, []string{"ops"}) {
		t.Fatalf("the first time: %+v", r)
	}
	if len(b.disk) != 1 || !strings.Contains(b.disk[at], "id: "+deploy.ID+"\nversion: 1\nkind: fact\nlabels: ops\n---\nThe deploy window is on Tuesdays.\n") {
		t.Fatalf("the workspace has %q", b.disk)
	}

	b.disk[at] = strings.Replace(b.disk[at], "Tuesdays", "Wednesdays", 1)
	b.disk["memory/tea.md"] = "They drink tea.\n"
	b.disk["memory/headed.md"] = "---\nkind: preference\nlabels: kitchen\n---\nTea without milk.\n"
	b.disk["memory/.readme.txt"] = "no memory"
	r := b.sync()
	if len(r.Added) != 2 || !slices.Equal(r.Changed, []string{deploy.ID}) || len(r.Refused)+len(r.Conflicts) > 0 {
		t.Fatalf("written back: %+v", r)
	}
	for _, e := range b.list() {
		switch {
		case e.ID == deploy.ID && (e.Version != 2 || e.Text != "The deploy window is on Wednesdays." || !slices.Equal(e.Labels, []string{"ops", "untrusted"})),
			e.Text == "Tea without milk." && (e.Kind != memory.KindPreference || !slices.Equal(e.Labels, []string{"kitchen", "ops", "untrusted"}) || e.Source.Session != "sess_1"),
			e.Text == "They drink tea." && !slices.Equal(e.Labels, []string{"ops", "untrusted"}):
			t.Errorf("%+v", e)
		}
	}
	if !strings.Contains(b.disk[at], "version: 2") || !strings.Contains(b.disk["memory/tea.md"], "id: "+r.Added[1]) {
		t.Errorf("the files do not say what they are now: %q", b.disk)
	}
	nothing := func(when string) {
		t.Helper()
		before := fmt.Sprint(b.list(), b.disk)
		if r := b.sync(); len(r.Added)+len(r.Changed)+len(r.Conflicts)+len(r.Refused) > 0 || fmt.Sprint(b.list(), b.disk) != before {
			t.Errorf("%s: %+v", when, r)
		}
	}
	nothing("nothing changed")
	b.seen = mount.Seen{} // another node
	nothing("nothing is known of what was written")

	if _, err := b.all.Update(t.Context(), stead.LocalPrincipal(), b.store, deploy.ID, memory.AnyVersion, func(c *memory.Content) error { c.Text = "On Fridays."; return nil }); err != nil {
		t.Fatal(err)
	}
	old := b.disk[at]
	b.sync()
	if !strings.Contains(b.disk[at], "version: 3") || !strings.Contains(b.disk[at], "On Fridays.") {
		t.Errorf("what the store changed is not shown: %q", b.disk[at])
	}
	b.disk[at], b.seen = old, mount.Seen{} // a workspace of yesterday, on a node that knows nothing
	b.sync()
	if !strings.Contains(b.disk[at], "On Fridays.") {
		t.Errorf("an old file was taken for a change: %q", b.disk[at])
	}
	nothing("after that")

	// Both change it.
	b.disk[at] = strings.Replace(b.disk[at], "Fridays", "Saturdays", 1)
	if _, err := b.all.Update(t.Context(), stead.LocalPrincipal(), b.store, deploy.ID, memory.AnyVersion, func(c *memory.Content) error { c.Text = "On Sundays."; return nil }); err != nil {
		t.Fatal(err)
	}
	aside := "memory/" + deploy.ID + ".conflict.md"
	if r := b.sync(); len(r.Conflicts) != 1 || !strings.Contains(b.disk[aside], "Saturdays") || !strings.Contains(b.disk[at], "On Sundays.") {
		t.Errorf("a conflict: %+v, %q", r, b.disk)
	}
	nothing("a conflict is told once")

	// A file that says that it is of any version is of none.
	b.disk[at] = strings.Replace(strings.Replace(b.disk[at], "Sundays", "no day", 1), "version: ", "version: -", 1)
	if r := b.sync(); len(r.Conflicts) != 1 || len(r.Changed) != 0 || !strings.Contains(b.disk[at], "On Sundays.") {
		t.Errorf("a version below none: %+v, %q", r, b.disk)
	}
	b.disk[at] = strings.Replace(strings.Replace(b.disk[at], "Sundays", "no day", 1), "version: ", "version: -1 #", 1)
	if r := b.sync(); len(r.Changed) != 0 || !strings.Contains(b.disk[at], "On Sundays.") {
		t.Errorf("a version that is no number: %+v, %q", r, b.disk)
	}

	if err := b.all.Forget(t.Context(), stead.LocalPrincipal(), b.store, deploy.ID, memory.AnyVersion); err != nil {
		t.Fatal(err)
	}
	b.sync()
	if got := b.disk[at]; strings.Contains(got, "Sundays") || !strings.Contains(got, "gone: true") {
		t.Errorf("a forgotten memory is left in a file: %q", got)
	}
	nothing("it is gone")
	b.disk[at] += "But I remember it.\n"
	if r := b.sync(); len(r.Refused) != 1 || len(b.list()) != 4 || !strings.Contains(b.disk[aside], "But I remember it.") {
		t.Errorf("a forgotten memory is written: %+v, %q", r, b.disk)
	}
	nothing("and then")
}

func TestAReadOnlyStoreStaysAsItIs(t *testing.T) {
	b := open(t)
	b.write = false
	e := b.add("The deploy window is on Tuesdays.", memory.Scope{}, memory.KindFact)
	b.sync()
	at := "memory/" + e.ID + ".md"
	b.disk[at] = strings.Replace(b.disk[at], "Tuesdays", "Wednesdays", 1)
	b.disk["memory/new.md"] = "new"
	if r := b.sync(); len(r.Refused) != 2 || len(r.Added)+len(r.Changed) > 0 {
		t.Errorf("%+v", r)
	}
	if r := b.sync(); len(r.Refused) != 0 {
		t.Errorf("it is told again: %+v", r)
	}
	if all := b.list(); len(all) != 1 || all[0].Version != 1 || !strings.Contains(b.disk[at], "Tuesdays") {
		t.Errorf("%+v, %q", all, b.disk)
	}
}

// dying stops writing files: as if the node had died there.
type dying struct {
	disk
	left int
}

func (d *dying) Write(ctx context.Context, at string, data []byte) error {
	if d.left--; d.left < 0 {
		return stead.Errorf(stead.KindUnavailable, "killed")
	}
	return d.disk.Write(ctx, at, data)
}

// TestACrashInBetweenWritesNothingTwice: wherever a node dies, the next one does what is left, once.
func TestACrashInBetweenWritesNothingTwice(t *testing.T) {
	for left := range 6 {
		b := open(t)
		e := b.add("one", memory.Scope{}, memory.KindFact)
		b.sync()
		at := "memory/" + e.ID + ".md"
		b.disk[at] = strings.Replace(b.disk[at], "\none", "\nuno", 1)
		b.disk["memory/a.md"], b.disk["memory/b.md"] = "two", "three"
		agent := stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalAgent, ID: "sess_1"}
		_, err := mount.Sync(t.Context(), b.all.In(memory.For{Principal: stead.LocalPrincipal()}), agent, mount.Mount{Store: b.store, Dir: "memory", Writable: true}, &dying{b.disk, left}, b.seen)
		if left < 3 && err == nil {
			t.Errorf("after %d writes nobody died", left)
		}
		b.seen = mount.Seen{}
		b.sync()
		b.sync()
		var got []string
		for _, e := range b.list() {
			got = append(got, fmt.Sprint(e.Text, e.Version))
		}
		slices.Sort(got)
		if fmt.Sprint(got) != "[three1 two1 uno2]" || len(b.disk) != 3 {
			t.Errorf("killed after %d writes: %v, %q", left, got, b.disk)
		}
	}
}

// TestHostileFiles: whatever stands in a file, it is text, at most of one entry, and untrusted.
func TestHostileFiles(t *testing.T) {
	b := open(t)
	other := b.add("of mallory", memory.Scope{Type: "user", ID: "mallory"}, memory.KindFact)
	fact := b.add("a\n---\nid: x\n---\nb", memory.Scope{}, memory.KindFact)
	b.sync()
	b.disk["memory/1.md"] = "---\nid: " + other.ID + "\nversion: 1\n---\nmine now"
	b.disk["memory/2.md"] = "---\nid: " + fact.ID + "\nversion: 1\n---\na copy with another text"
	b.disk["memory/3.md"] = "---\nno end of the head"
	b.disk["memory/4.md"] = "\xff\xfe"
	b.disk["memory/5.md"] = strings.Repeat("x", mount.MaxFileBytes+1)
	b.disk["memory/6.md"] = "---\nkind: king\n---\nof a kind that there is not"
	b.disk["memory/7.md"] = ""
	r := b.sync()
	if len(r.Refused) < 3 {
		t.Errorf("%+v", r)
	}
	for _, e := range b.list() {
		if e.ID == other.ID && e.Version != 1 || e.Version > 1 && !slices.Contains(e.Labels, memory.LabelUntrusted) || e.Kind == "king" {
			t.Errorf("%+v", e)
		}
	}
	if got, err := b.all.Get(t.Context(), stead.LocalPrincipal(), b.store, fact.ID); err != nil || !strings.Contains(b.disk["memory/"+fact.ID+".md"]+b.disk["memory/2.md"], strings.TrimSpace(got.Text)) {
		t.Errorf("%+v, %v", got, err)
	}
	before := len(b.list())
	b.sync()
	if len(b.list()) != before {
		t.Error("a second time makes more")
	}
}

// What one agent writes takes the files from nobody: the store never has more than can be shown.
func TestFilesNeverFillTheStore(t *testing.T) {
	for name, c := range map[string]struct {
		files int
		text  func(i int) string
		added int
	}{
		"entries": {mount.MaxEntries + 50, func(i int) string { return fmt.Sprintf("Note %d.", i) }, mount.MaxEntries},
		"bytes":   {140, func(i int) string { return fmt.Sprintf("%03d ", i) + strings.Repeat("x", mount.MaxBytes/128-4) }, 128},
		"labels": {40, func(i int) string {
			labels := make([]string, 8)
			for j := range labels {
				labels[j] = fmt.Sprintf("l%d", 8*i+j)
			}
			return "---\nlabels: " + strings.Join(labels, ", ") + "\n---\nNote.\n"
		}, mount.MaxLabels/8 - 1}, // and untrusted
	} {
		b := open(t)
		for i := range c.files {
			b.disk[fmt.Sprintf("memory/n%03d.md", i)] = c.text(i)
		}
		r := b.sync()
		if len(r.Added) != c.added || len(r.Refused) != 1 || !strings.Contains(r.Refused[0], "makes no memory, nor does any other") {
			t.Errorf("%s: %d were added, not %d, and refused %q", name, len(r.Added), c.added, r.Refused)
		}
		if again := b.sync(); len(again.Added) != 0 || len(again.Refused) != 1 { // it can still be files
			t.Errorf("%s, again: %d were added, and refused %q", name, len(again.Added), again.Refused)
		}
		if name == "labels" {
			continue
		}
		at := "memory/n000.md"
		b.disk[at] = strings.Replace(b.disk[at], "\n---\n", "\n---\n"+strings.Repeat("y", 1000), 1)
		changed := b.sync()
		if full := name == "bytes"; full != (len(changed.Conflicts) == 1) || full == (len(changed.Changed) == 1) {
			t.Errorf("%s, longer: %+v", name, changed)
		}
	}
}

// A new file is of the scope that its head names, or of the one that the session remembers in, and of no other.
func TestNewFilesHaveScopes(t *testing.T) {
	b := open(t)
	b.scope = func(name string) (memory.Scope, error) {
		return memory.SessionScope(name, stead.LocalPrincipal(), "agent_1", nil)
	}
	b.disk["memory/plain.md"] = "They drink tea."
	b.disk["memory/project.md"] = "---\nscope: project\n---\nThe office has a kitchen.\n"
	b.disk["memory/agent.md"] = "---\nscope: agent\n---\nInvoices take long.\n"
	b.disk["memory/mallory.md"] = "---\nscope: user mallory\n---\nMallory is pregnant.\n"
	if r := b.sync(); len(r.Added) != 3 || len(r.Refused) != 1 || !strings.Contains(r.Refused[0], "mallory.md makes no memory: scope must be") {
		t.Fatalf("%+v", r)
	}
	for _, e := range b.list() {
		want := map[string]memory.Scope{"They drink tea.": {Type: "user", ID: "local"}, "The office has a kitchen.": {Type: "project"}, "Invoices take long.": {Type: "agent", ID: "agent_1"}}
		if e.Scope != want[e.Text] {
			t.Errorf("%q is of %+v", e.Text, e.Scope)
		}
	}
	if !strings.Contains(b.disk["memory/plain.md"], "scope: user local\n") {
		t.Errorf("the file says %q", b.disk["memory/plain.md"])
	}
}

// Entries whose validity is over or yet to come are no files, as they are not found by searching; one that will be superseded is still.
func TestFilesAreValidNow(t *testing.T) {
	b := open(t)
	day := int64(24 * time.Hour / time.Millisecond)
	now := time.Now().UnixMilli()
	put := func(c memory.Content) memory.Entry {
		t.Helper()
		made, err := b.all.Add(t.Context(), stead.LocalPrincipal(), b.store, []memory.New{{Content: c}}, "")
		if err != nil {
			t.Fatal(err)
		}
		return made[0]
	}
	put(memory.Content{Text: "The office was in Hamburg.", ValidUntil: now - day})
	put(memory.Content{Text: "The office will be in Rome.", ValidFrom: now + day})
	old := put(memory.Content{Text: "The window is on Tuesdays."})
	next := put(memory.Content{Text: "The window is on Fridays.", ValidFrom: now + day, Supersedes: old.ID})
	b.sync()
	if len(b.disk) != 1 || !strings.Contains(b.disk["memory/"+old.ID+".md"], "Tuesdays") {
		t.Errorf("the files are %q", b.disk)
	}
	if _, err := b.all.Update(t.Context(), stead.LocalPrincipal(), b.store, next.ID, memory.AnyVersion, func(c *memory.Content) error { c.ValidFrom = now - day; return nil }); err != nil {
		t.Fatal(err)
	}
	b.sync()
	if !strings.Contains(b.disk["memory/"+next.ID+".md"], "Fridays") {
		t.Errorf("what is valid by now is no file: %q", b.disk)
	}
}

// TestFilesThatAreNoMemories: who writes one is told, once, in one sentence.
func TestFilesThatAreNoMemories(t *testing.T) {
	b := open(t)
	b.disk["memory/crane.txt"], b.disk["memory/sub/n.md"], b.disk["memory/.git/HEAD"], b.disk["memory/saw.md"] = "About the crane.", "The sub note.", "x", "The saw is in hall 9."
	r := b.sync()
	if len(r.Added) != 1 || len(r.Refused) != 1 || !strings.HasPrefix(r.Refused[0], "memory/crane.txt, memory/sub/n.md: no memory is made of that; files right in memory whose names end in .md") {
		t.Errorf("%+v", r)
	}
	for i := range 9 {
		b.disk[fmt.Sprintf("memory/%d.txt", i)] = "x"
	}
	if r := b.sync(); len(r.Refused) != 1 || !strings.Contains(r.Refused[0], "memory/4.txt and 4 other files: no memory") {
		t.Errorf("more of them: %+v", r)
	}
	if r := b.sync(); len(r.Refused) != 0 || len(b.list()) != 1 {
		t.Errorf("it is told again: %+v", r)
	}
	b.write = false
	b.disk["memory/other.txt"] = "x"
	if r := b.sync(); len(r.Refused) != 0 {
		t.Errorf("read-only: %+v", r)
	}
}

// TestWhatIsShownAsFilesIsNoted: with what is forgotten goes what was made of it by a session that had it as files; what is none there was not shown.
func TestWhatIsShownAsFilesIsNoted(t *testing.T) {
	b := open(t)
	b.of = stead.SessionKey{Project: stead.DefaultProject, Session: "sess_1"}
	theirs := b.add("Bob earns seventy.", memory.Scope{Type: memory.ScopeUser, ID: "bob"}, memory.KindFact)
	file := b.add("Ada earns ninety.", memory.Scope{Type: memory.ScopeProject}, memory.KindFact)
	b.sync()
	for _, tt := range []struct {
		forgotten memory.Entry
		stale     bool
	}{{theirs, false}, {file, true}} {
		if err := b.all.Forget(t.Context(), stead.LocalPrincipal(), b.store, tt.forgotten.ID, memory.AnyVersion); err != nil {
			t.Fatal(err)
		}
		if _, is, err := b.db.StaleSince(t.Context(), stead.DefaultProject, "sess_1"); err != nil || is != tt.stale {
			t.Errorf("%s: it was shown: %t, %v, want %t", tt.forgotten.Text, is, err, tt.stale)
		}
	}
}

// TestALargeStoreIsFilesInPart: the most important and newest entries are; the others are told of, and are not taken for forgotten.
func TestALargeStoreIsFilesInPart(t *testing.T) {
	b := open(t)
	var all []memory.New
	for i := range mount.MaxEntries + 10 {
		c := memory.Content{Text: fmt.Sprintf("Note %d.", i), Importance: 0.5}
		if i == 0 {
			c.Importance = 0.9
		}
		all = append(all, memory.New{Content: c})
	}
	var made []memory.Entry
	for some := range slices.Chunk(all, 100) {
		got, err := b.all.Add(t.Context(), stead.LocalPrincipal(), b.store, some, "")
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, got...)
		time.Sleep(2 * time.Millisecond) // newer by a millisecond
	}
	r := b.sync()
	if len(b.disk) != mount.MaxEntries || len(r.Refused) != 1 || !strings.Contains(r.Refused[0], "memory shows 300 memories of store "+b.store) || !strings.Contains(r.Refused[0], "10 others are no files") {
		t.Fatalf("%d files, %+v", len(b.disk), r)
	}
	file := func(e memory.Entry) string { return b.disk["memory/"+e.ID+".md"] }
	if file(made[0]) == "" || file(made[len(made)-1]) == "" {
		t.Error("the most important or the newest is no file")
	}
	was := map[string]string{}
	for at, data := range b.disk {
		was[at] = data
	}
	time.Sleep(2 * time.Millisecond)
	if _, err := b.all.Add(t.Context(), stead.LocalPrincipal(), b.store, []memory.New{{Content: memory.Content{Text: "A newer one.", Importance: 0.5}}}, ""); err != nil {
		t.Fatal(err)
	}
	b.disk["memory/mine.md"] = "A note of mine."
	if r := b.sync(); len(r.Refused) != 1 || !strings.Contains(r.Refused[0], "memory/mine.md makes no memory") || len(r.Changed)+len(r.Added)+len(r.Conflicts) > 0 {
		t.Errorf("a newer one: %+v", r)
	}
	gone := ""
	for at, data := range b.disk {
		if strings.Contains(data, "elsewhere: true") {
			gone = at
		}
	}
	if gone == "" || strings.Contains(b.disk[gone], "Note") {
		t.Fatalf("nothing made place for the newer one: %q", gone)
	}
	b.seen = mount.Seen{} // another node
	b.sync()
	b.disk[gone] = strings.Replace(was[gone], "Note", "My note", 1) // an old copy, changed
	if r := b.sync(); len(r.Conflicts) != 1 || len(r.Changed) > 0 {
		t.Errorf("a change of one that is no file: %+v", r)
	}
	e := strings.TrimSuffix(path.Base(gone), ".md")
	if _, err := b.all.Update(t.Context(), stead.LocalPrincipal(), b.store, e, 1, func(c *memory.Content) error { c.Importance = 1; return nil }); err != nil {
		t.Fatal(err)
	}
	b.seen = mount.Seen{}
	if r := b.sync(); len(r.Changed)+len(r.Conflicts) > 0 || !strings.Contains(b.disk[gone], "Note") {
		t.Errorf("it is important now: %+v, %q", r, b.disk[gone])
	}
}

// A file of the agent's own in the directory of a store that is read-only stays as it is: it is told once that it makes no memory.
func TestOwnFilesInAReadOnlyMount(t *testing.T) {
	b := open(t)
	b.write = false
	b.disk["memory/draft.md"] = "A draft of mine."
	for i, refused := range []int{1, 0, 0, 1, 0} {
		if i == 3 {
			b.disk["memory/draft.md"] = "Another draft of mine."
		}
		if r := b.sync(); len(r.Refused) != refused || len(r.Conflicts)+len(r.Added) > 0 {
			t.Errorf("sync %d: %+v", i, r)
		}
	}
	if len(b.disk) != 1 || b.disk["memory/draft.md"] != "Another draft of mine." {
		t.Errorf("the files are %q", b.disk)
	}
}
