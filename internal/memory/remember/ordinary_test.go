package remember_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/remember"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// talk is an agent with a store each, that recalls with a budget.
type talk struct {
	*memory.Service
	me stead.Principal
}

func newTalk(t *testing.T) talk {
	t.Helper()
	m, me := open(t, policy.AllowLocal{})
	return talk{m, me}
}

// store makes one of facts, which somebody wrote now.
func (k talk) store(t *testing.T, texts ...string) string {
	t.Helper()
	st, err := k.CreateStore(t.Context(), k.me, memory.StoreFields{Name: "s"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(texts, memory.MaxChanges) {
		var in []memory.New
		for _, text := range part {
			in = append(in, memory.New{Content: memory.Content{Kind: memory.KindFact, Text: text, Confidence: 1, Importance: 0.5}})
		}
		if _, err := k.Add(t.Context(), k.me, st.ID, in, ""); err != nil {
			t.Fatal(err)
		}
	}
	return st.ID
}

func (k talk) recall(t *testing.T, store, message string) (out []string) {
	t.Helper()
	found, err := remember.New(k.Service).Recall(t.Context(), session.RecallAsk{
		Key: stead.SessionKey{Project: k.me.Project, Session: "sess_0000000000000000000000000000000b"}, Principal: k.me, Alone: true, Agent: "agent_1", Stores: []string{store},
		Query: message, Recall: agent.Recall{Mode: agent.RecallBudgeted, TokenBudget: 1000, MaxResults: 8, Context: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found.Entries {
		out = append(out, e.Text)
	}
	return out
}

// company are notes of a company: many that are about nothing that anybody asks here, and some that are.
func company() (out []string) {
	rng := rand.New(rand.NewPCG(1, 1))
	one := func(of string) string {
		all := strings.Split(of, ",")
		return all[rng.IntN(len(all))]
	}
	for i := range 150 {
		out = append(out, fmt.Sprintf("The %s %s %s, note %d.", one("billing,printer,parking,canteen,vacation,payroll,laptop,badge,travel,coffee"),
			one("opens at,is handled by,was moved to,needs,belongs to,depends on"), one("Marta,building 7,room 12,a form,the Oslo team,approval,nine o'clock,level two"), i))
	}
	return append(out, "Globex has a contract until 2028.", "Globex uses version 9 on Windows 11.", "The contact at Globex is Wendy.", "My dog is called Rex.", "The user prefers answers in French.",
		"The deploy window is on Tuesdays.", "I am allergic to peanuts.", "The user works at Hooli.")
}

// Messages as people write them, of a few words or of sixty, bring what they are about; what else they say doesn't keep it away. Small talk, and what nobody
// wrote anything about, brings nothing.
func TestOrdinaryMessagesRecall(t *testing.T) {
	k := newTalk(t)
	big := k.store(t, company()...)
	one := k.store(t, "The customer Globex wants invoices in PDF format.")
	deploys := k.store(t, "The deploy window is on Tuesdays.", "The deploy needs two approvals.", "The deploy is done by Marta.", "After a deploy the cache is cleared.", "The deploy log is in Kibana.",
		"A deploy takes ten minutes.")
	var complaints []string
	for i := range 10 {
		complaints = append(complaints, fmt.Sprintf("Ticket %d: customer Globex reports that the export to PDF is slow.", 4000+i))
	}
	tickets := k.store(t, append(complaints, "Globex has a contract until 2028 with a penalty clause for slow exports.", "Globex uses version 9 on Windows 11.")...)
	for _, tt := range []struct{ store, message, want string }{
		{one, "Globex invoice", "PDF format"},
		{one, "Please send the invoice to Globex.", "PDF format"},
		{one, "Please write the invoice for Globex about the three consulting days in October and mention the discount.", "PDF format"},
		{one, "Hello, how are you today?", ""},
		{one, "Write me a poem about the sea.", ""},
		{deploys, "deploy", "deploy"},
		{deploys, "How do we deploy?", "deploy"},
		{deploys, "Tell me about the deploy", "deploy"},
		{deploys, "Please deploy now", "deploy"},
		{deploys, "What do I have to know before I deploy?", "deploy"},
		{deploys, "Thanks, that is all for now!", ""},
		{tickets, "Globex says the export to PDF is slow. What do we know about Globex?", "Globex"},
		{tickets, "Is there a penalty clause for Globex?", "penalty clause"},
		{big, "What do we know about Globex?", "Globex"},
		{big, "Tell me something about Globex please", "Globex"},
		{big, "Could you prepare a short summary of the customer Globex for my meeting tomorrow?", "Globex"},
		{big, "Prepare the call with Globex", "Globex"},
		{big, "Tell me about Globexx", "Globex"},
		{big, "What's the name of my dog?", "Rex"},
		{big, "Schedule the deploy for the new release", "deploy window"},
		{big, "I want to release the new version tomorrow, when can I deploy?", "deploy window"},
		{big, "Draft an email to Wendy about the invoice", "Wendy"},
		{big, "answers in which language?", "French"},
		{big, "Suggest a recipe for a quick dinner tonight, I have chicken, rice and a jar of peanuts at home.", "allergic to peanuts"},
		{big, "Hi! I have just finished the fix for the login bug that our colleagues reported last Thursday, all tests are green and the review is done. Could you please plan everything that is " +
			"necessary so that we can deploy it to production this week, and write a short announcement for the team channel?", "deploy window"},
		{big, "Could you write a friendly but firm answer to the mail below? They complain that the export is slow again and threaten to leave us. Please mention that we take it seriously, offer a " +
			"call next week, and keep it under one hundred words. The sender is our contact at Globex.", "contact at Globex"},
		{big, "Please write the release notes for version four, answers should mention the new dashboard, the faster search and the fixed login bug. Keep it short and friendly, and use French if I " +
			"prefer that.", "French"},
		{big, "hello", ""},
		{big, "thanks!", ""},
		{big, "Good morning, how are you?", ""},
		{big, "Great, that works, thank you very much!", ""},
		{big, "OK, please go on.", ""},
		{big, "What is the capital of France?", ""},
		{big, "Explain recursion to me.", ""},
		{big, "Write me a poem about the sea.", ""},
		{big, "Please translate the following sentence into Spanish and tell me which of the words are formal and which are not, because I want to learn how people speak there in everyday life.", ""},
	} {
		t.Run(tt.message[:min(40, len(tt.message))], func(t *testing.T) {
			got := k.recall(t, tt.store, tt.message)
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("%d words bring %q", len(strings.Fields(tt.message)), got)
			case tt.want != "" && (len(got) == 0 || !strings.Contains(strings.Join(got[:min(3, len(got))], "\n"), tt.want)):
				t.Errorf("%d words bring %q, want %q among the first three", len(strings.Fields(tt.message)), got, tt.want)
			}
			if len(got) > 5 && len(strings.Fields(tt.message)) > 30 {
				t.Errorf("beside what they are about, %d words bring %q", len(strings.Fields(tt.message)), got)
			}
		})
	}
}
