package memorytest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/recall"
)

const space = "model=provider/upstream#3"

// vectorSuite checks what is owed, claimed and stored, and what goes with its record.
func vectorSuite(t *testing.T, open func(t *testing.T) Store) {
	t.Run("what is owed is claimed by one, and stored by who has it", func(t *testing.T) { claimed(&fixture{t, open(t), t.Context()}) })
	t.Run("vectors are of records as they are, and go with them", func(t *testing.T) { attached(&fixture{t, open(t), t.Context()}) })
	for name, test := range map[string]func(*serviceFixture, *thesaurus){
		"found by a meaning that shares no word":                   byMeaning,
		"every text is embedded once, whoever works":               embeddedOnce,
		"a crash between the call and the store pays once more":    paidTwice,
		"a model that fails is waited for, and words are searched": failing,
		"texts that a model refuses are left out, the others not":  refusing,
		"another model embeds everything anew":                     respaced,
	} {
		t.Run(name, func(t *testing.T) {
			f := &serviceFixture{T: t, s: open(t), ctx: t.Context(), me: stead.LocalPrincipal()}
			f.Service = f.node()
			made, err := f.CreateStore(f.ctx, f.me, memory.StoreFields{Name: "notes"}, "")
			if err != nil {
				t.Fatal(err)
			}
			f.store = made.ID
			test(f, &thesaurus{calls: map[string]int{}, now: time.Now()})
		})
	}
}

func vector(r memory.Record) memory.Vector {
	return memory.Vector{ID: r.ID, Revision: r.Revision, Digest: []byte("digest"), Data: recall.Pack([]float32{1, 2, float32(r.Revision)})}
}

func claimed(f *fixture) {
	if _, ok, err := f.s.ClaimVectors(f.ctx, space, 100, 200); ok || err != nil {
		f.Fatalf("an empty database owes something: %v", err)
	}
	r := f.write(change("mem_1", "one"))[0]
	var wins sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if o, ok, err := f.s.ClaimVectors(f.ctx, space, 100, 200); err != nil {
				f.Error(err)
			} else if ok {
				wins.Store(o.Epoch, o)
			}
		})
	}
	all.Wait()
	won := []memory.Owing{}
	wins.Range(func(_, o any) bool { won = append(won, o.(memory.Owing)); return true })
	if len(won) != 1 || won[0].Place != place() || won[0].Revision != 0 || won[0].Space != space {
		f.Fatalf("of eight that claim at once these win: %+v", won)
	}
	second, ok, err := f.s.ClaimVectors(f.ctx, space, 201, 300)
	if !ok || err != nil || second.Epoch <= won[0].Epoch {
		f.Fatalf("when the time is over: %+v, %v, %v", second, ok, err)
	}
	if err := f.s.StoreVectors(f.ctx, won[0], []memory.Vector{vector(r)}, 0); stead.KindOf(err) != stead.KindConflict {
		f.Fatalf("who has lost the store stores all the same: %v", err)
	}
	if found, err := f.s.ReadVectors(f.ctx, place(), space, []string{"mem_1"}); err != nil || len(found) != 0 {
		f.Fatalf("what was refused is there: %+v, %v", found, err)
	}
	second.Failures = 3
	if err := f.s.StoreVectors(f.ctx, second, nil, 500); err != nil { // it failed: later
		f.Fatal(err)
	}
	if _, ok, _ := f.s.ClaimVectors(f.ctx, space, 499, 600); ok {
		f.Fatal("a store that waits is given out")
	}
	third, ok, err := f.s.ClaimVectors(f.ctx, space, 500, 600)
	if !ok || err != nil || third.Failures != 3 || third.Revision != 0 {
		f.Fatalf("a store that has waited: %+v, %v, %v", third, ok, err)
	}
	third.Revision, third.Failures = r.Revision, 0
	if err := f.s.StoreVectors(f.ctx, third, []memory.Vector{vector(r)}, 0); err != nil {
		f.Fatal(err)
	}
	if _, ok, _ := f.s.ClaimVectors(f.ctx, space, 1000, 2000); ok {
		f.Error("a store that owes nothing is given out")
	}
	if o, ok, err := f.s.ClaimVectors(f.ctx, "other space", 1000, 2000); !ok || err != nil || o.Revision != 0 {
		f.Errorf("another model owes nothing: %+v, %v", o, err)
	}
}

