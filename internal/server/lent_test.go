package server

import (
	"context"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/model"
)

// The memory of a body is another one's when nobody reads it any more, and not before: what a connection has still to send
// must not become what somebody else said.
func TestABodyIsNotGivenBackWhileItIsRead(t *testing.T) {
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){
		model.DialectChat: func(ctx context.Context, f model.Forward) (*model.Answer, error) {
			f.Loan.Take() // for good
			return says("application/json", `{}`)(ctx, f)
		},
	}}
	d, heard := gateway(t, m)
	d.transport.Report = func(error) {} // what the upstream answers is no chat
	body := func(letter string) string {
		return `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat(letter, 2*minLentBytes) + `"}]}`
	}
	for _, letter := range []string{"a", "b", "c", "d"} {
		d.says("POST /v1/chat/completions", body(letter), 200, `{}`)
		<-heard
	}
	for i, letter := range []string{"a", "b", "c", "d"} {
		if f := m.asked[i]; f.Loan == nil || string(f.Body) != body(letter) {
			t.Errorf("the body of call %d became another one's: %.80s", i, f.Body)
		}
	}
	m.forward[model.DialectChat] = func(ctx context.Context, f model.Forward) (*model.Answer, error) {
		f.Loan.Take()
		defer f.Loan.Give()
		return says("application/json", `{}`)(ctx, f)
	}
	for range 2 {
		d.says("POST /v1/chat/completions", body("e"), 200, `{}`)
		<-heard
	}
	if f := m.asked[4]; !f.Loan.Over() {
		t.Error("a share that was given back counts")
	}
	d.says("POST /v1/chat/completions", chatHi+`}`, 200, `{}`)
	if f := m.asked[6]; f.Loan != nil {
		t.Error("a short body is lent")
	}
}
