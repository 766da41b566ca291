package kmstest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Vault is a server with a transit engine at a mount, in a namespace ("": none), for who has the token.
func Vault(tb testing.TB, token, namespace, mount string, keys ...string) *Server {
	return start(tb, keys, func(s *Server, w http.ResponseWriter, r *http.Request, body []byte) {
		fail := func(status int, errors ...string) {
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]any{"errors": append([]string{}, errors...)}) // a client that is gone
		}
		rest, here := strings.CutPrefix(r.URL.Path, "/v1/"+mount+"/")
		action, name, _ := strings.Cut(rest, "/")
		var in struct {
			Plaintext  []byte
			Ciphertext string
		}
		key := s.keys[name]
		switch err := json.Unmarshal(body, &in); {
		case s.rules.Busy > 0:
			s.rules.Busy--
			fail(http.StatusServiceUnavailable, "Vault is sealed")
		case r.Header.Get("X-Vault-Token") != token || r.Header.Get("X-Vault-Namespace") != namespace || s.rules.Denied:
			fail(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
		case !here || r.Method != http.MethodPost:
			fail(http.StatusNotFound)
		case err != nil || key == nil:
			fail(http.StatusBadRequest, "encryption key not found")
		case s.rules.Disabled:
			fail(http.StatusBadRequest, "ciphertext or signature version is disallowed by policy (too old)")
		case action == "encrypt":
			_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(key.Seal(nil, nil, in.Plaintext, nil)), "key_version": 1}})
		case action == "decrypt":
			blob, ours := strings.CutPrefix(in.Ciphertext, "vault:v1:")
			sealed, err := base64.StdEncoding.DecodeString(blob)
			if err == nil && ours {
				var plain []byte
				if plain, err = key.Open(nil, nil, sealed, nil); err == nil {
					_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"plaintext": plain}})
					return
				}
			}
			fail(http.StatusBadRequest, "invalid ciphertext: unable to decrypt")
		default:
			fail(http.StatusNotFound)
		}
	})
}
