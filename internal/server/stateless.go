package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/responses"
	"github.com/stead-dev/stead/internal/session"
)

// kept reports whether a response is to be kept, which is the API's default.
func kept(o param.Object) (bool, error) {
	store, has, err := o.Bool("store")
	return store || !has, err
}

// statelessResponse answers POST /v1/responses with store: false.
func (s *server) statelessResponse(w http.ResponseWriter, r *http.Request, p stead.Principal, req request) error {
	if err := refuseKept(req.Object); err != nil {
		return err
	}
	if err := s.handedOn(r.Context(), p, req); err != nil {
		return err
	}
	req, err := s.settled(r.Context(), p, req)
	if err != nil {
		return err
	}
	if namesItem(req.raw) {
		if req, err = s.referenced(r.Context(), p, req, "input", true); err != nil {
			return err
		}
	}
	c, err := s.newCall(w, r, p, model.DialectResponses, req)
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
	}
	if done, err := c.forward(w, r); done {
		return gatewayError(err)
	}
	if req, err = req.whole(r); err != nil {
		return err
	}
	asked, err := responses.Parse(req.Object, s.rulesFor(r.Context(), p))
	if err != nil {
		return c.instead(w, r, err)
	}
	if err = c.screenResponse(r.Context(), asked); err != nil {
		return err
	}
	ask, err := modelRequest(asked)
	if err != nil {
		return c.instead(w, r, err)
	}
	o := &responses.Object{Echo: asked.Echo, ID: newID("resp_"), CreatedAt: time.Now().Unix(), Model: c.name, Status: responses.StatusInProgress}
	if asked.Stream {
		return c.streamResponse(w, r, asked, ask, o)
	}
	items, done, err := c.collect(r.Context(), ask)
	c.end(err)
	if err != nil {
		return gatewayError(err)
	}
	o.Finish(done, time.Now().Unix())
	for i, it := range items {
		o.Output = append(o.Output, responses.Encode(newID(responses.IDPrefix(it)), it, o.ItemStatus(it, i == len(items)-1), asked.Encrypted))
	}
	return s.write(w, o)
}

