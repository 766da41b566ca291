package token_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity/token"
)

func wantKind(t *testing.T, what string, err error, want stead.Kind) {
	t.Helper()
	if stead.KindOf(err) != want {
		t.Errorf("%s: %q %v, want %q", what, stead.KindOf(err), err, want)
	}
}

func TestATokenIsAPrincipal(t *testing.T) {
	i := newIssuer(t, "k1")
	p, err := i.trusted().Authenticate(t.Context(), i.signed(nil), "")
	if want := (stead.Principal{Project: "proj_a", Kind: stead.PrincipalUser, ID: "ada", Role: "developer", Bound: true}); err != nil || p.Principal != want {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = i.trusted(func(c *token.Issuer) { c.Prefix = "corp:" }).Authenticate(t.Context(), i.signed(map[string]any{"groups": "admins"}), "proj_a")
	if want := (stead.Principal{Project: "proj_a", Kind: stead.PrincipalUser, ID: "corp:ada", Role: "owner"}); err != nil || p.Principal != want {
		t.Errorf("%+v, %v", p, err)
	}
}

// RFC 8725 and RFC 7519: what a token must say, and when.
func TestWhatATokenMustSay(t *testing.T) {
	i := newIssuer(t, "k1")
	now := i.now.Unix()
	for name, c := range map[string]struct {
		with map[string]any
		want stead.Kind
	}{
		"audience in a list":     {map[string]any{"aud": []string{"other", "stead"}}, ""},
		"expired within skew":    {map[string]any{"exp": now - 59}, ""},
		"a time with a fraction": {map[string]any{"exp": float64(now) + 0.5}, ""},
		"expired":                {map[string]any{"exp": now - 60}, stead.KindUnauthenticated},
		"no expiry":              {map[string]any{"exp": nil}, stead.KindUnauthenticated},
		"expiry is text":         {map[string]any{"exp": "2099"}, stead.KindUnauthenticated},
		"expiry beyond time":     {map[string]any{"exp": 1e300}, stead.KindUnauthenticated},
		"not yet":                {map[string]any{"nbf": now + 61}, stead.KindUnauthenticated},
		"made in the future":     {map[string]any{"iat": now + 61}, stead.KindUnauthenticated},
		"another's audience":     {map[string]any{"aud": "other"}, stead.KindUnauthenticated},
		"no audience":            {map[string]any{"aud": nil}, stead.KindUnauthenticated},
		"audience is a number":   {map[string]any{"aud": 1}, stead.KindUnauthenticated},
		"another issuer":         {map[string]any{"iss": "https://evil.example"}, stead.KindUnauthenticated},
		"issuer with a slash":    {map[string]any{"iss": i.URL + "/"}, stead.KindUnauthenticated},
		"nobody":                 {map[string]any{"sub": ""}, stead.KindUnauthenticated},
		"a long name":            {map[string]any{"sub": strings.Repeat("a", 256)}, stead.KindUnauthenticated},
		"a name with a line":     {map[string]any{"sub": "ada\nroot"}, stead.KindUnauthenticated},
		"no role":                {map[string]any{"groups": "guests"}, stead.KindForbidden},
		"groups are no list":     {map[string]any{"groups": map[string]any{"staff": true}}, stead.KindForbidden},
		"oversized":              {map[string]any{"filler": strings.Repeat("a", token.MaxTokenBytes)}, stead.KindUnauthenticated},
	} {
		_, err := i.trusted().Authenticate(t.Context(), i.signed(c.with), "")
		wantKind(t, name, err, c.want)
	}
}

// The attacks that RFC 8725 names.
func TestForgedTokens(t *testing.T) {
	i := newIssuer(t, "k1")
	a, good := i.trusted(), i.signed(nil)
	parts := strings.Split(good, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	header := func(h map[string]any) string { b, _ := json.Marshal(h); return b64(b) }
	public, err := x509.MarshalPKIXPublicKey(i.keys[0].Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	stranger := newKey(t, "k1") // with the right name
	jwk, _ := json.Marshal(stranger.Public())
	embedded, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: stranger.Key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	o, err := embedded.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	withKey, _ := o.CompactSerialize()
	fromAfar := func(name string) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: stranger}, (&jose.SignerOptions{}).WithHeader(jose.HeaderKey(name), i.URL+"/evil"))
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := o.CompactSerialize()
		return raw
	}
	critical, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.keys[0]}, (&jose.SignerOptions{}).WithHeader("crit", []string{"http://example.com/x"}).WithHeader("http://example.com/x", true))
	if err != nil {
		t.Fatal(err)
	}
	o, err = critical.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	unknownCritical, _ := o.CompactSerialize()
	for name, raw := range map[string]string{
		"none":         header(map[string]any{"alg": "none"}) + "." + parts[1] + ".",
		"None":         header(map[string]any{"alg": "None"}) + "." + parts[1] + ".",
		"no signature": parts[0] + "." + parts[1] + ".",
		"no algorithm": header(map[string]any{"kid": "k1"}) + "." + parts[1] + "." + parts[2],
		"public key as a secret": sign(t, jose.JSONWebKey{Key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), KeyID: "k1"},
			jose.HS256, payload),
		"shared secret":      sign(t, jose.JSONWebKey{Key: []byte("secret-secret-secret-secret-secret-secret"), KeyID: "shared"}, jose.HS256, payload),
		"a stranger's key":   sign(t, stranger, jose.ES256, payload),
		"a key inside":       withKey,
		"jku":                fromAfar("jku"),
		"x5u":                fromAfar("x5u"),
		"kid is a path":      sign(t, jose.JSONWebKey{Key: stranger.Key, KeyID: "../../dev/null"}, jose.ES256, payload),
		"kid is SQL":         sign(t, jose.JSONWebKey{Key: stranger.Key, KeyID: "x' UNION SELECT 'k1"}, jose.ES256, payload),
		"unknown crit":       unknownCritical,
		"changed claims":     parts[0] + "." + b64([]byte(strings.Replace(string(payload), "ada", "eve", 1))) + "." + parts[2],
		"claims are a list":  sign(t, i.keys[0], jose.ES256, []byte(`["iss"]`)),
		"claims are no JSON": sign(t, i.keys[0], jose.ES256, []byte(`iss`)),
		"two issuers":        sign(t, i.keys[0], jose.ES256, []byte(strings.Replace(string(payload), `{`, `{"iss":"https://evil.example",`, 1))),
		"two subjects":       sign(t, i.keys[0], jose.ES256, []byte(strings.Replace(string(payload), `{`, `{"sub":"root",`, 1))),
		"JSON serialization": o.FullSerialize(),
		"JWE":                "eyJhbGciOiJkaXIifQ....",
		"empty":              "",
		"padding":            good + "=",
		"a line":             good + "\n",
		"jwk in discovery":   string(jwk),
	} {
		p, err := a.Authenticate(t.Context(), raw, "")
		wantKind(t, name, err, stead.KindUnauthenticated)
		if err == nil {
			t.Errorf("%s is %+v", name, p)
		}
		if err != nil && raw != "" && strings.Contains(err.Error(), parts[1]) {
			t.Errorf("%s: the error repeats the token: %v", name, err)
		}
	}
	if _, err := a.Authenticate(t.Context(), good, ""); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// Google's vectors (testdata/wycheproof.LICENSE): signatures that are encoded, padded or computed in odd ways, and
