// Package vault keeps the credentials that agents use and never see.
//
// Shape: a project has vaults, a vault has credentials, and both are documents.
//
//	Vault{name, metadata} ─▶ Credential{name, metadata, Auth, sealed Secret}
//
//	static_bearer         a token for one MCP server
//	mcp_oauth             a token for one MCP server, which a token endpoint renews
//	environment_variable  a secret for hosts; an environment has a placeholder in its place
//
// A session names vaults. What it needs of them is opened where it is sent, for each request anew: so a
// credential that was deleted or rotated counts from the next request on, on every node.
//
//	Auth    what anybody may see who may read the vault
//	Secret  sealed with the node's key for its credential, in the same document: never returned, logged,
//	        journaled or exported
//
// Units and limits: the constants below; times are Unix milliseconds.
//
// Errors: KindInvalid with the field, KindNotFound, KindConflict when somebody else changed it over and
// over; KindForbidden for what is not allowed to be used; those of package seal. No error holds a secret.
//
// Delivery: what was answered is on stable storage. A vault that is being deleted is gone for everybody at
// once; its credentials go before it does, and Sweep ends what a crash interrupted.
//
// A vault that a bound principal made is its own: to other bound principals it is not there.
//
// Source: the Agents API's vaults, in openai-go v3.96.0 (betaagentvault.go, betaagentvaultcredential.go).
package vault

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
)

// Limits. Bytes are those of UTF-8.
const (
	MaxNameBytes = 256
	MaxURLBytes  = 4096
	MaxHosts     = 16
	// MaxAttached is the most vaults of a session, or of an environment that waits for one.
	MaxAttached = 10
	// MaxCredentials is the most credentials of a vault.
	MaxCredentials = 1000
	// MinSecretBytes and MaxSecretBytes bound a secret: a shorter one could not be told from other text where
	// answers are searched for it, a longer one has no room in a header.
	MinSecretBytes = 8
	MaxSecretBytes = 16 << 10

	// maxTries is how often a change is begun anew when somebody else changes the same.
	maxTries = 8
)

// The prefixes of ids.
const (
	Prefix           = "vault_"
	CredentialPrefix = "cred_"
)

const (
	kindVault      document.Kind = "vault"
	kindCredential document.Kind = "credential"
)

// Vault is a collection of credentials.
type Vault struct {
	ID        string
	Name      string // "": none
	Metadata  map[string]string
	CreatedAt int64 // Unix milliseconds
	Owner     string
}

// Credential is what may be seen of one.
type Credential struct {
	ID, Vault string
	Name      string
	Metadata  map[string]string
	Auth      Auth
	CreatedAt int64 // Unix milliseconds
	UpdatedAt int64
	// Refused says why its token can't be renewed any more; "": it can, or needs not be. A rotation ends it.
	Refused string
	// For is who consented to it, and whose sessions alone use it ("user:ada"); "": whoever has the vault.
	For string
	// SealedBy is the key that sealed its secret, if this node does not have that: it can't be used here. "": it has.
	SealedBy string
}

// Config is what the service needs. Documents, Keys, Policy and Now must be set.
type Config struct {
	Documents document.Store
	Keys      *seal.Keys
	Policy    policy.Authorizer
	Now       func() time.Time
	// HTTP calls token endpoints; nil: http.DefaultClient. It must not follow redirects.
	HTTP *http.Client
	Log  *slog.Logger // nil: slog.Default
}

// Service keeps vaults. It is safe for concurrent use.
type Service struct {
	cfg     Config
	changes atomic.Uint64 // of credentials, by this process
}

// NewService makes the service.
func NewService(cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.HTTP == nil {
		cfg.HTTP = http.DefaultClient
	}
	return &Service{cfg: cfg}
}

// storedVault is the data of a vault's document, whose ExpiresAt says that it is being deleted.
type storedVault struct {
	Name     string            `json:"name,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Owner    string            `json:"owner,omitempty"` // "user:ada": the bound principal whose it is; "": the project's
}

// storedCredential is the data of a credential's document.
type storedCredential struct {
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Auth     Auth              `json:"auth"`
	Sealed   []byte            `json:"sealed"` // Secret
	Refused  string            `json:"refused,omitempty"`
	For      string            `json:"for,omitempty"`      // as in Credential
	RenewAt  int64             `json:"renew_at,omitempty"` // Unix milliseconds, of a token that was renewed; 0: RenewBefore its end
	Lease    *lease            `json:"lease,omitempty"`    // somebody renews it
}

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect, id string) error {
	return s.allowWritten(ctx, p, effect, id, nil)
}

// allowWritten is allow with what is written, for its record.
func (s *Service) allowWritten(ctx context.Context, p stead.Principal, effect policy.Effect, id string, written map[string]string) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: effect, Resource: id, Written: written})
	return err
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "a vault can't be written")
	}
	return b, nil
}

// owner is whose the vaults are that a principal makes, and alone sees of those that are somebody's.
func owner(p stead.Principal) string {
	if !p.Bound {
		return ""
	}
	return string(p.Kind) + ":" + p.ID
}

// sees reports whether a vault is there for a principal.
func (v storedVault) sees(p stead.Principal) bool { return !p.Bound || v.Owner == owner(p) }

func vaultKey(project stead.ProjectID, id string) document.Key {
	return document.Key{Project: project, Kind: kindVault, ID: id}
}

func credentialKey(project stead.ProjectID, id string) document.Key {
	return document.Key{Project: project, Kind: kindCredential, ID: id}
}

// label says what a credential's secret is sealed for.
func label(k document.Key) seal.Label {
	return seal.Label{Project: k.Project, Kind: "credential", ID: k.ID}
}

// digest keeps a request whose body holds a secret out of the database, its plain hash too, against which
// short secrets could be tried.
func (s *Service) digest(p stead.Principal, digest string) string {
	if digest == "" {
		return ""
	}
	return string(hexOf(s.cfg.Keys.Derive(seal.Label{Project: p.Project, Kind: "credential request", ID: digest})))
}
