//go:build !unix

package mcp

import "os/exec"

// Process groups are not used here: children of a server may outlive it.
func ownGroup(*exec.Cmd)           {}
func terminateGroup(cmd *exec.Cmd) { killGroup(cmd) }
func killGroup(cmd *exec.Cmd)      { _ = cmd.Process.Kill() }
