package usage

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/stead-dev/stead"
)

// MaxVersions is the most rows of figures.
const MaxVersions = 4096

// Figures are what one version of a model has done: the calls of one name on one route.
type Figures struct {
	Model   string // as it was asked for
	Version string // see Record.Version

	Sum        Sum              // of its calls that were answered
	Failures   map[string]int64 // code of the error → attempts that ended so
	FailedOver int64            // of these, how many another route was tried after
	Outcomes   map[string]int64 // length, filter, refusal → calls that ended so, of those answered
	GivenUp    int64            // attempts of hedged calls that another version outran: in no other figure
	First      Timing           // until the first word
	Total      Timing           // until the end
	Scores     int64            // judgements of applications
	score      int64            // their sum, thousandths
}

// Score is the mean of the judgements, 0 … 1; false when there are none.
func (f *Figures) Score() (float64, bool) {
	if f.Scores == 0 {
		return 0, false
	}
	return float64(f.score) / float64(f.Scores*MaxScore), true
}

// Timing adds up durations in buckets whose bounds are a factor of timingStep apart: what it says of
// quantiles is off by at most half of that, some 2.5 percent.
type Timing struct {
	Count   int64
	sum     int64         // milliseconds
	buckets map[int]int64 // exponent of timingStep → how many
}

const timingStep = 1.05

func (t *Timing) add(millis int64) {
	if millis <= 0 {
		return // nobody measured it
	}
	if t.buckets == nil {
		t.buckets = map[int]int64{}
	}
	t.Count++
	_ = addTo(&t.sum, millis) // a mean of what is beyond is none
	t.buckets[int(math.Round(math.Log(float64(millis))/math.Log(timingStep)))]++
}

// Mean is the mean in milliseconds; 0 of none.
func (t *Timing) Mean() float64 {
	if t.Count == 0 {
		return 0
	}
	return float64(t.sum) / float64(t.Count)
}

// Quantile is the duration that a share q of all does not exceed, in milliseconds; 0 of none.
func (t *Timing) Quantile(q float64) float64 {
	want := max(int64(math.Ceil(q*float64(t.Count))), 1)
	for _, b := range slices.Sorted(maps.Keys(t.buckets)) {
		if want -= t.buckets[b]; want <= 0 {
			return math.Pow(timingStep, float64(b))
		}
	}
	return 0
}

// Canary collects figures from records.
type Canary struct{ all map[[2]string]*Figures }

// Add adds a record; KindTooLarge above MaxVersions.
func (c *Canary) Add(r *Record) error {
	if r.Kind != ModelCall && !r.Kind.note() {
		return nil
	}
	key := [2]string{r.Model, r.Version()}
	f := c.all[key]
	if f == nil {
		if len(c.all) == MaxVersions {
			e := stead.Errorf(stead.KindTooLarge, "there are figures of more than %d versions", MaxVersions)
			e.Hint = "Name a model, or narrow the time by from and to."
			return e
		}
		if c.all == nil {
			c.all = map[[2]string]*Figures{}
		}
		f = &Figures{Model: key[0], Version: key[1], Failures: map[string]int64{}, Outcomes: map[string]int64{}}
		c.all[key] = f
	}
	switch r.Kind {
	case ModelFailure:
		f.Failures[r.Outcome]++
		if r.Name == FailedOver {
			f.FailedOver++
		}
	case Feedback:
		f.Scores, f.score = f.Scores+1, f.score+r.Score
	default:
		if r.GivenUp() {
			f.GivenUp++
			return nil
		}
		f.First.add(r.First)
		if r.Millis > 0 || r.First > 0 {
			f.Total.add(max(r.Millis, 1))
		}
		if r.Outcome != "" {
			f.Outcomes[r.Outcome]++
		}
		f.Sum.Add(r)
	}
	return nil
}

// Figures are those collected, by model and version.
func (c *Canary) Figures() []*Figures {
	return slices.SortedFunc(maps.Values(c.all), func(a, b *Figures) int {
		return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.Version, b.Version))
	})
}
