package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/proof/rig"
)

// What is erased while nodes are killed goes from every session that was shown it, of which some have been redacted by then and others not,
// and its certificate says so of all of them.

const (
	shownTo      = 16 // sessions
	erasureTimes = 4  // memories, each with a kill
	// erasureStrike is the latest moment of a kill behind the request. One erasure takes about as long.
	erasureStrike = 400 * time.Millisecond
)

func TestErasuresOnSQLite(t *testing.T) {
	t.Parallel() // most of it waits for claims and leases of the dead
	erasing(t, 1, "")
}

func TestErasuresOnTwoNodesOnPostgres(t *testing.T) {
	t.Parallel()
	erasing(t, 2, newDatabase(t, "erasures"))
}

// eraser is a store whose memories are erased.
type eraser struct {
	*testing.T
	ctx      context.Context
	c        *rig.Client
	nodes    []*rig.Node
	rnd      *rand.Rand
	store    string
	sessions []string
}

func erasing(t *testing.T, count int, database string) {
	dir := t.TempDir()
	config := memoryConfig
	if database != "" {
		config += "database: " + database + "\n"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*settleTimeout)
	defer cancel()
	e := &eraser{T: t, ctx: ctx, rnd: rand.New(rand.NewPCG(*seed, 2))}
	var bases []string
	for i := range count {
		n, err := rig.NewNode(rig.NodeOptions{Program: programs.stead, Dir: filepath.Join(dir, fmt.Sprintf("node%d", i)), Config: config})
		if err == nil {
			err = n.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Kill)
		e.nodes, bases = append(e.nodes, n), append(bases, n.URL())
	}
	e.c = rig.NewClient(bases...)
	var store struct{ ID string }
	e.insist("POST", "/v1/memory_stores", "the-store", map[string]any{"name": "notes"}, &store)
	e.store = store.ID
	running := 0
	for i := range erasureTimes {
		if e.erase(i) {
			running++
		}
	}
	t.Logf("seed %d: of %d erasures %d were under way when a node was killed", *seed, erasureTimes, running)
	for _, n := range e.nodes {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	e.nowhere(dir)
}

func (e *eraser) insist(method, path, key string, in, out any) {
	e.Helper()
	if err := e.c.Insist(e.ctx, method, path, key, in, out); err != nil {
		e.Fatalf("%s %s: %v", method, path, err)
	}
}

// word is what the memory of a round says, and nothing else does.
func word(round int) string {
	return [erasureTimes]string{"Quetzalcoatlus", "Thylacosmilus", "Archaeopteryx", "Megatherium"}[round]
}

// erase has a memory shown to every session, erases it, kills a node meanwhile, and waits for the certificate. It reports whether the erasure was
// under way when it was asked for again.
func (e *eraser) erase(round int) (running bool) {
	var memory struct{ ID string }
	e.insist("POST", "/v1/memory_stores/"+e.store+"/memories", fmt.Sprintf("memory-%d", round),
		map[string]any{"content": fmt.Sprintf("The bird in hall number%d is the %s.", round, word(round)), "scope": map[string]any{"type": "project"}}, &memory)
	e.show(round)
	struck := make(chan error, 1)
	go func() {
		time.Sleep(time.Duration(e.rnd.Int64N(int64(erasureStrike)))) // the moment itself, not a wait for something
		n := e.nodes[round%len(e.nodes)]
		n.Kill()
		struck <- n.Start()
	}()
	var erasure struct {
		ID, Status, Certificate string
		Problem                 *string
	}
	in := map[string]any{"memory_store_id": e.store, "memory_id": memory.ID}
	e.insist("POST", "/v1/erasures", fmt.Sprintf("erasure-%d", round), in, &erasure)
	if err := <-struck; err != nil {
		e.Fatal(err)
	}
	e.insist("GET", "/v1/erasures/"+erasure.ID, "", nil, &erasure)
	running = erasure.Status == "running"
	err := rig.Poll(settleTimeout, "the certificate", func() error {
		if err := e.c.Do(e.ctx, "GET", "/v1/erasures/"+erasure.ID, "", nil, &erasure); err != nil || erasure.Status == "completed" {
			return err
		}
		return fmt.Errorf("it is %s: %v", erasure.Status, erasure.Problem)
	})
	if err != nil {
		e.Fatal(err)
	}
	e.certifies(erasure.Certificate, memory.ID)
	for _, id := range e.sessions {
		if file := e.c.Export(e.ctx, id); strings.Contains(file, word(round)) || !strings.Contains(file, "[redacted]") {
			e.Errorf("seed %d, round %d: session %s still has it: %s", *seed, round, id, file)
		}
	}
	return running
}

// show has every session recall the memory of a round.
func (e *eraser) show(round int) {
	text := fmt.Sprintf("Which bird is in hall number%d?", round)
	agent := map[string]any{"model": "sim", "tools": []any{map[string]any{"type": "memory", "memory_stores": []any{map[string]any{"id": e.store, "access": "read_only"}}, "recall": map[string]any{"mode": "always"}}}}
	for i := range shownTo {
		key := fmt.Sprintf("show-%d-%d", round, i)
		if round > 0 {
			if err := e.c.Send(e.ctx, e.sessions[i], key, map[string]any{"type": "agent.session.input.message", "input": text}); err != nil {
				e.Fatal(err)
			}
			continue
		}
		var s struct{ ID string }
		e.insist("POST", "/v1/agents/sessions", key, map[string]any{"environment": map[string]any{"type": "none"}, "agent": agent, "input": text}, &s)
		e.sessions = append(e.sessions, s.ID)
	}
	for _, id := range e.sessions {
		err := rig.Poll(settleTimeout, "the session to be shown it", func() error {
			s, err := e.c.Session(e.ctx, id)
			if err == nil && s.Status != "idle" {
				err = errors.New(s.Status)
			}
			if err == nil && !strings.Contains(e.c.Export(e.ctx, id), word(round)) {
				err = fmt.Errorf("round %d: it is not in its journal: %s", round, e.c.Export(e.ctx, id))
			}
			return err
		})
		if err != nil {
			e.Fatal(err)
		}
	}
}

// certifies checks that a certificate names the memory, and counts every session.
func (e *eraser) certifies(note, memory string) {
	e.Helper()
	var c struct {
		Erased struct {
			Entries       int
			ShownSessions int `json:"shown_sessions"`
			ShownItems    int `json:"shown_items"`
		}
		Shown []struct {
			Session string
			Events  []any
		}
	}
	lines := strings.SplitN(note, "\n", 3)
	if len(lines) < 3 || json.Unmarshal([]byte(lines[1]), &c) != nil {
		e.Fatalf("the certificate is %q", note)
	}
	if c.Erased.Entries != 1 || c.Erased.ShownSessions != shownTo || c.Erased.ShownItems != shownTo || len(c.Shown) != shownTo || !strings.Contains(note, memory) {
		e.Errorf("seed %d: the certificate says %+v", *seed, c)
	}
	for _, s := range c.Shown {
		if len(s.Events) == 0 {
			e.Errorf("seed %d: of session %s it names no event", *seed, s.Session)
		}
	}
}

// nowhere looks for what was erased in every file below a directory. Databases on servers are not there.
func (e *eraser) nowhere(dir string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for i := range erasureTimes {
			if bytes.Contains(data, []byte(word(i))) {
				e.Errorf("seed %d: %s has what was erased in round %d", *seed, path, i)
			}
		}
		return err
	})
	if err != nil {
		e.Error(err)
	}
}
