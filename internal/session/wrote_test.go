package session_test

import (
	"fmt"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// TestThoseBehindASessionAreBounded: beyond the limit anybody is behind it, in a view and in what is read of its snapshot.
func TestThoseBehindASessionAreBounded(t *testing.T) {
	const many = 1200
	key := stead.SessionKey{Project: "default", Session: "sess_00000000000000000000000000000001"}
	s, seq := session.NewState(key), stead.Seq(0)
	add := func(kind string, payload any) {
		t.Helper()
		e, err := session.NewEvent(1, kind, payload)
		if err != nil {
			t.Fatal(err)
		}
		seq++
		e.Seq = seq
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	who := func(i int) stead.Principal {
		return stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: fmt.Sprint("u", i)}
	}
	add(session.KindSessionCreated, session.Created{Principal: who(0)})
	for i := range many {
		add(session.KindInputItems, session.ItemsInput{By: who(i)})
		add(session.KindInputItems, session.ItemsInput{By: who(i)})
	}
	data, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again, err := session.LoadState(key, data)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []*session.State{s, again} {
		if n := len(v.Wrote); n != 1001 || v.Wrote[n-1] != policy.Anybody() || v.Wrote[0] != who(0) {
			t.Errorf("%d are behind it, the last is %v", n, v.Wrote[n-1])
		}
	}
}
