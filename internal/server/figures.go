package server

import (
	"math"
	"net/http"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/account"
)

// wireFigures are what one version of a model has done in the caller's project, by the usage records.
type wireFigures struct {
	Object   string  `json:"object"`  // "model.figures"
	Model    string  `json:"model"`   // as it was asked for
	Route    string  `json:"route"`   // "provider/model"
	Version  *string `json:"version"` // the operator's word for it
	Weight   *int    `json:"weight"`  // null: not configured any more
	Breaker  *string `json:"breaker"` // of the node that answers
	Calls    int64   `json:"calls"`   // that were answered
	Failures int64   `json:"failures"`
	// Errors are the failures by their codes; FailedOver, those after which another route was tried.
	Errors       map[string]int64 `json:"errors"`
	FailedOver   int64            `json:"failed_over"`
	GivenUp      int64            `json:"given_up"` // attempts of hedged calls that another version outran
	InputTokens  int64            `json:"input_tokens"`
	OutputTokens int64            `json:"output_tokens"`
	Cost         int64            `json:"cost_microcents"`
	First        *wireTiming      `json:"first_token_ms"` // null: never measured
	Total        *wireTiming      `json:"total_ms"`
	Truncated    int64            `json:"truncated"` // of the calls, those that the output limit cut off,
	Filtered     int64            `json:"filtered"`  // a safety system cut off,
	Refused      int64            `json:"refused"`   // or the model declined
	Scores       int64            `json:"scores"`
	Score        *float64         `json:"score"` // mean of the feedback; null: there is none
}

type wireTiming struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
}

func wireTimingOf(t *usage.Timing) *wireTiming {
	if t.Count == 0 {
		return nil
	}
	tenth := func(ms float64) float64 { return math.Round(ms*10) / 10 }
	return &wireTiming{tenth(t.Mean()), tenth(t.Quantile(.5)), tenth(t.Quantile(.95))}
}

func wireFiguresOf(f *usage.Figures) wireFigures {
	w := wireFigures{
		Object: "model.figures", Model: f.Model, Route: f.Version, Calls: f.Sum.Calls, Errors: f.Failures, FailedOver: f.FailedOver, GivenUp: f.GivenUp,
		InputTokens: f.Sum.InputTokens, OutputTokens: f.Sum.OutputTokens, Cost: f.Sum.Cost, First: wireTimingOf(&f.First), Total: wireTimingOf(&f.Total),
		Truncated: f.Outcomes[string(model.FinishLength)], Filtered: f.Outcomes[string(model.FinishFilter)], Refused: f.Outcomes[string(model.FinishRefusal)], Scores: f.Scores,
	}
	for _, n := range f.Failures {
		w.Failures += n
	}
	if score, ok := f.Score(); ok {
		w.Score = &score
	}
	return w
}

// modelFigures says what each version of a model has done.
func (s *server) modelFigures(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q := r.URL.Query()
	f := usage.Filter{Model: q.Get("model")}
	var err error
	if f.From, err = queryTime(q, "from"); err != nil {
		return err
	}
	if f.To, err = queryTime(q, "to"); err != nil {
		return err
	}
	found, err := s.Usage.Figures(r.Context(), p, f)
	if err != nil {
		return err
	}
	data := []wireFigures{}
	for _, one := range found {
		data = append(data, wireFiguresOf(one))
	}
	if f.Model != "" {
		if data, err = s.withVersions(data, f.Model, p); err != nil {
			return err
		}
	}
	return s.write(w, listOf(data, false, func(f wireFigures) string { return f.Model + " " + f.Route }))
}

// withVersions says of the figures of a model what is configured, and adds versions without any call.
// KindNotFound for a model that is not configured and was never called.
func (s *server) withVersions(data []wireFigures, name string, p stead.Principal) ([]wireFigures, error) {
	info, err := s.shownModel(name, p)
	if err != nil {
		if len(data) > 0 {
			return data, nil // it was there when it was called
		}
		return nil, aboutModel(err)
	}
	breakers := map[string]string{} // route → state
	if s.Explain != nil {
		// What is kept from this caller has no breaker to show.
		considered, _ := s.Explain(name, model.Caller{Project: p.Project, User: p.ID})
		for _, c := range considered {
			breakers[c.Route.Name()] = c.Breaker
		}
	}
	for _, v := range info.Card.Versions {
		at, route := -1, v.Provider+"/"+v.Model
		for i := range data {
			if data[i].Route == route {
				at = i
			}
		}
		if at < 0 {
			at, data = len(data), append(data, wireFiguresOf(&usage.Figures{Model: name, Version: route, Failures: map[string]int64{}}))
		}
		weight := v.Weight
		data[at].Version, data[at].Weight, data[at].Breaker = known(v.Version), &weight, known(breakers[route])
	}
	return data, nil
}

type wireFeedback struct {
	ID     string  `json:"id"`
	Object string  `json:"object"` // "model.feedback"
	Model  string  `json:"model"`
	Route  string  `json:"route"` // that brought the answer
	Score  float64 `json:"score"` // 0 … 1
}

// judgeModel takes what an application thinks of an answer, once an answer.
func (s *server) judgeModel(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a judgement of a model", "id", "score"); err != nil {
		return err
	}
	id, has, err := req.String("id")
	if err != nil {
		return err
	}
	score, err := req.Number("score", 0, 1)
	switch {
	case err != nil:
		return err
	case !has || id == "":
		return stead.Invalid("id", "id is required: of a response, a turn, or a request to a stateless door")
	case score == nil:
		return stead.Invalid("score", "score is required: a number between 0 and 1")
	}
	j := account.Judgement{Model: r.PathValue("id"), Score: int64(math.Round(*score * usage.MaxScore))}
	switch {
	case strings.HasPrefix(id, usage.RequestPrefix):
		j.Call = id
	case strings.HasPrefix(id, session.ResponsePrefix+"_"):
		made, err := s.Responses.Response(r.Context(), p, id)
		if err != nil {
			return err
		}
		j.Turn = made.Turn.ID
	default:
		j.Turn = id
	}
	note, err := s.Usage.Judge(r.Context(), p, j)
	if err != nil {
		return err
	}
	return s.write(w, wireFeedback{note.ID, "model.feedback", note.Model, note.Version(), float64(note.Score) / usage.MaxScore})
}
