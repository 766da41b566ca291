package workspace

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
)

// life is a session in the model: what its journal names, and what its workspace should hold.
type life struct {
	blobs       *sessionBlobs
	node        string // where its workspace is, if it is resident
	dir         *Dir
	checkpoints []string            // in its journal, oldest first
	trees       []map[string]string // as they were at each
}

// TestHistoryOfSessions lets sessions live at random: they work, checkpoint, are suspended, resume on
// another node, are forked, rewound, killed in the middle, and swept all the time, with a grace that is
// only as long as the test needs. In the end every checkpoint that a journal names restores to what it
// was. The seed is printed; STEAD_SEED repeats it.
func TestHistoryOfSessions(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("STEAD_SEED"); s != "" {
		_, err := fmt.Sscan(s, &seed)
		must(t, err)
	}
	t.Logf("STEAD_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	store, err := blob.OpenDir(t.TempDir())
	must(t, err)
	defer store.Close()
	m := &model{t: t, r: r, store: store, root: t.TempDir()}
	m.begin(nil)
	stop := m.sweepBeside()
	defer stop()
	for m.resumed < 120 || m.forked < 10 || m.swept() == 0 && m.steps < 5000 {
		m.step()
	}
	stop()
	t.Logf("%d steps, %d resumed, %d forked, %d rewound, %d killed, %d blobs swept", m.steps, m.resumed, m.forked, m.rewound, m.killed, m.swept())
	for _, l := range m.lives {
		for i, digest := range l.checkpoints {
			if _, err := Verify(t.Context(), l.blobs, digest); err != nil {
				t.Fatalf("checkpoint %d of %d: %v", i, len(l.checkpoints), err)
			}
			to := m.newDir()
			restore(t, to, l.blobs, digest)
			sameTree(t, l.trees[i], capture(t, to))
			must(t, Remove(to))
		}
	}
}

type model struct {
	t     *testing.T
	r     *rand.Rand
	store *blob.Dir
	root  string
	dirs  int

	mu    sync.Mutex // of what the sweeper reads: lives and their checkpoints
	lives []*life
	since time.Time // when the step that is under way began
	gone  int       // blobs swept

	steps, resumed, forked, rewound, killed int
}

func (m *model) newDir() string {
	m.dirs++
	return filepath.Join(m.root, fmt.Sprint(m.dirs))
}

func (m *model) swept() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone
}

// begin makes a session, as a fork of another one when that is given.
func (m *model) begin(from *life) {
	l := &life{blobs: &sessionBlobs{store: m.store, key: stead.SessionKey{Project: "p", Session: stead.SessionID(fmt.Sprint("s", len(m.lives)))}}}
	if from != nil {
		at := m.r.IntN(len(from.checkpoints))
		digests, err := References(m.t.Context(), from.blobs, from.checkpoints[at])
		must(m.t, err)
		must(m.t, m.store.Copy(m.t.Context(), from.blobs.key, l.blobs.key, digests))
		l.checkpoints, l.trees = []string{from.checkpoints[at]}, []map[string]string{from.trees[at]}
		m.forked++
	}
	m.mu.Lock()
	m.lives = append(m.lives, l)
	m.mu.Unlock()
}

func (m *model) step() {
	m.steps++
	m.mu.Lock()
	m.since = time.Now()
	m.mu.Unlock()
	l := m.lives[m.r.IntN(len(m.lives))]
	if l.dir == nil {
		m.resume(l)
		return
	}
	switch n := m.r.IntN(20); {
	case n < 11:
		m.work(l)
	case n < 15:
		m.checkpoint(l)
	case n < 18:
		m.checkpoint(l)
		m.suspend(l)
	case n == 18:
		m.killed++ // what was not checkpointed is lost
		m.suspend(l)
	case len(l.checkpoints) > 0 && len(m.lives) < 12:
		m.begin(l)
	}
}

// resume restores the newest checkpoint, or rewinds to an older one, sometimes at the second try only.
func (m *model) resume(l *life) {
	l.node = m.newDir()
	must(m.t, os.Mkdir(l.node, 0o755))
	if n := len(l.checkpoints); n > 0 {
		at := n - 1
		if m.r.IntN(8) == 0 {
			at = m.r.IntN(n)
			m.rewound++
			m.mu.Lock()
			l.checkpoints, l.trees = l.checkpoints[:at+1], l.trees[:at+1] // those behind are forgotten
			m.mu.Unlock()
		}
		if m.r.IntN(4) == 0 {
			ctx, cancel := context.WithCancel(m.t.Context())
			left := m.r.IntN(4)
			l.blobs.fail = func(string) error {
				if left--; left < 0 {
					cancel()
				}
				return ctx.Err()
			}
			_ = Restore(ctx, l.node, l.blobs, l.checkpoints[at])
			cancel()
			l.blobs.fail = nil
			m.change(l.node)
		}
		restore(m.t, l.node, l.blobs, l.checkpoints[at])
		sameTree(m.t, l.trees[at], capture(m.t, l.node))
	}
	m.resumed++
	l.dir = open(m.t, l.node)
	if m.r.IntN(2) == 0 {
		rest(l.dir)
	}
}

