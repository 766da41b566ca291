// Package workload gives agents an identity that other systems can check: short-lived signed tokens (JWT).
//
// Shape: an agent's turn asks for a token for one audience; the gate decides; a key of the server's signs.
//
//	{session, turn, agent, in whose name} ──Sign──▶ JWT ──Authorization: Bearer──▶ a tool server, or another system
//	                                         │                                         │ kid
//	                                      key set  ──▶ /.well-known/jwks.json  ◀───────┘
//
// Two forms of what the token says. Of Agent, the agent is the subject, by its SPIFFE id:
//
//	sub: spiffe://TRUST_DOMAIN/project/P/agent/A      stead.dev/chain: ["user:ada", "agent:A"]
//
// Of OnBehalfOf, whoever the session serves is the subject, and the agent the one who acts for them (RFC 8693, 4.1: act
// names the acting party, so that it can't stand beside the agent's own subject):
//
//	sub: project/P/user/ada      act: {sub: spiffe://TRUST_DOMAIN/project/P/agent/A}
//
// Users' ids are those of a project, and whoever owns a project says whose keys are whose: so a subject of the second form names the
// project. It is no SPIFFE id, so that nobody takes the person for a workload, and no person's name for an agent.
//
// Keys: one set for all nodes, sealed in the database. One signs for SignFor; the next is published NextAhead before it
// signs, and an old one KeptFor after it signed last, so that whoever has read the set within CacheFor can check every token. Whoever
// may write keys has another one sign before its time: SignAfter from when they ask (rotate.go).
//
// ES256 is what signs unless the configuration says EdDSA: JWT-SVIDs may not be signed with EdDSA, and many verifiers don't
// know it.
//
// Units and limits: claims are in Unix seconds, keys in Unix milliseconds. A token is valid for Lifetime.
//
// Errors: KindForbidden for what the gate refuses, with the code tool.CodeCredential; KindUnavailable when no key can be
// read, made or opened.
//
// Concurrency: everything is safe for concurrent use. Two nodes that make a key at the same time make one.
//
// Sources: RFC 7519 (JWT), RFC 7517 and 7638 (keys and their ids), RFC 8693 (act), SPIFFE-ID and JWT-SVID, OpenID Connect
// Discovery 1.0.
package workload

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/tool"
)

const (
	// Lifetime is how long a token is valid.
	Lifetime = 5 * time.Minute
	// renewBefore is how long before its end a token is replaced by a new one.
	renewBefore = time.Minute
	// early is how far a token's nbf lies before its making, for verifiers whose clock is slow.
	early = 30 * time.Second
	// maxKept bounds the tokens that are kept to be sent again.
	maxKept = 10_000
)

// Form is what a token says.
type Form string

// The forms.
const (
	Agent      Form = "workload"     // the subject is the agent
	OnBehalfOf Form = "on_behalf_of" // the subject is whoever the agent acts for
)

// Config is what an Issuer needs.
type Config struct {
	TrustDomain string // of SPIFFE ids
	URL         string // iss, as discovery says it
	Algorithm   string // "ES256" or "EdDSA"
	// Audiences are those for which callers may exchange what they came with.
	Audiences []string
	Documents document.Store
	Keys      *seal.Keys
	Policy    policy.Authorizer
	Now       func() time.Time
	// SignFor is how long a key signs; 0: the constant of that name.
	SignFor time.Duration
}

// Issuer makes tokens, and publishes what they can be checked with.
type Issuer struct {
	cfg  Config
	keys *keySet

	mu   sync.Mutex
	kept map[keptKey]Token
}

// New makes an issuer. It reads and makes keys when they are needed.
func New(cfg Config) *Issuer {
	cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	return &Issuer{cfg: cfg, keys: newKeySet(cfg), kept: map[keptKey]Token{}}
}

// Bearer is whose token it is: what an agent does in a turn, and in whose name.
type Bearer struct {
	Principal stead.Principal // whoever the session serves
	Session   stead.SessionKey
	Agent     stead.AgentID
	Turn      string // "": none is in progress
	// Behind names others who told the agent something, as KIND:ID, with a separator between: Principal is nobody then. "": nobody did.
	Behind string
	// Subagents are those in whose name the agent acts, as policy.Request.Subagents, with a separator between; "": it does so itself.
	Subagents string
}

// Token is one that was signed.
type Token struct {
	Text        string
	Made, Until time.Time
}

// claims are a token's.
type claims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  []string        `json:"aud"`
	Expires   int64           `json:"exp"`
	NotBefore int64           `json:"nbf"`
	IssuedAt  int64           `json:"iat"`
	ID        string          `json:"jti"`
	Act       *actor          `json:"act,omitempty"`
	Project   stead.ProjectID `json:"stead.dev/project"`
	Session   stead.SessionID `json:"stead.dev/session,omitempty"`
	Turn      string          `json:"stead.dev/turn,omitempty"`
	Agent     stead.AgentID   `json:"stead.dev/agent,omitempty"`
	Chain     []string        `json:"stead.dev/chain"`            // in whose name, and who acts: as policies see it
	Behind    []string        `json:"stead.dev/behind,omitempty"` // in nobody's name alone: all who told the agent something
}

// actor is who acts; Act is in whose name that one does, up to the agent.
type actor struct {
	Subject string `json:"sub"`
	Act     *actor `json:"act,omitempty"`
}

