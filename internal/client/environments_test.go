package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

func TestPutFileIsRefusedBeforeItIsSent(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	_, err := c.PutFile(t.Context(), "env_1", "/workspace/x", make([]byte, stead.MaxTextBytes+1))
	if e, ok := errors.AsType[*stead.Error](err); !ok || e.Kind != stead.KindTooLarge || e.Hint == "" || !strings.Contains(e.Message, "16 MiB") {
		t.Errorf("%#v", err)
	}
}

func TestFilesByPages(t *testing.T) {
	const total = 250
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		first, n := 0, 0
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &first) // none on the first page
		if _, err := fmt.Sscan(r.URL.Query().Get("limit"), &n); err != nil || n < 1 || n > 100 {
			t.Errorf("limit %q", r.URL.Query().Get("limit"))
		}
		var rows []string
		for i := first; i < min(first+n, total); i++ {
			rows = append(rows, fmt.Sprintf(`{"path":"/workspace/%03d","size_bytes":1}`, i))
		}
		next := "null"
		if first+n < total {
			next = fmt.Sprintf(`"%d"`, first+n)
		}
		fmt.Fprintf(w, `{"object":"list","data":[%s],"has_more":%t,"next":%s}`, strings.Join(rows, ","), next != "null", next)
	})
	for _, tt := range []struct {
		limit, want int
		more        bool
	}{{0, total, false}, {1, 1, true}, {120, 120, true}, {total, total, false}, {1000, total, false}} {
		got, more, err := c.Files(t.Context(), "env_1", "", tt.limit)
		if err != nil || len(got) != tt.want || more != tt.more {
			t.Errorf("limit %d: %d files, more %t, %v; want %d, %t", tt.limit, len(got), more, err, tt.want, tt.more)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestDownloadSaysWhoFailed(t *testing.T) {
	whole := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "content") })
	if err := whole.FileContent(t.Context(), "env_1", "/workspace/x", fullDisk{}); err == nil || !strings.Contains(err.Error(), "can't be written") {
		t.Errorf("a full disk here: %v", err)
	}
	cut := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "content")
	})
	if err := cut.FileContent(t.Context(), "env_1", "/workspace/x", io.Discard); err == nil || stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("an answer that was cut off: %v", err)
	}
}
