package memory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/memory/extract"
	"github.com/stead-dev/stead/internal/policy"
)

const (
	// Prefix begins an entry's id.
	Prefix = "mem_"
	// sweepLimit is the most entries that one sweep forgets.
	sweepLimit = 500
	// maxTries is how often a change without an expected version is made again over a newer one.
	maxTries = 20
)

// Config is what a Service stands on.
type Config struct {
	Documents document.Store
	Store     Store
	Policy    policy.Authorizer
	Now       func() time.Time
	// Record notes that what was derived from a session was forgotten; nil: nobody does.
	Record func(ctx context.Context, p stead.Principal, session string, what Forgotten) error
	// Gone reports whether a session is not there any more; nil: nobody looks for what comes late from one.
	Gone func(ctx context.Context, project stead.ProjectID, session stead.SessionID) (bool, error)
	// Unshow takes what is forgotten out of sessions' journals; nil: nobody does.
	Unshow Unshow
	// SessionLabels are keys of sessions' labels: what is remembered in a session has its values of them as labels, "key:value".
	SessionLabels []string
	// Apart keeps what has such a label from agents of sessions that do not have it.
	Apart bool
	// Embedding makes vectors of what entries say; nil: words alone are looked for.
	Embedding *Embedding
}

// Service keeps memory stores and their entries. It is safe for concurrent use.
type Service struct {
	cfg     Config
	shelves *Shelves[shelf]
	unshows chan struct{} // something was forgotten here
	within  *For          // nil: whoever asks acts for itself
	shown   []string      // labels of what whoever writes was just shown
}

// NewService makes a Service.
func NewService(c Config) *Service {
	c.Store = c.Embedding.Waking(c.Store)
	return &Service{cfg: c, shelves: NewShelves(c.Store, c.Now, MaxIndexed, newShelf, c.Embedding), unshows: make(chan struct{}, 1)}
}

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect, id string) error {
	_, err := policy.Check(ctx, s.cfg.Policy, s.within.Request(p, effect, id))
	return err
}

// open asks policy and sees to it that the store is there.
func (s *Service) open(ctx context.Context, p stead.Principal, effect policy.Effect, store string) (document.Document, error) {
	if err := s.allow(ctx, p, effect, store); err != nil {
		return document.Document{}, err
	}
	return s.cfg.Documents.GetDocument(ctx, storeKey(p, store))
}

// New is an entry to be made.
type New struct {
	Content
	Life time.Duration // 0: for ever
}

// Add makes entries of a store, all or none. One that supersedes another ends its validity where its own
// begins, in the same transaction; that other must not be superseded yet. With a key, the same request
// again gives the same entries.
func (s *Service) Add(ctx context.Context, p stead.Principal, store string, in []New, key string) ([]Entry, error) {
	if _, err := s.open(ctx, p, policy.MemoryWrite, store); err != nil {
		return nil, err
	}
	place := Place{p.Project, store}
	digest, err := digestOf(in)
	if err != nil {
		return nil, err
	}
	var changes, endings []Change
	look := s.sight(ctx, p, store)
	for i := range in {
		made, ended, err := s.adding(look, p, place, in[i])
		if err != nil {
			return nil, atEntry(err, i, len(in))
		}
		if key != "" {
			made.Key, made.Digest = part(key, i), digest
		}
		changes = append(changes, made)
		if ended != nil {
			ended.Key, ended.Digest = endingKey(made.Key), digest
			endings = append(endings, *ended)
		}
	}
	records, err := s.cfg.Store.WriteMemories(ctx, place, append(changes, endings...))
	if err != nil {
		return nil, err
	}
	if err := s.stillThere(ctx, p, store); err != nil {
		return nil, err
	}
	return entriesOf(records[:len(changes)])
}

// stillThere undoes a write that came while its store was deleted: nothing of it may stay.
func (s *Service) stillThere(ctx context.Context, p stead.Principal, store string) error {
	_, err := s.cfg.Documents.GetDocument(ctx, storeKey(p, store))
	if stead.KindOf(err) == stead.KindNotFound {
		if dropped := s.cfg.Store.DropMemories(ctx, Place{p.Project, store}); dropped != nil {
			return dropped
		}
		s.shelves.Drop(Place{p.Project, store})
	}
	return err
}

