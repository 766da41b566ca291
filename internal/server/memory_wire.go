package server

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/recall"
	"github.com/stead-dev/stead/internal/param"
)

type wireStore struct {
	ID          string            `json:"id"`
	Object      string            `json:"object"`     // "memory_store"
	CreatedAt   int64             `json:"created_at"` // Unix seconds
	UpdatedAt   int64             `json:"updated_at"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Metadata    map[string]string `json:"metadata"`
}

func wireStoreOf(i memory.Info) wireStore {
	return wireStore{i.ID, "memory_store", i.CreatedAt / millis, i.UpdatedAt / millis, i.Name, i.Description, orEmpty(i.Metadata)}
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

type wireMemory struct {
	ID           string            `json:"id"`
	Object       string            `json:"object"` // "memory"
	StoreID      string            `json:"memory_store_id"`
	Version      int64             `json:"version"`
	CreatedAt    int64             `json:"created_at"` // Unix seconds, as all times
	UpdatedAt    int64             `json:"updated_at"`
	ExpiresAt    *int64            `json:"expires_at"`
	Kind         memory.Kind       `json:"kind"`
	Content      string            `json:"content"`
	Caption      string            `json:"caption"`
	Scope        wireScope         `json:"scope"`
	Source       wireSource        `json:"source"`
	Sources      []wireSource      `json:"sources"`
	Confidence   float64           `json:"confidence"`
	Importance   float64           `json:"importance"`
	ValidFrom    *int64            `json:"valid_from"`
	ValidUntil   *int64            `json:"valid_until"`
	Supersedes   *string           `json:"supersedes"`
	SupersededBy *string           `json:"superseded_by"`
	Labels       []string          `json:"labels"`
	Metadata     map[string]string `json:"metadata"`
	Redacted     bool              `json:"redacted"`
	WrittenBy    string            `json:"written_by"`
}

type wireScope struct {
	Type string  `json:"type"`
	ID   *string `json:"id"`
}

type wireSource struct {
	Session *string `json:"session_id"`
	Item    *string `json:"item_id"`
	Index   int64   `json:"index"`
	Author  *string `json:"author"`
	At      *int64  `json:"at"`
}

// given is nil for a value that is none.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// moment is a time on the wire; nil for none.
func moment(ms int64) *int64 {
	if ms == 0 {
		return nil
	}
	v := ms / millis
	return &v
}

func wireMemoryOf(e memory.Entry) wireMemory {
	m := wireMemory{
		ID: e.ID, Object: "memory", StoreID: e.Store, Version: e.Version, CreatedAt: e.CreatedAt / millis, UpdatedAt: e.UpdatedAt / millis,
		ExpiresAt: moment(e.ExpiresAt), Kind: e.Kind, Content: e.Text, Caption: e.Caption, Scope: wireScope{e.Scope.Type, given(e.Scope.ID)},
		Source:     wireSourceOf(e.Source),
		Confidence: e.Confidence, Importance: e.Importance, ValidFrom: moment(e.ValidFrom), ValidUntil: moment(e.ValidUntil),
		Supersedes: given(e.Supersedes), SupersededBy: given(e.SupersededBy), Labels: e.Labels, Metadata: orEmpty(e.Metadata),
		Redacted: e.Redacted, WrittenBy: e.WrittenBy,
	}
	if m.Labels == nil {
		m.Labels = []string{}
	}
	m.Sources = make([]wireSource, len(e.Sources))
	for i, src := range e.Sources {
		m.Sources[i] = wireSourceOf(src)
	}
	return m
}

func wireSourceOf(s memory.Source) wireSource {
	return wireSource{given(s.Session), given(s.Item), s.Index, given(s.Author), moment(s.At)}
}

func wireMemoriesOf(entries []memory.Entry) []wireMemory {
	out := make([]wireMemory, len(entries))
	for i, e := range entries {
		out[i] = wireMemoryOf(e)
	}
	return out
}

type wireHit struct {
	Memory  wireMemory       `json:"memory"`
	Score   float64          `json:"score"`
	Excerpt bool             `json:"excerpt,omitempty"` // content is the part around the query's words: all of it had no room in token_budget
	Context *[]wireNeighbour `json:"context,omitempty"` // in the order of the conversation; absent where none was asked for
	Explain *recall.Parts    `json:"explain,omitempty"`
}

type wireNeighbour struct {
	Memory    wireMemory `json:"memory"`
	ContextOf string     `json:"context_of"` // the hit
	Place     int        `json:"place"`      // -1 right before the hit, 1 right after it
	Excerpt   bool       `json:"excerpt,omitempty"`
}

type wireHits struct {
	Object  string    `json:"object"`        // "memory.search"
	Method  string    `json:"method"`        // "lexical" or "hybrid"
	Why     *string   `json:"method_reason"` // why it is not hybrid, where it was to be
	Data    []wireHit `json:"data"`          // best first
	LeftOut int       `json:"left_out"`      // hits, and memories of their context, that had no room in token_budget
}

func wireHitsOf(found memory.Found, context bool) wireHits {
	out := wireHits{"memory.search", found.Method, given(found.Why), make([]wireHit, len(found.Hits)), found.LeftOut}
	for i, h := range found.Hits {
		out.Data[i] = wireHit{Memory: wireMemoryOf(h.Entry), Score: h.Score, Excerpt: h.Excerpt, Explain: h.Parts}
		if !context {
			continue
		}
		near := make([]wireNeighbour, len(h.Around))
		for j, n := range h.Around {
			near[j] = wireNeighbour{wireMemoryOf(n.Entry), h.ID, n.Place, n.Excerpt}
		}
		out.Data[i].Context = &near
	}
	return out
}

// storeFields sets what a request says about a store.
func storeFields(o param.Object, f *memory.StoreFields) error {
	if err := o.Only("a memory store", "name", "description", "metadata"); err != nil {
		return err
	}
	if err := setString(o, "name", &f.Name); err != nil {
		return err
	}
	if err := setString(o, "description", &f.Description); err != nil {
		return err
	}
	return setMetadata(o, &f.Metadata)
}

// setString sets a string that is there; null empties it.
func setString(o param.Object, name string, to *string) error {
	v, ok, err := o.String(name)
	if ok || o.Null(name) {
		*to = v
	}
	return err
}

func setMetadata(o param.Object, to *map[string]string) error {
	v, ok, err := o.StringMap("metadata")
	if ok || o.Null("metadata") {
		*to = v
	}
	if err != nil {
		return err
	}
	return agent.ValidateMetadata(o.Path("metadata"), v)
}

// setShare sets a number that package memory holds to 0 … 1.
func setShare(o param.Object, name string, to *float64) error {
	raw, ok := o.Raw(name)
	if !ok {
		return nil
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return stead.Invalid(o.Path(name), "%s must be a number from 0 to 1", o.Path(name))
	}
	*to = v
	return nil
}

// setTime sets a moment that is given in Unix seconds; null takes it away.
func setTime(o param.Object, name string, to *int64) error {
	v, ok, err := o.Int(name, 0, maxVersion/millis)
	if ok || o.Null(name) {
		*to = v * millis
	}
	return err
}

// contentFields are those that memoryContent reads.
var contentFields = []string{"content", "caption", "kind", "confidence", "importance", "valid_from", "valid_until", "labels", "metadata", "scope", "source"}

func newMemory(o param.Object) (memory.New, error) {
	n := memory.New{Content: memory.Content{Confidence: 1, Importance: 0.5}}
	if err := o.Only("a memory", append([]string{"supersedes", "ttl_seconds"}, contentFields...)...); err != nil {
		return n, err
	}
	if err := memoryContent(o, &n.Content); err != nil {
		return n, err
	}
	if err := setString(o, "supersedes", &n.Supersedes); err != nil {
		return n, err
	}
	var err error
	n.Life, _, err = memoryLife(o)
	return n, err
}

// memoryLife is how long a memory is kept, where a request says it.
func memoryLife(o param.Object) (time.Duration, bool, error) {
	const maxLife = int64(100 * 365 * 24 * time.Hour / time.Second)
	life, ok, err := o.Int("ttl_seconds", 1, maxLife)
	return time.Duration(life) * time.Second, ok, err
}

func newMemories(o param.Object) ([]memory.New, error) {
	list, err := param.Need(o.List("memories"))("memories")
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > memory.MaxChanges {
		return nil, stead.Invalid("memories", "memories must have 1 to %d entries", memory.MaxChanges)
	}
	out := make([]memory.New, len(list))
	for i, raw := range list {
		one, err := param.Parse(param.Index("memories", i), raw)
		if err != nil {
			return nil, err
		}
		if out[i], err = newMemory(one); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// memoryContent sets what a request says; what it leaves out stays.
func memoryContent(o param.Object, c *memory.Content) error {
	kind := string(c.Kind)
	for _, f := range []struct {
		name string
		to   *string
	}{{"content", &c.Text}, {"caption", &c.Caption}, {"kind", &kind}} {
		if err := setString(o, f.name, f.to); err != nil {
			return err
		}
	}
	c.Kind = memory.Kind(kind)
	if err := setShare(o, "confidence", &c.Confidence); err != nil {
		return err
	}
	if err := setShare(o, "importance", &c.Importance); err != nil {
		return err
	}
	if err := setTime(o, "valid_from", &c.ValidFrom); err != nil {
		return err
	}
	if err := setTime(o, "valid_until", &c.ValidUntil); err != nil {
		return err
	}
	labels, ok, err := o.Strings("labels")
	if err != nil {
		return err
	}
	if ok || o.Null("labels") {
		c.Labels = labels
	}
	if err := setMetadata(o, &c.Metadata); err != nil {
		return err
	}
	if err := memoryScope(o, &c.Scope); err != nil {
		return err
	}
	return memorySource(o, &c.Source)
}

func memoryScope(o param.Object, to *memory.Scope) error {
	sub, ok, err := o.Object("scope")
	if !ok || err != nil {
		return err
	}
	if err := sub.Only("a scope", "type", "id"); err != nil {
		return err
	}
	*to = memory.Scope{}
	if err := setString(sub, "type", &to.Type); err != nil {
		return err
	}
	return setString(sub, "id", &to.ID)
}

func memorySource(o param.Object, to *memory.Source) error {
	sub, ok, err := o.Object("source")
	if !ok || err != nil {
		return err
	}
	if err := sub.Only("a source", "session_id", "item_id", "author", "index", "at"); err != nil {
		return err
	}
	*to = memory.Source{}
	for _, f := range []struct {
		name string
		to   *string
	}{{"session_id", &to.Session}, {"item_id", &to.Item}, {"author", &to.Author}} {
		if err := setString(sub, f.name, f.to); err != nil {
			return err
		}
	}
	to.Session = sessionNamed(to.Session)
	if to.Index, _, err = sub.Int("index", 0, maxVersion); err != nil {
		return err
	}
	return setTime(sub, "at", &to.At)
}

func memorySearch(o param.Object) (memory.Search, error) {
	var q memory.Search
	err := o.Only("a search", "query", "limit", "token_budget", "context", "as_of", "explain", "filters")
	if err != nil {
		return q, err
	}
	if q.Query, err = param.Need(o.String("query"))("query"); err != nil {
		return q, err
	}
	limit, _, err := o.Int("limit", 1, memory.MaxHits)
	if err != nil {
		return q, err
	}
	tokens, _, err := o.Int("token_budget", 1, maxVersion)
	if err != nil {
		return q, err
	}
	around, _, err := o.Int("context", 0, memory.MaxAround)
	if err != nil {
		return q, err
	}
	q.Limit, q.Tokens, q.Around = int(limit), int(tokens), int(around)
	if err := setTime(o, "as_of", &q.AsOf); err != nil {
		return q, err
	}
	if q.Explain, _, err = o.Bool("explain"); err != nil {
		return q, err
	}
	filters, ok, err := o.Object("filters")
	if !ok || err != nil {
		return q, err
	}
	q.Filter, err = memoryFilter(filters)
	return q, err
}

func memoryFilter(o param.Object) (memory.Filter, error) {
	var f memory.Filter
	if err := o.Only("filters", "scopes", "kinds", "labels", "without_labels", "metadata", "session_id", "written_by", "from", "until", "superseded"); err != nil {
		return f, err // what narrows nothing would forget too much
	}
	scopes, _, err := o.List("scopes")
	if err != nil {
		return f, err
	}
	for i, raw := range scopes {
		entry := param.Object{}.With("scope", json.RawMessage(raw))
		var s memory.Scope
		if err := memoryScope(entry, &s); err != nil {
			return f, stead.Invalid(param.Index(o.Path("scopes"), i), "a scope has a type and an id, both strings")
		}
		f.Scopes = append(f.Scopes, s)
	}
	kinds, _, err := o.Strings("kinds")
	if err != nil {
		return f, err
	}
	for _, k := range kinds {
		f.Kinds = append(f.Kinds, memory.Kind(k))
	}
	if f.Labels, _, err = o.Strings("labels"); err != nil {
		return f, err
	}
	if f.Without, _, err = o.Strings("without_labels"); err != nil {
		return f, err
	}
	if f.Metadata, _, err = o.StringMap("metadata"); err != nil {
		return f, err
	}
	if err := setString(o, "session_id", &f.Session); err != nil {
		return f, err
	}
	f.Session = sessionNamed(f.Session)
	writer := ""
	if err := setString(o, "written_by", &writer); err != nil {
		return f, err
	}
	if err := setWriter(&f, writer, o.Path("written_by")); err != nil {
		return f, err
	}
	if err := setTime(o, "from", &f.From); err != nil {
		return f, err
	}
	if err := setTime(o, "until", &f.Until); err != nil {
		return f, err
	}
	if f.Superseded, _, err = o.Bool("superseded"); err != nil {
		return f, err
	}
	return f, f.Check(o.Path)
}

// setWriter narrows a filter to what somebody wrote: by an id, or as an entry's own written_by has it ("user:ada", "service:ci").
func setWriter(f *memory.Filter, writer, field string) error {
	f.WrittenBy = writer
	kind, id, ok := strings.Cut(writer, ":")
	switch kind := stead.PrincipalKind(kind); {
	case !ok || id == "":
	case kind == stead.PrincipalUser, kind == stead.PrincipalService:
		f.WrittenBy, f.WriterKind = id, kind
	case kind == stead.PrincipalAgent:
		return stead.Invalid(field, "%s is a user or a service: what an agent wrote is selected by session_id", field)
	}
	return nil
}

// memoryQuery reads what a list is narrowed to, and as of when what it holds is valid; without that, all is listed.
func memoryQuery(q url.Values) (f memory.Filter, asOf int64, err error) {
	for _, name := range q["scope"] {
		kind, id, _ := strings.Cut(name, ":")
		f.Scopes = append(f.Scopes, memory.Scope{Type: kind, ID: id})
	}
	for _, k := range q["kind"] {
		f.Kinds = append(f.Kinds, memory.Kind(k))
	}
	f.Labels, f.Without, f.Session = q["label"], q["without_label"], sessionNamed(q.Get("session_id"))
	if err := setWriter(&f, q.Get("written_by"), "written_by"); err != nil {
		return f, 0, err
	}
	if f.Metadata, err = metadataFilter(q); err != nil {
		return f, 0, err
	}
	for _, t := range []struct {
		name string
		to   *int64
	}{{"from", &f.From}, {"until", &f.Until}, {"as_of", &asOf}} {
		if *t.to, err = queryTime(q, t.name); err != nil {
			return f, 0, err
		}
	}
	f.Superseded = asOf == 0
	return f, asOf, f.Check(func(field string) string { return strings.TrimSuffix(field, "s") })
}
