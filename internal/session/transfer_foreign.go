package session

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// A journal that comes as a file is what somebody says that happened. It tells what was said, and has no say in what may happen: neither whom the
// session serves and which agent it is, nor what was approved, and what a tool that is asked about does.

// madeOnce refuses a journal in which a session is made a second time: whoever it serves then is not who imports it.
func madeOnce(events []stead.Event) error {
	made := CreatedAt(events)
	for i, e := range events {
		if e.Kind == KindSessionCreated && i != made || e.Kind == KindEnvironmentCreated && i != 0 {
			return stead.Errorf(stead.KindInvalid, "event %d is a %s: a session's journal has it once, at its beginning", e.Seq, e.Kind)
		}
	}
	return nil
}

// unseal takes out of what an environment is made of what another session has sealed: in the event itself, so that no copy has it, wherever
// it ends. Who has a file has the ciphertext, and nothing that opens it.
func unseal(s *environment.Setup) {
	if s != nil {
		s.Sealed, s.Owner = nil, ""
	}
}
