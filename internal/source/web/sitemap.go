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
		var pages, more []string
		if err == nil {
			pages, more, err = readSitemap(ans.body)
		}
		if err := c.unreadable(m.url, m.wanted, err); err != nil {
			return err
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
	case errors.Is(err, errForbid), away: // for good, perhaps
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

// readSitemap returns the pages and the sitemaps that a sitemap names: XML, or a URL a line. With errBroken, there may be some.
func readSitemap(data []byte) (pages, more []string, err error) {
	if data, err = unpacked(data, maxSitemapBytes); err != nil {
		if stead.KindOf(err) != stead.KindTooLarge {
			err = errBroken
		}
		return nil, nil, err
	}
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if !bytes.HasPrefix(data, []byte("<")) {
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "http") && len(pages) < maxRequests {
				pages = append(pages, line)
			}
		}
		if len(pages) == 0 {
			return nil, nil, errNoSitemap
		}
		return pages, nil, nil
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = charset.NewReaderLabel
	d.Strict = false // a & that stands for itself breaks nothing
	const maxNested = 8
	var open []string
	met := false // its first element
	for len(pages) < maxRequests {
		t, err := d.Token()
		if err == io.EOF && met {
			return pages, more, nil
		}
		if err != nil && met {
			return pages, more, errBroken
		}
		if err != nil {
			return nil, nil, errNoSitemap
		}
		switch t := t.(type) {
		case xml.StartElement:
			if open = append(open, t.Name.Local); len(open) > maxNested || open[0] != "urlset" && open[0] != "sitemapindex" {
				return nil, nil, errNoSitemap
			}
			met = true
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
