package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

const hidden = "Kilimanjaro"

// redact redacts an item from beginning to end.
func (n *node) redact(id stead.SessionID, item string) session.Redaction {
	n.t.Helper()
	plan, err := n.Redacting(context.Background(), me, id, item)
	if err != nil {
		n.t.Fatal(err)
	}
	done, _, err := n.Redact(context.Background(), me, plan)
	if err != nil {
		n.t.Fatal(err)
	}
	return done
}

// holds fails the test where the journal or the snapshot of a session has a text.
func (n *node) holds(id stead.SessionID, text string) {
	n.t.Helper()
	for _, e := range n.events(id) {
		if bytes.Contains(e.Data, []byte(text)) {
			n.t.Errorf("event %d (%s) has it: %.200s", e.Seq, e.Kind, e.Data)
		}
	}
	if seq, data, err := n.store.LoadSnapshot(context.Background(), n.key(id)); err != nil || bytes.Contains(data, []byte(text)) {
		n.t.Errorf("the snapshot at %d has it (%v)", seq, err)
	}
}

func TestARedactedItemIsNowhere(t *testing.T) {
	m := script(calls("fetch", `{"of":"`+hidden+`"}`), reply("it is high"), reply("ok"), reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin("How high is "+hidden+"?", func(s *agent.Spec) { s.Tools = []agent.Tool{server("box")} }).ID
		n.idle(id)
		items := n.ids(id)
		if err := n.store.SaveSnapshot(context.Background(), n.key(id), stead.Seq(len(n.events(id))), []byte("of before: "+hidden)); err != nil {
			t.Fatal(err)
		}
		first := n.redact(id, items[0])
		n.redact(id, items[1]) // the call, and what it returned
		n.holds(id, hidden)
		if len(first.Events) != 1 || first.Blobs != 0 {
			t.Errorf("redacted %+v", first)
		}
		n.send(id, says("and now?"))
		n.idle(id)
		want := []string{"user: [redacted]", "call fetch", "output [redacted]", "assistant: it is high", "user: and now?"}
		if got := seen(m.last()); !slices.EqualFunc(got, want, strings.HasPrefix) {
			t.Errorf("the model saw %q", got)
		}
		n.holds(id, hidden)
		if got := n.items(id)[0]; strings.TrimSpace(got) != "user completed: [redacted]" {
			t.Errorf("listed as %q", got)
		}
		if again := n.redact(id, items[0]); mustJSON(t, again.Events) != mustJSON(t, first.Events) {
			t.Errorf("again: %+v, first %+v", again, first)
		}
	}, withModel(m), withTools(having(does{"fetch", tool.Pure, func(context.Context, tool.Call) (tool.Result, error) { return outputs("5895 m: " + hidden) }})))
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOtherNodesForgetWhatIsRedacted: a node that has the session in memory, at rest or in its hands, shows it to no model any more.
func TestOtherNodesForgetWhatIsRedacted(t *testing.T) {
	m := script(calls("run", echoHi), reply("one"), reply("two"), reply("three"))
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		other := n.second("node-b")
		id := n.compute(hidden)
		n.idle(id)
		holder := n
		if other.Holding() == 1 {
			holder, other = other, n
		}
		if holder.Holding() != 1 {
			t.Fatal("nobody holds the session: its environment is to be resident")
		}
		other.redact(id, n.ids(id)[0])
		n.send(id, says("again"))
		n.idle(id)
		if got := seen(m.last()); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, hidden) }) || got[0] != "user: [redacted]" {
			t.Errorf("the model saw %q", got)
		}
		n.holds(id, hidden)
	}, withModel(m), withComputers(h))
}

// TestSummariesOfWhatIsRedactedAreMadeAgain: the model is given what the summary stood for, without what was redacted.
func TestSummariesOfWhatIsRedactedAreMadeAgain(t *testing.T) {
	m := script(reply("ok"))
	m.compact = reply("SUMMARY")
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(long(1), func(s *agent.Spec) { s.Compaction.Async = false }).ID
		n.idle(id)
		n.talk(id, 2, 6)
		if got := seen(m.last()); got[0] != summarized {
			t.Fatalf("the model saw %.40q: there is no summary yet", got)
		}
		m.compact = reply("ANOTHER")
		n.redact(id, n.ids(id)[0])
		n.holds(id, "SUMMARY")
		n.holds(id, "001 ")
		n.talk(id, 7, 7)
		if got := seen(m.last()); !strings.HasSuffix(got[0], "|ANOTHER") {
			t.Errorf("the model saw %.80q", got)
		}
		for _, req := range m.summaries[1:] {
			if got := seen(req); strings.Contains(strings.Join(got, "|"), "001 ") || got[0] != "user: [redacted]" {
				t.Errorf("the new summary is made of %.60q", got)
			}
		}
	}, withModel(m, small))
}

// TestNothingIsRedactedWhileATurnRuns: what a model is saying may repeat it.
func TestNothingIsRedactedWhileATurnRuns(t *testing.T) {
	m := script(reply("ok"), after(time.Minute, reply("ok")))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(hidden, func(*agent.Spec) {}).ID
		n.idle(id)
		item := n.ids(id)[0]
		plan, err := n.Redacting(context.Background(), me, id, item)
		if err != nil {
			t.Fatal(err)
		}
		n.send(id, says("go on"))
		_, err = n.Redacting(context.Background(), me, id, item)
		isKind(t, err, stead.KindConflict)
		_, _, err = n.Redact(context.Background(), me, plan)
		isKind(t, err, stead.KindConflict)
		n.idle(id)
		n.redact(id, item)
		n.holds(id, hidden)
	}, withModel(m))
}

