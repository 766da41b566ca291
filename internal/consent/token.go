package consent

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/vault"
)

// Paths of the pages, below Config.Base.
const (
	PagePath     = "/v1/oauth/consent"   // ?ticket=…
	CallbackPath = "/v1/oauth/callback/" // + Tag of the issuer
)

// maxToken bounds a ticket or state that somebody sends.
const maxToken = 2048

// name is what a ticket or a state holds: which consent it is of, and what must not be guessed. It is sealed, so that
// nobody reads the project out of a URL, and what somebody made up is refused before anything is looked for.
type name struct {
	Project stead.ProjectID `json:"p"`
	ID      string          `json:"i"`
	Secret  string          `json:"s"`
}

func (s *Service) token(use string, n name) (string, error) {
	plain, err := json.Marshal(n)
	if err != nil {
		return "", stead.Wrap(stead.KindInternal, err, "a consent can't be named")
	}
	return base64.RawURLEncoding.EncodeToString(s.cfg.Keys.Seal(seal.Label{Kind: "consent " + use}, plain)), nil
}

func (s *Service) named(use, token string) (name, error) {
	var n name
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(token) > maxToken {
		return n, unknown()
	}
	plain, err := s.cfg.Keys.Open(seal.Label{Kind: "consent " + use}, sealed)
	if err != nil || json.Unmarshal(plain, &n) != nil || n.ID == "" || n.Secret == "" {
		return n, unknown()
	}
	return n, nil
}

// unknown is the error of a ticket or a state that is none, or none any more: nobody learns which.
func unknown() error {
	return stead.Errorf(stead.KindNotFound, "there is no such question, or it is over: the agent asks anew when it needs it")
}

func secret() string {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// same compares what must not be guessed.
func same(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// tagBytes is how much of an issuer's digest tells it from another.
const tagBytes = 12

// Tag names an issuer in the redirect URI that is its own: an answer that comes there is of that issuer, or of nobody.
func Tag(issuer string) string {
	sum := sha256.Sum256([]byte(issuer))
	return hex.EncodeToString(sum[:tagBytes])
}

// Redirect is the redirect URI for an issuer.
func (s *Service) Redirect(issuer string) string { return s.cfg.Base + CallbackPath + Tag(issuer) }

// cookie names the cookie of a consent: a browser may be on several ways at once.
func cookie(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "stead_consent_" + hex.EncodeToString(sum[:tagBytes])
}

// tag is the same for consents of which one serves all.
func (c stored) tag() string {
	sum := sha256.New()
	for _, part := range []string{c.Vault, vault.Holder(c.For), c.ServerURL} {
		sum.Write([]byte(part + "\x00"))
	}
	return hex.EncodeToString(sum.Sum(nil)[:tagBytes])
}
