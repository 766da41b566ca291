package identity

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// kind is what keys are among documents, and vault where all of them are: a secret does not say its
// project. No principal is of that project.
const (
	kind  document.Kind   = "api_key"
	vault stead.ProjectID = "stead:keys"
)

// Config is what the service needs.
type Config struct {
	Documents document.Store
	Policy    policy.Authorizer
	Root      string // the root key
	Now       func() time.Time
	// Certified reports whether a client certificate, by its id and what was kept of it, still lets the same principal in. nil: none does.
	Certified func(id string, c Certificate, as stead.Principal) bool
	// Serves says whom a session serves, to those who may cause an effect there: KindNotFound where there is none to them.
	Serves func(ctx context.Context, p stead.Principal, id stead.SessionID, effect policy.Effect) (stead.Principal, error)
	// Withdrawn are told whose last key was revoked; nil: nobody is.
	Withdrawn *Withdrawn
}

// Service keeps keys and knows who carries them. It is safe for concurrent use.
type Service struct {
	cfg Config

	mu     sync.Mutex
	cached map[string]cached // key id → what was known
	tokens map[string]seen   // id of a session token → what was known
}

type cached struct {
	doc document.Document
	key Key
	at  time.Time
}

// NewService makes the service.
func NewService(cfg Config) *Service {
	return &Service{cfg: cfg, cached: map[string]cached{}, tokens: map[string]seen{}}
}

// Params is a key to be made.
type Params struct {
	Name      string
	Project   stead.ProjectID // "": the maker's own; another one only for the root key
	Kind      stead.PrincipalKind
	Principal string // "": the key's id
	Role      stead.Role
	Bound     bool
	Lifetime  time.Duration // 0: for good
}

// Create makes a key and returns it with its secret, which is never seen again.
func (s *Service) Create(ctx context.Context, p stead.Principal, in Params) (Key, string, error) {
	k := Key{ID: document.NewID(IDPrefix), Name: in.Name, Project: p.Project, Kind: in.Kind, Principal: in.Principal, Role: in.Role, Bound: in.Bound, CreatedAt: s.cfg.Now().UnixMilli()}
	k.Kind, k.Principal = cmp.Or(k.Kind, stead.PrincipalService), cmp.Or(k.Principal, k.ID)
	if in.Lifetime > 0 {
		k.ExpiresAt = s.cfg.Now().Add(min(in.Lifetime, MaxLifetime)).UnixMilli()
	}
	if IsRoot(p) {
		k.Project = cmp.Or(in.Project, p.Project)
	}
	if err := s.allowWrite(ctx, p, k); err != nil {
		return Key{}, "", err
	}
	if in.Project != "" && in.Project != k.Project {
		return Key{}, "", stead.Invalid("project", "a key makes keys of its own project alone, %s", p.Project)
	}
	if in.Kind != stead.PrincipalUser && in.Principal == rootID {
		return Key{}, "", stead.Invalid("principal.id", "the service %q is the operator's own key: a key of a project can't stand for it", rootID)
	}
	if utf8.RuneCountInString(in.Name) > MaxNameRunes {
		return Key{}, "", stead.Invalid("name", "name is longer than %d characters", MaxNameRunes)
	}
	if in.Lifetime < 0 || in.Lifetime > MaxLifetime {
		return Key{}, "", stead.Invalid("expires_after_seconds", "expires_after_seconds must be between 0 and %d", int(MaxLifetime.Seconds()))
	}
	secret, kept := newSecret(k.ID)
	k.Secrets = []Secret{kept}
	data, err := json.Marshal(k)
	if err != nil {
		return Key{}, "", stead.Wrap(stead.KindInternal, err, "the key can't be written")
	}
	_, err = s.cfg.Documents.CreateDocument(ctx, document.Document{Key: at(k.ID), Version: 1, CreatedAt: k.CreatedAt, UpdatedAt: k.CreatedAt, Tag: string(k.Project), Data: data}, "", "")
	if err == nil && s.cfg.Withdrawn != nil { // who uses it would do so, too
		err = s.cfg.Withdrawn.restore(ctx, withdrawnKey(k.Project, k.Kind, k.Principal, k.Role))
	}
	return k, secret, err
}

