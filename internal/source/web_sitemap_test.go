package source_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/web"
	"github.com/stead-dev/stead/internal/vectorstore"
)

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// Whatever stands in the place of a sitemap takes no page away. Where one was named, or is there and broken, the source says so.
func TestASitemapThatCannotBeReadTakesNothingAway(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		cases := []struct {
			name    string
			bad     http.HandlerFunc
			unnamed bool // an error also where nobody has named it
			fine    bool // no error at all
			other   bool // it is something else, for good: a failure of its own where somebody has named it
		}{
			{"cut XML", says(`<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc>http`), true, false, false},
			{"empty", says(""), false, false, true},
			{"a page of maintenance", says(`<html><body>Back soon.</body></html>`), false, false, true},
			{"text", says("Back soon."), false, false, true},
			{"a cut archive", says("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b"), true, false, false},
			{"too large", says(`<urlset>` + strings.Repeat(" ", 17<<20) + `</urlset>`), true, false, false},
			{"403", status(http.StatusForbidden), false, false, false},
			{"500", status(http.StatusInternalServerError), false, false, false},
			{"a raw &", says(`<urlset><url><loc>/docs/a&b</loc></url><url><loc>/docs/unlinked</loc></url></urlset>`), false, true, false},
			{"a feed", says(`<?xml version="1.0"?><rss version="2.0"><channel><link>/x</link><item><link> /docs/refunds </link></item></channel></rss>`), false, true, false},
			{"a cut feed", says(`<feed xmlns="http://www.w3.org/2005/Atom"><entry><link href="/docs/refunds"/>`), true, false, false},
		}
		type tried struct {
			*site
			source.Source
		}
		var sites []web.Site
		all := map[string]*tried{}
		named := func(i int, named bool) string { return fmt.Sprint(cases[i].name, ", named: ", named) }
		for i := range cases {
			for _, is := range []bool{false, true} {
				s := newSite(t)
				s.html("/docs/", "Welcome to apples.", "refunds")
				s.html("/docs/refunds", "Refunds take thirty days.")
				s.html("/docs/unlinked", "Quinces are in the sitemap.")
				if is {
					s.serve("/robots.txt", "text/plain", "Sitemap: /sitemap.xml\n")
				}
				s.serve("/sitemap.xml", "application/xml", `<urlset><url><loc>`+s.URL+`/docs/unlinked</loc></url></urlset>`)
				one := s.local("/docs/")
				one.Name = named(i, is)
				sites, all[one.Name] = append(sites, one), &tried{site: s}
			}
		}
		n := webNode(t, db, reading(nil, sites...)).begin()
		for name, one := range all {
			one.Source = n.webSource(n.store(), source.Spec{Site: name})
		}
		for i, c := range cases {
			for _, is := range []bool{false, true} {
				name := named(i, is)
				s := all[name]
				n.want(name+": the first", did(n.ended(s.Source, 1)), "+3 ~0 -0 =0 !0")
				s.html("/docs/", "Welcome to pears.", "refunds") // what is read leads to the other no more
				s.on("/sitemap.xml", c.bad)
				n.want(name, n.again(s.Source), "+0 ~1 -0 =2 !"+map[bool]string{true: "1", false: "0"}[is && c.other])
				failed := n.ended(s.Source, 2).State.Error
				if (failed != nil) != (!c.fine && !c.other && (is || c.unnamed)) || failed != nil && !strings.Contains(failed.Message, "/sitemap.xml can't be read") {
					t.Errorf("%s: %+v", name, failed)
				}
			}
		}
	})
}

