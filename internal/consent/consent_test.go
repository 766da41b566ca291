package consent_test

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/oauth/oauthtest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/sqlite"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/vault"
)

const project = "p"

var (
	ada = stead.Principal{Project: project, Kind: stead.PrincipalUser, ID: "ada"}
	bob = stead.Principal{Project: project, Kind: stead.PrincipalUser, ID: "bob"}
)

// desk is nodes that share a database, with an authorization server and a tool server behind it.
type desk struct {
	t         *testing.T
	documents document.Store
	authority *oauthtest.Authority
	tools     *oauthtest.Tools
	cfg       consent.Config
	nodes     [2]*consent.Service
	vaults    *vault.Service
	vault     string
	moved     atomic.Int64 // nanoseconds that the clock is ahead

	mu      sync.Mutex
	waiting map[string]bool   // consents that a session waits for
	told    []consent.Outcome // of those that waited
	gate    func(policy.Request) bool
	asked   []policy.Request
}

// on runs a test on both databases.
func on(t *testing.T, test func(d *desk)) {
	for name, open := range map[string]func(t *testing.T) document.Store{
		"sqlite": func(t *testing.T) document.Store {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), sqlite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
		"postgres": func(t *testing.T) document.Store {
			s, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(openDesk(t, open(t))) })
	}
}

// Decide implements policy.Authorizer.
func (d *desk) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, req)
	return policy.Decision{Allow: d.gate == nil || d.gate(req), By: "policy"}, nil
}

func openDesk(t *testing.T, documents document.Store) *desk {
	t.Helper()
	d := &desk{t: t, documents: documents, authority: oauthtest.NewAuthority(false), waiting: map[string]bool{}}
	t.Cleanup(d.authority.Close)
	d.tools = oauthtest.NewTools(d.authority, false)
	t.Cleanup(d.tools.Close)
	keys, err := seal.New(bytes.Repeat([]byte{7}, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	hc := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	d.vaults = vault.NewService(vault.Config{Documents: documents, Keys: keys, Policy: d, Now: d.now, HTTP: hc})
	d.cfg = consent.Config{
		Documents: documents, Keys: keys, Policy: d, Vaults: d.vaults, Now: d.now, HTTP: hc, Base: "https://stead.example",
		Waits: d.waits, Tell: d.tell,
	}
	for i := range d.nodes {
		d.nodes[i] = consent.NewService(d.cfg)
	}
	v, err := d.vaults.Create(t.Context(), ada, vault.Fields{Name: "v"}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	d.vault = v.ID
	return d
}

func (d *desk) now() time.Time { return time.Now().Add(time.Duration(d.moved.Load())) }

func (d *desk) later(by time.Duration) { d.moved.Add(int64(by)) }

func (d *desk) waits(_ context.Context, key stead.SessionKey, id string) (policy.Request, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return policy.Request{Principal: ada, Session: key, Acting: true, Behind: []stead.Principal{ada}}, d.waiting[id], nil
}

func (d *desk) tell(_ context.Context, o consent.Outcome) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.waiting[o.Consent] {
		return false, nil
	}
	delete(d.waiting, o.Consent)
	d.told = append(d.told, o)
	return true, nil
}

// ask lets a user's session ask.
func (d *desk) ask(p stead.Principal, session stead.SessionID) consent.Page {
	d.t.Helper()
	key := stead.SessionKey{Project: project, Session: session}
	page, err := d.nodes[0].Ask(d.t.Context(), consent.Question{Request: policy.Request{Principal: p, Session: key, Acting: true, Behind: []stead.Principal{p}}, Vault: d.vault, Label: "guarded", ServerURL: d.tools.URL + "/mcp"})
	if err != nil || page.ID == "" {
		d.t.Fatalf("%+v %v", page, err)
	}
	d.mu.Lock()
	d.waiting[page.ID] = true
	d.mu.Unlock()
	return page
}

func (d *desk) ticket(page consent.Page) string {
	u, err := url.Parse(d.nodes[1].Link(project, page.ID))
	if err != nil {
		return ""
	}
	return u.Query().Get("ticket")
}

// answer goes the way of a user's browser, up to where it comes back to.
func (d *desk) answer(page consent.Page) consent.Answer {
	d.t.Helper()
	way, err := d.nodes[0].Begin(d.t.Context(), d.ticket(page))
	if err != nil {
		d.t.Fatal(err)
	}
	return d.back(way)
}

func (d *desk) back(way consent.Way) consent.Answer {
	d.t.Helper()
	hc := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := hc.Get(way.URL)
	if err != nil {
		d.t.Fatal(err)
	}
	res.Body.Close()
	to, err := res.Location()
	if err != nil {
		d.t.Fatalf("status %d: %v", res.StatusCode, err)
	}
	q := to.Query()
	return consent.Answer{
		Tag: path.Base(to.Path), State: q.Get("state"), Code: q.Get("code"), Error: q.Get("error"), Issuer: q.Get("iss"),
		Cookie: func(name string) string { return map[string]string{way.Cookie: way.Browser}[name] },
	}
}

// finish takes an answer at a node.
func (d *desk) finish(node int, a consent.Answer) (consent.Shown, error) {
	return d.nodes[node].Finish(d.t.Context(), a)
}

// ends are the outcomes that sessions were told.
func (d *desk) ends() []consent.Outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]consent.Outcome(nil), d.told...)
}

