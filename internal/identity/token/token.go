// Package token lets people and programs in that an identity provider vouches for: OpenID Connect's signed
// tokens (JWT).
//
// Shape: a token names its issuer, the issuer's published keys say whether it is theirs, and rules that the
// operator wrote make a principal of what it claims.
//
//	Authorization: Bearer eyJ… ──iss──▶ Issuer ──kid──▶ keys (discovery, JWKS)
//	                                       │ signature, audience, times
//	                                       ▼
//	                        rules: claims → Principal{project, user, sub, role}
//
// Units and limits: times in tokens are Unix seconds. MaxTokenBytes, MaxSkew; the issuer's keys are read again
// every RefreshEvery, at once when a token names one that is not known, but not more often than RefreshLeast, and
// believed for at most KeepFor when the issuer can't be reached.
//
// Algorithms: those with a public key alone. A token says which one it was signed with, so one of "none", or of a
// shared secret for which the public key would be taken, is refused before any key is looked at. Keys and
// addresses of keys inside a token (jwk, jku, x5u) are never used.
//
// Errors: KindUnauthenticated for a token that is not valid here, with what is wrong with it; KindForbidden for a
// valid one that has no role or project; KindUnavailable when the issuer's keys can't be had. Nothing of a token
// is repeated in an error.
//
// Concurrency: an Authenticator is safe for concurrent use; keys are fetched once however many wait.
//
// Sources: RFC 7519 (JWT), RFC 8725 (its best current practice), RFC 7517 (JWK), OpenID Connect Discovery 1.0.
package token

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stead-dev/stead"
)

// Limits.
const (
	// MaxTokenBytes bounds a token; headers of servers end at 64 KiB.
	MaxTokenBytes = 16 << 10
	// MaxSubjectBytes bounds sub, which journals name at each act.
	MaxSubjectBytes = 255
	// DefaultSkew is how far clocks may be apart, MaxSkew the most that may be configured.
	DefaultSkew = time.Minute
	MaxSkew     = 5 * time.Minute
)

// Algorithms are the signatures that are believed: all with a public key, RFC 7518 and 8037.
func Algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// Issuer is an identity provider that is trusted.
type Issuer struct {
	URL       string   // as iss says it, to the letter
	Audiences []string // one of them must be in aud
	Prefix    string   // before sub in a principal's id, so that two issuers' people are not taken for each other
	Project   stead.ProjectID
	// ProjectClaim names the claim with the projects, if Project is "". A request chooses among several by name.
	ProjectClaim string
	Rules        []Rule // the first that fits counts
	Skew         time.Duration
}

// Rule gives a role to tokens with a claim.
type Rule struct {
	Claim string // a name, or a path with dots; "": every token
	Value string // what it is, or has among others
	Kind  stead.PrincipalKind
	Role  stead.Role
	Bound bool // sees only sessions that it made
}

// Authenticator knows the principals of tokens.
type Authenticator struct {
	issuers map[string]*trusted
	now     func() time.Time
}

// trusted is an issuer with its keys.
type trusted struct {
	Issuer
	keys *keySet
}

// New makes an authenticator. It reads nothing until the first token comes: an issuer that is away keeps no
// server from starting. h fetches keys.
func New(issuers []Issuer, h *http.Client, now func() time.Time) *Authenticator {
	a := &Authenticator{issuers: map[string]*trusted{}, now: now}
	for _, i := range issuers {
		a.issuers[i.URL] = &trusted{Issuer: i, keys: newKeySet(i.URL, h, now)}
	}
	return a
}

// Looks reports whether a secret looks like a token: three parts of base64url, the first one a JSON object.
func Looks(secret string) bool {
	return strings.HasPrefix(secret, "eyJ") && strings.Count(secret, ".") == 2
}

// Try reads every issuer's keys, for whoever asks whether they can be had.
func (a *Authenticator) Try(ctx context.Context) error {
	var errs []error
	for _, i := range a.issuers {
		errs = append(errs, i.keys.fetch(ctx))
	}
	return errors.Join(errs...)
}

// Bearer is whom a token stands for, and until when.
type Bearer struct {
	stead.Principal
	Until time.Time
}

// Authenticate returns whom a token stands for. project is the one that the request names, "" for the token's.
func (a *Authenticator) Authenticate(ctx context.Context, raw string, project stead.ProjectID) (Bearer, error) {
	if len(raw) > MaxTokenBytes {
		return Bearer{}, refused("the token is longer than %d bytes", MaxTokenBytes)
	}
	sig, err := jose.ParseSignedCompact(raw, Algorithms())
	if err != nil || strings.ContainsAny(raw, "\r\n") { // which base64 would skip: one token has one spelling
		return Bearer{}, refused("the token is none, or is signed in a way that is not believed here")
	}
	var named struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(sig.UnsafePayloadWithoutVerification(), &named) != nil {
		return Bearer{}, refused("the token's claims are no JSON object")
	}
	i := a.issuers[named.Issuer]
	if i == nil {
		return Bearer{}, refused("the token is of an issuer that is not trusted here")
	}
	payload, err := i.keys.verify(ctx, sig)
	if err != nil {
		return Bearer{}, err
	}
	c, err := claimsOf(payload)
	if err != nil {
		return Bearer{}, err
	}
	until, err := i.valid(c, a.now())
	if err != nil {
		return Bearer{}, err
	}
	p, err := i.principal(c, project)
	if err == nil && a.namesAnothers(i, p.ID) {
		err = refused("the token's sub makes an id that is another issuer's: it begins with that one's prefix")
	}
	return Bearer{p, until}, err
}

// namesAnothers reports whether an id of one issuer's could be taken for one of another, whose prefix is longer: corp:ada of an issuer
// without a prefix is nobody but ada of the one whose prefix is corp:.
func (a *Authenticator) namesAnothers(i *trusted, id string) bool {
	for _, other := range a.issuers {
		if len(other.Prefix) > len(i.Prefix) && strings.HasPrefix(id, other.Prefix) {
			return true
		}
	}
	return false
}

// valid checks what the token says of itself, and returns until when it is believed.
func (i *trusted) valid(c claims, now time.Time) (until time.Time, err error) {
	skew := i.Skew
	if skew == 0 {
		skew = DefaultSkew
	}
	audiences, err := c.strings("aud")
	if err != nil {
		return until, err
	}
	expires, has, err := c.time("exp")
	if err != nil {
		return until, err
	}
	from, _, err := c.time("nbf")
	if err != nil {
		return until, err
	}
	made, _, err := c.time("iat")
	switch {
	case err != nil:
		return until, err
	case c.string("iss") != i.URL: // as read from what is signed: of two members the other reader may have taken the first
		return until, refused("the token is of another issuer")
	case !slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(i.Audiences, a) }):
		return until, refused("the token is for somebody else: its audience is not this server's")
	case !has:
		return until, refused("the token never expires, which is not believed here")
	case !now.Before(expires.Add(skew)):
		return until, refused("the token has expired")
	case now.Before(from.Add(-skew)):
		return until, refused("the token is not valid yet")
	case now.Before(made.Add(-skew)):
		return until, refused("the token was made in the future: clocks differ by more than %s", skew)
	}
	return expires.Add(skew), nil
}

func refused(format string, args ...any) error {
	e := stead.Errorf(stead.KindUnauthenticated, format, args...)
	e.Code, e.Hint = "invalid_token", "Get a new one from the identity provider, or use an API key."
	return e
}
