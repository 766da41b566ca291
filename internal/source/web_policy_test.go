package source_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/source"
)

// anywhere reads a site for a source that also names its URL, as if that were public.
type anywhere struct{ source.Reader }

func (a anywhere) Check(stead.ProjectID, source.Spec) error { return nil }

func (a anywhere) Walk(ctx context.Context, w source.Walk) (string, error) {
	w.Spec.URLs = nil
	return a.Reader.Walk(ctx, w)
}

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
		// They are asked again at each synchronisation, in the name of whoever made the source: what they forbid by then is not asked for.
		s := newSite(t)
		s.html("/", "The refund takes thirty days.")
		var closed atomic.Bool
		var by atomic.Value
		again := only(func(r policy.Request) bool {
			if r.Effect == policy.NetworkConnect {
				by.Store(r.Principal.ID)
			}
			return r.Effect != policy.NetworkConnect || !closed.Load()
		})
		read := reading(&names{}, s.local("/"))
		n.Service = source.NewService(source.Config{Documents: db, Stores: n.vectors, Policy: again, Readers: map[string]source.Reader{source.Web: anywhere{read}}, Now: time.Now})
		n.begin()
		ada := n.me
		ada.ID = "ada"
		src, err := n.Create(t.Context(), ada, store, source.Spec{Type: source.Web, Site: "docs", URLs: []string{s.URL + "/"}}, "", "")
		if err != nil {
			t.Fatal(err)
		}
		n.ended(src, 1)
		n.want("found", n.finds(n.me, store, "refund"), "/")
		asksNow := len(s.since())
		closed.Store(true)
		by.Store("")
		n.again(src)
		now, err := n.Get(t.Context(), n.me, store, src.ID)
		if err != nil || now.Error == nil || now.Error.Code != "unreadable" || by.Load() != "ada" || asksNow == 0 || len(s.since()) != 0 {
			t.Errorf("closed: %+v by %v: %v", now.State, by.Load(), err)
		}
		n.want("found still", n.finds(n.me, store, "refund"), "/")
		closed.Store(false)
		n.want("open again", n.again(src), "+0 ~0 -0 =1 !0")
		if err := n.Delete(t.Context(), n.me, store, src.ID); err != nil {
			t.Fatal(err)
		}
		if all, err := n.List(t.Context(), n.me, store); err != nil || len(all) != 1 {
			t.Errorf("%d sources, %v", len(all), err)
		}
	})
}