// adding returns the change that makes an entry, and the one that ends what it supersedes.
func (s *Service) adding(look *sight, p stead.Principal, place Place, n New) (Change, *Change, error) {
	now := s.cfg.Now()
	c := n.Content
	c.SupersededBy, c.Redacted, c.Edits, c.Source.Seen = "", false, nil, 0
	if s.within != nil && c.Source.Session == p.ID {
		c.Source.Seen = s.within.seen()
	}
	s.carried(&c)
	c.signed(p)
	if err := c.harmless(p); err != nil {
		return Change{}, nil, err
	}
	if err := c.prepare(); err != nil {
		return Change{}, nil, err
	}
	if err := s.mayHold(p, &c); err != nil {
		return Change{}, nil, err
	}
	if err := look.mayWrite(&c); err != nil {
		return Change{}, nil, err
	}
	if n.Life < 0 {
		return Change{}, nil, stead.Invalid("ttl_seconds", "ttl_seconds must not be negative")
	}
	if c.Supersedes != "" && c.ValidFrom == 0 {
		c.ValidFrom = milli(now)
	}
	data, err := c.encode()
	if err != nil {
		return Change{}, nil, err
	}
	made := Change{Record: Record{Place: place, ID: document.NewID(Prefix), CreatedAt: milli(now), UpdatedAt: milli(now), Data: data}}
	if n.Life > 0 {
		made.ExpiresAt = milli(now.Add(n.Life))
	}
	if c.Supersedes == "" {
		return made, nil, nil
	}
	ended, err := s.ending(look, place, c, made.ID)
	return made, ended, err
}

// ending returns the change that ends the validity of what c supersedes. If somebody else did, it
// expects the version before that, which is refused unless the request was made before.
func (s *Service) ending(look *sight, place Place, c Content, by string) (*Change, error) {
	old, err := s.record(look.ctx, place, c.Supersedes)
	if err != nil {
		return nil, err
	}
	e, err := entryOf(old)
	if err == nil {
		err = look.one(e)
	}
	if err == nil {
		err = look.mayWrite(&e.Content)
	}
	if err != nil {
		return nil, err
	}
	ended := Change{Record: old, Expected: old.Version}
	if e.SupersededBy != "" {
		ended.Expected = old.Version - 1
	}
	e.end(by, c.ValidFrom)
	ended.UpdatedAt = milli(s.cfg.Now())
	ended.Data, err = e.Content.encode()
	return &ended, err
}

// record reads one that is there and has not expired.
func (s *Service) record(ctx context.Context, place Place, id string) (Record, error) {
	found, err := s.cfg.Store.ReadMemories(ctx, place, []string{id})
	if err != nil {
		return Record{}, err
	}
	if len(found) == 0 || found[0].ExpiresAt != 0 && found[0].ExpiresAt <= milli(s.cfg.Now()) {
		return Record{}, NotFound(id)
	}
	return found[0], nil
}

// Get returns an entry.
func (s *Service) Get(ctx context.Context, p stead.Principal, store, id string) (Entry, error) {
	if _, err := s.open(ctx, p, policy.MemoryRead, store); err != nil {
		return Entry{}, err
	}
	r, err := s.record(ctx, Place{p.Project, store}, id)
	if err != nil {
		return Entry{}, err
	}
	e, err := entryOf(r)
	if err == nil {
		err = s.sight(ctx, p, store).one(e)
	}
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}

// List returns a page of entries in the order of their creation, and whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, store, after string, limit int, desc bool) ([]Entry, bool, error) {
	return s.ListMatching(ctx, p, store, Filter{Superseded: true}, 0, after, limit, desc)
}