// token is the one that a user's session would send; "": none.
func (d *desk) token(p stead.Principal) string {
	d.t.Helper()
	key := stead.SessionKey{Project: project, Session: "sess_any"}
	c, err := d.vaults.Bearer(d.t.Context(), key, []string{d.vault}, tool.Wanted{ServerURL: d.tools.URL + "/mcp", For: p, Consents: true}, func(context.Context) (policy.Request, error) {
		return policy.Request{Principal: p, Session: key, Acting: true, Behind: []stead.Principal{p}}, nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	text, err := c.Token(d.t.Context(), "")
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}

// count are codes that were exchanged, and requests that the token endpoint refused.
func (d *desk) count() (granted, refused int) {
	d.authority.Do(func(a *oauthtest.Authority) { granted, refused = a.Granted, a.Refused })
	return
}

// A state counts once, whoever brings it and to whichever node, and the token is one user's.
func TestAnAnswerCountsOnce(t *testing.T) {
	on(t, func(d *desk) {
		a := d.answer(d.ask(ada, "sess_1"))
		var given atomic.Int64
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if shown, err := d.finish(i%2, a); err == nil && shown.Status == consent.Given {
					given.Add(1)
				} else if stead.KindOf(err) != stead.KindNotFound {
					d.t.Errorf("%+v %v", shown, err)
				}
			})
		}
		all.Wait()
		if granted, refused := d.count(); given.Load() != 1 || granted != 1 || refused != 0 {
			d.t.Errorf("given %d times; the token endpoint gave %d and refused %d", given.Load(), granted, refused)
		}
		if ends := d.ends(); len(ends) != 1 || ends[0].Status != consent.Given || ends[0].By != ada {
			d.t.Errorf("told %+v", ends)
		}
		if d.token(ada) == "" || d.token(bob) != "" {
			d.t.Error("the token is not ada's alone")
		}
		if _, err := d.finish(0, a); stead.KindOf(err) != stead.KindNotFound {
			d.t.Errorf("replayed: %v", err)
		}
	})
}

// What is not the answer to the question that was asked, in the browser in which it was, gives nobody anything; the right one
// still counts afterwards.
func TestAnswersThatAreNone(t *testing.T) {
	on(t, func(d *desk) {
		page := d.ask(ada, "sess_1")
		right := d.answer(page)
		others := d.answer(d.ask(bob, "sess_2"))
		none := func(string) string { return "" }
		for name, change := range map[string]func(a *consent.Answer){
			"another browser":              func(a *consent.Answer) { a.Cookie = none },
			"another user's browser":       func(a *consent.Answer) { a.Cookie = others.Cookie },
			"another issuer":               func(a *consent.Answer) { a.Issuer = "https://evil.example" },
			"no issuer, which is promised": func(a *consent.Answer) { a.Issuer = "" },
			"another issuer's address":     func(a *consent.Answer) { a.Tag = consent.Tag("https://evil.example") },
			"neither code nor error":       func(a *consent.Answer) { a.Code = "" },
			"a state that was made up":     func(a *consent.Answer) { a.State = strings.Repeat("A", len(a.State)) },
			"no state":                     func(a *consent.Answer) { a.State = "" },
			"a ticket as state":            func(a *consent.Answer) { a.State = d.ticket(page) },
			"a state of which a bit fell":  func(a *consent.Answer) { b := []byte(a.State); b[len(b)/2] ^= 1; a.State = string(b) },
			"somebody else's state":        func(a *consent.Answer) { a.State = others.State },
		} {
			a := right
			change(&a)
			if shown, err := d.finish(0, a); err == nil {
				d.t.Errorf("%s: %+v", name, shown)
			}
		}
		if granted, refused := d.count(); granted+refused != 0 || len(d.ends()) != 0 {
			d.t.Fatalf("the token endpoint was asked, and gave %d", granted)
		}
		own, other := d.ticket(page), d.ticket(consent.Page{ID: "consent_" + strings.Repeat("0", 32)})
		half := len(own) / 2
		for name, ticket := range map[string]string{"a state": right.State, "of another": other, "cut": own[:half], "mended": own[:half] + other[half:], "none": "", "empty": "e30"} {
			if _, err := d.nodes[0].Show(d.t.Context(), ticket); stead.KindOf(err) != stead.KindNotFound {
				d.t.Errorf("a ticket that is %s opens the page: %v", name, err)
			}
		}
		if shown, err := d.finish(1, right); err != nil || shown.Status != consent.Given {
			d.t.Errorf("the right one: %+v %v", shown, err)
		}
	})
}

