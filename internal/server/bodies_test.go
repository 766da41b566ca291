package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/held"
)

// Bodies are counted together while they are held: who comes when others have all of it is told when to come again.
func TestBodiesAreBoundTogether(t *testing.T) {
	budget := held.New("requests", 20)
	read := func(lease *held.Lease) error {
		r := httptest.NewRequest("POST", "/v1/x", strings.NewReader(`{"a":"bcdef"}`))
		_, err := readBody(&response{ResponseWriter: httptest.NewRecorder(), body: lease}, r, nil)
		return err
	}
	first, second := budget.Lease(), budget.Lease()
	if err := read(first); err != nil {
		t.Fatal(err)
	}
	if err := read(second); stead.KindOf(err) != stead.KindLimited {
		t.Errorf("beside a body that is held: %v", err)
	}
	first.Release()
	second.Release()
	if err := read(second); err != nil || budget.Used() == 0 {
		t.Errorf("behind it: %v, %d bytes held", err, budget.Used())
	}
}

// A request gives back what its body took, however it ends.
func TestABodyIsGivenBack(t *testing.T) {
	s := New(Config{}).(*server)
	for _, body := range []string{`{"model":"sim"`, `{"model":7}`} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "http://localhost/v1/agents", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		s.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest || s.bodies.Used() != 0 {
			t.Errorf("%s: %d, and %d bytes are held: %s", body, w.Code, s.bodies.Used(), w.Body)
		}
	}
}
