package approval_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/sqlite"
)

var (
	ada  = stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada", Role: "developer"}
	eve  = stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "eve", Role: "approver"}
	zoe  = stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "zoe", Role: "owner"}
	boss = stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "boss", Role: "owner"}
)

// world is policies, a clock and documents, for any number of nodes.
type world struct {
	t      *testing.T
	docs   document.Store
	mu     sync.Mutex
	needs  map[policy.Effect]*policy.Needs
	denied map[policy.Effect]bool
	now    time.Time
	log    []audit.Record
	fail   error // of recording
	die    bool  // after it: nothing is stored from then on
	dead   bool
}

// Decide is what policies say.
func (w *world) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case req.Effect == policy.ApprovalGive:
		return policy.Decision{Allow: req.Principal.Role != "developer", By: "role"}, nil
	case w.denied[req.Effect]:
		return policy.Decision{By: "policy", Reason: "forbidden by now", Version: "2"}, nil
	case w.needs[req.Effect] != nil:
		return policy.Decision{By: "policy", Reason: "policy money asks for approval", Policies: []string{"money"}, Version: "1", Needs: w.needs[req.Effect]}, nil
	}
	return policy.Decision{Allow: true, By: "role"}, nil
}

// mortal is the documents of a node that may die.
type mortal struct {
	document.Store
	w *world
}

func (m mortal) UpdateDocument(ctx context.Context, d document.Document) (document.Document, error) {
	m.w.mu.Lock()
	dead := m.w.dead
	m.w.mu.Unlock()
	if dead {
		return d, stead.Errorf(stead.KindInternal, "killed")
	}
	return m.Store.UpdateDocument(ctx, d)
}

func newWorld(t *testing.T, docs document.Store) *world {
	return &world{
		t: t, docs: docs, now: time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC), denied: map[policy.Effect]bool{},
		needs: map[policy.Effect]*policy.Needs{policy.VaultWrite: {Roles: []stead.Role{"approver", "owner"}, ExpiresMS: time.Hour.Milliseconds()}},
	}
}

func (w *world) recorded(action string) (out []audit.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.log {
		if r.Action == action {
			out = append(out, r)
		}
	}
	return out
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

type node struct {
	w    *world
	desk *approval.Desk
	gate *approval.Authorizer
	s    *approval.Service
}

func (w *world) node() *node {
	desk := approval.NewDesk(approval.Config{Documents: mortal{w.docs, w}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
		Record: func(_ context.Context, r audit.Record) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.fail == nil {
				w.log = append(w.log, r)
			}
			w.dead = w.die
			return w.fail
		}})
	return &node{w, desk, approval.NewAuthorizer(w, desk), approval.NewService(desk, w, w)}
}

// sent is one request, whose effects are decided about one after the other.
type sent struct {
	n   *node
	by  stead.Principal
	ctx context.Context
}

var requests atomic.Int64

func (n *node) send(by stead.Principal, body, key string) sent {
	act := &approval.Act{Method: "POST", Path: "/v1/vaults", Key: key, Request: fmt.Sprintf("r%d", requests.Add(1))}
	if !json.Valid([]byte(body)) && body != "" {
		body = strconv.Quote(body)
	}
	act.SetBody([]byte(body))
	return sent{n, by, approval.WithAct(n.w.t.Context(), act)}
}

func (s sent) ask(e policy.Effect) error {
	_, err := policy.Check(s.ctx, s.n.gate, policy.Request{Principal: s.by, Effect: e, Resource: "vault_" + fmt.Sprint(requests.Add(1))})
	return err
}

// waits is the question that an error speaks of.
func waits(t *testing.T, err error) *policy.Open {
	t.Helper()
	open, ok := errors.AsType[*policy.Open](err)
	if e, is := errors.AsType[*stead.Error](err); !ok || !is || e.Code != policy.CodeApproval || e.Kind != stead.KindForbidden {
		t.Fatalf("nothing waits: %v", err)
	}
	return open
}

