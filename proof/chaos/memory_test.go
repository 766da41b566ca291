package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/proof/rig"
)

// What is remembered while nodes are killed: each message and each memory is there once, what was deleted meanwhile is
// nowhere, and everything has its vector in the end.

const (
	rememberers   = 16 // sessions
	memoryStrikes = 2
	memoryConfig  = `providers: [{name: sim, api: sim}]
models: [{name: sim, routes: [{provider: sim, model: sim}]}]
memory: {embeddings: {model: sim, dimensions: 1024}}
`
)

func TestMemoriesOnSQLite(t *testing.T) {
	t.Parallel() // most of it waits for claims and leases of the dead
	remembering(t, 1, "")
}

func TestMemoriesOnTwoNodesOnPostgres(t *testing.T) {
	t.Parallel()
	remembering(t, 2, newDatabase(t, "memories"))
}

// newDatabase is an empty one of a server that ends with the test. Without PostgreSQL CI fails, and the test is skipped elsewhere.
func newDatabase(t *testing.T, name string) string {
	t.Helper()
	pg, err := rig.NewPostgres(t.TempDir())
	if errors.Is(err, rig.ErrNoPostgres) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Kill)
	database, err := pg.CreateDatabase(name)
	if err != nil {
		t.Fatal(err)
	}
	return database
}

func remembering(t *testing.T, count int, database string) {
	dir := t.TempDir()
	config := memoryConfig
	if database != "" {
		config += "database: " + database + "\n"
	}
	var nodes []*rig.Node
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
		nodes, bases = append(nodes, n), append(bases, n.URL())
	}
	c := rig.NewClient(bases...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*settleTimeout)
	defer cancel()
	var store struct{ ID string }
	insist := func(method, path, key string, in, out any) {
		t.Helper()
		if err := c.Insist(ctx, method, path, key, in, out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	insist("POST", "/v1/memory_stores", "the-store", map[string]any{"name": "notes"}, &store)
	agent := map[string]any{"model": "sim", "tools": []any{map[string]any{"type": "memory", "memory_stores": []any{map[string]any{"id": store.ID, "access": "read_write"}},
		"extraction": map[string]any{"strategies": []string{"fact"}}}}}
	killed := make(chan error, 1)
	go func() {
		rnd := rand.New(rand.NewPCG(*seed, 1))
		for i := range memoryStrikes {
			time.Sleep(time.Duration(rnd.Int64N(int64(800 * time.Millisecond)))) // the moment itself, not a wait for something
			n := nodes[i%len(nodes)]
			n.Kill()
			if err := n.Start(); err != nil {
				killed <- err
				return
			}
		}
		killed <- nil
	}()
	ids := make([]string, rememberers)
	for i := range ids {
		var s struct{ ID string }
		insist("POST", "/v1/agents/sessions", fmt.Sprintf("session-%d", i), map[string]any{"environment": map[string]any{"type": "none"}, "agent": agent,
			"input": fmt.Sprintf("Remember that parcel number%d is in the %s hall.", i, halls[i%len(halls)])}, &s)
		ids[i] = s.ID
		if i%4 == 3 { // forgotten while it is being remembered
			if err := drop(ctx, c, s.ID); err != nil {
				t.Fatal(err)
			}
			ids[i] = ""
		}
	}
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	if err := rig.Poll(settleTimeout, "everything to be remembered", func() error { return remembered(ctx, c, store.ID, ids) }); err != nil {
		t.Fatal(err)
	}
	if err := rig.Poll(settleTimeout, "every memory to have its vector", func() error { return embedded(ctx, c, store.ID, ids) }); err != nil {
		t.Error(err)
	}
}

// drop deletes a session as soon as its turn has ended.
func drop(ctx context.Context, c *rig.Client, id string) error {
	for {
		err := c.Insist(ctx, "DELETE", "/v1/agents/sessions/"+id, "", nil, nil)
		e, ok := errors.AsType[*rig.APIError](err)
		switch {
		case err == nil, ok && e.Status == http.StatusNotFound: // an answer was lost
			return nil
		case !ok || e.Status != http.StatusConflict:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

var halls = []string{"northern", "southern", "eastern", "western", "old"}

type memoryEntry struct {
	ID, Kind, Content string
	Source            struct {
		Session string `json:"session_id"`
	}
	Sources []struct {
		Session string `json:"session_id"`
	}
}

// remembered checks that of each session that lives both messages and the one memory are there, once, and of others nothing.
func remembered(ctx context.Context, c *rig.Client, store string, ids []string) error {
	var page struct {
		Data []memoryEntry
		More bool `json:"has_more"`
	}
	if err := c.Do(ctx, "GET", "/v1/memory_stores/"+store+"/memories?limit=100&order=asc", "", nil, &page); err != nil {
		return err
	}
	of := map[string][]string{}
	for _, e := range page.Data {
		of[e.Source.Session] = append(of[e.Source.Session], e.Kind)
		if e.Kind == "fact" && len(e.Sources) != 1 {
			return fmt.Errorf("%q cites %d places", e.Content, len(e.Sources))
		}
	}
	for i, id := range ids {
		kinds := of[id]
		slices.Sort(kinds)
		if delete(of, id); id != "" && strings.Join(kinds, " ") != "fact item item" {
			return fmt.Errorf("of session %d (%s) there are %v", i, id, kinds)
		}
	}
	if len(of) > 0 {
		return fmt.Errorf("of sessions that were deleted there are %v", of)
	}
	return nil
}

// embedded checks that each memory is found by its vector as well.
func embedded(ctx context.Context, c *rig.Client, store string, ids []string) error {
	for i, id := range ids {
		var found struct {
			Method string
			Data   []struct {
				Memory  memoryEntry
				Explain struct{ Similarity float64 }
			}
		}
		in := map[string]any{"query": fmt.Sprintf("parcel number%d", i), "explain": true, "limit": 100, "filters": map[string]any{"kinds": []string{"fact"}}}
		if err := c.Do(ctx, "POST", "/v1/memory_stores/"+store+"/search", "", in, &found); err != nil {
			return err
		}
		for _, h := range found.Data {
			if h.Explain.Similarity == 0 {
				return fmt.Errorf("%q has no vector", h.Memory.Content)
			}
		}
		if id != "" && (len(found.Data) == 0 || found.Method != "hybrid" || !strings.Contains(found.Data[0].Memory.Content, fmt.Sprintf("number%d ", i))) {
			return fmt.Errorf("parcel %d: %+v", i, found)
		}
	}
	return nil
}
