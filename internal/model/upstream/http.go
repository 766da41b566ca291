package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"

	"github.com/stead-dev/stead/internal/model"
)

// Encode writes a request's body.
func Encode(body any) ([]byte, *model.Error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, &model.Error{Code: model.CodeInvalid, Message: "the request for the model cannot be encoded", Err: err}
	}
	return data, nil
}

// Post sends a request and returns its successful response, whose body the caller closes. The
// headers given override our own. A signer may have a refused request sent a second time: an upstream
// that asks who is there has done nothing yet. The body may come in pieces, which spares putting a large
// one together.
func (c *Client) Post(ctx context.Context, url string, header http.Header, body ...[]byte) (*http.Response, *model.Error) {
	return c.PostLent(ctx, nil, url, header, body...)
}

// PostLent is Post of a body that is lent: it is not read any more when the loan is over.
func (c *Client) PostLent(ctx context.Context, loan *model.Loan, url string, header http.Header, body ...[]byte) (*http.Response, *model.Error) {
	resp, e := c.send(ctx, loan, url, header, body...)
	if e == nil && resp.StatusCode == http.StatusUnauthorized && c.cfg.Signer != nil && c.cfg.Signer.Refused(resp.Request) {
		_ = resp.Body.Close() // it says nothing that the next one does not
		model.TallyOf(ctx).Refused()
		resp, e = c.send(ctx, loan, url, header, body...)
	}
	if e != nil {
		return nil, c.Clean(e)
	}
	if resp.StatusCode/100 == 2 {
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			_ = resp.Body.Close() // nothing of it is wanted
			return nil, &model.Error{Code: model.CodeServer, Status: resp.StatusCode,
				Message: "the model provider answers with a web page: mend its base_url"}
		}
		return resp, nil
	}
	model.TallyOf(ctx).Refused()
	defer resp.Body.Close()
	// What cannot be read of an error is left out: the status says the most.
	text, _ := io.ReadAll(io.LimitReader(resp.Body, MaxErrorBytes))
	if ctx.Err() != nil {
		return nil, cancelled(ctx.Err())
	}
	return nil, c.Clean(c.cfg.Explain(resp.StatusCode, resp.Header, text, c.cfg.Now()))
}

// carry makes the pieces the request's body, one behind the other.
func carry(req *http.Request, loan *model.Loan, parts [][]byte) {
	for _, p := range parts {
		req.ContentLength += int64(len(p))
	}
	req.GetBody = func() (io.ReadCloser, error) {
		loan.Take()
		return &pieces{rest: parts, loan: loan}, nil
	}
	req.Body, _ = req.GetBody() // which has no way to fail
}

// pieces read one behind the other. io.MultiReader would do, but for the 32 KB that it takes to find that nothing is
// left, which is what net/http asks of every body. A transport may close a body while it reads it: behind Close nothing is.
type pieces struct {
	mu   sync.Mutex
	rest [][]byte // nil when closed
	at   int      // in the first of them
	loan *model.Loan
	over bool // closed
}

// Read implements io.Reader.
func (p *pieces) Read(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return 0, http.ErrBodyReadAfterClose
	}
	for n < len(b) && len(p.rest) > 0 {
		k := copy(b[n:], p.rest[0][p.at:])
		n, p.at = n+k, p.at+k
		if p.at == len(p.rest[0]) {
			p.rest, p.at = p.rest[1:], 0
		}
	}
	if n == 0 && len(p.rest) == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close implements io.Closer.
func (p *pieces) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.over, p.rest = true, nil
		p.loan.Give()
	}
	return nil
}

// send sends a request once, whatever the answer is.
func (c *Client) send(ctx context.Context, loan *model.Loan, url string, header http.Header, body ...[]byte) (*http.Response, *model.Error) {
	within, end := noting(ctx), func() {}
	if limit := c.http.Timeout; limit > 0 {
		within, end = context.WithTimeoutCause(within, limit, errLate)
	}
	req, err := http.NewRequestWithContext(within, http.MethodPost, url, nil)
	if err != nil {
		end()
		return nil, &model.Error{Code: model.CodeInvalid, Message: "the model provider's URL is wrong", Err: err}
	}
	carry(req, loan, body)
	h := req.Header
	h.Set("Content-Type", contentTypeJSON)
	h.Set("Accept", "text/event-stream, "+contentTypeJSON)
	h.Set("Accept-Encoding", "identity") // a compressing proxy would hold events back
	h.Set("User-Agent", userAgent)
	for k, v := range header {
		h[http.CanonicalHeaderKey(k)] = v
	}
	if c.cfg.Signer != nil {
		if e := c.cfg.Signer.Sign(req, bytes.Join(body, nil)); e != nil {
			end()
			return nil, e
		}
	}
	resp, err := c.do(within, req, end)
	if err != nil {
		return nil, sendFailure(ctx, err)
	}
	return resp, nil
}

// noting tells the call's tally when the upstream has the whole request.
func noting(ctx context.Context) context.Context {
	tally := model.TallyOf(ctx)
	if tally == nil {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(w httptrace.WroteRequestInfo) {
		if w.Err == nil {
			tally.Sent()
		}
	}})
}

// Ask posts a request and reads its whole answer, one JSON document, into v.
func (c *Client) Ask(ctx context.Context, url string, header http.Header, body, v any) *model.Error {
	data, e := Encode(body)
	if e != nil {
		return e
	}
	resp, e := c.Post(ctx, url, header, data)
	if e != nil {
		return e
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(&cappedReader{r: resp.Body, left: MaxReplyBytes})
	if err != nil {
		return c.Clean(readFailure(ctx, err))
	}
	return c.Clean(Unmarshal(answer, v))
}

// sendFailure is a request that got no response.
func sendFailure(ctx context.Context, err error) *model.Error {
	if ctx.Err() != nil {
		return cancelled(ctx.Err())
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the URL may hold a key in its query
	}
	e := &model.Error{Code: model.CodeConnection, Message: "the model provider cannot be reached", Retry: true, Err: err}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		e.Message, e.Retry = "the model provider's certificate is not trusted", false
	} else if over := model.Overtime(err); over != nil {
		return over
	} else if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		e.Code, e.Message = model.CodeTimeout, "the model provider did not answer in time"
	}
	return e
}

// cancelled is a call whose context ended; errors.Is finds the context's error in it.
func cancelled(err error) *model.Error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &model.Error{Code: model.CodeTimeout, Message: "the model call ran out of time", Retry: true, Err: err}
	}
	return &model.Error{Code: model.CodeConnection, Message: "the model call was cancelled", Err: err}
}

// CheckVectors holds an answer against the contract of embeddings: one a text, all of one length.
func CheckVectors(vectors [][]float32, texts int) *model.Error {
	if len(vectors) != texts {
		return Broken(nil)
	}
	for _, v := range vectors {
		if len(v) == 0 || len(v) != len(vectors[0]) {
			return Broken(nil)
		}
	}
	return nil
}
