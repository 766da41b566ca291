package source_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/web"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// site is a web server with pages that come and go.
type site struct {
	*testing.T
	*httptest.Server
	mu    sync.Mutex
	pages map[string]http.HandlerFunc
	asked []string // paths, with "304" where nothing had changed
	heads []http.Header
}

func newSite(t *testing.T) *site {
	s := &site{T: t, pages: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		page, ok := s.pages[r.URL.Path]
		s.asked, s.heads = append(s.asked, r.URL.RequestURI()), append(s.heads, r.Header)
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		page(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) on(path string, page http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path] = page
}

func (s *site) gone(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pages, path)
}

// serve has a page that has an ETag.
func (s *site) serve(path, contentType, body string) {
	tag := fmt.Sprintf("%q", fmt.Sprint(len(body), "-", strings.Count(body, "e"), "-", time.Now().UnixNano()))
	s.on(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		w.Header().Set("Content-Type", contentType)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, body)
	})
}

// html has a page with links.
func (s *site) html(path, text string, links ...string) {
	var b strings.Builder
	for _, l := range links {
		fmt.Fprintf(&b, "<a href=%q>x</a>", l)
	}
	s.serve(path, "text/html; charset=utf-8", "<html><head><title>Page</title></head><body><h1>Top</h1><p>"+text+"</p>"+b.String()+"</body></html>")
}

func (s *site) answers(path string, code int, header ...string) {
	s.on(path, func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	})
}

// since returns what was asked since the last time.
func (s *site) since() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked, s.heads = nil, nil
	return out
}

func (s *site) headers() []http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heads)
}

// names resolves names to addresses, one after the other, the last one for ever.
type names struct {
	mu   sync.Mutex
	addr map[string][]string
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.addr[host]
	if len(list) == 0 {
		return nil, &net.DNSError{Name: host, IsNotFound: true}
	}
	if len(list) > 1 {
		n.addr[host] = list[1:]
	}
	return []netip.Addr{netip.MustParseAddr(list[0])}, nil
}

// reading is a reader of sites with names of its own.
func reading(n *names, sites ...web.Site) *web.Reader {
	return web.New(web.Config{Sites: sites, Agent: "stead/test", Pause: time.Microsecond,
		Guard: func(private []string) (web.Guard, error) { return egress.NewGuard(private, n) },
		Wire:  func(g web.Guard) http.RoundTripper { return mcp.Guarded(g) }})
}

func webNode(t *testing.T, db database, r *web.Reader) *node {
	t.Helper()
	n := newNode(t, db, t.TempDir(), &atomic.Int64{}, policy.AllowLocal{})
	n.reader = &counting{Reader: r}
	n.Service = source.NewService(source.Config{Documents: db, Stores: n.vectors, Readers: map[string]source.Reader{source.Web: n.reader}, Now: time.Now})
	return n
}

func (n *node) webSource(store string, spec source.Spec) source.Source {
	n.Helper()
	spec.Type = source.Web
	made, err := n.Create(n.Context(), n.me, store, spec, "", "")
	if err != nil {
		n.Fatal(err)
	}
	return made
}

// local is the site, opened by its address.
func (s *site) local(start ...string) web.Site {
	out := web.Site{Name: "docs", Private: []string{"127.0.0.1/32"}}
	for _, p := range start {
		out.URLs = append(out.URLs, s.URL+p)
	}
	return out
}

