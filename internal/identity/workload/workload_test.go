package workload_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/identity/workload"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/tool"
)

// cluster is nodes that share a database and the key that seals.
type cluster struct {
	t         *testing.T
	documents *documenttest.Memory
	seal      *seal.Keys
	gate      policy.Authorizer
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	keys, err := seal.New(make([]byte, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{t, documenttest.NewMemory(), keys, policy.AllowLocal{}}
}

func (c *cluster) node(alg string) *workload.Issuer {
	return workload.New(workload.Config{TrustDomain: "acme.example", URL: "https://stead.acme.example/", Algorithm: alg, Documents: c.documents, Keys: c.seal, Policy: c.gate, Now: time.Now, Audiences: []string{"api"}})
}

var ada = workload.Bearer{
	Principal: stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada"}, Session: stead.SessionKey{Project: "one", Session: "sess_1"}, Agent: "agent_1", Turn: "turn_1_2",
}

func sign(t *testing.T, i *workload.Issuer, form workload.Form) string {
	t.Helper()
	tok, err := i.Sign(context.Background(), form, ada, "https://crm.acme.example", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return tok.Text
}

// published is the key set as verifiers get it.
func published(t *testing.T, i *workload.Issuer) (set jose.JSONWebKeySet) {
	t.Helper()
	raw, err := i.PublicKeys(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), `"d"`) {
		t.Fatal("a private key is published")
	}
	return set
}

// checked is a token's claims, if a key of the set signed it by the algorithm that it says.
func checked(text string, set jose.JSONWebKeySet, alg jose.SignatureAlgorithm) (map[string]any, error) {
	sig, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{alg})
	if err != nil {
		return nil, err
	}
	keys := set.Key(sig.Signatures[0].Header.KeyID)
	if len(keys) != 1 {
		return nil, errors.New("its key is not published")
	}
	payload, err := sig.Verify(keys[0])
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	return claims, json.Unmarshal(payload, &claims)
}

func TestWhatATokenSays(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA} {
		i := newCluster(t).node(string(alg))
		const spiffe = "spiffe://acme.example/project/one/agent/agent_1"
		for form, want := range map[workload.Form]struct{ sub, act string }{workload.Agent: {spiffe, ""}, workload.OnBehalfOf: {"project/one/user/ada", spiffe}} {
			c, err := checked(sign(t, i, form), published(t, i), alg)
			if err != nil {
				t.Fatal(err)
			}
			act, _ := c["act"].(map[string]any)
			if c["sub"] != want.sub || want.act != "" && act["sub"] != want.act || want.act == "" && act != nil {
				t.Errorf("%s: %v", form, c)
			}
			for name, want := range map[string]any{"iss": "https://stead.acme.example", "stead.dev/session": "sess_1", "stead.dev/turn": "turn_1_2", "stead.dev/project": "one", "stead.dev/agent": "agent_1"} {
				if c[name] != want {
					t.Errorf("%s: %s is %v", form, name, c[name])
				}
			}
			if aud := c["aud"].([]any); len(aud) != 1 || aud[0] != "https://crm.acme.example" {
				t.Errorf("it is for %v", aud)
			}
			if chain := c["stead.dev/chain"].([]any); len(chain) != 2 || chain[0] != "user:ada" || chain[1] != "agent:agent_1" {
				t.Errorf("the chain is %v", chain)
			}
			if life := c["exp"].(float64) - c["iat"].(float64); life != workload.Lifetime.Seconds() || c["nbf"].(float64) > c["iat"].(float64) {
				t.Errorf("it is valid for %v s", life)
			}
		}
	}
}

// Users' ids are those of their project: no two people have one subject, however they, and their projects, are called.
func TestSubjectsOfDifferentPeople(t *testing.T) {
	seen := map[string]string{}
	for _, project := range []stead.ProjectID{"one", "two", "one/user", "", "..", "x-6f6e65"} {
		for _, kind := range []stead.PrincipalKind{stead.PrincipalUser, stead.PrincipalService} {
			for _, id := range []string{"ada", "user/ada", "", "ada@acme.example", "one/user/ada"} {
				sub := workload.Subject(project, stead.Principal{Project: project, Kind: kind, ID: id})
				who := fmt.Sprintf("%s %q of %q", kind, id, project)
				if other, twice := seen[sub]; twice || strings.HasPrefix(sub, "spiffe:") {
					t.Errorf("%s is %s, and so is %s", who, sub, other)
				}
				seen[sub] = who
			}
		}
	}
}

// Names that are no segments of a SPIFFE id are written otherwise, and never as another's.
func TestSPIFFEIDs(t *testing.T) {
	i := newCluster(t).node("ES256")
	seen := map[string]string{}
	for _, project := range []stead.ProjectID{"one", "", ".", "..", "a/b", "a b", "x-61", "a", "ä", "a%2Fb", "x-", "one/agent/agent_1"} {
		id := i.SPIFFE(project, "agent_1")
		if other, twice := seen[id]; twice || strings.Count(id, "/") != 6 || strings.ContainsAny(id, "% ") {
			t.Errorf("%q is %s, and so is %q", project, id, other)
		}
		seen[id] = string(project)
	}
}

