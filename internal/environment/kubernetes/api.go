package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
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

	"github.com/stead-dev/stead"
)

// Groups of the API.
const (
	claimGroup   = "extensions.agents.x-k8s.io"
	sandboxGroup = "agents.x-k8s.io"
	// podAnnotation names the pod of a Sandbox that came from a warm pool; without it the pod has the
	// Sandbox's name.
	podAnnotation = "agents.x-k8s.io/pod-name"
	// callTime is the longest that a call takes, watches apart.
	callTime = 30 * time.Second
)

// knownVersions are those that this driver can speak, best first.
func knownVersions() []string { return []string{"v1beta1", "v1alpha1"} }

// api speaks to an API server.
type api struct {
	opts Options
	http *http.Client

	mu       sync.Mutex
	versions map[string]string // group → version that is spoken, once discovered
}

func newAPI(opts Options) (*api, error) {
	u, err := url.Parse(opts.Server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, stead.Invalid("kubernetes.server", "%.200q is no URL of an API server", opts.Server)
	}
	if u.Scheme == "http" && opts.Token != nil && u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost" {
		return nil, stead.Invalid("kubernetes.server", "a token is not sent to %s without TLS", u.Host)
	}
	opts.Server = strings.TrimRight(opts.Server, "/")
	a := &api{opts: opts, versions: map[string]string{}}
	t := opts.Transport
	if t == nil {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if len(opts.CA) > 0 {
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(opts.CA) {
				return nil, stead.Invalid("kubernetes.ca", "the cluster's authorities hold no certificate in PEM")
			}
		}
		// No HTTP/2: a WebSocket needs a connection of its own.
		t = &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, Proxy: http.ProxyFromEnvironment}
	}
	a.http = &http.Client{Transport: t}
	return a, nil
}

// authorize puts the token into a request's header.
func (a *api) authorize(h http.Header) error {
	if a.opts.Token == nil {
		return nil
	}
	token, err := a.opts.Token()
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "read the cluster's token")
	}
	h.Set("Authorization", "Bearer "+token)
	return nil
}

// send makes a request. in is JSON of a content type; the caller closes the answer's body.
func (a *api) send(ctx context.Context, method, path, contentType string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "encode a request to the cluster")
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.opts.Server+path, body)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "a request to the cluster has no valid path")
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if err := a.authorize(req.Header); err != nil {
		return nil, err
	}
	res, err := a.http.Do(req)
	if err != nil {
		e := stead.Wrap(stead.KindUnavailable, err, "the cluster's API server does not answer")
		e.Hint = "Check kubernetes.server, its authorities, and the way there."
		return nil, e
	}
	return res, nil
}

func (a *api) call(ctx context.Context, method, path, contentType string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	res, err := a.send(ctx, method, path, contentType, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxAnswerBytes+1))
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the API server's answer was cut off")
	}
	if len(body) > MaxAnswerBytes {
		return stead.Errorf(stead.KindUnavailable, "the API server's answer is larger than %d bytes", MaxAnswerBytes)
	}
	if res.StatusCode >= 400 {
		return statusError(res.StatusCode, body)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the API server's answer can't be read")
	}
	return nil
}

// status is the API's own error object.
type status struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Code    int    `json:"code"`
}

// statusError gives an answer its kind. The cluster's words are the cause, for logs.
func statusError(code int, body []byte) error {
	var s status
	if json.Unmarshal(body, &s) != nil || s.Message == "" {
		s.Message = string(body[:min(len(body), 500)])
	}
	cause := fmt.Errorf("%.1000s", s.Message)
	switch code {
	case http.StatusNotFound:
		return stead.Wrap(stead.KindNotFound, cause, "the cluster has no such object")
	case http.StatusUnauthorized, http.StatusForbidden:
		e := stead.Wrap(stead.KindForbidden, cause, "the cluster refuses the server's account")
		e.Hint = "Apply the Role and RoleBinding of docs/kubernetes.md."
		return e
	case http.StatusConflict:
		return stead.Wrap(stead.KindConflict, cause, "the cluster's object is in conflict")
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		return stead.Wrap(stead.KindInvalid, cause, "the cluster refuses the claim")
	}
	return stead.Wrap(stead.KindUnavailable, cause, "the API server answers %d", code)
}

// version finds which version of a group the cluster serves, of those that we speak.
func (a *api) version(ctx context.Context, group string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if v := a.versions[group]; v != "" {
		return v, nil
	}
	var found struct {
		Versions []struct {
			Version string `json:"version"`
		} `json:"versions"`
	}
	err := a.call(ctx, http.MethodGet, "/apis/"+group, "", nil, &found)
	if stead.KindOf(err) == stead.KindNotFound {
		e := stead.Wrap(stead.KindUnavailable, err, "the cluster has no agent-sandbox")
		e.Hint = "Install kubernetes-sigs/agent-sandbox with its extensions."
		return "", e
	}
	if err != nil {
		return "", err
	}
	var served []string
	for _, v := range found.Versions {
		served = append(served, v.Version)
	}
	for _, v := range knownVersions() {
		if slices.Contains(served, v) {
			a.versions[group] = v
			return v, nil
		}
	}
	return "", stead.Errorf(stead.KindUnavailable, "the cluster serves %s in the versions %.100q, and this driver speaks %q", group, served, knownVersions())
}

