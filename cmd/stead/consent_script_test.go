package main

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stead-dev/stead/internal/oauth/oauthtest"
)

// consenting serves a tool server whose users consent at an authorization server, and sets a variable to its URL: consenting VAR
func consenting(ts *testscript.TestScript, _ bool, args []string) {
	a := oauthtest.NewAuthority(false)
	ts.Defer(a.Close)
	t := oauthtest.NewTools(a, false)
	ts.Defer(t.Close)
	ts.Setenv(args[0], t.URL+"/mcp")
}

// front serves what is before all nodes, and sets a variable to its URL: front VAR. It passes on to the URL in the file front.
func front(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs("front")
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		text, err := os.ReadFile(file)
		if to, wrong := url.Parse(strings.TrimSpace(string(text))); err == nil && wrong == nil {
			r.SetURL(to)
		}
	}}
	srv := httptest.NewServer(proxy)
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.URL)
}

// browse opens the link of a consent as its user does, goes on from the page, and wants to read a text at the end: browse LINK TEXT
func browse(ts *testscript.TestScript, _ bool, args []string) {
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	c := &http.Client{Jar: jar}
	read := func(res *http.Response, err error) string {
		ts.Check(err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		ts.Check(err)
		return string(text)
	}
	first := read(c.Get(args[0]))
	ticket := regexp.MustCompile(`name="ticket" value="([^"]+)"`).FindStringSubmatch(first)
	last := first
	if ticket != nil {
		to, _, _ := strings.Cut(args[0], "?")
		last = read(c.PostForm(to, url.Values{"ticket": {html.UnescapeString(ticket[1])}}))
	}
	if !strings.Contains(last, args[1]) {
		ts.Fatalf("the last page says %s", last)
	}
}
