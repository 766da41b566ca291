package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Vault is what a person is shown of a vault.
type Vault struct {
	ID        string          `json:"id"`
	Name      *string         `json:"name"`
	CreatedAt int64           `json:"created_at"` // Unix seconds
	Raw       json.RawMessage `json:"-"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Vault) UnmarshalJSON(b []byte) error {
	type bare Vault
	return keep(b, (*bare)(v), &v.Raw)
}

// Credential is what a person is shown of a credential: never its secret.
type Credential struct {
	ID           string          `json:"id"`
	VaultID      string          `json:"vault_id"`
	Name         string          `json:"name"`
	UpdatedAt    int64           `json:"updated_at"` // Unix seconds
	Auth         CredentialAuth  `json:"auth"`
	RefreshError *string         `json:"refresh_error"`
	SealError    *string         `json:"seal_error"`
	Raw          json.RawMessage `json:"-"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Credential) UnmarshalJSON(b []byte) error {
	type bare Credential
	return keep(b, (*bare)(v), &v.Raw)
}

// CredentialAuth is how a credential proves who asks, and where.
type CredentialAuth struct {
	Type       string `json:"type"`
	ServerURL  string `json:"mcp_server_url"`
	Variable   string `json:"secret_name"`
	Networking struct {
		Type  string   `json:"type"`
		Hosts []string `json:"allowed_hosts"`
	} `json:"networking"`
}

const vaultsPath = "/v1/vaults"

func credentialsPath(vault string) string {
	return vaultsPath + "/" + url.PathEscape(vault) + "/credentials"
}

// CreateVault makes a vault; name may be empty.
func (c *Client) CreateVault(ctx context.Context, name string) (v Vault, err error) {
	body := map[string]string{}
	if name != "" {
		body["name"] = name
	}
	return v, c.call(ctx, http.MethodPost, vaultsPath, nil, body, &v)
}

// Vaults lists vaults, the newest first.
func (c *Client) Vaults(ctx context.Context) ([]Vault, error) {
	return list(ctx, c, vaultsPath, nil, 0, func(v Vault) string { return v.ID })
}

// Vault retrieves one.
func (c *Client) Vault(ctx context.Context, id string) (v Vault, err error) {
	return v, c.call(ctx, http.MethodGet, vaultsPath+"/"+url.PathEscape(id), nil, nil, &v)
}

// DeleteVault deletes one with all of its credentials.
func (c *Client) DeleteVault(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, vaultsPath+"/"+url.PathEscape(id), nil, nil, nil)
}

// Resealed counts what is sealed, and what became of it.
type Resealed struct {
	Credentials  int `json:"credentials"`
	Templates    int `json:"templates"`
	Environments int `json:"environments"`
	Others       int `json:"others"`
	Resealed     int `json:"resealed"`
	Unreadable   int `json:"unreadable"`
}

// Rekeyed says what sealing anew has done, or would.
type Rekeyed struct {
	Resealed
	UnknownKeys []string         `json:"unknown_keys"`
	Projects    []RekeyedProject `json:"projects"`
	Raw         json.RawMessage  `json:"-"`
}

// RekeyedProject is a project's part of it.
type RekeyedProject struct {
	Project string `json:"project"`
	Resealed
	UnknownKeys []string `json:"unknown_keys"`
	Refused     *string  `json:"refused"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Rekeyed) UnmarshalJSON(b []byte) error {
	type bare Rekeyed
	return keep(b, (*bare)(r), &r.Raw)
}

// RekeyVaults seals what the project has sealed, or every project, with the key that seals now; dry only counts.
func (c *Client) RekeyVaults(ctx context.Context, every, dry bool) (r Rekeyed, err error) {
	body := map[string]any{"dry_run": dry}
	if every {
		body["project"] = "*"
	}
	return r, c.call(ctx, http.MethodPost, vaultsPath+"/rekey", nil, body, &r)
}

// CreateCredential puts a credential into a vault; auth is the wire's.
func (c *Client) CreateCredential(ctx context.Context, vault, name string, auth any) (v Credential, err error) {
	return v, c.call(ctx, http.MethodPost, credentialsPath(vault), nil, map[string]any{"name": name, "auth": auth}, &v)
}

// Credentials lists a vault's, the newest first.
func (c *Client) Credentials(ctx context.Context, vault string) ([]Credential, error) {
	return list(ctx, c, credentialsPath(vault), nil, 0, func(v Credential) string { return v.ID })
}

// Credential retrieves one.
func (c *Client) Credential(ctx context.Context, vault, id string) (v Credential, err error) {
	return v, c.call(ctx, http.MethodGet, credentialsPath(vault)+"/"+url.PathEscape(id), nil, nil, &v)
}

// RotateCredential replaces secrets; auth is the wire's.
func (c *Client) RotateCredential(ctx context.Context, vault, id string, auth any) (v Credential, err error) {
	return v, c.call(ctx, http.MethodPost, credentialsPath(vault)+"/"+url.PathEscape(id), nil, map[string]any{"auth": auth}, &v)
}

// DeleteCredential removes one.
func (c *Client) DeleteCredential(ctx context.Context, vault, id string) error {
	return c.call(ctx, http.MethodDelete, credentialsPath(vault)+"/"+url.PathEscape(id), nil, nil, nil)
}
