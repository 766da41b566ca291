package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// Withdrawn are the principals, with their roles, whose last valid key was revoked: what agents do in their names ends with that. Whoever
// comes in again, by another key, an identity provider or a certificate, is not withdrawn any more. Keys that only expired withdraw nobody, as
// tokens that expire don't: who may begin something is one question, what goes on is another. It is safe for concurrent use.
//
// A revocation counts here within CacheFor, on other nodes within twice that.
type Withdrawn struct {
	documents document.Store
	now       func() time.Time

	mu    sync.Mutex
	known map[stead.ProjectID]withdrawnOf
	asked map[document.Key]askedOf // of projects that have more of them than are listed
}

// withdrawnOf are a project's, as they were listed.
type withdrawnOf struct {
	ids   map[string]int64 // → when, in Unix milliseconds
	whole bool             // there are no others
	at    time.Time
}

type askedOf struct {
	when int64 // 0: they are not withdrawn
	at   time.Time
}

const (
	kindWithdrawn document.Kind = "withdrawn_principal"
	// settles is how long after a revocation a revoked key may still be believed by a node: who is seen by then has not come in anew.
	settles = 5 * CacheFor
	// maxListed is how many of a project are listed at once: of more, each is asked about.
	maxListed = stead.MaxPageSize
	// maxRemembered bounds how many projects are remembered, and how many principals.
	maxRemembered = 10_000
)

// NewWithdrawn makes them.
func NewWithdrawn(documents document.Store, now func() time.Time) *Withdrawn {
	return &Withdrawn{documents: documents, now: now, known: map[stead.ProjectID]withdrawnOf{}, asked: map[document.Key]askedOf{}}
}

// withdrawnKey is where it stands that somebody is: it tells nobody's name.
func withdrawnKey(project stead.ProjectID, kind stead.PrincipalKind, id string, role stead.Role) document.Key {
	sum := sha256.Sum256([]byte(string(kind) + "\x00" + id + "\x00" + string(role)))
	return document.Key{Project: project, Kind: kindWithdrawn, ID: "wd_" + hex.EncodeToString(sum[:16])}
}

// withdraw says that a key's principal has no valid key any more. Twice is once.
func (w *Withdrawn) withdraw(ctx context.Context, k Key) error {
	data, err := json.Marshal(map[string]string{"key": k.ID})
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "a revocation can't be written")
	}
	now, key := w.now().UnixMilli(), withdrawnKey(k.Project, k.Kind, k.Principal, k.Role)
	_, err = w.documents.CreateDocument(ctx, document.Document{Key: key, CreatedAt: now, UpdatedAt: now, Data: data}, "", "")
	w.forget(key)
	if stead.KindOf(err) == stead.KindConflict { // it was said before
		return nil
	}
	return err
}

// restore says that somebody has come in again.
func (w *Withdrawn) restore(ctx context.Context, k document.Key) error {
	err := w.documents.DeleteDocument(ctx, k, 0)
	w.forget(k)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil
	}
	return err
}

// Seen is told who came in, and was known: whom that is, is not withdrawn any more. A token of a session proves nothing of whom it serves.
func (w *Withdrawn) Seen(ctx context.Context, p stead.Principal) error {
	if p.Session != "" {
		return nil
	}
	k := withdrawnKey(p.Project, p.Kind, p.ID, p.Role)
	when, err := w.when(ctx, k)
	if err != nil || when == 0 || w.now().UnixMilli() <= when+settles.Milliseconds() {
		return err
	}
	return w.restore(ctx, k)
}

// when says since when somebody is withdrawn, in Unix milliseconds; 0: they are not.
func (w *Withdrawn) when(ctx context.Context, k document.Key) (int64, error) {
	all, err := w.of(ctx, k.Project)
	if err != nil || all.whole || all.ids[k.ID] != 0 {
		return all.ids[k.ID], err
	}
	now := w.now()
	w.mu.Lock()
	known, ok := w.asked[k]
	w.mu.Unlock()
	if age := now.Sub(known.at); ok && age >= 0 && age < CacheFor {
		return known.when, nil
	}
	d, err := w.documents.GetDocument(ctx, k)
	if err != nil && stead.KindOf(err) != stead.KindNotFound {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) >= maxRemembered {
		clear(w.asked)
	}
	w.asked[k] = askedOf{d.CreatedAt, now}
	return d.CreatedAt, nil
}

// of lists a project's.
func (w *Withdrawn) of(ctx context.Context, project stead.ProjectID) (withdrawnOf, error) {
	now := w.now()
	w.mu.Lock()
	known, ok := w.known[project]
	w.mu.Unlock()
	if age := now.Sub(known.at); ok && age >= 0 && age < CacheFor {
		return known, nil
	}
	docs, err := w.documents.ListDocuments(ctx, document.Query{Project: project, Kind: kindWithdrawn, Limit: maxListed})
	if err != nil {
		return withdrawnOf{}, err
	}
	known = withdrawnOf{map[string]int64{}, len(docs) < maxListed, now}
	for _, d := range docs {
		known.ids[d.ID] = d.CreatedAt
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.known) >= maxRemembered {
		clear(w.known)
	}
	w.known[project] = known
	return known, nil
}

func (w *Withdrawn) forget(k document.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.known, k.Project)
	delete(w.asked, k)
}

// InForce is an authorizer that lets agents begin nothing in the name of who is withdrawn, and another one decide about the rest.
type InForce struct {
	withdrawn *Withdrawn
	begins    func(policy.Effect) bool
	next      policy.Authorizer
}

// NewInForce makes one. begins says which effects are those that are not to begin any more: what ends or keeps things goes on.
func NewInForce(w *Withdrawn, begins func(policy.Effect) bool, next policy.Authorizer) *InForce {
	return &InForce{w, begins, next}
}

// Decide implements policy.Authorizer.
func (f *InForce) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	if !req.Acting || !f.begins(req.Effect) {
		return f.next.Decide(ctx, req)
	}
	for _, p := range append([]stead.Principal{req.Principal}, req.Behind...) {
		for _, is := range sides(p) {
			when, err := f.withdrawn.when(ctx, withdrawnKey(req.Principal.Project, is.Kind, is.ID, is.Role))
			if err != nil {
				return policy.Decision{By: "key"}, stead.Wrap(stead.KindUnavailable, err, "it can't be read whose keys were revoked")
			}
			if when != 0 {
				return policy.Decision{By: "key", Reason: fmt.Sprintf("the key of %s %s (role %s), who is behind it, was revoked, and no other one is valid", is.Kind, is.ID, is.Role)}, nil
			}
		}
	}
	return f.next.Decide(ctx, req)
}

// Foresee implements policy.Foreseer, of what no agent does.
func (f *InForce) Foresee(ctx context.Context, req policy.Request) bool {
	return !req.Acting && policy.Foresee(ctx, f.next, req)
}

// sides are who somebody is, and who made the token of a session that they came with.
func sides(p stead.Principal) []stead.Principal {
	if m, ok := p.MadeBy(); ok {
		return []stead.Principal{p, m}
	}
	return []stead.Principal{p}
}
