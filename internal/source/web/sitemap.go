package web

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"strings"

	"golang.org/x/net/html/charset"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
)

// sitemaps queues the pages that sitemaps name: the source's own, those of robots.txt, else /sitemap.xml, and those that these name.
func (c *crawl) sitemaps(ctx context.Context) error {
	type one struct {
		url    *url.URL
		wanted bool // somebody has named it
	}
	var list []one
	seen := map[string]bool{}
	add := func(raw string, base *url.URL, wanted bool) {
		if u, ok := normal(raw, base); ok && c.scopes.host(u) && !seen[u.String()] && len(seen) < maxSitemaps {
			seen[u.String()] = true
			list = append(list, one{u, wanted})
		}
	}
	add(c.walk.Spec.Sitemap, nil, true)
	hosts := map[string]bool{}
	for _, raw := range c.site.URLs {
		u, _ := normal(raw, nil)
		if hosts[u.Host] {
			continue
		}
		hosts[u.Host] = true
		named := 0
		if !c.site.Unruled {
			r, err := c.robotsOf(ctx, u)
			if err != nil {
				return err
			}
			for _, s := range r.sitemaps {
				add(s, u, true)
			}
			named = len(r.sitemaps)
		}
		if named == 0 {
			add("/sitemap.xml", u, false)
		}
	}
	for i := 0; i < len(list); i++ {
		m := list[i]
		ans, err := c.get(ctx, m.url, ask{within: c.scopes.host, ruled: true, limit: maxSitemapBytes})
		if _, end := errors.AsType[ends](err); end || ctx.Err() != nil {
			return err
		}
		var said sitemap
		if err == nil {
			said, err = readSitemap(ans.body)
		}
		if err := c.unreadable(m.url, m.wanted, err); err != nil {
			return err
		}
		c.blind = c.blind || said.latest
		for _, s := range said.more {
			add(s, m.url, true)
		}
		for _, p := range said.pages {
			if u, ok := normal(p, m.url); ok {
				c.add(u, 0)
			}
		}
	}
	return nil
}

// What a sitemap may be instead.
var (
	errNoSitemap = stead.Errorf(stead.KindInvalid, "it is no sitemap")
	errBroken    = stead.Errorf(stead.KindUnavailable, "it is broken, or breaks off")
)

// unreadable sees to a sitemap that can't be read: nobody knows which pages it names, so that none goes because nothing leads to it. Where somebody has said
// that there is one, or where there plainly is, that is an error of the source. In the usual place many sites answer so for what is not there.
func (c *crawl) unreadable(u *url.URL, wanted bool, err error) error {
	if err == nil || stead.KindOf(err) == stead.KindNotFound {
		return nil
	}
	c.blind = true
	_, away := errors.AsType[elsewhere](err)
	switch {
	case errors.Is(err, errForbid), away, errors.Is(err, errNoSitemap): // for good, perhaps
		if !wanted {
			return nil
		}
		return c.walk.Visit(source.Document{Path: c.scopes.path(u), URI: u.String(), Err: stead.Errorf(stead.KindUnavailable, "the sitemap can't be read: %s", err)})
	case !wanted && !errors.Is(err, errBroken) && stead.KindOf(err) != stead.KindTooLarge:
		return nil
	}
	if c.lost == nil {
		c.lost = stead.Errorf(stead.KindUnavailable, "the sitemap %s can't be read: %s", u, err)
	}
	return nil
}

// sitemap is what a sitemap names. With errBroken, there may be some of it.
type sitemap struct {
	pages, more []string
	latest      bool // it is a feed, which names what is new: what it names no more is no less there
}

// readSitemap reads a sitemap: XML, a feed, or a URL a line.
func readSitemap(data []byte) (out sitemap, err error) {
	if data, err = unpacked(data, maxSitemapBytes); err != nil {
		if stead.KindOf(err) != stead.KindTooLarge {
			err = errBroken
		}
		return out, err
	}
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if !bytes.HasPrefix(data, []byte("<")) {
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "http") && len(out.pages) < maxRequests {
				out.pages = append(out.pages, line)
			}
		}
		if len(out.pages) == 0 {
			return out, errNoSitemap
		}
		return out, nil
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = charset.NewReaderLabel
	d.Strict = false // a & that stands for itself breaks nothing
	return out, out.readXML(d)
}

// forms are the elements that sitemaps and feeds begin with, each with how deep its elements may be: those of feeds hold pages.
var forms = map[string]int{"urlset": 8, "sitemapindex": 8, "rss": 128, "RDF": 128, "feed": 128}

func (s *sitemap) readXML(d *xml.Decoder) error {
	var open []string
	for most := 0; len(s.pages) < maxRequests; {
		t, err := d.Token()
		switch {
		case err == io.EOF && most > 0:
			return nil
		case err != nil && most > 0:
			return errBroken
		case err != nil:
			return errNoSitemap
		}
		switch t := t.(type) {
		case xml.StartElement:
			if open = append(open, t.Name.Local); len(open) == 1 {
				most = max(most, forms[open[0]])
				s.latest = most > 0 && open[0] != "urlset" && open[0] != "sitemapindex"
			}
			if len(open) > most {
				return errNoSitemap
			}
			if n := len(open); n > 1 && open[n-1] == "link" && open[n-2] == "entry" {
				s.page(linkOf(t))
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			s.text(open, strings.TrimSpace(string(t)))
		}
	}
	return nil
}

// text takes in a text by the elements that it stands in.
func (s *sitemap) text(open []string, text string) {
	if len(open) < 2 || text == "" {
		return
	}
	switch last := open[len(open)-2:]; {
	case len(open) == 3 && last[0] == "url" && last[1] == "loc", last[0] == "item" && last[1] == "link":
		s.page(text)
	case len(open) == 3 && last[0] == "sitemap" && last[1] == "loc" && len(s.more) < maxSitemaps:
		s.more = append(s.more, text)
	}
}

func (s *sitemap) page(url string) {
	if url != "" {
		s.pages = append(s.pages, url)
	}
}

// linkOf is where a link of an entry of Atom leads, if it is to the page itself.
func linkOf(t xml.StartElement) string {
	to, rel := "", "alternate"
	for _, a := range t.Attr {
		switch a.Name.Local {
		case "href":
			to = strings.TrimSpace(a.Value)
		case "rel":
			rel = a.Value
		}
	}
	if rel != "alternate" {
		return ""
	}
	return to
}
