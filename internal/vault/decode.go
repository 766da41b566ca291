package vault

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// Name trims a name, which must have 1 to MaxNameBytes bytes after that.
func Name(path, name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > MaxNameBytes || !utf8.ValidString(name) {
		return "", stead.Invalid(path, "%s must have 1 to %d bytes", path, MaxNameBytes)
	}
	return name, nil
}

// DecodeAuth reads the auth of a new credential.
func DecodeAuth(o param.Object) (Auth, Secret, error) {
	kind, err := param.Need(o.Enum("type", string(StaticBearer), string(MCPOAuth), string(EnvironmentVariable)))(o.Path("type"))
	if err != nil {
		return Auth{}, Secret{}, err
	}
	a, s := Auth{Type: Type(kind)}, Secret{}
	switch a.Type {
	case StaticBearer:
		if err = o.Only("a static bearer", "type", "token", "mcp_server_url"); err == nil {
			err = need(o, "token", &s.Value, checkSecret)
		}
	case MCPOAuth:
		err = decodeOAuth(o, &a, &s)
	case EnvironmentVariable:
		return a, s, decodeVariable(o, &a, &s)
	}
	if err == nil {
		err = need(o, "mcp_server_url", &a.ServerURL, checkURL)
	}
	return a, s, err
}

// need reads a text that must be there.
func need(o param.Object, name string, into *string, check func(at, value string) error) error {
	v, err := param.Need(o.String(name))(o.Path(name))
	if err != nil {
		return err
	}
	*into = v
	return check(o.Path(name), v)
}

// replace reads a text that may be there; null and absence keep what is.
func replace(o param.Object, name string, into *string, check func(at, value string) error) error {
	v, ok, err := o.String(name)
	if err != nil || !ok {
		return err
	}
	*into = v
	return check(o.Path(name), v)
}

func decodeVariable(o param.Object, a *Auth, s *Secret) error {
	if err := o.Only("an environment variable", "type", "secret_name", "secret_value", "networking"); err != nil {
		return err
	}
	if err := need(o, "secret_name", &a.Variable, checkVariable); err != nil {
		return err
	}
	if err := need(o, "secret_value", &s.Value, checkSecret); err != nil {
		return err
	}
	n, err := param.Need(o.Object("networking"))(o.Path("networking"))
	if err != nil {
		return err
	}
	kind, err := param.Need(n.Enum("type", "limited", "unrestricted"))(n.Path("type"))
	if err != nil {
		return err
	}
	if a.Unrestricted = kind == "unrestricted"; a.Unrestricted {
		return n.Only("unrestricted networking", "type")
	}
	hosts, err := param.Need(n.Strings("allowed_hosts"))(n.Path("allowed_hosts"))
	if err != nil {
		return err
	}
	a.Hosts, err = checkHosts(n.Path("allowed_hosts"), hosts)
	return err
}

func decodeOAuth(o param.Object, a *Auth, s *Secret) error {
	if err := o.Only("an OAuth credential", "type", "access_token", "mcp_server_url", "expires_at", "refresh"); err != nil {
		return err
	}
	if err := need(o, "access_token", &s.Value, checkSecret); err != nil {
		return err
	}
	var err error
	if a.ExpiresAt, _, err = moment(o, "expires_at"); err != nil {
		return err
	}
	sub, ok, err := o.Object("refresh")
	if err != nil || !ok {
		return err
	}
	if err := sub.Only("refresh", "client_id", "refresh_token", "token_endpoint", "token_endpoint_auth", "resource", "scope"); err != nil {
		return err
	}
	a.Refresh = &Refresh{}
	for _, f := range []struct {
		name  string
		into  *string
		check func(at, value string) error
	}{{"client_id", &a.Refresh.ClientID, checkText}, {"refresh_token", &s.RefreshToken, checkSecret}, {"token_endpoint", &a.Refresh.Endpoint, checkURL}} {
		if err := need(sub, f.name, f.into, f.check); err != nil {
			return err
		}
	}
	for name, into := range map[string]*string{"resource": &a.Refresh.Resource, "scope": &a.Refresh.Scope} {
		if err := replace(sub, name, into, checkText); err != nil {
			return err
		}
	}
	return decodeClient(sub, a.Refresh, s)
}

