package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/stead-dev/stead"
)

// realRegistry is the library's registry behind a loopback listener.
type realRegistry struct {
	*httptest.Server
	requests atomic.Int32
	wrap     func(http.Handler) http.Handler
}

func newRegistry(t *testing.T) *realRegistry {
	t.Helper()
	r := &realRegistry{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.requests.Add(1)
		if r.wrap != nil {
			r.wrap(inner).ServeHTTP(w, q)
			return
		}
		inner.ServeHTTP(w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *realRegistry) host() string { return strings.TrimPrefix(r.URL, "http://") }

// push uploads as the distribution specification says: blobs whole, then manifests.
func (r *realRegistry) push(t *testing.T, img v1.Image, tag string) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		body, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		r.upload(t, data)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	r.upload(t, config)
	manifest, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	media, err := img.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	r.put(t, manifest, string(media), tag)
}

func (r *realRegistry) upload(t *testing.T, data []byte) {
	t.Helper()
	sum := sha256.Sum256(data)
	res, err := http.Post(r.URL+"/v2/a/b/blobs/uploads/?digest=sha256:"+hex.EncodeToString(sum[:]), "application/octet-stream", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("the upload answers %s", res.Status)
	}
}

func (r *realRegistry) put(t *testing.T, manifest []byte, media, tag string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, r.URL+"/v2/a/b/manifests/"+tag, bytes.NewReader(manifest))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("the manifest answers %s", res.Status)
	}
}

func TestPull(t *testing.T) {
	r := newRegistry(t)
	img := build(t, archive(t, file("a", "a")), archive(t, file("b", "b")))
	r.push(t, img, "1.0")
	s := open(t, Options{})
	got, err := s.Get(t.Context(), r.host()+"/a/b:1.0")
	if err != nil || read(t, got, "a")+read(t, got, "b") != "ab" {
		t.Fatalf("by tag: %v", err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	pinned := "docker://" + r.host() + "/a/b@" + digest.String()
	if got, err := s.Get(t.Context(), pinned); err != nil || read(t, got, "b") != "b" {
		t.Fatalf("by digest: %v", err)
	}
	before := r.requests.Load()
	if _, err := s.Get(t.Context(), pinned); err != nil {
		t.Fatalf("by digest again: %v", err)
	}
	if n := r.requests.Load() - before; n != 0 {
		t.Errorf("a pinned image that is there cost %d requests", n)
	}
}

func TestPullOfAnIndexTakesOurPlatform(t *testing.T) {
	r := newRegistry(t)
	mine, other := build(t, archive(t, file("arch", "mine"))), build(t, archive(t, file("arch", "other")))
	r.push(t, mine, "mine")
	r.push(t, other, "other")
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: mine, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	raw, err := index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	media, err := index.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	r.put(t, raw, string(media), "latest")
	got, err := open(t, Options{Arch: "amd64"}).Get(t.Context(), r.host()+"/a/b")
	if err != nil || read(t, got, "arch") != "mine" {
		t.Errorf("the image of our platform: %v", err)
	}
	_, err = open(t, Options{Arch: "riscv64"}).Get(t.Context(), r.host()+"/a/b")
	if stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("for a platform that is not there: %v", err)
	}
}

// A registry that asks for a token gets one from the server that it names, for our login.
func TestPullWithAToken(t *testing.T) {
	r := newRegistry(t)
	r.push(t, build(t, archive(t, file("a", "a"))), "1")
	r.wrap = func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/token" {
				user, password, _ := q.BasicAuth()
				if user != "me" || password != "secret" || q.FormValue("scope") != "repository:a/b:pull" || q.FormValue("service") != "reg, istry" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				io.WriteString(w, `{"access_token":"t0k3n"}`)
				return
			}
			if q.Header.Get("Authorization") != "Bearer t0k3n" {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+r.URL+`/token",service="reg, istry",scope="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			inner.ServeHTTP(w, q)
		})
	}
	login := func(host string) (string, string) {
		if host == r.host() {
			return "me", "secret"
		}
		return "", ""
	}
	if got, err := open(t, Options{Login: login}).Get(t.Context(), r.host()+"/a/b:1"); err != nil || read(t, got, "a") != "a" {
		t.Errorf("with a login: %v", err)
	}
	if _, err := open(t, Options{}).Get(t.Context(), r.host()+"/a/b:1"); stead.KindOf(err) != stead.KindForbidden {
		t.Errorf("without a login: %v", err)
	}
}

func TestRegistriesThatMisbehave(t *testing.T) {
	img := build(t, archive(t, file("a", "a")))
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	answer := func(part string, with http.HandlerFunc) func(http.Handler) http.Handler {
		return func(inner http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if strings.Contains(q.URL.Path, part) {
					with(w, q)
					return
				}
				inner.ServeHTTP(w, q)
			})
		}
	}
	for _, c := range []struct {
		title string
		wrap  func(http.Handler) http.Handler
		kind  stead.Kind
	}{
		{"no such tag", answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }), stead.KindNotFound},
		{"broken", answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }), stead.KindUnavailable},
		{"forbidden", answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }), stead.KindForbidden},
		{"asks for ever", answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Negotiate`)
			w.WriteHeader(http.StatusUnauthorized)
		}), stead.KindUnavailable},
		{"an endless manifest", answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(make([]byte, MaxManifestBytes+1))
		}), stead.KindTooLarge},
		{"no manifest", answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }), stead.KindInvalid},
		{"another layer", answer(layer.Hex, func(w http.ResponseWriter, _ *http.Request) { w.Write(archive(t, file("a", "forged"))) }), stead.KindInvalid},
		{"a layer that is cut off", answer(layer.Hex, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write(archive(t, file("a", "a"))[:600])
		}), stead.KindUnavailable},
	} {
		t.Run(c.title, func(t *testing.T) {
			r := newRegistry(t)
			r.push(t, img, "1")
			r.wrap = c.wrap
			s := open(t, Options{})
			if _, err := s.Get(t.Context(), r.host()+"/a/b:1"); stead.KindOf(err) != c.kind {
				t.Errorf("the error is %v of kind %q, want kind %q", err, stead.KindOf(err), c.kind)
			}
			onlyAlias(t, s)
		})
	}
}

// refusing is what an egress rule does to a request.
type refusing struct{ asked string }

func (r *refusing) RoundTrip(q *http.Request) (*http.Response, error) {
	r.asked = q.URL.Host
	return nil, errors.New("not allowed")
}

func TestRequestsGoThroughTheTransport(t *testing.T) {
	transport := &refusing{}
	_, err := open(t, Options{Transport: transport}).Get(t.Context(), "debian:bookworm-slim")
	if stead.KindOf(err) != stead.KindUnavailable || transport.asked != "index.docker.io" {
		t.Errorf("asked %q, error %v", transport.asked, err)
	}
}

func TestChallenges(t *testing.T) {
	for header, want := range map[string]string{
		`Bearer realm="https://a/b?c=d",service="s"`: "https://a/b?c=d",
		`bearer Realm=token, service="s"`:            "token",
		`Bearer realm="unclosed`:                     "unclosed",
		`Bearer`:                                     "",
		``:                                           "",
	} {
		if _, params := parseChallenge(header); params["realm"] != want {
			t.Errorf("the realm of %q is %q, want %q", header, params["realm"], want)
		}
	}
}
