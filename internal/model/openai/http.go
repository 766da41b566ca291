package openai

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/stead-dev/stead/internal/model"
)

// post sends a request and returns its successful response.
func (p *Provider) post(ctx context.Context, body any) (*http.Response, *model.Error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, &model.Error{Code: model.CodeInvalid, Message: "the request for the model cannot be encoded", Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(data))
	if err != nil {
		return nil, &model.Error{Code: model.CodeInvalid, Message: "the model provider's URL is wrong", Err: p.scrub(err)}
	}
	h := req.Header
	h.Set("Content-Type", contentTypeJSON)
	h.Set("Accept", "text/event-stream, "+contentTypeJSON)
	h.Set("Accept-Encoding", "identity") // a compressing proxy would hold events back
	h.Set("User-Agent", userAgent)
	if p.cfg.APIKey != "" {
		h.Set("Authorization", "Bearer "+p.cfg.APIKey)
	}
	if p.cfg.Organization != "" {
		h.Set("OpenAI-Organization", p.cfg.Organization)
	}
	if p.cfg.Project != "" {
		h.Set("OpenAI-Project", p.cfg.Project)
	}
	for k, v := range p.cfg.Headers {
		h.Set(k, v)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, p.clean(sendFailure(ctx, err))
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	// What cannot be read of an error is left out: the status says the most.
	text, _ := io.ReadAll(io.LimitReader(resp.Body, MaxErrorBytes))
	if ctx.Err() != nil {
		return nil, cancelled(ctx.Err())
	}
	return nil, p.clean(statusError(resp.StatusCode, resp.Header, text, p.cfg.Now()))
}

// sendFailure is a request that got no response.
func sendFailure(ctx context.Context, err error) *model.Error {
	if ctx.Err() != nil {
		return cancelled(ctx.Err())
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the URL may hold a key in its query
	}
	e := &model.Error{Code: model.CodeConnection, Message: "the model provider cannot be reached", Retry: true, Err: err}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		e.Message, e.Retry = "the model provider's certificate is not trusted", false
	} else if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		e.Code, e.Message = model.CodeTimeout, "the model provider did not answer in time"
	}
	return e
}

// cancelled is a call whose context ended; errors.Is finds the context's error in it.
func cancelled(err error) *model.Error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &model.Error{Code: model.CodeTimeout, Message: "the model call ran out of time", Retry: true, Err: err}
	}
	return &model.Error{Code: model.CodeConnection, Message: "the model call was cancelled", Err: err}
}
