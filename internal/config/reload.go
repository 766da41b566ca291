package config

import (
	"cmp"
	"context"
	"os"
	"time"

	"github.com/stead-dev/stead"
)

// How a file that is read again is looked at. Editors and scripts empty a file before they write it: who reads it at
// that moment reads less than is meant.
const (
	// SettleTime is for how long a file must stay as it is before it is taken.
	SettleTime = 250 * time.Millisecond
	// MaxSettles is how often it is waited for.
	MaxSettles = 20
)

// Reload is Load for a server that runs, of a file that nobody is writing: it has to keep its size and time for
// SettleTime, must not be empty, and ends with a line break. KindInvalid where it does not; other errors are Load's.
// It takes SettleTime, and MaxSettles times as long at most.
func Reload(ctx context.Context, flags Flags, env func(string) (string, bool)) (*Config, error) {
	if flags.File == "" {
		return Load(flags, env)
	}
	before, err := lookAt(flags.File)
	for range MaxSettles {
		if err := wait(ctx, SettleTime); err != nil {
			return nil, err
		}
		c, wrong := Load(flags, env)
		was := before
		if before, err = lookAt(flags.File); err != nil || before != was {
			continue
		}
		return c, cmp.Or(before.whole(flags.File), wrong)
	}
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the configuration can't be read")
	}
	return nil, invalid("", "Write another file and rename it.", "%s was being written for %s", flags.File, MaxSettles*SettleTime)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// look is what is seen of a file without reading it.
type look struct {
	size  int64 // bytes
	mod   int64 // Unix nanoseconds
	ended bool  // with a line break
}

func lookAt(name string) (look, error) {
	f, err := os.Open(name)
	if err != nil {
		return look{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return look{}, err
	}
	l := look{size: info.Size(), mod: info.ModTime().UnixNano()}
	var last [1]byte
	if l.size > 0 {
		if _, err := f.ReadAt(last[:], l.size-1); err != nil {
			return look{}, err
		}
	}
	l.ended = last[0] == '\n'
	return l, nil
}

// whole refuses what can be told to be no whole file.
func (l look) whole(name string) error {
	const hint = "To change the file, write another one and rename it."
	switch {
	case l.size == 0:
		return invalid("", hint, "%s is empty", name)
	case !l.ended:
		return invalid("", hint+" It ends with a line break.", "%s has no line break at its end: it may be cut off", name)
	}
	return nil
}
