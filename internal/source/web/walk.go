package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
)

// crawl is one walk through a site.
type crawl struct {
	r         *Reader
	walk      source.Walk
	site      Site
	scopes    scopes
	selection source.Selection
	client    *http.Client
	robots    map[string]robots // by scheme and host

	queue    []item
	queued   map[string]bool // paths that were in it, or that a redirect led to
	moved    map[string]bool // pages that say that another one is the one to read
	unread   []*same         // pages that are as they were: nobody knows all their links
	blind    bool            // some page or sitemap was away, so that nobody knows what it leads to
	lost     error           // of a sitemap that was away: the walk ends as one that does not know all
	requests int
	bytes    int64
	inARow   int // pages that were away
	begun    int // start pages that were read
	failed   error
	refusals int // start pages that the site does not let us read
}

// item is a page that is to be asked for.
type item struct {
	url   *url.URL
	depth int
}

// same is a page that is as it was.
type same struct {
	item
	stamp
	document bool
}

// Walk implements source.Reader.
func (r *Reader) Walk(ctx context.Context, w source.Walk) (string, error) {
	s, err := r.site(w.Project, w.Spec)
	if err != nil {
		return "", err
	}
	guard, err := r.cfg.Guard(s.Private)
	if err != nil {
		return "", err
	}
	within, err := scopesOf(s.URLs)
	if err != nil {
		return "", err
	}
	c := &crawl{r: r, walk: w, site: s, scopes: within, selection: source.Select(w.Spec), robots: map[string]robots{},
		queued: map[string]bool{}, moved: map[string]bool{},
		client: &http.Client{Transport: r.cfg.Wire(guard), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	defer c.client.CloseIdleConnections()
	limited, cancel := context.WithTimeout(ctx, maxWalkTime)
	defer cancel()
	err = c.run(limited)
	if ctx.Err() == nil {
		err = cmp.Or(c.unchanged(), err)
	}
	if ctx.Err() == nil && limited.Err() != nil {
		err = stead.Errorf(stead.KindUnavailable, "the site is not read within %s: give start pages further below, or leave pages out by exclude", maxWalkTime)
	}
	if e, ok := errors.AsType[ends](err); ok {
		err = e.error
	}
	return "", err
}

func (c *crawl) run(ctx context.Context) error {
	for _, raw := range c.site.URLs {
		u, _ := normal(raw, nil)
		c.add(u, 0)
	}
	starts := len(c.queue)
	for i := 0; i < starts; i++ {
		if err := c.next(ctx, true); err != nil {
			return err
		}
	}
	if c.begun == 0 {
		err := cmp.Or(c.failed, error(stead.Errorf(stead.KindUnavailable, "no start page can be read")))
		if c.refusals == starts {
			err = source.Refused(err)
		}
		return err
	}
	if err := c.sitemaps(ctx); err != nil {
		return err
	}
	if err := c.drain(ctx); err != nil {
		return err
	}
	return cmp.Or(c.rest(ctx), c.lost)
}

func (c *crawl) drain(ctx context.Context) error {
	for len(c.queue) > 0 {
		if err := c.next(ctx, false); err != nil {
			return err
		}
	}
	return nil
}

// rest sees to the pages that were there and to which nothing led. Those that are linked on a page that was not read stay.
func (c *crawl) rest(ctx context.Context) error {
	for i := 0; i < len(c.unread); i++ { // there may be more, meanwhile
		if c.complete() {
			return nil
		}
		it := c.unread[i]
		ans, err := c.get(ctx, it.url, c.page(false))
		if _, end := errors.AsType[ends](err); end || ctx.Err() != nil {
			return err
		}
		c.blind = c.blind || stead.KindOf(err) == stead.KindUnavailable
		if err == nil && ans.body != nil {
			c.follow(it, ans)
		}
		if err := c.drain(ctx); err != nil {
			return err
		}
	}
	if !c.blind {
		return nil
	}
	for _, path := range c.left() { // what leads to it may be what was away: it goes when it is gone itself
		o, _ := c.walk.Had(path)
		if u, ok := normal(o.URI, nil); ok && c.scopes.has(u) {
			c.add(u, 0)
		}
	}
	return c.drain(ctx)
}

// complete reports whether all pages that were there were asked for.
func (c *crawl) complete() bool {
	for path := range c.walk.Known() {
		if !c.queued[path] {
			return false
		}
	}
	return true
}

// left are the pages that were there and that were not asked for.
func (c *crawl) left() []string {
	var out []string
	for path := range c.walk.Known() {
		if !c.queued[path] {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

// add queues a page that is in scope, is not left out, and was not met.
func (c *crawl) add(u *url.URL, depth int) bool {
	path := c.scopes.path(u)
	if depth > maxDepth || c.queued[path] || len(c.queued) >= maxRequests || !c.scopes.has(u) || c.selection.Excludes(path) {
		return false
	}
	c.queued[path] = true
	c.queue = append(c.queue, item{u, depth})
	return true
}

// lead queues links of a page, and returns those that it is the first to lead to.
func (c *crawl) lead(links []*url.URL, page *url.URL, depth int) []string {
	var first []string
	for _, u := range links {
		if c.add(u, depth) {
			first = append(first, short(u, page))
		}
	}
	return first
}

// next asks for the page that is next, and sees to what comes of it. Its error ends the walk.
func (c *crawl) next(ctx context.Context, start bool) error {
	it := c.queue[0]
	c.queue = c.queue[1:]
	if err := ctx.Err(); err != nil {
		return err
	}
	a := c.page(true)
	a.arrive = func(u *url.URL) error { // a redirect led there
		path := c.scopes.path(u)
		if c.queued[path] && path != c.scopes.path(it.url) || c.selection.Excludes(path) {
			return errMet
		}
		c.queued[path] = true
		return nil
	}
	ans, err := c.get(ctx, it.url, a)
	if _, end := errors.AsType[ends](err); end || ctx.Err() != nil {
		return cmp.Or(ctx.Err(), err)
	}
	if err != nil {
		return c.missed(it, ans.url, start, err)
	}
	c.inARow = 0
	if start {
		c.begun++
	}
	return c.met(it, ans)
}

// missed notes that a page can't be read. That a link leads nowhere is no failure; that a start page does, is.
func (c *crawl) missed(it item, at *url.URL, start bool, err error) error {
	if errors.Is(err, errMet) {
		if start {
			c.begun++
		}
		return nil
	}
	path := c.scopes.path(at)
	_, known := c.walk.Had(path)
	_, away := errors.AsType[elsewhere](err)
	switch kind := stead.KindOf(err); {
	case away || kind == stead.KindNotFound || errors.Is(err, errForbid):
		if !start {
			return nil
		}
		err = stead.Errorf(stead.KindForbidden, "the start page %s: %s", it.url, err)
	case kind == stead.KindUnavailable:
		c.blind = true
		if c.inARow++; c.inARow >= maxInARow {
			return err
		}
	case kind == stead.KindForbidden && !known && !start: // many links lead to where one has to sign in
		return nil
	case kind == stead.KindTooLarge || kind == stead.KindInvalid:
		// Its stamp has it fail once, and not be in the place of what it was.
		return c.walk.Visit(source.Document{Path: path, URI: at.String(), Stamp: "failed", Read: func(context.Context) (source.Content, error) { return source.Content{}, err }})
	}
	if start && c.failed == nil {
		c.failed = err
	}
	if start && stead.KindOf(err) == stead.KindForbidden {
		c.refusals++
	}
	if start && c.begun == 0 && len(c.site.URLs) == 1 {
		return nil // of the source as a whole: run says so
	}
	return c.walk.Visit(source.Document{Path: path, URI: at.String(), Err: err})
}

// met takes in a page.
func (c *crawl) met(it item, ans answer) error {
	path := c.scopes.path(ans.url)
	said := headerDirectives(ans.header)
	if ans.same {
		c.asItWas(it, ans, path, said)
		return nil
	}
	if ans.body == nil {
		return nil // nothing that is read: a picture
	}
	f := formatOf(ans.header.Get("Content-Type"), ans.url.Path)
	data, err := f.utf8Of(ans.body, ans.header.Get("Content-Type"))
	if err != nil {
		return c.missed(it, ans.url, false, stead.Errorf(stead.KindInvalid, "its charset can't be read"))
	}
	var first []string
	if f == pageHTML {
		r := readHTML(data, ans.url)
		said.noindex, said.nofollow = said.noindex || r.noindex, said.nofollow || r.nofollow
		if !said.nofollow {
			first = c.lead(r.links, ans.url, it.depth+1)
		}
		if to := r.canonical; to != nil && c.moves(path, to) {
			c.add(to, it.depth)
			return nil
		}
	}
	if said.noindex || !c.selection.Has(path) {
		return nil
	}
	s := stampOf(ans.header, first)
	return c.walk.Visit(source.Document{Path: path, URI: ans.url.String(), Read: func(context.Context) (source.Content, error) {
		return source.Content{Data: data, Name: f.nameOf(path), Version: s.version(), Stamp: s.String()}, nil
	}})
}

// moves reports whether another page is to be read in the place of one. Of pages that name each other in a circle one is read.
func (c *crawl) moves(path string, to *url.URL) bool {
	other := c.scopes.path(to)
	if other == path || !c.scopes.has(to) || c.moved[other] || c.selection.Excludes(other) {
		return false
	}
	c.moved[path] = true
	return true
}

// asItWas notes a page that was not read. What it had led to is asked for.
func (c *crawl) asItWas(it item, ans answer, path string, said directives) {
	was, _ := c.known(ans.url)
	c.unread = append(c.unread, &same{item{ans.url, it.depth}, was, !said.noindex && c.selection.Has(path)})
	for _, l := range was.Links {
		if u, ok := normal(l, ans.url); ok {
			c.add(u, it.depth+1)
		}
	}
}

// unchanged takes in the pages that were not read: in the end, when it is known what they lead to.
func (c *crawl) unchanged() error {
	for _, p := range c.unread {
		if !p.document {
			continue
		}
		if err := c.walk.Visit(source.Document{Path: c.scopes.path(p.url), URI: p.url.String(), Read: func(context.Context) (source.Content, error) {
			return source.Content{Stamp: p.String()}, source.ErrUnchanged
		}}); err != nil {
			return err
		}
	}
	return nil
}

// follow queues what a page leads to that is not read for what it says.
func (c *crawl) follow(p *same, ans answer) {
	contentType := ans.header.Get("Content-Type")
	f := formatOf(contentType, ans.url.Path)
	data, err := f.utf8Of(ans.body, contentType)
	if f != pageHTML || err != nil {
		return
	}
	if r := readHTML(data, ans.url); !headerDirectives(ans.header).nofollow && !r.nofollow {
		p.Links = append(p.Links, c.lead(r.links, p.url, p.depth+1)...)
	}
}
