package vault

import (
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/reseal"
)

// Sealed says where credentials are, of which a part is sealed.
func Sealed() reseal.Place {
	return reseal.Place{Kind: kindCredential, What: reseal.Credentials, Label: func(d document.Document) seal.Label { return label(d.Key) }}
}

// visible is what may be seen of a credential, and by which key it was sealed that this node does not have.
func (s *Service) visible(d document.Document) (Credential, storedCredential, error) {
	c, data, err := credentialOf(d)
	if err == nil {
		if id, known := s.cfg.Keys.Key(data.Sealed); !known {
			c.SealedBy = id
			if id == "" {
				c.SealedBy = "unknown"
			}
		}
	}
	return c, data, err
}
