package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
)

// pacing is a pacer whose time stands still until it is told.
type pacing struct {
	*pacer
	at time.Time
}

func paceOf(p Pace) *pacing {
	s := &pacing{at: time.Unix(1_700_000_000, 0)}
	s.pacer = newPacer(p, func() time.Time { return s.at })
	return s
}

func (s *pacing) takes(t *testing.T, c identity.Caller, n int) {
	t.Helper()
	for i := range n {
		if err := s.admit(http.Header{}, c); err != nil {
			t.Fatalf("request %d: %v", i+1, err)
		}
	}
}

func (s *pacing) refuses(t *testing.T, c identity.Caller, limit string, wait time.Duration) {
	t.Helper()
	var e *stead.Error
	err := s.admit(http.Header{}, c)
	if e, _ = err.(*stead.Error); e == nil || e.Kind != stead.KindLimited || !strings.Contains(e.Message, "requests_per_minute."+limit+")") || e.RetryAfter != wait {
		t.Fatalf("%+v, want a refusal by %s for %v", err, limit, wait)
	}
}

func caller(project, who, key string) identity.Caller {
	return identity.Caller{Principal: stead.Principal{Project: stead.ProjectID(project), Kind: stead.PrincipalUser, ID: who}, Key: key}
}

func TestEachHasAPaceOfItsOwn(t *testing.T) {
	s := paceOf(Pace{Key: 3, Principal: 5, Project: 8})
	ada := caller("one", "ada", "key_1")
	s.takes(t, ada, 3)
	s.refuses(t, ada, "key", 20*time.Second)
	ada.Key = "key_2"
	s.takes(t, ada, 2)
	s.refuses(t, ada, "principal", 12*time.Second)
	s.takes(t, caller("one", "bob", "key_3"), 3)
	s.refuses(t, caller("one", "cem", "key_4"), "project", 7500*time.Millisecond)
	s.takes(t, caller("two", "ada", "key_1"), 3) // another project
	s.at = s.at.Add(20 * time.Second)
	s.takes(t, caller("one", "ada", "key_1"), 1)
	s.refuses(t, caller("one", "ada", "key_1"), "key", 20*time.Second)
	s.at = s.at.Add(time.Hour) // no more than a minute's is kept
	s.takes(t, caller("one", "ada", "key_1"), 3)
	s.refuses(t, caller("one", "ada", "key_1"), "key", 20*time.Second)
}

// TestARefusalCountsNowhere: who is refused by one limit uses nothing of the others up.
func TestARefusalCountsNowhere(t *testing.T) {
	s := paceOf(Pace{Key: 1, Project: 3})
	s.takes(t, caller("one", "ada", "key_1"), 1)
	for range 100 {
		s.refuses(t, caller("one", "ada", "key_1"), "key", time.Minute)
	}
	s.takes(t, caller("one", "bob", "key_2"), 1)
	s.takes(t, caller("one", "bob", "key_3"), 1)
}

// TestTokensCountAsWhatTheyWereMadeWith: nobody gets more by making many.
func TestTokensCountAsWhatTheyWereMadeWith(t *testing.T) {
	of := func(n int) identity.Caller {
		c := caller("one", fmt.Sprint("user-", n), fmt.Sprint("tok_", n))
		c.Maker, c.Paced = "user:ada", "key_1"
		return c
	}
	s := paceOf(Pace{Key: 3})
	s.takes(t, caller("one", "ada", "key_1"), 1)
	s.takes(t, of(1), 1)
	s.takes(t, of(2), 1)
	s.refuses(t, of(3), "key", 20*time.Second)
	s.refuses(t, caller("one", "ada", "key_1"), "key", 20*time.Second)
	s = paceOf(Pace{Principal: 2})
	s.takes(t, of(1), 1)
	s.takes(t, of(2), 1)
	s.refuses(t, caller("one", "ada", "key_2"), "principal", 30*time.Second)
	roots := of(4)
	roots.Paced = ""
	s.takes(t, roots, 2)
}

func TestWhoHasNoPace(t *testing.T) {
	none := paceOf(Pace{})
	none.takes(t, caller("one", "ada", "key_1"), 1000)
	root := identity.Caller{Principal: stead.Principal{Project: "one", Kind: stead.PrincipalService, ID: "root", Role: identity.Owner}, Key: "root"}
	paceOf(Pace{Key: 1, Principal: 1, Project: 1}).takes(t, root, 1000)
}

func TestHeadersTellOfTheNearestLimit(t *testing.T) {
	s := paceOf(Pace{Key: 60, Project: 10})
	h := http.Header{}
	if err := s.admit(h, caller("one", "ada", "key_1")); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(h.Get("X-Ratelimit-Limit-Requests"), " ", h.Get("X-Ratelimit-Remaining-Requests"), " ", h.Get("X-Ratelimit-Reset-Requests")); got != "10 9 6s" {
		t.Error(got)
	}
}

// TestMoreThanCanBeCounted: newcomers wait, and those who have been quiet make room.
func TestMoreThanCanBeCounted(t *testing.T) {
	s := paceOf(Pace{Key: 60})
	for i := range maxPaced {
		s.takes(t, caller("one", "ada", fmt.Sprint(i)), 1)
	}
	if err := s.admit(http.Header{}, caller("one", "ada", "new")); stead.KindOf(err) != stead.KindLimited {
		t.Error(err)
	}
	s.takes(t, caller("one", "ada", "7"), 1) // who is known goes on
	s.at = s.at.Add(time.Second)
	s.takes(t, caller("one", "ada", "new"), 1)
	if len(s.full) != 2 {
		t.Errorf("%d are remembered", len(s.full))
	}
}
