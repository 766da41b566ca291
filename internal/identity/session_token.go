package identity

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// Limits of session tokens.
const (
	// DefaultTokenLifetime is how long one is valid that nobody says more of: a page asks for the next in time.
	DefaultTokenLifetime = 15 * time.Minute
	// MinTokenLifetime and MaxTokenLifetime bound what may be asked for.
	MinTokenLifetime = time.Second
	MaxTokenLifetime = 24 * time.Hour
	// MaxTokens is the most valid ones of a session.
	MaxTokens = 100
	// sweptPerToken is how many expired ones are taken away when one is made: more than one, so that none are left in
	// the end.
	sweptPerToken = 4
)

// Scopes of a session token: each word opens some effects, and nothing else is open.
const (
	ScopeRead    = "read"    // the session's events, items, turns and published files
	ScopeWrite   = "write"   // sending input: messages, outputs of function calls, cancelling
	ScopeApprove = "approve" // answering what it asks
	ScopeExecute = "execute" // being the executor of its self-hosted environment
)

// Scopes lists them.
func Scopes() []string { return []string{ScopeRead, ScopeWrite, ScopeApprove, ScopeExecute} }

// tokenPrefix begins every secret of a session token, TokenPrefix their ids.
const (
	tokenPrefix = "st-stead-"
	TokenPrefix = "stok_"
)

const tokenKind document.Kind = "session_token"

// SessionToken lets its bearer into one session for a while, in the name of whom the session serves. It is opaque and
// kept as a hash, and not a signed text: each use asks whether it was revoked, so that a signature would save nothing,
// and would be one more key that can leak.
type SessionToken struct {
	ID      string              `json:"id"`
	Project stead.ProjectID     `json:"project"`
	Session stead.SessionID     `json:"session"`
	Scope   string              `json:"scope"`     // words with spaces between
	Kind    stead.PrincipalKind `json:"kind"`      // whom it stands for: whoever the session serves
	User    string              `json:"principal"` // their id
	Role    stead.Role          `json:"role"`      // of its maker: what that may not, it does not let anybody do
	// Maker is the key that it was made with, and ends with. Of the root key, Root is a hash of that with the id, so that
	// it ends as well when the configuration has another.
	Maker    string `json:"maker"`
	MakerWho string `json:"maker_who,omitempty"` // whom that stood for, as stead.Principal.Maker; "": tokens did not say so then
	Root     string `json:"root,omitempty"`
	// Certificate is the client certificate that Maker is the id of, if it is one. MakerBound is of whom that stood for.
	Certificate
	MakerBound bool   `json:"maker_bound,omitempty"`
	CreatedAt  int64  `json:"created_at"` // Unix milliseconds
	ExpiresAt  int64  `json:"expires_at"`
	SHA256     string `json:"sha256"` // of its secret
}

// seen is a token as it was read at a time.
type seen struct {
	token SessionToken
	at    time.Time
}

// needs are the effects of a scope's word. Those of execute are asked of the maker alone: what an executor does is
// decided in its session.
func needs(word string) policy.Effect {
	switch word {
	case ScopeRead:
		return policy.SessionRead
	case ScopeWrite, ScopeExecute:
		return policy.SessionWrite
	case ScopeApprove:
		return policy.ApprovalGive
	}
	return ""
}

// Covers reports whether a scope opens an effect.
func Covers(scope string, effect policy.Effect) bool {
	return slices.ContainsFunc(strings.Fields(scope), func(word string) bool { return word != ScopeExecute && needs(word) == effect })
}

// HasScope reports whether a word is in a scope.
func HasScope(scope, word string) bool { return slices.Contains(strings.Fields(scope), word) }

// TokenParams is a token to be made.
type TokenParams struct {
	Scope    []string      // at least one of Scopes, each once
	Lifetime time.Duration // 0: DefaultTokenLifetime. What the maker came with is never outlived
}

func (in *TokenParams) check() error {
	if len(in.Scope) == 0 {
		return stead.Invalid("scope", "scope is empty: it has one or more of %s", strings.Join(Scopes(), ", "))
	}
	for n, word := range in.Scope {
		if needs(word) == "" {
			return stead.Invalid("scope", "scope has %.40q, it may have %s", word, strings.Join(Scopes(), ", "))
		}
		if slices.Contains(in.Scope[:n], word) {
			return stead.Invalid("scope", "scope has %s twice", word)
		}
	}
	if in.Lifetime == 0 {
		in.Lifetime = DefaultTokenLifetime
	}
	if in.Lifetime < MinTokenLifetime || in.Lifetime > MaxTokenLifetime {
		return stead.Invalid("expires_after_seconds", "expires_after_seconds must be between %d and %d", int(MinTokenLifetime.Seconds()), int(MaxTokenLifetime.Seconds()))
	}
	return nil
}