// keys that are for something else. The payloads are no claims, so a valid signature is refused later than others.
func TestWycheproof(t *testing.T) {
	data, err := os.ReadFile("testdata/wycheproof_jws.json")
	if err != nil {
		t.Fatal(err)
	}
	var groups []struct {
		Comment string
		Public  json.RawMessage
		Tests   []struct {
			TcID            int
			Comment, Result string
			JWS             json.RawMessage // text, or an object where a test is about that
		}
	}
	if err := json.Unmarshal(data, &groups); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, g := range groups {
		for _, c := range g.Tests {
			seen[c.Result]++
			var raw string
			_ = json.Unmarshal(c.JWS, &raw) // "" is refused
			got := token.Signed(t, g.Public, raw)
			switch c.Comment {
			case "SaltLenChanged": // RFC 7518 wants a salt as long as the hash. Only who has the key can make another, so nothing is forged by it.
				continue
			case "Figure20", "Figure27": // their keys say that they are for another algorithm than the signature's: refused, RFC 8725 3.1
				if got {
					t.Errorf("%d %s: a key is used for what it is not for", c.TcID, c.Comment)
				}
				continue
			}
			if got && c.Result == "invalid" {
				t.Errorf("%d %s %s: an invalid signature is believed", c.TcID, g.Comment, c.Comment)
			}
			if !got && c.Result == "valid" {
				t.Errorf("%d %s %s: a valid signature is refused", c.TcID, g.Comment, c.Comment)
			}
		}
	}
	if seen["valid"] < 30 || seen["invalid"] < 300 {
		t.Fatalf("only %v were tried", seen)
	}
}

