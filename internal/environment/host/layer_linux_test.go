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
