package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/citation"
	"github.com/stead-dev/stead/internal/responses"
	"github.com/stead-dev/stead/internal/session"
)

// begin is the cursor from which a response's own events follow.
func begin(res session.Response) *stead.Cursor { return &stead.Cursor{Seq: res.Seq - 1} }

// awaitResponse waits until the response has ended, or somebody must act before it can.
func (s *server) awaitResponse(ctx context.Context, p stead.Principal, res session.Response) (session.Response, error) {
	if res.Turn.CompletedAt != nil {
		return res, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-s.Stopping:
			cancel(errStopping)
		case <-ctx.Done():
		}
	}()
	err := s.Sessions.Stream(ctx, p, res.Session, begin(res), nil, func(e session.StreamEvent) error {
		switch piece := session.PieceOf(e); {
		case piece.Kind == session.PieceTurnEnded && piece.TurnID == res.Turn.ID, piece.Kind == session.PieceWaits, piece.Kind == session.PieceSessionFailed:
			return errStreamOver
		}
		return nil
	})
	switch {
	case errors.Is(context.Cause(ctx), errStopping):
		e := stead.Errorf(stead.KindUnavailable, "the server is stopping; the response goes on when it is back")
		e.Hint = "GET /v1/responses/" + res.ID()
		return res, e
	case !errors.Is(err, errStreamOver):
		return res, err
	}
	return s.Responses.Response(ctx, p, res.ID())
}

// responseObject is the response as it stands, with its output.
func (s *server) responseObject(ctx context.Context, p stead.Principal, res session.Response) (*responses.Object, error) {
	output, err := s.Responses.ResponseOutput(ctx, p, res)
	if err != nil {
		return nil, err
	}
	o := bareResponse(res)
	o.Output = responseItems(output, o.Status == responses.StatusCompleted, includedIn(res))
	return o, nil
}

// bareResponse is the response without its output.
func bareResponse(res session.Response) *responses.Object {
	o := &responses.Object{
		Echo: res.Ask.Request, ID: res.ID(), CreatedAt: res.Turn.CreatedAt, CompletedAt: res.Turn.CompletedAt,
		Model: res.Ask.Spec.Model, Status: responses.StatusInProgress,
	}
	if u := res.Turn.Usage; u != nil {
		o.Usage = responses.NewUsage(&stead.Usage{
			InputTokens: u.InputTokens, CachedTokens: u.InputTokensDetails.CachedTokens, CacheWriteTokens: u.InputTokensDetails.Written,
			OutputTokens: u.OutputTokens, ReasoningTokens: u.OutputDetails.ReasoningTokens,
		})
	}
	if res.Previous != "" {
		o.Previous = &res.Previous
	}
	if res.Conversation {
		o.Conversation = &responses.Conversation{ID: session.ConversationID(res.Session)}
	}
	end(o, res.Turn)
	return o
}

// end says how a turn stands in the words of the Responses API: an answer that a limit cut off is
// no failure there.
func end(o *responses.Object, t session.Turn) {
	switch t.Status {
	case session.TurnQueued:
		o.Status = responses.StatusQueued
	case session.TurnComplete:
		o.Status = responses.StatusCompleted
	case session.TurnCancel:
		o.Status = responses.StatusCancelled
	case session.TurnFail:
		o.Status = responses.StatusFailed
		if t.Error == nil {
			o.Error = responses.FailureOf("server_error", "The response failed.")
			return
		}
		switch t.Error.Code {
		case "max_output_tokens":
			o.Status, o.Incomplete = responses.StatusIncomplete, &responses.Incomplete{Reason: "max_output_tokens"}
		case "cyber_policy":
			o.Status, o.Incomplete = responses.StatusIncomplete, &responses.Incomplete{Reason: "content_filter"}
		default:
			o.Error = responses.FailureOf(t.Error.Code, t.Error.Message)
		}
	}
}

func (s *server) writeResponse(w http.ResponseWriter, r *http.Request, p stead.Principal, res session.Response) error {
	o, err := s.responseObject(r.Context(), p, res)
	if err != nil {
		return err
	}
	return s.write(w, o)
}

