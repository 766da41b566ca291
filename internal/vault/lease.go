package vault

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// lease says that somebody renews a token, until when nobody else begins.
type lease struct {
	By    string `json:"by"`
	Until int64  `json:"until"` // Unix milliseconds
}

// token is the token to send. refused is one that the server has just refused; "" for none.
func (s *Service) token(_ context.Context, d document.Document, data storedCredential, refused string) (string, error) {
	secret, err := s.open(d.Key, data)
	if err != nil {
		return "", err
	}
	if refused != "" && secret.Value == refused {
		e := unusable(stead.KindForbidden, "the tool server refused the credential %s", d.ID)
		e.Hint = "Rotate it: stead credentials rotate VAULT " + d.ID
		return "", e
	}
	return secret.Value, nil
}
