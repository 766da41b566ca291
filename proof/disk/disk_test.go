package disk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead/proof/rig"
)

const (
	sessions = 4
	// backTimeout is how long work may take to go on by itself: retries back off up to this.
	backTimeout = 45 * time.Second
	// outages of PostgreSQL in one test, and how long each lasts.
	outages = 3
	outage  = 1500 * time.Millisecond
)

var stead string // the built binary; set by TestMain, read by the tests

func TestMain(m *testing.M) {
	os.Exit(rig.Main(m, map[string]*string{"./cmd/stead": &stead}))
}

func start(t *testing.T, o rig.NodeOptions) (*rig.Node, *rig.Client) {
	o.Program, o.Dir = stead, filepath.Join(t.TempDir(), "node")
	n, err := rig.NewNode(o)
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n, rig.NewClient(n.URL())
}

// writer is one session and what was accepted into it.
type writer struct {
	t        *testing.T
	client   *rig.Client
	session  string
	accepted []string
	pending  []string // refused: to be repeated when there is space
	refused  int
}

func newWriter(t *testing.T, c *rig.Client) *writer {
	const first = "First\nThe message itself."
	var s rig.Session
	err := c.Do(t.Context(), http.MethodPost, "/v1/agents/sessions", "", map[string]any{
		"environment": map[string]string{"type": "none"}, "agent": map[string]string{"model": "sim"}, "input": first,
	}, &s)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, client: c, session: s.ID, accepted: []string{first}}
	w.rest()
	return w
}

// send offers one message under its key, once. What comes back is acceptance, or a refusal as the
// contract has it; anything else fails the test.
func (w *writer) send(ctx context.Context, text string) bool {
	err := w.client.Do(ctx, http.MethodPost, rig.SessionPath(w.session, "/events"),
		"message-"+text[:strings.IndexByte(text, '\n')], map[string]any{"events": []any{rig.Message(text)}}, nil)
	if err == nil {
		w.accepted = append(w.accepted, text)
		return true
	}
	var api *rig.APIError
	if !errors.As(err, &api) || api.Status != http.StatusServiceUnavailable || api.Message == "" || api.Type == "" {
		w.t.Errorf("a write that can't be made must be refused with a 503 envelope, not: %v", err)
	}
	w.refused++
	return false
}

// insist repeats one message under its key until it is accepted.
func (w *writer) insist(text string) {
	err := rig.Poll(backTimeout, "a write to be accepted again", func() error {
		if !w.send(w.t.Context(), text) {
			return errors.New("refused")
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
}

func (w *writer) message(what string) string {
	return fmt.Sprintf("%s %d of %s\nThe message itself.", what, len(w.accepted), w.session)
}

// rest waits until the session has done all of its work by itself.
func (w *writer) rest() {
	err := rig.Poll(backTimeout, "session "+w.session+" to come to rest", func() error {
		s, err := w.client.Session(w.t.Context(), w.session)
		if err == nil && s.Status != "idle" {
			err = errors.New("it is " + s.Status)
		}
		return err
	})
	if err != nil {
		w.t.Errorf("%v\n%s", err, w.client.Export(w.t.Context(), w.session))
	}
}

// check compares the session's inputs with what was accepted, and wants an answer to the last one.
func (w *writer) check() {
	items, err := w.client.Items(w.t.Context(), w.session)
	if err != nil {
		w.t.Error(err)
		return
	}
	var got []string
	answered := false
	for _, it := range items {
		if it.Type != "message" {
			continue
		}
		answered = it.Role == "assistant" && it.Status == "completed"
		if it.Role == "user" {
			got = append(got, it.Text())
		}
	}
	if !reflect.DeepEqual(got, w.accepted) {
		w.t.Errorf("session %s accepted %d messages and holds %d:\n%.2000q\n%.2000q", w.session, len(w.accepted), len(got), w.accepted, got)
	}
	if !answered {
		w.t.Errorf("session %s: its last message has no answer", w.session)
	}
	turns, err := w.client.Turns(w.t.Context(), w.session)
	if err != nil {
		w.t.Error(err)
	}
	for _, turn := range turns {
		if turn.Status != "completed" {
			w.t.Errorf("session %s: turn %s is %s: %+v", w.session, turn.ID, turn.Status, turn.Error)
		}
	}
}

func TestFullDisk(t *testing.T) {
	v := newVolume(t, smallMiB)
	node, client := start(t, rig.NodeOptions{Data: filepath.Join(v.mount, "data"), Prefix: v.enter()})
	var all []*writer
	for range sessions {
		w := newWriter(t, client)
		w.insist(w.message("before"))
		w.rest()
		all = append(all, w)
	}
	// One turn is running when the space goes.
	running := newWriter(t, client)
	running.insist("Running\nWrite 150 words every 20ms")
	all = append(all, running)
	if err := v.fill(); err != nil {
		t.Fatal(err)
	}
	for _, w := range all[:sessions] {
		w.untilRefused()
		w.readable()
	}
	// What needs a blob is refused as well, with the same envelope.
	large := "Large\n" + strings.Repeat("A long text that does not stay inline. ", 4096)
	if !all[0].send(t.Context(), large) {
		all[0].pending = append(all[0].pending, large)
	}
	if err := v.free(); err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		for _, text := range w.pending {
			w.insist(text)
		}
		w.insist(w.message("after"))
		w.rest()
		w.check()
	}
	node.Kill()
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		w.rest()
		w.check()
	}
}

// untilRefused sends until the full disk shows: what the database had reserved is used up first.
func (w *writer) untilRefused() {
	for range 500 {
		text := w.message("full")
		if !w.send(w.t.Context(), text) {
			// Whether it is there is not known until it is repeated under its key: see insist.
			w.pending = append(w.pending, text)
			return
		}
	}
	w.t.Error("500 messages were accepted on a full disk")
}

// readable wants the session to be shown although nothing can be written.
func (w *writer) readable() {
	var s rig.Session
	if err := w.client.Do(w.t.Context(), http.MethodGet, rig.SessionPath(w.session, ""), "", nil, &s); err != nil {
		w.t.Errorf("reading on a full disk: %v", err)
	}
}

func TestPostgresKilled(t *testing.T) {
	pg, err := rig.NewPostgres(t.TempDir())
	if errors.Is(err, rig.ErrNoPostgres) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Kill)
	url, err := pg.CreateDatabase("stead")
	if err != nil {
		t.Fatal(err)
	}
	_, client := start(t, rig.NodeOptions{Config: "database: " + url + "\n"})
	var all []*writer
	for range sessions {
		all = append(all, newWriter(t, client))
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for _, w := range all {
		load.Go(func() { w.load(stop) })
	}
	for range outages {
		time.Sleep(outage / 2) // of work
		pg.Kill()
		time.Sleep(outage)
		if err := pg.Start(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	load.Wait()
	refused := 0
	for _, w := range all {
		w.rest()
		w.check()
		refused += w.refused
	}
	if refused == 0 {
		t.Error("nothing was proved: no write was refused")
	}
	t.Logf("%d writes refused while the database was away", refused)
}

// load sends one message after another until it is told to stop, each until it is accepted.
func (w *writer) load(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			w.insist(w.message("load"))
		}
	}
}
