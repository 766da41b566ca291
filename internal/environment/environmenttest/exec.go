package environmenttest

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

func testExec(t *testing.T, r *rig) {
	t.Setenv("STEAD_SUITE_SECRET", "of the server")
	b := r.open(t)
	r.run(t, "an exit code is passed on", func(t *testing.T) {
		for script, want := range map[string]int{"exit 0": 0, "exit 1": 1, "exit 7": 7, "exit 255": 255} {
			if res := b.args(t, "sh", "-c", script); res.Code != want || res.Reason != "" {
				t.Errorf("%s: %v", script, res)
			}
		}
	})
	r.run(t, "a signal n is 128 and n", func(t *testing.T) {
		for name, want := range map[string]int{"KILL": 137, "TERM": 143, "SEGV": 139} {
			if res := b.args(t, "sh", "-c", "kill -"+name+" $$"); res.Code != want || res.Reason != "" {
				t.Errorf("SIG%s: %v, want %d", name, res, want)
			}
		}
	})
	r.run(t, "a command that can't run was not started", func(t *testing.T) { testNotStarted(t, b) })
	r.run(t, "an ended environment starts nothing", func(t *testing.T) {
		b := r.open(t)
		b.close(t)
		_, err := b.try(environment.Command{Args: []string{"true"}})
		notStarted(t, "after Close", err, stead.KindUnavailable)
	})
	r.run(t, "a call that has ended starts nothing", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		res, err := b.tryContext(ctx, environment.Command{Args: []string{"touch", "ran"}})
		if err == nil && res.Reason != environment.ReasonCancelled {
			t.Errorf("%v, want a NotStartedError or the reason cancelled", res)
		}
	})
	r.run(t, "arguments arrive as they are", func(t *testing.T) { testArguments(t, b) })
	r.run(t, "the longest arguments arrive", func(t *testing.T) {
		long := strings.Repeat("x", environment.MaxArgBytes-2048)
		if res := b.args(t, "sh", "-c", `printf %s "$1" | wc -c`, "sh", long); strings.TrimSpace(res.out) != "129024" {
			t.Errorf("%d bytes: %v", len(long), res)
		}
	})
	r.run(t, "standard input", func(t *testing.T) { testStdin(t, b) })
	r.run(t, "variables", func(t *testing.T) { testVariables(t, b) })
	r.run(t, "directories", func(t *testing.T) {
		if got := strings.TrimSpace(b.sh(t, "pwd")); got != b.workspace() {
			t.Errorf("a command without a directory runs in %q, want %q", got, b.workspace())
		}
		b.sh(t, "mkdir -p 'a dir/ü'")
		res := b.command(t, environment.Command{Args: []string{"pwd"}, Dir: environment.WorkspaceDir + "/a dir/ü"})
		if want := b.workspace() + "/a dir/ü\n"; res.out != want {
			t.Errorf("Dir: %v, want %q", res, want)
		}
		if res := b.command(t, environment.Command{Args: []string{"pwd"}, Dir: "/tmp"}); res.Code != 0 {
			t.Errorf("Dir /tmp: %v", res)
		}
	})
	r.run(t, "a program is found in PATH and by its path", func(t *testing.T) {
		script := []byte("#!/bin/sh\necho mine \"$@\"\n")
		if err := b.WriteFile(t.Context(), "tools/mine", script, true); err != nil {
			t.Fatal(err)
		}
		for _, c := range []environment.Command{
			{Args: []string{"mine", "x"}, Env: map[string]string{"PATH": b.workspace() + "/tools:/usr/bin:/bin"}},
			{Args: []string{"./tools/mine", "x"}},
			{Args: []string{b.workspace() + "/tools/mine", "x"}},
			{Args: []string{"./mine", "x"}, Dir: environment.WorkspaceDir + "/tools"},
		} {
			if res := b.command(t, c); res.out != "mine x\n" {
				t.Errorf("%q: %v", c.Args, res)
			}
		}
	})
	r.run(t, "no shell looks at the arguments", func(t *testing.T) {
		if res := b.args(t, "echo", "$HOME", ";", "exit", "3", "*"); res.out != "$HOME ; exit 3 *\n" || res.Code != 0 {
			t.Errorf("%v", res)
		}
	})
	r.run(t, "time is measured", func(t *testing.T) {
		if res := b.args(t, "sleep", "0.05"); res.Duration < 50e6 || res.Duration > r.wait() {
			t.Errorf("a command that slept 50 ms took %v", res.Duration)
		}
	})
}

