// Package identity says who asks: API keys, and what their roles may do.
//
// Shape: a key is made once, shown once and kept as a hash; a request that carries it becomes a
// principal of the key's project, with its role.
//
//	Authorization: Bearer sk-stead-<id>-<secret> ──Authenticate──▶ Principal{project, kind, id, role}
//	                                                                  │
//	policy.Check(principal, effect) ──▶ Authorizer: its project, and what its role may do
//
// Roles: owner may do everything in its project, keys included; operator runs it and makes nothing
// new but sessions' ends; developer makes agents, sessions and what they are made of; approver reads
// sessions and answers what they ask; auditor reads; agent starts and continues sessions. Nobody
// approves what he may also start, but the owner. A bound key sees the sessions that it made itself,
// and no others: theirs are not found.
//
// A session token is made by whoever may write a session, for a browser or an executor that must not
// have a key: see SessionToken.
//
//	Authorization: Bearer st-stead-<id>-<secret> ──▶ Principal{project, whom the session serves, role of the maker, session, scope}
//
// The root key is the operator's, from the configuration or from a file in the data directory that the
// first start makes. It is an owner of every project, which it names in the header OpenAI-Project.
//
// Units and limits: times are Unix milliseconds here and seconds on the wire; MaxNameRunes, MaxLifetime,
// MaxGrace, MaxTokenLifetime, MaxTokens. A secret has 256 random bits. What is known of a key is looked up again after CacheFor, so
// that a key that is revoked on one node is refused on all within that time.
//
// Errors: KindUnauthenticated for what is no key, is unknown, wrong, revoked or expired; KindInvalid with
// the field at fault; KindNotFound for another project's key.
package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity/token"
)

// Limits of a key.
const (
	MaxNameRunes = 256
	// MaxLifetime is the longest that a key may be made for; without an expiry it is for good.
	MaxLifetime = 10 * 365 * 24 * time.Hour
	// MaxGrace is how long a secret that was replaced may stay valid.
	MaxGrace = 30 * 24 * time.Hour
	// CacheFor is how long a key is believed without looking.
	CacheFor = time.Second
	// maxCached bounds the keys that are remembered.
	maxCached = 10_000
	// usedEvery is how exact last_used_at is.
	usedEvery = time.Minute
	// MinRootBytes is the shortest root key.
	MinRootBytes = 32
)

// Key is an API key, without its secret.
type Key struct {
	ID         string              `json:"id"`
	Name       string              `json:"name"`
	Project    stead.ProjectID     `json:"project"`
	Kind       stead.PrincipalKind `json:"kind"`      // user or service
	Principal  string              `json:"principal"` // whom it stands for: journals and approvals name it
	Role       stead.Role          `json:"role"`
	Bound      bool                `json:"bound"` // sees only its own sessions
	CreatedAt  int64               `json:"created_at"`
	ExpiresAt  int64               `json:"expires_at,omitempty"`   // 0: never
	LastUsedAt int64               `json:"last_used_at,omitempty"` // 0: never
	Secrets    []Secret            `json:"secrets"`                // those that are valid, the newest last
	Rotations  []Rotation          `json:"rotations,omitempty"`    // the last MaxRotations that had an idempotency key, the newest last
}

// Rotation is what is kept of one, so that it is done once.
type Rotation struct {
	Key    string `json:"key"`    // idempotency key
	Digest string `json:"digest"` // of the request
}

// MaxRotations is how many rotations of a key are known again by their idempotency keys.
const MaxRotations = 32

// Secret is the hash of one.
type Secret struct {
	SHA256 string `json:"sha256"`
	Until  int64  `json:"until,omitempty"` // Unix milliseconds; 0: as long as the key
}

// prefix begins every secret, so that scanners of repositories know it.
const prefix = "sk-stead-"

// IDPrefix begins the ids of keys.
const IDPrefix = "key_"

// newSecret is a secret of a key, and what is kept of it.
func newSecret(id string) (string, Secret) {
	s := spell(prefix, strings.TrimPrefix(id, IDPrefix))
	return s, Secret{SHA256: hash(s)}
}

// spell makes a secret that names what it is of.
func spell(prefix, id string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return prefix + id + "-" + hex.EncodeToString(b)
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// idOf is the key's id that a secret names; false for anything that is none.
func idOf(secret string) (string, bool) { return named(secret, prefix, IDPrefix) }

// named is the id that a secret of a kind names.
func named(secret, prefix, idPrefix string) (string, bool) {
	rest, ok := strings.CutPrefix(secret, prefix)
	id, tail, found := strings.Cut(rest, "-")
	return idPrefix + id, ok && found && id != "" && tail != ""
}

// TokenID stands for a key in records of who came in with a token of an identity provider.
const TokenID = "token"

// Claimed is the id of the key or session token that a secret names, TokenID for what looks like a token of an identity
// provider; "" for anything else. Nobody has checked it.
func Claimed(secret string) string {
	if token.Looks(secret) {
		return TokenID
	}
	for prefix, idPrefix := range map[string]string{prefix: IDPrefix, tokenPrefix: TokenPrefix} {
		if id, ok := named(secret, prefix, idPrefix); ok && len(id) <= maxIDBytes && !strings.ContainsFunc(id[len(idPrefix):], func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }) {
			return id
		}
	}
	return ""
}

// maxIDBytes bounds the id that a secret claims to have.
const maxIDBytes = 64

// opens reports whether a secret is one of the key's, at a time.
func (k Key) opens(secret string, now int64) bool {
	given, ok := hash(secret), false
	for _, s := range k.Secrets {
		same := subtle.ConstantTimeCompare([]byte(given), []byte(s.SHA256)) == 1
		ok = ok || same && (s.Until == 0 || now < s.Until)
	}
	return ok
}

// Caller is who came with a request.
type Caller struct {
	stead.Principal
	Key         string      // id of what it came with: a key, a session token, TokenID, "root"; "": nothing was needed
	Until       time.Time   // when that ends; zero: never
	Paced       string      // of a session token, the id of what it was made with: its requests count as that one's; "": they count for themselves
	Certificate Certificate // of which Key is the id; zero: it came with something else
}

// Certificate is what is kept of a TLS client certificate with what was made by it, to see later whether it still counts: as
// package certificate has it.
type Certificate struct {
	Name        string   `json:"certificate,omitempty"`
	Subject     string   `json:"certificate_subject,omitempty"`
	Authorities []string `json:"certificate_authorities,omitempty"`
}

func (k Key) principal() stead.Principal {
	return stead.Principal{Project: k.Project, Kind: k.Kind, ID: k.Principal, Role: k.Role, Bound: k.Bound}
}
