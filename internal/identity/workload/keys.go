package workload

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/seal"
)

// How long keys live.
const (
	// SignFor is how long one key signs, unless Config.SignFor says otherwise, which is MinSignFor to MaxSignFor.
	SignFor    = 30 * 24 * time.Hour
	MinSignFor = 2 * 24 * time.Hour
	MaxSignFor = 365 * 24 * time.Hour
	// NextAhead is how long before it signs a key is published.
	NextAhead = 24 * time.Hour
	// KeptFor is how long after it signed last a key is published.
	KeptFor = time.Hour
	// CacheFor is how long others may believe the key set without asking.
	CacheFor = 5 * time.Minute
	// clocks is how far those of nodes may be apart: a key that signs at once is good for a node whose clock is behind, too.
	clocks = 5 * time.Minute
	// SignAfter is how long a key that was asked for is published before it signs: whoever read the set just before may keep it for
	// CacheFor, from a node whose picture is as old as it may be, by a clock that is behind.
	SignAfter = CacheFor + clocks + believeFor
	// readEvery is how old a node's own picture of the set may be, and believeFor how old while the database is away.
	readEvery  = time.Second
	believeFor = time.Minute
)

// keyKind is what keys are among documents, and home the project where all of them are. No principal is of that project.
const (
	keyKind document.Kind   = "workload_key"
	home    stead.ProjectID = "stead:identity"
)

// stored is the data of a key's document.
type stored struct {
	Algorithm string          `json:"algorithm"`
	Public    jose.JSONWebKey `json:"public"` // with its id, alg and use
	From      int64           `json:"from"`   // Unix milliseconds: it signs from here
	Until     int64           `json:"until"`  // to here, or until a later one does
	Sealed    []byte          `json:"sealed"` // the private half, PKCS #8
}

// keySet is the keys as they were read last.
type keySet struct {
	cfg Config

	mu    sync.Mutex
	at    time.Time // of what is known
	tried time.Time // the last reading, though it may have failed
	keys  []kept
}

type kept struct {
	id string // of the document
	stored
	created int64         // Unix milliseconds
	end     int64         // Until, or where a later key of the same algorithm begins: nothing is written to a key that is replaced
	private crypto.Signer // nil until it signs
}

func newKeySet(cfg Config) *keySet { return &keySet{cfg: cfg} }

// sign signs a payload with the key whose time it is.
func (s *keySet) sign(ctx context.Context, payload []byte) (string, error) {
	private, kid, err := s.signing(ctx)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(s.cfg.Algorithm), Key: jose.JSONWebKey{Key: private, KeyID: kid}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", stead.Wrap(stead.KindInternal, err, "a workload token can't be signed")
	}
	sig, err := signer.Sign(payload)
	if err != nil {
		return "", stead.Wrap(stead.KindInternal, err, "a workload token can't be signed")
	}
	text, err := sig.CompactSerialize()
	if err != nil {
		return "", stead.Wrap(stead.KindInternal, err, "a workload token can't be written")
	}
	return text, nil
}

// signing is the private half of the key whose time it is.
func (s *keySet) signing(ctx context.Context) (crypto.Signer, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(ctx); err != nil {
		return nil, "", err
	}
	n := s.current(s.cfg.Now())
	if n < 0 {
		return nil, "", stead.Errorf(stead.KindUnavailable, "there is no key for workload tokens just now")
	}
	k := &s.keys[n]
	if k.private == nil {
		plain, err := s.cfg.Keys.Open(labelOf(k.id), k.Sealed)
		if err != nil {
			return nil, "", err
		}
		private, err := x509.ParsePKCS8PrivateKey(plain)
		signer, ok := private.(crypto.Signer)
		if err != nil || !ok {
			return nil, "", stead.Wrap(stead.KindInternal, err, "the key %s for workload tokens can't be read", k.id)
		}
		k.private = signer
	}
	return k.private, k.Public.KeyID, nil
}

func labelOf(id string) seal.Label { return seal.Label{Project: home, Kind: string(keyKind), ID: id} }

// published are the public halves: those that signed, sign and will.
func (s *keySet) published(ctx context.Context) (jose.JSONWebKeySet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(ctx); err != nil {
		return jose.JSONWebKeySet{}, err
	}
	out := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range s.keys {
		if s.cfg.Now().UnixMilli() < k.end+KeptFor.Milliseconds() {
			out.Keys = append(out.Keys, k.Public)
		}
	}
	return out, nil
}

// current is the place of the key whose time it is; -1: there is none. Of two it is the one that was made last.
func (s *keySet) current(now time.Time) int {
	for n := len(s.keys) - 1; n >= 0; n-- {
		if k := s.keys[n]; k.Algorithm == s.cfg.Algorithm && k.From <= now.UnixMilli() && now.UnixMilli() < k.end {
			return n
		}
	}
	return -1
}

// next is the place of the key that signs next, if it does so about as soon as one would that was made now; -1: there is none.
func (s *keySet) next(now time.Time) int {
	for n := len(s.keys) - 1; n >= 0; n-- {
		if k := s.keys[n]; k.Algorithm == s.cfg.Algorithm && k.From < k.end {
			if soon := now.Add(SignAfter + clocks).UnixMilli(); now.UnixMilli() < k.From && k.From <= soon {
				return n
			}
			return -1
		}
	}
	return -1
}

