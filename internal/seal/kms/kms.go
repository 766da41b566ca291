// Package kms has the keys that seal unwrapped by key management services: AWS KMS, and the transit engine of HashiCorp Vault.
//
// Shape: a key that seals is made here, wrapped there, and stands wrapped in the configuration. A node has it unwrapped once, when
// it starts, and keeps it in memory.
//
//	seal_key: "kms:NAME:BASE64" ──Unwrap──▶ KMS NAME ──▶ 32 bytes ──▶ seal.Keys
//
// Which key it is does not depend on who has wrapped it: the same key, wrapped by another KMS, opens the same texts.
//
// Retries: what a KMS can't do just now is tried again for Patience, with pauses between BackoffMin and BackoffMax. What it refuses is
// not.
//
// Units and limits: AttemptTimeout an attempt, MaxWrappedBytes a wrapped key, maxAnswerBytes an answer.
//
// Errors: KindUnavailable when a KMS can't be reached or does not work; KindForbidden when it denies; KindInvalid when it does not know
// the key, or did not wrap what it is given. They hold what the KMS says, shortened, and no key.
//
// Source: docs.aws.amazon.com/kms (API_Decrypt, API_Encrypt, CommonErrors), which aws-sdk-go-v2 speaks; developer.hashicorp.com/vault/api-docs/secret/transit.
package kms

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/stead-dev/stead"
)

// Limits.
const (
	// AttemptTimeout bounds one call.
	AttemptTimeout = 10 * time.Second
	// Patience is for how long a call is tried again.
	Patience = time.Minute
	// BackoffMin and BackoffMax bound the pauses between attempts.
	BackoffMin, BackoffMax = 250 * time.Millisecond, 5 * time.Second
	// MaxWrappedBytes bounds a wrapped key: AWS's ciphertexts of 32 bytes have some 200.
	MaxWrappedBytes = 6 << 10
	// maxAnswerBytes bounds what is read of an answer, maxSaid what is told of an error in it.
	maxAnswerBytes = 64 << 10
	maxSaid        = 300
)

// Service wraps and unwraps keys.
type Service interface {
	Encrypt(ctx context.Context, plain []byte) (wrapped []byte, err error)
	Decrypt(ctx context.Context, wrapped []byte) (plain []byte, err error)
}

// Ring is the services of a configuration, by name.
type Ring struct {
	services map[string]Service
	patience time.Duration
	log      *slog.Logger
}

// NewRing makes a ring. patience is that of calls; 0: Patience.
func NewRing(services map[string]Service, patience time.Duration, log *slog.Logger) *Ring {
	if patience == 0 {
		patience = Patience
	}
	return &Ring{services, patience, log}
}

// entry begins a key that stands wrapped in a configuration.
const entry = "kms:"

// Entry is how a wrapped key stands in a configuration.
func Entry(name string, wrapped []byte) string {
	return entry + name + ":" + base64.StdEncoding.EncodeToString(wrapped)
}

// ParseEntry takes apart what Entry makes. ok is false for what is no such thing.
func ParseEntry(text string) (name string, wrapped []byte, ok bool) {
	rest, is := strings.CutPrefix(text, entry)
	name, blob, found := strings.Cut(rest, ":")
	wrapped, err := base64.StdEncoding.DecodeString(blob)
	return name, wrapped, is && found && err == nil && len(wrapped) > 0 && len(wrapped) <= MaxWrappedBytes
}

// Unwrap returns a key that a service has wrapped.
func (r *Ring) Unwrap(ctx context.Context, name string, wrapped []byte) ([]byte, error) {
	return r.try(ctx, name, "unwrap", func(ctx context.Context, s Service) ([]byte, error) { return s.Decrypt(ctx, wrapped) })
}

// Wrap has a service wrap a key, and returns how it stands in a configuration.
func (r *Ring) Wrap(ctx context.Context, name string, plain []byte) (string, error) {
	wrapped, err := r.try(ctx, name, "wrap", func(ctx context.Context, s Service) ([]byte, error) { return s.Encrypt(ctx, plain) })
	return Entry(name, wrapped), err
}

// try calls a service until it answers, says no, or patience is over.
func (r *Ring) try(ctx context.Context, name, what string, call func(context.Context, Service) ([]byte, error)) ([]byte, error) {
	s := r.services[name]
	if s == nil {
		e := stead.Invalid("seal_key", "seal_key names the KMS %.80q, which seal_kms does not have", name)
		e.Hint = "Write seal_kms: [{name: …, api: aws or vault, …}]."
		return nil, e
	}
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	pause, last := BackoffMin, error(nil)
	for {
		attempt, done := context.WithTimeout(ctx, AttemptTimeout)
		out, err := call(attempt, s)
		done()
		if err == nil || stead.KindOf(err) != stead.KindUnavailable {
			return out, named(err, name, what)
		}
		if ctx.Err() != nil { // what it said before tells more than that this attempt was cut off
			return nil, named(cmp.Or(last, err), name, what)
		}
		last = err
		r.log.Warn("a KMS can't be used just now; trying again", "kms", name, "to", what, "err", err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, named(err, name, what)
		}
		pause = min(2*pause, BackoffMax)
	}
}

// named says which KMS, and what can be done.
func named(err error, name, what string) error {
	if err == nil {
		return nil
	}
	kind := stead.KindOf(err)
	e := stead.Wrap(kind, err, "the KMS %s does not %s the key that keeps secrets", name, what)
	e.Param = "seal_key"
	switch kind {
	case stead.KindForbidden:
		e.Hint = "Let this node's credentials encrypt and decrypt with that key, and see whether they have expired."
	case stead.KindUnavailable:
		e.Hint = "See whether this machine reaches the KMS. A node that runs needs it no more; one that starts does."
	default:
		e.Hint = "See whether it is the KMS, and the key there, that wrapped this one."
	}
	return e
}

// caller calls a service over HTTP.
type caller struct {
	client *http.Client
}

// newCaller believes the authorities of ca (PEM); nil: those of the machine.
func newCaller(ca []byte) (caller, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != nil {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(ca) {
			return caller{}, stead.Invalid("seal_kms.ca_file", "the file of authorities has no certificate")
		}
	}
	return caller{&http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// post sends JSON, signed by sign, and returns the answer's status and what it says.
func (c caller) post(ctx context.Context, url string, body any, sign func(*http.Request, []byte)) (int, []byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, nil, stead.Wrap(stead.KindInternal, err, "a request can't be written")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(raw))
	if err != nil {
		return 0, nil, stead.Wrap(stead.KindInvalid, err, "its address can't be used")
	}
	req.Header.Set("Content-Type", "application/json")
	sign(req, raw)
	res, err := c.client.Do(req)
	if err != nil {
		return 0, nil, stead.Errorf(stead.KindUnavailable, "it can't be reached: %s", said(err.Error()))
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	if err != nil {
		return 0, nil, stead.Wrap(stead.KindUnavailable, err, "its answer broke off")
	}
	return res.StatusCode, answer, nil
}

// said is what a stranger says, on one line and short.
func said(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "…"
	}
	return text
}

// byStatus is for answers that are not in the service's own words.
func byStatus(status int, text string) error {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return stead.Errorf(stead.KindForbidden, "it denies with status %d (%s)", status, text)
	case status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return stead.Errorf(stead.KindUnavailable, "it answers with status %d (%s)", status, text)
	}
	return stead.Errorf(stead.KindInvalid, "it answers with status %d (%s)", status, text)
}
