package vault

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// maxGrantBytes is how much is read of a token endpoint's answer.
const maxGrantBytes = 64 << 10

// grant is what a token endpoint gave.
type grant struct {
	token, refresh string // refresh "": the old one stays
	expires, renew int64  // Unix milliseconds; 0: not said
	refused        string // why a person must authorize anew; "": that is not known
	code           string // of RFC 6749, with refused; "": none that we know
}

// exchange asks a token endpoint for a new token (RFC 6749, sections 2.3.1, 5 and 6; RFC 8707 for resource). Its error is
// of KindUnavailable, and grant.refused says whether asking again is of any use.
func (s *Service) exchange(ctx context.Context, r Refresh, secret Secret) (grant, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {secret.RefreshToken}}
	if r.Scope != "" {
		form.Set("scope", r.Scope)
	}
	return s.post(ctx, r, secret, form)
}

// post sends a form to a token endpoint, with the proof of which client asks.
func (s *Service) post(ctx context.Context, r Refresh, secret Secret, form url.Values) (grant, error) {
	ctx, cancel := context.WithTimeout(ctx, RenewTimeout)
	defer cancel()
	if r.Resource != "" {
		form.Set("resource", r.Resource)
	}
	if r.ClientAuth != ClientBasic {
		form.Set("client_id", r.ClientID)
	}
	if r.ClientAuth == ClientPost {
		form.Set("client_secret", secret.ClientSecret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return grant{}, stead.Errorf(stead.KindUnavailable, "the token endpoint can't be called")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if r.ClientAuth == ClientBasic {
		req.SetBasicAuth(url.QueryEscape(r.ClientID), url.QueryEscape(secret.ClientSecret))
	}
	res, err := s.cfg.HTTP.Do(req)
	if err != nil {
		return grant{}, stead.Wrap(stead.KindUnavailable, withoutURL(err), "the token endpoint %s can't be reached", stead.HostPort(r.Endpoint))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxGrantBytes))
	if err != nil {
		return grant{}, stead.Wrap(stead.KindUnavailable, err, "the token endpoint %s broke off", stead.HostPort(r.Endpoint))
	}
	return s.read(res.StatusCode, body, stead.HostPort(r.Endpoint))
}

// withoutURL takes the URL, whose query may be a secret, out of an error of net/http.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// read reads a token endpoint's answer. Nothing of it but a code of RFC 6749 goes into an error: it may quote anything.
func (s *Service) read(status int, body []byte, from string) (grant, error) {
	var answer struct {
		Token   string      `json:"access_token"`
		Type    string      `json:"token_type"`
		Expires json.Number `json:"expires_in"`
		Refresh string      `json:"refresh_token"`
		Error   string      `json:"error"`
	}
	readable := json.Unmarshal(body, &answer) == nil
	switch {
	case status == http.StatusOK && readable && answer.Token != "":
	case status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden:
		code, known := "it refused", ""
		switch answer.Error {
		case "invalid_grant", "invalid_client", "unauthorized_client", "invalid_request", "invalid_scope", "unsupported_grant_type", "invalid_target":
			code, known = answer.Error, answer.Error
		}
		g := grant{refused: "the token endpoint " + from + " answered " + code, code: known}
		return g, stead.Errorf(stead.KindUnavailable, "%s", g.refused)
	default:
		return grant{}, stead.Errorf(stead.KindUnavailable, "the token endpoint %s answered %d, and no token", from, status)
	}
	if answer.Type != "" && !strings.EqualFold(answer.Type, "bearer") || checkSecret("access_token", answer.Token) != nil || answer.Refresh != "" && checkSecret("refresh_token", answer.Refresh) != nil {
		return grant{}, stead.Errorf(stead.KindUnavailable, "the token endpoint %s gave a token that is no bearer token of %d to %d bytes", from, MinSecretBytes, MaxSecretBytes)
	}
	g := grant{token: answer.Token, refresh: answer.Refresh}
	if seconds, err := answer.Expires.Int64(); err == nil && seconds > 0 {
		life := time.Duration(min(seconds, maxLifetimeSeconds)) * time.Second
		// One that lasts no longer than the time to renew it in is used for most of its life all the same.
		g.expires, g.renew = s.cfg.Now().Add(life).UnixMilli(), s.cfg.Now().Add(max(life-RenewBefore, life*3/4)).UnixMilli()
	}
	return g, nil
}

// maxLifetimeSeconds is the longest life of a token that is believed.
const maxLifetimeSeconds = 10 * 365 * 24 * 3600
