package identity_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
)

// deskOf is a node with keys over a store, whose agents begin model calls.
type deskOf struct {
	*identity.Service
	withdrawn *identity.Withdrawn
	gate      *identity.InForce
}

func deskAt(documents document.Store) *deskOf {
	d := &deskOf{withdrawn: identity.NewWithdrawn(documents, time.Now)}
	d.Service = identity.NewService(identity.Config{Documents: documents, Policy: identity.Authorizer{}, Root: rootKey, Now: time.Now, Withdrawn: d.withdrawn})
	d.gate = identity.NewInForce(d.withdrawn, func(e policy.Effect) bool { return e == policy.ModelCall }, policy.AllowLocal{})
	return d
}

// may is why an agent may not begin something for somebody; "": it may.
func (d *deskOf) may(t *testing.T, effect policy.Effect, behind ...stead.Principal) string {
	t.Helper()
	got, err := d.gate.Decide(t.Context(), policy.Request{Principal: behind[0], Behind: behind[1:], Effect: effect, Acting: true})
	if err != nil || got.Allow != (got.Reason == "") {
		t.Fatalf("%+v, %v", got, err)
	}
	return got.Reason
}

// What agents do in somebody's name ends with that one's last valid key, and goes on when they are there again.
func TestAgentsEndWithTheLastKeyOfWhoIsBehindThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		documents := documenttest.NewMemory()
		here, there := deskAt(documents), deskAt(documents)
		root, err := here.Authenticate(t.Context(), rootKey, "one")
		if err != nil {
			t.Fatal(err)
		}
		in := identity.Params{Role: identity.Developer, Kind: stead.PrincipalUser, Principal: "ada"}
		ada := stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada", Role: identity.Developer}
		bob, operator := ada, ada
		bob.ID, operator.Role = "bob", identity.Operator
		revoke := func(k identity.Key) {
			t.Helper()
			if err := here.Revoke(t.Context(), root.Principal, k.ID); err != nil {
				t.Fatal(err)
			}
		}
		for range 600 { // jobs that had keys of their own
			k, _ := made(t, here.Service, root.Principal, identity.Params{Role: identity.Agent})
			revoke(k)
		}
		first, _ := made(t, here.Service, root.Principal, in)
		second, _ := made(t, here.Service, root.Principal, in)
		short := in
		short.Lifetime = time.Minute
		third, _ := made(t, here.Service, root.Principal, short)
		revoke(first)
		if why := here.may(t, policy.ModelCall, ada); why != "" {
			t.Errorf("with other keys: %s", why)
		}
		time.Sleep(2 * time.Minute) // the third has expired: that ends nothing, and keeps nothing
		if _, _, err := here.Rotate(t.Context(), root.Principal, second.ID, time.Hour, "", ""); err != nil || here.may(t, policy.ModelCall, ada) != "" {
			t.Errorf("rotated: %v", err)
		}
		revoke(second)
		if why := here.may(t, policy.ModelCall, ada); !strings.Contains(why, "the key of user ada (role developer), who is behind it, was revoked") {
			t.Errorf("at once, here: %q", why)
		}
		time.Sleep(identity.CacheFor)
		tokenOfAda := bob
		tokenOfAda.Maker = "user:ada"
		for who, behind := range map[string][]stead.Principal{"her own session": {ada}, "whom she wrote to": {bob, ada}, "by a token that she made": {bob, tokenOfAda}} {
			if there.may(t, policy.ModelCall, behind...) == "" {
				t.Errorf("%s goes on, on another node", who)
			}
		}
		for who, p := range map[string]stead.Principal{"somebody else": bob, "her other role": operator} {
			if why := there.may(t, policy.ModelCall, p); why != "" {
				t.Errorf("%s: %s", who, why)
			}
		}
		if why := there.may(t, policy.EnvironmentSave, ada); why != "" {
			t.Errorf("what keeps her files: %s", why)
		}
		_ = third

		seen := func(p stead.Principal) string {
			t.Helper()
			if err := there.withdrawn.Seen(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			time.Sleep(identity.CacheFor)
			return here.may(t, policy.ModelCall, ada)
		}
		if seen(ada) == "" {
			t.Error("by a key that a node still believed in that moment")
		}
		time.Sleep(time.Minute)
		ofSession := ada
		ofSession.Session = "sess_1"
		if seen(ofSession) == "" || seen(bob) == "" {
			t.Error("by a token of a session, or by somebody else")
		}
		if why := seen(ada); why != "" {
			t.Errorf("she came in by her identity provider: %s", why)
		}
		fourth, _ := made(t, here.Service, root.Principal, in)
		revoke(fourth)
		if here.may(t, policy.ModelCall, ada) == "" {
			t.Error("the next last one")
		}
		made(t, here.Service, root.Principal, in)
		if why := here.may(t, policy.ModelCall, ada); why != "" {
			t.Errorf("she has a new key: %s", why)
		}
	})
}

// cutting fails to delete.
type cutting struct {
	*documenttest.Memory
	cut bool
}

func (c *cutting) DeleteDocument(ctx context.Context, k document.Key, version int64) error {
	if c.cut {
		return stead.Errorf(stead.KindUnavailable, "cut off")
	}
	return c.Memory.DeleteDocument(ctx, k, version)
}

func (c *cutting) ListDocuments(ctx context.Context, q document.Query) ([]document.Document, error) {
	if c.cut && q.Kind == "withdrawn_principal" {
		return nil, stead.Errorf(stead.KindUnavailable, "away")
	}
	return c.Memory.ListDocuments(ctx, q)
}

// A revocation that is cut off has stopped the agents, and is done again; where it can't be read who is withdrawn, nothing begins.
func TestARevocationThatIsCutOff(t *testing.T) {
	documents := &cutting{Memory: documenttest.NewMemory()}
	d := deskAt(documents)
	root, err := d.Authenticate(t.Context(), rootKey, "one")
	if err != nil {
		t.Fatal(err)
	}
	k, _ := made(t, d.Service, root.Principal, identity.Params{Role: identity.Developer})
	as := stead.Principal{Project: "one", Kind: stead.PrincipalService, ID: k.ID, Role: identity.Developer}
	documents.cut = true
	isKind(t, "cut off", d.Revoke(t.Context(), root.Principal, k.ID), stead.KindUnavailable)
	_, err = d.gate.Decide(t.Context(), policy.Request{Principal: as, Effect: policy.ModelCall, Acting: true})
	isKind(t, "while it can't be read", err, stead.KindUnavailable)
	documents.cut = false
	if d.may(t, policy.ModelCall, as) == "" {
		t.Error("its agents go on")
	}
	if err := d.Revoke(t.Context(), root.Principal, k.ID); err != nil {
		t.Error(err)
	}
}