// testNotStarted holds the border between "it failed" and "it did not run": a program that is not
// there ran for no moment, so that its caller may say so without doubt.
func testNotStarted(t *testing.T, b *box) {
	b.write(t, "plain", "no program")
	long := strings.Repeat("x", environment.MaxArgBytes)
	bad := []stead.Kind{stead.KindInvalid, stead.KindNotFound}
	for _, c := range []struct {
		name  string
		c     environment.Command
		kinds []stead.Kind
	}{
		{"a program that is nowhere in PATH", environment.Command{Args: []string{"stead-no-such-program"}}, bad},
		{"a path where nothing is", environment.Command{Args: []string{"./nothing"}}, bad},
		{"a file that is no program", environment.Command{Args: []string{"./plain"}}, bad},
		{"a directory as program", environment.Command{Args: []string{"/"}}, bad},
		{"a directory that is not there", environment.Command{Args: []string{"true"}, Dir: environment.WorkspaceDir + "/nowhere"}, bad},
		{"a file as directory", environment.Command{Args: []string{"true"}, Dir: environment.WorkspaceDir + "/plain"}, bad},
		{"a relative directory", environment.Command{Args: []string{"true"}, Dir: "tools"}, bad[:1]},
		{"no arguments", environment.Command{}, bad[:1]},
		{"an empty name", environment.Command{Args: []string{""}}, bad[:1]},
		{"a zero byte", environment.Command{Args: []string{"echo", "a\x00b"}}, bad[:1]},
		{"a variable that is none", environment.Command{Args: []string{"true"}, Env: map[string]string{"A=B": "c"}}, bad[:1]},
		{"arguments above MaxArgBytes", environment.Command{Args: []string{"echo", long}}, []stead.Kind{stead.KindTooLarge}},
		{"variables above MaxArgBytes", environment.Command{Args: []string{"true"}, Env: map[string]string{"A": long}}, []stead.Kind{stead.KindTooLarge}},
	} {
		_, err := b.try(c.c)
		notStarted(t, c.name, err, c.kinds...)
	}
}

func testArguments(t *testing.T, b *box) {
	args := []string{"", " ", "two words", "line\nbreak", "tab\t", `"quoted" 'twice'`, "$(id)", "`id`", "ü€😀", "-n", "--", "\\", "*", "not UTF-8: \xff\xfe"}
	res := b.args(t, append([]string{"sh", "-c", `for a; do printf '%s|' "$a"; done`, "sh"}, args...)...)
	if want := strings.Join(args, "|") + "|"; res.out != want {
		t.Errorf("got  %q\nwant %q", res.out, want)
	}
}

func testStdin(t *testing.T, b *box) {
	big := strings.Repeat("0123456789abcdef", 32<<10) // 512 KiB: more than a pipe holds
	for name, in := range map[string]string{"a line": "hello\n", "nothing": "", "every byte": everyByte(), "more than a pipe holds": big} {
		if res := b.command(t, environment.Command{Args: []string{"cat"}, Stdin: strings.NewReader(in)}); res.out != in || res.Code != 0 {
			t.Errorf("%s: exit %d, %d bytes came back of %d", name, res.Code, len(res.out), len(in))
		}
	}
	if res := b.args(t, "cat"); res.out != "" || res.Code != 0 {
		t.Errorf("no input: %v", res)
	}
	if res := b.command(t, environment.Command{Args: []string{"true"}, Stdin: strings.NewReader(big)}); res.Code != 0 {
		t.Errorf("a command that does not read its input: %v", res)
	}
	in := &stuck{closed: make(chan struct{})}
	if res := b.command(t, environment.Command{Args: []string{"true"}, Stdin: in}); res.Code != 0 {
		t.Errorf("a reader that blocks: %v", res)
	}
	select {
	case <-in.closed:
	case <-t.Context().Done():
	default:
		b.rig.until(t, "an input that blocks is closed when the command ends", func() bool {
			select {
			case <-in.closed:
				return true
			default:
				return false
			}
		})
	}
}

// stuck is a reader that gives nothing until it is closed.
type stuck struct{ closed chan struct{} }

func (s *stuck) Read([]byte) (int, error) {
	<-s.closed
	return 0, io.ErrClosedPipe
}

func (s *stuck) Close() error {
	close(s.closed)
	return nil
}

func everyByte() string {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return string(all)
}

func testVariables(t *testing.T, b *box) {
	res := b.command(t, environment.Command{
		Args: []string{"env", "-0"},
		Env:  map[string]string{"MINE": "two\nlines", "EMPTY": "", "UMLAUT": "ü"},
	})
	got := strings.Split(strings.TrimSuffix(res.out, "\x00"), "\x00")
	for _, want := range []string{"MINE=two\nlines", "EMPTY=", "UMLAUT=ü", "FROM_SPEC=spec"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	if strings.Contains(res.out, "STEAD_SUITE_SECRET") {
		t.Errorf("a variable of the server is seen inside: %q", got)
	}
	if out := b.command(t, environment.Command{Args: []string{"sh", "-c", "echo $FROM_SPEC"}, Env: map[string]string{"FROM_SPEC": "command"}}).out; out != "command\n" {
		t.Errorf("the command's variable does not win over the environment's: %q", out)
	}
	b.sh(t, `test -n "$PATH" && test -d "$HOME" && touch "$HOME/.written"`)
}