func (n *node) answer(by stead.Principal, id, decision string) error {
	return n.s.Answer(n.w.t.Context(), by, id, approval.Answer{Decision: decision, Reason: "since"})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func isKind(t *testing.T, err error, want stead.Kind) {
	t.Helper()
	if stead.KindOf(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestTheSameRequestPassesOnce(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	one, two := w.node(), w.node()
	first := waits(t, one.send(ada, "{}", "").ask(policy.VaultWrite))
	if again := waits(t, two.send(ada, "{}", "").ask(policy.VaultWrite)); *again != *first {
		t.Errorf("asked twice: %v, %v", again, first)
	}
	isKind(t, two.s.Answer(t.Context(), eve, first.ID, approval.Answer{Decision: approval.Approve, Digest: strings.Repeat("0", 64)}), stead.KindConflict)
	isKind(t, two.answer(ada, first.ID, approval.Approve), stead.KindForbidden)
	must(t, two.s.Answer(t.Context(), eve, first.ID, approval.Answer{Decision: approval.Approve, Digest: first.Digest}))

	// Nothing else passes by it: another body, principal or effect.
	w.needs[policy.KeyWrite] = w.needs[policy.VaultWrite]
	for _, other := range []error{one.send(ada, "{} ", "").ask(policy.VaultWrite), one.send(zoe, "{}", "").ask(policy.VaultWrite), one.send(ada, "{}", "").ask(policy.KeyWrite)} {
		if waits(t, other).ID == first.ID {
			t.Error("another request passes by the same question")
		}
	}
	w.denied[policy.VaultWrite] = true // meanwhile
	if err := one.send(ada, "{}", "").ask(policy.VaultWrite); err == nil || !strings.Contains(err.Error(), "forbidden by now") {
		t.Errorf("what became forbidden: %v", err)
	}
	w.denied[policy.VaultWrite] = false
	s := one.send(ada, "{}", "")
	must(t, s.ask(policy.VaultWrite))
	must(t, s.ask(policy.VaultWrite)) // twice within one request
	if next := waits(t, two.send(ada, "{}", "").ask(policy.VaultWrite)); next.ID == first.ID {
		t.Error("a used approval is asked about again under its id")
	}
	answers := w.recorded(audit.ActAnswer)
	if len(answers) != 1 || !strings.Contains(answers[0].Detail, first.Digest) || answers[0].Principal.ID != "eve" || answers[0].Approval.Answer != approval.Approve {
		t.Errorf("recorded: %+v", answers)
	}
	asks := w.recorded(audit.ActAsk)
	if a := asks[0].Approval; len(asks) != 5 || a.ID != first.ID || a.Digest != first.Digest || a.Until != first.ExpiresAt || a.For != "user:ada" || a.Of != "POST /v1/vaults" || a.Then != "deny" || a.Count != 1 {
		t.Errorf("recorded: %d %+v", len(asks), asks[0].Approval)
	}
}

func TestDeniedExpiredAndByDefault(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	n := w.node()
	q := waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite))
	must(t, n.answer(eve, q.ID, approval.Deny))
	isKind(t, n.answer(zoe, q.ID, approval.Approve), stead.KindInvalid)
	if err := n.send(ada, "{}", "").ask(policy.VaultWrite); err == nil || !strings.Contains(err.Error(), "user eve denied request "+q.ID+": since") {
		t.Errorf("denied: %v", err)
	}
	w.pass(approval.DeniedFor)
	again := waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite))
	w.pass(time.Hour) // no node was there
	isKind(t, w.node().answer(eve, again.ID, approval.Approve), stead.KindInvalid)
	third := waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite))
	if third.ID == again.ID || again.ID == q.ID {
		t.Error("an id came twice")
	}
	// What was approved is there for so long, and no longer.
	must(t, n.answer(eve, third.ID, approval.Approve))
	w.pass(approval.UseWithin)
	waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite))

	w.needs[policy.VaultWrite] = &policy.Needs{Roles: []stead.Role{"owner"}, ExpiresMS: 1000, Default: policy.DefaultAllow}
	q = waits(t, n.send(ada, "{1}", "").ask(policy.VaultWrite))
	w.pass(time.Second)
	isKind(t, n.answer(zoe, q.ID, approval.Deny), stead.KindInvalid)
	must(t, n.send(ada, "{1}", "").ask(policy.VaultWrite))
	waits(t, n.send(ada, "{1}", "").ask(policy.VaultWrite))
	w.pass(time.Second)
	w.needs[policy.VaultWrite] = &policy.Needs{Roles: []stead.Role{"owner"}, ExpiresMS: 1000} // policies say so no more
	waits(t, n.send(ada, "{1}", "").ask(policy.VaultWrite))

	w.pass(approval.UseWithin + approval.KeepFor + time.Hour)
	for range 2 { // what nobody answered is recorded first
		must(t, n.desk.SweepOnce(t.Context()))
	}
	lapsed := map[string]int{}
	for _, r := range w.recorded(audit.ActExpire) {
		lapsed[r.Resource]++
	}
	if len(lapsed) != 5 || lapsed[again.ID] != 1 || lapsed[third.ID] != 0 {
		t.Errorf("recorded that nobody answered: %v", lapsed)
	}
	if left := w.docs.(*documenttest.Memory).Count("p", "approval"); left != 0 {
		t.Errorf("%d questions are left for ever", left)
	}
}

