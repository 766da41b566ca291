package egress

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

func TestPlainPaths(t *testing.T) {
	for written, want := range map[string]string{
		"/diary": "/diary", "/%64iary": "/diary", "/%64%69%61%72%79/%7Ex": "/diary/~x", "//diary": "/diary", "/x/../diary": "/diary", "/x/%2e%2E/diary": "/diary",
		"/./diary/": "/diary/", "/diary/.": "/diary/", "/diary/x/..": "/diary/", "/..": "/", "/": "/", "": "", "*": "*", "/a%2fb": "/a%2Fb", "/%": "/%", "/%6": "/%6", "/%zz%64": "/%zzd",
		"/%2564": "/%2564", "/a b": "/a b", "/.well-known/x": "/.well-known/x", "/a...b/..c": "/a...b/..c", "/" + strings.Repeat("a", 2000) + "/../diary": "/diary",
	} {
		if got := plainPath(written); got != want {
			t.Errorf("%.40q is %.40q, want %q", written, got, want)
		}
	}
}

// TestASpellingIsNoWayAround: who decides sees one path, however it is written, and what is asked for approval is still told apart.
func TestASpellingIsNoWayAround(t *testing.T) {
	w := newWorld(t)
	w.plain(func(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write([]byte(r.RequestURI)) }, "api.example")
	queries := map[string]bool{}
	b := w.box(Policy{Access: AccessEnabled}, func(c *Config) {
		c.Ask = func(_ context.Context, r Record) error {
			queries[r.Query] = true
			if strings.HasPrefix(r.Path, "/diary") {
				return stead.Errorf(stead.KindForbidden, "diaries are private")
			}
			return nil
		}
	})
	for _, path := range []string{"/diary", "/%64iary", "//diary", "/./diary", "/x/../diary", "/" + strings.Repeat("a", 2*MaxPathBytes) + "/../diary"} {
		if code, body := get(t, b.client(), "http://api.example"+path); code != http.StatusForbidden {
			t.Errorf("%.40s: %d %s", path, code, body)
		}
	}
	if len(queries) != 6 {
		t.Errorf("six targets are asked about as %d: %v", len(queries), queries)
	}
	if code, body := get(t, b.client(), "http://api.example/n%6Ftes//x"); code != 200 || body != "/n%6Ftes//x" {
		t.Errorf("what is sent is %d %s", code, body)
	}
}