func at(id string) document.Key { return document.Key{Project: vault, Kind: kind, ID: id} }

// written is what records say of a key.
func (k Key) written() map[string]string {
	out := map[string]string{"name": k.Name, "role": string(k.Role), "for": makerOf(k.Kind, k.Principal), "bound": strconv.FormatBool(k.Bound), "project": string(k.Project)}
	if k.ExpiresAt > 0 {
		out["expires_at"] = moment(k.ExpiresAt).UTC().Format(time.RFC3339)
	}
	return out
}

// allowWrite asks about a key that is about to be made, rotated or revoked: in the key's project, whose log has the record.
func (s *Service) allowWrite(ctx context.Context, p stead.Principal, k Key) error {
	p.Project = k.Project
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: policy.KeyWrite, Resource: k.ID, Written: k.written()})
	return err
}

// allowChange is allowWrite for a key that should be there.
func (s *Service) allowChange(ctx context.Context, p stead.Principal, id string) error {
	k, _, err := s.own(ctx, p, id)
	return s.allowRead(ctx, p, id, k, err)
}

// allowRead is allowChange for a key that was read, or could not be.
func (s *Service) allowRead(ctx context.Context, p stead.Principal, id string, k Key, err error) error {
	if stead.KindOf(err) == stead.KindNotFound {
		return s.allow(ctx, p, policy.KeyWrite, id)
	}
	if err != nil {
		return err
	}
	return s.allowWrite(ctx, p, k)
}

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect, id string) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: effect, Resource: id})
	return err
}

// Get returns a key of the caller's project.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (Key, error) {
	if err := s.allow(ctx, p, policy.KeyRead, id); err != nil {
		return Key{}, err
	}
	k, _, err := s.own(ctx, p, id)
	return k, err
}

// own reads a key of the caller's project.
func (s *Service) own(ctx context.Context, p stead.Principal, id string) (Key, document.Document, error) {
	k, doc, err := s.read(ctx, id)
	if stead.KindOf(err) == stead.KindNotFound || err == nil && k.Project != p.Project && !IsRoot(p) {
		err = stead.NotFound("API key", id)
	}
	return k, doc, err
}

func (s *Service) read(ctx context.Context, id string) (Key, document.Document, error) {
	doc, err := s.cfg.Documents.GetDocument(ctx, at(id))
	if err != nil {
		return Key{}, doc, err
	}
	var k Key
	if err := json.Unmarshal(doc.Data, &k); err != nil {
		return Key{}, doc, stead.Wrap(stead.KindInternal, err, "key %s can't be read", id)
	}
	return k, doc, nil
}

// List returns the keys of the caller's project, the newest first: after an id, at most limit, and
// whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]Key, bool, error) {
	if err := s.allow(ctx, p, policy.KeyRead, ""); err != nil {
		return nil, false, err
	}
	docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: vault, Kind: kind, Tag: string(p.Project), After: after, Desc: desc, Limit: limit + 1})
	if err != nil {
		return nil, false, err
	}
	more := len(docs) > limit
	keys := make([]Key, 0, len(docs))
	for _, d := range docs[:min(limit, len(docs))] {
		var k Key
		if err := json.Unmarshal(d.Data, &k); err != nil {
			return nil, false, stead.Wrap(stead.KindInternal, err, "key %s can't be read", d.ID)
		}
		keys = append(keys, k)
	}
	return keys, more, nil
}

// Revoke deletes a key: nobody comes in with it any more, on other nodes after CacheFor. If its principal has no other one that is valid, what
// agents do in that one's name ends, too.
func (s *Service) Revoke(ctx context.Context, p stead.Principal, id string) error {
	if err := s.allowChange(ctx, p, id); err != nil {
		return err
	}
	k, _, err := s.own(ctx, p, id)
	if err != nil {
		return err
	}
	if err := s.withdrawLast(ctx, k); err != nil { // before it is gone: one that is cut off here is done again
		return err
	}
	s.forget(id)
	if err := s.cfg.Documents.DeleteDocument(ctx, at(id), 0); err != nil {
		return err
	}
	return s.withdrawLast(ctx, k) // another one was revoked at the same time
}

