package server

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
)

// Pace is how many requests this node takes a minute, of whoever sends them; 0: as many as come. As many may come at once. The
// root key has no pace: who is to stop what goes wrong must not wait behind it.
type Pace struct {
	Key       int // that one key came with, and the session tokens that were made with it
	Principal int // of one user or service of a project, whatever they came with, and of the session tokens that they made
	Project   int
}

// maxPaced is how many keys, principals and projects are remembered at once. Of more, all of whom have sent something within a
// minute, newcomers are refused: nobody gets more by being many.
const maxPaced = 100_000

// pacer counts requests by buckets that are filled evenly. A bucket is the time at which it will be full again.
type pacer struct {
	pace Pace
	now  func() time.Time

	mu   sync.Mutex
	full map[paced]time.Time
}

type paced struct {
	what, project, id string
}

func newPacer(p Pace, now func() time.Time) *pacer {
	return &pacer{pace: p, now: now, full: map[paced]time.Time{}}
}

// admit takes a request, or says when there will be room for it. What the answer's headers say is about the bucket that has
// least left, in the words of OpenAI's API.
func (p *pacer) admit(h http.Header, c identity.Caller) error {
	if p.pace == (Pace{}) || identity.IsRoot(c.Principal) {
		return nil
	}
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	key, who := c.Key, string(c.Kind)+":"+c.ID
	if c.Paced != "" {
		key, who = c.Paced, cmp.Or(c.Maker, who)
	}
	least := -1
	var takes []paced
	var after []time.Time
	for _, b := range []struct {
		paced
		limit int
	}{
		{paced{"key", string(c.Project), key}, p.pace.Key},
		{paced{"principal", string(c.Project), who}, p.pace.Principal},
		{paced{"project", string(c.Project), ""}, p.pace.Project},
	} {
		if b.limit == 0 || b.what == "key" && b.id == "" {
			continue
		}
		full, left, wait := p.look(b.paced, b.limit, now)
		if least < 0 || left < least {
			least = left
			h.Set("X-Ratelimit-Limit-Requests", strconv.Itoa(b.limit))
			h.Set("X-Ratelimit-Remaining-Requests", strconv.Itoa(left))
			h.Set("X-Ratelimit-Reset-Requests", full.Sub(now).Round(time.Millisecond).String())
		}
		if wait > 0 {
			return &stead.Error{Kind: stead.KindLimited, RetryAfter: wait, Message: fmt.Sprintf("this %s has sent more than %d requests a minute (limits.requests_per_minute.%s)", b.what, b.limit, b.what)}
		}
		takes, after = append(takes, b.paced), append(after, full)
	}
	if !p.remembers(takes, now) {
		return &stead.Error{Kind: stead.KindLimited, RetryAfter: time.Second, Message: "more are sending requests than this node can count"}
	}
	for i, b := range takes { // only when all of them have room
		p.full[b] = after[i]
	}
	return nil
}

// look says when a bucket will be full after one request more, how many more it holds then, and how long that one has to wait.
func (p *pacer) look(b paced, limit int, now time.Time) (full time.Time, left int, wait time.Duration) {
	each := time.Minute / time.Duration(limit)
	full = p.full[b]
	if full.Before(now) {
		full = now
	}
	full = full.Add(each)
	if over := full.Sub(now) - each*time.Duration(limit); over > 0 {
		return full, 0, over
	}
	return full, limit - int((full.Sub(now)+each-1)/each), 0
}

// remembers reports whether there is place for buckets.
func (p *pacer) remembers(takes []paced, now time.Time) bool {
	fresh := 0
	for _, b := range takes {
		if _, known := p.full[b]; !known {
			fresh++
		}
	}
	return fresh == 0 || len(p.full)+fresh <= maxPaced || p.forget(now)
}

// forget leaves out those whose buckets are full again; false: there are none.
func (p *pacer) forget(now time.Time) bool {
	before := len(p.full)
	for b, full := range p.full {
		if !full.After(now) {
			delete(p.full, b)
		}
	}
	return len(p.full) < before
}