// maxTurns bounds how often a node looks again because another made a key first.
const maxTurns = 4

// refresh reads the set if it was read too long ago, and makes the keys that it lacks: the first one, and the next one while
// the one before still signs.
func (s *keySet) refresh(ctx context.Context) error {
	now := s.cfg.Now()
	age := now.Sub(s.at)
	believed := s.current(now) >= 0 && age >= 0 && age < believeFor
	if believed && now.Sub(s.tried) < readEvery {
		return nil
	}
	s.tried = now
	for range maxTurns {
		if err := s.read(ctx, now); err != nil {
			if believed && stead.KindOf(err) == stead.KindUnavailable {
				return nil
			}
			return err
		}
		from := now.Add(-clocks)
		n := s.current(now)
		if n >= 0 {
			from = time.UnixMilli(s.keys[n].end)
			if from.Sub(now) > NextAhead || s.current(from) >= 0 {
				return nil
			}
		}
		err := s.make(ctx, from)
		if err != nil && stead.KindOf(err) != stead.KindConflict {
			if n >= 0 {
				return nil // it is tried again while there is time
			}
			return err
		}
	}
	return errTurns()
}

func errTurns() error {
	return stead.Errorf(stead.KindUnavailable, "the keys for workload tokens are being changed; try again")
}

// rotate has another key sign from SignAfter on, and returns it. One that is to sign by then anyway is that key, so that however
// many ask at once, or again, there is one: what is made is one document whose id only one of them can take. The key that signs until
// then ends where the next one begins, without anything being written to it, so that nothing is left half done.
func (s *keySet) rotate(ctx context.Context) (kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(ctx); err != nil {
		return kept{}, err
	}
	for range maxTurns {
		now := s.cfg.Now()
		if err := s.read(ctx, now); err != nil {
			return kept{}, err
		}
		if n := s.next(now); n >= 0 {
			return s.keys[n], nil
		}
		if err := s.make(ctx, now.Add(SignAfter)); err != nil && stead.KindOf(err) != stead.KindConflict {
			return kept{}, err
		}
	}
	return kept{}, errTurns()
}

// read reads all keys, and takes away those that nobody needs any more.
func (s *keySet) read(ctx context.Context, now time.Time) error {
	docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: home, Kind: keyKind, Limit: stead.MaxPageSize})
	if err != nil {
		return err
	}
	var keys []kept
	for _, d := range docs {
		k := kept{id: d.ID, created: d.CreatedAt}
		if err := json.Unmarshal(d.Data, &k.stored); err != nil {
			return stead.Wrap(stead.KindInternal, err, "the key %s for workload tokens can't be read", d.ID)
		}
		for _, old := range s.keys {
			if old.id == k.id {
				k.private = old.private
			}
		}
		keys = append(keys, k)
	}
	s.keys, s.at = s.needed(ctx, keys, now), now
	return nil
}

// needed takes away the keys by which no token was signed that could still be valid. The newest stays, by whose number the next
// one's is found.
func (s *keySet) needed(ctx context.Context, keys []kept, now time.Time) (out []kept) {
	for n, k := range keys {
		k.end = k.Until
		for _, later := range keys[n+1:] {
			if later.Algorithm == k.Algorithm {
				k.end = min(k.end, later.From)
			}
		}
		if n < len(keys)-1 && now.UnixMilli() >= k.end+KeptFor.Milliseconds() {
			_ = s.cfg.Documents.DeleteDocument(ctx, document.Key{Project: home, Kind: keyKind, ID: k.id}, 0) // the next one who reads tries again
			continue
		}
		out = append(out, k)
	}
	return out
}

// make makes a key that signs from a time on. Its id follows from those that are there, so that of two nodes that do it at
// once one gets KindConflict.
func (s *keySet) make(ctx context.Context, from time.Time) error {
	number := 1
	if n := len(s.keys); n > 0 {
		if _, err := fmt.Sscanf(s.keys[n-1].id, idFormat, &number); err != nil {
			return stead.Wrap(stead.KindInternal, err, "the key %.80q has an id that is not known", s.keys[n-1].id)
		}
		number++
	}
	id := fmt.Sprintf(idFormat, number)
	private, err := newPrivate(jose.SignatureAlgorithm(s.cfg.Algorithm))
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "a key for workload tokens can't be made")
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "a key for workload tokens can't be written")
	}
	public := jose.JSONWebKey{Key: private.Public(), Algorithm: s.cfg.Algorithm, Use: "sig"}
	thumb, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "a key for workload tokens has no id")
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
	data, err := json.Marshal(stored{s.cfg.Algorithm, public, from.UnixMilli(), from.Add(cmp.Or(s.cfg.SignFor, SignFor)).UnixMilli(), s.cfg.Keys.Seal(labelOf(id), plain)})
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "a key for workload tokens can't be written")
	}
	now := s.cfg.Now().UnixMilli()
	_, err = s.cfg.Documents.CreateDocument(ctx, document.Document{Key: document.Key{Project: home, Kind: keyKind, ID: id}, Version: 1, CreatedAt: now, UpdatedAt: now, Data: data}, "", "")
	return err
}

const idFormat = "wkey_%012d"

func newPrivate(alg jose.SignatureAlgorithm) (crypto.Signer, error) {
	switch alg {
	case jose.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("%q is no algorithm that signs here", alg)
}
