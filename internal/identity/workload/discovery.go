package workload

import (
	"context"
	"encoding/json"

	"github.com/stead-dev/stead"
)

// The paths of what is published, below the issuer.
const (
	KeysPath  = "/.well-known/jwks.json"
	AboutPath = "/.well-known/openid-configuration"
	TokenPath = "/v1/oauth/token"
)

// PublicKeys is the key set as it is published (RFC 7517).
func (i *Issuer) PublicKeys(ctx context.Context) ([]byte, error) {
	set, err := i.keys.published(ctx)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(set)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "the key set can't be written")
	}
	return b, nil
}

// About is discovery's document: as much as verifiers of tokens need. Nobody signs in here.
func (i *Issuer) About() []byte {
	b, _ := json.Marshal(map[string]any{ // texts and lists of them can be written
		"issuer":                                i.cfg.URL,
		"jwks_uri":                              i.cfg.URL + KeysPath,
		"token_endpoint":                        i.cfg.URL + TokenPath,
		"id_token_signing_alg_values_supported": []string{i.cfg.Algorithm},
		"subject_types_supported":               []string{"public"},
		"response_types_supported":              []string{},
		"grant_types_supported":                 []string{"urn:ietf:params:oauth:grant-type:token-exchange"},
		"token_endpoint_auth_methods_supported": []string{"none"},
	})
	return b
}