func TestProjectsOfATokenAreChosenByName(t *testing.T) {
	i := newIssuer(t, "k1")
	a := i.trusted(func(c *token.Issuer) { c.Project, c.ProjectClaim = "", "https://acme.example/projects" })
	for _, c := range []struct {
		claim any
		asked stead.ProjectID
		want  stead.ProjectID
		kind  stead.Kind
	}{
		{[]string{"a", "b"}, "b", "b", ""}, {[]string{"a"}, "", "a", ""}, {"a", "", "a", ""},
		{[]string{"a", "b"}, "", "", stead.KindForbidden}, {[]string{"a"}, "b", "", stead.KindForbidden},
		{nil, "", "", stead.KindForbidden}, {nil, "a", "", stead.KindForbidden},
		{"stead:keys", "", "", stead.KindForbidden}, {"stead:keys", "stead:keys", "", stead.KindForbidden}, {[]string{""}, "", "", stead.KindForbidden},
	} {
		p, err := a.Authenticate(t.Context(), i.signed(map[string]any{"https://acme.example/projects": c.claim}), c.asked)
		wantKind(t, fmt.Sprint(c), err, c.kind)
		if err == nil && p.Project != c.want {
			t.Errorf("%v: %q", c, p.Project)
		}
	}
	if _, err := i.trusted().Authenticate(t.Context(), i.signed(nil), "proj_b"); stead.KindOf(err) != stead.KindForbidden {
		t.Errorf("a project that is not the issuer's: %v", err)
	}
}

