package server

import (
	"net/http"
	"slices"
	"time"

	"github.com/stead-dev/stead"
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
	Object      string `json:"object"` // "vault.rekeyed"
	Credentials int    `json:"credentials"`
	Resealed    int    `json:"resealed"`
	Unreadable  int    `json:"unreadable"`
}

// wireCredential has no field for a secret. RefreshError is ours: why a person must authorize anew.
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
}

func wireCredentialOf(c vault.Credential) wireCredential {
	return wireCredential{c.ID, "vault.credential", c.Vault, c.CreatedAt / millis, c.UpdatedAt / millis, c.Name, orEmpty(c.Metadata), wireAuthOf(c.Auth), given(c.Refused)}
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
