package kms

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/stead-dev/stead"
)

// Vault is the transit engine of a HashiCorp Vault, or of an OpenBao, which speaks the same.
type Vault struct {
	BaseURL   string // https://vault.example:8200
	Mount     string // "": transit
	Key       string // name of the key there
	Token     string
	Namespace string // "": none
	CA        []byte // PEM; nil: the machine's
}

type vault struct {
	Vault
	caller
}

// NewVault makes the service.
func NewVault(v Vault) (Service, error) {
	if v.Mount == "" {
		v.Mount = "transit"
	}
	c, err := newCaller(v.CA)
	return &vault{v, c}, err
}

type vaultRequest struct {
	Plaintext  []byte `json:"plaintext,omitempty"`
	Ciphertext string `json:"ciphertext,omitempty"`
}

type vaultAnswer struct {
	Data struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext string `json:"ciphertext"` // vault:v1:BASE64
	} `json:"data"`
	Errors []string `json:"errors"`
}

// Encrypt implements Service.
func (v *vault) Encrypt(ctx context.Context, plain []byte) ([]byte, error) {
	out, err := v.call(ctx, "encrypt", vaultRequest{Plaintext: plain})
	return []byte(out.Data.Ciphertext), err
}

// Decrypt implements Service.
func (v *vault) Decrypt(ctx context.Context, wrapped []byte) ([]byte, error) {
	out, err := v.call(ctx, "decrypt", vaultRequest{Ciphertext: string(wrapped)})
	return out.Data.Plaintext, err
}

func (v *vault) call(ctx context.Context, action string, body vaultRequest) (out vaultAnswer, err error) {
	address := strings.TrimSuffix(v.BaseURL, "/") + "/v1/" + strings.Trim(v.Mount, "/") + "/" + action + "/" + url.PathEscape(v.Key)
	status, raw, err := v.post(ctx, address, body, func(req *http.Request, _ []byte) {
		req.Header.Set("X-Vault-Token", v.Token)
		req.Header.Set("X-Vault-Request", "true")
		if v.Namespace != "" {
			req.Header.Set("X-Vault-Namespace", v.Namespace)
		}
	})
	if err != nil {
		return out, err
	}
	broken := json.Unmarshal(raw, &out)
	if status == http.StatusOK && broken == nil && len(out.Data.Plaintext)+len(out.Data.Ciphertext) > 0 {
		return out, nil
	}
	text := said(strings.Join(out.Errors, "; "))
	if status == http.StatusPreconditionFailed { // a standby that is behind
		return out, stead.Errorf(stead.KindUnavailable, "it is behind another node of its own (%s)", text)
	}
	return out, byStatus(status, text)
}
