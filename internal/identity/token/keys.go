package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stead-dev/stead"
)

// How keys are kept.
const (
	// RefreshEvery is when keys are read again, so that one that an issuer has withdrawn stops to count.
	RefreshEvery = 10 * time.Minute
	// RefreshLeast is the time between two reads for keys that are not known: tokens with invented ones can't have
	// an issuer flooded.
	RefreshLeast = 15 * time.Second
	// IdleFor is after how long without any try to read them keys are read before a token is believed: where no tokens came, nobody
	// noticed that one was withdrawn.
	IdleFor = 2 * RefreshEvery
	// KeepFor is how long keys are believed that can't be read again.
	KeepFor = 12 * time.Hour
	// fetchTime bounds one read of both documents.
	fetchTime = 10 * time.Second
	// maxDocumentBytes bounds each of them, maxKeys the keys.
	maxDocumentBytes = 512 << 10
	maxKeys          = 100
)

// keySet is what an issuer publishes.
type keySet struct {
	issuer string
	http   *http.Client
	now    func() time.Time

	fetching sync.Mutex // held by whoever reads them

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	at      time.Time // when they were read
	fetched int       // how often somebody tried to read them
	tried   time.Time // when last
	failed  error     // how that ended
}

func newKeySet(issuer string, h *http.Client, now func() time.Time) *keySet {
	own := *h
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // keys are where the issuer says
	return &keySet{issuer: issuer, http: &own, now: now}
}

// verify returns the payload, if one of the issuer's keys signed it.
func (s *keySet) verify(ctx context.Context, sig *jose.JSONWebSignature) ([]byte, error) {
	header := sig.Signatures[0].Header // a compact one has exactly one
	keys, err := s.current(ctx, func(keys []jose.JSONWebKey) bool { return len(fitting(keys, header)) > 0 })
	if err != nil {
		return nil, err
	}
	fit := fitting(keys, header)
	if len(fit) == 0 {
		e := stead.Errorf(stead.KindUnauthenticated, "the token is signed with a key that its issuer does not publish")
		e.Code, e.Hint = "invalid_token", fmt.Sprintf("A new key is known here %d seconds after the last look at the issuer's keys at the latest: try again then. stead doctor says whether they can be read.", int(RefreshLeast.Seconds()))
		return nil, e
	}
	for _, k := range fit {
		if payload, err := sig.Verify(k.Key); err == nil {
			return payload, nil
		}
	}
	return nil, refused("the token's signature is none of its issuer's")
}

// fitting are the keys that a token with this header can be signed with: that of its kid, or all if it names none.
func fitting(keys []jose.JSONWebKey, h jose.Header) (fit []jose.JSONWebKey) {
	for _, k := range keys {
		if (h.KeyID == "" || k.KeyID == h.KeyID) && (k.Algorithm == "" || k.Algorithm == h.Algorithm) {
			fit = append(fit, k)
		}
	}
	return fit
}

// current returns keys that are fresh enough, read just now if what is known does not do.
func (s *keySet) current(ctx context.Context, do func([]jose.JSONWebKey) bool) ([]jose.JSONWebKey, error) {
	keys, age, quiet := s.known()
	var err error
	switch {
	case quiet < RefreshLeast: // whatever is known counts
	case !do(keys) || age >= KeepFor || quiet >= IdleFor: // where tokens come, an issuer that is slow or away is tried more often: they don't wait
		err = s.fetch(ctx)
		keys, age, _ = s.known()
	case age >= RefreshEvery:
		go func() { _ = s.fetch(context.WithoutCancel(ctx)) }() // nobody waits for an issuer that is slow; what is known counts on
	}
	if age < KeepFor {
		return keys, nil
	}
	e := stead.Wrap(stead.KindUnavailable, err, "the keys of the token's issuer can't be read")
	e.Hint, e.RetryAfter = "stead doctor tries it, and says what is wrong.", RefreshLeast
	return nil, e
}

// known are the keys, how old they are, and how long ago somebody tried to read them.
func (s *keySet) known() (keys []jose.JSONWebKey, age, quiet time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	return s.keys, now.Sub(s.at), now.Sub(s.tried)
}

// fetch reads the keys. Who comes while somebody else does waits for that.
func (s *keySet) fetch(ctx context.Context) error {
	s.mu.Lock()
	seen := s.fetched
	s.mu.Unlock()
	s.fetching.Lock()
	defer s.fetching.Unlock()
	s.mu.Lock()
	done, err := s.fetched != seen, s.failed
	s.mu.Unlock()
	if done {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime) // others wait for it too
	defer cancel()
	keys, err := s.read(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched, s.failed, s.tried = s.fetched+1, err, s.now()
	if err == nil {
		s.keys, s.at = keys, s.tried
	}
	return err
}

// read reads discovery's document and the keys that it names.
func (s *keySet) read(ctx context.Context) ([]jose.JSONWebKey, error) {
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	at := strings.TrimSuffix(s.issuer, "/") + "/.well-known/openid-configuration"
	if err := s.get(ctx, at, &about); err != nil {
		return nil, err
	}
	if about.Issuer != s.issuer {
		return nil, fmt.Errorf("%s says that it is of the issuer %.200q", at, about.Issuer)
	}
	if err := CheckURL(about.Keys); err != nil {
		return nil, fmt.Errorf("%s has no usable jwks_uri: %w", at, err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.get(ctx, about.Keys, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%s has %d keys, at most %d are read", about.Keys, len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		if k, ok := keyOf(raw); ok { // what is of a kind that is not known is for others
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no key that signatures can be checked with", about.Keys)
	}
	return keys, nil
}

// keyOf reads a key that is published, if signatures can be checked with it and it is for that. A shared secret that is
// published is none.
func keyOf(raw json.RawMessage) (k jose.JSONWebKey, ok bool) {
	var about struct {
		Operations []string `json:"key_ops"` // RFC 7517 4.3
	}
	if json.Unmarshal(raw, &k) != nil || json.Unmarshal(raw, &about) != nil {
		return k, false
	}
	verifies := about.Operations == nil || slices.Contains(about.Operations, "verify")
	return k, verifies && k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig")
}

func (s *keySet) get(ctx context.Context, from string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered with status %d", from, res.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxDocumentBytes+1))
	if err == nil && len(data) > maxDocumentBytes {
		err = fmt.Errorf("%s is longer than %d bytes", from, maxDocumentBytes)
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	return err
}

// CheckURL says what is wrong with the address of an issuer or of its keys: it is https, and http on this machine alone.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("it is no absolute URL without user and fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return errors.New("it is not https")
	}
	if h := u.Hostname(); h != "127.0.0.1" && h != "::1" && h != "localhost" {
		return errors.New("it is not https, and not on this machine")
	}
	return nil
}
