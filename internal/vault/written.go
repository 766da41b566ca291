package vault

import (
	"context"
	"strings"

	"github.com/stead-dev/stead"
)

// written is what records say of a credential: what it is, and where its secret may go. Addresses may have a secret in their query.
func written(name string, a Auth) map[string]string {
	out := map[string]string{"name": name, "type": string(a.Type), "mcp_server_url": bare(a.ServerURL), "secret_name": a.Variable, "allowed_hosts": strings.Join(a.Hosts, " ")}
	if a.Unrestricted {
		out["allowed_hosts"] = "*"
	}
	if r := a.Refresh; r != nil {
		out["token_endpoint"], out["client_id"], out["resource"], out["scope"] = bare(r.Endpoint), r.ClientID, bare(r.Resource), r.Scope
	}
	return out
}

func bare(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return url
}

// changed is what records say of a credential that is about to be changed, as it will be then; nil: it can't be said, and the change fails.
func (s *Service) changed(ctx context.Context, p stead.Principal, vault, id string, change Change) map[string]string {
	d, data, err := s.credential(ctx, p, vault, id)
	if err != nil {
		return nil
	}
	rotates := change.Rotate != nil
	if rotates {
		secret, err := s.open(d.Key, data)
		if err != nil || change.Rotate(&data.Auth, &secret) != nil {
			return nil
		}
	}
	out := written(data.Name, data.Auth)
	if rotates {
		out["rotated"] = "true"
	}
	return out
}
