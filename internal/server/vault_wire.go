package server

import (
	"net/http"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/seal/reseal"
	"github.com/stead-dev/stead/internal/vault"
)

type wireVault struct {
	ID        string            `json:"id"`
	Object    string            `json:"object"` // "vault"
	CreatedAt int64             `json:"created_at"`
	Name      *string           `json:"name"`
	Metadata  map[string]string `json:"metadata"`
}

func wireVaultOf(v vault.Vault) wireVault {
	return wireVault{v.ID, "vault", v.CreatedAt / millis, given(v.Name), orEmpty(v.Metadata)}
}

type wireRekeyed struct {
	Object string `json:"object"` // "vault.rekeyed"
	DryRun bool   `json:"dry_run"`
	wireResealed
	UnknownKeys []string             `json:"unknown_keys"` // that would open what is unreadable
	Projects    []wireRekeyedProject `json:"projects,omitempty"`
}

type wireResealed struct {
	Credentials  int `json:"credentials"`
	Templates    int `json:"templates"`
	Environments int `json:"environments"`
	Others       int `json:"others"`
	Resealed     int `json:"resealed"`
	Unreadable   int `json:"unreadable"`
}

type wireRekeyedProject struct {
	Project string `json:"project"`
	wireResealed
	UnknownKeys []string `json:"unknown_keys"`
	Refused     *string  `json:"refused"`
}

func wireRekeyedOf(r reseal.Report, every, dry bool) wireRekeyed {
	counts := func(c reseal.Counts) wireResealed {
		return wireResealed{c.Credentials, c.Templates, c.Environments, c.Others, c.Resealed, c.Unreadable}
	}
	out := wireRekeyed{Object: "vault.rekeyed", DryRun: dry, wireResealed: counts(r.Counts), UnknownKeys: append([]string{}, r.Keys()...)}
	for _, p := range r.Projects {
		if every {
			out.Projects = append(out.Projects, wireRekeyedProject{string(p.ID), counts(p.Counts), append([]string{}, p.Keys...), given(p.Refused)})
		}
	}
	return out
}

// wireCredential has no field for a secret. RefreshError and SealError are ours: why a person must authorize anew, and why nobody can use it here.
type wireCredential struct {
	ID           string            `json:"id"`
	Object       string            `json:"object"` // "vault.credential"
	VaultID      string            `json:"vault_id"`
	CreatedAt    int64             `json:"created_at"`
	UpdatedAt    int64             `json:"updated_at"`
	Name         string            `json:"name"`
	Metadata     map[string]string `json:"metadata"`
	Auth         any               `json:"auth"`
	RefreshError *string           `json:"refresh_error"`
	SealError    *string           `json:"seal_error"`
}

func wireCredentialOf(c vault.Credential) wireCredential {
	return wireCredential{c.ID, "vault.credential", c.Vault, c.CreatedAt / millis, c.UpdatedAt / millis, c.Name, orEmpty(c.Metadata), wireAuthOf(c.Auth), given(c.Refused), given(sealError(c))}
}

func sealError(c vault.Credential) string {
	if c.SealedBy == "" {
		return ""
	}
	return "sealed by an unknown key (" + c.SealedBy + ")"
}

type wireBearer struct {
	Type      vault.Type `json:"type"`
	ServerURL string     `json:"mcp_server_url"`
}

type wireOAuth struct {
	Type      vault.Type   `json:"type"`
	ServerURL string       `json:"mcp_server_url"`
	ExpiresAt *string      `json:"expires_at"` // RFC 3339
	Refresh   *wireRefresh `json:"refresh"`
}

type wireRefresh struct {
	ClientID   string         `json:"client_id"`
	Endpoint   string         `json:"token_endpoint"`
	ClientAuth wireClientAuth `json:"token_endpoint_auth"`
	Resource   *string        `json:"resource"`
	Scope      *string        `json:"scope"`
}

type wireClientAuth struct {
	Type vault.ClientAuth `json:"type"`
}

type wireVariable struct {
	Type       vault.Type     `json:"type"`
	Variable   string         `json:"secret_name"`
	Networking wireNetworking `json:"networking"`
}

type wireNetworking struct {
	Type  string   `json:"type"`
	Hosts []string `json:"allowed_hosts,omitempty"`
}

// wireAuthOf is the contract's object of each type.
func wireAuthOf(a vault.Auth) any {
	switch a.Type {
	case vault.EnvironmentVariable:
		n := wireNetworking{"limited", a.Hosts}
		if a.Unrestricted {
			n = wireNetworking{Type: "unrestricted"}
		}
		return wireVariable{a.Type, a.Variable, n}
	case vault.MCPOAuth:
		out := wireOAuth{Type: a.Type, ServerURL: a.ServerURL}
		if a.ExpiresAt > 0 {
			text := time.UnixMilli(a.ExpiresAt).UTC().Format(time.RFC3339)
			out.ExpiresAt = &text
		}
		if r := a.Refresh; r != nil {
			out.Refresh = &wireRefresh{r.ClientID, r.Endpoint, wireClientAuth{r.ClientAuth}, given(r.Resource), given(r.Scope)}
		}
		return out
	}
	return wireBearer{a.Type, a.ServerURL}
}

// vaultPage reads a page of vaults or credentials, and whether the status that is asked for leaves none: all of
// ours are active, since what is archived elsewhere is deleted here.
func vaultPage(r *http.Request, prefix string) (vault.Query, bool, error) {
	values := r.URL.Query()
	page, err := idPage(values, prefix)
	if err != nil {
		return vault.Query{}, false, err
	}
	q := vault.Query{After: page.After, Limit: page.Limit, Desc: page.Desc}
	if q.Metadata, err = metadataFilter(values); err != nil {
		return q, false, err
	}
	statuses := slices.Concat(values["status"], values["status[]"])
	for _, s := range statuses {
		if s != "active" && s != "archived" {
			return q, false, stead.Invalid("status", `status must be "active" or "archived", not %.40q`, s)
		}
	}
	return q, len(statuses) > 0 && !slices.Contains(statuses, "active"), nil
}
