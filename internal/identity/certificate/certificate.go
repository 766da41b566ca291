// Package certificate lets services, people and executors in that an authority of the operator's vouches for: TLS client
// certificates (X.509).
//
// Shape: who shows a certificate is known by the one name in it, and by a rule that says that name to the letter.
//
//	certificates shown ──Verify──▶ chain to an authority, times, use, not denied ──▶ name: SPIFFE id, or subject
//	                                                                                   │
//	                                          rules: name → Principal{project, kind, id, role} | executor of a project
//
// A certificate with a URI in its subject alternative names is known by that alone, which must be the only one, and a SPIFFE id.
// One without is known by its whole subject, as RFC 2253 writes it. Nothing else of it is looked at: neither a common name nor a
// DNS name by itself makes anybody known.
//
// Everything is checked at each use and not at the handshake alone, since a connection lasts, and a TLS session may be resumed:
// whoever's authority was taken away, who was denied, or whose time is over is refused by the next request. What the chain
// proves is remembered as long as the authorities are the same.
//
// Units and limits: MaxShown, MaxNameBytes, MaxIDBytes, maxKnown.
//
// Errors: KindUnauthenticated for a certificate that is not valid here, with a code that says in which way (the Code constants);
// KindForbidden for a valid one that no rule gives anything.
//
// Concurrency: an Authenticator is safe for concurrent use; Trust and Replace count from the next use on.
//
// Sources: RFC 5280 (X.509), RFC 4514 and 2253 (names as text), SPIFFE-ID and X509-SVID of the SPIFFE project.
package certificate

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
)

// Limits.
const (
	// MaxShown is the most certificates of one handshake: the client's own and those between it and its authority.
	MaxShown = 8
	// MaxNameBytes bounds a name: SPIFFE's limit.
	MaxNameBytes = 2048
	// MaxIDBytes bounds the id of a principal, which journals name at each act.
	MaxIDBytes = 255
	// maxKnown bounds the chains that are remembered.
	maxKnown = 10_000
)

// Codes of what is wrong with a certificate.
const (
	CodeMissing   = "certificate_required"
	CodeUnknown   = "certificate_unknown_authority"
	CodeTime      = "certificate_expired" // or not valid yet
	CodeUse       = "certificate_wrong_use"
	CodeName      = "certificate_ambiguous" // it has no name, or several
	CodeDenied    = "certificate_denied"
	CodeInvalid   = "certificate_invalid"
	CodeUnmapped  = "certificate_without_role"
	CodeNoProject = "certificate_wrong_project"
)

// IDPrefix begins the id of a certificate, which its serial number in hex follows.
const IDPrefix = "cert_"

// Rule says who a name is.
type Rule struct {
	SPIFFE  string // spiffe://TRUST-DOMAIN/PATH, or
	Subject string // the whole subject, as RFC 2253 writes it: CN=batch-7,O=Acme

	Project stead.ProjectID
	Kind    stead.PrincipalKind
	ID      string // "": the name
	Role    stead.Role
	Bound   bool // sees only sessions that it made
	// Executor may be the executor of the project's self-hosted environments, and nothing else.
	Executor bool
}

// Denial ends what is still valid: certificates with a serial number, of whatever authority, or with a name.
type Denial struct {
	Serial  string // hex, with or without colons
	SPIFFE  string
	Subject string
}

// Shown is a certificate that is valid here.
type Shown struct {
	ID      string // IDPrefix and its serial number
	Name    string // SPIFFE id or subject
	Subject string // by which one with a SPIFFE id may be denied as well; "": it has none
	Until   time.Time
	// Authorities are those in which its chains end: each one's certificate, as SHA-256 in hex.
	Authorities []string
}

func (s Shown) spiffe() bool { return strings.HasPrefix(s.Name, spiffeScheme) } // no subject begins so

// Bearer is whom a certificate stands for.
type Bearer struct {
	stead.Principal
	Shown    Shown
	Executor bool // of Principal's project, and nothing else
}

// Authenticator knows the principals of certificates.
type Authenticator struct {
	now   func() time.Time
	roots atomic.Pointer[authorities]
	rules atomic.Pointer[rules]
	own   atomic.Pointer[[sha256.Size]byte]
}

// authorities are those trusted at one time, with what is known by them: other ones know nothing of it.
type authorities struct {
	pool *x509.CertPool
	ids  map[string]bool // as in Shown.Authorities

	mu    sync.Mutex
	known map[[sha256.Size]byte]Shown // of all that was shown → what it proves
}

// rules are those in force at one time.
type rules struct {
	bySPIFFE, bySubject map[string]Rule
	serials             map[string]bool
	deniedSPIFFE        map[string]bool
	deniedSubject       map[string]bool
}

// New makes an authenticator that trusts nobody, and knows no rule.
func New(now func() time.Time) *Authenticator {
	a := &Authenticator{now: now}
	a.Trust(nil)
	a.Replace(nil, nil)
	return a
}

// Trust takes other authorities in place of those before.
func (a *Authenticator) Trust(all []*x509.Certificate) {
	next := &authorities{pool: x509.NewCertPool(), ids: map[string]bool{}, known: map[[sha256.Size]byte]Shown{}}
	for _, c := range all {
		next.pool.AddCert(c)
		next.ids[authorityID(c)] = true
	}
	a.roots.Store(next)
}