// All nodes sign with one key, also when they all make the first one at once.
func TestNodesShareTheirKeys(t *testing.T) {
	c := newCluster(t)
	const nodes = 8
	texts, wait := make([]string, nodes), sync.WaitGroup{}
	for n := range nodes {
		wait.Go(func() { texts[n] = sign(t, c.node("ES256"), workload.Agent) })
	}
	wait.Wait()
	set := published(t, c.node("ES256"))
	if len(set.Keys) != 1 {
		t.Errorf("there are %d keys", len(set.Keys))
	}
	for _, text := range texts {
		if _, err := checked(text, set, jose.ES256); err != nil {
			t.Error(err)
		}
	}
}

// Whoever read the key set at most CacheFor ago can check every token, for months: keys are published before they sign, and
// long enough afterwards. In the end old ones are gone.
func TestKeysAreReplacedWithOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.node("ES256"), c.node("ES256")
		kids, most := map[string]bool{}, 0
		const step = 6 * time.Hour
		for n := range int(3 * workload.SignFor / step) {
			old := published(t, b)
			time.Sleep(workload.CacheFor)
			text := sign(t, a, workload.Agent)
			if _, err := checked(text, old, jose.ES256); err != nil && len(kids) > 0 {
				t.Fatalf("after %d keys: %v", len(kids), err)
			}
			time.Sleep(workload.Lifetime)
			now := published(t, b)
			if _, err := checked(text, now, jose.ES256); err != nil {
				t.Fatal(err)
			}
			sig, _ := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
			kids[sig.Signatures[0].Header.KeyID] = true
			most = max(most, len(now.Keys))
			time.Sleep(step - workload.CacheFor - workload.Lifetime)
			if n == 0 { // so that keys change between the reading of a set and the signing
				time.Sleep(-7*time.Minute + step)
			}
		}
		if len(kids) < 3 || len(kids) > 4 || most != 2 {
			t.Errorf("%d keys signed, %d were published at once", len(kids), most)
		}
	})
}

// What was signed before the configuration named another algorithm can be checked on.
func TestAnotherAlgorithm(t *testing.T) {
	c := newCluster(t)
	before := sign(t, c.node("ES256"), workload.Agent)
	i := c.node("EdDSA")
	after := sign(t, i, workload.Agent)
	set := published(t, i)
	if _, err := checked(before, set, jose.ES256); err != nil {
		t.Error(err)
	}
	if _, err := checked(after, set, jose.EdDSA); err != nil {
		t.Error(err)
	}
}

func TestTheKeyIsSealed(t *testing.T) {
	c := newCluster(t)
	sign(t, c.node("ES256"), workload.Agent)
	other, err := seal.New([]byte(strings.Repeat("k", seal.KeyBytes)))
	if err != nil {
		t.Fatal(err)
	}
	c.seal = other
	_, err = c.node("ES256").Sign(t.Context(), workload.Agent, ada, "x", time.Time{})
	if stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("without the key that sealed it: %v", err)
	}
}

// gate refuses credentials, and remembers what was asked.
type gate struct {
	mu     sync.Mutex
	refuse bool
	asked  []policy.Request
}

func (g *gate) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, req)
	return policy.Decision{Allow: !g.refuse, By: "test"}, nil
}

func TestAToolServersCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := newCluster(t), &gate{}
		c.gate = g
		i := c.node("ES256")
		w := workload.NewWorkloads(i, map[string]workload.Server{"crm": {URL: "https://CRM.acme.example/mcp", Use: workload.Use{Name: "crm", Form: workload.Agent, Audience: "crm"}}}, nil)
		turn := "turn_1_2"
		about := func(context.Context) (policy.Request, string, error) {
			return policy.Request{Principal: ada.Principal, Session: ada.Session, Agent: ada.Agent, Acting: true}, turn, nil
		}
		if w.Server("shop", ada.Session, about) != nil {
			t.Error("a server that wants none has one")
		}
		cred := w.Server("crm", ada.Session, about)
		token := func(refused string) string {
			t.Helper()
			text, err := cred.Token(t.Context(), refused)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		first := token("")
		if token("") != first {
			t.Error("a token that is good is not sent again")
		}
		if asked := g.asked[0]; len(g.asked) != 2 || asked.Effect != policy.CredentialUse || asked.Resource != "workload/crm" || asked.Destination != "crm.acme.example:443" || !asked.Acting {
			t.Errorf("asked: %+v", g.asked)
		}
		if token(first) == first {
			t.Error("a token that was refused is sent again")
		}
		second := token("")
		turn = "turn_1_9"
		if third := token(""); third == second {
			t.Error("the next turn has the token of the one before")
		}
		time.Sleep(workload.Lifetime)
		turn = "turn_1_2"
		if token("") == second {
			t.Error("a token that has expired is sent")
		}
		g.refuse = true
		_, err := cred.Token(t.Context(), "")
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Kind != stead.KindForbidden || e.Code != tool.CodeCredential {
			t.Errorf("refused: %v", err)
		}
		other := w.Server("crm", stead.SessionKey{Project: "one", Session: "sess_2"}, about)
		if other.Key() == cred.Key() {
			t.Error("two sessions share a connection")
		}
	})
}

