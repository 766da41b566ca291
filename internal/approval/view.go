package approval

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/sensitive"
)

const (
	// maxShownBytes is the longest body that can be approved: what is not shown, nobody can answer for.
	maxShownBytes = 256 << 10
	// maxTextBytes is how much of each text is shown.
	maxTextBytes = 512
	// masked stands for what is not shown.
	masked = "•••"
)

// view is what may be seen of a body: no secret. Of what keeps secrets, only fields that hold none are shown. short is at most MaxViewBytes;
// whole is all of it, nil where that is no more than short. ok: it can be shown.
func view(effect policy.Effect, body []byte) (short, whole json.RawMessage, ok bool) {
	if len(bytes.TrimSpace(body)) == 0 {
		return json.RawMessage("null"), nil, true
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if len(body) > maxShownBytes || d.Decode(&v) != nil {
		return text(fmt.Sprintf("%d bytes, of which nothing is shown", len(body))), nil, false
	}
	v = shown(v, keepsSecrets(effect), false)
	whole, err := json.Marshal(v)
	if err != nil || len(whole) > 2*maxShownBytes { // what is escaped takes more
		return text(fmt.Sprintf("%d bytes, of which nothing is shown", len(body))), nil, false
	}
	for _, most := range []int{maxTextBytes, maxTextBytes / 8, maxTextBytes / 32} {
		if b, err := json.Marshal(shorter(v, most)); err == nil && len(b) <= MaxViewBytes {
			if len(b) == len(whole) {
				whole = nil
			}
			return b, whole, true
		}
	}
	return text(fmt.Sprintf("%d bytes, which are too much to be shown in a list", len(body))), whole, true
}

func text(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // texts always encode
	}
	return b
}

func keepsSecrets(e policy.Effect) bool {
	return e == policy.VaultWrite || e == policy.KeyWrite || e == policy.SessionTokenWrite
}

// harmless are the fields that are shown of what keeps secrets.
func harmless() []string {
	return []string{"name", "display_name", "description", "type", "role", "project", "principal", "kind", "id", "bound", "expires_after_seconds", "expires_at", "scope", "host", "hosts", "mcp_server_url", "auth",
		"networking", "allowed_hosts", "secret_name", "refresh", "token_endpoint", "token_endpoint_auth", "client_id", "resource", "grace_seconds"}
}

// shown masks what has, or may have, a secret in it, and changes v. only: nothing but harmless fields is seen; hide: this value is not.
func shown(v any, only, hide bool) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			hidden := hide || secretive(name) || only && !slices.Contains(harmless(), name)
			v[name] = shown(value, only, hidden)
		}
		return v
	case []any:
		for i := range v {
			v[i] = shown(v[i], only, hide)
		}
		return v
	case nil, bool:
		return v
	case string:
		if hide && v != "" {
			return masked
		}
		if head, _, ok := strings.Cut(v, "?"); only && ok { // addresses may have a secret there
			v = head + "?" + masked
		}
		return sensitive.Replace(v, sensitive.FindSecrets(v), func(string) string { return masked })
	}
	if hide { // a number
		return masked
	}
	return v
}

// secretive reports whether a field is named as secrets are.
func secretive(name string) bool {
	name = strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
	if name == "secretname" { // of the variable that has it
		return false
	}
	for _, part := range []string{"secret", "password", "passwd", "authorization", "apikey", "privatekey", "cookie", "headers", "variables"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return name == "env" || name == "credential" || strings.HasSuffix(name, "token") || strings.HasSuffix(name, "key") && name != "key"
}

// shorter cuts texts and lists.
func shorter(v any, most int) any {
	const elements = 32
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			out[name] = shorter(value, most)
		}
		return out
	case []any:
		var out []any
		for _, value := range v[:min(len(v), elements)] {
			out = append(out, shorter(value, most))
		}
		if len(v) > elements {
			out = append(out, fmt.Sprintf("… and %d more", len(v)-elements))
		}
		return out
	case string:
		if len(v) > most {
			cut := v[:most]
			for !utf8.ValidString(cut) {
				cut = cut[:len(cut)-1]
			}
			return fmt.Sprintf("%s… (%d bytes)", cut, len(v))
		}
	}
	return v
}
