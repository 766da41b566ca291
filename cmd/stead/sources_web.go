package main

import (
	"fmt"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/source/web"
	"github.com/stead-dev/stead/internal/tool/mcp"
)

// checkSites says whether the sites of sources can be read.
func checkSites(c config.Sources) error {
	for i, s := range c.Sites {
		at := fmt.Sprintf("sources.sites[%d]", i)
		for j, u := range s.URLs {
			if err := web.CheckURL(fmt.Sprintf("%s.urls[%d]", at, j), u); err != nil {
				return err
			}
		}
		if _, err := egress.NewGuard(s.Private, nil); err != nil {
			e := stead.Wrap(stead.KindInvalid, err, "%s.private can't be used: %s", at, oneLine(err.Error(), 200))
			e.Param, e.Hint = at+".private", "Write names, such as wiki.corp.example, or networks, such as 10.1.0.0/16."
			return e
		}
	}
	return nil
}

// webReader reads pages: of the configured sites, and of URLs that users give, which are public unless nobody but them uses the server.
func webReader(cfg *config.Config) *web.Reader {
	sites := make([]web.Site, len(cfg.Sources.Sites))
	for i, s := range cfg.Sources.Sites {
		sites[i] = web.Site{Name: s.Name, URLs: s.URLs, Private: s.Private, Headers: s.Headers, Unruled: s.IgnoreRobots, Projects: projectIDs(s.Projects)}
	}
	return web.New(web.Config{
		Sites: sites,
		Guard: func(private []string) (web.Guard, error) { return egress.NewGuard(private, nil) },
		Wire:  func(g web.Guard) http.RoundTripper { return mcp.Guarded(g) },
		Local: cfg.Auth.Mode == config.AuthNone,
		Agent: "stead/" + version + " (+https://github.com/stead-dev/stead)",
	})
}