func attached(f *fixture) {
	keep := func(upTo int64, vectors ...memory.Vector) {
		f.Helper()
		o, ok, err := f.s.ClaimVectors(f.ctx, space, 1, 1)
		if !ok || err != nil {
			f.Fatal(ok, err)
		}
		o.Revision = upTo
		if err := f.s.StoreVectors(f.ctx, o, vectors, 0); err != nil {
			f.Fatal(err)
		}
	}
	ids := func(after, upTo int64) string {
		f.Helper()
		found, err := f.s.VectorChanges(f.ctx, place(), space, after, upTo, 100)
		if err != nil {
			f.Fatal(err)
		}
		var out []string
		for _, v := range found {
			out = append(out, v.ID)
		}
		return strings.Join(out, " ")
	}
	made := f.write(change("mem_a", "a"), change("mem_b", "b"), change("mem_c", "c"), change("mem_d", "d"))
	f.write(gone(made[3]))
	keep(5, vector(made[0]), vector(made[1]), vector(made[2]), vector(made[3]))
	if got := ids(0, 100); got != "mem_a mem_b mem_c" {
		f.Fatalf("vectors of %q: of what was forgotten meanwhile there is none", got)
	}
	if got := ids(1, 2); got != "mem_b" {
		f.Errorf("changes from 1 to 2 are %q", got)
	}
	f.write(over(made[0], "a, but another"))
	if got := ids(0, 100); got != "mem_b mem_c" {
		f.Errorf("a vector is told of a text that is no more: %q", got)
	}
	if found, err := f.s.ReadVectors(f.ctx, place(), space, []string{"mem_a"}); err != nil || len(found) != 1 || string(found[0].Digest) != "digest" {
		f.Errorf("the vector before the update is to be had, if the text is the same: %+v, %v", found, err)
	}
	redact := over(made[1], "")
	redact.Redact = true
	f.write(redact, gone(made[2]))
	if found, err := f.s.ReadVectors(f.ctx, place(), space, []string{"mem_b", "mem_c"}); err != nil || len(found) != 0 {
		f.Errorf("vectors outlive what they were made of: %+v, %v", found, err)
	}
	if dropped, err := f.s.DropVectors(f.ctx, space, 1<<50); dropped || err != nil {
		f.Errorf("the model in use loses its vectors: %v, %v", dropped, err)
	}
	if dropped, err := f.s.DropVectors(f.ctx, "the new one", -1); dropped || err != nil {
		f.Errorf("vectors that somebody works on are dropped: %v, %v", dropped, err)
	}
	if dropped, err := f.s.DropVectors(f.ctx, "the new one", 1<<50); !dropped || err != nil {
		f.Errorf("vectors of a model of long ago stay: %v, %v", dropped, err)
	}
	if found, err := f.s.ReadVectors(f.ctx, place(), space, []string{"mem_a"}); err != nil || len(found) != 0 {
		f.Errorf("they are still there: %+v, %v", found, err)
	}
	keep(8, memory.Vector{ID: "mem_a", Revision: 6, Digest: []byte("d"), Data: recall.Pack([]float32{1})})
	if err := f.s.DropMemories(f.ctx, place()); err != nil {
		f.Fatal(err)
	}
	if found, err := f.s.ReadVectors(f.ctx, place(), space, []string{"mem_a"}); err != nil || len(found) != 0 {
		f.Errorf("a dropped store has vectors: %+v, %v", found, err)
	}
}

// thesaurus is an embedding model that knows a few words: those of one line mean the same.
type thesaurus struct {
	mu    sync.Mutex
	name  string
	calls map[string]int // of each text
	fails error
	poor  string // a text with it is refused
	slow  time.Duration
	now   time.Time
}

var meanings = []string{"car automobile vehicle", "doctor physician surgeon", "boat ship vessel", "purple violet lilac"}

func (m *thesaurus) Space() (string, error) { return space + m.name, nil }

func (m *thesaurus) Embed(ctx context.Context, _ stead.Principal, _ []string, texts []string) ([][]float32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.slow > 0 {
		select {
		case <-ctx.Done():
			return nil, stead.Wrap(stead.KindUnavailable, ctx.Err(), "slow")
		case <-time.After(m.slow):
		}
	}
	if m.fails != nil {
		return nil, m.fails
	}
	if m.poor != "" && slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(t, m.poor) }) {
		return nil, stead.Invalid("input", "no")
	}
	out := make([][]float32, len(texts))
	for i, text := range texts {
		m.calls[text]++
		v := make([]float32, len(meanings)+1)
		v[len(meanings)] = 0.1
		for j, line := range meanings {
			for _, w := range strings.Fields(line) {
				if strings.Contains(text, w) {
					v[j]++
				}
			}
		}
		out[i] = v
	}
	return out, nil
}

func (m *thesaurus) most() (most, texts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.calls {
		most = max(most, n)
	}
	return most, len(m.calls)
}

