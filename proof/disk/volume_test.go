package disk

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Sizes of small file systems, in MiB: room for a database, and quick to fill. A ballast is a part of them, and
// where a program fights for every byte it has to last for a while.
const (
	smallMiB  = 48
	volumeMiB = 160
)

// volume is a small file system that only its own mount namespace sees. A process that only waits
// holds the namespace; others join it.
type volume struct {
	holder *exec.Cmd
	mount  string // inside the namespace
	mib    int
}

// newVolume mounts a small file system, or skips the test where that is not allowed.
func newVolume(t *testing.T, mib int) *volume { return newVolumeOfFiles(t, mib, 0) }

// newVolumeOfFiles is newVolume of a file system with so many inodes; 0: as many as it has by itself.
func newVolumeOfFiles(t *testing.T, mib, inodes int) *volume {
	made, mounted := "", ""
	if inodes > 0 {
		made, mounted = fmt.Sprintf("-N %d", inodes), fmt.Sprintf(",nr_inodes=%d", inodes)
	}
	dir := t.TempDir()
	mount := filepath.Join(dir, "mount")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, int64(mib)<<20); err != nil {
		t.Fatal(err)
	}
	// ext4 where it can be made and mounted, for its real fsync and its real ENOSPC; else tmpfs.
	script := fmt.Sprintf(`{ mkfs.ext4 -q -F -m 0 %[4]s %[1]s && mount -o loop %[1]s %[2]s; } 2>/dev/null ||
mount -t tmpfs -o size=%[3]dm%[5]s none %[2]s || exit 1
stat -f -c %%T %[2]s; exec cat`, image, mount, mib, made, mounted)
	args := []string{"-m", "--propagation", "private", "sh", "-c", script}
	if os.Getuid() != 0 {
		args = append([]string{"-r"}, args...)
	}
	holder := exec.Command("unshare", args...)
	holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	holder.Stderr = os.Stderr
	if _, err := holder.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err == nil {
		err = holder.Start()
	}
	kind := ""
	if err == nil {
		kind, err = bufio.NewReader(out).ReadString('\n')
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("a small file system can't be mounted here: %v", err)
		}
		t.Skipf("a small file system can't be mounted here: %v", err)
	}
	t.Logf("the data directory is on %d MiB of %s", mib, strings.TrimSpace(kind))
	t.Cleanup(func() { _ = holder.Process.Kill(); _ = holder.Wait() })
	return &volume{holder, mount, mib}
}

// enter is the command that runs another inside the namespace.
func (v *volume) enter() []string {
	args := []string{"nsenter", "-t", strconv.Itoa(v.holder.Process.Pid), "-m"}
	if os.Getuid() != 0 {
		args = append(args, "-U", "--preserve-credentials")
	}
	return append(args, "--")
}

// path is a file of the volume as this process reaches it.
func (v *volume) path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(v.holder.Process.Pid), "root", v.mount, name)
}

// fill writes until there is no space left, to the last block.
func (v *volume) fill() error {
	f, err := os.OpenFile(v.path("filler"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	// Some file systems give the last blocks only when they are written out.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return nil
}

// free gives the space back.
func (v *volume) free() error { return os.Remove(v.path("filler")) }
