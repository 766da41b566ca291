package source_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/source"
)

// Policies are asked about each host of the URLs that somebody makes a source of.
func TestPoliciesKnowTheHostsOfPages(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		var asked []string
		authorizer := only(func(r policy.Request) bool {
			if r.Effect != policy.NetworkConnect {
				return true
			}
			asked = append(asked, r.Destination+" "+r.Connection.Kind)
			return r.Resource != "bad.example"
		})
		n := newNode(t, db, t.TempDir(), &atomic.Int64{}, authorizer)
		n.Service = source.NewService(source.Config{Documents: db, Stores: n.vectors, Policy: authorizer, Readers: map[string]source.Reader{source.Web: reading(nil)}, Now: time.Now})
		store := n.store()
		spec := source.Spec{Type: source.Web, URLs: []string{"https://Good.example/a/", "https://good.example/b/", "http://good.example:8080/"}}
		if _, err := n.Create(t.Context(), n.me, store, spec, "", ""); err != nil {
			t.Fatal(err)
		}
		n.want("asked", strings.Join(asked, ", "), "good.example:443 dial, good.example:8080 dial")
		spec.URLs = append(spec.URLs, "https://bad.example/")
		if _, err := n.Create(t.Context(), n.me, store, spec, "", ""); stead.KindOf(err) != stead.KindForbidden {
			t.Errorf("a forbidden host: %v", err)
		}
		if all, err := n.List(t.Context(), n.me, store); err != nil || len(all) != 1 {
			t.Errorf("%d sources, %v", len(all), err)
		}
	})
}
