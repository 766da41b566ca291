package consent_test

import (
	"context"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/oauth/oauthtest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/vault"
)

// keeping are vaults in which something happens when a token is stored.
type keeping struct {
	*vault.Service
	before, behind func()
}

func (k keeping) Keep(ctx context.Context, project stead.ProjectID, c vault.Consented, t vault.Tokens) (string, error) {
	k.before()
	id, err := k.Service.Keep(ctx, project, c, t)
	k.behind()
	return id, err
}

// forgotten deletes a session, or cancels its turn.
func (d *desk) forgotten(page consent.Page) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, page.ID)
}

// node is one more, with its own vaults.
func (d *desk) node(before, behind func()) *consent.Service {
	cfg := d.cfg
	cfg.Vaults = keeping{d.vaults, before, behind}
	return consent.NewService(cfg)
}

// While a code is redeemed, the turn is cancelled, the session deleted, or the user erased, who had no token to be found: whenever
// that is, no token stays, and nobody is told of one.
func TestNobodyWaitsAnyMoreForAToken(t *testing.T) {
	on(t, func(d *desk) {
		nothing := func() {}
		none := func(when string, page consent.Page, err error) {
			d.t.Helper()
			if stead.KindOf(err) != stead.KindNotFound {
				d.t.Errorf("%s: %v", when, err)
			}
			if d.token(ada) != "" {
				d.t.Errorf("%s: the token is stored", when)
			}
			if ends := d.ends(); len(ends) > 0 {
				d.t.Errorf("%s: told %+v", when, ends)
			}
			if shown, err := d.nodes[1].Show(d.t.Context(), d.ticket(page)); err != nil || shown.Status != consent.Refused {
				d.t.Errorf("%s: the page says %+v %v", when, shown, err)
			}
		}

		page := d.ask(ada, "sess_1")
		a := d.answer(page)
		d.authority.Do(func(a *oauthtest.Authority) { a.AtToken = func() { d.forgotten(page) } })
		_, err := d.finish(0, a)
		none("at the token endpoint", page, err)
		d.authority.Do(func(a *oauthtest.Authority) { a.AtToken = nil })

		page = d.ask(ada, "sess_2")
		erase := func() { // the session is gone first, and then what its user consented to
			d.forgotten(page)
			if n, err := d.vaults.Forget(d.t.Context(), project, ada.ID); n != 0 || err != nil {
				d.t.Errorf("%d tokens were there to be forgotten: %v", n, err)
			}
		}
		_, err = d.node(erase, nothing).Finish(d.t.Context(), d.answer(page))
		none("before it is stored", page, err)

		page = d.ask(ada, "sess_3")
		_, err = d.node(nothing, func() { d.forgotten(page) }).Finish(d.t.Context(), d.answer(page))
		none("when it is stored", page, err)

		// The node dies, or is frozen, when it has stored it.
		page = d.ask(ada, "sess_4")
		a = d.answer(page)
		stored, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := d.node(nothing, func() { close(stored); <-goOn }).Finish(d.t.Context(), a)
			ended <- err
		}()
		<-stored
		if d.token(ada) == "" {
			d.t.Error("it is not stored: the test shows nothing")
		}
		d.forgotten(page)
		d.later(time.Minute)
		if _, err := d.nodes[1].Sweep(d.t.Context()); err != nil {
			d.t.Error(err)
		}
		none("swept", page, &stead.Error{Kind: stead.KindNotFound})
		close(goOn)
		none("thawed", page, <-ended)
	})
}

// A user who had a token before loses none by a turn that is cancelled.
func TestATokenOfBeforeStays(t *testing.T) {
	on(t, func(d *desk) {
		if _, err := d.finish(0, d.answer(d.ask(ada, "sess_1"))); err != nil || d.token(ada) == "" {
			d.t.Fatal(err)
		}
		d.later(time.Second)         // what was given in the moment of asking serves who asks, too
		page := d.ask(ada, "sess_2") // for a scope more
		if _, err := d.node(func() {}, func() { d.forgotten(page) }).Finish(d.t.Context(), d.answer(page)); stead.KindOf(err) != stead.KindNotFound {
			d.t.Error(err)
		}
		if d.token(ada) == "" {
			d.t.Error("it is gone")
		}
	})
}

// A database that is away for a moment when it is asked whether somebody waits: the token is not lost for that.
func TestWhoWaitsIsNotKnownForAMoment(t *testing.T) {
	on(t, func(d *desk) {
		a := d.answer(d.ask(ada, "sess_1"))
		cfg, asked := d.cfg, 0
		cfg.Waits = func(ctx context.Context, key stead.SessionKey, id string) (policy.Request, bool, error) {
			if asked++; asked == 2 { // the first time is before the code is redeemed
				return policy.Request{}, false, stead.Errorf(stead.KindUnavailable, "the database is away")
			}
			return d.waits(ctx, key, id)
		}
		if shown, err := consent.NewService(cfg).Finish(d.t.Context(), a); err != nil || shown.Status != consent.Given || d.token(ada) == "" {
			d.t.Errorf("%+v %v", shown, err)
		}
	})
}
