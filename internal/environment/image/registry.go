package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stead-dev/stead"
)

// The library's own client (v1/remote) would link the Docker command line's configuration, its
// credential helpers and a logger. Pulling needs three requests of the distribution specification,
// so they are made here, and the library gets the bytes.

// maxTokenBytes is the largest answer of a token server.
const maxTokenBytes = 1 << 20

// accepted are the media types of manifests that we can read.
func accepted() string {
	return strings.Join([]string{string(types.OCIImageIndex), string(types.DockerManifestList),
		string(types.OCIManifestSchema1), string(types.DockerManifestSchema2)}, ", ")
}

// puller reads one repository.
type puller struct {
	ctx   context.Context // of the one Get that it serves: the library's interfaces take none
	http  *http.Client
	repo  name.Repository
	login func(host string) (user, password string)

	mu    sync.Mutex
	token string // value of the Authorization header
}

func (s *Store) openRegistry(ctx context.Context, ref name.Reference) (v1.Image, error) {
	p := &puller{ctx: ctx, http: &http.Client{Transport: s.opts.Transport}, repo: ref.Context(), login: s.opts.Login}
	raw, mediaType, err := p.manifest(ref.Identifier())
	if err != nil {
		return nil, err
	}
	if d, ok := ref.(name.Digest); ok {
		want, err := v1.NewHash(d.DigestStr())
		if err != nil {
			return nil, stead.Invalid("image", "%.100q is not a digest", d.DigestStr())
		}
		if err := verify(raw, want, "manifest"); err != nil {
			return nil, err
		}
	}
	for depth := 1; isIndex(mediaType, raw); depth++ {
		if depth > maxIndexDepth {
			return nil, stead.Invalid("image", "indexes lie more than %d deep in each other", maxIndexDepth)
		}
		var index v1.IndexManifest
		if err := json.Unmarshal(raw, &index); err != nil {
			return nil, stead.Wrap(stead.KindInvalid, err, "the image's index can't be read")
		}
		d, err := s.choose(index.Manifests)
		if err != nil {
			return nil, err
		}
		if raw, mediaType, err = p.manifest(d.Digest.String()); err != nil {
			return nil, err
		}
		if err := verify(raw, d.Digest, "manifest"); err != nil {
			return nil, err
		}
	}
	return p.image(raw, mediaType)
}

func (p *puller) image(raw []byte, mediaType types.MediaType) (v1.Image, error) {
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the image's manifest can't be read")
	}
	if len(m.Layers) > MaxLayers {
		return nil, stead.Errorf(stead.KindTooLarge, "the image has %d layers, the limit is %d", len(m.Layers), MaxLayers)
	}
	img, err := partial.CompressedToImage(&pulled{p, raw, mediaType, m})
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the image's manifest can't be read")
	}
	return img, nil
}

// pulled is what the library needs to know of an image.
type pulled struct {
	*puller
	raw       []byte
	mediaType types.MediaType
	manifest  v1.Manifest
}

func (i *pulled) MediaType() (types.MediaType, error) { return i.mediaType, nil }
func (i *pulled) RawManifest() ([]byte, error)        { return i.raw, nil }

func (i *pulled) RawConfigFile() ([]byte, error) {
	body, err := i.blob(i.manifest.Config.Digest)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return readAll(body, MaxManifestBytes, "the image's configuration")
}

func (i *pulled) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range i.manifest.Layers {
		if d.Digest == h {
			return &pulledLayer{i.puller, d}, nil
		}
	}
	return nil, stead.Invalid("image", "the image's manifest names no layer %s", h)
}

type pulledLayer struct {
	*puller
	v1.Descriptor
}

func (l *pulledLayer) Digest() (v1.Hash, error)            { return l.Descriptor.Digest, nil }
func (l *pulledLayer) Size() (int64, error)                { return l.Descriptor.Size, nil }
func (l *pulledLayer) MediaType() (types.MediaType, error) { return l.Descriptor.MediaType, nil }
func (l *pulledLayer) Compressed() (io.ReadCloser, error)  { return l.blob(l.Descriptor.Digest) }
func (p *puller) blob(digest v1.Hash) (io.ReadCloser, error) {
	return p.get("blobs", digest.String(), "")
}

// manifest returns a manifest or index, and what the registry says that it is.
func (p *puller) manifest(identifier string) ([]byte, types.MediaType, error) {
	res, err := p.do("manifests", identifier, accepted())
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	raw, err := readAll(res.Body, MaxManifestBytes, "the image's manifest")
	return raw, types.MediaType(res.Header.Get("Content-Type")), err
}

