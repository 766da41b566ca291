package source_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/source"
)

// TestWhoMadeASource: hosts are asked for in that one's name; once they are erased in nobody's, with the rights of their role, and then of whoever
// sees to the source next, as far as they may. A source of before that was kept is the node's.
func TestWhoMadeASource(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		var mu sync.Mutex
		asked, during := "", func() {}
		authorizer := only(func(r policy.Request) bool {
			if r.Effect == policy.NetworkConnect {
				mu.Lock()
				asked = string(r.Principal.Kind) + " " + r.Principal.ID + " " + string(r.Principal.Role)
				then := during
				during = func() {}
				mu.Unlock()
				then()
			}
			return r.Effect != policy.NetworkConnect || r.Principal.ID != "eve"
		})
		s := newSite(t)
		s.html("/", "Bonus for all.")
		n := newNode(t, db, t.TempDir(), &atomic.Int64{}, authorizer)
		n.Service = source.NewService(source.Config{Documents: db, Stores: n.vectors, Policy: authorizer, Readers: map[string]source.Reader{source.Web: anywhere{reading(&names{}, s.local("/"))}}, Now: time.Now})
		n.begin()
		store, spec := n.store(), source.Spec{Type: source.Web, Site: "docs", URLs: []string{s.URL + "/"}}
		src, err := n.Create(t.Context(), developer, store, spec, "", "")
		check(t, err)
		n.ended(src, 1)
		key := document.Key{Project: stead.DefaultProject, Kind: "vector store source", ID: src.ID}
		syncs := func(by stead.Principal, want string) {
			t.Helper()
			now, err := n.Sync(t.Context(), by, store, src.ID)
			check(t, err)
			n.ended(src, now.Run+1)
			mu.Lock()
			defer mu.Unlock()
			n.want("asked", asked, want)
		}
		bob, eve := developer, developer
		bob.ID, eve.ID = "bob", "eve"
		syncs(bob, "user ada developer")
		mu.Lock()
		during = func() { // while it is synchronised
			if n, err := n.ForgetMaker(t.Context(), stead.DefaultProject, "ada"); n != 1 || err != nil {
				t.Error(n, err)
			}
		}
		mu.Unlock()
		syncs(bob, "user ada developer")
		d, err := db.GetDocument(t.Context(), key)
		if err != nil || bytes.Contains(d.Data, []byte(`"ada"`)) {
			t.Errorf("the source still names who was erased: %s, %v", d.Data, err)
		}
		if n, err := n.ForgetMaker(t.Context(), stead.DefaultProject, "ada"); n != 0 || err != nil {
			t.Error(n, err)
		}
		syncs(eve, "user (erased) developer") // who may not connect to it
		syncs(bob, "user bob developer")
		syncs(eve, "user bob developer")

		// As an older node, and a newer one, left it.
		for tries := 0; ; tries++ {
			d, err = db.GetDocument(t.Context(), key)
			check(t, err)
			var fields map[string]any
			check(t, json.Unmarshal(d.Data, &fields))
			delete(fields, "maker")
			fields["of_tomorrow"] = map[string]any{"kept": true}
			d.Data, err = json.Marshal(fields)
			check(t, err)
			d.Version++
			if _, err = db.UpdateDocument(t.Context(), d); err == nil || tries == 9 {
				break
			}
		}
		check(t, err)
		syncs(eve, "node source ")
		syncs(bob, "user bob developer")
		if d, err = db.GetDocument(t.Context(), key); err != nil || !strings.Contains(string(d.Data), `"of_tomorrow":{"kept":true}`) {
			t.Errorf("what a newer node wrote is gone: %s, %v", d.Data, err)
		}
	})
}
