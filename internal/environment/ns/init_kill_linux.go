package ns

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxKillRounds bounds how often it is looked for processes that were born while others were killed. The
// limit of processes is what ends a fork bomb before that.
const maxKillRounds = 1000

// All of this is done while nobody is reaped, see serve: a number found is still its process's own, and
// the dead of a fork bomb keep their places until no living one can fork.

// killSession kills the processes of a session: the command's, its children's, whoever did not leave
// for a session of his own.
func killSession(session int) {
	_ = unix.Kill(-session, unix.SIGKILL) // the first group at once
	killWhile(func() (found []int) {
		for _, p := range processes() {
			if p.session == session {
				found = append(found, p.pid)
			}
		}
		return found
	})
}

// killWhile kills what find finds, until it finds nothing. It returns how many that were, or more.
func killWhile(find func() []int) (killed int) {
	for range maxKillRounds {
		found := find()
		if len(found) == 0 {
			break
		}
		for _, pid := range found {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		killed += len(found)
	}
	return killed
}

// sweep kills what a request names, and is the answer to it. running are the commands by their sessions.
func sweep(q request, running map[int]uint32) reply {
	r := reply{Swept: true}
	if q.Sweep == sweepMost {
		if r.Of = greediest(byCommand(processes(), running), q.Least); r.Of != 0 {
			r.Killed = killWhile(func() []int { return byCommand(processes(), running)[r.Of] })
		}
	}
	// Who left his command's session is the rest as soon as the parents that lead to it have died.
	r.Killed += killWhile(func() []int { return byCommand(processes(), running)[0] })
	return r
}

// byCommand tells which processes each command has: those of its session, and those whose parents lead
// there. Under 0 is the rest: what earlier commands left behind.
func byCommand(all []process, running map[int]uint32) map[uint32][]int {
	known := map[int]process{}
	for _, p := range all {
		known[p.pid] = p
	}
	of := map[uint32][]int{}
	for _, p := range all {
		at, ok := p, true
		for range len(all) { // no parent is a descendant, except while they change
			if running[at.session] != 0 || !ok {
				break
			}
			at, ok = known[at.parent]
		}
		number := running[at.session]
		of[number] = append(of[number], p.pid)
	}
	return of
}

// greediest is the command with the most processes, of two the later one; 0: none has the least that is
// asked for, or as many as the rest, to which a bomb's belong when the command that threw it has just ended.
func greediest(of map[uint32][]int, least int) (number uint32) {
	for n, its := range of {
		if has := len(of[number]); len(its) > has || len(its) == has && n > number {
			number = n
		}
	}
	if len(of[number]) < least {
		return 0
	}
	return number
}

// process is one that lives.
type process struct{ pid, parent, session int }

// processes lists those that live, without this one.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var found []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid <= 1 {
			continue
		}
		data, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		if p, alive := parseStat(data); alive {
			p.pid = pid
			found = append(found, p)
		}
	}
	return found
}

// parseStat reads PID (NAME) STATE PPID PGRP SESSION …: the name may hold anything, parentheses too.
func parseStat(data []byte) (p process, alive bool) {
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) <= 3 || bytes.Equal(fields[0], []byte("Z")) || bytes.Equal(fields[0], []byte("X")) {
		return p, false
	}
	var err1, err2 error
	p.parent, err1 = strconv.Atoi(string(fields[1]))
	p.session, err2 = strconv.Atoi(string(fields[3]))
	return p, err1 == nil && err2 == nil
}
