package environment_test

import (
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

func TestOutgrown(t *testing.T) {
	l := environment.Limits{DiskBytes: 100, Files: 10}
	type o = environment.Occupied
	for _, c := range []struct {
		now, before o
		want        environment.Reason
	}{
		{o{100, 10, false}, o{}, ""},
		{o{101, 10, false}, o{100, 10, false}, environment.ReasonDisk},
		{o{100, 11, false}, o{100, 10, false}, environment.ReasonFiles},
		{o{101, 11, false}, o{102, 12, false}, ""},                    // it shrinks: somebody makes room
		{o{101, 11, false}, o{101, 12, false}, ""},                    // likewise
		{o{50, 21, false}, o{50, 21, false}, environment.ReasonFiles}, // nobody knows how many there are
		{o{50, 5, true}, o{49, 5, false}, environment.ReasonNodeDisk},
		{o{50, 5, true}, o{50, 5, true}, ""}, // others fill the disk
	} {
		if got := l.Outgrown(c.now, c.before); got != c.want {
			t.Errorf("%+v after %+v: %q, want %q", c.now, c.before, got, c.want)
		}
	}
	if near, far := l.Rest(time.Second, o{Files: 6}), l.Rest(time.Second, o{Files: 5}); near != 2*time.Second || far != 10*time.Second {
		t.Errorf("it rests %v and %v", near, far)
	}
}
