package workload_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/identity/workload"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/sqlite"
)

// turning is nodes over one database, each with a clock of its own.
type turning struct {
	t         *testing.T
	documents document.Store
	seal      *seal.Keys
	gate      policy.Authorizer
	now       atomic.Int64 // Unix nanoseconds
}

func (c *turning) node(skew time.Duration) *workload.Issuer {
	return workload.New(workload.Config{TrustDomain: "acme.example", URL: "https://stead.acme.example", Algorithm: "ES256", Documents: c.documents, Keys: c.seal, Policy: c.gate,
		Now: func() time.Time { return time.Unix(0, c.now.Load()).Add(skew) }})
}

func (c *turning) sleep(d time.Duration) { c.now.Add(int64(d)) }

// turnings runs a test over every store.
func turnings(t *testing.T, run func(t *testing.T, c *turning)) {
	t.Helper()
	for name, open := range map[string]func(t *testing.T) document.Store{
		"memory": func(*testing.T) document.Store { return documenttest.NewMemory() },
		"sqlite": func(t *testing.T) document.Store {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		},
		"postgres": func(t *testing.T) document.Store {
			s, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := seal.New(make([]byte, seal.KeyBytes))
			if err != nil {
				t.Fatal(err)
			}
			c := &turning{t: t, documents: open(t), seal: keys, gate: policy.AllowLocal{}}
			c.now.Store(time.Now().UnixNano())
			run(t, c)
		})
	}
}

func owner() stead.Principal {
	return stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada", Role: "owner"}
}

func kidOf(t *testing.T, text string) string {
	t.Helper()
	sig, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	return sig.Signatures[0].Header.KeyID
}