// CreateToken makes a token of a session, and returns it with its secret, which is never seen again. Nobody gives what
// they may not do themselves: KindForbidden.
func (s *Service) CreateToken(ctx context.Context, c Caller, session stead.SessionID, in TokenParams) (SessionToken, string, error) {
	var none SessionToken
	if err := in.check(); err != nil {
		return none, "", err
	}
	id := document.NewID(TokenPrefix)
	user, err := s.serves(ctx, c.Principal, session, policy.SessionTokenWrite, map[string]string{"id": id, "scope": strings.Join(in.Scope, " "), "lifetime": in.Lifetime.String()})
	if err != nil {
		return none, "", err
	}
	for _, word := range in.Scope {
		if err := s.allowIn(ctx, c.Principal, needs(word), session); err != nil {
			return none, "", err
		}
	}
	now := s.cfg.Now()
	s.sweepTokens(ctx, now)
	page, _, err := s.tokensOf(ctx, session, "", false, MaxTokens, now)
	if err != nil {
		return none, "", err
	}
	if len(page) >= MaxTokens {
		e := stead.Errorf(stead.KindLimited, "the session has %d valid tokens, which is the limit", len(page))
		e.Hint = "Revoke those that are not needed any more, or let them be valid for a shorter time."
		return none, "", e
	}
	t := SessionToken{
		ID: id, Project: c.Project, Session: session, Scope: strings.Join(in.Scope, " "),
		Kind: user.Kind, User: user.ID, Role: c.Role, Maker: c.Key, MakerWho: makerOf(c.Kind, c.ID), CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(in.Lifetime).UnixMilli(),
	}
	if !c.Until.IsZero() {
		t.ExpiresAt = min(t.ExpiresAt, c.Until.UnixMilli())
	}
	t.Certificate, t.MakerBound = c.Certificate, c.Bound
	if t.Maker == rootID {
		t.Root = s.rootMark(t.ID)
	}
	secret := spell(tokenPrefix, strings.TrimPrefix(t.ID, TokenPrefix))
	t.SHA256 = hash(secret)
	data, err := json.Marshal(t)
	if err != nil {
		return none, "", stead.Wrap(stead.KindInternal, err, "the session token can't be written")
	}
	_, err = s.cfg.Documents.CreateDocument(ctx, document.Document{
		Key: tokenAt(t.ID), Version: 1, CreatedAt: t.CreatedAt, UpdatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, Tag: string(session), Data: data,
	}, "", "")
	return t, secret, err
}

func makerOf(kind stead.PrincipalKind, id string) string { return string(kind) + ":" + id }

// maker is whom what the token was made with stood for.
func (t SessionToken) maker() stead.Principal {
	kind, id, _ := strings.Cut(t.MakerWho, ":")
	return stead.Principal{Project: t.Project, Kind: stead.PrincipalKind(kind), ID: id, Role: t.Role, Bound: t.MakerBound}
}

func tokenAt(id string) document.Key { return document.Key{Project: vault, Kind: tokenKind, ID: id} }

// rootMark is what a token keeps of the root key that it was made with.
func (s *Service) rootMark(id string) string { return hash(id + "\x00" + s.cfg.Root) }

func (s *Service) allowIn(ctx context.Context, p stead.Principal, effect policy.Effect, session stead.SessionID) error {
	return s.allowToken(ctx, p, effect, session, nil)
}

func (s *Service) allowToken(ctx context.Context, p stead.Principal, effect policy.Effect, session stead.SessionID, written map[string]string) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Session: stead.SessionKey{Project: p.Project, Session: session}, Effect: effect, Resource: string(session), Written: written})
	return err
}

// serves says whom a session serves, to who may do something with its tokens.
func (s *Service) serves(ctx context.Context, p stead.Principal, session stead.SessionID, effect policy.Effect, written map[string]string) (stead.Principal, error) {
	if err := s.allowToken(ctx, p, effect, session, written); err != nil {
		return stead.Principal{}, err
	}
	through := policy.SessionWrite
	if effect == policy.SessionTokenRead {
		through = policy.SessionRead
	}
	return s.cfg.Serves(ctx, p, session, through)
}

// Tokens returns the valid tokens of a session, the newest first: after an id, at most limit, and whether there are more.
func (s *Service) Tokens(ctx context.Context, p stead.Principal, session stead.SessionID, after string, desc bool, limit int) ([]SessionToken, bool, error) {
	if _, err := s.serves(ctx, p, session, policy.SessionTokenRead, nil); err != nil {
		return nil, false, err
	}
	return s.tokensOf(ctx, session, after, desc, limit, s.cfg.Now())
}

func (s *Service) tokensOf(ctx context.Context, session stead.SessionID, after string, desc bool, limit int, now time.Time) ([]SessionToken, bool, error) {
	docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{
		Project: vault, Kind: tokenKind, Tag: string(session), After: after, Desc: desc, Limit: limit + 1, Now: now.UnixMilli(),
	})
	if err != nil {
		return nil, false, err
	}
	more := len(docs) > limit
	out := make([]SessionToken, min(limit, len(docs)))
	for i := range out {
		if out[i], err = decodeToken(docs[i]); err != nil {
			return nil, false, err
		}
	}
	return out, more, nil
}