// ListMatching is List of what a filter selects; at: when it is to be valid, without f.Superseded.
func (s *Service) ListMatching(ctx context.Context, p stead.Principal, store string, f Filter, at int64, after string, limit int, desc bool) ([]Entry, bool, error) {
	if _, err := s.open(ctx, p, policy.MemoryRead, store); err != nil {
		return nil, false, err
	}
	look := s.sight(ctx, p, store)
	var out []Entry
	f.then = at != 0 && at < milli(s.cfg.Now())
	q := Query{Place: Place{p.Project, store}, After: after, Desc: desc, Limit: min(limit+1, MaxChanges), Now: milli(s.cfg.Now())}
	err := s.each(ctx, q, func(e *Entry) (bool, error) {
		if f.allows(&e.Content, at) && look.sees(&e.Content) {
			out = append(out, *e)
		}
		return len(out) <= limit, look.err
	})
	return out[:min(len(out), limit)], len(out) > limit, err
}

// History returns the versions of an entry, newest first.
func (s *Service) History(ctx context.Context, p stead.Principal, store, id string) ([]Entry, error) {
	if _, err := s.open(ctx, p, policy.MemoryRead, store); err != nil {
		return nil, err
	}
	if _, err := s.Get(ctx, p, store, id); err != nil {
		return nil, err
	}
	records, err := s.cfg.Store.MemoryVersions(ctx, Place{p.Project, store}, id)
	if err != nil {
		return nil, err
	}
	all, err := entriesOf(records)
	if err != nil {
		return nil, err
	}
	return s.sight(ctx, p, store).seen(all)
}

// Sweep forgets entries that have expired, and says how many.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	now := milli(s.cfg.Now())
	due, err := s.cfg.Store.ExpiredMemories(ctx, now, sweepLimit)
	for i, r := range due {
		if _, err := s.remove(ctx, r, now, true, func(r Record, _ Entry) bool { return r.ExpiresAt != 0 && r.ExpiresAt <= now }); err != nil {
			return i, err
		}
	}
	return len(due), err
}

// harmless refuses secrets that an agent would write down. In what others write they are masked, as in what is taken out of conversations: the
// answer shows what is kept.
func (c *Content) harmless(p stead.Principal) error {
	if p.Kind == stead.PrincipalAgent {
		if extract.Secret(c.Text) || extract.Secret(c.Caption) {
			return stead.Invalid("content", "the content holds what looks like a secret: it is not remembered")
		}
		if err := c.harmlessMetadata(); err != nil {
			return err
		}
		if slices.ContainsFunc(c.Labels, extract.Secret) {
			return stead.Invalid("labels", "the labels hold what looks like a secret: it is not remembered")
		}
		return nil
	}
	c.Text, _ = extract.Mask(c.Text)
	c.Caption, _ = extract.Mask(c.Caption)
	c.Metadata = maps.Clone(c.Metadata)
	for k, v := range c.Metadata {
		c.Metadata[k], _ = extract.Mask(v)
	}
	return nil
}

// harmlessMetadata is harmless for the metadata that an agent gives; doors hold other people's to the limits.
func (c *Content) harmlessMetadata() error {
	if len(c.Metadata) > stead.MaxMetadataPairs {
		return stead.Invalid("metadata", "metadata has %d pairs, the limit is %d", len(c.Metadata), stead.MaxMetadataPairs)
	}
	for k, v := range c.Metadata {
		switch {
		case k == "" || utf8.RuneCountInString(k) > stead.MaxMetadataKeyRunes:
			return stead.Invalid("metadata", "metadata: the key %.80q must have 1 to %d characters", k, stead.MaxMetadataKeyRunes)
		case utf8.RuneCountInString(v) > stead.MaxMetadataValueRunes:
			return stead.Invalid("metadata."+k, "metadata.%s is longer than %d characters", k, stead.MaxMetadataValueRunes)
		case extract.Secret(k + ": " + v):
			return stead.Invalid("metadata", "the metadata holds what looks like a secret: it is not remembered")
		}
	}
	return nil
}

func digestOf(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", stead.Wrap(stead.KindInternal, err, "encode memory")
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
