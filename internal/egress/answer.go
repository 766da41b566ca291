package egress

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// uploadGrace is how long a body may still be on its way when its answer has been passed on.
const uploadGrace = 250 * time.Millisecond

// upload is the goroutine that reads the client while its request is answered: it sends the body, and
// then watches for the client to leave, so that nobody's answer is not waited for.
type upload struct {
	e    *exchange
	sent chan error // the body is sent, or can't be
	done chan struct{}
}

func (e *exchange) startUpload() *upload {
	u := &upload{e: e, sent: make(chan error, 1), done: make(chan struct{})}
	e.c.conn.read = e.p.times.Idle
	go func() {
		defer close(u.done)
		defer e.p.survive(func() { _ = e.out.wire.Close() })
		err := u.body()
		if err == nil {
			e.c.conn.resume()
		}
		u.sent <- err
		if err != nil {
			_ = e.out.wire.Close() // the other end can't make sense of half a body
			return
		}
		if _, err := e.c.r.Peek(1); err != nil && !isTimeout(err) {
			_ = e.out.wire.Close()
		}
	}()
	return u
}

func (u *upload) body() error {
	e := u.e
	if e.frame.none() && !e.frame.chunked {
		return nil
	}
	body := e.frame.body(e.c.r)
	if !e.frame.chunked {
		return e.p.copy(e.out.conn, body, func() {})
	}
	w := chunkWriter{bufio.NewWriterSize(e.out.conn, copyBytes+64)}
	if err := e.p.copy(w, body, func() {}); err != nil {
		return err
	}
	return w.end()
}

// stop ends the goroutine. It reports whether the whole body was sent: only then does the next request
// begin where this one ends.
func (u *upload) stop() (whole bool, err error) {
	late := time.NewTimer(uploadGrace)
	defer late.Stop()
	select {
	case err = <-u.sent:
		whole = err == nil
	case <-late.C:
		_ = u.e.out.wire.Close() // the answer came and the body was not read: it is not wanted
	}
	u.e.c.conn.stop()
	<-u.done
	u.e.c.conn.resume()
	return whole, err
}

// answer passes the answer on. The refusal, if there is one, has been answered where that was
// possible.
func (e *exchange) answer() (keep bool, no *refusal) {
	u := e.startUpload()
	res, err := e.readAnswer()
	if err == nil {
		no = e.decode(res)
	}
	if err != nil || no != nil {
		if _, sending := u.stop(); sending != nil {
			err = sending // why the other end broke off
		}
		if no == nil {
			no = e.failed(err)
		}
		e.c.refuse(no, e.h.method)
		return false, no
	}
	e.rec.Status = res.StatusCode
	if res.StatusCode == http.StatusSwitchingProtocols {
		return false, e.switched(u, res)
	}
	keep = e.keeps
	if keep, err = e.pass(res, keep); err != nil {
		_, _ = u.stop()
		return false, e.cutOff(err)
	}
	whole, _ := u.stop()
	e.again = whole && !res.Close
	return keep && whole, nil
}