// followResponse answers with a response's events behind a sequence number, to its end.
func (s *server) followResponse(w http.ResponseWriter, r *http.Request, p stead.Principal, res session.Response, after int64) error {
	return s.streamed(w, r, res.Session, func(ctx context.Context, out *eventWriter) error {
		t := &responseTeller{s: s, ctx: ctx, p: p, res: res, open: map[string]bool{}, places: map[string]int{}}
		t.out = responses.NewStream(after, func(kind string, event any) error {
			s.metrics.events.Add(1)
			return out.named(kind, event)
		})
		err := s.Sessions.Stream(ctx, p, res.Session, begin(res), out.open, t.tell)
		return s.streamEnded(ctx, out, res.Session, err)
	})
}

// responseTeller tells the events of a session's turn in the words of the Responses API. What it says
// depends on the journal alone, so that a stream that is resumed goes on where it was.
type responseTeller struct {
	s   *server
	ctx context.Context
	p   stead.Principal
	res session.Response
	out *responses.Stream

	begun bool
	open  map[string]bool // call items that were added
	// hidden are the indexes of items that are not shown, and places those under which others are.
	hidden []int
	places map[string]int
	held   []session.Piece // ends of texts, until it is known whether they were cut off
}

func (t *responseTeller) tell(e session.StreamEvent) error {
	piece := session.PieceOf(e)
	switch piece.Kind {
	case session.PieceSessionFailed:
		return t.ended()
	case session.PieceTurnStarted:
		return t.started()
	case session.PieceTurnEnded:
		if piece.TurnID == t.res.Turn.ID {
			return t.ended()
		}
	}
	if piece.TurnID != t.res.Turn.ID || piece.Output < 0 {
		return nil
	}
	if piece.Kind == session.PieceItemDone && refusedFunction(piece.Item) {
		t.hidden = append(t.hidden, piece.Output)
		return nil
	}
	piece.Output = t.place(piece)
	return t.piece(piece)
}

// place is the index of an item among those that are shown, which it keeps: SDKs put the output together by it.
func (t *responseTeller) place(p session.Piece) int {
	id := p.ItemID
	if at, ok := t.places[id]; ok {
		return at
	}
	at := p.Output
	for _, hidden := range t.hidden {
		if hidden < p.Output {
			at--
		}
	}
	t.places[id] = at
	return at
}

// started is the same whenever it is told: the response as it was before it had any output.
func (t *responseTeller) started() error {
	if t.begun {
		return nil
	}
	t.begun = true
	first := t.res
	first.Turn.Status, first.Turn.CompletedAt, first.Turn.Usage, first.Turn.Error = session.TurnInProgress, nil, nil, nil
	o := bareResponse(first)
	if t.res.Ask.Background {
		o.Status = responses.StatusQueued
		if err := t.out.Whole("response.created", o); err != nil {
			return err
		}
		if err := t.out.Whole("response.queued", o); err != nil {
			return err
		}
		o.Status = responses.StatusInProgress
	} else if err := t.out.Whole("response.created", o); err != nil {
		return err
	}
	return t.out.Whole("response.in_progress", o)
}

// ended tells the end, and that the stream is over.
func (t *responseTeller) ended() error {
	res, err := t.s.Responses.Response(t.ctx, t.p, t.res.ID())
	if err != nil {
		return err
	}
	res.Ask.FileResults, res.Ask.Encrypted = t.res.Ask.FileResults, t.res.Ask.Encrypted
	o, err := t.s.responseObject(t.ctx, t.p, res)
	if err != nil {
		return err
	}
	if err := t.started(); err != nil { // it was cancelled before it began
		return err
	}
	kind := "response." + o.Status
	if o.Status == responses.StatusCancelled {
		kind = "response.incomplete" // the API has no event of its own: the status says it
	}
	if err := t.out.Whole(kind, o); err != nil {
		return err
	}
	return errStreamOver
}

