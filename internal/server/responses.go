package server

import (
	"errors"
	"net/http"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/responses"
	"github.com/stead-dev/stead/internal/session"
)

// createResponse answers POST /v1/responses. A response that is kept is a turn of a session.
func (s *server) createResponse(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := s.skim(w, r)
	if err != nil {
		return err
	}
	if keep, err := kept(req.Object); err != nil {
		return err
	} else if !keep {
		s.unkeyed(w)
		return s.statelessResponse(w, r, p, req)
	}
	if req, err = req.whole(r); err != nil {
		return err
	}
	if req, err = s.settled(r.Context(), p, req); err != nil {
		return err
	}
	if req, err = s.referenced(r.Context(), p, req, "input", false); err != nil {
		return err
	}
	asked, err := responses.Parse(req.Object, s.rulesFor(r.Context(), p))
	if err != nil {
		return err
	}
	if err := s.searchable(r.Context(), p, asked.Tools); err != nil {
		return err
	}
	respond, err := s.respondRequest(asked, req)
	if err != nil {
		return err
	}
	respond.Traceparent = traceparent(r)
	made, err := s.Responses.Respond(r.Context(), p, respond)
	if err != nil {
		return err
	}
	s.warnOf(w, p, asked.Model, "")
	if asked.Stream {
		return s.followResponse(w, r, p, made, -1)
	}
	if !asked.Background {
		if made, err = s.awaitResponse(r.Context(), p, made); err != nil {
			return err
		}
	}
	o, err := s.responseObject(r.Context(), p, made)
	if err != nil {
		return err
	}
	if !asked.Background && o.Error != nil && len(o.Output) == 0 {
		// It was tried again as often as helps, and each request is a turn of its own.
		w.Header().Set("X-Should-Retry", "false")
		return refusedResponse(made.Turn)
	}
	return s.write(w, o)
}

// refusedResponse is the error of a request whose response failed before it said anything. It is kept, and
// GET shows it as failed; but whoever waits for an answer looks at the status first.
func refusedResponse(t session.Turn) error {
	if t.Error == nil {
		return stead.Errorf(stead.KindUpstream, "the response failed")
	}
	err := gatewayError(&model.Error{Code: t.Error.Code, Message: t.Error.Message})
	if e, ok := errors.AsType[*stead.Error](err); ok {
		e.Code = responses.FailureOf(t.Error.Code, "").Code
	}
	return err
}

// respondRequest is the response as the service of sessions takes it.
func (s *server) respondRequest(asked *responses.Request, req request) (session.RespondRequest, error) {
	out := session.RespondRequest{Previous: asked.Previous, Items: asked.Items, Labels: req.labels, Key: req.key, Digest: req.digest}
	if asked.Conversation != "" {
		id, err := conversationSession("conversation", asked.Conversation)
		if err != nil {
			return out, err
		}
		out.Conversation = id
	}
	spec := agent.Defaults()
	spec.Model, spec.Instructions = asked.Model, asked.Instructions
	spec.Reasoning = agent.Reasoning{Effort: asked.Effort, Summary: asked.Summary}
	if asked.ServiceTier != "" {
		spec.ServiceTier = asked.ServiceTier
	}
	if asked.Verbosity != nil {
		spec.Text.Verbosity = *asked.Verbosity
	}
	out.Ask = session.ResponseAsk{Request: asked.Echo, Background: asked.Background, FileResults: asked.FileResults, Encrypted: asked.Encrypted, Listed: asked.Listed, Ask: session.Ask{
		ToolChoice: asked.ToolChoice, SerialTools: asked.SerialTools, Temperature: asked.Temperature, TopP: asked.TopP,
		MaxOutputTokens: asked.MaxOutput, MaxToolCalls: asked.MaxToolCalls, CacheKey: asked.CacheKey, User: asked.User,
	}}
	if f := asked.Format; f != nil {
		spec.Text.Format = agent.Format{Type: agent.FormatSchema, Schema: f.Schema}
		out.Ask.FormatName, out.Ask.Loose = f.Name, !f.Strict
	}
	for _, t := range asked.Tools {
		spec.Tools = append(spec.Tools, t.Tool)
	}
	out.Ask.Spec = spec
	return out, agent.CheckEnvironment("tools", spec.Tools)
}

func (s *server) getResponse(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Responses.Response(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	q := r.URL.Query()
	more := includedOf(q)
	found.Ask.FileResults, found.Ask.Encrypted = found.Ask.FileResults || more.results, found.Ask.Encrypted || more.encrypted
	switch q.Get("stream") {
	case "", "false":
		if q.Has("starting_after") {
			return stead.Invalid("starting_after", "starting_after is for stream=true")
		}
		return s.writeResponse(w, r, p, found)
	case "true":
	default:
		return stead.Invalid("stream", "stream must be true or false")
	}
	after, has, err := queryInt(q, "starting_after", 0, responses.MaxNumber)
	if err != nil {
		return err
	}
	if !has {
		after = -1
	}
	return s.followResponse(w, r, p, found, int64(after))
}

func (s *server) deleteResponse(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if err := s.Responses.DeleteResponse(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "response"})
}

// cancelResponse stops a response that runs in the background, and waits for its end. One that has
// ended is as it is.
func (s *server) cancelResponse(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Responses.Response(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	if !found.Ask.Background {
		return stead.Invalid("response_id", "only a response with background: true can be cancelled")
	}
	if found.Turn.CompletedAt == nil {
		in := session.SendRequest{Inputs: []session.Input{{Cancel: true}}}
		if err := s.Sessions.Send(r.Context(), p, found.Session, in); err != nil {
			return err
		}
		if found, err = s.awaitResponse(r.Context(), p, found); err != nil {
			return err
		}
	}
	return s.writeResponse(w, r, p, found)
}

// inputItems lists what a response was made of, with all that came before it.
func (s *server) inputItems(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := s.Responses.Response(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	input, err := s.Responses.ResponseInput(r.Context(), p, found)
	if err != nil {
		return err
	}
	part, more, err := itemPage(input, q)
	if err != nil {
		return err
	}
	return s.write(w, wireList(part, more, includedOf(r.URL.Query())))
}

// sessionNamed is the session that an id names where sessions are meant: its own id, or a conversation's, which is one.
func sessionNamed(id string) string {
	if of, err := conversationSession("", id); err == nil {
		return string(of)
	}
	return id
}

// conversationSession is the session of a conversation's id.
func conversationSession(param, id string) (stead.SessionID, error) {
	tail, ok := strings.CutPrefix(id, session.ConversationPrefix)
	if !ok || tail == "" {
		return "", stead.Invalid(param, "%s must be the id of a conversation, %s…, not %.40q", param, session.ConversationPrefix, id)
	}
	return stead.SessionID(stead.SessionPrefix + tail), nil
}