// readAnswer reads the head of the final answer.
func (e *exchange) readAnswer() (*http.Response, error) {
	for range MaxInterimAnswers {
		e.out.head.left = MaxAnswerHeadBytes
		res, err := http.ReadResponse(e.out.r, &http.Request{Method: e.h.method})
		e.out.head.left = -1
		if err != nil {
			return nil, err
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols && e.upgrade {
			e.out.wire.patience.Store(int64(e.p.times.Idle))
			return res, nil
		}
		if res.StatusCode == http.StatusSwitchingProtocols {
			return nil, errors.New("the server switches to a protocol that nobody asked for")
		}
	}
	return nil, errors.New("the server answers only interim answers")
}

// decode makes a body searchable, where there is something to search for.
func (e *exchange) decode(res *http.Response) *refusal {
	if !e.search || e.bodiless(res) {
		return nil
	}
	switch codings := members(res.Header.Values("Content-Encoding")); {
	case len(codings) == 0, len(codings) == 1 && codings[0] == "identity":
	case len(codings) == 1 && (codings[0] == "gzip" || codings[0] == "x-gzip"):
		res.Body = &gunzip{body: res.Body}
		res.Header.Del("Content-Encoding")
		res.ContentLength = -1
	default:
		return outside(http.StatusBadGateway, nil, "%.80q answers in a coding that can't be searched for secrets, and did not honour Accept-Encoding", e.site.authority())
	}
	return nil
}

// gunzip decodes once it is read, so that the head of the answer need not wait for the body.
type gunzip struct {
	body io.ReadCloser
	r    *gzip.Reader
}

func (g *gunzip) Read(b []byte) (int, error) {
	if g.r == nil {
		r, err := gzip.NewReader(g.body)
		if errors.Is(err, io.EOF) {
			return 0, io.EOF // an empty body is one in every coding
		}
		if err != nil {
			return 0, err
		}
		g.r = r
	}
	return g.r.Read(b)
}

func (g *gunzip) Close() error { return g.body.Close() }

func (e *exchange) bodiless(res *http.Response) bool {
	return e.h.method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
}

// pass writes the answer. Its body has the length that the server says, or chunks, or ends with the
// connection, for clients of HTTP/1.0.
func (e *exchange) pass(res *http.Response, keep bool) (bool, error) {
	known := e.known()
	e.clean(res, known)
	bodiless := e.bodiless(res)
	chunked := false
	switch {
	case bodiless:
	case res.ContentLength >= 0 && !e.search:
	case e.h.minor == 1:
		chunked = true
		res.Header.Del("Content-Length")
	default:
		keep = false
		res.Header.Del("Content-Length")
	}
	w := bufio.NewWriterSize(e.c.conn, copyBytes+64)
	e.writeStatus(w, res, keep, chunked, known)
	if err := w.Flush(); err != nil || bodiless {
		return keep, err
	}
	var to io.Writer = e.c.conn
	if chunked {
		to = chunkWriter{w}
	}
	m := e.masker(to)
	if err := e.p.copy(m, res.Body, func() {}); err != nil {
		return false, err
	}
	if err := m.Close(); err != nil {
		return false, err
	}
	if _, decoded := res.Body.(*gunzip); decoded {
		res.Close = true // what may follow the gzip stream is not worth reading
	}
	if chunked {
		return keep, chunkWriter{w}.end()
	}
	return keep, nil
}

// clean takes out what was for this hop, and secrets. Alt-Svc leads to other protocols and ports,
// which the inside can't reach.
func (e *exchange) clean(res *http.Response, known []spelling) {
	for _, name := range append(hopByHop(), members(res.Header.Values("Connection"))...) {
		if !strings.EqualFold(name, "Content-Length") {
			res.Header.Del(name)
		}
	}
	res.Header.Del("Alt-Svc")
	maskHeader(res.Header, known)
}

func (e *exchange) writeStatus(w *bufio.Writer, res *http.Response, keep, chunked bool, known []spelling) {
	reason := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, maskText(res.Status, known))
	fmt.Fprintf(w, "HTTP/1.1 %s\r\n", reason)
	_ = res.Header.Write(w) // errors stay in w until it is flushed
	if chunked {
		_, _ = w.WriteString("Transfer-Encoding: chunked\r\n")
	}
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		_, _ = w.WriteString("Connection: Upgrade\r\nUpgrade: websocket\r\n")
	case !keep:
		_, _ = w.WriteString("Connection: close\r\n")
	case e.h.minor == 0:
		_, _ = w.WriteString("Connection: keep-alive\r\n")
	}
	_, _ = w.WriteString("\r\n")
}

// switched passes a 101 on and then everything, both ways.
func (e *exchange) switched(u *upload, res *http.Response) *refusal {
	_, _ = u.stop() // there is no body
	known := e.known()
	e.clean(res, known)
	w := bufio.NewWriter(e.c.conn)
	e.writeStatus(w, res, true, false, known)
	if err := w.Flush(); err != nil {
		return nil // the client has left
	}
	m := e.masker(e.c.conn)
	m.keep = true // the framing inside is not ours: a secret becomes as many stars
	return e.p.splice(e.c, e.out, m)
}

// known are the secrets to look for now.
func (e *exchange) known() []spelling {
	if !e.search {
		return nil
	}
	return e.p.known()
}

// masker is what the answer passes through.
func (e *exchange) masker(to io.Writer) *masker {
	if !e.search {
		return &masker{w: to}
	}
	return &masker{w: to, live: e.p.known}
}

// cutOff says why an answer ended early, if it was not the client's wish.
func (e *exchange) cutOff(err error) *refusal {
	if errors.Is(err, errSpent) {
		return e.failed(err)
	}
	return outside(http.StatusBadGateway, err, "the answer was cut off")
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
