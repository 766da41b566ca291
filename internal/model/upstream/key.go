package upstream

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// KeySource has a provider's key. It is asked for each request, right before that is sent to a URL: so a key that was
// replaced counts from the next call on. KindUnavailable says that to ask again may help.
type KeySource func(ctx context.Context, to *url.URL) (string, error)

// keptKeys is how many keys of the past are looked for in what an upstream says: calls under way may carry them.
const keptKeys = 4

// NewKeySigner is a Signer that sets a header to the prefix and the key; nil for a nil source.
func NewKeySigner(header, prefix string, source KeySource) Signer {
	if source == nil {
		return nil
	}
	return &keySigner{header: header, prefix: prefix, source: source}
}

type keySigner struct {
	header, prefix string
	source         KeySource

	mu   sync.Mutex
	sent []string // the newest last
}

// Sign implements Signer.
func (k *keySigner) Sign(req *http.Request, _ []byte) *model.Error {
	key, err := k.source(req.Context(), req.URL)
	switch {
	case stead.KindOf(err) == stead.KindUnavailable:
		return &model.Error{Code: model.CodeConnection, Message: "the model provider's key can't be had now", Retry: true, Err: err}
	case err != nil:
		return &model.Error{Code: model.CodeAuthentication, Message: "the model provider's key can't be used", Err: err}
	case strings.ContainsAny(key, "\r\n"):
		return &model.Error{Code: model.CodeAuthentication, Message: "the model provider's key holds a line break"}
	}
	k.mu.Lock()
	if !slices.Contains(k.sent, key) {
		k.sent = append(k.sent, key)
		k.sent = k.sent[max(0, len(k.sent)-keptKeys):]
	}
	k.mu.Unlock()
	req.Header.Set(k.header, k.prefix+key)
	return nil
}

// Refused implements Signer: the next call asks for the key anyway.
func (k *keySigner) Refused(*http.Request) bool { return false }

// Secrets implements Signer.
func (k *keySigner) Secrets() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.sent)
}