func TestSeveralMustApprove(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	w.needs[policy.VaultWrite] = &policy.Needs{Roles: []stead.Role{"approver", "owner"}, Count: 2, Separate: true}
	n := w.node()
	q := waits(t, n.send(zoe, "{}", "").ask(policy.VaultWrite))
	isKind(t, n.answer(zoe, q.ID, approval.Approve), stead.KindForbidden) // it is hers
	must(t, n.answer(eve, q.ID, approval.Approve))
	isKind(t, n.answer(eve, q.ID, approval.Approve), stead.KindConflict)
	waits(t, n.send(zoe, "{}", "").ask(policy.VaultWrite))
	hand := func(by stead.Principal, to policy.Delegate) error {
		return n.s.Answer(t.Context(), by, q.ID, approval.Answer{Decision: approval.Delegate, To: &to})
	}
	isKind(t, hand(eve, policy.Delegate{Role: "developer"}), stead.KindForbidden)
	isKind(t, hand(eve, policy.Delegate{Kind: stead.PrincipalUser, ID: "zoe"}), stead.KindForbidden)
	must(t, hand(eve, policy.Delegate{Kind: stead.PrincipalUser, ID: "boss"}))
	must(t, n.answer(boss, q.ID, approval.Approve))
	// Policies want a third by now: what was given does not do, and is asked for anew.
	w.needs[policy.VaultWrite] = &policy.Needs{Roles: []stead.Role{"approver", "owner"}, Count: 3, Separate: true}
	if next := waits(t, n.send(zoe, "{}", "").ask(policy.VaultWrite)); next.ID == q.ID {
		t.Error("too few approved, and the question stands")
	}
}

func TestAnAnswerIsRecordedOrNotTaken(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	n := w.node()
	q := waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite))
	w.fail = stead.Errorf(stead.KindUnavailable, "the disk is full")
	isKind(t, n.answer(eve, q.ID, approval.Approve), stead.KindUnavailable)
	waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite))
	w.fail = nil
	key := approval.Answer{Decision: approval.Approve, Key: "k"}
	must(t, n.s.Answer(t.Context(), eve, q.ID, key))
	must(t, n.s.Answer(t.Context(), eve, q.ID, key)) // its answer was lost
	isKind(t, n.s.Answer(t.Context(), zoe, q.ID, key), stead.KindInvalid)
	if n := len(w.recorded(audit.ActAnswer)); n != 1 {
		t.Errorf("%d answers are recorded", n)
	}
}