// TestATokenOfASubagent names who acts, and in whose name each of them does, up to the agent and the user.
func TestATokenOfASubagent(t *testing.T) {
	c := newCluster(t)
	i := c.node("ES256")
	about := func(ctx context.Context) (policy.Request, string, error) {
		return policy.Request{Principal: ada.Principal, Session: ada.Session, Agent: ada.Agent, Subagents: policy.SubagentsOf(ctx)}, "", nil
	}
	v := workload.NewWorkloads(i, nil, &workload.Variable{Hosts: []string{"api.acme.example"}, Use: workload.Use{Name: "TOKEN", Form: workload.OnBehalfOf, Audience: "api"}}).Variables(about)[0]
	const agent = "spiffe://acme.example/project/one/agent/agent_1"
	for want, ids := range map[string][]string{
		`{"sub":"` + agent + `"}`: nil,
		`{"act":{"act":{"sub":"` + agent + `"},"sub":"` + agent + `/subagent/s_1"},"sub":"` + agent + `/subagent/s_1/subagent/s_2"}`: {"s_1", "s_2"},
	} {
		text, err := v.Value(policy.BySubagents(t.Context(), ids), "api.acme.example:443")
		if err != nil {
			t.Fatal(err)
		}
		claims, err := checked(text, published(t, i), jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(claims["act"])
		if chain := claims["stead.dev/chain"].([]any); string(got) != want || claims["sub"] != "project/one/user/ada" || len(chain) != 2+len(ids) {
			t.Errorf("of %v the token says %s, %v", ids, got, claims)
		}
	}
}

func TestAVariableOfEnvironments(t *testing.T) {
	c := newCluster(t)
	i := c.node("ES256")
	about := func(context.Context) (policy.Request, string, error) {
		return policy.Request{Principal: ada.Principal, Session: ada.Session, Agent: ada.Agent}, "", nil
	}
	if len(workload.NewWorkloads(i, nil, nil).Variables(about)) > 0 {
		t.Error("there is one that nobody configured")
	}
	v := workload.NewWorkloads(i, nil, &workload.Variable{Hosts: []string{"api.acme.example"}, Use: workload.Use{Name: "TOKEN", Form: workload.OnBehalfOf, Audience: "api"}}).Variables(about)[0]
	if hidden, err := v.Mask(t.Context()); hidden != "" || err != nil {
		t.Errorf("hidden before it was sent: %q, %v", hidden, err)
	}
	was := v.Changes()
	text, err := v.Value(t.Context(), "api.acme.example:443")
	if err != nil {
		t.Fatal(err)
	}
	if claims, err := checked(text, published(t, i), jose.ES256); err != nil || claims["sub"] != "project/one/user/ada" {
		t.Errorf("%v, %v", claims, err)
	}
	if hidden, _ := v.Mask(t.Context()); hidden != text || v.Changes() == was || v.Variable != "TOKEN" || len(v.Hosts) == 0 {
		t.Errorf("hidden: %q of %+v", hidden, v)
	}
}

// Who may write a session has its agent act for them, towards the audiences that the operator named, and for no longer than
// what they came with counts.
func TestAnExchange(t *testing.T) {
	c := newCluster(t)
	i := c.node("ES256")
	p := stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "bob", Role: "agent"}
	tok, err := i.Exchange(t.Context(), p, time.Now().Add(time.Minute), "sess_1", "agent_1", "api")
	if err != nil {
		t.Fatal(err)
	}
	claims, err := checked(tok.Text, published(t, i), jose.ES256)
	if err != nil || claims["sub"] != "project/one/user/bob" || claims["stead.dev/session"] != "sess_1" || claims["exp"].(float64)-claims["iat"].(float64) > 60 {
		t.Errorf("%v, %v", claims, err)
	}
	for _, audience := range []string{"", "crm", "api/", "API"} {
		if _, err := i.Exchange(t.Context(), p, time.Time{}, "sess_1", "agent_1", audience); stead.KindOf(err) != stead.KindForbidden {
			t.Errorf("for %q: %v", audience, err)
		}
	}
	g := &gate{refuse: true}
	c.gate = g
	if _, err := c.node("ES256").Exchange(t.Context(), p, time.Time{}, "sess_1", "agent_1", "api"); stead.KindOf(err) != stead.KindForbidden || g.asked[0].Effect != policy.SessionWrite {
		t.Errorf("refused: %v, asked: %+v", err, g.asked)
	}
}
