package workspace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRestoredModes: files have the modes of the checkpoint, whatever this process, or the directory, takes away from those of
// files that are made.
func TestRestoredModes(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []os.FileMode{0, 0o400, 0o444, 0o600, 0o622, 0o644, 0o666, 0o755, 0o777} {
		name := filepath.Join(dir, fmt.Sprintf("%03o", mode))
		put(t, name, "content of "+name)
		must(t, os.Chmod(name, mode))
	}
	blobs := newBlobs(t)
	digest := checkpoint(t, open(t, dir), blobs, "")
	want := capture(t, dir)
	t.Run("in a plain directory", func(t *testing.T) {
		to := t.TempDir()
		restore(t, to, blobs, digest)
		sameTree(t, want, capture(t, to))
	})
	t.Run("in one with an access control list", func(t *testing.T) {
		to := t.TempDir()
		// acl(5) as the kernel has it: a version, and a tag, permissions and an id for the owner, his group and others.
		list := binary.LittleEndian.AppendUint32(nil, 2)
		for _, tag := range []uint16{0x01, 0x04, 0x20} {
			list = binary.LittleEndian.AppendUint16(list, tag)
			list = binary.LittleEndian.AppendUint16(list, map[uint16]uint16{0x01: 7}[tag])
			list = binary.LittleEndian.AppendUint32(list, ^uint32(0))
		}
		if err := unix.Setxattr(to, "system.posix_acl_default", list, 0); errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip("the file system of temporary files has no access control lists")
		} else if err != nil {
			t.Fatal(err)
		}
		restore(t, to, blobs, digest)
		sameTree(t, want, capture(t, to))
	})
}
