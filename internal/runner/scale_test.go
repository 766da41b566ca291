package runner_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
)

func TestApprovalsArePaged(t *testing.T) {
	ctx := context.Background()
	asks := mcpServer()
	asks.RequireApproval = &agent.Approval{Mode: "always"}
	bubble(t, func(t *testing.T, n *node) {
		n.idle(n.create("no approval at all").ID)
		var want []string
		for range 7 {
			id := n.create("Call launch with {\"n\":1}\nCall read with {\"n\":2}", asks, function("look")).ID
			for _, a := range n.until(id, status(session.StatusRequiresAction)).RequiredActions {
				want = append(want, a.RequestID)
			}
			waits := n.create("Call look with {}", function("look")).ID // a function is no approval
			n.until(waits, status(session.StatusRequiresAction))
		}
		for _, limit := range []int{1, 2, 3, 5, 14, 100} {
			if got := n.inbox(ctx, limit, false); !slices.Equal(got, want) {
				t.Errorf("pages of %d: %q\nwant %q", limit, got, want)
			}
			got := n.inbox(ctx, limit, true)
			if len(got) != len(want) || got[0][:len(got[0])-4] != want[len(want)-1][:len(got[0])-4] {
				t.Errorf("pages of %d, newest first: %q", limit, got)
			}
			slices.Sort(got)
			if sorted := slices.Sorted(slices.Values(want)); !slices.Equal(got, sorted) {
				t.Errorf("pages of %d, newest first: %q", limit, got)
			}
		}
		_, err := n.Approvals(ctx, me, session.PageQuery{After: "nonsense"})
		isKind(t, err, stead.KindInvalid)
	})
}

// inbox walks the pages of the inbox.
func (n *node) inbox(ctx context.Context, limit int, desc bool) []string {
	n.t.Helper()
	var all []string
	q := session.PageQuery{Limit: limit, Desc: desc}
	for {
		page, err := n.Approvals(ctx, me, q)
		if err != nil || len(page.Data) > limit {
			n.t.Fatalf("page of %d, %v", len(page.Data), err)
		}
		for _, a := range page.Data {
			all = append(all, a.ID)
		}
		if !page.HasMore {
			return all
		}
		q.After = all[len(all)-1]
	}
}

// journalWithCounts counts what is read, and may return a snapshot of one's own.
type journalWithCounts struct {
	journal.Full
	read     atomic.Int64
	snapshot []byte
}

func (j *journalWithCounts) Read(ctx context.Context, key stead.SessionKey, o journal.ReadOptions) ([]stead.Event, error) {
	events, err := j.Full.Read(ctx, key, o)
	j.read.Add(int64(len(events)))
	return events, err
}

func (j *journalWithCounts) LoadSnapshot(ctx context.Context, key stead.SessionKey) (stead.Seq, []byte, error) {
	seq, data, err := j.Full.LoadSnapshot(ctx, key)
	if j.snapshot != nil && seq > 0 {
		data = j.snapshot
	}
	return seq, data, err
}

// longSession plants a session of 100,000 events: turns that streamed their answers.
func longSession(t *testing.T, store *journaltest.Memory) stead.SessionID {
	t.Helper()
	const turns, pieces = 1000, 95
	key := stead.SessionKey{Project: me.Project, Session: "sess_00000000000000000000000000000001"}
	var events []stead.Event
	add := func(kind string, payload any) {
		e, err := session.NewEvent(1, kind, payload)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	spec := agent.Defaults()
	spec.Model = "sim"
	add(session.KindSessionCreated, session.Created{Agent: session.AgentPin{ID: "agent_1", Spec: spec}, Principal: me, Environment: []byte(`{"type":"none"}`)})
	for i := range turns {
		add(session.KindInputMessage, session.Message{Input: message(fmt.Sprint("message ", i)), By: me})
		add(session.KindTurnStarted, session.TurnStarted{})
		add(session.KindModelCalled, session.ModelCalled{Model: "sim", Attempt: 1})
		call := stead.Seq(len(events))
		for range pieces {
			add(session.KindModelStreamed, session.ModelStreamed{Call: call, Segments: []session.Segment{{Type: stead.ItemMessage, Text: "word "}}})
		}
		rest := stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, "end")}
		add(session.KindModelReplied, session.ModelReplied{Call: call, Items: []session.ReplyItem{{Item: rest, Streamed: []int{pieces * 5}}}, Finish: "stop"})
		add(session.KindTurnCompleted, session.TurnEnded{})
	}
	if len(events) < 100_000 {
		t.Fatalf("%d events", len(events))
	}
	_, err := store.Send(context.Background(), key, journal.Input{Create: &journal.Creation{Agent: "agent_1", CreatedAt: 1}, Events: events, If: -1, Quiet: true, Update: &journal.Listing{Status: session.StatusIdle}})
	if err != nil {
		t.Fatal(err)
	}
	return key.Session
}

