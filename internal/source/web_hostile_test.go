package source_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/web"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// crawled are the paths that a walk met, with why they can't be read.
func crawled(t *testing.T, r *web.Reader, spec source.Spec) (map[string]error, map[string]string, error) {
	t.Helper()
	spec.Type = source.Web
	met, texts := map[string]error{}, map[string]string{}
	_, err := r.Walk(t.Context(), source.Walk{Project: stead.DefaultProject, Spec: spec,
		Had:   func(string) (vectorstore.Origin, bool) { return vectorstore.Origin{}, false },
		Known: func() iter.Seq2[string, vectorstore.Origin] { return maps.All(map[string]vectorstore.Origin{}) },
		Visit: func(d source.Document) error {
			err := d.Err
			if err == nil {
				var c source.Content
				c, err = d.Read(t.Context())
				texts[d.Path] = string(c.Data)
			}
			met[d.Path] = err
			return nil
		}})
	return met, texts, err
}

// URLs that users give lead to public addresses alone, however they are spelled, whatever their names resolve to and wherever they lead on.
func TestPagesAreNotOfTheInside(t *testing.T) {
	inside := newSite(t)
	inside.html("/", "Secret.")
	at, _ := url.Parse(inside.URL)
	n := &names{addr: map[string][]string{"inside.example": {"127.0.0.1"}, "metadata.example": {"169.254.169.254"}, "corp.example": {"10.1.2.3"}, "mapped.example": {"::ffff:127.0.0.1"}, "outside.example": {"192.0.2.1"}, "rebinds.example": {"93.184.216.34", "127.0.0.1"}}}
	r := reading(n)
	corpus, err := os.ReadFile("../egress/testdata/metadata_ip.txt")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	urls := strings.Fields(string(corpus))
	for _, name := range []string{"127.0.0.1", "localhost", "a.localhost", "localhost.", "[::1]", "[::ffff:7f00:1]", "0", "0.0.0.0", "2130706433", "0x7f.1", "127.1", "①②⑦.0.0.1", "inside.example", "metadata.example", "corp.example", "mapped.example", "outside.example"} {
		urls = append(urls, "http://"+name+":"+at.Port()+"/", "https://"+name+"/")
	}
	for _, raw := range urls {
		spec := source.Spec{Type: source.Web, URLs: []string{raw}}
		tried++
		if err := r.Check(stead.DefaultProject, spec); err != nil {
			continue // refused as it is spelled
		}
		met, texts, err := crawled(t, r, spec)
		if err == nil || len(texts) > 0 {
			t.Errorf("%s was read: %v %v", raw, met, texts)
		}
		if strings.Contains(fmt.Sprint(err), "127.0.0.1") && !strings.Contains(raw, "127.0.0.1") || strings.Contains(fmt.Sprint(err), "10.1.2.3") {
			t.Errorf("%s: the error tells the address: %v", raw, err)
		}
	}
	if tried < 200 {
		t.Errorf("only %d were tried", tried)
	}
	for _, raw := range []string{"ftp://example.com/", "file:///etc/passwd", "http://", "http://user:pass@example.com/", "https://example.com/?token=x", "//example.com/", "https://example.com/a\\b", "gopher://example.com/", "https://example.com/%2e%2e%2fx"} {
		if err := r.Check(stead.DefaultProject, source.Spec{Type: source.Web, URLs: []string{raw}}); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v", raw, err)
		}
	}
	if asked := inside.since(); len(asked) > 0 {
		t.Errorf("the inside was asked %v", asked)
	}
}