// TestTwoQuestions: a request that needs two approvals asks one after the other, and passes when both are there.
func TestTwoQuestions(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	w.needs[policy.MemoryWrite], w.needs[policy.FileWrite] = w.needs[policy.VaultWrite], w.needs[policy.VaultWrite]
	n, seen := w.node(), map[string]bool{}
	erase := func() error {
		s := n.send(ada, "{}", "")
		for _, e := range []policy.Effect{policy.VaultWrite, policy.MemoryWrite, policy.FileWrite} {
			if err := s.ask(e); err != nil {
				return err
			}
		}
		return nil
	}
	for range 3 {
		q := waits(t, erase())
		if seen[q.ID] {
			t.Fatalf("asked twice about %s", q.ID)
		}
		seen[q.ID] = true
		must(t, n.answer(eve, q.ID, approval.Approve))
	}
	must(t, erase())
	waits(t, erase())
	// A second question of one request is none: the first is answered first.
	s := n.send(ada, "{2}", "")
	waits(t, s.ask(policy.VaultWrite))
	if err := s.ask(policy.MemoryWrite); err == nil || !strings.Contains(err.Error(), "another question about this request comes first") {
		t.Errorf("two at once: %v", err)
	}
}

// TestAfterACrash: the node dies between the use and the effect. What holds then is said in the package's comment.
func TestAfterACrash(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	n := w.node()
	for _, key := range []string{"", "k"} {
		q := waits(t, n.send(ada, key, key).ask(policy.VaultWrite))
		must(t, n.answer(eve, q.ID, approval.Approve))
		must(t, n.send(ada, key, key).ask(policy.VaultWrite)) // and dies
		n = w.node()
		if err := n.send(ada, key, key).ask(policy.VaultWrite); key == "" {
			waits(t, err)
			continue
		} else if err != nil {
			t.Errorf("a repeat with its key: %v", err)
		}
		w.pass(approval.ReplayFor)
		waits(t, n.send(ada, key, key).ask(policy.VaultWrite))
	}
	q := waits(t, n.send(ada, "x", "k").ask(policy.VaultWrite))
	must(t, n.answer(eve, q.ID, approval.Approve))
	must(t, n.send(ada, "x", "k").ask(policy.VaultWrite))
	waits(t, n.send(ada, "x", "another").ask(policy.VaultWrite)) // another key is another act
}

// TestAStepThatWasCutOff: whoever records a step dies before it counts. Nobody waits for it for ever, it is recorded, and no answer of others
// comes between.
func TestAStepThatWasCutOff(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	dying := w.node()
	q := waits(t, dying.send(ada, "{}", "").ask(policy.VaultWrite))
	w.die = true
	isKind(t, dying.answer(eve, q.ID, approval.Deny), stead.KindInternal)
	w.die, w.dead = false, false
	n := w.node()
	waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite)) // not yet
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := n.s.Answer(short, zoe, q.ID, approval.Answer{Decision: approval.Approve}); err == nil {
		t.Error("an answer overtook another that is being recorded")
	}
	w.pass(10 * time.Second)
	must(t, n.desk.SweepOnce(t.Context()))
	if err := n.send(ada, "{}", "").ask(policy.VaultWrite); err == nil || !strings.Contains(err.Error(), "user eve denied") {
		t.Errorf("%v", err)
	}
	if r := w.recorded(audit.ActAnswer); len(r) == 0 || r[0].Decision != audit.Deny {
		t.Errorf("recorded: %v", r)
	}
}

