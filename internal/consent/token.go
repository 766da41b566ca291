package consent

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/vault"
)

// Paths of the pages, below Config.Base.
const (
	PagePath     = "/v1/oauth/consent"   // ?ticket=…
	CallbackPath = "/v1/oauth/callback/" // + Tag of the issuer
	ClientPath   = "/v1/oauth/clients/"  // + Tag of the issuer
)

// maxToken bounds a ticket or state that somebody sends.
const maxToken = 2048

// name is what a ticket or a state holds: which consent it is of, and what must not be guessed.
type name struct {
	Project stead.ProjectID `json:"p"`
	ID      string          `json:"i"`
	Secret  string          `json:"s"`
}

// Link is the page of a consent, for whom it is shown to.
func (s *Service) Link(project stead.ProjectID, id string) string {
	text, err := json.Marshal(name{project, id, s.ticket(project, id)})
	if err != nil {
		return "" // texts always encode
	}
	return s.cfg.Base + PagePath + "?ticket=" + base64.RawURLEncoding.EncodeToString(text)
}

// ticket is what proves that a link was shown by who has the node's key.
func (s *Service) ticket(project stead.ProjectID, id string) string {
	return base64.RawURLEncoding.EncodeToString(s.cfg.Keys.Derive(ticketLabel(project, id)))
}

func ticketLabel(project stead.ProjectID, id string) seal.Label {
	return seal.Label{Project: project, Kind: "consent ticket", ID: id}
}

// shown reports whether a ticket is one that the node's key made, or made before it was replaced.
func (s *Service) shown(n name) bool {
	if same(n.Secret, s.ticket(n.Project, n.ID)) {
		return true
	}
	return slices.ContainsFunc(s.cfg.Keys.Others(ticketLabel(n.Project, n.ID)), func(secret []byte) bool {
		return same(n.Secret, base64.RawURLEncoding.EncodeToString(secret))
	})
}

// ticketOf reads the ticket of a link: what somebody made up is refused before anything is looked for.
func (s *Service) ticketOf(text string) (name, error) {
	var n name
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(text) > maxToken || json.Unmarshal(raw, &n) != nil || n.ID == "" || !s.shown(n) {
		return name{}, unknown()
	}
	return n, nil
}

// state is sealed, so that an authorization server reads nothing out of it.
func (s *Service) state(n name) (string, error) {
	plain, err := json.Marshal(n)
	if err != nil {
		return "", stead.Wrap(stead.KindInternal, err, "a consent can't be named")
	}
	return base64.RawURLEncoding.EncodeToString(s.cfg.Keys.Seal(seal.Label{Kind: "consent state"}, plain)), nil
}

func (s *Service) stateOf(text string) (name, error) {
	var n name
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(text) > maxToken {
		return n, unknown()
	}
	plain, err := s.cfg.Keys.Open(seal.Label{Kind: "consent state"}, sealed)
	if err != nil || json.Unmarshal(plain, &n) != nil || n.ID == "" || n.Secret == "" {
		return name{}, unknown()
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