func decodeToken(d document.Document) (SessionToken, error) {
	var t SessionToken
	if err := json.Unmarshal(d.Data, &t); err != nil {
		return t, stead.Wrap(stead.KindInternal, err, "session token %s can't be read", d.ID)
	}
	return t, nil
}

// RevokeToken ends a token, on other nodes after CacheFor.
func (s *Service) RevokeToken(ctx context.Context, p stead.Principal, session stead.SessionID, id string) error {
	if _, err := s.serves(ctx, p, session, policy.SessionTokenWrite, map[string]string{"revoked": id}); err != nil {
		return err
	}
	d, err := s.cfg.Documents.GetDocument(ctx, tokenAt(id))
	if stead.KindOf(err) == stead.KindNotFound || err == nil && d.Tag != string(session) {
		return stead.NotFound("session token", id)
	}
	if err != nil {
		return err
	}
	defer s.forgetToken(id)
	return s.cfg.Documents.DeleteDocument(ctx, tokenAt(id), 0)
}

func (s *Service) forgetToken(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, id)
}

// sweepTokens takes some expired ones away. That it can't keeps nobody from a new one.
func (s *Service) sweepTokens(ctx context.Context, now time.Time) {
	due, _ := s.cfg.Documents.ExpiredDocuments(ctx, tokenKind, now.UnixMilli(), sweptPerToken)
	for _, d := range due {
		_ = s.cfg.Documents.DeleteDocument(ctx, d.Key, d.Version)
	}
}

// bearer is who carries a session token's secret, while the token is valid and the key that made it.
func (s *Service) bearer(ctx context.Context, id, secret string) (Caller, error) {
	now := s.cfg.Now()
	t, err := s.lookToken(ctx, id, now)
	if stead.KindOf(err) == stead.KindNotFound || err == nil && subtle.ConstantTimeCompare([]byte(hash(secret)), []byte(t.SHA256)) != 1 {
		return Caller{}, refusedToken("the session token is not known, or was revoked")
	}
	if err != nil {
		return Caller{}, err
	}
	until := moment(t.ExpiresAt)
	if !now.Before(until) {
		return Caller{}, refusedToken("the session token has expired")
	}
	switch {
	case t.Certificate.Name != "":
		if s.cfg.Certified == nil || !s.cfg.Certified(t.Maker, t.Certificate, t.maker()) {
			return Caller{}, refusedToken("the certificate that the session token was made with does not count any more")
		}
	case t.Maker == rootID:
		if s.cfg.Root == "" || t.Root != s.rootMark(t.ID) {
			return Caller{}, refusedToken("the key that the session token was made with is not valid any more")
		}
	case t.Maker == TokenID: // an identity provider's, whose end is the token's at the latest
	default:
		k, err := s.valid(ctx, t.Maker, now)
		t.MakerWho = cmp.Or(t.MakerWho, makerOf(k.Kind, k.Principal))
		if stead.KindOf(err) == stead.KindUnauthenticated {
			return Caller{}, refusedToken("the key that the session token was made with is not valid any more")
		}
		if err != nil {
			return Caller{}, err
		}
	}
	p := stead.Principal{Project: t.Project, Kind: t.Kind, ID: t.User, Role: t.Role, Bound: true, Session: t.Session, Scope: t.Scope, Maker: t.MakerWho}
	return Caller{Principal: p, Key: t.ID, Until: until, Paced: t.paced()}, nil
}

// paced is Caller.Paced: whoever makes many tokens may send no more by them. Those of the root key have each their own pace, since
// that has none.
func (t *SessionToken) paced() string {
	switch t.Maker {
	case rootID:
		return ""
	case TokenID: // that of many
		return TokenID + ":" + t.MakerWho
	}
	return t.Maker
}

func refusedToken(why string) error {
	e := stead.Errorf(stead.KindUnauthenticated, "%s", why)
	e.Code, e.Hint = "invalid_session_token", "Whoever may write the session makes a new one: POST /v1/agents/sessions/{id}/tokens."
	return e
}

// lookToken reads a token, believing for CacheFor what was read before.
func (s *Service) lookToken(ctx context.Context, id string, now time.Time) (SessionToken, error) {
	s.mu.Lock()
	known, ok := s.tokens[id]
	s.mu.Unlock()
	if ok && now.Sub(known.at) < CacheFor {
		return known.token, nil
	}
	d, err := s.cfg.Documents.GetDocument(ctx, tokenAt(id))
	var t SessionToken
	if err == nil {
		t, err = decodeToken(d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, id)
	if err != nil {
		return t, err
	}
	if len(s.tokens) >= maxCached {
		clear(s.tokens)
	}
	s.tokens[id] = seen{t, now}
	return t, nil
}

// IsSessionToken reports whether a secret has the form of a session token's.
func IsSessionToken(secret string) bool {
	_, ok := named(secret, tokenPrefix, TokenPrefix)
	return ok
}
