package runner_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// inTwoRegions is a name with routes in us and eu, of which us comes first. What is labelled data=health
// stays in eu, and data=court in ch.
func inTwoRegions(us, eu model.Model) *router.Alias {
	return &router.Alias{
		Name:   "sim",
		Routes: []router.Route{{Provider: "us", Upstream: "m", Model: us, Region: "us"}, {Provider: "eu", Upstream: "m", Model: eu, Region: "eu", Priority: 1}},
		Residency: []router.Residency{
			{Labels: map[string]string{"data": "health"}, Regions: []string{"eu"}},
			{Labels: map[string]string{"data": "court"}, Regions: []string{"ch"}},
		},
		State: router.NewState(nil),
	}
}

// labelled gives a response metadata, as its door does.
func labelled(metadata string) func(*session.RespondRequest) {
	return func(r *session.RespondRequest) {
		r.Ask.Spec.Tools, r.Ask.Request = nil, json.RawMessage(`{"metadata":`+metadata+`}`)
	}
}

func hi() []stead.Item { return []stead.Item{inputOf(stead.RoleUser, "hi")} }

func TestResidencyIsOfAllThatTheContextHas(t *testing.T) {
	us, eu := script(reply("from us")), script(reply("from eu"))
	bubble(t, func(t *testing.T, n *node) {
		went := func(res session.Response, where string) session.Response {
			t.Helper()
			res = n.ended(res)
			said := ""
			if out, err := n.ResponseOutput(context.Background(), me, res); err == nil && len(out) == 1 {
				said = *out[0].(*session.MessageItem).Content[0].Text
			}
			if res.Turn.Status != session.TurnComplete || said != "from "+where {
				t.Errorf("the response is %s and says %q, want it from %s", res.Turn.Status, said, where)
			}
			return res
		}
		refused := func(res session.Response, label, where string) {
			t.Helper()
			res = n.ended(res)
			want := "what is labelled " + label + " stays in " + where
			if e := res.Turn.Error; e == nil || e.Code != model.CodeNotFound || !strings.Contains(e.Message, want) {
				t.Errorf("the response ended with %+v, want %q", e, want)
			}
		}
		plain := went(n.respond(asks("", hi(), labelled(`{}`))), "us")
		first := went(n.respond(asks("", hi(), labelled(`{"data":"health"}`))), "eu")
		second := went(n.respond(asks(first.ID(), hi(), labelled(`{}`))), "eu")
		third := went(n.respond(asks(second.ID(), hi(), labelled(`{"data":"public","n":"3"}`))), "eu")
		went(n.respond(asks(first.ID(), hi(), labelled(`{"data":"public"}`))), "eu") // in a copy that ends with first
		if err := n.DeleteResponse(context.Background(), me, first.ID()); err != nil {
			t.Fatal(err)
		}
		n.crash("node-2") // and what is folded anew says the same
		went(n.respond(asks(third.ID(), hi(), labelled(`{}`))), "eu")
		went(n.respond(asks(plain.ID(), hi(), labelled(`{"data":"health"}`))), "eu")
		refused(n.respond(asks(second.ID(), hi(), labelled(`{"data":"court"}`))), "data=health", "eu")
		refused(n.respond(asks("", hi(), labelled(`{"data":"court"}`))), "data=court", "ch")

		c, err := n.CreateConversation(context.Background(), me, session.ConversationRequest{Items: hi(), Metadata: map[string]string{"data": "health"}})
		if err != nil {
			t.Fatal(err)
		}
		within := func(metadata string) session.RespondRequest {
			return asks("", hi(), labelled(metadata), func(r *session.RespondRequest) { r.Conversation = c.ID })
		}
		went(n.respond(within(`{}`)), "eu")
		went(n.respond(within(`{"data":"public"}`)), "eu")
		if _, err := n.Update(context.Background(), me, c.ID, session.Updated{Metadata: &map[string]string{}}); err != nil {
			t.Fatal(err)
		}
		went(n.respond(within(`{"data":"health"}`)), "eu")
		went(n.respond(within(`{}`)), "eu")
	}, withModel(inTwoRegions(us, eu)))
	if len(us.asked()) != 1 {
		t.Errorf("us was asked %d times, and only the first text was for it", len(us.asked()))
	}
}

func TestASummaryIsLabelledAsItsTexts(t *testing.T) {
	us, eu := script(reply("from us")), script(reply(strings.Repeat("from eu ", 3000)), reply("from eu"))
	bubble(t, func(t *testing.T, n *node) {
		first := n.ended(n.respond(asks("", hi(), labelled(`{"data":"health"}`))))
		n.ended(n.respond(asks(first.ID(), hi(), labelled(`{}`))))
		if n.count(first.Session, session.KindContextCompacted) == 0 {
			t.Fatal("nothing was summarized")
		}
	}, withModel(inTwoRegions(us, eu), func(i *model.Info) { i.ContextWindow = 4000 }))
	if len(us.asked())+len(us.summaries) > 0 || len(eu.summaries) == 0 {
		t.Errorf("us was asked for %d replies and %d summaries, eu for %d summaries", len(us.asked()), len(us.summaries), len(eu.summaries))
	}
}

func TestPoliciesAreToldOfAResponsesLabels(t *testing.T) {
	var mu sync.Mutex
	got := map[policy.Effect][]stead.Labels{}
	ask := authorizerFunc(func(req policy.Request) policy.Decision {
		mu.Lock()
		defer mu.Unlock()
		got[req.Effect] = append(got[req.Effect], req.Labels)
		return policy.Decision{Allow: true, By: "test"}
	})
	bubble(t, func(t *testing.T, n *node) {
		first := n.ended(n.respond(asks("", hi(), labelled(`{"env":"prod"}`))))
		n.ended(n.respond(asks(first.ID(), hi(), labelled(`{"env":"test"}`))))
		mu.Lock()
		defer mu.Unlock()
		if made := got[policy.SessionCreate]; len(made) != 1 || !made[0].Has("env", "prod") {
			t.Errorf("asked about the session with %v", made)
		}
		if calls := got[policy.ModelCall]; len(calls) != 2 || !slices.Equal(calls[0]["env"], []string{"prod"}) || !slices.Equal(calls[1]["env"], []string{"prod", "test"}) {
			t.Errorf("asked about the model with %v", calls)
		}
	}, withModel(script(reply("ok"))), withPolicy(ask))
}
