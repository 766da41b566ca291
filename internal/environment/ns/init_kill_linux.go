package ns

import (
	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment/census"
)

// All of this is done while nobody is reaped, see serve: package census asks for that.

// killSession kills the processes of a session: the command's, its children's, whoever did not leave
// for a session of his own.
func killSession(session int) {
	_ = unix.Kill(-session, unix.SIGKILL) // the first group at once
	census.Kill(func() (found []int) {
		for _, p := range census.Living() {
			if p.Session == session {
				found = append(found, p.PID)
			}
		}
		return found
	})
}

// sweep kills what a request names, and is the answer to it. running are the commands by their sessions.
func sweep(q request, running map[int]uint32) reply {
	r := reply{Swept: true}
	if q.Sweep == sweepMost {
		if r.Of = greediest(census.ByCommand(census.Living(), running), q.Least); r.Of != 0 {
			r.Killed = census.Kill(func() []int { return census.ByCommand(census.Living(), running)[r.Of] })
		}
	}
	// Who left his command's session is the rest as soon as the parents that lead to it have died.
	r.Killed += census.Kill(func() []int { return census.ByCommand(census.Living(), running)[census.Rest] })
	return r
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