func TestASiteIsFollowed(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		s := newSite(t)
		s.html("/docs/", "Welcome to apples.", "refunds", "guide.md", "table.csv", "/outside", "mailto:x@example.com", "https://example.com/far", "refunds?page=2", "pic.png", "../docs/./refunds#top", "gone", "closed", "secret%2fx")
		s.html("/docs/refunds", "Refunds take thirty days.", "deep/lift")
		s.html("/docs/deep/lift", "The lift is blue.", "/docs/")
		s.html("/outside", "Oranges are outside.")
		s.html("/docs/unlinked", "Quinces are in the sitemap.")
		s.serve("/docs/guide.md", "text/markdown", "# Guide\n\n## Bicycles\n\nBicycles go behind the house.\n")
		s.serve("/docs/table.csv", "text/csv; charset=iso-8859-1", "id,name\n1,K\xe4se\n")
		s.serve("/docs/pic.png", "image/png", "\x89PNG")
		s.answers("/docs/closed", http.StatusForbidden)
		s.serve("/sitemap.xml", "application/xml", `<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc>`+s.URL+`/docs/unlinked</loc></url><url><loc>`+s.URL+`/outside</loc></url></urlset>`)
		n := webNode(t, db, reading(nil, s.local("/docs/"))).begin()
		store := n.store()
		src := n.webSource(store, source.Spec{Site: "docs"})
		first := n.ended(src, 1)
		n.want("the first", did(first), "+6 ~0 -0 =0 !0")
		if first.State.Error != nil {
			t.Fatalf("%+v", first.State.Error)
		}
		for query, path := range map[string]string{"refunds thirty": "docs/refunds", "lift": "docs/deep/lift", "bicycles": "docs/guide.md", "quinces": "docs/unlinked", "käse": "docs/table.csv", "oranges": ""} {
			n.want(query, n.finds(n.me, store, query), path)
		}
		asked := s.since()
		for _, p := range asked {
			if p == "/outside" || strings.Contains(p, "?") || strings.Contains(p, "%2f") {
				t.Errorf("%s was asked for", p)
			}
		}
		found, err := n.vectors.Search(t.Context(), n.me, store, vectorstore.Search{Queries: []string{"bicycles"}})
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		o := found[0].File.Origin
		if o.URI != s.URL+"/docs/guide.md" || !strings.HasPrefix(o.Version, "etag:") || !slices.Equal(o.Labels, []string{source.LabelUntrusted}) || found[0].Heading != "Guide" {
			t.Errorf("%+v %q", o, found[0].Heading)
		}

		// Nothing has changed: nothing is read, and nothing is lost of what only a page links that was not read.
		read := n.reader.read.Load()
		n.want("as it was", n.again(src), "+0 ~0 -0 =6 !0")
		if n.ended(src, 2).Counts.Read != 0 {
			t.Error("what has not changed was read")
		}
		if got := len(s.since()); got > len(asked)+1 {
			t.Errorf("%d requests where nothing has changed, %d the first time", got, len(asked))
		}
		_ = read
		was := o.Version
		s.serve("/docs/guide.md", "text/markdown", "# Guide\n\nBicycles go into the shed.\n")
		n.want("one has changed", n.again(src), "+0 ~1 -0 =5 !0")
		if file, err := n.vectors.GetFile(t.Context(), n.me, store, vectorstore.DocumentID(src.ID, "docs/guide.md")); err != nil || file.Origin.Version == was || file.Origin.Superseded[0].Version != was {
			t.Errorf("%+v %v", file.Origin, err)
		}
		// A page is gone, and with it what only it had linked.
		s.gone("/docs/refunds")
		n.want("one is gone", n.again(src), "+0 ~0 -2 =4 !0")
		n.want("refunds", n.finds(n.me, store, "refunds lift"), "")
		s.html("/docs/refunds", "Refunds take a year.", "deep/lift")
		n.want("it is back", n.again(src), "+2 ~0 -0 =4 !0")
		// A page that is there, and that nobody links any more, goes; one that another page links, which has not changed, stays.
		s.html("/docs/deep/lift", "The lift is blue.", "/docs/unlinked")
		n.want("the lift leads to it", n.again(src), "+0 ~1 -0 =5 !0")
		s.gone("/sitemap.xml")
		n.want("no sitemap", n.again(src), "+0 ~0 -0 =6 !0")
		n.want("quinces", n.finds(n.me, store, "quinces"), "docs/unlinked")
		s.html("/docs/deep/lift", "The lift is green.")
		n.want("and no link", n.again(src), "+0 ~1 -1 =4 !0")
		n.want("quinces", n.finds(n.me, store, "quinces"), "")
		// What is away for now stays, with what only it leads to.
		s.answers("/docs/refunds", http.StatusBadGateway)
		n.want("one is away", n.again(src), "+0 ~0 -0 =4 !1")
		if now := n.ended(src, 1); now.Failures[0].Code != "unavailable" || now.Failures[0].Path != "docs/refunds" {
			t.Errorf("%+v", now.Failures)
		}
		n.want("refunds, lift", n.finds(n.me, store, "refunds lift"), "docs/deep/lift docs/refunds")
		s.html("/docs/refunds", "Refunds take a year.", "deep/lift")
		n.want("back", n.again(src), "+0 ~0 -0 =5 !0")
		// The site as a whole is away.
		s.answers("/docs/", http.StatusNotFound)
		n.want("no start page", n.again(src), "+0 ~0 -0 =0 !0")
		if now := n.ended(src, 1); now.State.Error == nil || !strings.Contains(now.State.Error.Message, "404") {
			t.Errorf("%+v", now.State.Error)
		}
		n.want("refunds: that it is not there may be said to who is not let in", n.finds(n.me, store, "refunds"), "")
		if err := n.Delete(t.Context(), n.me, store, src.ID); err != nil {
			t.Fatal(err)
		}
		n.passages(db, store, 0)
	})
}