// streamResponse answers with a response's events.
func (c *call) streamResponse(w http.ResponseWriter, r *http.Request, asked *responses.Request, ask model.Request, o *responses.Object) error {
	t := c.s.newTeller(r.Context(), w)
	defer t.stop()
	c.head = t.out.head
	tell := &responses.Writer{Object: o, Encrypted: asked.Encrypted, NewID: newID}
	tell.Out = responses.NewStream(-1, func(kind string, event any) error {
		c.s.metrics.events.Add(1)
		return t.out.named(kind, event)
	})
	done, err := c.generate(r.Context(), ask, tell.Delta)
	if err == nil {
		err = tell.Done(done, time.Now().Unix())
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
	_ = tell.Fail(*body.Code, body.Message, time.Now().Unix()) // the stream ends either way
	return nil
}

// refuseKept refuses what only a kept response has.
func refuseKept(o param.Object) error {
	background, _, err := o.Bool("background")
	if err != nil {
		return err
	}
	field := ""
	if background {
		field = "background"
	}
	for _, name := range []string{"previous_response_id", "conversation"} {
		if _, has := o.Raw(name); has {
			field = name
		}
	}
	if field != "" {
		return stead.Invalid(field, "%s needs a response that is kept: leave out store: false", field)
	}
	return nil
}

// modelRequest is the response as a model takes it.
func modelRequest(asked *responses.Request) (model.Request, error) {
	req := model.Request{
		Items: asked.Items, ServiceTier: asked.ServiceTier, MaxOutputTokens: asked.MaxOutput, CacheKey: asked.CacheKey, User: asked.User,
		ToolChoice: asked.ToolChoice, SerialTools: asked.SerialTools, Temperature: asked.Temperature, TopP: asked.TopP,
	}
	for from, to := range map[**string]*string{
		&asked.Instructions: &req.Instructions, &asked.Effort: &req.Effort, &asked.Summary: &req.ReasonSummary, &asked.Verbosity: &req.Verbosity,
	} {
		if *from != nil {
			*to = **from
		}
	}
	if f := asked.Format; f != nil {
		req.Format = &model.Format{Name: f.Name, Schema: f.Schema, Strict: f.Strict}
	}
	for i, it := range asked.Items {
		if it.Type == stead.ItemApprovalResponse {
			path := param.Index("input", i)
			return req, stead.Invalid(path, "%s: calls are approved, and made, only for responses that are kept: leave out store: false", path)
		}
	}
	for i, t := range asked.Tools {
		if t.Type != agent.ToolFunction {
			path := param.Index("tools", i) + ".type"
			return req, stead.Invalid(path, "%s: a tool of type %s is run only for responses that are kept: leave out store: false", path, t.Type)
		}
		req.Tools = append(req.Tools, model.ToolSpec{Name: t.Name, Description: t.Description, Parameters: t.Parameters})
	}
	return req, nil
}

func newID(prefix string) string { return prefix + strings.TrimPrefix(newRequestID(), "req_") }

// wholeInput are the items that a request is about, with those that it only names, and with what it follows.
func (s *server) wholeInput(ctx context.Context, p stead.Principal, req request) ([]stead.Item, request, error) {
	req, err := s.settled(ctx, p, req)
	if err == nil {
		req, err = s.referenced(ctx, p, req, "input", false)
	}
	if err == nil {
		req, err = s.following(ctx, p, req)
	}
	if err != nil {
		return nil, req, err
	}
	items, err := responses.Input(req.Object, "input")
	return items, req, err
}

// compactResponse answers POST /v1/responses/compact: the model sums the conversation up, and the
// client sends the summary instead of it from then on. Nothing is kept here.
func (s *server) compactResponse(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if s.Seals == nil {
		return stead.Errorf(stead.KindNotImplemented, "this server has no key to seal a compaction with")
	}
	items, req, err := s.wholeInput(r.Context(), p, req)
	if err != nil {
		return err
	}
	c, err := s.newCall(w, r, p, model.DialectResponses, req)
	if err != nil {
		return err
	}
	defer c.close()
	items = slices.DeleteFunc(items, func(it stead.Item) bool { return it.Question != nil || it.Answer != nil }) // no model gets them
	if len(items) == 0 {
		return stead.Invalid("input", "input must hold at least one item")
	}
	if items, err = c.screen(r.Context(), "input", items); err != nil {
		return err
	}
	ask := model.Request{Items: append(items, stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser,
		Content: stead.TextContent(stead.ContentInputText, session.CompactPrompt)})}
	for name, to := range map[string]*string{"instructions": &ask.Instructions, "prompt_cache_key": &ask.CacheKey} {
		if *to, _, err = req.String(name); err != nil {
			return err
		}
	}
	if err = c.instruct(r.Context(), &ask.Instructions); err != nil {
		return err
	}
	said, done, err := c.collect(r.Context(), ask)
	c.end(err)
	if err != nil {
		return gatewayError(err)
	}
	var text strings.Builder
	for _, it := range said {
		for _, part := range it.Content {
			text.WriteString(part.Text.Inline)
		}
	}
	if strings.TrimSpace(text.String()) == "" {
		return stead.Errorf(stead.KindUpstream, "the model's summary was empty")
	}
	usage := done.Usage
	if usage == nil {
		usage = &stead.Usage{}
	}
	return s.write(w, compaction{newID("resp_"), "response.compaction", time.Now().Unix(),
		[]any{responses.Compaction{ID: newID("cmp_"), Type: "compaction", Content: s.sealedSummary(p, text.String(), c.meter.Caller.Labels)}}, responses.NewUsage(usage)})
}

// compaction is the answer of compactResponse.
type compaction struct {
	ID        string           `json:"id"`
	Object    string           `json:"object"` // "response.compaction"
	CreatedAt int64            `json:"created_at"`
	Output    []any            `json:"output"`
	Usage     *responses.Usage `json:"usage"`
}
