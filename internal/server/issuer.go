package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity/workload"
)

// Issuer publishes what tokens of agents can be checked with: see package workload, which implements it.
type Issuer interface {
	PublicKeys(ctx context.Context) ([]byte, error)
	About() []byte
	// Exchange makes a token that says that a session's agent acts for p, which ends with until at the latest.
	Exchange(ctx context.Context, p stead.Principal, until time.Time, id stead.SessionID, agent stead.AgentID, audience string) (workload.Token, error)
	// Rotate has another key sign before its time, and List shows those that are published.
	Rotate(ctx context.Context, p stead.Principal) (workload.Key, error)
	List(ctx context.Context, p stead.Principal) ([]workload.Key, error)
}

// wireWorkloadKey is a key that tokens of agents are signed with, or were, or will be.
type wireWorkloadKey struct {
	ID        string `json:"id"`     // kid
	Object    string `json:"object"` // "workload_key"
	Algorithm string `json:"algorithm"`
	Status    string `json:"status"`
	CreatedAt int64  `json:"created_at"`
	From      int64  `json:"signs_from"`
	Until     int64  `json:"signs_until"`
	Published int64  `json:"published_until"`
}

func wireWorkloadKeyOf(k workload.Key) wireWorkloadKey {
	return wireWorkloadKey{k.ID, "workload_key", k.Algorithm, k.Status, k.Created.Unix(), k.From.Unix(), k.Until.Unix(), k.Published.Unix()}
}

func (s *server) rotateWorkloadKey(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	if s.Issuer == nil {
		return noIssuer()
	}
	req, err := read(w, r)
	if err == nil {
		err = req.Only("this request") // an empty body, or an object that says nothing
	}
	if err != nil {
		return err
	}
	k, err := s.Issuer.Rotate(r.Context(), p)
	if err != nil {
		return err
	}
	return s.write(w, wireWorkloadKeyOf(k))
}

func (s *server) listWorkloadKeys(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	if s.Issuer == nil {
		return noIssuer()
	}
	keys, err := s.Issuer.List(r.Context(), p)
	if err != nil {
		return err
	}
	data := make([]wireWorkloadKey, len(keys))
	for i, k := range keys {
		data[i] = wireWorkloadKeyOf(k)
	}
	return s.write(w, listOf(data, false, func(k wireWorkloadKey) string { return k.ID }))
}

func (s *server) publicKeys(w http.ResponseWriter, r *http.Request, _ stead.Principal) error {
	if s.Issuer == nil {
		return noIssuer()
	}
	keys, err := s.Issuer.PublicKeys(r.Context())
	if err != nil {
		return err
	}
	publish(w, keys)
	return nil
}

func (s *server) aboutIssuer(w http.ResponseWriter, _ *http.Request, _ stead.Principal) error {
	if s.Issuer == nil {
		return noIssuer()
	}
	publish(w, s.Issuer.About())
	return nil
}

func noIssuer() error {
	e := stead.Errorf(stead.KindNotFound, "agents of this server have no tokens, and so it publishes no keys")
	e.Hint = "Configure them: identity: {trust_domain: acme.example}."
	return e
}

// publish answers with JSON that everybody may read, and keep for a while.
func publish(w http.ResponseWriter, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(workload.CacheFor.Seconds())))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Origin", "*") // they are public, and no cookie is ever looked at
	w.Write(body)                             //nolint:errcheck // nobody is left to tell
}