func (m *model) suspend(l *life) {
	must(m.t, l.dir.Close())
	must(m.t, Remove(l.node))
	l.dir = nil
}

func (m *model) checkpoint(l *life) {
	previous := ""
	if n := len(l.checkpoints); n > 0 {
		previous = l.checkpoints[n-1]
	}
	tree := capture(m.t, l.node)
	digest := checkpoint(m.t, l.dir, l.blobs, previous)
	m.mu.Lock() // the append to the journal
	l.checkpoints, l.trees = append(l.checkpoints, digest), append(l.trees, tree)
	if n := len(l.checkpoints); n > 3 { // and a retention of three
		l.checkpoints, l.trees = l.checkpoints[n-3:], l.trees[n-3:]
	}
	m.mu.Unlock()
}

func (m *model) work(l *life) {
	for range 1 + m.r.IntN(8) {
		m.change(l.node)
	}
}

// change changes one thing in a tree. Few names and few contents make all kinds of it meet.
func (m *model) change(root string) {
	name := filepath.Join(root, string(rune('a'+m.r.IntN(4))))
	for m.r.IntN(2) == 0 {
		name = filepath.Join(name, string(rune('a'+m.r.IntN(4))))
	}
	for dir := filepath.Dir(name); dir != root; dir = filepath.Dir(dir) {
		if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
			must(m.t, os.Remove(dir))
		}
	}
	must(m.t, os.MkdirAll(filepath.Dir(name), 0o755))
	switch m.r.IntN(10) {
	case 0:
		must(m.t, os.RemoveAll(name))
	case 1:
		must(m.t, os.RemoveAll(name))
		must(m.t, os.Symlink([]string{"a", "/etc/passwd", "../.."}[m.r.IntN(3)], name))
	case 2:
		if info, err := os.Lstat(name); err == nil && info.Mode()&os.ModeSymlink == 0 {
			must(m.t, os.Chmod(name, 0o700|os.FileMode(m.r.IntN(64))))
		}
	case 3:
		must(m.t, os.RemoveAll(name))
		must(m.t, os.Mkdir(name, 0o755))
	case 4: // another name of a file
		must(m.t, os.RemoveAll(name))
		if files := regular(m.t, root); len(files) > 0 {
			must(m.t, os.Link(files[m.r.IntN(len(files))], name))
		}
	case 5: // what all names of a file show
		if files := regular(m.t, root); len(files) > 0 {
			must(m.t, os.WriteFile(files[m.r.IntN(len(files))], random(m.r, m.r.IntN(300)), 0o644))
		}
	default:
		must(m.t, os.RemoveAll(name))
		size := m.r.IntN(3000)
		if m.r.IntN(12) == 0 {
			size = m.r.IntN(3 << 20)
		}
		content := random(rand.New(rand.NewPCG(uint64(m.r.IntN(30)), 0)), size)
		must(m.t, os.WriteFile(name, content, 0o644))
	}
}

// regular lists the regular files of a tree.
func regular(t *testing.T, root string) (files []string) {
	must(t, filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files = append(files, name)
		}
		return err
	}))
	return files
}

// sweepBeside sweeps all sessions all the time, as the package blob says it must be done.
func (m *model) sweepBeside() (stop func()) {
	const grace = time.Second // beyond the step that is under way: a checkpoint is in its journal when its step has ended, however long that took
	ctx, cancel := context.WithCancel(m.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			m.mu.Lock()
			moment := m.since.Add(-grace)
			lives := append([]*life(nil), m.lives...)
			m.mu.Unlock()
			for _, l := range lives {
				m.mu.Lock()
				named := append([]string(nil), l.checkpoints...)
				m.mu.Unlock()
				keep := map[string]bool{}
				for _, digest := range named {
					references, err := References(m.t.Context(), blob.Of(m.store, l.blobs.key), digest)
					if err != nil {
						m.t.Errorf("a checkpoint in a journal can't be read: %v", err)
						return
					}
					for _, r := range references {
						keep[r] = true
					}
				}
				s, err := m.store.Sweep(m.t.Context(), l.blobs.key, func(d string) bool { return keep[d] }, moment)
				if err != nil && !strings.Contains(err.Error(), "context") {
					m.t.Errorf("sweep: %v", err)
					return
				}
				m.mu.Lock()
				m.gone += s.Removed
				m.mu.Unlock()
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
