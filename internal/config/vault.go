package config

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// vaultPrefix begins what is in a vault: "${vault:VAULT/CREDENTIAL}", or with PROJECT/ in front. It stays as it is when the
// file is read, since the vault is opened at each use.
const vaultPrefix = "vault:"

// VaultKey names a credential of a vault that holds a provider's key.
type VaultKey struct{ Project, Vault, Credential string } // Project "": the default one

// KeyInVault says where in a vault the provider's key is; false: it is no vault's.
func (p Provider) KeyInVault() (VaultKey, bool) {
	rest, ok := strings.CutPrefix(p.APIKey, "${"+vaultPrefix)
	if !ok {
		return VaultKey{}, false
	}
	parts := strings.Split(strings.TrimSuffix(rest, "}"), "/")
	switch len(parts) {
	case 2:
		return VaultKey{"", parts[0], parts[1]}, true
	case 3:
		return VaultKey{parts[0], parts[1], parts[2]}, true
	}
	return VaultKey{}, true
}

// keyInVault reports whether a pair of the file is an api_key that begins like one in a vault.
func keyInVault(p *ast.MappingValueNode) bool {
	value, ok := p.Value.(*ast.StringNode)
	return ok && p.Key.String() == "api_key" && strings.HasPrefix(value.Value, "${"+vaultPrefix)
}

func (p Provider) checkKey(at string) error {
	k, ok := p.KeyInVault()
	if ok && (k.Vault == "" || k.Credential == "" || !strings.HasSuffix(p.APIKey, "}") || strings.Count(p.APIKey, "${") > 1) {
		return invalid(at+".api_key", "Write api_key: ${vault:VAULT/CREDENTIAL}, and nothing around it.", "%s.api_key names no credential of a vault", at)
	}
	return nil
}
