package consent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/oauth/oauthtest"
	"github.com/stead-dev/stead/internal/policy"
)

// A node that is frozen, or dies, between the code and the token: another one says so after a while, and the session asks anew. What
// the frozen one gets nevertheless nobody waits for, and it is not stored.
func TestANodeIsFrozenWithACode(t *testing.T) {
	on(t, func(d *desk) {
		held, go_on := make(chan struct{}), make(chan struct{})
		d.authority.Do(func(a *oauthtest.Authority) { a.AtToken = func() { close(held); <-go_on } })
		a := d.answer(d.ask(ada, "sess_1"))
		ended := make(chan error, 1)
		go func() { _, err := d.finish(0, a); ended <- err }()
		<-held
		if n, err := d.nodes[1].Sweep(d.t.Context()); n != 0 || err != nil || len(d.ends()) != 0 {
			d.t.Errorf("it was given up at once: %d %v", n, err)
		}
		if _, err := d.finish(1, a); stead.KindOf(err) != stead.KindNotFound {
			d.t.Errorf("another node took the same code: %v", err)
		}
		d.later(time.Minute)
		if _, err := d.nodes[1].Sweep(d.t.Context()); err != nil {
			d.t.Fatal(err)
		}
		ends := d.ends()
		if len(ends) != 1 || ends[0].Status != consent.Again || !strings.Contains(ends[0].Reason, "used up") {
			d.t.Fatalf("told %+v", ends)
		}
		close(go_on)
		if err := <-ended; stead.KindOf(err) != stead.KindNotFound {
			d.t.Errorf("the frozen node: %v", err)
		}
		if d.token(ada) != "" {
			d.t.Error("what came nevertheless is stored")
		}
		if len(d.ends()) != 1 {
			d.t.Errorf("told twice: %+v", d.ends())
		}
	})
}

// The answer to a code is lost on its way: nobody knows whether it was taken, and the user is asked again.
func TestTheAnswerToACodeIsLost(t *testing.T) {
	on(t, func(d *desk) {
		d.authority.Do(func(a *oauthtest.Authority) { a.LoseCode = true })
		shown, err := d.finish(0, d.answer(d.ask(ada, "sess_1")))
		if err != nil || shown.Status != consent.Again {
			d.t.Fatalf("%+v %v", shown, err)
		}
		d.authority.Do(func(a *oauthtest.Authority) { a.LoseCode = false })
		if shown, err := d.finish(0, d.answer(d.ask(ada, "sess_1"))); err != nil || shown.Status != consent.Given || d.token(ada) == "" {
			d.t.Errorf("%+v %v", shown, err)
		}
	})
}

// A session whose question comes into its journal behind the answer to it is told, by Sweep; one that does not wait at all is
// forgotten.
func TestASessionIsToldLater(t *testing.T) {
	on(t, func(d *desk) {
		one, two := d.ask(ada, "sess_1"), d.ask(ada, "sess_2")
		d.mu.Lock()
		delete(d.waiting, two.ID) // not yet
		d.mu.Unlock()
		if _, err := d.finish(0, d.answer(one)); err != nil {
			d.t.Fatal(err)
		}
		if len(d.ends()) != 1 {
			d.t.Fatalf("%+v", d.ends())
		}
		d.mu.Lock()
		d.waiting[two.ID] = true
		d.mu.Unlock()
		d.later(consent.SweepEvery)
		if n, err := d.nodes[1].Sweep(d.t.Context()); n != 1 || err != nil {
			d.t.Errorf("swept %d %v", n, err)
		}
		if ends := d.ends(); len(ends) != 2 || ends[1].Consent != two.ID || ends[1].Status != consent.Given {
			d.t.Errorf("%+v", ends)
		}
		if n, err := d.nodes[1].Sweep(d.t.Context()); n != 0 || err != nil {
			d.t.Errorf("swept %d %v", n, err)
		}
	})
}

// An authorization server that forgot its client: the next question registers a new one.
func TestAForgottenClientIsRegisteredAnew(t *testing.T) {
	on(t, func(d *desk) {
		a := d.answer(d.ask(ada, "sess_1"))
		d.authority.Do(func(a *oauthtest.Authority) { clear(a.Clients) })
		if shown, err := d.finish(0, a); err != nil || shown.Status != consent.Again {
			d.t.Fatalf("%+v %v", shown, err)
		}
		if shown, err := d.finish(0, d.answer(d.ask(ada, "sess_1"))); err != nil || shown.Status != consent.Given {
			d.t.Errorf("%+v %v", shown, err)
		}
		d.authority.Do(func(a *oauthtest.Authority) {
			if a.Registered != 2 {
				d.t.Errorf("registered %d times", a.Registered)
			}
		})
	})
}

// Policies are asked before anybody is, and before a code is redeemed: what they forbid does not happen, and each step is recorded.
func TestPoliciesDecideAboutConsents(t *testing.T) {
	on(t, func(d *desk) {
		a := d.answer(d.ask(ada, "sess_1"))
		d.mu.Lock()
		d.gate = func(req policy.Request) bool { return req.Effect != policy.CredentialConsent }
		d.mu.Unlock()
		if shown, err := d.finish(0, a); err != nil || shown.Status != consent.Refused || !strings.Contains(shown.Reason, "policy") {
			d.t.Errorf("%+v %v", shown, err)
		}
		if granted, refused := d.count(); granted+refused > 0 {
			d.t.Error("the code was redeemed")
		}
		key := stead.SessionKey{Project: project, Session: "sess_1"}
		if _, err := d.nodes[0].Ask(d.t.Context(), consent.Question{Request: policy.Request{Principal: ada, Session: key}, Vault: d.vault, ServerURL: d.tools.URL + "/mcp"}); stead.KindOf(err) != stead.KindForbidden {
			d.t.Errorf("asked nevertheless: %v", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		at := strings.TrimPrefix(d.authority.URL, "http://")
		var steps []policy.Consent
		for _, req := range d.asked {
			if req.Effect == policy.CredentialConsent {
				steps = append(steps, req.Consent)
				if req.Resource != d.vault || req.Destination != at || req.Principal != ada {
					d.t.Errorf("asked about %+v", req)
				}
			}
		}
		if len(steps) != 3 || steps[0] != policy.ConsentAsked || steps[1] != policy.ConsentGiven || steps[2] != policy.ConsentAsked {
			d.t.Errorf("steps %v", steps)
		}
	})
}
