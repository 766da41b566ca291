// Package consent asks users whether agents may act for them at tool servers (OAuth), and keeps what they answer.
//
// Shape: a consent is a document, which is gone a while after it ended.
//
//	Ask ─▶ asked ─ Begin ─▶ begun ─ Finish ─▶ redeeming ─▶ given     the tokens are a credential of the session's vault
//	                                       └▶ refused    ├▶ refused
//	                                                     └▶ again    nothing came, and the code is used up
//
//	Ask     finds out where the server's users say yes or no, becomes a client there, and makes a page to open
//	Show    what the page says; Begin: the user goes on from it, with this browser
//	Finish  the user comes back: with the same browser, to the same place, from the same issuer, once
//	Sweep   ends what dead nodes began, and tells sessions that a crash kept it from
//
// What keeps others out. The page is named by a ticket, which the node's key makes when it is shown and which stands nowhere; each way
// from it to the authorization server by a state, which that key seals. Neither can be guessed, and both say which document they are
// of. A state counts once and in the browser that
// began with it (a cookie): so a user who is sent to the authorization server by somebody else, past the page that says for whom
// it is, gives nobody anything. The code goes to the issuer that was asked, whose redirect URI is its own: neither another issuer's
// answer nor one that says to be another's is taken. Tokens are for the session's own user, and no other user's session in the same
// vault has them. Whoever has the link can say yes for that session: it is shown to nobody but who may read the session.
//
// Delivery: of many answers with one state, on many nodes, one is redeemed: under a mark in the document, which is stored before the
// code is sent. A node that dies behind that mark may have used the code: the session asks anew. What came is stored before anybody
// is told, unless nobody waits for it any more: the turn was cancelled, the session deleted, the user erased. One consent serves all
// sessions of a user that wait for the same server with the same vault.
//
// Units and limits: the constants below; times are Unix milliseconds.
//
// Errors: KindNotFound for what is not there or is over; KindForbidden for what must not be; those of packages oauth and vault.
//
// Source: RFC 6749, 10.12; RFC 9700 (best current practice), 2.1, 4.2, 4.4, 4.5, 4.7; MCP, security best practices.
package consent

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/oauth"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/vault"
)

// Limits.
const (
	// Lifetime is how long a user may take: as long as the session waits for them.
	Lifetime = 24 * time.Hour
	// Kept is how long one that ended is remembered, so that who comes again is told.
	Kept = time.Hour
	// BeginFor is how long a user may take at the authorization server, from the page on.
	BeginFor = 15 * time.Minute
	// SweepEvery is how often Sweep should be called.
	SweepEvery = 5 * time.Second
	// redeemFor is how long redeeming takes at most: one that takes longer is a dead node's.
	redeemFor = 2 * vault.RenewTimeout
	// keepTries is how often it is tried to store tokens that came, each time after twice as long.
	keepTries = 6
	keepPause = 100 * time.Millisecond
	// tellFor is how long a session is told that does not wait: its question may stand in its journal only just behind.
	tellFor = 2 * time.Minute
	// maxTries is how often a change is begun anew when somebody else changes the same.
	maxTries = 8
	// maxShared bounds the consents that one consent serves.
	maxShared = 1000
	// secretBytes is the length of what must not be guessed.
	secretBytes = 32
)

const (
	kind     = document.Kind("consent")
	idPrefix = "consent_"
)

// Status is how far a consent has come.
type Status string

// The statuses.
const (
	Asked     Status = "asked"
	Begun     Status = "begun"
	Redeeming Status = "redeeming"
	Given     Status = "given"
	Refused   Status = "refused"
	Again     Status = "again" // nothing came of it, and the session asks anew
)

// Client is one that the operator registered at an authorization server.
type Client struct {
	Issuer, ID, Secret string
	Scopes             []string          // to ask for; nil: what the tool server says
	Projects           []stead.ProjectID // that have it: to others it is as if it were not there; none: all
	// Servers are the tool servers that it is for: origins, or URLs with all that is below them. A client is its operator's good name
	// at the authorization server, which users believe, and any tool server may name that.
	Servers   []string
	Audiences []string // what tokens may say besides the resource that they are for
}

func (c Client) has(project stead.ProjectID) bool {
	return len(c.Projects) == 0 || slices.Contains(c.Projects, project)
}

// Vaults redeem codes and keep what they bring: see package vault, which implements it.
type Vaults interface {
	Open(ctx context.Context, project stead.ProjectID, vault string) error
	Redeem(ctx context.Context, serverURL string, to vault.Refresh, clientSecret string, code vault.Code) (vault.Tokens, error)
	Keep(ctx context.Context, project stead.ProjectID, c vault.Consented, t vault.Tokens) (string, error)
	Withdraw(ctx context.Context, project stead.ProjectID, vault, credential string) error
}

// Outcome is how a consent ended, for its session.
type Outcome struct {
	Session stead.SessionKey
	Consent string
	Status  Status // Given, Refused or Again
	Reason  string // a sentence; "" of Given
	By      stead.Principal
}

