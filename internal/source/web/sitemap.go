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
		var pages, more []string
		if err == nil {
			pages, more, err = readSitemap(ans.body, m.wanted)
		}
		if stead.KindOf(err) == stead.KindUnavailable {
			c.blind = true // nobody knows which pages it names
		}
		for _, s := range more {
			add(s, m.url, true)
		}
		for _, p := range pages {
			if u, ok := normal(p, m.url); ok {
				c.add(u, 0)
			}
		}
	}
	return nil
}

// readSitemap returns the pages and the sitemaps that a sitemap names: XML, or a URL a line. Where nobody has said that there is one,
// a page for what is not there may be in its place.
func readSitemap(data []byte, wanted bool) (pages, more []string, err error) {
	if data, err = unpacked(data, maxSitemapBytes); err != nil {
		return nil, nil, err
	}
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if !bytes.HasPrefix(data, []byte("<")) {
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "http") && len(pages) < maxRequests {
				pages = append(pages, line)
			}
		}
		return pages, nil, nil
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = charset.NewReaderLabel
	const maxNested = 8
	var open []string
	for len(pages) < maxRequests {
		t, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			if !wanted {
				return nil, nil, nil
			}
			return pages, more, stead.Errorf(stead.KindUnavailable, "a sitemap is broken")
		}
		switch t := t.(type) {
		case xml.StartElement:
			if open = append(open, t.Name.Local); len(open) > maxNested || open[0] != "urlset" && open[0] != "sitemapindex" {
				return pages, more, nil // something else
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if n := len(open); n == 3 && open[2] == "loc" {
				switch loc := strings.TrimSpace(string(t)); {
				case loc == "":
				case open[1] == "url":
					pages = append(pages, loc)
				case open[1] == "sitemap" && len(more) < maxSitemaps:
					more = append(more, loc)
				}
			}
		}
	}
	return pages, more, nil
}
