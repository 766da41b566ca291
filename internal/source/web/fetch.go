package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
)

// What a request may come to that is no failure of a page.
var (
	errMet    = errors.New("it leads to a page that was met")
	errForbid = stead.Errorf(stead.KindForbidden, "robots.txt does not let us read it")
)

// ends is an error after which nothing more is asked for.
type ends struct{ error }

func (e ends) Unwrap() error { return e.error }

// elsewhere is a redirect that leads out of all scopes.
type elsewhere struct{ to string }

func (e elsewhere) Error() string {
	return "it leads to " + e.to + ", which is below none of the start pages"
}

// answer is what a site says of a page.
type answer struct {
	url    *url.URL // behind redirects; with an error, where it came from
	code   int      // the status; 0: there was no answer
	same   bool     // 304
	header http.Header
	body   []byte // nil: it is the same, or nothing that is read
}

// ask is how a page is asked for.
type ask struct {
	within func(*url.URL) bool // where redirects may lead
	ruled  bool                // by robots.txt
	accept func(contentType string, u *url.URL) bool
	limit  int
	cut    bool                         // what is longer is cut, and no error
	stamp  func(*url.URL) (stamp, bool) // what is known of a page; nil: it is read anyhow
	arrive func(*url.URL) error         // is called before each request but the first; nil: nothing
}

// get asks for a page, and follows redirects. Errors: errMet, errForbid, elsewhere, ends; of the kinds that source.Document.Err has.
func (c *crawl) get(ctx context.Context, u *url.URL, a ask) (answer, error) {
	for range maxRedirects + 1 {
		if a.ruled {
			if err := c.allowed(ctx, u); err != nil {
				return answer{url: u}, err
			}
		}
		ans, to, err := c.patient(ctx, u, a)
		if err != nil || to == "" {
			return ans, err
		}
		next, ok := normal(to, u)
		if !ok || !a.within(next) {
			return ans, elsewhere{shown(to, u)}
		}
		u = next
		if a.arrive != nil {
			if err := a.arrive(u); err != nil {
				return answer{url: u}, err
			}
		}
	}
	return answer{url: u}, stead.Errorf(stead.KindForbidden, "more than %d redirects", maxRedirects)
}

// shown is where a redirect leads, without what may be a secret.
func shown(to string, base *url.URL) string {
	u, err := base.Parse(to)
	if err != nil {
		return "no URL"
	}
	const most = 200
	text := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// patient asks once more where a site wants us to wait. One that wants it for long is left alone.
func (c *crawl) patient(ctx context.Context, u *url.URL, a ask) (answer, string, error) {
	for try := 1; ; try++ {
		ans, to, wait, err := c.once(ctx, u, a)
		if wait < 0 {
			return ans, to, err
		}
		if try == maxTries || wait > maxWait {
			return ans, to, ends{stead.Errorf(stead.KindUnavailable, "%s asks us to come back later", u.Host)}
		}
		if err := sleep(ctx, max(wait, time.Duration(try)*c.r.cfg.Pause)); err != nil {
			return ans, to, err
		}
	}
}

// once makes one request. It returns where a redirect leads, and how long to wait before another try; negative: there is none.
func (c *crawl) once(ctx context.Context, u *url.URL, a ask) (ans answer, to string, wait time.Duration, err error) {
	const none = time.Duration(-1)
	ans.url = u
	if c.requests++; c.requests > maxRequests {
		return ans, "", none, ends{stead.Errorf(stead.KindTooLarge, "more than %d requests: give start pages further below, or leave pages out by exclude", maxRequests)}
	}
	if err := c.r.wait(ctx, u.Host); err != nil {
		return ans, "", none, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.r.cfg.PageTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return ans, "", none, stead.Errorf(stead.KindInvalid, "it is no URL that can be asked for")
	}
	known := c.dress(req, u, a)
	res, err := c.client.Do(req)
	if err != nil {
		return ans, "", none, c.away(u, err)
	}
	defer res.Body.Close()
	ans = answer{url: u, code: res.StatusCode, header: res.Header}
	switch code := res.StatusCode; {
	case code == http.StatusNotModified && known:
		ans.same = true
	case code == http.StatusOK || code == http.StatusNonAuthoritativeInfo:
		ans.body, err = c.body(res, u, a)
	case code == http.StatusMovedPermanently, code == http.StatusFound, code == http.StatusSeeOther, code == http.StatusTemporaryRedirect, code == http.StatusPermanentRedirect:
		if to = res.Header.Get("Location"); to == "" {
			err = stead.Errorf(stead.KindUnavailable, "a redirect leads nowhere")
		}
	case code == http.StatusNotFound, code == http.StatusGone:
		err = stead.Errorf(stead.KindNotFound, "there is no such page (%d)", code)
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusUnavailableForLegalReasons:
		err = stead.Errorf(stead.KindForbidden, "the site does not let us read it (%d)", code)
	default:
		later := res.Header.Get("Retry-After")
		if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable && later != "" {
			return ans, "", retryAfter(later), nil
		}
		err = stead.Errorf(stead.KindUnavailable, "the site answers %d", code)
	}
	return ans, to, none, err
}

// dress puts on a request what it has beside its URL. It reports whether the answer may be that nothing has changed.
func (c *crawl) dress(req *http.Request, u *url.URL, a ask) bool {
	req.Header.Set("User-Agent", c.r.cfg.Agent)
	req.Header.Set("Accept", "text/html, application/xhtml+xml, text/markdown, text/plain, application/pdf;q=0.9, */*;q=0.5")
	if c.scopes.host(u) { // as all are that are asked
		for name, value := range c.site.Headers {
			req.Header.Set(name, value)
		}
	}
	if a.stamp == nil {
		return false
	}
	s, ok := a.stamp(u)
	if !ok || s.Tag == "" && s.Modified == "" {
		return false
	}
	if s.Tag != "" {
		req.Header.Set("If-None-Match", s.Tag)
	}
	if s.Modified != "" {
		req.Header.Set("If-Modified-Since", s.Modified)
	}
	return true
}

// body reads what is to be read, up to the limit, unpacked.
func (c *crawl) body(res *http.Response, u *url.URL, a ask) ([]byte, error) {
	if a.accept != nil && !a.accept(res.Header.Get("Content-Type"), u) {
		return nil, nil
	}
	tooLarge := stead.Errorf(stead.KindTooLarge, "it has more than %d bytes", a.limit)
	if res.ContentLength > int64(a.limit) && !a.cut {
		return nil, tooLarge
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, int64(a.limit)+1))
	if err != nil {
		return nil, c.away(u, err)
	}
	if c.bytes += int64(len(data)); c.bytes > maxWalkBytes {
		return nil, ends{stead.Errorf(stead.KindTooLarge, "more than %d bytes in all: give start pages further below, or leave pages out by exclude", int64(maxWalkBytes))}
	}
	if len(data) > a.limit && !a.cut {
		return nil, tooLarge
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// retryAfter reads seconds or a date; 0: it can't be read.
func retryAfter(s string) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// away says why a site does not answer, with no address that its name has. What the guard says ends a walk: it is of the host.
func (c *crawl) away(u *url.URL, err error) error {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		switch e.Kind {
		case stead.KindForbidden, stead.KindInvalid:
			return ends{stead.Errorf(stead.KindForbidden, "%.80q has no address that may be reached from here", u.Host)}
		}
		return stead.Errorf(stead.KindUnavailable, "%s", e.Message)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return stead.Errorf(stead.KindUnavailable, "the certificate of %s is not believed: %.200s", u.Host, e.Err)
	}
	why := "it can't be reached, or ends in the middle"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		why = "it has not answered within " + c.r.cfg.PageTime.String()
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "connections to it are refused"
	}
	return stead.Errorf(stead.KindUnavailable, "%s: %s", u.Host, why)
}