func (a *api) path(ctx context.Context, group, resource string) (string, error) {
	v, err := a.version(ctx, group)
	if err != nil {
		return "", err
	}
	return "/apis/" + group + "/" + v + "/namespaces/" + url.PathEscape(a.opts.Namespace) + "/" + resource, nil
}

// meta is the part of an object's metadata that matters.
type meta struct {
	Name            string            `json:"name,omitempty"`
	GenerateName    string            `json:"generateName,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
	Deleted         string            `json:"deletionTimestamp,omitempty"`
}

// claim is a SandboxClaim. In v1beta1 it names a warm pool, in v1alpha1 a template.
type claim struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Metadata   meta   `json:"metadata"`
	Spec       struct {
		Pool      *nameRef  `json:"warmPoolRef,omitempty"`
		Template  *nameRef  `json:"sandboxTemplateRef,omitempty"`
		Lifecycle lifecycle `json:"lifecycle"`
	} `json:"spec"`
	Status struct {
		Conditions []condition `json:"conditions"`
		Sandbox    struct {
			Name string `json:"name"`
		} `json:"sandbox"`
	} `json:"status,omitzero"`
}

type nameRef struct {
	Name string `json:"name"`
}

type lifecycle struct {
	ShutdownTime   string `json:"shutdownTime"` // RFC 3339
	ShutdownPolicy string `json:"shutdownPolicy"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"` // "True", "False", "Unknown"
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// has finds a condition.
func (c claim) has(kind string) (condition, bool) {
	for _, x := range c.Status.Conditions {
		if x.Type == kind {
			return x, true
		}
	}
	return condition{}, false
}

const jsonType = "application/json"

// createClaim makes a claim, whose name the cluster chooses.
func (a *api) createClaim(ctx context.Context, environmentID string, until time.Time) (claim, error) {
	path, err := a.path(ctx, claimGroup, "sandboxclaims")
	if err != nil {
		return claim{}, err
	}
	v, err := a.version(ctx, claimGroup)
	if err != nil {
		return claim{}, err
	}
	c := claim{APIVersion: claimGroup + "/" + v, Kind: "SandboxClaim"}
	c.Metadata = meta{GenerateName: "stead-", Labels: map[string]string{labelNode: a.opts.Node}}
	if isLabel(environmentID) {
		c.Metadata.Labels[labelEnvironment] = environmentID
	}
	if v == "v1alpha1" {
		c.Spec.Template = &nameRef{a.opts.Template}
	} else {
		c.Spec.Pool = &nameRef{a.opts.Pool}
	}
	c.Spec.Lifecycle = lifecycle{until.UTC().Format(time.RFC3339), "Delete"}
	var made claim
	if err := a.call(ctx, http.MethodPost, path, jsonType, c, &made); err != nil {
		return claim{}, err
	}
	if made.Metadata.Name == "" {
		return claim{}, stead.Errorf(stead.KindUnavailable, "the cluster made a claim without a name")
	}
	return made, nil
}

// renew moves a claim's end.
func (a *api) renew(ctx context.Context, name string, until time.Time) error {
	path, err := a.path(ctx, claimGroup, "sandboxclaims/"+url.PathEscape(name))
	if err != nil {
		return err
	}
	patch := map[string]any{"spec": map[string]any{"lifecycle": map[string]any{"shutdownTime": until.UTC().Format(time.RFC3339)}}}
	return a.call(ctx, http.MethodPatch, path, "application/merge-patch+json", patch, nil)
}

// claims lists those with a label.
func (a *api) claims(ctx context.Context, selector string) ([]claim, error) {
	path, err := a.path(ctx, claimGroup, "sandboxclaims")
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []claim `json:"items"`
	}
	err = a.call(ctx, http.MethodGet, path+"?labelSelector="+url.QueryEscape(selector), "", nil, &list)
	return list.Items, err
}

// deleteClaim deletes a claim with its pod, and returns once the cluster has none of its name. Deleted
// in the foreground, the name stays until the pod is gone.
func (a *api) deleteClaim(ctx context.Context, name string) error {
	path, err := a.path(ctx, claimGroup, "sandboxclaims/"+url.PathEscape(name))
	if err != nil {
		return err
	}
	options := map[string]any{"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
	for {
		err := a.call(ctx, http.MethodDelete, path, jsonType, options, nil)
		if stead.KindOf(err) == stead.KindNotFound {
			return nil
		}
		if err != nil && ctx.Err() != nil || stead.KindOf(err) == stead.KindForbidden {
			return err
		}
		select {
		case <-ctx.Done():
			return stead.Wrap(stead.KindUnavailable, errors.Join(ctx.Err(), err), "the claim is still being deleted")
		case <-time.After(deletePause):
		}
	}
}

// deletePause is how long a deletion is given between two looks.
const deletePause = 100 * time.Millisecond
