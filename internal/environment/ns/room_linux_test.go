package ns

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// TestRoomIsMade: commands whose processes were used up by others run, and can run others; those that
// somebody waits for, or that a tool has in the background, live on, unless they are the bomb. All bombs
// go off in a box with a limit of processes, which is looked at first.
func TestRoomIsMade(t *testing.T) {
	for name, tc := range map[string]struct {
		behind string // what a command leaves behind
		bomb   string // what somebody waits for, beside a command that does no harm
		told   string // "": who was killed depends on the moment
		lives  bool   // the bomb may: nothing leads from its processes to it
	}{
		"left behind":                 {behind: `i=0; while [ $i -lt 80 ]; do setsid sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done`, told: "that no tool knows, were killed"},
		"a fork bomb":                 {behind: `setsid bash -c 'while :; do sleep 1000 & done' >/dev/null 2>&1 & sleep 1`, told: "that no tool knows, were killed"},
		"a fork bomb that is known":   {bomb: `while :; do sleep 1000 & done 2>/dev/null`, told: `of the command that had most of them, "while :; do sleep`},
		"the fork bomb":               {bomb: `b() { b | b & b; }; while :; do (b) 2>/dev/null; done`, told: `of the command that had most of them, "b() { b | b`},
		"one that ends at its limit":  {bomb: `sh -c 'b() { b | b & b; }; while :; do (b) 2>/dev/null; done'`, told: "", lives: true},
		"one whose children leave":    {bomb: `while :; do setsid sleep 1000 & done 2>/dev/null`, told: `of the command that had most of them, "while :; do setsid`},
		"one whose children are lost": {bomb: `while :; do (setsid sleep 1000 &) ; done 2>/dev/null`, told: "that no tool knows, were killed", lives: true},
		"one process that is full":    {bomb: `i=0; while [ $i -lt 62 ]; do sleep 1000 & i=$((i+1)); done; wait`, told: `of the command that had most of them, "i=0; while`},
	} {
		t.Run(name, func(t *testing.T) {
			b := openBox(t, open(t), environment.Spec{Limits: environment.Limits{Processes: 64}}).(*box)
			if b.group.Processes() == 0 {
				if os.Getenv("CI") != "" {
					t.Fatal("CI needs a control group that limits processes: bombs go off here")
				}
				t.Skip("no control group limits processes here, and bombs go off nowhere else")
			}
			over := func(script string) chan environment.Exit {
				c := make(chan environment.Exit, 1)
				go func() {
					exit, _ := b.Exec(t.Context(), environment.Command{Args: []string{"bash", "-c", script}}, nil)
					c <- exit
				}()
				return c
			}
			harmless := over("exec sleep 1000")
			until(t, "a command runs", func() bool { return b.Children() > 0 })
			var bomb chan environment.Exit
			if tc.bomb != "" {
				bomb = over(tc.bomb)
			} else {
				_, _ = b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", tc.behind}, Timeout: 5 * time.Second}, nil)
			}
			until(t, "processes are used up", func() bool { n, _ := b.free(); return n < environment.RoomProcesses })
			var out strings.Builder
			begin := time.Now()
			next := func() bool {
				out.Reset()
				exit, err := b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "(echo alive) | cat; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.01; /bin/true || exit 7; done"}}, func(c environment.Chunk) { out.Write(c.Data) })
				return err == nil && exit.Code == 0 && strings.Contains(out.String(), tc.told) && strings.HasSuffix(out.String(), "alive\n")
			}
			if tc.told == "" {
				until(t, "a command runs", next) // such a bomb is not seen while it has collapsed
			} else if !next() {
				t.Errorf("%q", out.String())
			}
			t.Logf("%v: %q", time.Since(begin), out.String())
			if bomb != nil && !tc.lives {
				select {
				case exit := <-bomb:
					if exit.Reason != environment.ReasonProcesses {
						t.Errorf("the bomb ended with %+v", exit)
					}
				case <-time.After(10 * time.Second):
					t.Error("the bomb lives")
				}
			}
			select {
			case exit := <-harmless:
				if tc.told != "" || exit.Reason != environment.ReasonProcesses {
					t.Errorf("the command that does no harm ended with %+v", exit)
				}
			default:
			}
		})
	}
}