// What a site says of itself: robots.txt, noindex, nofollow, canonical links, redirects.
func TestASiteSaysWhatIsRead(t *testing.T) {
	s := newSite(t)
	s.serve("/robots.txt", "text/plain", "User-agent: *\nAllow: /\n\nUser-agent: Stead\nDisallow: /private\nAllow: /private/open\nDisallow: /*.tmp$\nSitemap: /map.xml.gz\n")
	s.on("/map.xml.gz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, "<urlset><url><loc>/mapped</loc></url></urlset>")
		_ = z.Close()
	})
	s.html("/", "Start.", "/private/x", "/private/open", "/a.tmp", "/hidden", "/dead-end", "/twin?b", "/twin", "/moved", "/round", "/far", "/circle1", "/header", "/loop", "/drafts/x")
	s.html("/private/x", "Private.")
	s.html("/private/open", "Open.")
	s.html("/a.tmp", "Temporary.")
	s.html("/mapped", "Mapped.")
	s.html("/drafts/x", "Draft.")
	s.serve("/hidden", "text/html", `<meta name="ROBOTS" content="NoIndex"><p>Hidden.</p><a href="/behind">x</a>`)
	s.html("/behind", "Behind.")
	s.serve("/dead-end", "text/html", `<meta name="stead" content="nofollow"><p>Dead.</p><a href="/unreached">x</a>`)
	s.html("/unreached", "Unreached.")
	s.on("/header", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("X-Robots-Tag", "otherbot: nofollow, unavailable_after: Wed, 03 Dec 2025 13:09:53 GMT")
		w.Header().Add("X-Robots-Tag", "noindex")
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `Header. <a href="/behind-header">x</a><a rel="nofollow" href="/unreached">x</a>`)
	})
	s.html("/behind-header", "Header.")
	s.serve("/twin", "text/html", `<link rel="canonical" href="/one"><p>Twin.</p>`)
	s.serve("/one", "text/html", `<link rel="canonical" href="/one"><p>One.</p>`)
	s.serve("/circle1", "text/html", `<link rel="canonical" href="/circle2"><p>Circle.</p>`)
	s.serve("/circle2", "text/html", `<link rel="canonical" href="/circle1"><p>Circle.</p>`)
	s.answers("/moved", http.StatusMovedPermanently, "Location", "/new")
	s.html("/new", "New.")
	s.answers("/round", http.StatusFound, "Location", "/round")
	s.answers("/loop", http.StatusFound, "Location", "/loop2")
	s.answers("/loop2", http.StatusFound, "Location", "/loop")
	s.answers("/far", http.StatusFound, "Location", "http://169.254.169.254/latest/meta-data/")
	both(t, func(t *testing.T, db database) {
		n := webNode(t, db, reading(nil, s.local("/"))).begin()
		store := n.store()
		src := n.webSource(store, source.Spec{Site: "docs", Exclude: []string{"drafts/"}})
		now := n.ended(src, 1)
		if now.State.Error != nil {
			t.Fatal(now.State.Error)
		}
		had, err := n.vectors.Documents(t.Context(), n.me.Project, store, src.ID)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for p := range had {
			paths = append(paths, p)
		}
		slices.Sort(paths)
		n.want("pages", strings.Join(paths, " "), "/ behind behind-header circle2 dead-end mapped new one private/open")
		n.want("once more", n.again(src), fmt.Sprintf("+0 ~0 -0 =%d !%d", len(paths), now.Counts.Failed))
		for _, f := range now.Failures {
			t.Logf("%+v", f)
		}
		for _, p := range s.since() {
			if slices.Contains([]string{"/private/x", "/a.tmp", "/unreached", "/drafts/x"}, p) {
				t.Errorf("%s was asked for", p)
			}
		}
	})
}

var _ = stead.KindOf
