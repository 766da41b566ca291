package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// requestTimeout bounds one request; the server's answer to each of them is quick or an error.
const requestTimeout = 20 * time.Second

// maxAnswerBytes is the most of an answer that is read.
const maxAnswerBytes = 64 << 20

// Client speaks the Agents API in plain HTTP, as an application without an SDK would. With several
// addresses it goes on to the next when one does not answer.
type Client struct {
	bases []string
	turn  atomic.Int64 // which base is asked first
	http  *http.Client
}

// NewClient makes a client of one or more nodes.
func NewClient(bases ...string) *Client {
	return &Client{bases: bases, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
}

// APIError is an answer that is none of the 2xx.
type APIError struct {
	Status  int
	Message string `json:"message"`
	Type    string `json:"type"`
	Code    string `json:"code"`
	Param   string `json:"param"`
	Body    string `json:"-"` // as it came
}

func (e *APIError) Error() string {
	return fmt.Sprintf("the server answered %d: %s", e.Status, e.Body)
}

// Again reports whether an error says nothing about the request itself: nobody answered, or the
// server could not at that moment.
func Again(err error) bool {
	var api *APIError
	if errors.As(err, &api) {
		return api.Status == http.StatusTooManyRequests || api.Status >= 500
	}
	return err != nil
}

// Do makes one request, once. A key goes along as its Idempotency-Key; out may be nil.
func (c *Client) Do(ctx context.Context, method, path, key string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.open(ctx, method, path, key, in)
	return decoded(resp, err, method, path, out)
}

// Post sends a body as it is, once.
func (c *Client) Post(ctx context.Context, path, media string, body io.Reader, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.openAs(ctx, http.MethodPost, path, "", media, body)
	return decoded(resp, err, http.MethodPost, path, out)
}

func decoded(resp *http.Response, err error, method, path string, out any) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return apiError(resp.StatusCode, body)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: %w in %.200s", method, path, err, body)
	}
	return nil
}

