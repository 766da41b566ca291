// Package effect is what the proofs' tool servers share: a ledger of everything that was done to
// "the world", fsynced before any answer leaves, by which a test can tell afterwards what happened
// how often and under which idempotency key.
//
// Shape: one JSON record a line, in the order in which it happened:
//
//	received → applied → (answered to the caller)      the effect took place now
//	received → replayed                                the key was known: the old result, no effect
//	received → refused                                 the call made no sense to the server
//
// Delivery: a call of class idempotent that comes while another with its key is still running waits
// for that one. An effect, once begun, is carried out even when its caller is gone: that is what
// servers in the world do.
//
// A test steers moments through phases: it asks to be told of the next call that reaches one, and
// the call then stands still for a while, so that the caller can be killed right there.
//
// Units: At is Unix microseconds.
package effect

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of Record.
const (
	Received = "received"
	Applied  = "applied"
	Replayed = "replayed"
	Refused  = "refused"
)

// Classes of effect, as the product names them.
const (
	Pure       = "pure"
	Idempotent = "idempotent"
	Unknown    = "unknown"
)

// Record is one line of the ledger.
type Record struct {
	At      int64           `json:"at"`
	What    string          `json:"what"`
	Tool    string          `json:"tool"`
	Class   string          `json:"class"`
	Key     string          `json:"key"`
	Session string          `json:"session"`
	ID      string          `json:"id,omitempty"` // which effect, as the caller's arguments name it
	Args    json.RawMessage `json:"args,omitempty"`
	Result  string          `json:"result,omitempty"`
}

// Call is one call as a tool server got it.
type Call struct {
	Tool, Class, Key, Session, ID string
	Args                          json.RawMessage
	Before, After                 time.Duration // how long the work takes, around its effect
}

// Ledger records calls. Safe for concurrent use.
type Ledger struct {
	mu     sync.Mutex
	file   *os.File
	keys   map[string]*entry // idempotency key →
	phases map[string][]*waiter
}

// entry is what is known of one key.
type entry struct {
	turn    sync.Mutex // held while a call of class idempotent runs
	running int
	applied int
	result  string
	quiet   chan struct{} // closed when running falls to 0; nil when nobody asks
}

// Open starts a ledger in a new file.
func Open(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &Ledger{file: f, keys: map[string]*entry{}, phases: map[string][]*waiter{}}, nil
}

// Do carries out one call: apply is the effect, and its error refuses the call.
func (l *Ledger) Do(c Call, apply func() (string, error)) (string, error) {
	e, err := l.begin(c)
	if err != nil {
		return "", err
	}
	defer l.end(e)
	l.reach(PhaseReceived)
	time.Sleep(c.Before) // the work itself
	if c.Class == Idempotent {
		e.turn.Lock()
		defer e.turn.Unlock()
		if result, known := l.known(e); known {
			return result, l.write(c.record(Replayed, result))
		}
	}
	result, err := apply()
	if err != nil {
		return "", errors.Join(err, l.write(c.record(Refused, err.Error())))
	}
	if err := l.apply(c, e, result); err != nil {
		return "", err
	}
	l.reach(PhaseApplied)
	time.Sleep(c.After)
	return result, nil
}

func (c Call) record(what, result string) Record {
	return Record{What: what, Tool: c.Tool, Class: c.Class, Key: c.Key, Session: c.Session, ID: c.ID, Args: c.Args, Result: result}
}

func (l *Ledger) begin(c Call) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.keys[c.Key]
	if e == nil {
		e = &entry{}
		l.keys[c.Key] = e
	}
	e.running++
	return e, l.append(c.record(Received, ""))
}

func (l *Ledger) end(e *entry) {
	l.mu.Lock()
	e.running--
	if e.running == 0 && e.quiet != nil {
		close(e.quiet)
		e.quiet = nil
	}
	l.mu.Unlock()
	l.reach(PhaseAnswered)
}

func (l *Ledger) known(e *entry) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.result, e.applied > 0
}

func (l *Ledger) apply(c Call, e *entry, result string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.append(c.record(Applied, result)); err != nil {
		return err
	}
	e.applied++
	e.result = result
	return nil
}

func (l *Ledger) write(r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.append(r)
}

// append writes one line and syncs it. The caller holds mu, so lines stand in order of time.
func (l *Ledger) append(r Record) error {
	r.At = time.Now().UnixMicro()
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return err
	}
	return unix.Fdatasync(int(l.file.Fd()))
}

// Outcome is what became of a key.
type Outcome struct {
	Applied int    `json:"applied"`
	Result  string `json:"result"`
}

// Settled waits until no call with the key is running, and says what became of it.
func (l *Ledger) Settled(key string) Outcome {
	for {
		l.mu.Lock()
		e := l.keys[key]
		if e == nil || e.running == 0 {
			var o Outcome
			if e != nil {
				o = Outcome{e.applied, e.result}
			}
			l.mu.Unlock()
			return o
		}
		if e.quiet == nil {
			e.quiet = make(chan struct{})
		}
		quiet := e.quiet
		l.mu.Unlock()
		<-quiet
	}
}

// Read returns the records of a ledger's file, whole lines only.
func Read(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var records []Record
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return nil, err
		}
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("ledger line %d: %w", len(records)+1, err)
		}
		records = append(records, r)
	}
}