// with is a node that embeds by a model, and what does it.
func (f *serviceFixture) with(m *thesaurus, s memory.Store) (*memory.Service, *memory.Embedding) {
	e := memory.NewEmbedding(memory.EmbeddingConfig{Store: s, Embedder: m, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return m.now },
		Text: func(_ memory.Place, data []byte) (string, []string, error) { return memory.EmbeddedText(data) }})
	return memory.NewService(memory.Config{Documents: f.s, Store: s, Policy: all{}, Now: time.Now, Embedding: e}), e
}

// work embeds until nothing is owed.
func (f *serviceFixture) work(e *memory.Embedding) {
	f.Helper()
	for {
		worked, err := e.Once(f.ctx)
		if err != nil {
			f.Fatal(err)
		}
		if !worked {
			return
		}
	}
}

func (f *serviceFixture) ask(n *memory.Service, query string) memory.Found {
	f.Helper()
	found, err := n.Search(f.ctx, f.me, f.store, memory.Search{Query: query, Explain: true})
	if err != nil {
		f.Fatal(err)
	}
	return found
}

func byMeaning(f *serviceFixture, m *thesaurus) {
	n, e := f.with(m, f.s)
	elsewhere, _ := f.with(m, f.s)
	made := f.add(note("her automobile is in the yard"), note("the surgeon called back"), note("they painted the vessel"))
	if found := f.ask(n, "car"); len(found.Hits) != 0 || found.Method != memory.MethodHybrid {
		f.Fatalf("before anything is embedded: %+v", found)
	}
	f.work(e)
	for query, want := range map[string]string{"car": made[0].ID, "physician": made[1].ID, "ship": made[2].ID} {
		found := f.ask(elsewhere, query)
		if len(found.Hits) != 1 || found.Hits[0].ID != want || found.Method != memory.MethodHybrid || found.Why != "" {
			f.Fatalf("%q finds %+v", query, found)
		}
		if p := found.Hits[0].Parts; p.Words != 0 || p.Near <= 0 || p.Similarity < 0.9 {
			f.Errorf("it came because %+v", p)
		}
	}
	calls, _ := m.most()
	if _, err := n.Update(f.ctx, f.me, f.store, made[0].ID, memory.AnyVersion, func(c *memory.Content) error { c.Labels = []string{"garage"}; return nil }); err != nil {
		f.Fatal(err)
	}
	f.work(e)
	if after, _ := m.most(); after != calls {
		f.Error("a label was added, and the text was embedded again")
	}
	if found := f.ask(elsewhere, "car"); len(found.Hits) != 1 {
		f.Errorf("after a label was added: %+v", found.Hits)
	}
	if _, err := n.Update(f.ctx, f.me, f.store, made[0].ID, memory.AnyVersion, func(c *memory.Content) error { c.Text = "her lilac dress"; return nil }); err != nil {
		f.Fatal(err)
	}
	if found := f.ask(elsewhere, "car"); len(found.Hits) != 0 {
		f.Errorf("found by what it does not say any more: %+v", found.Hits)
	}
	f.work(e)
	if found := f.ask(elsewhere, "violet"); len(found.Hits) != 1 || found.Hits[0].ID != made[0].ID {
		f.Errorf("not found by what it says now: %+v", found.Hits)
	}
	if err := n.Forget(f.ctx, f.me, f.store, made[1].ID, memory.AnyVersion); err != nil {
		f.Fatal(err)
	}
	if _, err := n.Redact(f.ctx, f.me, f.store, made[2].ID, memory.AnyVersion); err != nil {
		f.Fatal(err)
	}
	f.work(e)
	for _, query := range []string{"physician", "ship"} {
		if found := f.ask(elsewhere, query); len(found.Hits) != 0 {
			f.Errorf("forgotten, and %q still finds %+v", query, found.Hits)
		}
	}
	if left, err := f.s.ReadVectors(f.ctx, memory.Place{Project: f.me.Project, Store: f.store}, space, []string{made[1].ID, made[2].ID}); err != nil || len(left) != 0 {
		f.Errorf("forgotten, and its vector is there: %+v, %v", left, err)
	}
}

// embeddedOnce: three nodes work at once, while somebody writes and forgets.
func embeddedOnce(f *serviceFixture, m *thesaurus) {
	const entries = 400
	var nodes sync.WaitGroup
	ctx, cancel := context.WithCancel(f.ctx)
	for range 3 {
		_, e := f.with(m, f.s)
		nodes.Go(func() { e.Run(ctx) })
	}
	var some []memory.New
	for i := range entries {
		some = append(some, note(fmt.Sprintf("entry %d of a car", i)))
		if len(some) == 50 {
			f.add(some...)
			some = nil
		}
	}
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, texts := m.most(); texts == entries || time.Now().After(until) {
			break
		}
	}
	cancel()
	nodes.Wait()
	n, e := f.with(m, f.s)
	f.work(e)
	most, texts := m.most()
	if most != 1 || texts != entries {
		f.Errorf("%d texts were embedded, one of them %d times", texts, most)
	}
	if found, err := n.Search(f.ctx, f.me, f.store, memory.Search{Query: "automobile", Limit: 100}); err != nil || found.Method != memory.MethodHybrid {
		f.Errorf("%+v, %v", found.Method, err)
	}
}

