package environment_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// printed runs writes through an Output and returns what came out, with a letter at each change of stream.
func printed(limit int64, write func(*environment.Output)) string {
	var b strings.Builder
	var last environment.Stream
	o := environment.NewOutput(limit, func(c environment.Chunk) {
		if c.Stream != last {
			fmt.Fprintf(&b, "<%d>", c.Stream)
			last = c.Stream
		}
		b.Write(c.Data)
	})
	write(o)
	o.Close()
	return b.String()
}

func TestOutputKeepsHeadAndTail(t *testing.T) {
	for _, c := range []struct {
		name, want string
		write      func(*environment.Output)
	}{
		{"nothing", "", func(*environment.Output) {}},
		{"all of it within the limit", "<1>01234567", func(o *environment.Output) {
			for i := range 8 {
				o.Write(environment.Stdout, fmt.Append(nil, i))
			}
		}},
		{"one byte too many", "<1>0123\n[1 bytes of output were cut here]\n5678", func(o *environment.Output) {
			o.Write(environment.Stdout, []byte("012345678"))
		}},
		{"both streams in their order", "<1>ab<2>cd<1>ef<2>gh", func(o *environment.Output) {
			for i, s := range []string{"ab", "cd", "ef", "gh"} {
				o.Write(environment.Stream(1+i%2), []byte(s))
			}
		}},
		{"a cut in the middle of a run", "<1>abcd<2>\n[3 bytes of output were cut here]\nh<1>xyz", func(o *environment.Output) {
			o.Write(environment.Stdout, []byte("abcd"))
			o.Write(environment.Stderr, []byte("efgh"))
			o.Write(environment.Stdout, []byte("xyz"))
		}},
		{"what comes after Close", "<1>a", func(o *environment.Output) {
			o.Write(environment.Stdout, []byte("a"))
			o.Close()
			o.Write(environment.Stdout, []byte("b"))
		}},
	} {
		if got := printed(8, c.write); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestOutputWithoutLimit(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	got := printed(environment.Unbounded, func(o *environment.Output) {
		for range 4 {
			o.Write(environment.Stdout, []byte(long))
		}
	})
	if len(got) != len("<1>")+4*len(long) {
		t.Errorf("%d bytes came out", len(got))
	}
}

// TestOutputAgainstModel compares it with the plain way: keep everything, cut at the end.
func TestOutputAgainstModel(t *testing.T) {
	const limit = 64
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var all []environment.Chunk
		got := printed(limit, func(o *environment.Output) {
			for range r.IntN(30) {
				p := []byte(strings.Repeat("x", r.IntN(r.IntN(100)+1)))
				for i := range p {
					p[i] = byte('a' + r.IntN(26))
				}
				s := environment.Stream(1 + r.IntN(2))
				o.Write(s, p)
				for _, b := range p {
					all = append(all, environment.Chunk{Stream: s, Data: []byte{b}})
				}
			}
		})
		if want := model(all, limit/2); got != want {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

func model(all []environment.Chunk, half int) string {
	return printed(1<<20, func(o *environment.Output) {
		for i, c := range all {
			if over := len(all) - 2*half; over > 0 && i == half {
				o.Write(all[half+over].Stream, fmt.Appendf(nil, "\n[%d bytes of output were cut here]\n", over))
			}
			if i < half || i >= len(all)-half {
				o.Write(c.Stream, c.Data)
			}
		}
	})
}

func TestCommandIsChecked(t *testing.T) {
	long := strings.Repeat("x", environment.MaxArgBytes)
	for _, c := range []struct {
		name string
		c    environment.Command
		kind stead.Kind
	}{
		{"plain", environment.Command{Args: []string{"true"}, Dir: "/tmp", Env: map[string]string{"A": "b=c"}}, ""},
		{"no program", environment.Command{}, stead.KindInvalid},
		{"zero byte", environment.Command{Args: []string{"echo", "a\x00b"}}, stead.KindInvalid},
		{"relative directory", environment.Command{Args: []string{"true"}, Dir: "tmp"}, stead.KindInvalid},
		{"variable without a name", environment.Command{Args: []string{"true"}, Env: map[string]string{"": "b"}}, stead.KindInvalid},
		{"variable with a sign in its name", environment.Command{Args: []string{"true"}, Env: map[string]string{"A=B": "b"}}, stead.KindInvalid},
		{"variable with a zero byte", environment.Command{Args: []string{"true"}, Env: map[string]string{"A": "\x00"}}, stead.KindInvalid},
		{"too long", environment.Command{Args: []string{"echo", long}}, stead.KindTooLarge},
		{"too long a timeout", environment.Command{Args: []string{"true"}, Timeout: environment.MaxCommandTime + 1}, stead.KindTooLarge},
		{"negative timeout", environment.Command{Args: []string{"true"}, Timeout: -1}, stead.KindInvalid},
	} {
		if err := c.c.Check(map[string]string{"PATH": "/usr/bin"}); stead.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want kind %q", c.name, err, c.kind)
		}
	}
	if err := (environment.Command{Args: []string{"true"}}).Check(map[string]string{"A": long}); stead.KindOf(err) != stead.KindTooLarge {
		t.Errorf("the variables of the Spec count: %v", err)
	}
}