func TestQuestionsAreFew(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	n := w.node()
	for i := range approval.MaxOpen {
		waits(t, n.send(ada, fmt.Sprint(i), "").ask(policy.VaultWrite))
	}
	isKind(t, n.send(ada, "more", "").ask(policy.VaultWrite), stead.KindLimited)
	waits(t, n.send(zoe, "more", "").ask(policy.VaultWrite)) // others ask on
	w.pass(time.Hour)
	waits(t, n.send(ada, "more", "").ask(policy.VaultWrite)) // what is over makes room
	if got := w.docs.(*documenttest.Memory).Count("p", "approval"); got > approval.MaxOpen+1 {
		t.Errorf("%d are kept", got)
	}
}

func TestWhoSees(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	n := w.node()
	mine, other := waits(t, n.send(ada, "1", "").ask(policy.VaultWrite)), waits(t, n.send(zoe, "2", "").ask(policy.VaultWrite))
	for _, c := range []struct {
		who  stead.Principal
		want int
	}{{ada, 1}, {eve, 2}, {stead.Principal{Project: "q", Kind: stead.PrincipalUser, ID: "eve", Role: "approver"}, 0}} {
		page, more, err := n.s.List(t.Context(), c.who, "", false, 10)
		if err != nil || more || len(page) != c.want {
			t.Errorf("%s sees %d, %v, %v", c.who.ID, len(page), more, err)
		}
	}
	if _, err := n.s.Get(t.Context(), ada, other.ID); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("another's: %v", err)
	}
	page, more, err := n.s.List(t.Context(), eve, "", false, 1)
	if err != nil || !more || page[0].ID != mine.ID {
		t.Errorf("%v %v %v", page, more, err)
	}
	if page, more, err = n.s.List(t.Context(), eve, mine.ID, false, 1); err != nil || more || page[0].ID != other.ID {
		t.Errorf("%v %v %v", page, more, err)
	}
	isKind(t, n.answer(stead.Principal{Project: "q", Kind: stead.PrincipalUser, ID: "eve", Role: "approver"}, mine.ID, approval.Approve), stead.KindNotFound)
}

// TestStorm: hundreds repeat and answer at once, at two nodes with connections of their own. One passes; one answer counts.
func TestStorm(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) [2]document.Store{
		"sqlite": func(t *testing.T) [2]document.Store {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
			must(t, err)
			t.Cleanup(func() { must(t, s.Close()) })
			return [2]document.Store{s, s}
		},
		"postgres": func(t *testing.T) (two [2]document.Store) {
			url := pgtest.URL(t)
			for i := range two {
				s, err := postgres.Open(t.Context(), url, postgres.Options{})
				must(t, err)
				t.Cleanup(func() { must(t, s.Close()) })
				two[i] = s
			}
			return two
		},
	} {
		t.Run(name, func(t *testing.T) {
			const many = 200
			stores := open(t)
			w := newWorld(t, stores[0])
			w.needs[policy.VaultWrite].Count = 2
			var nodes [2]*node
			for i := range nodes {
				w.docs = stores[i]
				nodes[i] = w.node()
			}
			// All of them ask at once.
			var mu sync.Mutex
			asked := map[string]int{}
			storm(many, func(i int) {
				open := waits(t, nodes[i%2].send(ada, "{}", "").ask(policy.VaultWrite))
				mu.Lock()
				defer mu.Unlock()
				asked[open.ID]++
			})
			if len(asked) != 1 {
				t.Fatalf("questions: %v", asked)
			}
			var id string
			for id = range asked {
			}
			var taken atomic.Int64
			storm(many, func(i int) {
				by := stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: fmt.Sprintf("u%d", i/4), Role: "approver"}
				if err := nodes[i%2].answer(by, id, approval.Approve); err == nil {
					taken.Add(1)
				} else if k := stead.KindOf(err); k != stead.KindInvalid && k != stead.KindConflict {
					t.Errorf("an answer: %v", err)
				}
			})
			if r := len(w.recorded(audit.ActAnswer)); r != 2 {
				t.Errorf("%d answers are recorded, of two that count", r)
			}
			if n := taken.Load(); n != 2 {
				t.Errorf("%d answers were taken, of two that it takes", n)
			}
			var passed atomic.Int64
			storm(many, func(i int) {
				if err := nodes[i%2].send(ada, "{}", "").ask(policy.VaultWrite); err == nil {
					passed.Add(1)
				} else if waits(t, err).ID == id {
					t.Errorf("the question that was answered stands: %v", err)
				}
			})
			if n := passed.Load(); n != 1 {
				t.Errorf("%d passed by one approval", n)
			}
		})
	}
}

