package session_test

import (
	"slices"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// TestWhatIsSentAlongIsUntrusted: files and images, in messages, items and responses; texts are their sender's.
func TestWhatIsSentAlongIsUntrusted(t *testing.T) {
	key := stead.SessionKey{Project: "default", Session: "sess_00000000000000000000000000000001"}
	for kind, source := range map[string]string{stead.ContentInputFile: session.SourceFile, stead.ContentInputImage: session.SourceImage, stead.ContentInputText: ""} {
		content := []stead.Content{{Type: stead.ContentInputText, Text: stead.NewText("look")}, {Type: kind, Text: stead.NewText("https://example.com/x")}}
		items := []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: content}}
		for _, in := range []struct {
			kind    string
			payload any
		}{
			{session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: content}}}},
			{session.KindInputMessage, session.Message{Items: items, Response: &session.ResponseAsk{}}},
			{session.KindInputItems, session.ItemsInput{Items: items}},
		} {
			v := session.NewView(key)
			for i, p := range []any{session.Created{}, in.payload} {
				e, err := session.NewEvent(1, []string{session.KindSessionCreated, in.kind}[i], p)
				if err != nil {
					t.Fatal(err)
				}
				if e.Seq = stead.Seq(i + 1); v.Apply(e) != nil {
					t.Fatal("it can't be folded")
				}
			}
			var want []string
			if source != "" {
				want = []string{source}
			}
			if got := v.Labels()[session.LabelUntrusted]; !slices.Equal(got, want) {
				t.Errorf("%s in %s %+v: %q, want %q", kind, in.kind, in.payload, got, want)
			}
		}
	}
}
