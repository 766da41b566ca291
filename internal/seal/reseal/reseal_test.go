package reseal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/reseal"
)

func keys(t *testing.T, b byte, older ...byte) *seal.Keys {
	t.Helper()
	var more [][]byte
	for _, o := range older {
		more = append(more, bytes.Repeat([]byte{o}, seal.KeyBytes))
	}
	k, err := seal.New(bytes.Repeat([]byte{b}, seal.KeyBytes), more...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func label(k document.Key) seal.Label {
	return seal.Label{Project: k.Project, Kind: string(k.Kind), ID: k.ID}
}

func labelOf(d document.Document) seal.Label { return label(d.Key) }

// places are a kind of each sort.
func places() []reseal.Place {
	return []reseal.Place{
		{Kind: "credential", What: reseal.Credentials, Label: labelOf},
		{Kind: "template", What: reseal.Templates, Label: labelOf, Revised: "revised"},
		{Kind: "key", Own: true, Label: labelOf},
	}
}

// gate is a decider that one project refuses.
type gate struct {
	refuses stead.ProjectID
	asked   []stead.ProjectID
}

func (g *gate) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	g.asked = append(g.asked, r.Principal.Project)
	return policy.Decision{Allow: r.Principal.Project != g.refuses, By: "test", Reason: "a test says so"}, nil
}

var root = stead.Principal{Project: "home", Kind: stead.PrincipalService, ID: "root"}

// put stores a document that a key sealed.
func put(t *testing.T, docs document.Store, k *seal.Keys, project, kind, id string) document.Key {
	t.Helper()
	at := document.Key{Project: stead.ProjectID(project), Kind: document.Kind(kind), ID: id}
	data, err := json.Marshal(map[string]any{"name": "a<b", "number": json.Number("9007199254740993"), "sealed": k.Seal(label(at), []byte("secret of "+id))})
	if err == nil {
		_, err = docs.CreateDocument(t.Context(), document.Document{Key: at, CreatedAt: 1, UpdatedAt: 2, ExpiresAt: 3, Tag: "tag", Data: data}, "", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestAllProjectsAreSealedAnew(t *testing.T) {
	docs := documenttest.NewMemory()
	old := keys(t, 1)
	template := put(t, docs, old, "two", "template", "t1")
	for _, at := range [][3]string{{"one", "credential", "c1"}, {"two", "credential", "c2"}, {"three", "credential", "c3"}, {"stead:own", "key", "k1"}} {
		put(t, docs, old, at[0], at[1], at[2])
	}
	put(t, docs, keys(t, 9), "two", "credential", "lost")
	put(t, docs, keys(t, 2), "two", "credential", "new")

	g := &gate{refuses: "three"}
	both := keys(t, 2, 1)
	s := reseal.New(reseal.Config{Documents: docs, Keys: both, Policy: g, Places: places()})
	lost, _ := both.Key(keys(t, 9).Seal(seal.Label{}, nil))
	want := reseal.Report{
		Counts: reseal.Counts{Credentials: 4, Templates: 1, Others: 1, Resealed: 4, Unreadable: 1},
		Projects: []reseal.Project{
			{ID: "one", Counts: reseal.Counts{Credentials: 1, Resealed: 1}},
			{ID: "stead:own", Counts: reseal.Counts{Others: 1, Resealed: 1}},
			{ID: "three", Refused: "vault.write is not allowed: a test says so"},
			{ID: "two", Counts: reseal.Counts{Credentials: 3, Templates: 1, Resealed: 2, Unreadable: 1}, Keys: []string{lost}},
		},
	}
	for _, dry := range []bool{true, false} {
		got, err := s.Rekey(t.Context(), root, reseal.Request{All: true, DryRun: dry})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("dry: %v\n%+v\n%+v, %v", dry, got, want, err)
		}
	}
	if want := []stead.ProjectID{"one", "three", "two", "home"}; !reflect.DeepEqual(g.asked[:len(want)], want) {
		t.Errorf("asked of %v", g.asked)
	}
	d, err := docs.GetDocument(t.Context(), template)
	var data struct {
		Name, Number any
		Revised      int
		Sealed       []byte
	}
	dec := json.NewDecoder(bytes.NewReader(d.Data))
	dec.UseNumber()
	if err != nil || dec.Decode(&data) != nil || data.Name != "a<b" || data.Number != json.Number("9007199254740993") || data.Revised != 1 ||
		d.Version != 2 || d.UpdatedAt != 2 || d.ExpiresAt != 3 || d.Tag != "tag" {
		t.Errorf("%+v %s, %v", d, d.Data, err)
	}
	if plain, err := keys(t, 2).Open(label(template), data.Sealed); string(plain) != "secret of t1" || err != nil {
		t.Errorf("%q, %v", plain, err)
	}
	left, err := s.Look(t.Context(), keys(t, 2))
	if err != nil || left.Unreadable != 2 || len(left.Keys()) != 2 {
		t.Errorf("without the old key: %+v, %v", left, err)
	}
	got, err := s.Rekey(t.Context(), stead.Principal{Project: "two", Kind: stead.PrincipalUser, ID: "ada"}, reseal.Request{})
	if err != nil || len(got.Projects) != 1 || got.Counts != (reseal.Counts{Credentials: 3, Templates: 1, Unreadable: 1}) {
		t.Errorf("one project: %+v, %v", got, err)
	}
}

// cutting fails at its n-th update.
type cutting struct {
	*documenttest.Memory
	mu sync.Mutex
	at int
}

func (c *cutting) UpdateDocument(ctx context.Context, d document.Document) (document.Document, error) {
	c.mu.Lock()
	c.at--
	cut := c.at == 0
	c.mu.Unlock()
	if cut {
		return d, stead.Errorf(stead.KindUnavailable, "cut off")
	}
	return c.Memory.UpdateDocument(ctx, d)
}

// However often it is cut off, at whichever document, it is done when it was run to its end; two at once seal each once.
func TestSealingAnewGoesOnWhereItWasCutOff(t *testing.T) {
	const n = 6
	docs := &cutting{Memory: documenttest.NewMemory()}
	for i := range n {
		put(t, docs, keys(t, 1), string(rune('a'+i%3)), "credential", string(rune('a'+i)))
	}
	s := reseal.New(reseal.Config{Documents: docs, Keys: keys(t, 2, 1), Policy: &gate{}, Places: places()})
	for i := range n - 1 {
		docs.at = 2 // one is done, the next is cut off
		got, err := s.Rekey(t.Context(), root, reseal.Request{All: true})
		if stead.KindOf(err) != stead.KindUnavailable || got.Resealed != 1 {
			t.Fatalf("cut %d: %+v, %v", i, got, err)
		}
	}
	docs.at = -1
	var both [2]reseal.Report
	var wg sync.WaitGroup
	for i := range both {
		one := reseal.New(reseal.Config{Documents: docs, Keys: keys(t, 2, 1), Policy: &gate{}, Places: places()})
		wg.Go(func() {
			var err error
			if both[i], err = one.Rekey(t.Context(), root, reseal.Request{All: true}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if both[0].Credentials != n || both[1].Credentials != n || both[0].Resealed+both[1].Resealed != 1 {
		t.Errorf("%+v", both)
	}
	if left, err := s.Look(t.Context(), keys(t, 2)); err != nil || left.Unreadable != 0 {
		t.Errorf("%+v, %v", left, err)
	}
}
