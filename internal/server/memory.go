package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// Memory keeps memory stores and what is in them: see package memory, which implements it.
type Memory interface {
	CreateStore(ctx context.Context, p stead.Principal, f memory.StoreFields, key string) (memory.Info, error)
	GetStore(ctx context.Context, p stead.Principal, id string) (memory.Info, error)
	ListStores(ctx context.Context, p stead.Principal, after string, limit int, desc bool) ([]memory.Info, bool, error)
	UpdateStore(ctx context.Context, p stead.Principal, id string, change func(*memory.StoreFields) error) (memory.Info, error)
	DeleteStore(ctx context.Context, p stead.Principal, id string) error

	Add(ctx context.Context, p stead.Principal, store string, in []memory.New, key string) ([]memory.Entry, error)
	Get(ctx context.Context, p stead.Principal, store, id string) (memory.Entry, error)
	ListMatching(ctx context.Context, p stead.Principal, store string, f memory.Filter, at int64, after string, limit int, desc bool) ([]memory.Entry, bool, error)
	History(ctx context.Context, p stead.Principal, store, id string) ([]memory.Entry, error)
	Update(ctx context.Context, p stead.Principal, store, id string, expected int64, change func(*memory.Content) error) (memory.Entry, error)
	UpdateLife(ctx context.Context, p stead.Principal, store, id string, expected int64, life time.Duration, change func(*memory.Content) error) (memory.Entry, error)
	Redact(ctx context.Context, p stead.Principal, store, id string, expected int64) (memory.Entry, error)
	Forget(ctx context.Context, p stead.Principal, store, id string, expected int64) error
	ForgetSaid(ctx context.Context, p stead.Principal, store, id string, expected int64) (int, error)
	Ingest(ctx context.Context, p stead.Principal, store string, items []memory.Content) (int, error)
	ForgetEverywhere(ctx context.Context, p stead.Principal, f memory.Filter) (forgotten, stores int, err error)
	ForgetMatching(ctx context.Context, p stead.Principal, store string, f memory.Filter) (int, error)
	WouldForget(ctx context.Context, p stead.Principal, store string, f memory.Filter) (entries, stores int, err error)
	LabelsOf(session stead.Labels) []string
	Search(ctx context.Context, p stead.Principal, store string, q memory.Search) (memory.Found, error)
}

func (s *server) createMemoryStore(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	var f memory.StoreFields
	if err := storeFields(req.Object, &f); err != nil {
		return err
	}
	made, err := s.Memory.CreateStore(r.Context(), p, f, req.key)
	if err != nil {
		return err
	}
	return s.write(w, wireStoreOf(made))
}

func (s *server) listMemoryStores(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), memory.StorePrefix)
	if err != nil {
		return err
	}
	found, more, err := s.Memory.ListStores(r.Context(), p, q.After, q.Limit, q.Desc)
	if err != nil {
		return err
	}
	data := make([]wireStore, len(found))
	for i, f := range found {
		data[i] = wireStoreOf(f)
	}
	return s.write(w, listOf(data, more, func(v wireStore) string { return v.ID }))
}

func (s *server) getMemoryStore(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Memory.GetStore(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, wireStoreOf(found))
}

func (s *server) updateMemoryStore(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	made, err := s.Memory.UpdateStore(r.Context(), p, r.PathValue("id"), func(f *memory.StoreFields) error { return storeFields(req.Object, f) })
	if err != nil {
		return err
	}
	return s.write(w, wireStoreOf(made))
}

func (s *server) deleteMemoryStore(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if err := s.Memory.DeleteStore(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "memory_store.deleted"})
}

func (s *server) createMemory(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	n, err := newMemory(req.Object)
	if err != nil {
		return err
	}
	made, err := s.Memory.Add(r.Context(), p, r.PathValue("id"), []memory.New{n}, req.key)
	if err != nil {
		return err
	}
	return s.write(w, wireMemoryOf(made[0]))
}

