// Package web reads the pages of sites, from start pages and sitemaps along links, as crawlers do: politely, and within bounds.
//
// Shape:
//
//	start pages, sitemaps ─▶ queue ─▶ robots.txt ─▶ GET, conditional ─┬ 200 ─▶ text, links ─▶ visited; links that are in scope are queued
//	                                                                 ├ 304 ─▶ unchanged; what it had led to is queued
//	                                                                 ├ 404, 410 ─▶ goes
//	                                                                 └ 5xx, silence ─▶ stays as it was
//
// Where it may go: a start page gives a scope, its host and what lies below it; nothing else is requested, redirects and sitemaps included.
// Which addresses that may be says a Guard, by name and for each connection. A site's headers are sent within its scopes alone. No cookie
// is kept. A page's path is that of its URL, with "//HOST" in front where it is not the first start page's host. A URL with a query is no page.
//
// A page that was not changed is not read: its stamp has the links that it was the first to lead to. Pages to which nothing leads
// any more are looked for on the pages that were not read, and go when they are on none of them.
//
// Errors: KindUnavailable and KindForbidden of a site as a whole; KindTooLarge beyond the limits below.
//
// Sources: RFC 9309 (robots.txt), RFC 9110 (conditional requests, Retry-After, redirects), sitemaps.org 0.9, RFC 6596 (canonical links).
package web

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/source"
)

const (
	// MaxURLBytes is the longest URL.
	MaxURLBytes = 2048
	// maxDepth is how many links a page may be away from a start page, or from a sitemap.
	maxDepth = 16
	// maxRequests is how often a walk asks, robots.txt, sitemaps and redirects included, and maxWalkBytes how much it reads.
	maxRequests  = 30_000
	maxWalkBytes = 4 << 30
	// maxWalkTime is how long a walk may take, pageTime one request with its answer.
	maxWalkTime = 30 * time.Minute
	pageTime    = 30 * time.Second
	// maxRedirects is how many a page may take.
	maxRedirects = 5
	// maxLinks is how many links of a page are looked at.
	maxLinks = 5000
	// maxInARow is how many pages in a row may be away before the site is.
	maxInARow = 10
	// pause is the time between two requests to a host, of all sources of a node.
	pause = 100 * time.Millisecond
	// maxTries is how often a page is asked for that is asked for too often (429, Retry-After), maxWait the longest wait in between.
	maxTries = 3
	maxWait  = 30 * time.Second
	// maxRobotsBytes is how much of a robots.txt counts: RFC 9309 asks for 500 KiB. maxRobotsRules bounds what is in it for us.
	maxRobotsBytes = 512 << 10
	maxRobotsRules = 10_000
	// maxSitemapBytes is the largest sitemap, unpacked, maxSitemaps how many there may be.
	maxSitemapBytes = 16 << 20
	maxSitemaps     = 64
	// maxTagBytes is the longest ETag that is kept, maxStampBytes the most that is kept of a page with its links.
	maxTagBytes   = 256
	maxStampBytes = 256 << 10
)

// token is what we are called in robots.txt, in lower case.
const token = "stead"

// Site is one that the operator has configured.
type Site struct {
	Name     string
	URLs     []string
	Private  []string          // names and networks that are not public, as Config.Guard has them
	Headers  map[string]string // sent within its scopes
	Unruled  bool              // its robots.txt is not asked
	Projects []stead.ProjectID // whose sources may name it; none: all
}

// Guard says which addresses may be reached.
type Guard interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// Check refuses a host by its spelling.
	Check(hostname string) error
}

// Config is what a Reader stands on.
type Config struct {
	Sites []Site
	// Guard makes one that lets everything public through, and what is named as well.
	Guard func(private []string) (Guard, error)
	// Wire makes connections through a guard.
	Wire func(Guard) http.RoundTripper
	// Local: whoever uses this server runs it, so that URLs that users give may name private hosts.
	Local    bool
	Agent    string        // the header User-Agent
	Pause    time.Duration // between two requests to a host; 0: the usual one
	PageTime time.Duration // that one request with its answer may take; 0: the usual one
}

// Reader implements source.Reader.
type Reader struct {
	cfg  Config
	mu   sync.Mutex
	next map[string]time.Time // by host: when it may be asked again
}

// New makes a Reader.
func New(c Config) *Reader {
	if c.Pause == 0 {
		c.Pause = pause
	}
	if c.PageTime == 0 {
		c.PageTime = pageTime
	}
	return &Reader{cfg: c, next: map[string]time.Time{}}
}

