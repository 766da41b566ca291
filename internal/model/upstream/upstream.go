// Package upstream is what every adapter of a model provider over HTTP has in common: one POST, its
// streamed answer, the conversation in and the items out. It knows no provider's wire.
//
// Shape: an adapter says where a call goes, what is sent and who reads the answer; the rest is here.
//
//	Generate ─▶ Call{URL, Header, Body, Decoder} ─▶ Post ─▶ Decode ─▶ Decoder ─▶ Output ─▶ Delta*
//
// What decides is whether the upstream said that it was done: a stream that ends without that is a
// lost connection. The finished item always holds the sum of its deltas, whatever the upstream's own
// summary says.
//
// Units and limits: MaxEventBytes, MaxReplyBytes and MaxErrorBytes; nothing here waits but for the
// upstream: the caller's context bounds the call, and ending it closes the connection at once.
// Nothing is retried here and no state is kept between calls.
//
// Errors: *model.Error, by the upstream's code (which the adapter reads) and else by status, never by
// wording. An upstream's message is shown shortened and without the configured secrets, in whatever way it
// writes them (redact.go); of a refused key nothing is shown. Redirects that leave the configured origin are not followed: neither the key
// nor the conversation goes elsewhere.
//
// The SSE reader is our own: unlike github.com/tmaxmax/go-sse it hands out a last event that lacks
// its blank line, which several servers send, and bounds the whole reply as well as one event.
//
// Source: the HTML standard, section 9.2.6 (server-sent events); RFC 9110, section 10.2.3 (Retry-After).
package upstream

import (
	"bufio"
	"context"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/redact"
)

// The limits of one call, in bytes.
const (
	// MaxEventBytes is the largest SSE event: the last one of a response repeats its whole output.
	MaxEventBytes = 16 << 20
	// MaxReplyBytes is the largest reply, streamed or not.
	MaxReplyBytes = 64 << 20
	// MaxErrorBytes is how much of an error reply is read.
	MaxErrorBytes = 64 << 10
	// MaxRetryAfter is the longest wish to wait that is passed on.
	MaxRetryAfter = time.Hour
	// MaxResetWait is the longest wait for a limit of rate to be whole again, where the upstream wishes
	// none: most limits refill all the time, and let a call through before.
	MaxResetWait = 10 * time.Minute

	maxRedirects    = 3
	maxIdlePerHost  = 512
	maxMessageRunes = 400 // of an upstream's error message
	maxNameRunes    = 100 // of its code and of the field that it names
	userAgent       = "stead"
	contentTypeJSON = "application/json"
)

// Config is one upstream.
type Config struct {
	Name       string           // of the provider; reasoning items carry it
	Secrets    []string         // what no error may show; empty ones do not count
	HTTPClient *http.Client     // nil: one of our own; its redirect policy is replaced, and its Timeout bounds whole calls
	Now        func() time.Time // nil: time.Now; for dates in Retry-After
	// Signer says who calls where no header that stays the same does; nil: the headers of a Call say it.
	Signer Signer
	// Explain makes an error of a reply that is not a success; StatusError does most of it.
	Explain func(status int, h http.Header, body []byte, now time.Time) *model.Error
}

// Client calls one upstream. It is safe for concurrent use and holds no state between calls.
type Client struct {
	cfg     Config
	http    *http.Client
	secrets []string
}

// New returns a client.
func New(cfg Config) *Client {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Client{cfg: cfg, http: withoutDetours(cfg.HTTPClient), secrets: redact.Forms(cfg.Secrets)}
}

// CheckURL parses a provider's base URL; the error is of KindInvalid and names base_url.
func CheckURL(provider, base string) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, stead.Invalid("base_url", "the base URL of provider %q is not an http(s) URL", provider)
	}
	if u.User != nil {
		return nil, stead.Invalid("base_url", "the base URL of provider %q holds credentials: use api_key", provider)
	}
	u.Fragment = ""
	return u, nil
}

// CheckKey refuses a key that cannot be a header's value; the error does not show it.
func CheckKey(provider, key string) error {
	if strings.ContainsAny(key, "\r\n") {
		return stead.Invalid("api_key", "the API key of provider %q holds a line break", provider)
	}
	return nil
}

// HTTPClient makes a client of which no call takes longer than limit, from its request to the end of its answer;
// 0: for ever.
func HTTPClient(limit time.Duration) *http.Client {
	c := &http.Client{Timeout: limit}
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		// A provider has one host, mostly, and a client of its own: what is kept for it is not a hundred at most.
		t.MaxIdleConns, t.MaxIdleConnsPerHost = maxIdlePerHost, maxIdlePerHost
		c.Transport = t
	}
	return c
}

// withoutDetours copies the given client, with a redirect policy of its own.
func withoutDetours(given *http.Client) *http.Client {
	c := HTTPClient(0)
	if given != nil {
		*c = *given
	}
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		first := via[0].URL
		if len(via) > maxRedirects || req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return c
}

// Call is one call of a model.
type Call struct {
	URL     string
	Header  http.Header // the credentials, and what the wire wants besides
	Body    any         // encoded as JSON
	Decoder Decoder     // reads the answer
	// Frames reads the events of a stream that are not server-sent ones; nil: they are.
	Frames func(r *bufio.Reader) Frames
}

// Frames are the events of a stream, one after the other.
type Frames interface {
	// Next returns the next event. The error is io.EOF at the end, ErrTooLarge, ErrGarbled or the reader's.
	Next() (Event, error)
}

// Signer proves who calls: with a signature of the request, or with a token that expires. It is safe
// for concurrent use.
type Signer interface {
	// Sign sets the headers of a request that is complete but for them; body is the request's.
	Sign(req *http.Request, body []byte) *model.Error
	// Refused tells that the upstream answered such a request with 401, so that it did nothing. True
	// says that Sign will come with something else: the request is sent once more.
	Refused(req *http.Request) bool
	// Secrets are what no error may show, beside those of Config.
	Secrets() []string
}

// Generate is the Generate of an adapter: prepare makes the call, its decoder writes to out. An error
// of prepare is the stream's.
func (c *Client) Generate(ctx context.Context, items []stead.Item, prepare func(out *Output) (Call, *model.Error)) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		out := NewOutput(c.cfg.Name, items, yield)
		if err := c.run(ctx, out, prepare); err != nil && !out.stopped {
			yield(model.Delta{}, err)
		}
	}
}

// run makes the call and hands its deltas to out. A nil error means that out got its Done, or stopped.
func (c *Client) run(ctx context.Context, out *Output, prepare func(*Output) (Call, *model.Error)) *model.Error {
	// The body is closed by cancelling: a consumer that stops early ends the upstream call as well.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out.tally = model.TallyOf(ctx)
	call, e := prepare(out)
	if e != nil {
		return e
	}
	body, e := Encode(call.Body)
	if e != nil {
		return e
	}
	resp, e := c.Post(ctx, call.URL, call.Header, body)
	if e != nil {
		return e
	}
	defer resp.Body.Close()
	return c.Clean(Decode(ctx, resp.Body, call.Decoder, call.Frames))
}
