package memorytest

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// saidBy is a fact of a time (Unix seconds) that items of these authors say.
func saidBy(session stead.SessionID, at int64, text string, authors ...string) memory.Lesson {
	l := lesson(session, "editor", text)
	for _, a := range authors {
		l.Sources = append(l.Sources, memory.Source{Session: string(session), Item: a, Author: a, At: at * 1000})
	}
	return l
}

// weightOfWords: what a user said is not ended by what a model makes of an agent's words or of a tool's output, whichever is learned first and whichever is
// said last; by what the user says later it is.
func weightOfWords(f *serviceFixture) {
	const user, agent = stead.RoleUser, stead.RoleAssistant
	f.learn(sessionA, 7, saidBy(sessionA, 100, "The editor is vim.", user))
	if got := f.learn(sessionB, 7, saidBy(sessionB, 200, "The editor is emacs.", agent)); got.Superseded != 0 || got.Added != 1 {
		f.Errorf("an agent's word: %+v", got)
	}
	f.learn(sessionB, 8, saidBy(sessionB, 300, "The editor is nano.", user, agent))
	f.knows("Beside others' words", "The editor is emacs. ← b:assistant (was); The editor is nano. ← b:user b:assistant; The editor is vim. ← a:user")
	f.learn(sessionB, 9, saidBy(sessionB, 50, "The editor is ed.", user)) // learned late
	f.knows("Before that", "The editor is ed. ← b:user (was); The editor is emacs. ← b:assistant (was); The editor is nano. ← b:user b:assistant; The editor is vim. ← a:user")
	f.learn(sessionA, 8, saidBy(sessionA, 400, "The editor is helix.", user))
	f.knows("Behind the user's own", "The editor is ed. ← b:user (was); The editor is emacs. ← b:assistant (was); The editor is helix. ← a:user; The editor is nano. ← b:user b:assistant; The editor is vim. ← a:user (was)")
	f.learn(sessionB, 10, saidBy(sessionB, 500, "The editor is helix.", agent)) // said back
	f.learn(sessionB, 11, saidBy(sessionB, 600, "The editor is micro.", user, agent))
	f.knows("Behind what is said back", "The editor is ed. ← b:user (was); The editor is emacs. ← b:assistant (was); The editor is helix. ← a:user; The editor is micro. ← b:user b:assistant; The editor is nano. ← b:user b:assistant (was); The editor is vim. ← a:user (was)")
	f.learn(sessionA, 9, saidBy(sessionA, 700, "The editor is micro.", user)) // said by the user as well
	f.learn(sessionB, 12, saidBy(sessionB, 800, "The editor is pico.", user, agent))
	f.knows("Behind what the user says too", "The editor is ed. ← b:user (was); The editor is emacs. ← b:assistant (was); The editor is helix. ← a:user; The editor is micro. ← b:user a:user; The editor is nano. ← b:user b:assistant (was); The editor is pico. ← b:user b:assistant; The editor is vim. ← a:user (was)")
}
