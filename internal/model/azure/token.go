package azure

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead/internal/model"
)

const (
	// refreshBefore is how long before its end a token is renewed: clocks differ, and calls take time.
	refreshBefore = 2 * time.Minute
	// tokenTimeout bounds one request for a token.
	tokenTimeout = 30 * time.Second
	// maxTokenBytes is how much of the answer is read.
	maxTokenBytes = 64 << 10
	// maxTokenAge is how long a token is kept, whatever the answer says.
	maxTokenAge = 24 * time.Hour

	bearer = "Bearer "
)

// tokens implements upstream.Signer with tokens of Entra.
type tokens struct {
	url    string
	form   url.Values
	secret string // the client's
	client *http.Client
	now    func() time.Time
	turn   chan struct{} // held by the one call that gets a token

	mu      sync.Mutex
	token   string
	before  string // the token before: a call under way may still carry it
	expires time.Time
}

// Sign implements upstream.Signer.
func (t *tokens) Sign(req *http.Request, _ []byte) *model.Error {
	token, err := t.current(req.Context())
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", bearer+token)
	return nil
}

// Refused implements upstream.Signer: the token is dropped, unless another call has renewed it already.
func (t *tokens) Refused(req *http.Request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if req.Header.Get("Authorization") == bearer+t.token {
		t.before, t.token = t.token, ""
	}
	return true
}

// Secrets implements upstream.Signer.
func (t *tokens) Secrets() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return []string{t.token, t.before, t.secret}
}

// valid is the token, "" where it must be renewed.
func (t *tokens) valid() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.now().Before(t.expires.Add(-refreshBefore)) {
		return ""
	}
	return t.token
}

// current is a token that is valid for a while. Of the calls that find none, one gets it.
func (t *tokens) current(ctx context.Context) (string, *model.Error) {
	if token := t.valid(); token != "" {
		return token, nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", ended(ctx)
	}
	if token := t.valid(); token != "" { // the call before has it
		return token, nil
	}
	token, lasts, err := t.fetch(ctx)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != "" {
		t.before = t.token
	}
	// One that lasts less than the time to renew it in is used all the same, for half of its life.
	t.token, t.expires = token, t.now().Add(max(lasts, min(lasts/2+refreshBefore, 2*refreshBefore)))
	return token, nil
}

func ended(ctx context.Context) *model.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &model.Error{Code: model.CodeTimeout, Message: "the model call ran out of time", Retry: true, Err: ctx.Err()}
	}
	return &model.Error{Code: model.CodeConnection, Message: "the model call was cancelled", Err: ctx.Err()}
}

// fetch gets a token, and how long it lasts.
func (t *tokens) fetch(ctx context.Context) (string, time.Duration, *model.Error) {
	asking, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(asking, http.MethodPost, t.url, strings.NewReader(t.form.Encode()))
	if err != nil {
		return "", 0, &model.Error{Code: model.CodeInvalid, Message: "the address of Entra is wrong"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := t.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return "", 0, ended(ctx)
		}
		return "", 0, &model.Error{Code: model.CodeConnection, Message: "Entra, which gives tokens for the model provider, cannot be reached", Retry: true}
	}
	defer resp.Body.Close()
	var answer struct {
		Token   string  `json:"access_token"`
		Expires float64 `json:"expires_in"` // seconds
		Code    string  `json:"error"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxTokenBytes)).Decode(&answer)
	if ctx.Err() != nil {
		return "", 0, ended(ctx)
	}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return "", 0, &model.Error{Code: model.CodeOverloaded, Status: resp.StatusCode, Message: "Entra gives no token for the model provider now", Retry: true}
	case resp.StatusCode/100 != 2:
		// Its description quotes the application's id and more: the code says enough.
		return "", 0, &model.Error{Code: model.CodeAuthentication, Status: resp.StatusCode, Upstream: answer.Code, Message: "Entra refused the application's credentials"}
	case err != nil || answer.Token == "" || strings.ContainsAny(answer.Token, "\r\n"):
		return "", 0, &model.Error{Code: model.CodeAuthentication, Status: resp.StatusCode, Message: "Entra's answer holds no token"}
	}
	seconds := min(max(answer.Expires, 0), maxTokenAge.Seconds())
	return answer.Token, time.Duration(seconds * float64(time.Second)), nil
}