// TestLongSession: 100,000 events open from a snapshot with a few thousand reads, and open all the
// same without one.
func TestLongSession(t *testing.T) {
	const few = 3000
	m := script(reply("hello"))
	bubble(t, func(t *testing.T, n *node) {
		id := longSession(t, n.store)
		turn := func(node stead.NodeID, snapshot []byte) (read int64) {
			n.Kill()
			j := &journalWithCounts{Full: n.store, snapshot: snapshot}
			n.cfg.Store = j
			n.start(node)
			asked := len(m.asked())
			n.send(id, says("hello from "+string(node)))
			n.idle(id)
			if len(m.asked()) != asked+1 || len(m.last().Items) != 2001+2*asked {
				t.Errorf("%s: %d calls; the model saw %d items", node, len(m.asked()), len(m.last().Items))
			}
			return j.read.Load()
		}
		if read := turn("node-2", nil); read < 100_000 {
			t.Errorf("%d events read without a snapshot", read)
		}
		if read := turn("node-3", nil); read > few {
			t.Errorf("%d events read from a snapshot", read)
		}
		if page, err := n.Items(context.Background(), me, id, session.ItemQuery{PageQuery: session.PageQuery{Desc: true, Limit: 20}}); err != nil || len(page.Data) != 20 {
			t.Errorf("%d items, %v", len(page.Data), err)
		}
		if read := n.cfg.Store.(*journalWithCounts).read.Load(); read > 2*few {
			t.Errorf("%d events read after a page of the newest items", read)
		}
		if read := turn("node-4", []byte(`{"format":2,"state":{"view":`)); read < 100_000 {
			t.Errorf("%d events read past a snapshot that is garbage", read)
		}
	}, withModel(m, func(i *model.Info) { i.ContextWindow = 0 }))
}

// TestWaitingSessionsHoldNothing: ten thousand sessions that wait for somebody are rows.
func TestWaitingSessionsHoldNothing(t *testing.T) {
	const sessions, senders = 10_000, 16
	bubble(t, func(t *testing.T, n *node) {
		before := runtime.NumGoroutine()
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for range sessions / senders {
					n.create("Call look with {}", function("look"))
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		runtime.GC()
		if after := runtime.NumGoroutine(); after > before+5 || n.Holding() != 0 {
			t.Errorf("%d goroutines after %d; %d sessions held", after, before, n.Holding())
		}
		heads, err := n.store.Heads(context.Background(), me.Project, journal.Query{Status: session.StatusRequiresAction})
		if err != nil || len(heads) != sessions {
			t.Errorf("%d sessions wait, %v", len(heads), err)
		}
	})
}

// TestApprovalsAnsweredBetweenPages: approvals that are answered between two pages hide none of the others.
func TestApprovalsAnsweredBetweenPages(t *testing.T) {
	ctx := context.Background()
	asks := mcpServer()
	asks.RequireApproval = &agent.Approval{Mode: "always"}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("Call launch with {\"n\":1}\nCall launch with {\"n\":2}\nCall launch with {\"n\":3}", asks).ID
		n.until(id, status(session.StatusRequiresAction))
		var seen []string
		q := session.PageQuery{Limit: 1}
		for range 3 {
			page, err := n.Approvals(ctx, me, q)
			if err != nil || len(page.Data) != 1 {
				t.Fatalf("after %q: page of %d, %v", seen, len(page.Data), err)
			}
			q.After = page.Data[0].ID
			seen = append(seen, q.After)
			n.send(id, decides(q.After, session.DecisionApprove))
			synctest.Wait()
		}
		n.idle(id)
	})
}