// A code of another user, injected into the answer, is bound to another verifier: the token endpoint refuses it.
func TestACodeOfSomebodyElseIsOfNoUse(t *testing.T) {
	on(t, func(d *desk) {
		mine, stolen := d.answer(d.ask(ada, "sess_1")), d.answer(d.ask(bob, "sess_2"))
		mine.Code = stolen.Code
		shown, err := d.finish(0, mine)
		if err != nil || shown.Status != consent.Refused || !strings.Contains(shown.Reason, "invalid_grant") || d.token(ada) != "" {
			d.t.Errorf("%+v %v", shown, err)
		}
	})
}

// The last way from a page counts; a ticket and a state end with their times, and with the wait.
func TestTheTimesOfAConsent(t *testing.T) {
	on(t, func(d *desk) {
		page := d.ask(ada, "sess_1")
		first, last := d.answer(page), d.answer(page)
		if _, err := d.finish(0, first); stead.KindOf(err) != stead.KindNotFound {
			d.t.Errorf("the way before: %v", err)
		}
		d.later(consent.BeginFor)
		if _, err := d.finish(0, last); stead.KindOf(err) != stead.KindNotFound {
			d.t.Errorf("too late: %v", err)
		}
		again := d.answer(page)
		d.mu.Lock()
		delete(d.waiting, page.ID) // the session was deleted, or its turn cancelled
		d.mu.Unlock()
		if _, err := d.finish(0, again); stead.KindOf(err) != stead.KindNotFound {
			d.t.Errorf("nobody waits: %v", err)
		}
		if _, err := d.nodes[0].Begin(d.t.Context(), d.ticket(page)); stead.KindOf(err) != stead.KindNotFound {
			d.t.Errorf("nobody waits, and the page leads on: %v", err)
		}
		over := d.ask(ada, "sess_2")
		d.later(consent.Lifetime)
		for _, what := range []func() error{
			func() error { _, err := d.nodes[0].Show(d.t.Context(), d.ticket(over)); return err },
			func() error { _, err := d.nodes[0].Begin(d.t.Context(), d.ticket(over)); return err },
		} {
			if err := what(); stead.KindOf(err) != stead.KindNotFound {
				d.t.Errorf("after its time: %v", err)
			}
		}
		if granted, refused := d.count(); granted+refused > 0 {
			d.t.Errorf("the token endpoint was asked %d times", granted+refused)
		}
		if n, err := d.nodes[0].Sweep(d.t.Context()); n != 2 || err != nil {
			d.t.Errorf("swept %d %v", n, err)
		}
		if n, err := d.nodes[0].Sweep(d.t.Context()); n != 0 || err != nil {
			d.t.Errorf("swept %d more %v", n, err)
		}
	})
}

// A user who says no is believed, in words that can be shown.
func TestAUserSaysNo(t *testing.T) {
	on(t, func(d *desk) {
		d.authority.Do(func(a *oauthtest.Authority) { a.Deny = true })
		shown, err := d.finish(0, d.answer(d.ask(ada, "sess_1")))
		if err != nil || shown.Status != consent.Refused || shown.Reason != "The user did not allow it." {
			d.t.Errorf("%+v %v", shown, err)
		}
		if ends := d.ends(); len(ends) != 1 || ends[0].Status != consent.Refused {
			d.t.Errorf("%+v", ends)
		}
		if granted, refused := d.count(); granted+refused > 0 {
			d.t.Error("the token endpoint was asked")
		}
	})
}

// One consent ends the waits of all sessions of its user for the same server and vault, and of nobody else's.
func TestOneConsentServesAllOfAUsersSessions(t *testing.T) {
	on(t, func(d *desk) {
		one, two, other := d.ask(ada, "sess_1"), d.ask(ada, "sess_2"), d.ask(bob, "sess_3")
		late := d.answer(two)
		if _, err := d.finish(0, d.answer(one)); err != nil {
			d.t.Fatal(err)
		}
		told := map[string]bool{}
		for _, o := range d.ends() {
			told[o.Consent] = o.Status == consent.Given
		}
		if len(told) != 2 || !told[one.ID] || !told[two.ID] || told[other.ID] {
			d.t.Errorf("told %v", told)
		}
		if shown, err := d.nodes[1].Show(d.t.Context(), d.ticket(two)); err != nil || shown.Status != consent.Given {
			d.t.Errorf("the page of the other: %+v %v", shown, err)
		}
		if _, err := d.finish(0, late); stead.KindOf(err) != stead.KindNotFound {
			d.t.Errorf("an answer that came later: %v", err)
		}
		if granted, _ := d.count(); granted != 1 {
			d.t.Errorf("%d codes were exchanged", granted)
		}
	})
}
