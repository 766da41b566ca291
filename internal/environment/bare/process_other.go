//go:build !unix

package bare

import (
	"context"
	"os"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return nil }

// Process groups are not used here: only the first process of a command is ended.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

func exitCode(s *os.ProcessState) int { return s.ExitCode() }

func (b *box) sweep(context.Context) error { return nil }