// withdrawLast withdraws a key's principal, if they have no other one that is valid.
func (s *Service) withdrawLast(ctx context.Context, k Key) error {
	if s.cfg.Withdrawn == nil {
		return nil
	}
	now := s.cfg.Now().UnixMilli()
	for after := ""; ; {
		docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: vault, Kind: kind, Tag: string(k.Project), After: after, Limit: stead.MaxPageSize})
		if err != nil {
			return err
		}
		for _, d := range docs {
			var other Key
			if json.Unmarshal(d.Data, &other) == nil && other.ID != k.ID && other.Kind == k.Kind && other.Principal == k.Principal && other.Role == k.Role && (other.ExpiresAt == 0 || now < other.ExpiresAt) {
				return nil
			}
			after = d.ID
		}
		if len(docs) < stead.MaxPageSize {
			return s.cfg.Withdrawn.withdraw(ctx, k)
		}
	}
}

// rotateTries is how often a rotation is tried whose key was only used in between: that is written down, too.
const rotateTries = 4

// Rotate gives a key a new secret. The old ones are valid for grace. Of several at once that saw the same key one does, and the others change nothing
// (KindConflict). The same idempotency key rotates once: whoever comes with it again is refused, since the secret is shown once and kept by nobody.
func (s *Service) Rotate(ctx context.Context, p stead.Principal, id string, grace time.Duration, key, digest string) (Key, string, error) {
	k, doc, err := s.own(ctx, p, id) // what is decided about is what is rotated
	if err := s.allowRead(ctx, p, id, k, err); err != nil {
		return Key{}, "", err
	}
	if grace < 0 || grace > MaxGrace {
		return Key{}, "", stead.Invalid("grace_seconds", "grace_seconds must be between 0 and %d", int(MaxGrace.Seconds()))
	}
	if err != nil {
		return Key{}, "", err
	}
	for try := 1; ; try++ {
		if err := k.rotated(key, digest); err != nil {
			return Key{}, "", err
		}
		before := k.newest()
		secret := k.rotate(s.cfg.Now(), grace, key, digest)
		err := s.store(ctx, k, doc)
		if err == nil {
			s.forget(id)
			return k, secret, nil
		}
		if stead.KindOf(err) != stead.KindConflict {
			return Key{}, "", err
		}
		now, again, failed := s.own(ctx, p, id)
		switch {
		case failed != nil:
			return Key{}, "", failed
		case try == rotateTries || now.newest() != before:
			if err := now.rotated(key, digest); err != nil {
				return Key{}, "", err
			}
			e := stead.Errorf(stead.KindConflict, "API key %.80q was rotated by another request at the same time, which has the new secret: this one changed nothing", id)
			e.Hint = "If nobody has that secret, rotate the key again."
			return Key{}, "", e
		}
		k, doc = now, again
	}
}

// rotate puts a new secret behind those that are valid, and returns it.
func (k *Key) rotate(now time.Time, grace time.Duration, key, digest string) string {
	var kept []Secret
	for _, old := range k.Secrets {
		if old.Until == 0 || old.Until > now.Add(grace).UnixMilli() {
			old.Until = now.Add(grace).UnixMilli()
		}
		if old.Until > now.UnixMilli() {
			kept = append(kept, old)
		}
	}
	secret, fresh := newSecret(k.ID)
	k.Secrets = append(kept, fresh)
	if key != "" {
		k.Rotations = append(slices.Clone(k.Rotations), Rotation{key, digest})
		k.Rotations = k.Rotations[max(0, len(k.Rotations)-MaxRotations):]
	}
	return secret
}

// newest is the hash of the secret that came last.
func (k Key) newest() string {
	if n := len(k.Secrets); n > 0 {
		return k.Secrets[n-1].SHA256
	}
	return ""
}

// rotated is the error for an idempotency key by which the key was rotated; nil: it was not.
func (k Key) rotated(key, digest string) error {
	i := slices.IndexFunc(k.Rotations, func(r Rotation) bool { return key != "" && r.Key == key })
	switch {
	case i < 0:
		return nil
	case k.Rotations[i].Digest != digest:
		return document.KeyUsed()
	}
	e := stead.Errorf(stead.KindConflict, "this rotation of API key %.80q was done already: its secret was in the first answer, and can't be shown again", k.ID)
	e.Hint = "If that answer was lost, rotate the key again, with another Idempotency-Key."
	return e
}

