//go:build linux

package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// blobs are a store in memory.
type blobs struct {
	mu   sync.Mutex
	data map[string][]byte
}

func (b *blobs) Put(_ context.Context, data []byte) (string, error) {
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data[digest] = slices.Clone(data)
	return digest, nil
}

func (b *blobs) Get(_ context.Context, digest string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data[digest], nil
}

// onDisk makes directories of a test that the engine sees.
func onDisk(t *testing.T, names ...string) (paths []string) {
	t.Helper()
	for _, name := range names {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, dir)
	}
	return paths
}

// ran runs a script in an environment.
func ran(t *testing.T, e environment.Environment, script string) string {
	t.Helper()
	var out strings.Builder
	exit, err := e.Exec(t.Context(), environment.Command{Args: []string{"sh", "-euc", script}}, func(c environment.Chunk) { out.Write(c.Data) })
	if err != nil || exit.Code != 0 {
		t.Errorf("%q: %+v, %v, %s", script, exit, err, out.String())
	}
	return out.String()
}

// TestALayerOnAnotherNode: what a set-up did, with owners, modes, links and removals, in the form in which
// it is stored, under a server that has nothing else; and nothing of what the set-up knew.
func TestALayerOnAnotherNode(t *testing.T) {
	p := realProvider(t)
	dirs := onDisk(t, "workspace", "upper", "second", "third")
	if err := os.Chown(dirs[0], 1234, 1235); err != nil {
		t.Fatal(err)
	}
	e, err := p.Open(t.Context(), environment.Spec{ID: "env_setup", Workspace: dirs[0], Root: environment.Root{Upper: dirs[1]}, AsRoot: true, Env: map[string]string{"TOKEN": "hunter2"}})
	if err != nil {
		t.Fatal(err)
	}
	ran(t, e, `cd /opt; mkdir x; echo told $TOKEN | wc -c > x/a; chown 33:44 x/a; chmod 4750 x/a; ln x/a x/b; ln -s /etc/none x/c; mkdir x/d; chmod 1777 x/d
		rm /usr/bin/env; mkdir /lib; echo lib > /lib/z; mkdir /workspace/made; echo y > /workspace/made/y; (while :; do echo x >> /var/goes-on; done) >/dev/null 2>&1 &`)
	closeIt(t, e)
	if info, err := os.Stat(filepath.Join(dirs[0], "made", "y")); err != nil || info.Sys().(*syscall.Stat_t).Uid != 1234 {
		t.Errorf("what root made in the workspace is %v, %v: its owner can't remove it", info, err)
	}
	stored, err := workspace.Open(dirs[1])
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	kept := &blobs{data: map[string][]byte{}}
	c, err := stored.Checkpoint(t.Context(), kept, "")
	if err != nil || c.Files != 1 || c.Skipped != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	if err := workspace.Restore(t.Context(), restored, kept, c.Digest); err != nil {
		t.Fatal(err)
	}
	other := realProvider(t, func(o *Options) { o.Dir += "-other" })
	image, err := other.root(t.Context(), []string{restored})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.drop(image) })
	before := imagesOf(t, other)
	var together sync.WaitGroup
	for _, dir := range dirs[2:] {
		together.Go(func() {
			e, err := other.Open(t.Context(), environment.Spec{ID: "env_" + filepath.Base(dir), Workspace: dir, Root: environment.Root{Layers: []string{restored}}})
			if err != nil {
				t.Error(err)
				return
			}
			defer closeIt(t, e)
			got := ran(t, e, `stat -c '%a %u %g %h' /opt/x/a /opt/x/b; readlink /opt/x/c; stat -c %a /opt/x/d; cat /lib/z; test ! -e /usr/bin/env; test ! -e /workspace/made; (echo x > /opt/no) 2>/dev/null || id -u`)
			if want := "4750 33 44 2\n4750 33 44 2\n/etc/none\n1777\nlib\n65532\n"; got != want {
				t.Errorf("over the layer are %q, want %q", got, want)
			}
		})
	}
	together.Wait()
	if n := imagesOf(t, other) - before; n != 1 {
		t.Errorf("two environments at once made %d images", n)
	}
	for _, path := range []string{"/images/" + image + "/json", "/images/" + image + "/history"} {
		var said json.RawMessage
		if err := other.api.call(t.Context(), http.MethodGet, path, nil, &said); err != nil || strings.Contains(string(said), "hunter2") || strings.Contains(string(said), "goes-on") {
			t.Errorf("%s: %v, %s", path, err, said)
		}
	}
}