// Config is what the service needs. All but Clients and Log must be set.
type Config struct {
	Documents document.Store
	Keys      *seal.Keys
	Policy    policy.Authorizer
	Vaults    Vaults
	Now       func() time.Time
	HTTP      *http.Client // as package oauth wants it
	Base      string       // at which users reach this server: https://stead.acme.example
	Clients   []Client
	// Waits says whether a session's turn waits for a consent, and what is to be decided of it, as the session stands now.
	Waits func(ctx context.Context, key stead.SessionKey, consent string) (policy.Request, bool, error)
	// Tell tells a session. It may be told twice. false: its turn does not wait for it, perhaps not yet.
	Tell func(ctx context.Context, o Outcome) (waited bool, err error)
	Log  *slog.Logger // nil: slog.Default
}

// Service asks. It is safe for concurrent use.
type Service struct {
	cfg     Config
	clients atomic.Pointer[[]Client]
}

// NewService makes the service.
func NewService(cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Service{cfg: cfg}
	s.Replace(cfg.Clients)
	return s
}

// Replace puts others in the place of the operator's clients: for users who are asked from here on.
func (s *Service) Replace(clients []Client) { s.clients.Store(&clients) }

// stored is the data of a consent's document. Its sealed part is private.
type stored struct {
	Status    Status           `json:"status"`
	Session   stead.SessionKey `json:"session"`
	Agent     stead.AgentID    `json:"agent,omitempty"`
	For       stead.Principal  `json:"for"`
	Vault     string           `json:"vault"`
	Label     string           `json:"label"`
	ServerURL string           `json:"server_url"`
	Server    oauth.Server     `json:"server"`
	ClientID  string           `json:"client_id"`
	Method    string           `json:"method"`
	Audiences []string         `json:"audiences,omitempty"` // as Client's
	Operators bool             `json:"operators,omitempty"` // the client is the operator's
	ExpiresAt int64            `json:"expires_at"`          // nobody may say yes any more
	BegunAt   int64            `json:"begun_at,omitempty"`  // of the way that counts
	Until     int64            `json:"until,omitempty"`     // redeeming: a node that has not ended by then is dead
	EndedAt   int64            `json:"ended_at,omitempty"`
	Reason    string           `json:"reason,omitempty"` // of Refused and Again
	Told      bool             `json:"told,omitempty"`   // the session was, or there is nobody to tell
	Sealed    []byte           `json:"sealed"`           // private
}

// private is what of a consent is sealed.
type private struct {
	Secret   string `json:"secret,omitempty"`   // of the client
	State    string `json:"state,omitempty"`    // of the way that counts
	Verifier string `json:"verifier,omitempty"` // of PKCE, of the same
	Browser  string `json:"browser,omitempty"`  // what its cookie holds
}

func key(project stead.ProjectID, id string) document.Key {
	return document.Key{Project: project, Kind: kind, ID: id}
}

func (s *Service) write(k document.Key, data *stored, p private) ([]byte, error) {
	plain, err := json.Marshal(p)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "a consent can't be written")
	}
	data.Sealed = s.cfg.Keys.Seal(seal.Label{Project: k.Project, Kind: string(kind), ID: k.ID}, plain)
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "a consent can't be written")
	}
	return raw, nil
}

func (s *Service) read(d document.Document) (stored, private, error) {
	var data stored
	var p private
	if err := json.Unmarshal(d.Data, &data); err != nil { // its cause could quote what is sealed
		return data, p, stead.Errorf(stead.KindInternal, "consent %s can't be read", d.ID)
	}
	plain, err := s.cfg.Keys.Open(seal.Label{Project: d.Project, Kind: string(kind), ID: d.ID}, data.Sealed)
	if err != nil {
		return data, p, err
	}
	if err := json.Unmarshal(plain, &p); err != nil {
		return data, p, stead.Errorf(stead.KindInternal, "consent %s can't be read", d.ID)
	}
	return data, p, nil
}

// change changes a consent over its newest version: change may be called several times.
func (s *Service) change(ctx context.Context, k document.Key, change func(*stored, *private) error) (stored, private, error) {
	var data stored
	var p private
	err := error(nil)
	for range maxTries {
		var d document.Document
		if d, err = s.cfg.Documents.GetDocument(ctx, k); err != nil {
			break
		}
		if data, p, err = s.read(d); err != nil {
			break
		}
		if err = change(&data, &p); err != nil {
			break
		}
		if d.Data, err = s.write(k, &data, p); err != nil {
			break
		}
		now := s.now()
		d.Version, d.UpdatedAt, d.ExpiresAt = d.Version+1, now, data.sweepAt(now)
		if _, err = s.cfg.Documents.UpdateDocument(ctx, d); stead.KindOf(err) != stead.KindConflict {
			break
		}
	}
	return data, p, err
}

// sweepAt is when Sweep looks at a consent: to end what a dead node redeemed, to tell who was not told, to forget it.
func (c stored) sweepAt(now int64) int64 {
	switch {
	case c.Status == Redeeming:
		return c.Until
	case c.ended() && !c.Told:
		return now + SweepEvery.Milliseconds()
	case c.ended():
		return c.EndedAt + Kept.Milliseconds()
	}
	return c.ExpiresAt
}

func (c stored) ended() bool { return c.Status == Given || c.Status == Refused || c.Status == Again }

// open reports whether the user may still say yes.
func (c stored) open(now int64) bool {
	return (c.Status == Asked || c.Status == Begun) && now < c.ExpiresAt
}

func (s *Service) now() int64 { return s.cfg.Now().UnixMilli() }