func authorityID(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Authorities are those that are trusted.
func (a *Authenticator) Authorities() *x509.CertPool { return a.roots.Load().pool }

// Replace takes other rules and denials in place of those before.
func (a *Authenticator) Replace(allow []Rule, deny []Denial) {
	r := &rules{map[string]Rule{}, map[string]Rule{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, rule := range allow {
		if rule.SPIFFE != "" {
			r.bySPIFFE[rule.SPIFFE] = rule
		} else {
			r.bySubject[rule.Subject] = rule
		}
	}
	for _, d := range deny {
		switch {
		case d.Serial != "":
			r.serials[Serial(d.Serial)] = true
		case d.SPIFFE != "":
			r.deniedSPIFFE[d.SPIFFE] = true
		case d.Subject != "":
			r.deniedSubject[d.Subject] = true
		}
	}
	a.rules.Store(r)
}

// Own lets this very certificate pass, for the process that serves to call itself. It makes nobody known.
func (a *Authenticator) Own(der []byte) {
	sum := sha256.Sum256(der)
	a.own.Store(&sum)
}

// Serial is a serial number as ids have it: hex in lower case, without colons and zeros before it.
func Serial(text string) string {
	s := strings.TrimLeft(strings.ToLower(strings.ReplaceAll(text, ":", "")), "0")
	if s == "" {
		return "0"
	}
	return s
}

// Verify says what the certificates prove that a client has shown, its own first.
func (a *Authenticator) Verify(shown []*x509.Certificate) (Shown, error) {
	if len(shown) == 0 {
		return Shown{}, refused(CodeMissing, "a client certificate is needed")
	}
	if len(shown) > MaxShown {
		return Shown{}, refused(CodeInvalid, "the client shows %d certificates: at most %d are looked at", len(shown), MaxShown)
	}
	if own := a.own.Load(); own != nil && sha256.Sum256(shown[0].Raw) == *own {
		return Shown{ID: IDPrefix + "own", Until: shown[0].NotAfter}, nil
	}
	s, err := a.roots.Load().verify(shown, a.now())
	if err != nil {
		return Shown{ID: IDOf(shown[0])}, err
	}
	if a.rules.Load().denies(s) {
		return s, refused(CodeDenied, "the client certificate is on the list of those denied")
	}
	return s, nil
}

func (r *rules) denies(s Shown) bool {
	return r.deniedSPIFFE[s.Name] || r.deniedSubject[s.Subject] || r.serials[strings.TrimPrefix(s.ID, IDPrefix)]
}

// Authenticate returns whom the certificates stand for. project is the one that the request names, "" for the rule's.
func (a *Authenticator) Authenticate(shown []*x509.Certificate, project stead.ProjectID) (Bearer, error) {
	s, err := a.Verify(shown)
	if err != nil {
		return Bearer{}, err
	}
	rule, ok := a.rules.Load().of(s)
	if !ok {
		e := stead.Errorf(stead.KindForbidden, "the client certificate is valid, and no rule gives %.300q anything on this server", s.Name)
		e.Code, e.Hint = CodeUnmapped, "The rules are in the configuration, below client_certificates.allow; they say the whole name, to the letter."
		return Bearer{}, e
	}
	if project != "" && project != rule.Project {
		e := stead.Errorf(stead.KindForbidden, "the client certificate does not count in the project that the request names")
		e.Code = CodeNoProject
		return Bearer{}, e
	}
	return Bearer{rule.principal(s.Name), s, rule.Executor}, nil
}

func (r Rule) principal(name string) stead.Principal {
	return stead.Principal{Project: r.Project, Kind: r.Kind, ID: cmp.Or(r.ID, name), Role: r.Role, Bound: r.Bound}
}

func (r *rules) of(s Shown) (Rule, bool) {
	named := r.bySubject
	if s.spiffe() {
		named = r.bySPIFFE
	}
	rule, ok := named[s.Name]
	return rule, ok && s.Name != ""
}

// Stands reports whether a certificate that came once would let the same principal in: it is not denied, an authority of it is
// trusted still, and its rule says what it said. That its time may be over is for whoever asks.
func (a *Authenticator) Stands(s Shown, as stead.Principal) bool {
	r := a.rules.Load()
	rule, ok := r.of(s)
	return ok && !rule.Executor && rule.principal(s.Name) == as && !r.denies(s) && a.roots.Load().any(s.Authorities)
}

func (a *authorities) any(ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return a.ids[id] })
}

// verify proves a chain, or remembers that it was proved.
func (a *authorities) verify(shown []*x509.Certificate, now time.Time) (Shown, error) {
	h := sha256.New()
	for _, c := range shown {
		h.Write(c.Raw) // DER says its own length
	}
	key := [sha256.Size]byte(h.Sum(nil))
	a.mu.Lock()
	s, ok := a.known[key]
	a.mu.Unlock()
	if ok && now.Before(s.Until) {
		return s, nil
	}
	s, err := prove(a.pool, shown, now)
	if err != nil {
		return s, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= maxKnown {
		clear(a.known)
	}
	a.known[key] = s
	return s, nil
}

// IDOf is the id of a certificate.
func IDOf(c *x509.Certificate) string {
	return IDPrefix + Serial(hex.EncodeToString(c.SerialNumber.Bytes()))
}

func refused(code, format string, args ...any) error {
	e := stead.Errorf(stead.KindUnauthenticated, format, args...)
	e.Code, e.Hint = code, "Come with a certificate of an authority in tls.client_ca that is valid, for clients, and has one name."
	return e
}
