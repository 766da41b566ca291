package host

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
)

// TestToolCallsHaveARate: a burst, then so many a second; who is refused is told when to come again, and a loop
// that does not listen gets no more, and slowly.
func TestToolCallsHaveARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		h := newGate(time.Now).guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { made++ }))
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/tools/x", http.NoBody))
			return w
		}
		for range ToolCallsBurst {
			ask()
		}
		begun := time.Now()
		w := ask()
		if made != ToolCallsBurst || w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "50 calls a second") {
			t.Fatalf("%d made, then %d %v %s", made, w.Code, w.Header(), w.Body)
		}
		if took := time.Since(begun); took != toolRefusal {
			t.Errorf("a refusal took %s", took)
		}
		refused := 0
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			if ask().Code == http.StatusTooManyRequests {
				refused++
			}
		}
		if most := ToolCallsBurst + 11*ToolCallsASecond; made > most || made < most-ToolCallsASecond || refused < 50 {
			t.Errorf("%d made in ten seconds, %d refused", made, refused)
		}
	})
}

func TestRefusedToolCallsDoNotCount(t *testing.T) {
	now := time.Unix(0, 0)
	g := newGate(func() time.Time { return now })
	for range MaxToolCalls {
		if err := g.enter(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * ToolCallsBurst {
		if err := g.enter(); stead.KindOf(err) != stead.KindLimited {
			t.Fatal(err)
		}
	}
	g.leave()
	if err := g.enter(); err != nil {
		t.Error(err)
	}
	now = now.Add(-time.Hour) // a clock that is put back takes nothing away
	g.leave()
	if err := g.enter(); err != nil {
		t.Error(err)
	}
}
