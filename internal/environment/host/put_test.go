package host

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"
)

// give lets files wait to be put into the workspace.
func (b *bench) give(files map[string]string) {
	b.t.Helper()
	b.state.Files = nil
	for _, path := range slices.Sorted(maps.Keys(files)) {
		digest, err := b.cfg.Blobs.Put(context.Background(), b.key, []byte(files[path]))
		if err != nil {
			b.t.Fatal(err)
		}
		b.state.Files = append(b.state.Files, environment.Put{Path: path, Data: stead.Text{Digest: digest, Bytes: len(files[path])}})
	}
}

// impossible is a workspace in which files can't be where impossibleFiles are, for one reason each.
const impossible = "mkdir -p dir/sub; echo text > file; ln -s /etc out; ln -s nowhere dangling; ln -s file link; ln -s loop loop"

var impossibleFiles = map[string]string{
	"/workspace/dir":           "directory",
	"/workspace/file/below":    "leads through",
	"/workspace/out/passwd":    "does not lead to a file of the workspace",
	"/workspace/dangling/x":    "leads through",
	"/workspace/link/x":        "leads through",
	"/workspace/loop":          "symbolic links",
	"/workspace/../etc/passwd": "outside",
}

func refusedAre(t *testing.T, got []environment.Refused, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d are refused, want %d: %+v", len(got), len(want), got)
	}
	for _, r := range got {
		if why, ok := want[r.Path]; !ok || !strings.Contains(r.Reason, why) {
			t.Errorf("%s is refused because %q, want %q", r.Path, r.Reason, why)
		}
	}
}

// TestImpossibleFilesAreGivenUp: what one path makes impossible is told, and everything else goes on, be
// the environment open, killed with its server, or suspended.
func TestImpossibleFilesAreGivenUp(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.open()
	b.sh(impossible)
	given := map[string]string{"/workspace/good": "one"}
	for path := range impossibleFiles {
		given[path] = "x"
	}
	b.give(given)
	refusedAre(t, b.save().Refused, impossibleFiles)
	b.is("/workspace/good", "one")

	given["/workspace/good"] = "two"
	b.give(given)
	b.again() // the server was killed before it had put them
	refusedAre(t, b.open().Refused, impossibleFiles)
	b.is("/workspace/good", "two")
	refusedAre(t, b.suspend().Refused, nil)

	b.give(given)
	refusedAre(t, b.open().Refused, impossibleFiles)
	if got := b.sh("cat file good; ls -d dir/sub; readlink out"); got != "text\ntwodir/sub\n/etc\n" {
		t.Errorf("the workspace holds %q", got)
	}
}

// TestWhatIsSeenBeforehandIsRefusedAtOnce: an open environment is asked before a file is taken.
func TestWhatIsSeenBeforehandIsRefusedAtOnce(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.open()
	b.sh(impossible)
	ctx := context.Background()
	for path, why := range impossibleFiles {
		err := b.Admits(ctx, b.key, path, 1)
		if e, _ := errors.AsType[*stead.Error](err); stead.KindOf(err) != stead.KindConflict || e.Param != "path" || !strings.Contains(e.Message, why) {
			t.Errorf("%s: %v, want a conflict: %s", path, err, why)
		}
	}
	for _, path := range []string{"/workspace/new", "/workspace/dir/new", "/workspace/a/b/c", "/workspace/file", "/workspace/link"} {
		if err := b.Admits(ctx, b.key, path, 1); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := b.Admits(ctx, b.key, "/workspace/new", environment.MediumDiskBytes+1); stead.KindOf(err) != stead.KindTooLarge {
		t.Errorf("more than the limit: %v", err)
	}
	b.suspend()
	if err := b.Admits(ctx, b.key, "/workspace/dir", 1); err != nil {
		t.Errorf("where it is not open: %v", err)
	}
}

// TestAFileAboveTheLimitIsGivenUp: the workspace's limit is for what is given to it as well.
func TestAFileAboveTheLimitIsGivenUp(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.open()
	env, err := b.box(b.key)
	if err != nil {
		t.Fatal(err)
	}
	b.sh("head -c 100000 /dev/urandom > own")
	env.limits.DiskBytes = 115_000
	b.give(map[string]string{"/workspace/1": strings.Repeat("x", 5000), "/workspace/2": strings.Repeat("x", 9000), "/workspace/3": "x"})
	refusedAre(t, b.save().Refused, map[string]string{"/workspace/2": "has room for"})
}

// TestAStoreThatIsAwayGivesUpNothing: the fault is not the file's.
func TestAStoreThatIsAwayGivesUpNothing(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.open()
	b.sh("mkdir dir")
	b.give(map[string]string{"/workspace/dir": "x", "/workspace/good": "x"})
	b.cfg.Blobs = awayStore{b.cfg.Blobs}
	_, err := b.Save(context.Background(), b.key, environment.SaveRequest{Previous: b.state.Checkpoint, Files: b.state.Files})
	if stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("%v, want unavailable", err)
	}
}

// awayStore is a store that answers nothing any more.
type awayStore struct{ blob.Store }

func (awayStore) Get(context.Context, stead.SessionKey, string) ([]byte, error) {
	return nil, stead.Errorf(stead.KindUnavailable, "the store is away")
}
