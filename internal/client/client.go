// Package client speaks to a running Stead over HTTP, for the command line.
//
// Shape: a method a call of the Agents API and of our additions to it; objects come back as the
// few fields that a person is shown, with the wire's JSON beside them in Raw, so that -o json
// prints what the server said and nothing is lost in between.
//
// Delivery: calls that change something carry an idempotency key and are tried once. Follow
// reconnects with the last event id and so gives each event once, in order, across a server's
// restart; it gives up after MaxReconnects attempts in a row that brought nothing.
//
// Units and limits: a JSON answer has at most MaxAnswerBytes, one stream event MaxEventBytes.
//
// Errors: *stead.Error with the kind that the status stands for and the server's message;
// KindUnavailable with a hint when nobody answers.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/stead-dev/stead"
)

// Limits of what is read from a server.
const (
	MaxAnswerBytes = 64 << 20
	MaxEventBytes  = 32 << 20
	// MaxReconnects is how many connections in a row may fail or bring nothing before Follow gives up.
	MaxReconnects = 20
	// DialTimeout bounds connecting: a server on this machine answers at once or is not there.
	DialTimeout = 5 * time.Second
)

// Client calls one server. Safe for concurrent use.
type Client struct {
	base *url.URL
	http *http.Client
	key  string // API key; "": none
	// project is what the header OpenAI-Project says; "": nothing.
	project string
}

// Authorize makes every later call carry an API key. It is to be called before the first one.
func (c *Client) Authorize(key string) { c.key = key }

// In makes every later call name a project, which the root key and tokens may choose. It is to be called before the
// first one.
func (c *Client) In(project string) { c.project = project }

// Trust makes the client believe the server that shows this very certificate (DER), whoever signed it and whatever
// name it is for. It is to be called before the first call.
func (c *Client) Trust(shown func() []byte) {
	t := c.tls()
	t.InsecureSkipVerify = true // what follows is stricter
	t.VerifyConnection = func(s tls.ConnectionState) error {
		if !bytes.Equal(s.PeerCertificates[0].Raw, shown()) {
			return errors.New("the server's certificate is not the one that it was started with")
		}
		return nil
	}
}

// New returns a client of the server at base, such as http://127.0.0.1:8787.
func New(base string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		e := stead.Invalid("server", "server %q is not an http:// address", base)
		e.Hint = "Write it as http://127.0.0.1:8787."
		return nil, e
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/v1")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: DialTimeout}).DialContext
	return &Client{base: u, http: &http.Client{Transport: transport}}, nil
}

// Base is the server's address, without a path.
func (c *Client) Base() string { return strings.TrimSuffix(c.base.String(), "/") }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Alive reports whether a Stead answers at the address.
func (c *Client) Alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	return c.call(ctx, http.MethodGet, "/healthz", nil, nil, nil) == nil
}

// call sends one request and decodes its answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	return c.callWith(ctx, method, path, query, body, nil, out)
}

// callWith is call with headers besides those that every request has.
func (c *Client) callWith(ctx context.Context, method, path string, query url.Values, body any, header http.Header, out any) error {
	resp, err := c.do(ctx, method, path, query, body, "application/json", header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, MaxAnswerBytes))
		return err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes+1))
	if err != nil {
		return c.unreachable(err)
	}
	if len(data) > MaxAnswerBytes {
		return stead.Errorf(stead.KindTooLarge, "the answer of %s is larger than the limit of %d bytes", path, MaxAnswerBytes)
	}
	if err := json.Unmarshal(data, out); err != nil {
		e := stead.Wrap(stead.KindUnavailable, err, "%s did not answer as a Stead does", c.Base())
		e.Hint = "Check the address in --server: another program may listen there."
		return e
	}
	return nil
}

// do sends one request and turns every status but 2xx into an error. The caller closes the body.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body any, accept string, header http.Header) (*http.Response, error) {
	u := *c.base
	u.Path += path
	u.RawQuery = query.Encode()
	reader, contentType, err := encode(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), reader)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Accept", accept)
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.project != "" {
		req.Header.Set("OpenAI-Project", c.project)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if method == http.MethodPost {
		req.Header.Set("Idempotency-Key", uuid.NewString())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, c.unreachable(err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, c.failure(resp)
	}
	return resp, nil
}

// encode gives the request's body: a reader as it is, anything else as JSON.
func encode(body any) (io.Reader, string, error) {
	switch b := body.(type) {
	case nil:
		return nil, "", nil
	case io.Reader:
		return b, "application/jsonl", nil
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return nil, "", fmt.Errorf("encode the request: %w", err)
		}
		return bytes.NewReader(data), "application/json", nil
	}
}

func (c *Client) unreachable(err error) error {
	e := stead.Wrap(stead.KindUnavailable, reason(err), "no Stead answers at %s", c.Base())
	e.Hint = "Start one with `stead dev`, or name another with --server or STEAD_SERVER."
	if hint := tlsHint(err); hint != "" && c.base.Scheme == "https" {
		e.Hint = hint
	}
	return e
}

// reason drops the request line that net/http puts before a failure: the address is said already.
func reason(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// failure reads the error of an answer.
func (c *Client) failure(resp *http.Response) error {
	const most = 1 << 20
	data, _ := io.ReadAll(io.LimitReader(resp.Body, most))
	var envelope struct {
		Error struct {
			Message string  `json:"message"`
			Param   *string `json:"param"`
			Code    *string `json:"code"`
			Hint    string  `json:"hint"`
		} `json:"error"`
	}
	e := &stead.Error{Kind: kindOf(resp.StatusCode)}
	if json.Unmarshal(data, &envelope) == nil && envelope.Error.Message != "" {
		e.Message = envelope.Error.Message
		e.Hint = envelope.Error.Hint
		if p := envelope.Error.Param; p != nil {
			e.Param = *p
		}
		if p := envelope.Error.Code; p != nil {
			e.Code = *p
		}
	} else {
		e.Message = fmt.Sprintf("%s answered %s", c.Base(), resp.Status)
		e.Hint = "Check the address in --server: another program may listen there."
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

func kindOf(status int) stead.Kind {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return stead.KindInvalid
	case http.StatusUnauthorized:
		return stead.KindUnauthenticated
	case http.StatusForbidden:
		return stead.KindForbidden
	case http.StatusNotFound:
		return stead.KindNotFound
	case http.StatusConflict:
		return stead.KindConflict
	case http.StatusRequestEntityTooLarge:
		return stead.KindTooLarge
	case http.StatusTooManyRequests:
		return stead.KindLimited
	case http.StatusNotImplemented:
		return stead.KindNotImplemented
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return stead.KindUnavailable
	}
	return stead.KindInternal
}
