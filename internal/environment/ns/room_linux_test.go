package ns

import (
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// TestRoomIsMade: commands whose processes were used up by what others left behind run, and can run
// others; those that somebody waits for live on, unless they are the bomb.
func TestRoomIsMade(t *testing.T) {
	for name, tc := range map[string]struct {
		bomb   string
		spared bool
	}{
		"left behind":  {`i=0; while [ $i -lt 80 ]; do setsid sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done`, true},
		"a fork bomb":  {`setsid bash -c 'while :; do sleep 1000 & done' >/dev/null 2>&1 & sleep 1`, true},
		"in a session": {``, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := openBox(t, open(t), environment.Spec{Limits: environment.Limits{Processes: 64}}).(*box)
			if b.group.Processes() == 0 {
				t.Skip("no control group counts processes here")
			}
			waited := `exec sleep 1000`
			if !tc.spared {
				waited = `exec bash -c 'while :; do sleep 1000 & done' 2>/dev/null` // which tries again when it can't fork
			}
			over := make(chan environment.Exit, 1)
			go func() {
				exit, _ := b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", waited}}, nil)
				over <- exit
			}()
			until(t, "a command runs", b.Busy)
			if tc.bomb == "" {
				until(t, "it has used up all processes", b.scarce)
			} else {
				_, _ = b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", tc.bomb}, Timeout: 5 * time.Second}, nil)
			}
			told := "that no tool knows were killed"
			if !tc.spared {
				told = "all processes of the environment were killed"
			}
			until(t, "room is made", func() bool { // a bomb in a session may leave a process or two for a moment
				var out strings.Builder
				exit, err := b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "(echo alive) | cat"}}, func(c environment.Chunk) { out.Write(c.Data) })
				if err != nil {
					t.Fatal(err)
				}
				if tc.spared && exit.Code != 0 {
					t.Errorf("%+v: %q", exit, out.String())
				}
				return exit.Code == 0 && strings.Contains(out.String(), told) && strings.HasSuffix(out.String(), "alive\n")
			})
			select {
			case exit := <-over:
				if tc.spared || exit.Reason != environment.ReasonProcesses {
					t.Errorf("the command that somebody waits for ended with %+v", exit)
				}
			case <-time.After(200 * time.Millisecond):
				if !tc.spared {
					t.Error("the bomb lives")
				}
			}
		})
	}
}
