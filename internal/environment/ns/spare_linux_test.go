package ns

import (
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// spareOf waits until a provider has a spare cell, and returns it without taking it.
func spareOf(t testing.TB, p *Provider) *cell {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		p.spare.mu.Lock()
		m := p.spare.next
		p.spare.mu.Unlock()
		if m != nil {
			<-m.done
			if m.err != nil {
				t.Fatal(m.err)
			}
			return m.cell
		}
		if time.Now().After(end) {
			t.Fatal("no spare was made")
		}
	}
}

// The second box is made of the cell that waited, with limits of its own, and the third of another one.
func TestABoxTakesTheSpare(t *testing.T) {
	p := open(t)
	run(t, openBox(t, p, environment.Spec{}), "true")
	waits := spareOf(t, p)
	second := openBox(t, p, environment.Spec{Limits: environment.Limits{Processes: 30, MemoryBytes: 64 << 20}}).(*box)
	if second.cell != waits {
		t.Error("the second box has a cell that was made for it")
	}
	if other := spareOf(t, p); other == waits || other.ids == waits.ids {
		t.Error("the spare of after is the one of before")
	}
	// The limits of the box hold: both are reached by what a box of the defaults allows.
	x, err := second.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "for i in $(seq 60); do sleep 5 & done; true"}}, nil)
	if err != nil || x.Code == 0 {
		t.Errorf("60 processes in a box of 30: %+v, %v", x, err)
	}
	if by := p.groups.By(environment.ControlMemory); by == "" {
		return // the limit of a process is in the message that the cell got: box_linux_test.go
	}
	x, err = second.Exec(t.Context(), environment.Command{Args: []string{"python3", "-c", "b = bytearray(256 << 20)"}}, nil)
	if err != nil || x.Reason != environment.ReasonMemory {
		t.Errorf("256 MB in a box of 64: %+v, %v", x, err)
	}
}

func TestASpareThatDiedIsNotTaken(t *testing.T) {
	p := open(t)
	openBox(t, p, environment.Spec{})
	waits := spareOf(t, p)
	waits.end()
	<-waits.dead
	b := openBox(t, p, environment.Spec{}).(*box)
	if b.cell == waits {
		t.Fatal("the box has a dead init")
	}
	run(t, b, "true")
}

// A server that has one id only maps it when a cell is made, to the agent's: a set-up, which is root
// of its box, can't have that.
func TestASetUpOfAServerWithoutRootTakesNoSpare(t *testing.T) {
	p := open(t)
	openBox(t, p, environment.Spec{})
	waits := spareOf(t, p)
	b := openBox(t, p, environment.Spec{AsRoot: true}).(*box)
	if (b.cell == waits) == p.ids.own {
		t.Errorf("own ids: %v, and the spare was taken: %v", p.ids.own, b.cell == waits)
	}
	run(t, b, "true")
}

func TestClosingEndsTheSpare(t *testing.T) {
	p := open(t)
	openBox(t, p, environment.Spec{})
	waits := spareOf(t, p)
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if waits.alive() {
		t.Error("the spare outlives its provider")
	}
	p.spare.refill(p)
	if p.spare.next != nil {
		t.Error("a closed provider makes another")
	}
}