func imagesOf(t *testing.T, p *Provider) int {
	t.Helper()
	var list []listed
	if err := p.api.call(t.Context(), http.MethodGet, "/images/json?filters=%7B%22label%22%3A%5B%22"+labelLayer+"%22%5D%7D", nil, &list); err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestASetUpThatDiesHasNoLayer: its Close says so, and what is half is not taken for a whole.
func TestASetUpThatDiesHasNoLayer(t *testing.T) {
	p := realProvider(t)
	dirs := onDisk(t, "workspace", "upper")
	e, err := p.Open(t.Context(), environment.Spec{ID: "env_dies", Workspace: dirs[0], Root: environment.Root{Upper: dirs[1]}, AsRoot: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.removed(e.(*Environment).id); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := e.Close(ctx); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("it closes with %v", err)
	}
	if _, err := os.Stat(filepath.Join(dirs[1], environment.LayerArchive)); !os.IsNotExist(err) {
		t.Errorf("there is an archive: %v", err)
	}
}

func TestLayersOfOtherDriversAreRefused(t *testing.T) {
	f := newFake(t)
	f.on("GET /images/example/image:1/json", http.StatusOK, `{"Id":"sha256:1"}`)
	dirs := onDisk(t, "plain", "archive")
	if _, err := f.provider(t).root(t.Context(), dirs[:1]); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("a layer of files: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dirs[1], environment.LayerArchive), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (environment.Root{Layers: dirs}).PlainLayers(); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("an archive in place of files: %v", err)
	}
	if err := (environment.Root{Layers: dirs[:1]}).PlainLayers(); err != nil {
		t.Errorf("a layer of files: %v", err)
	}
}

// TestTheImageFollowsBaseAndLayers: another image under the same name, other layers or another order are
// another root.
func TestTheImageFollowsBaseAndLayers(t *testing.T) {
	f := newFake(t)
	p := f.provider(t)
	dirs := onDisk(t, "one", "two")
	write := func(dir, text string) {
		if err := os.WriteFile(filepath.Join(dir, environment.LayerArchive), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(dirs[0], "1")
	write(dirs[1], "2")
	seen := map[string]string{}
	name := func(what, base string, layers ...string) {
		f.on("GET /images/example/image:1/json", http.StatusOK, `{"Id":"`+base+`"}`)
		got, err := p.root(t.Context(), layers)
		if err != nil || seen[got] != "" {
			t.Errorf("%s: %s is that of %q, %v", what, got, seen[got], err)
		}
		seen[got] = what
	}
	name("no layer", "sha256:1")
	name("one", "sha256:1", dirs[0])
	name("two", "sha256:1", dirs...)
	name("the other order", "sha256:1", dirs[1], dirs[0])
	name("another base", "sha256:2", dirs[0])
	write(dirs[0], "changed")
	name("another archive", "sha256:1", dirs[0])
}

// TestUnusedImagesAreRemoved: those that were used last stay, and those that the engine says are in use.
func TestUnusedImagesAreRemoved(t *testing.T) {
	f := newFake(t)
	p := f.provider(t)
	var list []listed
	for i := range KeptImages + 3 {
		tag := fmt.Sprintf("%02d", i)
		list = append(list, listed{ID: "sha256:" + tag, RepoTags: []string{layeredName + ":" + tag}})
		if err := p.use(tag); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(filepath.Join(p.opts.Dir, usedDir, tag), at, at); err != nil {
			t.Fatal(err)
		}
	}
	list = append(list, listed{ID: "sha256:nameless", Created: time.Now().Unix()},
		listed{ID: "sha256:strange", Created: time.Now().Unix(), RepoTags: []string{layeredName + ":strange"}})
	body, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	f.on("GET /images/json", http.StatusOK, string(body))
	for _, name := range []string{"sha256:nameless", layeredName + ":00", layeredName + ":02", layeredName + ":03"} {
		f.on("DELETE /images/"+name, http.StatusOK, "[]")
	}
	f.on("DELETE /images/"+layeredName+":01", http.StatusConflict, `{"message":"in use"}`)
	if err := p.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The nameless one and that of another server count among the newest.
	got := f.called("DELETE")
	slices.Sort(got)
	want := []string{"DELETE /images/" + layeredName + ":00", "DELETE /images/" + layeredName + ":01", "DELETE /images/" + layeredName + ":02",
		"DELETE /images/" + layeredName + ":03", "DELETE /images/" + layeredName + ":04", "DELETE /images/sha256:nameless"}
	if !slices.Equal(got, want) {
		t.Errorf("removed are %q", got)
	}
	if _, err := os.Stat(filepath.Join(p.opts.Dir, usedDir, "01")); err != nil {
		t.Errorf("the note of an image that stays is gone: %v", err)
	}
}
