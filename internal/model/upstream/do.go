package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// do sends a request as http.Client.Do does, and spares what only a redirect needs, which is copies of all headers: the
// answer that is one has done nothing, and the request is sent again by a client that follows it. ctx, that of the request, has the
// client's Timeout already, and ends by end: with the error, or when the answer is closed.
func (c *Client) do(ctx context.Context, req *http.Request, end context.CancelFunc) (*http.Response, error) {
	var transport http.RoundTripper = http.DefaultTransport
	if c.http.Transport != nil {
		transport = c.http.Transport
	}
	resp, err := transport.RoundTrip(req)
	if err == nil && redirects(resp) {
		_ = resp.Body.Close() // what is of interest is where it leads
		again := req.Clone(ctx)
		again.Body, _ = req.GetBody() // which has no way to fail
		within := *c.http
		within.Timeout = 0 // ctx has it
		resp, err = within.Do(again)
	}
	if err != nil {
		defer end()
		return nil, late(ctx, err)
	}
	if c.http.Timeout > 0 {
		resp.Body = &timed{resp.Body, ctx, end}
	}
	return resp, nil
}

// redirects reports whether http.Client would follow an answer.
func redirects(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header.Get("Location") != ""
	}
	return false
}

// errLate is why the context of a call ends that took longer than http.Client.Timeout.
var errLate = errors.New("the call took too long")

// late is the failure of a call that took longer than it may, whatever broke by that: see model.Overtime.
func late(ctx context.Context, err error) error {
	if context.Cause(ctx) == errLate {
		return context.DeadlineExceeded
	}
	return err
}

// timed is a body whose call ends after a while.
type timed struct {
	io.ReadCloser
	ctx context.Context
	end context.CancelFunc
}

// Read implements io.Reader.
func (t *timed) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if err != nil && err != io.EOF {
		err = late(t.ctx, err)
	}
	return n, err
}

// Close implements io.Closer.
func (t *timed) Close() error {
	defer t.end()
	return t.ReadCloser.Close()
}
