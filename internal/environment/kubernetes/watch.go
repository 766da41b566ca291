package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/stead-dev/stead"
)

// watchSeconds is how long the API server is asked to keep one watch open.
const watchSeconds = "240"

// event is one line of a watch.
type event struct {
	Type   string          `json:"type"` // ADDED, MODIFIED, DELETED, BOOKMARK, ERROR
	Object json.RawMessage `json:"object"`
}

var errExpired = errors.New("the watch's version is too old")

// ready waits until a claim has a pod, and returns the pod's name.
func (a *api) ready(ctx context.Context, c claim) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, ReadyTime)
	defer cancel()
	last := "it has said nothing yet"
	for {
		done, err := judge(c, &last)
		if err != nil {
			return "", err
		}
		if done {
			return a.podOf(ctx, c)
		}
		if c, err = a.next(ctx, c); err != nil {
			if ctx.Err() != nil {
				e := stead.Wrap(stead.KindUnavailable, errors.Join(err, errors.New(last)), "the cluster has no pod for the environment in time")
				e.Hint = "Look at the SandboxClaim's conditions: kubectl describe sandboxclaims."
				return "", e
			}
			return "", err
		}
	}
}

// judge looks at a claim's conditions.
func judge(c claim, last *string) (done bool, err error) {
	if c.Metadata.Deleted != "" {
		return false, stead.Errorf(stead.KindUnavailable, "the environment's claim was deleted")
	}
	if f, ok := c.has("Finished"); ok && f.Status == "True" {
		return false, stead.Wrap(stead.KindUnavailable, errors.New(f.Message), "the environment's pod has ended (%.80s)", f.Reason)
	}
	r, ok := c.has("Ready")
	if ok {
		*last = r.Reason + ": " + r.Message
	}
	if ok && r.Status != "True" && (r.Reason == "ClaimExpired" || r.Reason == "SandboxExpired") {
		return false, stead.Errorf(stead.KindUnavailable, "the environment's claim has expired")
	}
	return ok && r.Status == "True" && c.Status.Sandbox.Name != "", nil
}

// next returns the claim as it is after its next change.
func (a *api) next(ctx context.Context, c claim) (claim, error) {
	for {
		changed, err := a.watch(ctx, c)
		if err == nil {
			return changed, nil
		}
		if ctx.Err() != nil {
			return c, err
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, errExpired) && stead.KindOf(err) != stead.KindUnavailable {
			return c, err
		}
		// A watch ends now and then: what it may have missed is read, and it goes on from there.
		select {
		case <-ctx.Done():
			return c, err
		case <-time.After(watchPause):
		}
		path, err := a.path(ctx, claimGroup, "sandboxclaims/"+url.PathEscape(c.Metadata.Name))
		if err != nil {
			return c, err
		}
		var now claim
		err = a.call(ctx, http.MethodGet, path, "", nil, &now)
		if stead.KindOf(err) == stead.KindNotFound {
			return c, stead.Wrap(stead.KindUnavailable, err, "the environment's claim was deleted")
		}
		if err == nil && now.Metadata.ResourceVersion != c.Metadata.ResourceVersion {
			return now, nil
		}
	}
}

// watchPause is between two watches, so that a server that ends them at once is not flooded.
const watchPause = 200 * time.Millisecond

// watch returns the first change of a claim after the version that c has.
func (a *api) watch(ctx context.Context, c claim) (claim, error) {
	path, err := a.path(ctx, claimGroup, "sandboxclaims")
	if err != nil {
		return claim{}, err
	}
	q := url.Values{"watch": {"true"}, "fieldSelector": {"metadata.name=" + c.Metadata.Name}, "resourceVersion": {c.Metadata.ResourceVersion},
		"timeoutSeconds": {watchSeconds}, "allowWatchBookmarks": {"true"}}
	res, err := a.send(ctx, http.MethodGet, path+"?"+q.Encode(), "", nil)
	if err != nil {
		return claim{}, err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		body, _ := io.ReadAll(io.LimitReader(res.Body, MaxAnswerBytes)) // what there is of it
		if res.StatusCode == http.StatusGone {
			return claim{}, errExpired
		}
		return claim{}, statusError(res.StatusCode, body)
	}
	for d := json.NewDecoder(&limited{res.Body, MaxAnswerBytes}); ; {
		var e event
		if err := d.Decode(&e); err != nil {
			return claim{}, stead.Wrap(stead.KindUnavailable, err, "the watch of the claim ended")
		}
		switch e.Type {
		case "DELETED":
			return claim{}, stead.Errorf(stead.KindForbidden, "the environment's claim was deleted")
		case "ERROR":
			var s status
			if json.Unmarshal(e.Object, &s) == nil && s.Code == http.StatusGone {
				return claim{}, errExpired
			}
			return claim{}, stead.Wrap(stead.KindUnavailable, errors.New(s.Message), "the watch of the claim failed")
		case "ADDED", "MODIFIED":
			var now claim
			if err := json.Unmarshal(e.Object, &now); err != nil {
				return claim{}, stead.Wrap(stead.KindUnavailable, err, "an event of the claim can't be read")
			}
			if now.Metadata.Name == c.Metadata.Name {
				return now, nil
			}
		}
	}
}

// limited ends a stream that is longer than anything that it should hold.
type limited struct {
	r    io.Reader
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, stead.Errorf(stead.KindUnavailable, "the watch is longer than %d bytes", MaxAnswerBytes)
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// podOf returns the name of a ready claim's pod.
func (a *api) podOf(ctx context.Context, c claim) (string, error) {
	path, err := a.path(ctx, sandboxGroup, "sandboxes/"+url.PathEscape(c.Status.Sandbox.Name))
	if err != nil {
		return "", err
	}
	var sandbox struct {
		Metadata meta `json:"metadata"`
	}
	if err := a.call(ctx, http.MethodGet, path, "", nil, &sandbox); err != nil {
		return "", err
	}
	if name := sandbox.Metadata.Annotations[podAnnotation]; name != "" {
		return name, nil
	}
	return c.Status.Sandbox.Name, nil
}
