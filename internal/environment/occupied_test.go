package environment_test

import (
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

func TestOutgrown(t *testing.T) {
	l := environment.Limits{DiskBytes: 100, Files: 10}
	type o = environment.Occupied
	most := l.MostFiles()
	no, bytes, files := environment.Short{}, environment.Short{Bytes: true}, environment.Short{Files: true}
	for _, c := range []struct {
		now, before o
		want        environment.Reason
	}{
		{o{100, 10, no}, o{}, ""},
		{o{101, 10, no}, o{100, 10, no}, environment.ReasonDisk},
		{o{100, 11, no}, o{100, 10, no}, environment.ReasonFiles},
		{o{101, 11, no}, o{102, 12, no}, ""}, // it shrinks: somebody makes room
		{o{101, 11, no}, o{101, 12, no}, ""}, // likewise
		{o{50, most, no}, o{50, most, no}, ""},
		{o{50, most + 1, no}, o{50, most + 1, no}, environment.ReasonFiles}, // nobody knows how many there are
		{o{50, 5, bytes}, o{49, 5, no}, environment.ReasonNodeDisk},
		{o{50, 5, bytes}, o{50, 5, bytes}, ""}, // others fill the disk
		{o{50, 5, files}, o{50, 4, no}, environment.ReasonNodeFiles},
		{o{51, 5, files}, o{50, 5, files}, ""}, // others make files
	} {
		if got := l.Outgrown(c.now, &c.before); got != c.want {
			t.Errorf("%+v after %+v: %q, want %q", c.now, c.before, got, c.want)
		}
		if got := l.Outgrown(c.now, nil); got != "" {
			t.Errorf("%+v after nobody knows what: %q", c.now, got)
		}
	}
}

func TestAWatchdogRestsByWhatItCosts(t *testing.T) {
	l := environment.Limits{Files: 400_000}
	o := func(files int) environment.Occupied { return environment.Occupied{Files: files} }
	for _, c := range []struct {
		took  time.Duration
		files int
		want  time.Duration
	}{
		{time.Second, 200_000, 10 * time.Second},
		{time.Second, 200_001, 2 * time.Second}, // they could outrun it
		{10 * time.Microsecond, 64, 100 * time.Microsecond},
		{3 * time.Second, 64, 13 * time.Millisecond}, // the disk was slow: who writes to it is not let alone for half a minute
	} {
		if got := l.Rest(c.took, o(c.files)); got != c.want {
			t.Errorf("%d files in %v: it rests %v, want %v", c.files, c.took, got, c.want)
		}
	}
}
