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
		{o{100, 10}, o{}, ""},
		{o{101, 10}, o{100, 10}, environment.ReasonDisk},
		{o{100, 11}, o{100, 10}, environment.ReasonFiles},
		{o{101, 11}, o{102, 12}, ""},                    // it shrinks: somebody makes room
		{o{101, 11}, o{101, 12}, ""},                    // likewise
		{o{50, 21}, o{50, 21}, environment.ReasonFiles}, // nobody knows how many there are
	} {
		if got := l.Outgrown(c.now, c.before); got != c.want {
			t.Errorf("%+v after %+v: %q, want %q", c.now, c.before, got, c.want)
		}
	}
	if near, far := l.Rest(time.Second, o{Files: 6}), l.Rest(time.Second, o{Files: 5}); near != 2*time.Second || far != 10*time.Second {
		t.Errorf("it rests %v and %v", near, far)
	}
}
