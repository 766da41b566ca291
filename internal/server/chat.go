package server

import (
	"net/http"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/chat"
	"github.com/stead-dev/stead/internal/model"
)

// createChatCompletion answers POST /v1/chat/completions.
func (s *server) createChatCompletion(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := s.skim(w, r)
	if err != nil {
		return err
	}
	if req, err = s.inlined(r.Context(), p, req); err != nil {
		return err
	}
	c, err := s.newCall(w, r, p, model.DialectChat, req)
	if err != nil {
		return err
	}
	defer c.close()
	if req, err = c.masked(r.Context(), req); err != nil {
		return err
	}
	if streamed, _, err := req.Bool("stream"); err == nil && streamed {
		done, err := s.countStream(c.by)
		if err != nil {
			return err
		}
		defer done()
		asks, err := asksForUsage(req)
		if err != nil {
			return err
		}
		c.tells = s.Meter != nil && !asks
	}
	if done, err := c.forward(w, r); done {
		return gatewayError(err)
	}
	if req, err = req.whole(r); err != nil {
		return err
	}
	asked, err := chat.Parse(req.Object)
	if err != nil {
		return c.instead(w, r, err)
	}
	if asked.Items, err = c.screen(r.Context(), "messages", asked.Items); err != nil {
		return err
	}
	for i := range asked.Tools {
		if err = c.describe(r.Context(), i, &asked.Tools[i].Description, &asked.Tools[i].Parameters); err != nil {
			return err
		}
	}
	head := chat.Head{ID: "chatcmpl-" + newRequestID()[len("req_"):], Created: time.Now().Unix(), Model: c.name}
	if asked.Stream {
		return c.streamChat(w, r, asked, head)
	}
	items, done, err := c.collect(r.Context(), asked.Request)
	c.end(err)
	if err != nil {
		return gatewayError(err)
	}
	return s.write(w, head.Whole(items, done))
}

// asksForUsage reports whether the client of a streamed chat wants to be told what it used.
func asksForUsage(req request) (bool, error) {
	if !req.Has("stream_options") || req.Null("stream_options") {
		return false, nil
	}
	o, _, err := req.Object.Object("stream_options")
	if err != nil {
		return false, err
	}
	asks, _, err := o.Bool("include_usage")
	return asks, err
}

// streamChat answers with chunks, and the dialect's own end.
func (c *call) streamChat(w http.ResponseWriter, r *http.Request, asked *chat.Request, head chat.Head) error {
	t := c.s.newTeller(r.Context(), w)
	defer t.stop()
	c.head = t.out.head
	out := chat.Stream{Head: head, IncludeUsage: asked.IncludeUsage, Send: func(chunk *chat.Chunk) error {
		c.s.metrics.events.Add(1)
		return t.out.data(chunk)
	}}
	done, err := c.generate(r.Context(), asked.Request, out.Delta)
	if err == nil {
		if err = out.Delta(done); err == nil {
			err = t.out.text("[DONE]")
		}
	}
	c.end(err)
	switch {
	case err == nil:
		return nil
	case gone(r.Context(), err):
		c.s.metrics.dropped.Add(1)
		return nil
	case !t.out.opened():
		return gatewayError(err)
	}
	body, _, _ := wireErrorOf(gatewayError(err))
	_ = t.out.data(envelope{body}) // the stream ends either way, and without [DONE]
	return nil
}
