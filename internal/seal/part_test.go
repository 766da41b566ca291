package seal

import (
	"bytes"
	"testing"
)

// A text is kept in two parts, and sealed anew by its head alone.
func TestATextInTwoParts(t *testing.T) {
	one, err := New(bytes.Repeat([]byte{1}, KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	both, err := New(bytes.Repeat([]byte{2}, KeyBytes), bytes.Repeat([]byte{1}, KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	l := Label{"p", "k", "i"}
	whole := one.Seal(l, []byte("secret"))
	direct := append(append([]byte{direct}, whole[1:headBytes]...), one.now.Load().all[one.now.Load().first].Seal(nil, nil, []byte("secret"), l.bytes())...)
	for name, text := range map[string][]byte{"envelope": whole, "version 1": direct} {
		head, rest := Part(text)
		if plain, err := one.Open(l, Join(head, rest)); err != nil || string(plain) != "secret" {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
		if both.Current(head) {
			t.Errorf("%s: the head of an old key is current", name)
		}
		if _, err := both.Rewrap(Label{"p", "k", "other"}, head); err == nil {
			t.Errorf("%s: a head is of another place", name)
		}
		anew, err := both.Rewrap(l, head)
		if err != nil || !both.Current(anew) {
			t.Fatalf("%s: %v", name, err)
		}
		for _, stored := range [][]byte{rest, text} { // the rest, or the whole as it was
			if plain, err := both.Open(l, Join(anew, stored)); err != nil || string(plain) != "secret" {
				t.Errorf("%s: sealed anew: %q, %v", name, plain, err)
			}
			if _, err := one.Open(l, Join(anew, stored)); err == nil {
				t.Errorf("%s: the old key opens it", name)
			}
		}
	}
	head, rest := Part(whole)
	for _, text := range [][]byte{head, rest, nil, {envelope}, {parted}} {
		if plain, err := one.Open(l, text); err == nil {
			t.Errorf("%x alone opens: %q", text, plain)
		}
		Join(head, text)
		Join(text, rest)
	}
}
