package responses_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stead-dev/stead/internal/responses"
)

type told struct {
	Type   string `json:"type"`
	Number int64  `json:"sequence_number"`
	Delta  string `json:"delta"`
}

// tell streams a message in the given pieces and returns what a client behind `after` sees.
func tell(t *testing.T, after int64, pieces []string, cut bool) []told {
	t.Helper()
	var out []told
	s := responses.NewStream(after, func(_ string, e any) error {
		raw, err := json.Marshal(e)
		if err != nil {
			return err
		}
		var w told
		err = json.Unmarshal(raw, &w)
		out = append(out, w)
		return err
	})
	whole := ""
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Added(0, nil))
	must(s.TextAdded(0, "m", false))
	for _, p := range pieces {
		whole += p
		must(s.Text(0, "m", p, false))
	}
	must(s.TextDone(0, "m", "as it ended", nil, false, cut))
	must(s.Done(0, nil))
	return out
}

func TestNumbersDoNotDependOnThePieces(t *testing.T) {
	text := "grüße, 世界 🙂"
	for _, pieces := range [][]string{{text}, {"gr", "üße, ", "世", "界 🙂"}, {"grüße, 世界", " ", "🙂"}} {
		whole := tell(t, -1, pieces, false)
		last := whole[len(whole)-1].Number
		for after := int64(-1); after <= last; after++ {
			got, structural := "", 0
			before := after
			for _, e := range tell(t, after, []string{text}, false) {
				if e.Number <= before {
					t.Fatalf("after %d: number %d comes behind %d", after, e.Number, before)
				}
				before = e.Number
				if e.Delta == "" {
					structural++
				}
				got += e.Delta
			}
			want := 0
			for _, e := range whole {
				if e.Delta == "" && e.Number > after {
					want++
				}
			}
			if structural != want {
				t.Errorf("after %d: %d events beside text, want %d", after, structural, want)
			}
			// What was seen ends at a character, or in the middle of one, which then is not told again.
			seen := max(0, min(int(after)-1, len(text)))
			if len(got) > len(text)-seen || len(text)-seen-len(got) > 3 {
				t.Errorf("after %d: the rest is %q", after, got)
			}
		}
	}
}

func TestBehindATextThatWasCutOff(t *testing.T) {
	long, short := tell(t, -1, []string{"shown before the crash"}, true), tell(t, -1, []string{"show"}, true)
	for i := 1; i <= 2; i++ { // text.done … item.done
		a, b := long[len(long)-i], short[len(short)-i]
		if a.Type != b.Type || a.Number != b.Number {
			t.Errorf("%v and %v: the place depends on how much was shown", a, b)
		}
	}
}

func ExampleArgumentText() {
	fmt.Println(responses.ArgumentText(json.RawMessage(`{"city":"Paris"}`)))
	fmt.Println(responses.ArgumentText(json.RawMessage(`"{\"city\":"`)))
	// Output:
	// {"city":"Paris"}
	// {"city":
}
