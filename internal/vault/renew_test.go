package vault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/vault"
)

// issuer is a token endpoint that takes each refresh token once.
type issuer struct {
	*httptest.Server
	mu      sync.Mutex
	current string // the refresh token that it takes
	given   int    // tokens
	asked   int
	slow    time.Duration
	answer  func(w http.ResponseWriter) bool // in place of a token; false: go on
	lasts   int                              // seconds
	last    *http.Request
}

func openIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{current: "refresh-token-0", lasts: 3600}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // what it lacks is missed below
		time.Sleep(i.slow)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.asked++
		i.last = r
		w.Header().Set("Content-Type", "application/json")
		if i.answer != nil && i.answer(w) {
			return
		}
		if r.PostForm.Get("grant_type") != "refresh_token" || r.PostForm.Get("refresh_token") != i.current {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"%s was used before"}`, r.PostForm.Get("refresh_token"))
			return
		}
		i.given++
		i.current = fmt.Sprintf("refresh-token-%d", i.given)
		fmt.Fprintf(w, `{"access_token":"access-token-%d","token_type":"Bearer","expires_in":%d,"refresh_token":"%s"}`, i.given, i.lasts, i.current)
	}))
	t.Cleanup(i.Close)
	return i
}

// oauth is a credential whose token has ended; rest is more of its refresh.
func (i *issuer) oauth(rest string) string {
	return `{"type":"mcp_oauth","access_token":"access-token-0","mcp_server_url":"https://mcp.example","expires_at":"2020-01-01T00:00:00Z",
		"refresh":{"client_id":"client","refresh_token":"refresh-token-0","token_endpoint":"` + i.URL + `/token","token_endpoint_auth":{"type":"none"}` + rest + `}}`
}

func bearerOf(t *testing.T, s *vault.Service, v string) func(refused string) (string, error) {
	t.Helper()
	c, err := s.Bearer(t.Context(), inSession, []string{v}, tool.Wanted{ServerURL: "https://mcp.example"}, byAgent)
	if err != nil || c == nil {
		t.Fatalf("%v, %v", c, err)
	}
	return func(refused string) (string, error) { return c.Token(t.Context(), refused) }
}

func TestATokenIsRenewedBeforeItsEndAndWhenItIsRefused(t *testing.T) {
	i := openIssuer(t)
	gate := &asked{}
	now := time.Now()
	s := vault.NewService(vault.Config{Documents: documenttest.NewMemory(), Keys: keys(t, 1), Policy: gate, Now: func() time.Time { return now }})
	v, ids := with(t, s, owner, i.oauth(`,"scope":"a b","resource":"https://mcp.example"`))
	token := bearerOf(t, s, v)
	for _, step := range []struct {
		name, refused, want string
		later               time.Duration
	}{
		{"it had ended", "", "access-token-1", 0},
		{"it lasts", "", "access-token-1", 58 * time.Minute},
		{"it ends soon", "", "access-token-2", 90 * time.Second},
		{"it was refused", "access-token-2", "access-token-3", 0},
		{"another call was refused with the one before", "access-token-2", "access-token-3", 0},
	} {
		now = now.Add(step.later)
		if got, err := token(step.refused); got != step.want || err != nil {
			t.Errorf("%s: %q, %v", step.name, got, err)
		}
	}
	if i.last.PostForm.Get("client_id") != "client" || i.last.PostForm.Get("scope") != "a b" || i.last.PostForm.Get("resource") != "https://mcp.example" || i.last.Header.Get("Authorization") != "" {
		t.Errorf("asked with %v", i.last.PostForm)
	}
	renewals := 0
	for _, r := range gate.requests {
		if strings.HasPrefix(r.Destination, "127.0.0.1:") && r.Resource == v+"/"+ids[0] {
			renewals++
		}
	}
	if renewals != 3 {
		t.Errorf("%d renewals were decided, of 3", renewals)
	}
	c, err := s.Credential(t.Context(), owner, v, ids[0])
	if err != nil || c.Auth.ExpiresAt != now.Add(time.Hour).UnixMilli() {
		t.Errorf("it ends at %d, %v", c.Auth.ExpiresAt, err)
	}
}

func TestAShortTokenIsUsedForMostOfItsLife(t *testing.T) {
	i := openIssuer(t)
	i.lasts = 20
	s := open(t, documenttest.NewMemory(), policy.AllowLocal{})
	v, _ := with(t, s, owner, i.oauth(""))
	token := bearerOf(t, s, v)
	for range 3 {
		if got, err := token(""); got != "access-token-1" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestHowAClientProvesWhoItIs(t *testing.T) {
	for kind, check := range map[string]func(*http.Request) bool{
		"client_secret_basic": func(r *http.Request) bool {
			user, password, _ := r.BasicAuth()
			return user == "client" && password == "s%26cret" && !r.PostForm.Has("client_secret") // form-encoded in it: RFC 6749, 2.3.1
		},
		"client_secret_post": func(r *http.Request) bool {
			return r.Header.Get("Authorization") == "" && r.PostForm.Get("client_id") == "client" && r.PostForm.Get("client_secret") == "s&cret"
		},
	} {
		i := openIssuer(t)
		s := open(t, documenttest.NewMemory(), policy.AllowLocal{})
		v, _ := with(t, s, owner, strings.Replace(i.oauth(""), `{"type":"none"}`, `{"type":"`+kind+`","client_secret":"s&cret"}`, 1))
		if got, err := bearerOf(t, s, v)(""); got != "access-token-1" || err != nil || !check(i.last) {
			t.Errorf("%s: %q, %v, asked with %v %v", kind, got, err, i.last.Header, i.last.PostForm)
		}
	}
}

// A refusal is for a person: it is on the credential until that is rotated, and nobody asks again.
func TestARefusedRenewalWaitsForAPerson(t *testing.T) {
	i := openIssuer(t)
	i.current = "of-somebody-else"
	s := open(t, documenttest.NewMemory(), policy.AllowLocal{})
	v, ids := with(t, s, owner, i.oauth(""))
	token := bearerOf(t, s, v)
	for range 2 {
		_, err := token("")
		unusable(t, "refused", err, stead.KindForbidden, "authorized anew: the token endpoint "+strings.TrimPrefix(i.URL, "http://")+" answered invalid_grant")
		if strings.Contains(fmt.Sprint(err), "refresh-token") {
			t.Errorf("the error quotes the refresh token: %v", err)
		}
	}
	if i.asked != 1 {
		t.Errorf("the endpoint was asked %d times", i.asked)
	}
	c, err := s.Credential(t.Context(), owner, v, ids[0])
	if err != nil || !strings.Contains(c.Refused, "invalid_grant") {
		t.Errorf("%+v, %v", c, err)
	}
	rotate, err := vault.DecodeRotation(parsed(t, `{"type":"mcp_oauth","access_token":"access-token-anew","expires_at":"2099-01-01T00:00:00Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	if c, err = s.UpdateCredential(t.Context(), owner, v, ids[0], vault.Change{Rotate: rotate}); err != nil || c.Refused != "" {
		t.Fatalf("%+v, %v", c, err)
	}
	if got, err := token(""); got != "access-token-anew" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// An endpoint that is away stops nothing while the token is valid, and is asked again.