func rotated(t *testing.T, i *workload.Issuer) workload.Key {
	t.Helper()
	k, err := i.Rotate(t.Context(), owner())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Whoever keeps the key set for as long as they may can check every token before, while and after a key is replaced by hand, from
// nodes whose clocks differ.
func TestAKeyIsReplacedByHand(t *testing.T) {
	turnings(t, func(t *testing.T, c *turning) {
		a, b := c.node(0), c.node(-workload.CacheFor+time.Second) // which is behind by as much as is allowed for
		first := kidOf(t, sign(t, a, workload.Agent))
		c.sleep(time.Hour)
		set := published(t, b)
		read := c.now.Load()
		next := rotated(t, a)
		if next.Status != workload.StatusNext || next.ID == first {
			t.Fatalf("%+v", next)
		}
		c.sleep(time.Second) // by then every node has it
		if got := published(t, b); len(got.Keys) != 2 {
			t.Errorf("another node publishes %d keys", len(got.Keys))
		}
		const step = 20 * time.Second
		var last time.Time // that the first one signed
		for began := c.now.Load(); c.now.Load()-began < int64(workload.SignAfter+10*time.Minute); c.sleep(step) {
			if c.now.Load()-read > int64(workload.CacheFor-step) {
				set, read = published(t, b), c.now.Load()
			}
			for _, i := range []*workload.Issuer{a, b} {
				text := sign(t, i, workload.Agent)
				if _, err := checked(text, set, jose.ES256); err != nil {
					t.Fatalf("%s after the rotation: %v", time.Duration(c.now.Load()-began), err)
				}
				if kidOf(t, text) == first {
					last = time.Unix(0, c.now.Load())
				}
			}
		}
		if kidOf(t, sign(t, a, workload.Agent)) != next.ID || kidOf(t, sign(t, b, workload.Agent)) != next.ID {
			t.Error("the next one does not sign")
		}
		for time.Unix(0, c.now.Load()).Sub(last) < workload.Lifetime { // the last token that it signed is valid
			if _, err := checked(sign(t, a, workload.Agent), published(t, a), jose.ES256); err != nil || len(published(t, a).Keys) != 2 {
				t.Fatalf("%v, of %d keys", err, len(published(t, a).Keys))
			}
			c.sleep(time.Minute)
		}
		c.sleep(workload.KeptFor)
		for _, i := range []*workload.Issuer{a, b} {
			c.sleep(workload.CacheFor)
			if got := published(t, i); len(got.Keys) != 1 || got.Keys[0].KeyID != next.ID {
				t.Errorf("in the end there are %d keys", len(got.Keys))
			}
		}
		docs, err := c.documents.ListDocuments(t.Context(), document.Query{Project: "stead:identity", Kind: "workload_key", Limit: 10})
		if err != nil || len(docs) != 1 {
			t.Errorf("%d documents are left, %v", len(docs), err)
		}
	})
}

// However many nodes are asked at once, or again, there is one next key, also where clocks differ and where the next one of the
// schedule is published by then.
func TestOneRotation(t *testing.T) {
	turnings(t, func(t *testing.T, c *turning) {
		for name, ahead := range map[string]time.Duration{"long before": workload.SignFor / 2, "shortly before": workload.NextAhead / 2, "just before": workload.SignAfter / 2} {
			c.documents = hidden{c.documents, name} // a key set of its own
			first := c.node(0)
			sign(t, first, workload.Agent)
			c.sleep(workload.SignFor - 5*time.Minute - ahead)
			var all sync.Map
			var wait sync.WaitGroup
			for n := range 6 {
				wait.Go(func() {
					k, err := c.node(time.Duration(n-3)*time.Minute).Rotate(t.Context(), owner())
					if err != nil {
						t.Error(err)
					}
					all.Store(k.ID, true)
				})
			}
			wait.Wait()
			c.sleep(time.Minute)
			all.Store(rotated(t, c.node(0)).ID, true)
			n := 0
			all.Range(func(any, any) bool { n++; return true })
			if n != 1 {
				t.Errorf("%s its end %d keys were made", name, n)
			}
			c.sleep(workload.SignAfter + 3*time.Minute) // by the clock that is ahead most
			kid := kidOf(t, sign(t, first, workload.Agent))
			if _, ok := all.Load(kid); !ok {
				t.Errorf("%s its end another key signs", name)
			}
			c.documents = c.documents.(hidden).Store
		}
	})
}

// hidden is a store whose keys of workloads are of another project than the package's own.
type hidden struct {
	document.Store
	of string
}

func (h hidden) key(k document.Key) document.Key {
	k.Project += stead.ProjectID(h.of)
	return k
}

func (h hidden) ListDocuments(ctx context.Context, q document.Query) ([]document.Document, error) {
	q.Project += stead.ProjectID(h.of)
	return h.Store.ListDocuments(ctx, q)
}

func (h hidden) CreateDocument(ctx context.Context, d document.Document, key, digest string) (document.Document, error) {
	d.Key = h.key(d.Key)
	return h.Store.CreateDocument(ctx, d, key, digest)
}

func (h hidden) DeleteDocument(ctx context.Context, k document.Key, version int64) error {
	return h.Store.DeleteDocument(ctx, h.key(k), version)
}

// dying is a store whose node dies in a write: before it, or when it is done and nobody was told.
type dying struct {
	document.Store
	done bool
}

func (d dying) CreateDocument(ctx context.Context, doc document.Document, key, digest string) (document.Document, error) {
	if d.done {
		if _, err := d.Store.CreateDocument(ctx, doc, key, digest); err != nil {
			return doc, err
		}
	}
	return doc, stead.Errorf(stead.KindUnavailable, "the node died")
}

// A node that dies in a rotation leaves keys that sign and can be checked, and the next rotation is the same one or the first.
func TestANodeDiesInARotation(t *testing.T) {
	turnings(t, func(t *testing.T, c *turning) {
		sign(t, c.node(0), workload.Agent)
		c.sleep(time.Hour)
		before := len(published(t, c.node(0)).Keys)
		store := c.documents
		for _, done := range []bool{false, true} {
			c.documents = dying{store, done}
			if _, err := c.node(0).Rotate(t.Context(), owner()); stead.KindOf(err) != stead.KindUnavailable {
				t.Errorf("it is answered with %v", err)
			}
			c.documents = store
			set := published(t, c.node(0))
			if want := map[bool]int{false: before, true: before + 1}[done]; len(set.Keys) != want {
				t.Errorf("%d keys are published, not %d", len(set.Keys), want)
			}
			if _, err := checked(sign(t, c.node(0), workload.Agent), set, jose.ES256); err != nil {
				t.Error(err)
			}
		}
		if k, set := rotated(t, c.node(0)), published(t, c.node(0)); len(set.Keys) != before+1 || set.Keys[before].KeyID != k.ID {
			t.Errorf("asked again, %d keys are published", len(set.Keys))
		}
	})
}

// away is a store that can't be reached.
type away struct {
	document.Store
	gone *atomic.Bool
}

func (a away) ListDocuments(ctx context.Context, q document.Query) ([]document.Document, error) {
	if a.gone.Load() {
		return nil, stead.Errorf(stead.KindUnavailable, "the database is away")
	}
	return a.Store.ListDocuments(ctx, q)
}

// Tokens are signed on for a while when the database is away, and no longer than others may trust that.
func TestKeysOutliveADatabaseThatIsAway(t *testing.T) {
	keys, err := seal.New(make([]byte, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	var gone atomic.Bool
	c := &turning{t: t, documents: away{documenttest.NewMemory(), &gone}, seal: keys, gate: policy.AllowLocal{}}
	c.now.Store(time.Now().UnixNano())
	i := c.node(0)
	sign(t, i, workload.Agent)
	gone.Store(true)
	c.sleep(50 * time.Second)
	sign(t, i, workload.Agent)
	c.sleep(20 * time.Second)
	if _, err := i.Sign(t.Context(), workload.Agent, ada, "x", time.Time{}); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("after more than a minute: %v", err)
	}
	gone.Store(false)
	sign(t, i, workload.Agent)
}

// Who may not write keys rotates none, and each rotation was asked about.
func TestWhoRotatesKeys(t *testing.T) {
	g := &gate{refuse: true}
	c := newCluster(t)
	c.gate = g
	i := c.node("ES256")
	_, err := i.Rotate(t.Context(), owner())
	if e, ok := errors.AsType[*stead.Error](err); !ok || e.Kind != stead.KindForbidden || g.asked[0].Effect != policy.KeyWrite || g.asked[0].Resource != "workload" {
		t.Errorf("%v, %+v", err, g.asked)
	}
	if _, err := i.List(t.Context(), owner()); stead.KindOf(err) != stead.KindForbidden || g.asked[1].Effect != policy.KeyRead {
		t.Errorf("%v, %+v", err, g.asked)
	}
	g.refuse = false
	if keys, err := i.List(t.Context(), owner()); err != nil || len(keys) != 1 || keys[0].Status != workload.StatusSigning {
		t.Errorf("%+v, %v", keys, err)
	}
}