// site is what a source reads: a configured one, or that of a user's URLs.
func (r *Reader) site(project stead.ProjectID, spec source.Spec) (Site, error) {
	if spec.Site == "" {
		return Site{URLs: spec.URLs, Private: r.local(spec.URLs)}, nil
	}
	for _, s := range r.cfg.Sites {
		if s.Name == spec.Site && (len(s.Projects) == 0 || slices.Contains(s.Projects, project)) {
			return s, nil
		}
	}
	e := stead.Invalid("site", "there is no site %.80q for this project", spec.Site)
	e.Hint = "The operator names those with secrets or private addresses: sources.sites. Public ones are given as urls."
	return Site{}, e
}

// local are the hosts of URLs, where they may be private. A cloud's metadata address is opened by its own address alone, and so never here.
func (r *Reader) local(urls []string) []string {
	if !r.cfg.Local {
		return nil
	}
	var out []string
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil {
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
		a, err := netip.ParseAddr(name)
		switch {
		case name == "localhost" || strings.HasSuffix(name, ".localhost"):
			out = append(out, "127.0.0.0/8", "::1/128")
		case err != nil:
			out = append(out, name)
		case a.IsLoopback() || a.IsPrivate():
			const around4, around6 = 24, 64
			bits := around4
			if a.Is6() {
				bits = around6
			}
			if p, err := a.Prefix(bits); err == nil {
				out = append(out, p.String())
			}
		}
	}
	return out
}

// Check implements source.Reader.
func (r *Reader) Check(project stead.ProjectID, spec source.Spec) error {
	if (spec.Site == "") == (len(spec.URLs) == 0) {
		return stead.Invalid("urls", "a source of type web has one of urls and site")
	}
	if spec.Path != "" {
		return stead.Invalid("path", "path is for directories and repositories: a source of type web reads what lies below its urls")
	}
	if len(spec.URLs) > stead.MaxSourceURLs {
		return stead.Invalid("urls", "urls has %d entries, the limit is %d", len(spec.URLs), stead.MaxSourceURLs)
	}
	for i, raw := range spec.URLs {
		if err := CheckURL(param.Index("urls", i), raw); err != nil {
			return err
		}
	}
	s, err := r.site(project, spec)
	if err != nil {
		return err
	}
	if err := r.checkHosts(s, spec); err != nil {
		return err
	}
	if spec.Sitemap == "" {
		return nil
	}
	if err := CheckURL("sitemap", spec.Sitemap); err != nil {
		return err
	}
	sc, err := scopesOf(s.URLs)
	if err != nil {
		return err
	}
	if u, ok := normal(spec.Sitemap, nil); !ok || !sc.host(u) {
		return stead.Invalid("sitemap", "sitemap must be on a host of the start pages")
	}
	return nil
}

// checkHosts refuses what a guard refuses without looking a name up.
func (r *Reader) checkHosts(s Site, spec source.Spec) error {
	g, err := r.cfg.Guard(s.Private)
	if err != nil {
		return err
	}
	for i, raw := range spec.URLs {
		u, ok := normal(raw, nil)
		if !ok {
			return stead.Invalid(param.Index("urls", i), "%.200q is no URL of a page", raw)
		}
		if err := g.Check(u.Hostname()); err != nil {
			e := stead.Invalid(param.Index("urls", i), "%.80q has no address that may be reached from here", u.Host)
			e.Hint = "The operator opens private addresses for a site: sources.sites."
			return e
		}
	}
	return nil
}

// CheckURL refuses what can be no start page.
func CheckURL(field, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > MaxURLBytes || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return stead.Invalid(field, "%s must be an http or https URL of at most %d bytes", field, MaxURLBytes)
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		e := stead.Invalid(field, "%s must have no user, query or fragment", field)
		e.Hint = "URLs are shown to whoever may read the pages. The operator sets secrets as headers of a site: sources.sites."
		return e
	}
	if _, ok := normal(raw, nil); !ok {
		return stead.Invalid(field, "%.200q is no URL of a page", raw)
	}
	return nil
}

// wait lets a host have its pause.
func (r *Reader) wait(ctx context.Context, host string) error {
	r.mu.Lock()
	now := time.Now()
	at := r.next[host]
	if at.Before(now) {
		at = now
	}
	r.next[host] = at.Add(r.cfg.Pause)
	const many = 1000
	if len(r.next) > many {
		for h, t := range r.next {
			if t.Before(now) {
				delete(r.next, h)
			}
		}
	}
	r.mu.Unlock()
	return sleep(ctx, at.Sub(now))
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