// TestLargeTextsThatAreRedacted go when they are an hour old: until then somebody may be about to name the same bytes.
func TestLargeTextsThatAreRedacted(t *testing.T) {
	m := script(reply(filled("said "+hidden)), reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(filled("asked "+hidden), func(*agent.Spec) {}).ID
		n.idle(id)
		var left []session.Redaction
		for _, item := range n.ids(id) {
			done := n.redact(id, item)
			if left = append(left, done); len(done.Unnamed) != 1 || done.Blobs != 1 {
				t.Errorf("redacted %+v", done)
			}
		}
		time.Sleep(blob.Grace + time.Second)
		for _, plan := range left {
			done, _, err := n.Redact(context.Background(), me, plan)
			if err != nil || len(done.Unnamed) != 0 || done.Blobs != 1 {
				t.Errorf("redacted %+v, %v", done, err)
			}
			if _, err := n.cfg.Blobs.Get(context.Background(), n.key(id), plan.Unnamed[0]); stead.KindOf(err) != stead.KindNotFound {
				t.Errorf("the text is there: %v", err)
			}
		}
		n.send(id, says("and now?"))
		n.idle(id)
		if got, want := seen(m.last()), []string{"user: [redacted]", "assistant: [redacted]", "user: and now?"}; !slices.Equal(got, want) {
			t.Errorf("the model saw %.60q", got)
		}
	}, withModel(m))
}

// TestOnlyWhoMayDeleteRedacts, and only what there is.
func TestOnlyWhoMayDeleteRedacts(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(hidden, func(*agent.Spec) {}).ID
		n.idle(id)
		item := n.ids(id)[0]
		stranger := me
		stranger.Project = "another"
		_, err := n.Redacting(context.Background(), stranger, id, item)
		isKind(t, err, stead.KindNotFound)
		_, _, err = n.Redact(context.Background(), stranger, session.Redaction{Session: id, Item: item})
		isKind(t, err, stead.KindNotFound)
		for _, wrong := range []string{"", "x", stead.DerivedID("msg", id, 1, 0), stead.DerivedID("msg", id, 9999, 0), item + "0"} {
			_, err := n.Redacting(context.Background(), me, id, wrong)
			isKind(t, err, stead.KindNotFound)
		}
	}, withModel(script(reply("ok"))))
}

// TestAWatcherElsewhereSeesNothingOfIt: a node that knew the session while its turn waited shows who comes back in the middle what
// stands in the journal now.
func TestAWatcherElsewhereSeesNothingOfIt(t *testing.T) {
	m := script(calls("look_up", `{"of":"`+hidden+`"}`), reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		other := n.second("node-b")
		id := n.begin("go", func(s *agent.Spec) { s.Tools = []agent.Tool{function("look_up")} }).ID
		var waits session.Session
		n.until(id, func(s session.Session) bool { waits = s; return s.Status == session.StatusRequiresAction })
		if _, err := other.Get(ctx, me, id); err != nil {
			t.Fatal(err)
		}
		mid := stead.Cursor{Seq: stead.Seq(len(n.events(id)))}
		n.send(id, answers(waits.RequiredActions[0], "found"))
		n.idle(id)
		n.redact(id, n.ids(id)[1])
		end := errors.New("end")
		err := other.Stream(ctx, me, id, &mid, nil, func(e session.StreamEvent) error {
			if body := mustJSON(t, e.Body); strings.Contains(body, hidden) {
				t.Errorf("it is shown: %s", body)
			}
			if strings.HasSuffix(e.Type, "turn.completed") {
				return end
			}
			return nil
		})
		if !errors.Is(err, end) {
			t.Error(err)
		}
	}, withModel(m))
}

// lateCopies calls back before a copy is stored.
type lateCopies struct {
	journal.Full
	before func()
}

func (l *lateCopies) Send(ctx context.Context, key stead.SessionKey, in journal.Input) (journal.Receipt, error) {
	if do := l.before; do != nil && in.Create != nil && len(in.Events) > 3 {
		l.before = nil
		do()
	}
	return l.Full.Send(ctx, key, in)
}

// TestACopyThatIsMadeMeanwhile is taken back: whoever redacted did not see it, and it says what was redacted.
func TestACopyThatIsMadeMeanwhile(t *testing.T) {
	var late lateCopies
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.begin(hidden, func(*agent.Spec) {}).ID
		n.idle(id)
		late.before = func() { n.redact(id, n.ids(id)[0]) }
		_, err := n.Fork(ctx, me, id, session.ForkRequest{})
		isKind(t, err, stead.KindConflict)
		all, err := n.List(ctx, me, session.ListQuery{})
		if err != nil || len(all.Data) != 1 {
			t.Errorf("%d sessions, %v", len(all.Data), err)
		}
		copied, err := n.Fork(ctx, me, id, session.ForkRequest{})
		if err != nil {
			t.Fatal(err)
		}
		n.holds(copied.ID, hidden)
	}, withModel(script(reply("ok"))), with(func(c *runner.Config) { late.Full = c.Store; c.Store = &late }))
}
