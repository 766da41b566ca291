package server

import (
	"context"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/session"
)

// Erasures delete all that there is of a session or a user, with a certificate: see package erasure, which implements it.
type Erasures interface {
	Session(ctx context.Context, p stead.Principal, id stead.SessionID) (erasure.Erasure, error)
	Begin(ctx context.Context, p stead.Principal, req erasure.Request) (erasure.Erasure, error)
	Get(ctx context.Context, p stead.Principal, id string) (erasure.Erasure, error)
	List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]erasure.Erasure, bool, error)
	Verifier() audit.Verifier
}

// erasureHeader names the erasure that a deletion was.
const erasureHeader = "Stead-Erasure"

type wireErasure struct {
	ID          string         `json:"id"`
	Object      string         `json:"object"` // "erasure"
	Status      string         `json:"status"`
	SessionID   *string        `json:"session_id"`
	ItemID      *string        `json:"item_id"`
	User        *string        `json:"user"`
	StoreID     *string        `json:"memory_store_id"`
	MemoryID    *string        `json:"memory_id"`
	Scope       *string        `json:"scope"` // TYPE:ID
	Forks       bool           `json:"forks"`
	Answers     bool           `json:"answers"`
	RequestedBy string         `json:"requested_by"` // id of the principal
	CreatedAt   int64          `json:"created_at"`
	CompletedAt *int64         `json:"completed_at"`
	Erased      erasure.Totals `json:"erased"`
	Problem     *string        `json:"problem"`
	Certificate *string        `json:"certificate"` // a signed note
	SHA256      *string        `json:"sha256"`      // of the certificate, as it stands in the audit log
	Verifier    string         `json:"verifier"`
}

func (s *server) wireErasureOf(e erasure.Erasure) wireErasure {
	w := wireErasure{
		ID: e.ID, Object: "erasure", Status: e.State(), Forks: e.So.Forks, Answers: e.So.Answers, RequestedBy: e.So.By.ID, CreatedAt: e.So.RequestedAt / 1000, Erased: e.So.Erased,
		Problem: known(e.Problem), Certificate: known(e.Certificate), SHA256: known(e.SHA256), Verifier: s.Erasures.Verifier().String(),
	}
	switch e.So.Subject.Kind {
	case erasure.OfUser:
		w.User = &e.So.Subject.ID
	case erasure.OfMemory, erasure.OfScope:
		x := memory.ErasingOf(e.So.Subject.ID)
		w.StoreID, w.MemoryID = known(x.Store), known(x.ID)
		if x.Store = ""; x.ID == "" {
			w.Scope = known(x.String())
		}
	case erasure.OfItem:
		id, _ := stead.SessionOf(e.So.Subject.ID)
		w.ItemID, w.SessionID = &e.So.Subject.ID, known(string(id))
	default:
		w.SessionID = &e.So.Subject.ID
	}
	if e.Status == erasure.Completed {
		at := e.So.CompletedAt / 1000
		w.CompletedAt = &at
	}
	return w
}

// erase deletes a session, with a certificate where this server makes any.
func (s *server) erase(w http.ResponseWriter, r *http.Request, p stead.Principal, id stead.SessionID) (session.Erased, error) {
	if s.Erasures == nil {
		return s.Sessions.Erase(r.Context(), p, id)
	}
	e, err := s.Erasures.Session(r.Context(), p, id)
	if err != nil {
		return session.Erased{}, err
	}
	w.Header().Set(erasureHeader, e.ID)
	return session.Erased{Removed: int(e.So.Erased.Memories), Changed: int(e.So.Erased.Changed)}, nil
}

func (s *server) beginErasure(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	ask := erasure.Request{Key: req.key, Digest: req.digest}
	if ask.Subject, err = erasedSubject(req.Object); err != nil {
		return err
	}
	if ask.Forks, _, err = req.Bool("forks"); err != nil {
		return err
	}
	if ask.Answers, _, err = req.Bool("answers"); err != nil {
		return err
	}
	e, err := s.Erasures.Begin(r.Context(), p, ask)
	if err != nil {
		return err
	}
	return s.write(w, s.wireErasureOf(e))
}

// erasedSubject is what a request wants erased.
func erasedSubject(o param.Object) (out erasure.Subject, err error) {
	if err := o.Only("an erasure", "session_id", "item_id", "user", "memory_store_id", "memory_id", "scope", "forks", "answers"); err != nil {
		return out, err // what is passed over would erase more than was meant
	}
	var x struct{ session, item, user, store, entry string }
	for name, to := range map[string]*string{"session_id": &x.session, "item_id": &x.item, "user": &x.user, "memory_store_id": &x.store, "memory_id": &x.entry} {
		if err := setString(o, name, to); err != nil {
			return out, err
		}
	}
	x.session = sessionNamed(x.session)
	var scope memory.Scope
	if err := memoryScope(o, &scope); err != nil {
		return out, err
	}
	given := 0
	for _, one := range []struct {
		has  bool
		kind string
		id   string
	}{
		{x.session != "", erasure.OfSession, x.session},
		{x.user != "", erasure.OfUser, x.user},
		{x.entry != "", erasure.OfMemory, memory.Erasing{Store: x.store, ID: x.entry}.String()},
		{scope.Type != "", erasure.OfScope, memory.Erasing{Store: x.store, Scope: scope}.String()},
	} {
		if one.has {
			given++
			out = erasure.Subject{Kind: one.kind, ID: one.id}
		}
	}
	switch of, ok := stead.SessionOf(x.item); {
	case given != 1, x.store != "" && out.Kind != erasure.OfMemory && out.Kind != erasure.OfScope:
		return out, stead.Invalid("session_id", "say either which session_id (and which item_id of it), which user, which memory_id of which memory_store_id, or which scope")
	case x.entry != "" && x.store == "":
		return out, stead.Invalid("memory_store_id", "memory_store_id says which store the memory is of")
	case x.item == "":
		return out, nil
	case !ok || of != stead.SessionID(x.session):
		return out, stead.Invalid("item_id", "this is no item of the session that session_id names")
	}
	return erasure.Subject{Kind: erasure.OfItem, ID: x.item}, nil
}

func (s *server) getErasure(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	e, err := s.Erasures.Get(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, s.wireErasureOf(e))
}

func (s *server) listErasures(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), erasure.Prefix)
	if err != nil {
		return err
	}
	found, more, err := s.Erasures.List(r.Context(), p, q.After, q.Desc, q.Limit)
	if err != nil {
		return err
	}
	data := make([]wireErasure, len(found))
	for i, e := range found {
		data[i] = s.wireErasureOf(e)
	}
	return s.write(w, listOf(data, more, func(x wireErasure) string { return x.ID }))
}

// withErasures serves a route of erasures, where there are any.
func (s *server) withErasures(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
		if s.Erasures == nil {
			return stead.Errorf(stead.KindNotImplemented, "this server issues no certificates of what it erases")
		}
		return handle(w, r, p)
	}
}
