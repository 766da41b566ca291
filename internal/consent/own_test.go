package consent_test

import (
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/vault"
)

// A user's own vault is there once a consent is in it, whoever makes it first; it is another user's in nothing; and when nobody waits any
// more, as after an erasure, nothing is left of it.
func TestAUsersOwnVault(t *testing.T) {
	on(t, func(d *desk) {
		d.vault = d.vaults.Own(ada)
		own := func() bool {
			d.t.Helper()
			bound := ada
			bound.Bound = true
			v, err := d.vaults.Get(d.t.Context(), bound, d.vault)
			if err != nil && stead.KindOf(err) != stead.KindNotFound {
				d.t.Fatal(err)
			}
			return err == nil && v.Owner == "user:ada"
		}
		nothing := func() {}

		page := d.ask(ada, "sess_1")
		if own() {
			d.t.Error("it is there before anything is in it")
		}
		erase := func() {
			d.forgotten(page)
			if n, err := d.vaults.Forget(d.t.Context(), project, ada.ID); n != 0 || err != nil {
				d.t.Errorf("%d tokens were there to be forgotten: %v", n, err)
			}
		}
		if _, err := d.node(erase, nothing).Finish(d.t.Context(), d.answer(page)); stead.KindOf(err) != stead.KindNotFound || own() {
			d.t.Errorf("erased before it was stored: %v, and it is there: %v", err, own())
		}

		// Two sessions' consents come back at two nodes at the same time. One that is there first may serve both.
		answers := []consent.Answer{d.answer(d.ask(ada, "sess_2")), d.answer(d.ask(ada, "sess_3"))}
		var both sync.WaitGroup
		for i, a := range answers {
			both.Go(func() {
				if shown, err := d.finish(i, a); stead.KindOf(err) != stead.KindNotFound && (err != nil || shown.Status != consent.Given) {
					d.t.Errorf("node %d: %+v %v", i, shown, err)
				}
			})
		}
		both.Wait()
		if !own() || d.token(ada) == "" {
			d.t.Error("the token is not in it")
		}

		bea := stead.Principal{Project: project, Kind: stead.PrincipalUser, ID: "bea", Bound: true}
		for _, p := range []stead.Principal{bea, {Project: project, Kind: stead.PrincipalService, ID: "ada", Bound: true}, {Project: project, Kind: stead.PrincipalService, ID: "admin"}} {
			if err := d.vaults.Attach(d.t.Context(), p, []string{d.vault}); stead.KindOf(err) != stead.KindInvalid {
				d.t.Errorf("%s %s has it: %v", p.Kind, p.ID, err)
			}
		}

		// Nobody puts another account's token there, the user neither: their agent would work in that.
		admin := stead.Principal{Project: project, Kind: stead.PrincipalService, ID: "admin"}
		for _, p := range []stead.Principal{admin, ada} {
			if _, err := d.vaults.CreateCredential(d.t.Context(), p, d.vault, vault.New{Name: "mine"}, "", ""); stead.KindOf(err) != stead.KindForbidden {
				d.t.Errorf("%s %s writes into it: %v", p.Kind, p.ID, err)
			}
			all, _, err := d.vaults.Credentials(d.t.Context(), p, d.vault, vault.Query{Limit: 1})
			if err != nil || len(all) != 1 {
				d.t.Fatal(all, err)
			}
			rotate := vault.Change{Rotate: func(*vault.Auth, *vault.Secret) error { return nil }}
			if _, err := d.vaults.UpdateCredential(d.t.Context(), p, d.vault, all[0].ID, rotate); stead.KindOf(err) != stead.KindForbidden {
				d.t.Errorf("%s %s rotates it: %v", p.Kind, p.ID, err)
			}
		}

		// A cancelled turn takes nothing that was there; the user's deletion does, and the next consent makes it anew.
		page = d.ask(ada, "sess_4")
		if _, err := d.node(nothing, func() { d.forgotten(page) }).Finish(d.t.Context(), d.answer(page)); stead.KindOf(err) != stead.KindNotFound || !own() || d.token(ada) == "" {
			d.t.Errorf("cancelled: %v, it is there: %v", err, own())
		}
		if err := d.vaults.Delete(d.t.Context(), ada, d.vault); err != nil || own() || d.token(ada) != "" {
			d.t.Errorf("deleted: %v, it is there: %v", err, own())
		}
		if shown, err := d.finish(0, d.answer(d.ask(ada, "sess_5"))); err != nil || shown.Status != consent.Given || !own() || d.token(ada) == "" {
			d.t.Errorf("anew: %+v %v", shown, err)
		}
		if n, err := d.vaults.Forget(d.t.Context(), project, ada.ID); n != 1 || err != nil || own() {
			d.t.Errorf("erased: %d %v, it is there: %v", n, err, own())
		}
	})
}
