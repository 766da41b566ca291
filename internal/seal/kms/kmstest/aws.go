// Package kmstest speaks the protocols of key management services, for tests: servers over real HTTPS that check what the real
// ones check, as far as their documents say. Nobody's account is behind them.
package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is one service. Its fields may be changed while it serves, by Set.
type Server struct {
	*httptest.Server
	mu    sync.Mutex
	rules Rules
	calls int
	keys  map[string]cipher.AEAD // name of a key there → what it is
}

// Rules say how a server behaves.
type Rules struct {
	Denied   bool          // nobody may use the key
	Ahead    time.Duration // its clock is, of ours
	Busy     int           // so many calls are answered with an error that passes
	Disabled bool          // the key can't be used
	Down     bool          // connections are cut
}

// Set changes the rules.
func (s *Server) Set(r Rules) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = r
}

// Calls is how many there were.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// CA is the authority of the server's certificate, PEM.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func start(tb testing.TB, keys []string, handle func(s *Server, w http.ResponseWriter, r *http.Request, body []byte)) *Server {
	tb.Helper()
	s := &Server{keys: map[string]cipher.AEAD{}}
	for _, name := range keys {
		raw := make([]byte, 32)
		rand.Read(raw) //nolint:errcheck // never fails
		block, err := aes.NewCipher(raw)
		if err == nil {
			s.keys[name], err = cipher.NewGCMWithRandomNonce(block)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls++
		if s.rules.Down {
			panic(http.ErrAbortHandler)
		}
		handle(s, w, r, body)
	}))
	tb.Cleanup(s.Close)
	return s
}

// Credentials are an access key.
type Credentials struct{ Key, Secret, Token string }

// AWS is a KMS with keys, in a region, for who signs with these credentials.
func AWS(tb testing.TB, region string, c Credentials, keys ...string) *Server {
	return start(tb, keys, func(s *Server, w http.ResponseWriter, r *http.Request, body []byte) {
		fail := func(status int, kind, message string) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]string{"__type": kind, "message": message}) // a client that is gone
		}
		if problem := c.check(r, body, region, time.Now().Add(s.rules.Ahead)); problem != "" {
			fail(http.StatusBadRequest, "com.amazon.coral.service#"+problem, "The request signature we calculated does not match the signature you provided.")
			return
		}
		var in struct {
			KeyID      string `json:"KeyId"`
			Plaintext  []byte
			Ciphertext []byte            `json:"CiphertextBlob"`
			Context    map[string]string `json:"EncryptionContext"`
		}
		if err := json.Unmarshal(body, &in); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
			fail(http.StatusBadRequest, "SerializationException", "")
			return
		}
		key := s.keys[in.KeyID]
		bound, _ := json.Marshal(in.Context) // maps of strings can be written, and are in order
		switch {
		case s.rules.Busy > 0:
			s.rules.Busy--
			if s.rules.Busy%2 == 0 {
				fail(http.StatusBadRequest, "ThrottlingException", "Rate exceeded")
			} else {
				fail(http.StatusInternalServerError, "KMSInternalException", "")
			}
		case key == nil:
			fail(http.StatusBadRequest, "NotFoundException", "Key '"+in.KeyID+"' does not exist")
		case s.rules.Denied:
			fail(http.StatusBadRequest, "AccessDeniedException", "User: arn:aws:iam::111122223333:user/stead is not authorized to perform this operation")
		case s.rules.Disabled:
			fail(http.StatusBadRequest, "DisabledException", in.KeyID+" is disabled.")
		case r.Header.Get("X-Amz-Target") == "TrentService.Encrypt" && len(in.Plaintext) > 0:
			_ = json.NewEncoder(w).Encode(map[string]any{"KeyId": in.KeyID, "CiphertextBlob": key.Seal(nil, nil, in.Plaintext, bound), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
		case r.Header.Get("X-Amz-Target") == "TrentService.Decrypt":
			plain, err := key.Open(nil, nil, in.Ciphertext, bound)
			if err != nil {
				fail(http.StatusBadRequest, "InvalidCiphertextException", "")
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"KeyId": in.KeyID, "Plaintext": plain, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
		default:
			fail(http.StatusBadRequest, "UnknownOperationException", "")
		}
	})
}

// check verifies a request's signature as it came over the wire, and says by which error AWS refuses it; "": it is right. It is written
// from AWS's description, apart from the code that signs.
func (c Credentials) check(r *http.Request, body []byte, region string, now time.Time) string {
	const most = 15 * time.Minute
	fields := map[string]string{}
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	for _, part := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	scope := strings.Split(fields["Credential"], "/")
	switch {
	case scheme != "AWS4-HMAC-SHA256" || len(scope) != 5:
		return "MissingAuthenticationTokenException"
	case err != nil || now.Sub(at).Abs() > most:
		return "InvalidSignatureException"
	case scope[0] != c.Key || r.Header.Get("X-Amz-Security-Token") != c.Token:
		return "UnrecognizedClientException"
	case scope[1] != at.Format("20060102") || scope[2] != region || scope[3] != "kms" || scope[4] != "aws4_request":
		return "InvalidSignatureException"
	}
	names := strings.Split(fields["SignedHeaders"], ";")
	for _, must := range []string{"host", "x-amz-date", "x-amz-target"} {
		if !slices.Contains(names, must) {
			return "InvalidSignatureException"
		}
	}
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n"
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		canonical += name + ":" + strings.TrimSpace(value) + "\n"
	}
	payload := sha256.Sum256(body)
	canonical += "\n" + fields["SignedHeaders"] + "\n" + hex.EncodeToString(payload[:])
	digest := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + strings.Join(scope[1:], "/") + "\n" + hex.EncodeToString(digest[:])
	key := []byte("AWS4" + c.Secret)
	for _, part := range append(scope[1:], text) {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	if given, err := hex.DecodeString(fields["Signature"]); err != nil || !hmac.Equal(given, key) {
		return "InvalidSignatureException"
	}
	return ""
}