func storm(n int, do func(i int)) {
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		all.Go(func() { <-begin; do(i) })
	}
	close(begin)
	all.Wait()
}

// TestConnections: one that policies want an approval of is refused, asked about once, and passes once after that: to the same place, by
// the same session. What agents ask takes no room from their users.
func TestConnections(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	w.needs[policy.NetworkConnect], w.needs[policy.ModelCall] = w.needs[policy.VaultWrite], w.needs[policy.VaultWrite]
	n := w.node()
	connect := func(session stead.SessionID, path string) error {
		_, err := policy.Check(t.Context(), n.gate, policy.Request{Principal: ada, Acting: true, Agent: "agent_1", Session: stead.SessionKey{Project: "p", Session: session}, Effect: policy.NetworkConnect,
			Resource: "api.example", Destination: "api.example:80", Connection: &policy.Connection{Port: 80, Kind: "request", Method: "POST", Path: path}, Carried: true})
		return err
	}
	q := waits(t, connect("sess_1", "/a"))
	if again := waits(t, connect("sess_1", "/a")); again.ID != q.ID {
		t.Error("asked twice")
	}
	must(t, n.answer(eve, q.ID, approval.Approve))
	for _, other := range []error{connect("sess_1", "/b"), connect("sess_2", "/a")} {
		if waits(t, other).ID == q.ID {
			t.Error("another connection passes by it")
		}
	}
	must(t, connect("sess_1", "/a"))
	waits(t, connect("sess_1", "/a"))
	query := func(query string) error {
		_, err := policy.Check(t.Context(), n.gate, policy.Request{Principal: ada, Acting: true, Agent: "agent_1", Session: stead.SessionKey{Project: "p", Session: "sess_1"}, Effect: policy.NetworkConnect,
			Resource: "api.example", Destination: "api.example:80", Connection: &policy.Connection{Port: 80, Kind: "request", Method: "GET", Path: "/q"}, Pinned: query, Carried: true})
		return err
	}
	lamps := waits(t, query("?of=lamps"))
	must(t, n.answer(eve, lamps.ID, approval.Approve))
	if waits(t, query("?of=everything")).ID == lamps.ID {
		t.Error("another query passes by it")
	}
	must(t, query("?of=lamps"))
	signed := waits(t, query("?of=lamps&api_key=hush-1"))
	stored, err := w.docs.GetDocument(t.Context(), document.Key{Project: ada.Project, Kind: "approval", ID: signed.ID})
	must(t, err)
	asked, err := n.s.Get(t.Context(), eve, signed.ID)
	must(t, err)
	shown := string(asked.Shown(true)) + string(stored.Data)
	if want := `"pinned":"?of=lamps\u0026api_key=•••","pinned_sha256":"`; !strings.Contains(shown, want) || strings.Contains(shown, "hush") {
		t.Errorf("shown is %s", shown)
	}
	must(t, n.answer(eve, signed.ID, approval.Approve))
	if waits(t, query("?of=lamps&api_key=hush-2")).ID == signed.ID {
		t.Error("another key passes by it, which looks the same")
	}
	must(t, query("?of=lamps&api_key=hush-1"))
	must(t, n.desk.Blank(t.Context(), ada.Project, func(session stead.SessionID, _ string) bool { return session == "sess_1" }))
	if gone, err := n.s.Get(t.Context(), eve, signed.ID); err != nil || strings.Contains(string(gone.Shown(true)), "lamps") || gone.Digest() != asked.Digest() {
		t.Errorf("what was erased shows %s, %v", gone.Shown(true), err)
	}
	asks := w.recorded(audit.ActAsk)
	if r := asks[0]; r.Agent != "agent_1" || r.Session != "sess_1" || r.Approval.Of != "POST api.example:80/a" || r.Approval.Effect != policy.NetworkConnect {
		t.Errorf("%+v %+v", r, r.Approval)
	}
	for i := range approval.MaxOpen {
		_ = connect("sess_1", fmt.Sprint("/", i)) // some have no room
	}
	isKind(t, connect("sess_1", "/more"), stead.KindLimited)
	waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite))
	// What waits in its session is asked about there.
	call := policy.Request{Principal: ada, Acting: true, Agent: "agent_1", Effect: policy.ModelCall, Resource: "m", Waits: true}
	_, err = policy.Check(t.Context(), n.gate, call)
	if isKind(t, err, stead.KindForbidden); errors.As(err, new(*policy.Open)) {
		t.Error("a session's model call is asked about")
	}
}

