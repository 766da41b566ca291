package server

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// A full disk refuses what is new, before its body is read, and serves what reads, ends or takes away.
func TestAFullDiskRefusesWhatIsNew(t *testing.T) {
	full := stead.Errorf(stead.KindUnavailable, "the server's disk is full")
	full.Code, full.Hint = "storage_full", "Delete sessions"
	d := open(t, filled(), func(c *Config) { c.Full = func() error { return full } })
	s := &server{}
	for _, r := range s.table() {
		path := strings.NewReplacer("{id}", "sess_1", "{id...}", "m", "{", "", "}", "").Replace(r.path)
		if r.method == "GET" && strings.HasSuffix(path, "/events") || strings.HasSuffix(path, "/executor") {
			continue // these stay open
		}
		res, body := d.call(r.method, path, "{}")
		refused := res.StatusCode == 503 && strings.Contains(body, `"storage_full"`) && strings.Contains(body, "Delete sessions")
		if want := r.method == "POST" && !r.always; refused != want {
			t.Errorf("%s %s: %d %.200s", r.method, path, res.StatusCode, body)
		}
	}
	for _, path := range []string{"/readyz", "/healthz"} {
		if res, body := d.call("GET", path, ""); res.StatusCode != 200 || !strings.Contains(body, `"warning":"the server's disk is full. Delete sessions"`) {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	if _, body := d.call("GET", "/metrics", ""); !strings.Contains(body, "stead_storage_full 1\n") {
		t.Errorf("metrics do not say it: %s", body)
	}
}
