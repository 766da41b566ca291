package environment

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// TestPathsGoOverTheWireAndBack: what is listed can be fetched, whatever bytes a name has.
func TestPathsGoOverTheWireAndBack(t *testing.T) {
	for path, wire := range map[string]string{
		"/workspace/plain.txt":               "/workspace/plain.txt",
		"/workspace/100%.txt":                "/workspace/100%.txt", // ordinary names stay as they are
		"/workspace/caf\u00e9":               "/workspace/caf\u00e9",
		"/workspace/\ufffd":                  "/workspace/\ufffd",
		"/workspace/caf\xe9":                 "file:///workspace/caf%E9",
		"/workspace/\xff%25 /\u00e9~a-b_c.d": "file:///workspace/%FF%2525%20/%C3%A9~a-b_c.d",
	} {
		got := WirePath(path)
		if got != wire {
			t.Errorf("%q is written as %q, want %q", path, got, wire)
		}
		raw, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var received string
		if err := json.Unmarshal(raw, &received); err != nil {
			t.Fatal(err)
		}
		if back, err := FilePath("path", received); err != nil || back != path {
			t.Errorf("%q is read as %q, %v", received, back, err)
		}
	}
	if p, err := FilePath("path", "d/x"); err != nil || p != "/workspace/d/x" {
		t.Errorf("a relative path is read as %q, %v", p, err)
	}
	for _, wrong := range []string{"../x", "d/../..", "", ".", "file:///workspace/%zz", "file:///workspace/%2e%2e/etc/passwd", "file:///etc/passwd", "file://workspace/x", "file:///workspace/a%00b", "file:///workspace/" + strings.Repeat("%61", MaxPathBytes)} {
		if p, err := FilePath("path", wrong); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%q is read as %q, %v", wrong, p, err)
		}
	}
}

func FuzzWirePath(f *testing.F) {
	f.Add("/workspace/caf\xe9")
	f.Fuzz(func(t *testing.T, name string) {
		path := "/workspace/" + name
		if back, err := FromWire("path", WirePath(path)); err != nil || back != path {
			t.Errorf("%q comes back as %q, %v", path, back, err)
		}
	})
}
