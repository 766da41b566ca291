package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// TestARotationIsDoneOnce: of rotations that come at once each either has a secret that counts or changed nothing and says so, and one that comes again with
// its Idempotency-Key is not done again.
func TestARotationIsDoneOnce(t *testing.T) {
	for _, driver := range []string{"sqlite", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			text := "auth: {mode: keys}\n"
			if driver == "postgres" {
				text += "database: " + pgtest.URL(t) + "\n"
			}
			n := openConfigured(t, text, io.Discard)
			h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
			var made struct{ ID, Secret string }
			h.get(h.root, "POST", "/v1/api_keys", `{"role":"developer","principal":{"kind":"user","id":"ada"}}`, &made)
			rotate := func(key, body string) (int, string) {
				req, err := http.NewRequestWithContext(t.Context(), "POST", n.base+"/v1/api_keys/"+made.ID+"/rotate", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+h.root)
				req.Header.Set("Content-Type", "application/json")
				if key != "" {
					req.Header.Set("Idempotency-Key", key)
				}
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return 0, ""
				}
				defer res.Body.Close()
				got, err := io.ReadAll(res.Body)
				if err != nil {
					t.Error(err)
				}
				return res.StatusCode, string(got)
			}
			const hour, at = `{"grace_seconds":3600}`, 12
			storm := func(key func(i int) string) (secrets []string) {
				t.Helper()
				var mu sync.Mutex
				var wg sync.WaitGroup
				for i := range at {
					wg.Go(func() {
						status, got := rotate(key(i), hour)
						var k struct{ Secret string }
						mu.Lock()
						defer mu.Unlock()
						switch err := json.Unmarshal([]byte(got), &k); {
						case status == 200 && err == nil && k.Secret != "":
							secrets = append(secrets, k.Secret)
						case status != 409 || !strings.Contains(got, "at the same time") && !strings.Contains(got, "was done already"):
							t.Errorf("%d %s", status, got)
						}
					})
				}
				wg.Wait()
				for _, secret := range append(secrets, made.Secret) {
					if status, got := h.call(secret, "GET", "/v1/agents", ""); status != 200 {
						t.Errorf("a secret that was handed out does not count: %d %s", status, got)
					}
				}
				return secrets
			}
			if got := storm(func(int) string { return "once" }); len(got) != 1 {
				t.Errorf("one rotation was done %d times", len(got))
			}
			if status, got := rotate("once", hour); status != 409 || !strings.Contains(got, "was done already") || !strings.Contains(got, "another Idempotency-Key") {
				t.Errorf("again: %d %s", status, got)
			}
			if status, got := rotate("once", `{}`); status != 409 || !strings.Contains(got, "another request") {
				t.Errorf("the same key for another rotation: %d %s", status, got)
			}
			if got := storm(func(i int) string { return fmt.Sprint("own", i) }); len(got) == 0 {
				t.Error("nobody could rotate")
			}
			if got := storm(func(int) string { return "" }); len(got) == 0 {
				t.Error("nobody could rotate")
			}
		})
	}
}
