package mcp

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/redact"
	"github.com/stead-dev/stead/internal/tool"
)

// maxSentTokens is how many tokens of a link are looked for in what its server says: one that was renewed may
// still be quoted.
const maxSentTokens = 4

// bearer puts a credential's token into each request of a link, and takes it out of the answers. A 401 says
// that the server did nothing, so such a request is sent once more if another token is to be had.
type bearer struct {
	wire       http.RoundTripper
	credential tool.Credential
	denied     *denial // of the link

	mu   sync.Mutex
	sent []string // the newest last
}

// RoundTrip implements http.RoundTripper. The request is edge's copy.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.credential.Token(r.Context(), "")
	if err != nil {
		return nil, b.deny(r, err)
	}
	response, err := b.send(r, token)
	if err == nil && b.credential.Consents() && wantsMore(response) {
		return nil, b.unconsented(r, response)
	}
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		return response, err
	}
	if token == "" {
		return nil, b.unconsented(r, response)
	}
	other, err := b.credential.Token(r.Context(), token)
	if e, ok := errors.AsType[*stead.Error](err); ok && e.Code == tool.CodeConsent {
		return nil, b.unconsented(r, response)
	}
	if err != nil {
		response.Body.Close()
		return nil, b.deny(r, err)
	}
	if r.Body != nil && r.Body != http.NoBody {
		if r.GetBody == nil {
			return response, nil
		}
		body, err := r.GetBody()
		if err != nil {
			return response, nil
		}
		r.Body = body
	}
	_, _ = io.CopyN(io.Discard, response.Body, maxRefusalBytes) // so that its connection can be used again
	response.Body.Close()
	response, err = b.send(r, other)
	if err == nil && response.StatusCode == http.StatusUnauthorized {
		if b.credential.Consents() {
			return nil, b.unconsented(r, response)
		}
		response.Body.Close()
		e := stead.Errorf(stead.KindForbidden, "the tool server refused the credential, also the renewed one")
		e.Code = tool.CodeCredential
		return nil, b.deny(r, e)
	}
	return response, err
}

// wantsMore reports whether a server takes the token, but wants it for more than it is for (RFC 6750, 3.1).
func wantsMore(response *http.Response) bool {
	if response.StatusCode != http.StatusForbidden {
		return false
	}
	said, err := oauthex.ParseWWWAuthenticate(response.Header.Values("WWW-Authenticate"))
	return err == nil && slices.ContainsFunc(said, func(c oauthex.Challenge) bool {
		return c.Scheme == "bearer" && c.Params["error"] == "insufficient_scope"
	})
}

// unconsented says that the server wants its user's consent, and how it says so.
func (b *bearer) unconsented(r *http.Request, response *http.Response) error {
	response.Body.Close()
	return b.deny(r, tool.Unconsented(response.Header.Values("WWW-Authenticate")))
}

func (b *bearer) send(r *http.Request, token string) (*http.Response, error) {
	if token == "" {
		return b.wire.RoundTrip(r)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	b.mu.Lock()
	if !slices.Contains(b.sent, token) {
		b.sent = append(b.sent, token)
		b.sent = b.sent[max(0, len(b.sent)-maxSentTokens):]
	}
	forms := redact.Forms(b.sent)
	b.mu.Unlock()
	response, err := b.wire.RoundTrip(r)
	if err == nil {
		response.Body = redact.Body(response.Body, forms)
	}
	return response, err
}

// deny keeps why a credential can't be used: the SDK passes on no more than words.
func (b *bearer) deny(r *http.Request, err error) error {
	if f, ok := r.Context().Value(flightKey{}).(*flight); ok {
		f.denied.keep(err)
	} else {
		b.denied.keep(err)
	}
	return err
}

// denial is why a credential could not be used, if that is what happened last.
type denial struct{ err atomic.Pointer[stead.Error] }

func (d *denial) keep(err error) {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		d.err.Store(e)
	}
}

func (d *denial) last() error {
	if e := d.err.Load(); e != nil {
		return e
	}
	return nil
}