func (s *Service) store(ctx context.Context, k Key, doc document.Document) error {
	data, err := json.Marshal(k)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "key %s can't be written", k.ID)
	}
	doc.Data, doc.UpdatedAt = data, s.cfg.Now().UnixMilli()
	doc.Version++
	_, err = s.cfg.Documents.UpdateDocument(ctx, doc)
	return err
}

func (s *Service) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cached, id)
}

// Authenticate returns who carries a secret. project is the one that the request names, which counts
// for the root key alone; "" is the default one.
func (s *Service) Authenticate(ctx context.Context, secret string, project stead.ProjectID) (Caller, error) {
	if s.cfg.Root != "" && subtle.ConstantTimeCompare([]byte(hash(secret)), []byte(hash(s.cfg.Root))) == 1 {
		p := stead.Principal{Project: project, Kind: stead.PrincipalService, ID: rootID, Role: Owner}
		if p.Project == "" {
			p.Project = stead.DefaultProject
		}
		return Caller{Principal: p, Key: rootID}, nil
	}
	if id, ok := named(secret, tokenPrefix, TokenPrefix); ok {
		return s.bearer(ctx, id, secret)
	}
	id, ok := idOf(secret)
	if !ok {
		return Caller{}, refused("that is no API key of this server")
	}
	now := s.cfg.Now()
	k, err := s.valid(ctx, id, now)
	if err != nil {
		return Caller{}, err
	}
	if !k.opens(secret, now.UnixMilli()) {
		return Caller{}, unknown()
	}
	if IsRoot(k.principal()) { // made before that was refused
		return Caller{}, refused("the API key stands for the operator's own, which it is not")
	}
	s.used(ctx, k, now)
	return Caller{Principal: k.principal(), Key: k.ID, Until: moment(k.ExpiresAt)}, nil
}

// valid returns a key that is there and has not expired.
func (s *Service) valid(ctx context.Context, id string, now time.Time) (Key, error) {
	k, err := s.look(ctx, id)
	switch {
	case stead.KindOf(err) == stead.KindNotFound:
		return k, unknown()
	case err != nil:
		return k, err
	case k.ExpiresAt > 0 && k.ExpiresAt <= now.UnixMilli():
		return k, refused("the API key has expired")
	}
	return k, nil
}

// moment is a time in Unix milliseconds; 0 is none.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func unknown() error { return refused("the API key is not known, or was revoked") }

func refused(why string) error {
	e := stead.Errorf(stead.KindUnauthenticated, "%s", why)
	e.Code, e.Hint = "invalid_api_key", "An owner makes one with: stead keys create --role developer"
	return e
}

// rootID is the principal of the root key.
const rootID = "root"

// IsRoot reports whether a principal is the operator's own key, which owns every project.
func IsRoot(p stead.Principal) bool {
	return p.Kind == stead.PrincipalService && p.ID == rootID && p.Role == Owner && p.Session == ""
}

// look reads a key, believing for CacheFor what was read before.
func (s *Service) look(ctx context.Context, id string) (Key, error) {
	now := s.cfg.Now()
	s.mu.Lock()
	c, ok := s.cached[id]
	s.mu.Unlock()
	if ok && now.Sub(c.at) < CacheFor {
		return c.key, nil
	}
	k, doc, err := s.read(ctx, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cached, id)
	if err != nil {
		return Key{}, err
	}
	if len(s.cached) >= maxCached {
		clear(s.cached)
	}
	s.cached[id] = cached{doc, k, now}
	return k, nil
}

// used notes that a key was used, now and then. That it can't be noted keeps nobody out.
func (s *Service) used(ctx context.Context, k Key, now time.Time) {
	if now.Sub(time.UnixMilli(k.LastUsedAt)) < usedEvery {
		return
	}
	s.mu.Lock()
	c, ok := s.cached[k.ID]
	if !ok || c.key.LastUsedAt != k.LastUsedAt {
		s.mu.Unlock()
		return // somebody else notes it
	}
	c.key.LastUsedAt = now.UnixMilli()
	s.cached[k.ID] = c
	s.mu.Unlock()
	_ = s.store(context.WithoutCancel(ctx), c.key, c.doc)
}
