package host

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// imported stores a checkpoint of a layer of anybody's making, with this list, as the session's.
func (b *bench) imported(list string) {
	b.t.Helper()
	dir := b.t.TempDir()
	err := os.MkdirAll(filepath.Join(dir, layerRoot, "opt"), 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, layerTraits), []byte(list), 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := checkpoint(context.Background(), dir, b.blobs(b.key))
	if err != nil {
		b.t.Fatal(err)
	}
	b.state.Layer = c.Digest
}

// TestALayersListAsksTheNodeForRoom: a checkpoint of one small file may list a million FIFOs.
func TestALayersListAsksTheNodeForRoom(t *testing.T) {
	const free = 2500
	left := int64(free)
	b := newBench(t, func(c *Config) {
		c.Room = func(_, files int64) error {
			if left -= files; left < 0 {
				return stead.Errorf(stead.KindUnavailable, "the node has %d inodes", free)
			}
			return nil
		}
	})
	b.setup(commands("true"))
	b.prepare()
	var list strings.Builder
	fmt.Fprintf(&list, `{"version":1,"uid":%d,"gid":%d}`+"\n", os.Getuid(), os.Getgid())
	for i := range 2 * free {
		fmt.Fprintf(&list, `{"path":%q,"kind":"fifo","mode":384}`+"\n", base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "opt/p%06d", i)))
	}
	b.imported(list.String())
	left = free
	if _, err := b.tryOpen(); stead.KindOf(err) != stead.KindUnavailable || !strings.Contains(err.Error(), "inodes") {
		t.Errorf("where the node has no room it says %v", err)
	}
	for _, l := range b.layersLeft() {
		if strings.Contains(l, storedPrefix) || strings.Contains(l, makingPrefix) {
			t.Errorf("what was made of it is left: %s", l)
		}
	}
}

// TestServersWithoutListsRefuseALayer: they know version 1 of manifests alone, and would lay the directory with the layer and
// its list over the image, where nothing of it is found. What a server stored until version 2 was required can be read.
func TestServersWithoutListsRefuseALayer(t *testing.T) {
	b := newBench(t)
	b.setup(commands("mkdir -p $UPPER/opt; echo tool > $UPPER/opt/tool"))
	b.prepare()
	const version = len("steadWM") // where it stands: see package manifest
	manifestOf := func() []byte {
		t.Helper()
		data, err := b.cfg.Blobs.Get(context.Background(), b.key, b.state.Layer)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if v := manifestOf()[version]; v != 2 {
		t.Errorf("a layer is stored in version %d", v)
	}
	look := func() {
		t.Helper()
		b.again(func(c *Config) { c.Dir = t.TempDir() })
		b.open()
		data, err := os.ReadFile(filepath.Join(b.driver.last().Root.Layers[0], "opt", "tool"))
		if err != nil || string(data) != "tool\n" {
			t.Errorf("the layer holds %q, %v", data, err)
		}
	}
	look()
	before, err := checkpoint(context.Background(), filepath.Dir(b.driver.last().Root.Layers[0]), b.blobs(b.key))
	if err != nil {
		t.Fatal(err)
	}
	b.state.Layer = before.Digest
	if v := manifestOf()[version]; v != 1 {
		t.Errorf("other directories are stored in version %d", v)
	}
	look()
}