// A feed in the place of a sitemap leads to what is new. What it names no more stays, and what is gone goes; so it is where something else stands there.
func TestAFeedInThePlaceOfASitemap(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		feeds := map[string]func(base string, pages ...string) string{
			"rss": func(base string, pages ...string) (out string) {
				for _, p := range pages {
					out += "<item><title>x</title><atom:link rel='self' href='" + base + "/feed.xml'/><link><![CDATA[" + base + p + "]]></link></item>"
				}
				return `<?xml version="1.0"?><rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel><title>x</title><link>` + base + `/start</link>` + out + `</channel></rss>`
			},
			"rdf": func(base string, pages ...string) (out string) {
				for _, p := range pages {
					out += "<item rdf:about='" + p + "'><link>" + p + "</link></item>"
				}
				return `<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"><channel/>` + out + `</rdf:RDF>`
			},
			"atom": func(base string, pages ...string) (out string) {
				for _, p := range pages {
					out += `<entry><link rel="edit" href="/edit"/><link href="` + p + `"/><content type="xhtml">` + strings.Repeat("<div>", 20) + strings.Repeat("</div>", 20) + `</content></entry>`
				}
				return `<feed xmlns="http://www.w3.org/2005/Atom"><link href="/start"/>` + out + `</feed>`
			},
			"nothing": func(string, ...string) string { return "" },
		}
		sites, sources := map[string]*site{}, []web.Site{}
		for name, feed := range feeds {
			s := newSite(t)
			for _, p := range []string{"/a", "/b", "/c", "/edit", "/start"} {
				s.html(p, "Page "+p)
			}
			s.html("/", "Start.", "/a", "/b")
			s.serve("/robots.txt", "text/plain", "Sitemap: "+s.URL+"/feed.xml\n")
			s.serve("/feed.xml", "application/xml", feed(s.URL, "/c"))
			one := s.local("/")
			one.Name = name
			sites[name], sources = s, append(sources, one)
		}
		n := webNode(t, db, reading(nil, sources...)).begin()
		for name, s := range sites {
			src := n.webSource(n.store(), source.Spec{Site: name})
			first, then := "+4 ~0 -0 =0 !0", "+0 ~1 -1 =2 !0"
			if name == "nothing" {
				first, then = "+3 ~0 -0 =0 !1", "+0 ~1 -1 =1 !1"
			}
			n.want(name, did(n.ended(src, 1)), first)
			s.gone("/b")
			s.html("/", "Start anew.", "/a")
			s.serve("/feed.xml", "application/xml", feeds[name](s.URL))
			n.want(name+", without what is gone", n.again(src), then)
			if failed := n.ended(src, 2).State.Error; failed != nil {
				t.Errorf("%s: %+v", name, failed)
			}
		}
	})
}

// robots.txt may be another host's (RFC 9309, section 2.3.1.2): it counts, and is asked for without what the site is asked with.
func TestRobotsElsewhere(t *testing.T) {
	other, s := newSite(t), newSite(t)
	other.serve("/rules", "text/plain", "User-agent: *\nDisallow: /closed\n")
	s.html("/", "Start.", "/closed", "/open")
	s.html("/closed", "Closed.")
	s.html("/open", "Open.")
	s.answers("/robots.txt", http.StatusFound, "Location", other.URL+"/rules")
	site := s.local("/")
	site.Headers = map[string]string{"Authorization": "Bearer wiki"}
	met, texts, err := crawled(t, reading(nil, site), source.Spec{Site: "docs"})
	if _, closed := texts["closed"]; err != nil || closed || texts["open"] == "" {
		t.Errorf("%v %v", met, err)
	}
	for _, h := range other.headers() {
		if h.Get("Authorization") != "" {
			t.Error("another host was told the site's header")
		}
	}
	if len(other.headers()) != 1 {
		t.Errorf("it was asked %d times", len(other.headers()))
	}
	// It leads to the inside, which the guard refuses.
	at, _ := url.Parse(s.URL)
	n := &names{addr: map[string][]string{"site.example": {"127.0.0.1"}, "inside.example": {"127.0.0.2"}}}
	s.answers("/robots.txt", http.StatusFound, "Location", "http://inside.example:"+at.Port()+"/rules")
	if _, texts, err = crawled(t, reading(n, web.Site{Name: "docs", URLs: []string{"http://site.example:" + at.Port() + "/"}, Private: []string{"127.0.0.1/32"}}), source.Spec{Site: "docs"}); stead.KindOf(err) != stead.KindForbidden || len(texts) > 0 {
		t.Errorf("%v %v", texts, err)
	}
	// Policies are asked about the other host, and forbid it.
	s.answers("/robots.txt", http.StatusFound, "Location", other.URL+"/rules")
	asked := ""
	_, err = reading(nil, site).Walk(t.Context(), source.Walk{Project: stead.DefaultProject, Spec: source.Spec{Type: source.Web, Site: "docs"},
		Had:   func(string) (vectorstore.Origin, bool) { return vectorstore.Origin{}, false },
		Known: func() iter.Seq2[string, vectorstore.Origin] { return maps.All(map[string]vectorstore.Origin{}) },
		Visit: func(source.Document) error { return nil },
		Reach: func(_ context.Context, url string) error {
			asked = url
			return stead.Errorf(stead.KindForbidden, "no")
		}})
	if err == nil || asked != other.URL+"/rules" || len(other.headers()) != 1 {
		t.Errorf("%q %v", asked, err)
	}
	// It leads round and round.
	s.answers("/robots.txt", http.StatusFound, "Location", "/robots.txt")
	if _, texts, err = crawled(t, reading(nil, site), source.Spec{Site: "docs"}); err == nil || len(texts) > 0 {
		t.Errorf("%v %v", texts, err)
	}
}