func TestAnEndpointThatIsAway(t *testing.T) {
	i := openIssuer(t)
	away := true
	i.answer = func(w http.ResponseWriter) bool {
		if away {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return away
	}
	s := open(t, documenttest.NewMemory(), policy.AllowLocal{})
	soon, _ := json.Marshal(time.Now().Add(30 * time.Second).UTC().Format(time.RFC3339)) // a text always does
	v, _ := with(t, s, owner, strings.Replace(i.oauth(""), `"2020-01-01T00:00:00Z"`, string(soon), 1))
	ended, _ := with(t, s, owner, i.oauth(""))
	if got, err := bearerOf(t, s, v)(""); got != "access-token-0" || err != nil {
		t.Errorf("one that is valid: %q, %v", got, err)
	}
	_, err := bearerOf(t, s, ended)("")
	isKind(t, "one that has ended", err, stead.KindUnavailable)
	away = false
	if got, err := bearerOf(t, s, v)(""); got != "access-token-1" || err != nil {
		t.Errorf("when it is back: %q, %v", got, err)
	}
}

// failing is a store that can't store what a renewal brought.
type failing struct {
	document.Store
	down func(d document.Document) bool
}

func (f *failing) UpdateDocument(ctx context.Context, d document.Document) (document.Document, error) {
	if f.down(d) {
		return d, stead.Errorf(stead.KindUnavailable, "the database is away")
	}
	return f.Store.UpdateDocument(ctx, d)
}

func TestATokenThatIsNotStoredIsNotUsed(t *testing.T) {
	i := openIssuer(t)
	documents := &failing{documenttest.NewMemory(), func(d document.Document) bool { return d.Version >= 3 }} // 2 is the lease
	s := open(t, documents, policy.AllowLocal{})
	v, _ := with(t, s, owner, i.oauth(""))
	if got, err := bearerOf(t, s, v)(""); got != "" || stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("%q, %v", got, err)
	}
}

// Two nodes share a database. Of many calls on both that find the token spent, one renews it.
func TestOneRenewalAmongNodes(t *testing.T) {
	for name, store := range map[string]func(*testing.T) document.Store{
		"memory": func(*testing.T) document.Store { return documenttest.NewMemory() },
		"PostgreSQL": func(t *testing.T) document.Store {
			store, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			return store
		},
	} {
		t.Run(name, func(t *testing.T) { oneRenewal(t, store(t)) })
	}
}

func oneRenewal(t *testing.T, documents document.Store) {
	i := openIssuer(t)
	i.slow = 100 * time.Millisecond
	nodes := []*vault.Service{open(t, documents, policy.AllowLocal{}), open(t, documents, policy.AllowLocal{})}
	v, _ := with(t, nodes[0], owner, i.oauth(""))
	var all sync.WaitGroup
	for n := range 20 {
		token := bearerOf(t, nodes[n%2], v)
		all.Go(func() {
			if got, err := token(""); got != "access-token-1" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	all.Wait()
	if i.asked != 1 {
		t.Errorf("the endpoint was asked %d times", i.asked)
	}
}