// A name that is public when it is looked up first, and then is not.
func TestANameRebinds(t *testing.T) {
	s := newSite(t)
	s.html("/", "Start.", "/next")
	s.on("/next", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<a href="/last">x</a>`)
	})
	s.html("/last", "Secret.")
	// The site's own address stands for a public one; the other is one of the inside.
	n := &names{addr: map[string][]string{"site.example": {"127.0.0.1", "127.0.0.2"}}}
	at, _ := url.Parse(s.URL)
	site := web.Site{Name: "docs", URLs: []string{"http://site.example:" + at.Port() + "/"}, Private: []string{"127.0.0.1/32"}}
	met, texts, err := crawled(t, reading(n, site), source.Spec{Site: "docs"})
	if stead.KindOf(err) != stead.KindForbidden || texts["last"] != "" {
		t.Errorf("%v %v: %v", met, texts, err)
	}
	if strings.Contains(err.Error(), "127.0.0.2") {
		t.Errorf("the error tells the address: %v", err)
	}
}

func TestRedirectsDoNotLeaveASite(t *testing.T) {
	inside, s := newSite(t), newSite(t)
	inside.html("/", "Secret.")
	s.html("/a/", "Start.", "/a/out", "/a/meta", "/a/up", "/a/file", "/a/many0")
	s.answers("/a/out", http.StatusFound, "Location", inside.URL+"/", "Set-Cookie", "session=1")
	s.answers("/a/meta", http.StatusTemporaryRedirect, "Location", "http://169.254.169.254/")
	s.answers("/a/up", http.StatusMovedPermanently, "Location", "/b")
	s.answers("/a/file", http.StatusMovedPermanently, "Location", "file:///etc/passwd")
	for i := range 10 {
		s.answers(fmt.Sprint("/a/many", i), http.StatusFound, "Location", fmt.Sprint("/a/many", i+1))
	}
	s.html("/a/many10", "Far.")
	s.html("/b", "Above.")
	site := s.local("/a/")
	site.Headers = map[string]string{"Authorization": "Bearer secret"}
	met, texts, err := crawled(t, reading(nil, site), source.Spec{Site: "docs"})
	if err != nil || len(texts) != 1 || texts["a/"] == "" {
		t.Errorf("%v %v %v", met, texts, err)
	}
	for _, h := range s.headers() {
		if h.Get("Authorization") != "Bearer secret" || h.Get("Cookie") != "" {
			t.Errorf("headers %v", h)
		}
	}
	if asked := inside.since(); len(asked) > 0 {
		t.Errorf("another host was asked: %v", asked)
	}
	// The start page itself leads out: why is told, without what may be a secret.
	s.answers("/a/", http.StatusFound, "Location", inside.URL+"/?token=hidden")
	_, _, err = crawled(t, reading(nil, site), source.Spec{Site: "docs"})
	if stead.KindOf(err) != stead.KindForbidden || !strings.Contains(err.Error(), "leads to") || strings.Contains(err.Error(), "hidden") || len(inside.since()) > 0 {
		t.Errorf("%v", err)
	}
}

// A site that wants to be read for ever, or to fill what reads it.
func TestASiteHasNoEnd(t *testing.T) {
	s := newSite(t)
	s.html("/", "Start.", "/big", "/bigger", "/bomb", "/calendar", "/types")
	s.on("/big", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", fmt.Sprint(1<<30))
		_, _ = w.Write([]byte("x"))
	})
	var sent atomic.Int64
	s.on("/bigger", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		block := make([]byte, 1<<20)
		for range 1 << 10 {
			if n, err := w.Write(block); err != nil {
				return
			} else {
				sent.Add(int64(n))
			}
		}
	})
	s.on("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		block := make([]byte, 1<<20)
		for range 200 {
			if _, err := z.Write(block); err != nil {
				return
			}
		}
		_ = z.Close()
	})
	var days atomic.Int64
	s.on("/calendar", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/day/0", http.StatusFound) })
	for i := range 100 {
		s.on(fmt.Sprint("/day/", i), func(w http.ResponseWriter, _ *http.Request) {
			days.Add(1)
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `Day %d <a href="/day/%d">next</a>`, i, i+1)
		})
	}
	s.serve("/robots.txt", "text/plain", "User-agent: *\nDisallow: /types\n"+strings.Repeat("Disallow: /x/*y*z\n", 600_000))
	s.html("/types", "Not read.")
	met, texts, err := crawled(t, reading(nil, s.local("/")), source.Spec{Site: "docs"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"big", "bigger", "bomb"} {
		if stead.KindOf(met[p]) != stead.KindTooLarge || texts[p] != "" {
			t.Errorf("%s: %v", p, met[p])
		}
	}
	if sent.Load() > 100<<20 {
		t.Errorf("%d bytes were taken", sent.Load())
	}
	if n := days.Load(); n < 5 || n > 20 {
		t.Errorf("%d pages of an endless calendar were read", n)
	}
	if _, ok := met["types"]; ok {
		t.Error("what robots.txt forbids at its beginning was read")
	}
}

// What a site does instead of answering.
func TestASiteIsInTrouble(t *testing.T) {
	s := newSite(t)
	r := reading(nil, s.local("/"))
	spec := source.Spec{Site: "docs"}
	s.html("/", "Start.", "/busy", "/cut")
	var busy atomic.Int64
	s.on("/busy", func(w http.ResponseWriter, _ *http.Request) {
		if busy.Add(1) == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "Busy no more.")
	})
	s.on("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "Cut.")
	})
	met, texts, err := crawled(t, r, spec)
	if err != nil || texts["busy"] != "Busy no more." || stead.KindOf(met["cut"]) != stead.KindUnavailable {
		t.Errorf("%v %v %v", met, texts, err)
	}
	// It wants to be left alone for an hour: the walk ends, and nothing is taken for gone.
	s.answers("/cut", http.StatusServiceUnavailable, "Retry-After", "3600")
	if _, _, err = crawled(t, r, spec); stead.KindOf(err) != stead.KindUnavailable || !strings.Contains(err.Error(), "later") {
		t.Error(err)
	}
	// Nobody knows its rules: nothing is read.
	s.answers("/robots.txt", http.StatusInternalServerError)
	s.since()
	if _, texts, err = crawled(t, r, spec); stead.KindOf(err) != stead.KindUnavailable || len(texts) > 0 || len(s.since()) != 1 {
		t.Error(texts, err)
	}
	// The operator's own site, of which the operator says that its rules don't count.
	own := s.local("/")
	own.Unruled = true
	s.gone("/cut")
	if _, texts, err = crawled(t, reading(nil, own), spec); err != nil || len(texts) != 2 {
		t.Error(texts, err)
	}
	// There are none: everything may be read.
	s.answers("/robots.txt", http.StatusForbidden)
	if _, texts, err = crawled(t, r, spec); err != nil || len(texts) != 2 {
		t.Error(texts, err)
	}
	// One page after the other is away.
	var links []string
	for i := range 100 {
		links = append(links, fmt.Sprint("/away", i))
		s.answers(links[i], http.StatusBadGateway)
	}
	s.html("/", "Start.", links...)
	s.since()
	if _, _, err = crawled(t, r, spec); stead.KindOf(err) != stead.KindUnavailable || len(s.since()) > 20 {
		t.Error(err)
	}
	// A byte at a time is no answer in time.
	s.html("/", "Start.", "/slow", "/quick")
	s.html("/quick", "Quick.")
	s.on("/slow", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	hasty := web.New(web.Config{Sites: []web.Site{s.local("/")}, Pause: time.Microsecond, PageTime: 2 * time.Second,
		Guard: func(private []string) (web.Guard, error) { return egress.NewGuard(private, nil) }, Wire: func(g web.Guard) http.RoundTripper { return mcp.Guarded(g) }})
	if met, texts, err = crawled(t, hasty, spec); err != nil || texts["quick"] == "" || stead.KindOf(met["slow"]) != stead.KindUnavailable || !strings.Contains(fmt.Sprint(met["slow"]), "within") {
		t.Error(met, err)
	}
	s.Close()
	if _, _, err = crawled(t, r, spec); stead.KindOf(err) != stead.KindUnavailable || strings.Contains(err.Error(), "dial") {
		t.Error(err)
	}
}

// A node dies at each of its writes while it reads a site; another one goes on, and reads nothing again that was taken in.
func TestANodeDiesOverASite(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		s := newSite(t)
		var links []string
		for i := range 60 { // more than are written at once
			links = append(links, fmt.Sprint("/", i))
			s.html(links[i], fmt.Sprint("Apples ", i))
		}
		s.html("/", "Start.", links...)
		r := reading(nil, s.local("/"))
		for at := int64(1); ; at++ {
			if at > 30 {
				t.Fatal("it never ends")
			}
			ahead := &atomic.Int64{}
			mortal := &dying{database: db}
			mortal.left.Store(1 << 30)
			node := func(db database) *node {
				n := newNode(t, db, t.TempDir(), ahead, policy.AllowLocal{})
				n.reader = &counting{Reader: r}
				n.Service = source.NewService(source.Config{Documents: db, Stores: n.vectors, Readers: map[string]source.Reader{source.Web: n.reader}, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
				return n
			}
			one, other := node(mortal), node(db)
			store := other.store()
			src := other.webSource(store, source.Spec{Site: "docs"})
			mortal.left.Store(at)
			one.begin()
			for until := time.Now().Add(20 * time.Second); mortal.left.Load() >= 0 && time.Now().Before(until); time.Sleep(time.Millisecond) {
				if now, err := other.Get(t.Context(), other.me, store, src.ID); err == nil && now.Ended != 0 {
					break
				}
			}
			whole := mortal.left.Load() >= 0
			mortal.left.Store(-1)
			one.stop()
			first := one.reader.read.Load()
			ahead.Add(int64(time.Minute)) // its lease is over
			other.begin()
			now := other.ended(src, 1)
			other.want(fmt.Sprint("after death at ", at), did(now), "+61 ~0 -0 =0 !0")
			if second := now.Counts.Read; !whole && second > 61+50 || first+int64(second) < 61 {
				t.Errorf("%d and %d were read", first, second)
			}
			other.passages(db, store, 61)
			other.stop()
			if whole {
				return
			}
			at += 2
		}
	})
}

// URLs that users give may be private where nobody else uses the server; sites are of their projects.
func TestWhoMayNameWhat(t *testing.T) {
	g := func(private []string) (web.Guard, error) { return egress.NewGuard(private, nil) }
	shared, own := web.New(web.Config{Guard: g, Sites: []web.Site{{Name: "wiki", URLs: []string{"http://10.0.0.1/"}, Projects: []stead.ProjectID{"two"}}}}), web.New(web.Config{Guard: g, Local: true})
	for _, c := range []struct {
		r    *web.Reader
		spec source.Spec
		ok   bool
	}{
		{shared, source.Spec{URLs: []string{"https://example.com/docs/"}}, true},
		{shared, source.Spec{URLs: []string{"http://127.0.0.1:8000/"}}, false},
		{own, source.Spec{URLs: []string{"http://127.0.0.1:8000/", "http://localhost/", "http://10.0.0.1/", "http://wiki.corp.example/"}}, true},
		{own, source.Spec{URLs: []string{"http://169.254.169.254/"}}, false},
		{own, source.Spec{URLs: []string{"http://[fd00:ec2::254]/"}}, false},
		{shared, source.Spec{Site: "wiki"}, false},
		{shared, source.Spec{}, false},
		{shared, source.Spec{Site: "wiki", URLs: []string{"https://example.com/"}}, false},
		{shared, source.Spec{URLs: []string{"https://example.com/docs/"}, Sitemap: "https://example.com/map.xml"}, true},
		{shared, source.Spec{URLs: []string{"https://example.com/docs/"}, Sitemap: "https://example.org/map.xml"}, false},
		{shared, source.Spec{URLs: []string{"https://example.com/docs/"}, Path: "x"}, false},
	} {
		if err := c.r.Check(stead.DefaultProject, c.spec); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.spec, err)
		}
	}
}
