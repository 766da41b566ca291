package egress

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// exchange is one request and its answer.
type exchange struct {
	p     *Proxy
	c     *client
	h     *head
	site  site
	path  string
	frame framing
	to    target
	creds []*credential
	out   *outward
	rec   *Record
	began time.Time

	search                 bool  // the answer is searched for secrets: the site is one that credentials name
	upgrade, expect, keeps bool  // what the client asked of its next hop: us
	baseUp, baseDown       int64 // of the connection, before this request
	again                  bool  // the connection to the outside can take another request
}

// request decides, sends and answers one request; false ends the client's connection.
func (p *Proxy) request(c *client, h *head) bool {
	e := &exchange{p: p, c: c, h: h, began: p.cfg.Now(), rec: &Record{ID: p.ids.Add(1), Kind: KindRequest, Method: h.method}}
	no := e.decide()
	if no == nil {
		no = p.asked(e.rec)
	}
	if no != nil {
		p.denied(e.rec, no)
		c.refuse(no, h.method)
		return false
	}
	if no := p.decided(e.rec); no != nil {
		p.refused.Add(1)
		c.refuse(no, h.method)
		return false
	}
	done := p.watched(e.rec, func() { _ = c.conn.Close() }) // nothing is copied any more, and the connection to the outside ends with this one
	no = e.send()
	keep := false
	if no == nil {
		keep, no = e.answer()
	} else {
		c.refuse(no, h.method)
	}
	e.measure()
	p.ended(e.rec, e.began, done(no))
	if !keep || !e.again {
		e.out.close()
		c.kept = nil
	}
	return keep
}

// decide reads where the request goes and asks every rule. It has no effect outside.
func (e *exchange) decide() (no *refusal) {
	e.rec.Host = authorityOf(e.h.target)
	if no := e.p.meter.admit(e.p.cfg.Now()); no != nil {
		return no
	}
	if e.c.site != nil {
		e.site = *e.c.site
		e.rec.Host, e.rec.Port = e.site.host.String(), e.site.port
		e.path, no = e.h.origin(e.site)
	} else {
		e.site, e.path, no = e.h.proxied()
	}
	if e.site.port != 0 {
		e.rec.Host, e.rec.Port = e.site.host.String(), e.site.port
		e.rec.Opened = e.site.tls
	}
	if no != nil {
		return no
	}
	e.search = e.p.searched(e.site)
	path, _, _ := strings.Cut(e.path, "?")
	plain := plainPath(path)
	e.rec.Path, e.rec.Query = cutTo(plain, MaxPathBytes), queryOf(path, e.path)
	if plain != path {
		e.rec.Query = digestOf(e.path)
	}
	if e.frame, no = e.h.framing(); no != nil {
		return no
	}
	if expect := members(e.h.values("Expect")); len(expect) > 0 && !slices.Equal(expect, []string{"100-continue"}) {
		return &refusal{status: http.StatusExpectationFailed, rule: RuleRequest, reason: "the only expectation is 100-continue"}
	}
	if no := e.route(); no != nil {
		return no
	}
	// What goes to the next hop alone is not sent, and a placeholder in it goes nowhere.
	e.upgrade, e.expect = e.h.upgrades() && e.frame.none(), e.h.lists("Expect", "100-continue") && !e.frame.none()
	e.keeps = e.h.keeps()
	e.h.drop(append(hopByHop(), members(e.h.values("Connection"))...)...)
	if e.upgrade {
		e.h.fields = append(e.h.fields, field{"Connection", "Upgrade"}, field{"Upgrade", "websocket"})
	}
	if e.creds, no = e.p.placed(e.h, e.site); no != nil {
		return no
	}
	for _, c := range e.creds {
		e.rec.Creds = append(e.rec.Creds, c.Name)
	}
	return nil
}

// route decides host and addresses. A kept connection was made to checked addresses; the lists are
// asked again all the same.
func (e *exchange) route() (no *refusal) {
	if e.c.kept.fit(e.site) {
		e.out, e.rec.Addr = e.c.kept, e.c.kept.addr
		return e.p.rules.decide(e.site.host, e.site.port)
	}
	e.c.kept.close()
	e.c.kept = nil
	e.to, no = e.p.check(e.p.ctx, e.site.host, e.site.port)
	e.rec.Addr = e.to.first()
	return no
}