// Sign makes a token for an audience. end is when it ends at the latest; zero: after its Lifetime.
func (i *Issuer) Sign(ctx context.Context, form Form, b Bearer, audience string, end time.Time) (Token, error) {
	now := i.cfg.Now()
	until := now.Add(Lifetime)
	if !end.IsZero() && end.Before(until) {
		until = end
	}
	person := string(b.Principal.Kind) + ":" + b.Principal.ID
	c := claims{
		Issuer: i.cfg.URL, Audience: []string{audience}, ID: uuid.NewString(),
		IssuedAt: now.Unix(), NotBefore: now.Add(-early).Unix(), Expires: until.Unix(),
		Project: b.Session.Project, Session: b.Session.Session, Turn: b.Turn, Agent: b.Agent, Chain: []string{person, "agent:" + string(b.Agent)},
	}
	if b.Behind != "" { // it proves which agent it is, and no more
		c.Chain, c.Behind = c.Chain[1:], strings.Split(b.Behind, separator)
	}
	c.Subject = i.SPIFFE(b.Session.Project, b.Agent)
	act := &actor{Subject: c.Subject}
	if b.Subagents != "" {
		for id := range strings.SplitSeq(b.Subagents, separator) {
			act = &actor{act.Subject + "/subagent/" + segment(id), act}
			c.Chain = append(c.Chain, "subagent:"+id)
		}
	}
	if form == OnBehalfOf {
		c.Subject, c.Act = Subject(b.Session.Project, b.Principal), act
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return Token{}, stead.Wrap(stead.KindInternal, err, "a workload token can't be written")
	}
	text, err := i.keys.sign(ctx, payload)
	return Token{text, now, time.Unix(c.Expires, 0)}, err
}

// Subject is the sub of a user or service of a project, here "project/P/user/ada". The project and the kind hold no slash, so that two of
// them never become one, whatever the id holds.
func Subject(project stead.ProjectID, p stead.Principal) string {
	return "project/" + segment(string(project)) + "/" + string(p.Kind) + "/" + p.ID
}

// SPIFFE is an agent's id.
func (i *Issuer) SPIFFE(project stead.ProjectID, agent stead.AgentID) string {
	return "spiffe://" + i.cfg.TrustDomain + "/project/" + segment(string(project)) + "/agent/" + segment(string(agent))
}

// segment writes a name as a segment of a SPIFFE id, which has few characters and no escapes. Two names never become one.
func segment(name string) string {
	const mark = "x-"
	plain := name != "" && name != "." && name != ".." && !strings.HasPrefix(name, mark) && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	})
	if plain {
		return name
	}
	return mark + hex.EncodeToString([]byte(name))
}

// keptKey is what tokens that are sent again have in common.
type keptKey struct {
	form     Form
	bearer   Bearer
	audience string
}

// again is a token that was made before and is still good, or a new one.
func (i *Issuer) again(ctx context.Context, form Form, b Bearer, audience, refused string) (string, error) {
	k := keptKey{form, b, audience}
	now := i.cfg.Now()
	i.mu.Lock()
	t, ok := i.kept[k]
	i.mu.Unlock()
	if ok && t.Text != refused && now.Before(t.Until.Add(-renewBefore)) {
		return t.Text, nil
	}
	t, err := i.Sign(ctx, form, b, audience, time.Time{})
	if err != nil {
		return "", err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.kept) >= maxKept {
		clear(i.kept)
	}
	i.kept[k] = t
	return t.Text, nil
}

// About says who is about to use a token, as that stands now, and in which turn. Its Effect, Resource and Destination are set
// here.
type About = func(ctx context.Context) (req policy.Request, turn string, err error)

// Use is what a token is for: Name is what policies and the audit log call it, the credential Name of the vault "workload".
type Use struct {
	Name     string
	Form     Form
	Audience string
}

// Vault is where policies find the credentials that tokens of this package are.
const Vault = "workload"

// use decides and then gives the token. to is HOST:PORT.
func (i *Issuer) use(ctx context.Context, u Use, about About, to, refused string) (string, error) {
	req, turn, err := about(ctx)
	if err != nil {
		return "", err
	}
	if e := req.NotAlone("a token by which " + u.Name + " knows whom the agent acts for"); e != nil && u.Form == OnBehalfOf {
		e.Code = tool.CodeCredential
		return "", e
	}
	req.Effect, req.Resource, req.Destination = policy.CredentialUse, Vault+"/"+u.Name, to
	if _, err = policy.Check(ctx, i.cfg.Policy, req); err != nil {
		if e, ok := errors.AsType[*stead.Error](err); ok && e.Kind == stead.KindForbidden {
			e.Code = tool.CodeCredential
		}
		return "", err
	}
	p := req.Principal
	who := stead.Principal{Project: p.Project, Kind: p.Kind, ID: p.ID} // what else it has is no part of a token
	b := Bearer{Principal: who, Session: req.Session, Agent: req.Agent, Turn: turn, Subagents: strings.Join(req.Subagents, separator)}
	if !req.Alone() {
		b.Principal, b.Behind = stead.Principal{}, together(req)
	}
	return i.again(ctx, u.Form, b, u.Audience, refused)
}

// maxBehind is how many of those who stand behind something a token names; anybody stands for more.
const maxBehind = 20

// separator is in no name.
const separator = "\x00"

// together names those who stand behind something.
func together(req policy.Request) string {
	all := append([]stead.Principal{req.Principal}, req.Principal.Beside(append(slices.Clip(req.Behind), req.Changed...))...)
	var out []string
	for _, p := range all[:min(len(all), maxBehind)] {
		out = append(out, string(p.Kind)+":"+p.ID)
	}
	if len(all) > maxBehind {
		out = append(out, "anybody")
	}
	return strings.Join(out, separator)
}