func (s *server) createMemories(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a batch of memories", "memories"); err != nil {
		return err
	}
	in, err := newMemories(req.Object)
	if err != nil {
		return err
	}
	made, err := s.Memory.Add(r.Context(), p, r.PathValue("id"), in, req.key)
	if err != nil {
		return err
	}
	return s.write(w, listOf(wireMemoriesOf(made), false, func(m wireMemory) string { return m.ID }))
}

func (s *server) listMemories(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), memory.Prefix)
	if err != nil {
		return err
	}
	f, asOf, err := memoryQuery(r.URL.Query())
	if err != nil {
		return err
	}
	found, more, err := s.Memory.ListMatching(r.Context(), p, r.PathValue("id"), f, asOf, q.After, q.Limit, q.Desc)
	if err != nil {
		return err
	}
	return s.write(w, listOf(wireMemoriesOf(found), more, func(m wireMemory) string { return m.ID }))
}

func (s *server) getMemory(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Memory.Get(r.Context(), p, r.PathValue("id"), r.PathValue("memory"))
	if err != nil {
		return err
	}
	w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(found.Version, 10)))
	return s.write(w, wireMemoryOf(found))
}

func (s *server) updateMemory(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("an update of a memory", append([]string{"expected_version", "ttl_seconds"}, contentFields...)...); err != nil {
		return err
	}
	expected, err := expectedVersion(r)
	if err != nil {
		return err
	}
	if n, ok, err := req.Int("expected_version", 1, maxVersion); err != nil {
		return err
	} else if ok {
		expected = n
	}
	change := func(c *memory.Content) error { return memoryContent(req.Object, c) }
	life, given, err := memoryLife(req.Object)
	var made memory.Entry
	switch {
	case err != nil:
	case given || req.Null("ttl_seconds"):
		made, err = s.Memory.UpdateLife(r.Context(), p, r.PathValue("id"), r.PathValue("memory"), expected, life, change)
	default:
		made, err = s.Memory.Update(r.Context(), p, r.PathValue("id"), r.PathValue("memory"), expected, change)
	}
	if err != nil {
		return err
	}
	return s.write(w, wireMemoryOf(made))
}

func (s *server) redactMemory(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a redaction, whose version stands in If-Match"); err != nil {
		return err
	}
	expected, err := expectedVersion(r)
	if err != nil {
		return err
	}
	made, err := s.Memory.Redact(r.Context(), p, r.PathValue("id"), r.PathValue("memory"), expected)
	if err != nil {
		return err
	}
	return s.write(w, wireMemoryOf(made))
}

func (s *server) deleteMemory(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	expected, err := expectedVersion(r)
	if err != nil {
		return err
	}
	cited, err := queryBool(r.URL.Query(), "cited")
	if err != nil {
		return err
	}
	store, id := r.PathValue("id"), r.PathValue("memory")
	if cited {
		_, err = s.Memory.ForgetSaid(r.Context(), p, store, id, expected)
	} else {
		err = s.Memory.Forget(r.Context(), p, store, id, expected)
	}
	if err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "memory.deleted"})
}

func (s *server) listMemoryVersions(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Memory.History(r.Context(), p, r.PathValue("id"), r.PathValue("memory"))
	if err != nil {
		return err
	}
	return s.write(w, listOf(wireMemoriesOf(found), false, func(m wireMemory) string { return m.ID }))
}

func (s *server) searchMemories(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	q, err := memorySearch(req.Object)
	if err != nil {
		return err
	}
	found, err := s.Memory.Search(r.Context(), p, r.PathValue("id"), q)
	if err != nil {
		return err
	}
	return s.write(w, wireHitsOf(found, q.Around > 0))
}

// maxVersion is larger than any version.
const maxVersion = 1 << 53

// expectedVersion reads If-Match: the version of an entry as its ETag has it, or "*".
func expectedVersion(r *http.Request) (int64, error) {
	tag := r.Header.Get("If-Match")
	if tag == "" || tag == "*" {
		return memory.AnyVersion, nil
	}
	n, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
	if err != nil || n < 1 {
		return 0, stead.Invalid("If-Match", `If-Match must be the version of the memory, such as "3", not %.40q`, tag)
	}
	return n, nil
}