func TestRolesAreFoundByPath(t *testing.T) {
	i := newIssuer(t, "k1")
	a := i.trusted(func(c *token.Issuer) {
		c.Rules = []token.Rule{{Claim: "realm_access.roles", Value: "ops", Role: "operator"}, {Role: "agent", Bound: true}}
	})
	for claim, want := range map[string]stead.Role{`{"roles":["ops"]}`: "operator", `{"roles":[]}`: "agent", `[]`: "agent", `{"roles":{"ops":1}}`: "agent"} {
		p, err := a.Authenticate(t.Context(), i.signed(map[string]any{"realm_access": json.RawMessage(claim)}), "")
		if err != nil || p.Role != want {
			t.Errorf("%s: %q, %v", claim, p.Role, err)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	i := newIssuer(t, "k1")
	a, ctx := i.trusted(), t.Context()
	old := i.signed(map[string]any{"exp": i.now.Add(48 * time.Hour).Unix()})
	if _, err := a.Authenticate(ctx, old, ""); err != nil {
		t.Fatal(err)
	}
	i.pass(time.Minute)
	first := i.keys[0]
	i.set(func() { i.keys = append([]jose.JSONWebKey{newKey(t, "k2")}, i.keys...) })
	if _, err := a.Authenticate(ctx, i.signed(nil), ""); err != nil {
		t.Errorf("a token with a new key: %v", err)
	}
	before := i.asked()
	for n := range 50 { // with invented keys nobody has an issuer asked
		_, err := a.Authenticate(ctx, i.by(newKey(t, fmt.Sprint("invented", n)), jose.ES256, nil), "")
		wantKind(t, "an invented key", err, stead.KindUnauthenticated)
	}
	if n := i.asked(); n != before {
		t.Errorf("the issuer was asked %d times for keys that nobody has", n-before)
	}
	i.set(func() { i.keys = i.keys[:1] }) // k1 is withdrawn
	i.pass(token.RefreshEvery)
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) { // it is read in the background
		_, err := a.Authenticate(ctx, i.by(first, jose.ES256, nil), "")
		if stead.KindOf(err) == stead.KindUnauthenticated {
			break
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("a withdrawn key still counts: %v", err)
		}
	}
}

// Where no token came for hours, nobody has looked whether keys were withdrawn: the first one that comes is not believed by them.
func TestAWithdrawnKeyIsNotBelievedAfterAQuietNight(t *testing.T) {
	i := newIssuer(t, "k1")
	a, ctx := i.trusted(), t.Context()
	if _, err := a.Authenticate(ctx, i.signed(nil), ""); err != nil {
		t.Fatal(err)
	}
	leaked := i.keys[0]
	i.set(func() { i.keys = []jose.JSONWebKey{newKey(t, "k2")} })
	i.pass(8 * time.Hour)
	_, err := a.Authenticate(ctx, i.by(leaked, jose.ES256, nil), "")
	wantKind(t, "a key that was withdrawn in the night", err, stead.KindUnauthenticated)
	if err == nil || !strings.Contains(err.Error(), "does not publish") {
		t.Errorf("what is wrong is not said: %v", err)
	}
	i.set(func() { i.down = true })
	i.pass(8 * time.Hour)
	if _, err := a.Authenticate(ctx, i.by(i.keys[0], jose.ES256, nil), ""); err != nil {
		t.Errorf("keys that were known, of an issuer that is away in the morning: %v", err)
	}
}

// Two issuers' people are two, however either writes its subs: corp:ada of an issuer without a prefix is not ada of corp.
func TestNoSubIsAnotherIssuersPerson(t *testing.T) {
	plain, corp := newIssuer(t, "k1"), newIssuer(t, "k1")
	c, d, e := plain.config(), corp.config(), corp.config()
	d.Prefix, e.URL, e.Prefix = "corp:", "https://third.example", "corp:eu:"
	a := token.New([]token.Issuer{c, d, e}, plain.Client(), plain.clock)
	for raw, want := range map[string]string{
		corp.signed(nil):  "corp:ada",
		plain.signed(nil): "ada",
		plain.signed(map[string]any{"sub": "corp"}):       "corp",
		plain.signed(map[string]any{"sub": "corp:ada"}):   "",
		corp.signed(map[string]any{"sub": "eu:ada"}):      "",
		corp.signed(map[string]any{"sub": "corp:eu:ada"}): "corp:corp:eu:ada",
	} {
		p, err := a.Authenticate(t.Context(), raw, "")
		if want == "" {
			wantKind(t, p.ID, err, stead.KindUnauthenticated)
		} else if err != nil || p.ID != want {
			t.Errorf("%q, %v; want %q", p.ID, err, want)
		}
	}
}

func TestAnIssuerThatIsAway(t *testing.T) {
	i := newIssuer(t, "k1")
	a, ctx := i.trusted(), t.Context()
	i.set(func() { i.down = true })
	long := i.signed(map[string]any{"exp": i.now.Add(48 * time.Hour).Unix()})
	for range 3 {
		_, err := a.Authenticate(ctx, long, "")
		wantKind(t, "keys that were never read", err, stead.KindUnavailable)
	}
	if n := i.asked(); n != 1 {
		t.Errorf("it was asked %d times within a moment", n)
	}
	i.set(func() { i.down = false })
	i.pass(token.RefreshLeast)
	if _, err := a.Authenticate(ctx, long, ""); err != nil {
		t.Errorf("it is back: %v", err)
	}
	i.set(func() { i.down = true })
	i.pass(token.KeepFor - time.Minute)
	if _, err := a.Authenticate(ctx, long, ""); err != nil {
		t.Errorf("keys that were known: %v", err)
	}
	i.pass(time.Minute)
	_, err := a.Authenticate(ctx, long, "")
	wantKind(t, "keys that are too old", err, stead.KindUnavailable)
	if err := a.Try(ctx); err == nil {
		t.Error("nothing is wrong with an issuer that is away")
	}
}

func TestDiscoveryIsTheIssuersOwn(t *testing.T) {
	i := newIssuer(t, "k1")
	i.set(func() { i.says = "https://evil.example" })
	_, err := i.trusted().Authenticate(t.Context(), i.signed(nil), "")
	wantKind(t, "a document of another issuer", err, stead.KindUnavailable)
	if err := i.trusted().Try(t.Context()); err == nil || !strings.Contains(err.Error(), "evil.example") {
		t.Errorf("what is wrong is not said: %v", err)
	}
	away := httptest.NewServer(http.RedirectHandler(i.URL+"/.well-known/openid-configuration", http.StatusFound))
	defer away.Close()
	a := token.New([]token.Issuer{{URL: away.URL, Audiences: []string{"stead"}}}, away.Client(), i.clock)
	if err := a.Try(t.Context()); err == nil {
		t.Error("a redirect is followed")
	}
}

func TestManyTokensFetchOnce(t *testing.T) {
	i := newIssuer(t, "k1")
	a, raw := i.trusted(), i.signed(nil)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if _, err := a.Authenticate(context.Background(), raw, ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := i.asked(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
}

func TestAKeyIsForItsAlgorithm(t *testing.T) {
	i := newIssuer(t, "k1")
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i.set(func() { i.keys = append(i.keys, jose.JSONWebKey{Key: k, KeyID: "r", Algorithm: "PS256", Use: "sig"}) })
	if _, err := i.trusted().Authenticate(t.Context(), i.by(i.keys[1], jose.PS256, nil), ""); err != nil {
		t.Error(err)
	}
	_, err = i.trusted().Authenticate(t.Context(), i.by(i.keys[1], jose.RS256, nil), "")
	wantKind(t, "RS256 with a key for PS256", err, stead.KindUnauthenticated)
}

func TestAddressesOfIssuers(t *testing.T) {
	for at, ok := range map[string]bool{
		"https://login.example.com/realms/a": true, "http://127.0.0.1:8080": true, "http://localhost/x": true, "http://[::1]:1": true,
		"http://login.example.com": false, "https://": false, "login.example.com": false, "https://u:p@login.example.com": false, "ftp://127.0.0.1": false, "": false, "https://a/#b": false,
	} {
		if err := token.CheckURL(at); (err == nil) != ok {
			t.Errorf("%q: %v", at, err)
		}
	}
}