// TestEffectsWithinSteps: what a step of a session does on the way is asked about by the step, and passes as it was answered: for what was shown,
// as long as policies want no more. In no step it is refused, and passes once.
func TestEffectsWithinSteps(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	w.needs[policy.CredentialUse] = w.needs[policy.VaultWrite]
	n := w.node()
	use := func(ctx context.Context, s *policy.Step, to string) error {
		_, err := policy.Check(policy.InStep(ctx, s), n.gate, policy.Request{Principal: ada, Acting: true, Agent: "agent_1", Session: stead.SessionKey{Project: "p", Session: "sess_1"},
			Effect: policy.CredentialUse, Resource: "vault_1/cred_1", Destination: to})
		return err
	}
	step := policy.NewStep(nil)
	err := use(t.Context(), step, "a:443")
	if wants := new(*policy.Wanting); !errors.As(err, wants) || (*wants).Decision.Needs == nil || errors.As(err, new(*policy.Open)) {
		t.Errorf("%v", err)
	}
	_ = use(t.Context(), step, "a:443")
	_ = use(t.Context(), step, "b:443")
	asked := step.Asked()
	if len(asked) != 2 || asked[0].Request.Destination != "a:443" {
		t.Fatalf("asked is %+v", asked)
	}
	given := policy.Grant{Effect: policy.CredentialUse, Resource: "vault_1/cred_1", Shown: policy.Shown(asked[0].Request), By: []stead.Principal{eve}, Request: "req_1"}
	must(t, use(t.Context(), policy.NewStep([]policy.Grant{given}), "a:443"))
	if err := use(t.Context(), policy.NewStep([]policy.Grant{given}), "b:443"); err == nil {
		t.Error("what was given for one place holds for another")
	}
	w.needs[policy.CredentialUse].Count = 2
	if err := use(t.Context(), policy.NewStep([]policy.Grant{given}), "a:443"); err == nil {
		t.Error("what was enough once is enough for ever")
	}
	given.Refusal = "it was not approved."
	if err := use(t.Context(), policy.NewStep([]policy.Grant{given}), "a:443"); err == nil || errors.As(err, new(*policy.Wanting)) || !strings.Contains(err.Error(), "not approved") {
		t.Errorf("%v", err)
	}
	w.needs[policy.CredentialUse].Count = 1
	q := waits(t, use(t.Context(), nil, "a:443"))
	must(t, n.answer(eve, q.ID, approval.Approve))
	waits(t, use(t.Context(), nil, "b:443"))
	must(t, use(t.Context(), nil, "a:443"))
	waits(t, use(t.Context(), nil, "a:443"))
}