// send connects, puts the credentials in, and writes the head; the body follows beside the answer. No
// secret is opened for a server that is not there, or can't prove its name.
func (e *exchange) send() *refusal {
	if e.out == nil {
		var no *refusal
		if e.out, no = e.p.reach(e.p.ctx, e.site, e.to); no != nil {
			return no
		}
		e.c.kept, e.rec.Addr = e.out, e.out.addr
	}
	e.baseUp, e.baseDown = e.out.wire.up.Load(), e.out.wire.down.Load()
	if !e.out.used {
		e.baseUp, e.baseDown = 0, 0 // the handshake is this request's
	}
	e.out.used = true
	e.out.wire.patience.Store(int64(e.p.times.Answer))
	if e.search {
		if no := e.p.searching(e.p.ctx); no != nil {
			return no
		}
	}
	if no := e.p.fill(e.p.ctx, e.h, e.creds, e.site); no != nil {
		return no
	}
	if e.expect {
		if _, err := io.WriteString(e.c.conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return outside(http.StatusBadGateway, err, "the client has left")
		}
	}
	if _, err := e.out.conn.Write(e.headBytes()); err != nil {
		return e.failed(err)
	}
	return nil
}

// headBytes is the request as the other end is to read it.
func (e *exchange) headBytes() []byte {
	var b bytes.Buffer
	line := func(parts ...string) {
		for _, s := range parts {
			b.WriteString(s)
		}
		b.WriteString("\r\n")
	}
	line(e.h.method, " ", e.path, " HTTP/1.1")
	line("Host: ", e.site.authority())
	for _, f := range e.searchable() {
		line(f.name, ": ", f.value)
	}
	switch {
	case e.frame.chunked:
		line("Transfer-Encoding: chunked")
	case e.frame.length > 0 || e.h.method == http.MethodPost || e.h.method == http.MethodPut || e.h.method == http.MethodPatch:
		line("Content-Length: ", strconv.FormatInt(e.frame.length, 10))
	}
	line()
	return b.Bytes()
}

// searchable are the fields, changed so that the answer can be searched for secrets: in codings that
// are read here, whole, and without compressed frames. It concerns the hosts that credentials name,
// with or without one in this request: an echo may come later.
func (e *exchange) searchable() []field {
	if !e.search {
		return e.h.fields
	}
	coding := "identity"
	for _, m := range members(e.h.values("Accept-Encoding")) {
		name, weight, _ := strings.Cut(strings.ReplaceAll(m, " ", ""), ";")
		if name == "gzip" && strings.Trim(weight, "q=0.") != "" || m == "gzip" {
			coding = "gzip"
		}
	}
	e.h.drop("Accept-Encoding", "Range", "If-Range", "Sec-WebSocket-Extensions")
	return append(e.h.fields, field{"Accept-Encoding", coding})
}

// measure puts the numbers into the record.
func (e *exchange) measure() {
	if e.out != nil {
		e.rec.Up, e.rec.Down = e.out.wire.up.Load()-e.baseUp, e.out.wire.down.Load()-e.baseDown
	}
}

// failed says why the other end did not answer.
func (e *exchange) failed(err error) *refusal {
	switch {
	case errors.Is(err, errSpent):
		return limited(RuleLimits, 0, "the environment's limit of bytes is reached")
	case errors.Is(err, errChunk):
		return malformed("the chunked body is malformed")
	case isTimeout(err):
		return outside(http.StatusGatewayTimeout, err, "%.80q did not answer in time", e.site.authority())
	}
	return outside(http.StatusBadGateway, err, "%.80q broke off", e.site.authority())
}

// queryOf is what the path of a record leaves out of a request's target: the query, with its "?". Where that or the path is longer than is shown,
// or the path is written in another way than it is shown (plainPath), it is the digest of both, so that no other target is taken for this one.
func queryOf(path, target string) string {
	query := target[len(path):]
	if len(path) > MaxPathBytes || len(query) > MaxQueryBytes {
		return digestOf(target)
	}
	return query
}

func digestOf(target string) string {
	return fmt.Sprintf("a path and query of %d bytes, SHA-256 %x", len(target), sha256.Sum256([]byte(target)))
}