func (p *puller) get(kind, identifier, accept string) (io.ReadCloser, error) {
	res, err := p.do(kind, identifier, accept)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// do makes one request, and once more with a token when the registry asks for one.
func (p *puller) do(kind, identifier, accept string) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		u := fmt.Sprintf("%s://%s/v2/%s/%s/%s", p.repo.Registry.Scheme(), p.repo.RegistryStr(), p.repo.RepositoryStr(), kind, identifier)
		req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, u, nil)
		if err != nil {
			return nil, stead.Wrap(stead.KindInvalid, err, "the image's registry has no valid address")
		}
		if accept != "" {
			req.Header.Set("Accept", accept)
		}
		p.mu.Lock()
		if p.token != "" {
			req.Header.Set("Authorization", p.token) // dropped by net/http when a redirect leads to another host
		}
		p.mu.Unlock()
		res, err := p.http.Do(req)
		if err != nil {
			return nil, stead.Wrap(stead.KindUnavailable, err, "the registry %s does not answer", p.repo.RegistryStr())
		}
		if res.StatusCode == http.StatusOK {
			return res, nil
		}
		res.Body.Close()
		if res.StatusCode == http.StatusUnauthorized && attempt == 1 {
			if err := p.authorize(res.Header.Get("WWW-Authenticate")); err != nil {
				return nil, err
			}
			continue
		}
		return nil, p.statusError(res.StatusCode, identifier)
	}
}

func (p *puller) statusError(status int, identifier string) error {
	where := p.repo.Name()
	switch {
	case status == http.StatusNotFound:
		return stead.Errorf(stead.KindNotFound, "the registry has no %s of %s", identifier, where)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		e := stead.Errorf(stead.KindForbidden, "the registry refuses %s", where)
		e.Hint = "Check the image's name, and configure a login for " + p.repo.RegistryStr() + " if it is private."
		return e
	}
	return stead.Errorf(stead.KindUnavailable, "the registry answers %d for %s", status, where)
}

// authorize follows a challenge: a login as it is, or a token that a token server gives for it.
func (p *puller) authorize(challenge string) error {
	user, password := "", ""
	if p.login != nil {
		user, password = p.login(p.repo.RegistryStr())
	}
	scheme, params := parseChallenge(challenge)
	switch scheme {
	case "basic":
		if user == "" {
			return p.statusError(http.StatusUnauthorized, "")
		}
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(user, password)
		p.set(req.Header.Get("Authorization"))
		return nil
	case "bearer":
		return p.fetchToken(params, user, password)
	}
	return stead.Errorf(stead.KindUnavailable, "the registry %s asks for a login in a way that is not known", p.repo.RegistryStr())
}

func (p *puller) fetchToken(params map[string]string, user, password string) error {
	realm, err := url.Parse(params["realm"])
	if err != nil || realm.Host == "" || realm.Scheme != "https" && realm.Scheme != p.repo.Registry.Scheme() {
		return stead.Errorf(stead.KindUnavailable, "the registry %s names no valid token server", p.repo.RegistryStr())
	}
	q := realm.Query()
	if params["service"] != "" {
		q.Set("service", params["service"])
	}
	q.Set("scope", p.repo.Scope("pull"))
	realm.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the token server's address")
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the token server of %s does not answer", p.repo.RegistryStr())
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return p.statusError(http.StatusUnauthorized, "")
	}
	raw, err := readAll(res.Body, maxTokenBytes, "the token")
	if err != nil {
		return err
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"` // the same under OAuth's name
	}
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Token+answer.AccessToken == "" {
		return stead.Errorf(stead.KindUnavailable, "the token server of %s gives no token", p.repo.RegistryStr())
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	p.set("Bearer " + answer.Token)
	return nil
}

func (p *puller) set(authorization string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.token = authorization
}

// parseChallenge reads `Bearer realm="…",service="…"`: RFC 9110, section 11.6.1, one challenge.
func parseChallenge(header string) (scheme string, params map[string]string) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	params = map[string]string{}
	for rest != "" {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		var value string
		if quoted, isQuoted := strings.CutPrefix(after, `"`); isQuoted {
			value, rest, _ = strings.Cut(quoted, `"`)
			rest = strings.TrimLeft(rest, ", ")
		} else {
			value, rest, _ = strings.Cut(after, ",")
		}
		params[strings.ToLower(strings.TrimSpace(key))] = value
	}
	return strings.ToLower(scheme), params
}

func readAll(r io.Reader, max int64, what string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "read %s", what)
	}
	if int64(len(data)) > max {
		return nil, stead.Errorf(stead.KindTooLarge, "%s is larger than %d bytes", what, max)
	}
	return data, nil
}
