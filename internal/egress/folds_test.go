package egress

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestRefusalsInALoopAreFolded: the first to each of a few hosts has a record of its own, and the records of the rest
// tell how many they were. What is allowed has each its own, all the same.
func TestRefusalsInALoopAreFolded(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	b := w.box(allow("web.example"))
	const each, hosts = 3, MaxRefusedKinds + 20
	ask := func(host string) int {
		res, _ := b.say("GET http://" + host + "/" + strings.Repeat("x", 3000) + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		return res.StatusCode
	}
	for range each {
		for i := range hosts {
			if status := ask(fmt.Sprintf("evil%d.example", i)); status != http.StatusForbidden {
				t.Fatalf("host %d: %d", i, status)
			}
		}
		if status := ask("web.example"); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	must(t, b.Close(t.Context()))
	firsts, more, allowed := map[string]int{}, map[string]int{}, 0
	for _, r := range b.recorded() {
		switch {
		case r.Allowed && r.Phase == PhaseDecided:
			allowed++
		case !r.Allowed && r.Repeated == 0:
			firsts[r.To()]++
		case !r.Allowed:
			more[r.To()] += r.Repeated
			if len(r.Path) > 0 || r.Rule != RuleAllowed || r.Phase != PhaseDecided || r.ID == 0 {
				t.Errorf("what was counted is %+v", r)
			}
		}
	}
	if len(firsts) != MaxRefusedKinds || firsts["evil0.example:80"] != 1 || len(more) != MaxRefusedKinds+1 {
		t.Errorf("%d records of the first, %d of the rest: %v, %v", len(firsts), len(more), firsts, more)
	}
	if more["evil0.example:80"] != each-1 || more["*"] != each*(hosts-MaxRefusedKinds) || allowed != each {
		t.Errorf("%d allowed, refused %v", allowed, more)
	}
}

// TestFoldedRefusalsAreToldInTime: while the proxy is open, and each window begins anew.
func TestFoldedRefusalsAreToldInTime(t *testing.T) {
	w := newWorld(t)
	b := w.box(allow("web.example"), func(c *Config) { c.Timeouts.Fold = 50 * time.Millisecond })
	for round := 1; round <= 2; round++ {
		for range 3 {
			b.say("GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
		}
		b.await("the rest", func(Record) bool {
			told := 0
			for _, r := range b.recorded() {
				told += max(1, r.Repeated) // a record of its own tells of one
			}
			return told == 3*round
		})
	}
	if b.Usage().Refused != 6 {
		t.Errorf("%+v", b.Usage())
	}
}
