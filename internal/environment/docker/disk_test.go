//go:build linux

package docker

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
)

// small mounts a file system of that size over a directory.
func small(t *testing.T, dir, options string) {
	t.Helper()
	switch {
	case os.Getuid() == 0:
	case os.Getenv("CI") != "":
		t.Fatal("only root can mount a small disk, and CI has it for the drivers")
	default:
		t.Skip("only root can mount a small disk")
	}
	if err := unix.Mount("small", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// TestTheNodesDiskRunsOut: what takes what the server needs of the disk that workspaces are on is stopped, and told why.
func TestTheNodesDiskRunsOut(t *testing.T) {
	for _, tc := range []struct {
		of, options, command string
		want                 environment.Reason
	}{
		{"bytes", "size=64m", "i=0; while [ $i -lt 70 ]; do head -c 1000000 /dev/zero > $DISK/f$i; i=$((i+1)); sleep 0.02; done; sleep 30", environment.ReasonNodeDisk},
		{"inodes", "size=64m,nr_inodes=20000", "i=0; while [ $i -lt 196 ]; do mkdir $DISK/$i; (cd $DISK/$i; seq 100 | xargs touch); i=$((i+1)); done; sleep 30", environment.ReasonNodeFiles},
	} {
		t.Run(tc.of, func(t *testing.T) {
			e := openFake(t, newFake(t), func(s *environment.Spec) {
				small(t, s.Workspace, tc.options)
				s.Env["DISK"] = s.Workspace
			})
			run := func(command string) environment.Exit {
				exit, err := e.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", command}, Dir: "/"}, func(environment.Chunk) {})
				if err != nil {
					t.Fatal(err)
				}
				return exit
			}
			if exit := run(tc.command); exit.Reason != tc.want {
				t.Errorf("the command ended with %+v", exit)
			}
			if exit := run("rm -r $DISK/*"); exit.Code != 0 { // who makes room is not killed
				t.Errorf("what makes room ended with %+v", exit)
			}
		})
	}
}
