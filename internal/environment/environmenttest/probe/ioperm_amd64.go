//go:build linux

package main

import "golang.org/x/sys/unix"

func ioperm() error { return unix.Ioperm(0x80, 1, 1) }
