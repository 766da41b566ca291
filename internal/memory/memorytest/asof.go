package memorytest

import (
	"slices"
	"time"

	"github.com/stead-dev/stead/internal/memory"
)

// asOf: what does not say since when it holds was not known before it was said; what was over when somebody told of it was true before.
func asOf(f *serviceFixture) {
	const spring, summer, autumn = 1_700_000_000_000, 1_710_000_000_000, 1_720_000_000_000
	said := note("the depot is in Summerstown")
	said.Source.At = summer
	over := note("the depot was in Springfield")
	over.ValidUntil = summer
	since := note("the depot has roses since ever")
	since.ValidFrom = 1
	f.add(said, over, since, note("the depot is closed, as of today"))
	for at, want := range map[int64][]string{
		spring: {over.Text, since.Text}, summer - 1: {over.Text, since.Text}, summer: {said.Text, since.Text}, autumn: {said.Text, since.Text},
		0: {said.Text, since.Text, "the depot is closed, as of today"}, time.Now().Add(time.Hour).UnixMilli(): {said.Text, since.Text, "the depot is closed, as of today"},
	} {
		got := f.find(memory.Search{Query: "depot", AsOf: at, Limit: 10})
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			f.Errorf("as of %d: %q, want %q", at, got, want)
		}
		if at == 0 {
			continue
		}
		listed, _, err := f.ListMatching(f.ctx, f.me, f.store, memory.Filter{}, at, "", 10, false)
		if err != nil || len(listed) != len(want) {
			f.Errorf("as of %d %d are listed (%v), want %d", at, len(listed), err, len(want))
		}
	}
}