func decodeClient(o param.Object, r *Refresh, s *Secret) error {
	c, err := param.Need(o.Object("token_endpoint_auth"))(o.Path("token_endpoint_auth"))
	if err != nil {
		return err
	}
	kind, err := param.Need(c.Enum("type", string(ClientNone), string(ClientBasic), string(ClientPost)))(c.Path("type"))
	if err != nil {
		return err
	}
	if r.ClientAuth = ClientAuth(kind); r.ClientAuth == ClientNone {
		return nil
	}
	return need(c, "client_secret", &s.ClientSecret, checkText)
}

// checkText bounds what is sent to a token endpoint in a form.
func checkText(at, value string) error {
	if value == "" || len(value) > MaxURLBytes || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return stead.Invalid(at, "%s must have 1 to %d bytes, without control characters", at, MaxURLBytes)
	}
	return nil
}

// moment reads a time in RFC 3339, and whether the field is there at all: 0 is null.
func moment(o param.Object, name string) (int64, bool, error) {
	text, ok, err := o.String(name)
	if err != nil || !ok {
		return 0, o.Has(name), err
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.Unix() <= 0 {
		return 0, true, stead.Invalid(o.Path(name), "%s must be a time such as 2026-11-26T15:04:05Z", o.Path(name))
	}
	return at.UnixMilli(), true, nil
}

// DecodeRotation reads the auth of an update: replacements for a credential of the same type.
func DecodeRotation(o param.Object) (func(*Auth, *Secret) error, error) {
	kind, err := param.Need(o.Enum("type", string(StaticBearer), string(MCPOAuth), string(EnvironmentVariable)))(o.Path("type"))
	if err != nil {
		return nil, err
	}
	rotate := map[Type]func(param.Object, *Auth, *Secret) error{StaticBearer: rotateBearer, MCPOAuth: rotateOAuth, EnvironmentVariable: rotateVariable}[Type(kind)]
	return func(a *Auth, s *Secret) error {
		if a.Type != Type(kind) {
			return stead.Invalid(o.Path("type"), "%s is %s, and the credential is of type %s, which stays", o.Path("type"), kind, a.Type)
		}
		return rotate(o, a, s)
	}, nil
}

func rotateBearer(o param.Object, _ *Auth, s *Secret) error {
	if err := o.Only("a rotation of a static bearer", "type", "token"); err != nil {
		return err
	}
	return need(o, "token", &s.Value, checkSecret)
}

func rotateVariable(o param.Object, _ *Auth, s *Secret) error {
	if err := o.Only("a rotation of an environment variable", "type", "secret_value"); err != nil {
		return err
	}
	return need(o, "secret_value", &s.Value, checkSecret)
}

func rotateOAuth(o param.Object, a *Auth, s *Secret) error {
	if err := o.Only("a rotation of an OAuth credential", "type", "access_token", "expires_at", "refresh"); err != nil {
		return err
	}
	before := s.Value
	if err := replace(o, "access_token", &s.Value, checkSecret); err != nil {
		return err
	}
	if s.Value != before {
		a.ExpiresAt = 0
	}
	expires, has, err := moment(o, "expires_at")
	if err != nil {
		return err
	}
	if has {
		a.ExpiresAt = expires
	}
	sub, ok, err := o.Object("refresh")
	if err != nil || !ok {
		return err
	}
	return rotateRefresh(sub, a, s)
}

func rotateRefresh(o param.Object, a *Auth, s *Secret) error {
	if a.Refresh == nil {
		return stead.Invalid(o.Path("refresh_token"), "%s: the credential has no refresh to change; make a new one that has", o.Path("refresh_token"))
	}
	if err := o.Only("refresh", "refresh_token", "scope", "token_endpoint_auth"); err != nil {
		return err
	}
	if err := replace(o, "refresh_token", &s.RefreshToken, checkSecret); err != nil {
		return err
	}
	changed := *a.Refresh
	if o.Null("scope") {
		changed.Scope = ""
	} else if err := replace(o, "scope", &changed.Scope, checkText); err != nil {
		return err
	}
	a.Refresh = &changed
	c, ok, err := o.Object("token_endpoint_auth")
	if err != nil || !ok {
		return err
	}
	kind, err := param.Need(c.String("type"))(c.Path("type"))
	if err != nil {
		return err
	}
	if ClientAuth(kind) != changed.ClientAuth || changed.ClientAuth == ClientNone {
		return stead.Invalid(c.Path("type"), "%s is %.40q, and the credential's is %s, which stays", c.Path("type"), kind, changed.ClientAuth)
	}
	return replace(c, "client_secret", &s.ClientSecret, checkText)
}