// forgetful stores no vectors: as if the process had died behind the call.
type forgetful struct {
	memory.Store
	dead bool
}

func (s *forgetful) StoreVectors(ctx context.Context, o memory.Owing, v []memory.Vector, due int64) error {
	if s.dead {
		return stead.Errorf(stead.KindUnavailable, "killed")
	}
	return s.Store.StoreVectors(ctx, o, v, due)
}

func paidTwice(f *serviceFixture, m *thesaurus) {
	var some []memory.New
	for i := range 2*memory.MaxBatchTexts + 10 {
		some = append(some, note(fmt.Sprintf("entry %d", i)))
	}
	f.add(some...)
	killed := &forgetful{f.s, true}
	_, first := f.with(m, killed)
	if _, err := first.Once(f.ctx); err == nil {
		f.Fatal("a node that was killed goes on")
	}
	if _, texts := m.most(); texts != memory.MaxBatchTexts {
		f.Fatalf("%d texts were sent before it died", texts)
	}
	_, next := f.with(m, f.s)
	if worked, err := next.Once(f.ctx); worked || err != nil {
		f.Fatalf("a store that somebody has is worked on: %v", err)
	}
	m.now = m.now.Add(time.Hour)
	f.work(next)
	twice := 0
	for text, n := range m.calls {
		if n > 2 {
			f.Errorf("%q was embedded %d times", text, n)
		} else if n == 2 {
			twice++
		}
	}
	if twice != memory.MaxBatchTexts || len(m.calls) != len(some) {
		f.Errorf("%d of %d texts were paid twice: one call of %d is what a crash may cost", twice, len(m.calls), memory.MaxBatchTexts)
	}
}

func failing(f *serviceFixture, m *thesaurus) {
	n, e := f.with(m, f.s)
	m.fails = stead.Errorf(stead.KindUnavailable, "the model is away")
	f.add(note("her automobile is in the yard"))
	if worked, err := e.Once(f.ctx); !worked || err != nil {
		f.Fatal(worked, err)
	}
	found := f.ask(n, "whose automobile?")
	if len(found.Hits) != 1 || found.Method != memory.MethodLexical || found.Why != "the model is away" {
		f.Errorf("without the model: %+v", found)
	}
	m.fails = nil
	if worked, err := e.Once(f.ctx); worked || err != nil {
		f.Errorf("it is tried again at once: %v", err)
	}
	m.now = m.now.Add(2 * time.Second)
	f.work(e)
	if found := f.ask(n, "car"); len(found.Hits) != 1 || found.Method != memory.MethodHybrid {
		f.Errorf("when the model is back: %+v", found)
	}
	m.slow = 2 * memory.QueryTimeout
	began := time.Now()
	if found := f.ask(n, "an automobile"); len(found.Hits) != 1 || found.Method != memory.MethodLexical || found.Why != "the embedding model did not answer in time" {
		f.Errorf("of a slow model: %+v", found)
	}
	if took := time.Since(began); took > memory.QueryTimeout+time.Second {
		f.Errorf("the search took %s", took)
	}
}

func refusing(f *serviceFixture, m *thesaurus) {
	m.poor = "odd"
	n, e := f.with(m, f.s)
	f.add(note("her automobile"), note("an odd vessel"), note("the surgeon"), note("a lilac hat"))
	f.work(e)
	for query, hits := range map[string]int{"car": 1, "ship": 0, "physician": 1, "violet": 1, "odd": 1} {
		if found := f.ask(n, query); len(found.Hits) != hits {
			f.Errorf("%q finds %+v", query, found)
		}
	}
}

func respaced(f *serviceFixture, m *thesaurus) {
	n, e := f.with(m, f.s)
	f.add(note("her automobile is in the yard"))
	f.work(e)
	if found := f.ask(n, "car"); len(found.Hits) != 1 {
		f.Fatalf("%+v", found)
	}
	m.name = " of another day"
	if found := f.ask(n, "car"); len(found.Hits) != 0 {
		f.Errorf("vectors of two models are compared: %+v", found.Hits)
	}
	f.work(e)
	if found := f.ask(n, "car"); len(found.Hits) != 1 {
		f.Errorf("with the new model: %+v", found)
	}
	if calls := m.calls["her automobile is in the yard"]; calls != 2 {
		f.Errorf("the entry was embedded %d times", calls)
	}
}
