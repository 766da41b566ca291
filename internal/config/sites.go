package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// siteReserved are headers that the requests have themselves.
func siteReserved() []string {
	return []string{"accept-encoding", "connection", "content-length", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range", "te", "transfer-encoding", "upgrade"}
}

func (c *Config) checkSites() error {
	if n := len(c.Sources.Sites); n > MaxSourceDirectories {
		return invalid("sources.sites", "Remove some.", "%d sites are more than the limit of %d", n, MaxSourceDirectories)
	}
	seen := map[string]bool{}
	for i, s := range c.Sources.Sites {
		at := fmt.Sprintf("sources.sites[%d]", i)
		if err := sourceNamed(at, "site", s.Name, seen); err != nil {
			return err
		}
		switch {
		case len(s.URLs) == 0 || len(s.URLs) > stead.MaxSourceURLs:
			return invalid(at+".urls", "Start pages, such as https://docs.example.com/.", "%s.urls must have 1 to %d entries", at, stead.MaxSourceURLs)
		}
		for name, value := range s.Headers {
			if !headerName().MatchString(name) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) || slices.Contains(siteReserved(), strings.ToLower(name)) {
				return invalid(at+".headers", "A header such as Authorization, and a value in one line.", "%s.headers has %.80q, which can't be sent", at, name)
			}
		}
	}
	return nil
}
