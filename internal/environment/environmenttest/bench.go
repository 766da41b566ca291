package environmenttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// programs are what is started in every benchmark, and what has to come out.
func programs() map[string]environment.Command {
	return map[string]environment.Command{
		"echo":    {Args: []string{"/bin/echo", "hello"}},
		"python3": {Args: []string{"/usr/bin/python3", "-c", "print('hello')"}},
	}
}

// Benchmark measures a driver: from Open to the first output and Close ("cold"), a command in an
// environment that is there ("warm"), and many environments at once. Baselines has what to hold it
// against, to be measured in the same run.
func Benchmark(b *testing.B, open func(b *testing.B) environment.Provider, opts Options) {
	p := open(b)
	b.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	base := benchDir(b)
	n := 0
	start := func(b *testing.B) environment.Environment {
		n++
		return openBench(b, p, opts, base, n)
	}
	for name, c := range programs() {
		b.Run("cold/"+name, func(b *testing.B) {
			for b.Loop() {
				e := start(b)
				hello(b, e, c)
				b.StopTimer() // the end is not waited for by anybody
				if err := e.Close(context.Background()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
		b.Run("warm/"+name, func(b *testing.B) {
			e := start(b)
			for b.Loop() {
				hello(b, e, c)
			}
			if err := e.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.Run("hundred", func(b *testing.B) { // start, echo and close of each
		for b.Loop() {
			var all sync.WaitGroup
			for range 100 {
				n++
				i := n
				all.Go(func() {
					e := openBench(b, p, opts, base, i)
					if e == nil {
						return
					}
					hello(b, e, programs()["echo"])
					if err := e.Close(context.Background()); err != nil {
						b.Error(err)
					}
				})
			}
			all.Wait()
		}
	})
}

func openBench(b *testing.B, p environment.Provider, opts Options, base string, n int) environment.Environment {
	ws := filepath.Join(base, fmt.Sprint(n))
	if err := os.Mkdir(ws, 0o755); err != nil {
		b.Error(err)
		return nil
	}
	e, err := p.Open(context.Background(), environment.Spec{
		ID: fmt.Sprintf("env_%s_%d", filepath.Base(base), n), Workspace: ws, Root: opts.Root, Limits: environment.LimitsOf(environment.SizeSmall),
	})
	if err != nil {
		b.Error(err)
		return nil
	}
	return e
}

func hello(b *testing.B, e environment.Environment, c environment.Command) {
	var out bytes.Buffer
	exit, err := e.Exec(context.Background(), c, func(c environment.Chunk) { out.Write(c.Data) })
	if err != nil || exit.Code != 0 || out.String() != "hello\n" {
		b.Errorf("%q: %+v, %q, %v", c.Args, exit, out.String(), err)
	}
}

func benchDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "stead-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	return dir
}

// Baselines measures the same programs without a driver of ours: as bare processes, with bubblewrap,
// and with runc, each with the host's /usr and namespaces like those of the driver ns.
func Baselines(b *testing.B) {
	dir := benchDir(b)
	for name, c := range programs() {
		b.Run("bare/"+name, func(b *testing.B) { baseline(b, c.Args) })
		b.Run("bwrap/"+name, func(b *testing.B) {
			need(b, "bwrap")
			baseline(b, append(bubblewrap(dir), c.Args...))
		})
		b.Run("runc/"+name, func(b *testing.B) {
			need(b, "runc")
			if os.Getuid() != 0 {
				b.Skip("runc is measured as root")
			}
			bundle, err := ociBundle(filepath.Join(dir, "bundle-"+name), c.Args)
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				n++
				baselineOnce(b, []string{"runc", "run", "--bundle", bundle, fmt.Sprintf("%s-%s-%d", filepath.Base(dir), name, n)})
			}
		})
	}
}

// need skips a benchmark whose program is not there.
func need(b *testing.B, program string) {
	if _, err := exec.LookPath(program); err != nil {
		b.Skipf("%s is not installed: tools/deps.sh does that", program)
	}
}

func baseline(b *testing.B, args []string) {
	for b.Loop() {
		baselineOnce(b, args)
	}
}

func baselineOnce(b *testing.B, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if out, err := c.CombinedOutput(); err != nil || string(out) != "hello\n" {
		b.Fatalf("%q: %q, %v", args, out, err)
	}
}

// bubblewrap is a command line with the root that the driver ns makes.
func bubblewrap(workspace string) []string {
	args := []string{"bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--bind", workspace, "/workspace", "--chdir", "/workspace"}
	for _, name := range []string{"bin", "lib", "lib64"} {
		if to, err := os.Readlink("/" + name); err == nil {
			args = append(args, "--symlink", to, "/"+name)
		}
	}
	return args
}

// ociBundle makes a bundle of runc for one command, from runc's own example of one.
func ociBundle(dir string, args []string) (string, error) {
	root := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(filepath.Join(root, "usr"), 0o755); err != nil {
		return "", err
	}
	for _, name := range []string{"bin", "lib", "lib64"} {
		if to, err := os.Readlink("/" + name); err == nil {
			if err := os.Symlink(to, filepath.Join(root, name)); err != nil && !errors.Is(err, os.ErrExist) {
				return "", err
			}
		}
	}
	if err := os.Remove(filepath.Join(dir, "config.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if out, err := exec.Command("runc", "spec", "--bundle", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("runc spec: %w: %s", err, strings.TrimSpace(string(out)))
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return "", err
	}
	var config struct {
		Version string           `json:"ociVersion"`
		Process map[string]any   `json:"process"`
		Root    map[string]any   `json:"root"`
		Host    string           `json:"hostname"`
		Mounts  []map[string]any `json:"mounts"`
		Linux   map[string]any   `json:"linux"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return "", err
	}
	config.Process["args"], config.Process["terminal"] = args, false
	config.Mounts = append(config.Mounts, map[string]any{"destination": "/usr", "type": "none", "source": "/usr", "options": []string{"rbind", "ro"}})
	if data, err = json.Marshal(config); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
}