// Bytes reads what a path answers, as it is.
func (c *Client) Bytes(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.open(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err == nil && resp.StatusCode/100 != 2 {
		err = apiError(resp.StatusCode, body)
	}
	return body, err
}

func (c *Client) open(ctx context.Context, method, path, key string, in any) (*http.Response, error) {
	if in == nil {
		return c.openAs(ctx, method, path, key, "", nil)
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return c.openAs(ctx, method, path, key, "application/json", bytes.NewReader(raw))
}

func (c *Client) openAs(ctx context.Context, method, path, key, media string, body io.Reader) (*http.Response, error) {
	at := c.turn.Load()
	req, err := http.NewRequestWithContext(ctx, method, c.bases[int(at)%len(c.bases)]+path, body)
	if err != nil {
		return nil, err
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.turn.CompareAndSwap(at, at+1)
	}
	return resp, err
}

func apiError(status int, body []byte) error {
	e := &APIError{Status: status, Body: string(bytes.TrimSpace(body))}
	_ = json.Unmarshal(body, &struct {
		Error *APIError `json:"error"`
	}{e})
	e.Status = status
	return e
}

// Insist repeats a request until it is answered for good. With a key, repeating is safe even when
// an earlier try was carried out and only its answer was lost.
func (c *Client) Insist(ctx context.Context, method, path, key string, in, out any) error {
	for {
		err := c.Do(ctx, method, path, key, in, out)
		if err == nil || !Again(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s %s: %w, and before that: %w", method, path, ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

// Session is what the proofs read of a session.
type Session struct {
	ID       string   `json:"id"`
	Status   string   `json:"status"`
	Error    *string  `json:"error"`
	Required []Action `json:"required_actions"`
}

// Action is a required action.
type Action struct {
	Type      string `json:"type"`
	RequestID string `json:"request_id"`
	CallID    string `json:"call_id"`
	Request   struct {
		Name string `json:"name"`
		Key  string `json:"idempotency_key"`
	} `json:"request"`
}

// Item is what the proofs read of an item.
type Item struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Role      string          `json:"role"`
	Status    string          `json:"status"`
	TurnID    string          `json:"turn_id"`
	Name      string          `json:"name"`
	CallID    string          `json:"call_id"`
	Content   []Part          `json:"content"`
	Arguments json.RawMessage `json:"arguments"`
	Output    json.RawMessage `json:"output"`
	Error     json.RawMessage `json:"error"`
}

// Part is a part of a message's content.
type Part struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// Text is all text of a message.
func (i Item) Text() string {
	var s string
	for _, p := range i.Content {
		s += p.Text
	}
	return s
}

// OutputText is all text of a call's output, in any of the shapes that it has on the wire.
func (i Item) OutputText() string {
	var wrapped struct {
		Content []Part `json:"content"`
	}
	if json.Unmarshal(i.Output, &wrapped) == nil {
		return Item{Content: wrapped.Content}.Text()
	}
	var s string
	_ = json.Unmarshal(i.Output, &s)
	return s
}

// Turn is what the proofs read of a turn.
type Turn struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Error  *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// SessionPath is the path of a session and what is under it.
func SessionPath(id, rest string) string {
	return "/v1/agents/sessions/" + url.PathEscape(id) + rest
}

// Session reads one.
func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	var s Session
	return s, c.Insist(ctx, http.MethodGet, SessionPath(id, ""), "", nil, &s)
}

// Items reads all items of a session, oldest first, with as many requests as it takes.
func (c *Client) Items(ctx context.Context, id string) ([]Item, error) {
	return list[Item](ctx, c, SessionPath(id, "/items"), func(i Item) string { return i.ID })
}

// Turns reads all turns of a session, oldest first.
func (c *Client) Turns(ctx context.Context, id string) ([]Turn, error) {
	return list[Turn](ctx, c, SessionPath(id, "/turns"), func(t Turn) string { return t.ID })
}

// Subagents are the ids of a session's subagents, in the order in which they were made.
func (c *Client) Subagents(ctx context.Context, id string) (ids []string, err error) {
	type named struct {
		ID string `json:"id"`
	}
	all, err := list[named](ctx, c, SessionPath(id, "/subagents"), func(s named) string { return s.ID })
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	return ids, err
}

// SubagentItems reads all items of a subagent, oldest first.
func (c *Client) SubagentItems(ctx context.Context, id, subagent string) ([]Item, error) {
	return list[Item](ctx, c, SessionPath(id, "/subagents/"+url.PathEscape(subagent)+"/items"), func(i Item) string { return i.ID })
}

// SubagentTurns reads all turns of a subagent, oldest first.
func (c *Client) SubagentTurns(ctx context.Context, id, subagent string) ([]Turn, error) {
	return list[Turn](ctx, c, SessionPath(id, "/subagents/"+url.PathEscape(subagent)+"/turns"), func(t Turn) string { return t.ID })
}

func list[T any](ctx context.Context, c *Client, path string, id func(T) string) ([]T, error) {
	var all []T
	query := "?order=asc&limit=100"
	for {
		var page struct {
			Data    []T  `json:"data"`
			HasMore bool `json:"has_more"`
		}
		if err := c.Insist(ctx, http.MethodGet, path+query, "", nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if !page.HasMore {
			return all, nil
		}
		if len(page.Data) == 0 {
			return nil, fmt.Errorf("%s: an empty page says that there are more", path)
		}
		query = "?order=asc&limit=100&after=" + url.QueryEscape(id(page.Data[len(page.Data)-1]))
	}
}

// Message is the input event of one user message.
func Message(text string) any {
	return map[string]any{"type": "agent.session.input.message", "input": []any{
		map[string]any{"role": "user", "content": []any{map[string]string{"type": "input_text", "text": text}}},
	}}
}

// Send submits input events until the server has accepted them, under one idempotency key.
func (c *Client) Send(ctx context.Context, id, key string, events ...any) error {
	return c.Insist(ctx, http.MethodPost, SessionPath(id, "/events"), key, map[string]any{"events": events}, nil)
}

// Export is the session's journal as a file, for reports of what went wrong.
func (c *Client) Export(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.open(ctx, http.MethodGet, SessionPath(id, "/export"), "", nil)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// Happened answers an unknown outcome: the call took place and returned output.
func Happened(request, output string) any {
	return outcome(request, map[string]string{"decision": "happened", "output": output})
}

// NotHappened answers an unknown outcome: the call did not take place, and may be made.
func NotHappened(request string) any {
	return outcome(request, map[string]string{"decision": "not_happened"})
}

// GiveUp answers an unknown outcome: nobody can find out.
func GiveUp(request string) any {
	return outcome(request, map[string]string{"decision": "give_up"})
}

func outcome(request string, response map[string]string) any {
	return map[string]any{"type": "agent.session.input.outcome_unknown_result", "request_id": request, "response": response}
}