func (t *responseTeller) piece(p session.Piece) error {
	switch p.Kind {
	case session.PieceItemAdded:
		return t.added(p)
	case session.PieceTextAdded:
		return t.out.TextAdded(p.Output, p.ItemID, p.Refusal)
	case session.PieceText:
		return t.out.Text(p.Output, p.ItemID, p.Text, p.Refusal)
	case session.PieceSummaryAdded:
		return t.out.SummaryAdded(p.Output, p.ItemID, p.Part)
	case session.PieceSummary:
		return t.out.Summary(p.Output, p.ItemID, p.Part, p.Text)
	case session.PieceTextDone, session.PieceSummaryDone:
		t.held = append(t.held, p)
	case session.PieceItemDone:
		return t.done(p)
	}
	return nil
}

func (t *responseTeller) added(p session.Piece) error {
	w := responseItem(p.Item, includedIn(t.res))
	if w == nil {
		return nil
	}
	t.open[p.ItemID] = true
	switch it := w.(type) {
	case *responses.FunctionCall:
		whole := it.Arguments
		it.Arguments = ""
		if err := t.out.Added(p.Output, it); err != nil {
			return err
		}
		return t.out.Arguments("function_call", p.Output, it.ID, it.Name, whole)
	case *responses.ServerCall:
		whole := it.Arguments
		it.Arguments = ""
		if err := t.out.Added(p.Output, it); err != nil {
			return err
		}
		if err := t.out.ServerCall("in_progress", p.Output, it.ID); err != nil {
			return err
		}
		return t.out.Arguments("mcp_call", p.Output, it.ID, it.Name, whole)
	case *responses.ToolList:
		if err := t.out.Added(p.Output, it); err != nil {
			return err
		}
		return t.out.ToolList("in_progress", p.Output, it.ID)
	case *responses.FileSearch:
		if err := t.out.Added(p.Output, it); err != nil {
			return err
		}
		if err := t.out.FileSearch("in_progress", p.Output, it.ID); err != nil {
			return err
		}
		return t.out.FileSearch("searching", p.Output, it.ID)
	}
	return t.out.Added(p.Output, w)
}

// done ends an item: first the texts that were held back.
func (t *responseTeller) done(p session.Piece) error {
	w := responseItem(p.Item, includedIn(t.res))
	if w == nil {
		return nil
	}
	cut, cited := false, []citation.Annotation(nil)
	switch it := w.(type) {
	case *responses.Message:
		cut, cited = it.Status == stead.ItemIncomplete, annotated(p.Item)
	case *responses.Reasoning:
		cut = it.Status == stead.ItemIncomplete
	}
	for _, h := range t.held {
		err := error(nil)
		if h.Kind == session.PieceSummaryDone {
			err = t.out.SummaryDone(h.Output, h.ItemID, h.Part, h.Text, cut)
		} else {
			err = t.out.TextDone(h.Output, h.ItemID, h.Text, cited, h.Refusal, cut)
		}
		if err != nil {
			return err
		}
	}
	t.held = nil
	if !t.open[p.ItemID] { // a call that was refused at once
		if err := t.out.Added(p.Output, w); err != nil {
			return err
		}
	}
	delete(t.open, p.ItemID)
	if err := t.callEnded(p.Output, w); err != nil {
		return err
	}
	return t.out.Done(p.Output, w)
}

// callEnded says how a call of the runtime's ended. A search that failed has no event of its own.
func (t *responseTeller) callEnded(output int, w any) error {
	switch it := w.(type) {
	case *responses.ServerCall:
		state := "completed"
		if it.Status != stead.ItemCompleted {
			state = "failed"
		}
		return t.out.ServerCall(state, output, it.ID)
	case *responses.ToolList:
		state := "completed"
		if it.Error != nil {
			state = "failed"
		}
		return t.out.ToolList(state, output, it.ID)
	case *responses.FileSearch:
		if it.Status == stead.ItemCompleted {
			return t.out.FileSearch("completed", output, it.ID)
		}
	}
	return nil
}
