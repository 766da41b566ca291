package executor

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

func samples() []frame {
	hi, _ := json.Marshal(hello{Version: Version, Environment: "env_1", Executor: "exec_1", Attempt: 1})
	exec, _ := json.Marshal(request{Op: opExec, In: 1, Args: [][]byte{[]byte("true")}})
	done, _ := json.Marshal(outcome{Done: true, Exit: &exit{Code: 0}})
	return []frame{
		{kind: kindHello, payload: hi}, {kind: kindAck, ack: 1}, {kind: kindBye, payload: []byte(`{"code":"x"}`)},
		{kind: kindOpen, stream: 1, seq: 1, payload: exec}, {kind: kindReady, stream: 1, seq: 2, payload: []byte("{}")},
		{kind: kindData, channel: channelStderr, stream: 1, seq: 3, payload: []byte("oops")},
		creditFrameAt(1, 4, 100), {kind: kindEnd, stream: 1, seq: 5}, {kind: kindCancel, stream: 1, seq: 6},
		{kind: kindResult, stream: 1, seq: 7, payload: done},
	}
}

func creditFrameAt(stream, seq uint64, n int) frame {
	f := creditFrame(stream, n)
	f.seq = seq
	return f
}

func TestFramesComeBack(t *testing.T) {
	for _, f := range samples() {
		got, err := decode(f.encode())
		if err != nil || got.kind != f.kind || got.channel != f.channel || got.stream != f.stream || got.seq != f.seq || got.ack != f.ack || !bytes.Equal(got.payload, f.payload) {
			t.Errorf("%+v came back as %+v, %v", f, got, err)
		}
	}
}

