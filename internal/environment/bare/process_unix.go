//go:build unix && !linux

package bare

import (
	"context"
	"os"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// A group that is gone already is fine, so the error is of no use.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

func exitCode(s *os.ProcessState) int {
	const signalled = 128
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return signalled + int(status.Signal())
	}
	return s.ExitCode()
}

// sweep can find nothing here that has left its group.
func (b *box) sweep(context.Context) error { return nil }
