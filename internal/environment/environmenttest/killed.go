package environmenttest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
)

// killedDir is the variable by which the test's other process knows that it is the server to be
// killed, and where it works.
const killedDir = "STEAD_TEST_KILLED_DIR"

// Killed checks that the death of a server leaves no process behind. A second process of the test's
// own program, which runs the test that calls this, opens environments with daemons in them; it is
// killed by a signal that nobody can handle.
func Killed(t *testing.T, open func(t *testing.T) environment.Provider, opts Options) {
	if dir := os.Getenv(killedDir); dir != "" {
		serveUntilKilled(t, open(t), opts, dir)
		return
	}
	r := &rig{base: t.Name(), opts: opts}
	dir := publicDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*r.wait())
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=5m")
	c.Env = append(os.Environ(), killedDir+"="+dir)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var boxes []*box
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if id, ok := strings.CutPrefix(lines.Text(), "opened "); ok {
			boxes = append(boxes, &box{t: t, rig: r, spec: environment.Spec{ID: id, Workspace: filepath.Join(dir, id)}})
		}
		if lines.Text() == "ready" {
			break
		}
	}
	alive := 0
	for _, b := range boxes {
		alive += len(b.processes())
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // killed
	if len(boxes) == 0 || size(boxes[0], "beat1") == 0 {
		t.Fatalf("the server did not get so far: %q", said)
	}
	t.Logf("%d processes of %d environments were seen on the host", alive, len(boxes))
	for _, b := range boxes {
		b.gone(t)
	}
}

// serveUntilKilled opens two environments with daemons, says so, and waits for its end.
func serveUntilKilled(t *testing.T, p environment.Provider, opts Options, dir string) {
	r := &rig{base: t.Name(), provider: p, opts: opts}
	for i := range 2 {
		id := fmt.Sprintf("env_%s_%d", strings.TrimPrefix(filepath.Base(dir), "stead-test-"), i)
		s := environment.Spec{ID: id, Workspace: filepath.Join(dir, id), Root: opts.Root, Limits: environment.LimitsOf(environment.SizeSmall)}
		if err := os.Mkdir(s.Workspace, 0o755); err != nil {
			t.Fatal(err)
		}
		b := r.openSpec(t, s)
		b.daemons(t)
		go func() { _, _ = b.Exec(context.Background(), environment.Command{Args: []string{"sleep", "1000"}}, nil) }()
		fmt.Println("opened " + id)
	}
	fmt.Println("ready")
	<-t.Context().Done() // which is not to come
}