func TestFramesThatBreakTheRules(t *testing.T) {
	big := make([]byte, MaxDataBytes+1)
	for name, f := range map[string]frame{
		"no kind":              {},
		"an unknown kind":      {kind: kindResult + 1, stream: 1, seq: 1},
		"a kind between":       {kind: 9},
		"data without number":  {kind: kindData, stream: 1, payload: big[:1]},
		"data without stream":  {kind: kindData, seq: 1, payload: big[:1]},
		"a hello with number":  {kind: kindHello, seq: 1},
		"a bye with a stream":  {kind: kindBye, stream: 1},
		"no data":              {kind: kindData, stream: 1, seq: 1},
		"too much data":        {kind: kindData, stream: 1, seq: 1, payload: big},
		"an unknown channel":   {kind: kindData, channel: 3, stream: 1, seq: 1, payload: big[:1]},
		"a channel of an end":  {kind: kindEnd, channel: 1, stream: 1, seq: 1},
		"an end with payload":  {kind: kindEnd, stream: 1, seq: 1, payload: big[:1]},
		"an ack with payload":  {kind: kindAck, payload: big[:1]},
		"credit of 3 bytes":    {kind: kindCredit, stream: 1, seq: 1, payload: big[:3]},
		"credit for nothing":   creditFrameAt(1, 1, 0),
		"credit over a window": creditFrameAt(1, 1, WindowBytes+1),
	} {
		if got, err := decode(f.encode()); err == nil {
			t.Errorf("%s was taken for %+v", name, got)
		}
	}
	if _, err := decode(make([]byte, MaxMessageBytes+1)); err == nil {
		t.Error("a giant was taken for a frame")
	}
	if _, err := decode(make([]byte, headerBytes-1)); err == nil {
		t.Error("a dwarf was taken for a frame")
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range samples() {
		f.Add(s.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decode(b)
		if err == nil && !bytes.Equal(got.encode(), b) {
			t.Errorf("%x is not what it was decoded from", got.encode())
		}
	})
}

// FuzzConversation lets strangers say anything to both ends: each input is a script of frames with a
// length in front. Nothing may panic, hang, or be kept beyond the windows.
func FuzzConversation(f *testing.F) {
	var script []byte
	for _, s := range samples() {
		b := s.encode()
		script = append(binary.BigEndian.AppendUint16(script, uint16(len(b))), b...)
	}
	f.Add(script)
	f.Fuzz(func(t *testing.T, script []byte) {
		executor := newConversation("c", func(s *stream, r request) {
			if r.Stdin {
				c, _ := s.take(s.ctx)
				s.use(len(c.data))
			}
			s.sayResult(outcome{Done: true})
		})
		server := newConversation("c", nil)
		for range 3 {
			if _, err := server.open(request{Op: opExec}); err != nil {
				t.Fatal(err)
			}
		}
		for len(script) >= 2 {
			n := min(int(binary.BigEndian.Uint16(script)), len(script)-2)
			one, err := decode(script[2 : 2+n])
			script = script[2+n:]
			if err != nil {
				continue
			}
			for _, c := range []*conversation{executor, server} {
				if err := c.receive(one); err != nil {
					c.end(err)
				}
				kept := 0
				c.mu.Lock()
				for _, s := range c.streams {
					for _, p := range s.chunks {
						kept += len(p.data)
					}
				}
				if kept > len(c.streams)*WindowBytes {
					t.Errorf("%d bytes of %d streams are kept", kept, len(c.streams))
				}
				c.mu.Unlock()
			}
		}
		for _, c := range []*conversation{executor, server} {
			c.end(errStopped)
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			c.windUp(ctx)
			if ctx.Err() != nil {
				t.Error("an operation hangs")
			}
			cancel()
		}
	})
}

// A line keeps what is not acknowledged, and gives it out again, once each.
func TestLine(t *testing.T) {
	var a, b line
	send := func(words ...string) {
		for _, w := range words {
			if err := a.put(frame{kind: kindData, stream: 1, payload: []byte(w)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	carry := func(n int) {
		for range n {
			f, ok := a.take()
			if !ok {
				return
			}
			fresh, err := b.receive(f)
			if err != nil {
				t.Fatal(err)
			}
			if fresh {
				got = append(got, string(f.payload))
			}
		}
	}
	send("a", "b", "c")
	carry(2)
	send("d")
	if err := a.resume(b.received); err != nil { // a new connection: "c" was on its way
		t.Fatal(err)
	}
	carry(1)
	if err := a.resume(b.received - 1); err != nil { // an older state of the other side: "c" comes twice
		t.Fatal(err)
	}
	carry(10)
	if strings.Join(got, "") != "abcd" {
		t.Errorf("got %q", got)
	}
	if err := a.resume(b.received); err != nil || len(a.kept) != 0 || a.bytes != 0 {
		t.Errorf("%d frames and %d bytes are kept, %v", len(a.kept), a.bytes, err)
	}
	if err := a.resume(b.received + 1); err == nil {
		t.Error("frames that were never sent are acknowledged")
	}
	if err := a.resume(0); err == nil {
		t.Error("frames that are forgotten are asked for")
	}
	if _, err := b.receive(frame{kind: kindEnd, stream: 1, seq: b.received + 2}); err == nil {
		t.Error("a gap was not noticed")
	}
}

// What a stranger says of an outcome is made to fit the contract.
func TestOutcomesOfStrangers(t *testing.T) {
	for _, x := range []exit{{Code: math.MaxInt}, {Code: math.MinInt, Duration: -1, CPU: -1}, {Code: 7, Reason: "timeout"}, {Code: 7, Reason: "because"}} {
		got := outcome{Exit: &x}.exitOf()
		if got.Code < -1 || got.Code > 255 || got.Duration < 0 || got.CPU < 0 || got.Reason != "" && got.Code != -1 || got.Reason == "because" {
			t.Errorf("%+v became %+v", x, got)
		}
	}
	for _, kind := range []stead.Kind{stead.KindFenced, stead.KindTail, stead.KindUnauthenticated, stead.KindInternal, "odd"} {
		o := outcome{Error: &failure{Kind: string(kind), Message: "a\x1b[2Jb\n" + strings.Repeat("x", 1<<20)}}
		e, ok := errors.AsType[*stead.Error](o.err())
		if !ok || e.Kind != stead.KindUnavailable || len(e.Message) > 2*MaxErrorBytes || strings.ContainsAny(e.Message, "\x1b\n") {
			t.Errorf("%s became %.100v", kind, o.err())
		}
	}
	if (outcome{}).err() == nil {
		t.Error("no outcome is taken for success")
	}
	u := usageOf(environment.Usage{CPU: 5}, &environment.Usage{CPU: -1, MemoryBytes: math.MaxInt64, DiskBytes: -5})
	if u.CPU != 5 || u.MemoryBytes > maxUsage || u.DiskBytes < 0 {
		t.Errorf("usage %+v", u)
	}
	bad := []hello{
		{Environment: "env_2", Executor: "e", Attempt: 1}, {Environment: "env_1", Attempt: 1}, {Environment: "env_1", Executor: "e"},
		{Environment: "env_1", Executor: strings.Repeat("e", 200), Attempt: 1}, {Environment: "env_1", Executor: "e\n", Attempt: 1},
		{Environment: "env_1", Executor: "e", Attempt: 1, Capabilities: slices.Repeat([]string{"x"}, 100)},
		{Environment: "env_1", Executor: "e", Attempt: 1, Workspace: strings.Repeat("/", 5000)},
	}
	for _, h := range bad {
		if h.check("env_1") == nil {
			t.Errorf("%.200v was taken", h)
		}
	}
}
