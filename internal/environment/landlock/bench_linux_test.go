//go:build amd64 || arm64

package landlock

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
)

// BenchmarkSupervised is what is asked about for every file: an archive of 2,000 files, whose modes and
// times tar sets, and bare calls of chmod(2).
func BenchmarkSupervised(b *testing.B) {
	p := New(cgroup.Detect())
	b.Cleanup(func() { _ = p.Close(b.Context()) })
	ws := publicDir(b)
	e, err := p.Open(b.Context(), environment.Spec{ID: "env_" + filepath.Base(ws), Workspace: ws, Limits: environment.LimitsOf(environment.SizeSmall)})
	if err != nil {
		b.Fatal(err)
	}
	sh := func(script string) {
		out := ""
		exit, err := e.Exec(b.Context(), environment.Command{Args: []string{"sh", "-c", script}}, func(c environment.Chunk) { out += string(c.Data) })
		if err != nil || exit.Code != 0 {
			b.Fatal(exit, err, out)
		}
	}
	sh(`mkdir many && i=0; while [ $i -lt 2000 ]; do echo $i > many/$i; i=$((i+1)); done; chmod 640 many/*[02468]; tar cf many.tar many`)
	b.Run("unpack", func(b *testing.B) {
		for range b.N {
			sh(`rm -rf to && mkdir to && tar xpf many.tar -C to`)
		}
	})
	b.Run("chmod", func(b *testing.B) {
		for i := range b.N {
			sh(fmt.Sprintf(`chmod 6%d0 many/*`, i%2*4))
		}
	})
}
