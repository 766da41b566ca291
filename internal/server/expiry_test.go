package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
)

// A stream outlives neither what it was opened with nor its revocation by more than a silent interval; that nobody can
// say at the moment ends none.
func TestStreamsEndWithWhatOpenedThem(t *testing.T) {
	const revokedAfter, expiresAfter = 50 * time.Second, 100 * time.Second
	for name, c := range map[string]struct {
		until   time.Duration // 0: it does not expire
		refused stead.Kind    // after revokedAfter; "": never
		becomes func(*stead.Principal)
		ends    time.Duration
		code    string
		stopped bool // by a kill switch, after revokedAfter
		denied  bool // reading by policies, after revokedAfter
	}{
		"revoked":            {0, stead.KindUnauthenticated, nil, 60 * time.Second, "unauthenticated", false, false},
		"expired":            {expiresAfter, "", nil, expiresAfter, "token_expired", false, false},
		"it is unavailable":  {expiresAfter, stead.KindUnavailable, nil, expiresAfter, "token_expired", false, false},
		"of another project": {expiresAfter, "", func(p *stead.Principal) { p.Project = "another" }, 60 * time.Second, "token_expired", false, false},
		"of another role":    {expiresAfter, "", func(p *stead.Principal) { p.Role = identity.Agent }, 60 * time.Second, "token_expired", false, false},
		"somebody else":      {expiresAfter, "", func(p *stead.Principal) { p.ID = "eve" }, 60 * time.Second, "token_expired", false, false},
		"bound":              {expiresAfter, "", func(p *stead.Principal) { p.Bound = true }, 60 * time.Second, "token_expired", false, false},
		"stopped":            {0, "", nil, 60 * time.Second, "kill_switch", true, false},
		"it may not be read": {0, "", nil, 60 * time.Second, "forbidden", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var revoked atomic.Bool
				caller := identity.Caller{Principal: stead.LocalPrincipal()}
				if c.until > 0 {
					caller.Until = began.Add(c.until)
				}
				s := New(Config{Authenticate: func(*http.Request) (identity.Caller, error) {
					switch {
					case !revoked.Load(), c.stopped, c.denied:
					case c.becomes != nil:
						other := caller
						c.becomes(&other.Principal)
						return other, nil
					default:
						return identity.Caller{}, stead.Errorf(c.refused, "not now")
					}
					return caller, nil
				}, Stopped: func(context.Context, stead.Principal) error {
					if c.stopped && revoked.Load() {
						return &stead.Error{Kind: stead.KindForbidden, Code: c.code, Message: "stopped"}
					}
					return nil
				}, StillReads: func(_ context.Context, p stead.Principal, of stead.SessionID) error {
					switch {
					case !c.denied:
						return stead.Errorf(stead.KindUnavailable, "nobody knows")
					case of != "sess_1" || p != caller.Principal:
						t.Errorf("asked is about %s and %+v", of, p)
					case revoked.Load():
						return stead.Errorf(stead.KindForbidden, "no")
					}
					return nil
				}}).(*server)
				if c.refused != "" || c.becomes != nil || c.stopped || c.denied {
					time.AfterFunc(revokedAfter, func() { revoked.Store(true) })
				}
				w := httptest.NewRecorder()
				r := s.inCall(w, httptest.NewRequest("GET", "/", nil), caller)
				err := s.streamed(w, r, "sess_1", func(ctx context.Context, out *eventWriter) error {
					out.open()
					<-ctx.Done()
					return s.streamEnded(ctx, out, "sess_1", ctx.Err())
				})
				if took := time.Since(began); err != nil || took != c.ends {
					t.Errorf("it took %s, want %s (%v)", took, c.ends, err)
				}
				if body := w.Body.String(); !strings.Contains(body, "event: error\n") || !strings.Contains(body, `"`+c.code+`"`) {
					t.Errorf("it says %q", body)
				}
			})
		})
	}
}
