package workspace

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// TestRenamedMeanwhile moves a file, while a checkpoint is taken, out of a directory that is still to be listed into one that was.
func TestRenamedMeanwhile(t *testing.T) {
	listed := make(chan struct{}) // "early" is
	for name, tc := range map[string]struct {
		moves     int // how many files are moved, one at each look
		unsettled bool
	}{"once": {1, false}, "all the time": {100, true}} {
		t.Run(name, func(t *testing.T) {
			dir, blobs := t.TempDir(), newBlobs(t)
			put(t, dir+"/early/there", "1")
			for i := range tc.moves {
				put(t, filepath.Join(dir, "late", string(rune('A'+i))), "2")
			}
			stamp(t, dir+"/early", 0)
			d := open(t, dir)
			looks := 0
			d.names = func(root *os.Root, n *atomic.Int64) ([]string, error) {
				here, err := root.Stat(".")
				must(t, err)
				is := func(name string) bool {
					info, err := os.Stat(filepath.Join(dir, name))
					return err == nil && os.SameFile(here, info)
				}
				if is("late") {
					<-listed
					if looks < tc.moves {
						file := string(rune('A' + looks))
						must(t, os.Rename(filepath.Join(dir, "late", file), filepath.Join(dir, "early", file)))
						stamp(t, dir+"/early", looks+1)
					}
					looks++
				}
				names, err := namesOf(root, n)
				if is("early") {
					go func() { listed <- struct{}{} }()
				}
				return names, err
			}
			c, err := d.Checkpoint(t.Context(), blobs, "")
			must(t, err)
			if c.Unsettled != tc.unsettled || looks > viewTries || looks < 2 {
				t.Errorf("after %d looks: %+v", looks, c)
			}
			if tc.unsettled {
				return
			}
			to := filepath.Join(t.TempDir(), "to")
			restore(t, to, blobs, c.Digest)
			sameTree(t, capture(t, dir), capture(t, to))
			if next, err := d.Checkpoint(t.Context(), blobs, c.Digest); err != nil || next.Digest != c.Digest || next.Unsettled {
				t.Errorf("the next one: %+v, %v", next, err)
			}
		})
	}
}

// stamp gives a directory a time of its own: a coarse clock may not tell two changes in a row from each other.
func stamp(t *testing.T, dir string, n int) {
	t.Helper()
	at := time.Unix(1_700_000_000+int64(n), 0)
	must(t, os.Chtimes(dir, at, at))
}
