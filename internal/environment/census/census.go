//go:build unix

// Package census tells the processes of a sandbox from each other for its first process: whose command each
// belongs to, and how all of somebody's are killed while they fork.
//
// Shape: Process{PID, Parent, Session} of each that lives, and a map from a command's number to its processes' ids;
// Rest, which is 0, has those of no command that runs. Each command is the first process of a session of its own.
//
// Units and limits: ids are those that the caller's /proc shows. Kill looks up to maxRounds times.
//
// Errors: none. Who ends while he is looked at is not there.
//
// Concurrency: while Kill runs the caller reaps nobody. An id that was found is then still its process's own, and
// the dead of a fork bomb keep their places below the limit of processes until no living one can fork.
//
// Source: proc(5), /proc/PID/stat.
package census

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// Rest is the number of no command: of what earlier ones left behind.
const Rest = 0

// maxRounds bounds how often it is looked for processes that were born while others were killed. The
// limit of processes is what ends a fork bomb before that.
const maxRounds = 1000

// Process is one that lives.
type Process struct{ PID, Parent, Session int }

// Kill kills what find finds, until it finds nothing. It returns how many that were, or more.
func Kill(find func() []int) (killed int) {
	for range maxRounds {
		found := find()
		if len(found) == 0 {
			break
		}
		for _, pid := range found {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		killed += len(found)
	}
	return killed
}

// ByCommand tells which processes each command has: those of its session, and those whose parents lead
// there. running are the commands' numbers by their sessions, none of them Rest.
func ByCommand(all []Process, running map[int]uint32) map[uint32][]int {
	known := map[int]Process{}
	for _, p := range all {
		known[p.PID] = p
	}
	of := map[uint32][]int{}
	for _, p := range all {
		at, ok := p, true
		for range len(all) { // no parent is a descendant, except while they change
			if running[at.Session] != Rest || !ok {
				break
			}
			at, ok = known[at.Parent]
		}
		number := running[at.Session]
		of[number] = append(of[number], p.PID)
	}
	return of
}

// Living lists those that live, without the first one.
func Living() []Process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var found []Process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid <= 1 {
			continue
		}
		data, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		if p, alive := parse(data); alive {
			p.PID = pid
			found = append(found, p)
		}
	}
	return found
}

// parse reads PID (NAME) STATE PPID PGRP SESSION …: the name may hold anything, parentheses too.
func parse(data []byte) (p Process, alive bool) {
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) <= 3 || bytes.Equal(fields[0], []byte("Z")) || bytes.Equal(fields[0], []byte("X")) {
		return p, false
	}
	var err1, err2 error
	p.Parent, err1 = strconv.Atoi(string(fields[1]))
	p.Session, err2 = strconv.Atoi(string(fields[3]))
	return p, err1 == nil && err2 == nil
}
