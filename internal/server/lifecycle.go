package server

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/session"
)

func (s *server) lifecycle(w http.ResponseWriter, r *http.Request, p stead.Principal, do func(context.Context, stead.Principal, stead.SessionID) (session.Session, error)) error {
	req, err := read(w, r)
	if err == nil {
		err = req.Only("this request") // an empty body, or an object that says nothing
	}
	if err != nil {
		return err
	}
	changed, err := do(r.Context(), p, sessionID(r))
	if err != nil {
		return err
	}
	return s.write(w, s.withRemoteURL(p, changed))
}

func (s *server) exportSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	out := &download{w: w, media: mediaLines, name: string(sessionID(r)) + ".jsonl"}
	return s.finish(out, s.Sessions.Export(r.Context(), p, sessionID(r), out))
}

// download answers with a file, never as something that a browser would run.
type download struct {
	w           http.ResponseWriter
	media, name string
	begun       bool
}

// finish ends a download. What fails after the first byte cuts the connection, so that half a file is
// never taken for a whole one.
func (s *server) finish(d *download, err error) error {
	if err == nil {
		d.begin()
		return nil
	}
	if !d.begun {
		return err
	}
	s.Log.Error("download broke off", "file", d.name, "error", err)
	panic(http.ErrAbortHandler)
}

func (d *download) begin() {
	if d.begun {
		return
	}
	d.begun = true
	h := d.w.Header()
	h.Set("Content-Type", d.media)
	h.Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	d.w.WriteHeader(http.StatusOK)
}

// Write implements io.Writer.
func (d *download) Write(b []byte) (int, error) {
	d.begin()
	return d.w.Write(b)
}

func (s *server) importSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	body := &upload{r: http.MaxBytesReader(w, r.Body, MaxImportBytes), rc: http.NewResponseController(w)}
	made, err := s.Sessions.Import(r.Context(), p, body)
	if body.err != nil {
		return bodyError(body.err)
	}
	if err != nil {
		return err
	}
	return s.write(w, s.withRemoteURL(p, made))
}

// upload remembers how reading failed, so that a client that breaks off is told so, and gives each
// read its own time: a long file is fine, a silent client is not.
type upload struct {
	r   io.Reader
	rc  *http.ResponseController
	err error
}

// Read implements io.Reader.
func (u *upload) Read(b []byte) (int, error) {
	_ = u.rc.SetReadDeadline(time.Now().Add(BodyTimeout))
	n, err := u.r.Read(b)
	if err != nil {
		_ = u.rc.SetReadDeadline(time.Time{})
		if err != io.EOF {
			u.err = err
		}
	}
	return n, err
}

func (s *server) listApprovals(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := s.Sessions.Approvals(r.Context(), p, q)
	if err != nil {
		return err
	}
	return s.write(w, listOf(found.Data, found.HasMore, func(a session.Approval) string { return a.ID }))
}

// decide answers a required action by its id alone: it finds the session and sends the input event
// that a client of the session would have sent.
func (s *server) decide(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a decision", "decision", "reason", "digest", "arguments", "to", "extra", "output"); err != nil {
		return err
	}
	decision, err := param.Need(req.Enum("decision",
		decideApprove, decideDeny, decideCancel, decideDelegate, decideHappened, decideNotHappened, decideGiveUp))("decision")
	if err != nil {
		return err
	}
	found, err := s.findApproval(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	in, err := decisionInput(req.Object, found, decision)
	if err != nil {
		return err
	}
	send := session.SendRequest{Inputs: []session.Input{in}, Key: req.key, Digest: req.digest}
	if err := s.Sessions.Send(r.Context(), p, found.SessionID, send); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func decisionInput(o param.Object, a session.Approval, decision string) (session.Input, error) {
	unknown := a.Action.Type == session.ActionOutcomeUnknown
	switch decision {
	case decideHappened, decideNotHappened, decideGiveUp:
		if !unknown {
			return session.Input{}, stead.Invalid("decision", "the request asks for an approval: approve, deny or cancel, not %s", decision)
		}
		out, err := outcomeOutput(o, decision)
		return session.Input{Outcome: &session.OutcomeInput{RequestID: a.ID, Decision: decision, Output: out}}, err
	default:
		if unknown {
			return session.Input{}, stead.Invalid("decision", "the request asks what became of a call: happened, not_happened or give_up, not %s", decision)
		}
		extra, err := extraOf(o)
		if err != nil {
			return session.Input{}, err
		}
		digest, err := shownDigest(o)
		if err != nil {
			return session.Input{}, err
		}
		to, err := delegateOf(o)
		if err != nil {
			return session.Input{}, err
		}
		arguments, err := editedArguments(o)
		if err != nil {
			return session.Input{}, err
		}
		reason, err := reasonOf(o)
		return session.Input{Approval: &session.ApprovalInput{RequestID: a.ID, Decision: decision, Reason: reason, Digest: digest, To: to, Arguments: arguments, Extra: extra}}, err
	}
}

// findApproval pages through the inbox: what waits for people is short.
func (s *server) findApproval(ctx context.Context, p stead.Principal, id string) (session.Approval, error) {
	q := session.PageQuery{Limit: stead.MaxPageSize, Desc: true}
	for {
		found, err := s.Sessions.Approvals(ctx, p, q)
		if err != nil {
			return session.Approval{}, err
		}
		for _, a := range found.Data {
			if a.ID == id {
				return a, nil
			}
		}
		if !found.HasMore || len(found.Data) == 0 {
			return session.Approval{}, stead.NotFound("request that waits for an answer", id)
		}
		q.After = found.Data[len(found.Data)-1].ID
	}
}