// allowed asks robots.txt, which is read once a walk.
func (c *crawl) allowed(ctx context.Context, u *url.URL) error {
	if c.site.Unruled {
		return nil
	}
	r, err := c.robotsOf(ctx, u)
	if err != nil {
		return err
	}
	if r.closed != "" {
		return stead.Errorf(stead.KindUnavailable, "the robots.txt of %s can't be read, so that nothing of it may be: %s", u.Host, r.closed)
	}
	if !r.allows(u) {
		return errForbid
	}
	return nil
}

// robotsOf is what a host says of itself. RFC 9309, section 2.3.1: what is not there allows everything, what is away nothing. Redirects may lead to another host
// for it alone, which is asked without the site's headers.
func (c *crawl) robotsOf(ctx context.Context, u *url.URL) (robots, error) {
	key := u.Scheme + "://" + u.Host
	if r, ok := c.robots[key]; ok {
		return r, nil
	}
	ans, err := c.get(ctx, &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/robots.txt"}, ask{within: anywhere, arrive: func(u *url.URL) error { return c.reach(ctx, u) }, limit: maxRobotsBytes, cut: true})
	var r robots
	switch _, end := errors.AsType[ends](err); {
	case err == nil:
		r = parseRobots(ans.body)
	case end || ctx.Err() != nil:
		return r, err
	case ans.code >= 400 && ans.code < 500:
	default:
		r.closed = err.Error()
	}
	c.robots[key] = r
	return r, nil
}

// anywhere lets redirects lead where policies and the guard let them.
func anywhere(*url.URL) bool { return true }

// reach asks policies about a host that is none of the source's.
func (c *crawl) reach(ctx context.Context, u *url.URL) error {
	if c.scopes.host(u) || c.walk.Reach == nil {
		return nil
	}
	return c.walk.Reach(ctx, u.String())
}

// unpacked is what is in a .gz file, up to a limit.
func unpacked(data []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte("\x1f\x8b")) {
		return data, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	if err == nil && len(out) > limit {
		err = stead.Errorf(stead.KindTooLarge, "it has more than %d bytes", limit)
	}
	return out, err
}

// page is how a page of the source is asked for.
func (c *crawl) page(conditional bool) ask {
	a := ask{within: c.scopes.has, ruled: true, accept: func(contentType string, u *url.URL) bool { return formatOf(contentType, u.Path) != none }, limit: source.MaxDocumentBytes}
	if conditional {
		a.stamp = c.known
	}
	return a
}
