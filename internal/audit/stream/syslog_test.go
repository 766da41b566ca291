package stream

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/audit"
)

// collector takes one connection after the other and hands out the messages that arrive; one that it is told
// to drop is closed as soon as it is there.
func collector(t *testing.T, secure *tls.Config) (address string, messages <-chan string, drop chan<- bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	all, next := make(chan string, 100), make(chan bool, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case <-next:
				_ = conn.Close()
				continue
			default:
			}
			go read(conn, all)
		}
	}()
	return l.Addr().String(), all, next
}

// read takes messages that are framed by their length.
func read(conn net.Conn, all chan<- string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		size, err := r.ReadString(' ')
		n, bad := strconv.Atoi(strings.TrimSuffix(size, " "))
		if err != nil || bad != nil {
			return
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(r, message); err != nil {
			return
		}
		all <- string(message)
	}
}

func next(t *testing.T, messages <-chan string) string {
	t.Helper()
	select {
	case m := <-messages:
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("no message came")
		return ""
	}
}

func of(decision audit.Decision, line string) Batch {
	return Batch{Records: []audit.Record{{At: 1_800_000_000_123, Action: "file.write", Decision: decision}}, Lines: [][]byte{[]byte(line)}}
}

func TestSyslogMessages(t *testing.T) {
	address, messages, _ := collector(t, nil)
	s := NewSyslog(address, nil)
	s.host = "node.example"
	defer s.Close()
	for _, b := range []Batch{of(audit.Allow, `{"seq":1}`), of(audit.Deny, `{"seq":2,"reason":"ü"}`)} {
		if err := s.Send(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		`<110>1 2027-01-15T08:00:00.123Z node.example stead - file.write - {"seq":1}`,
		`<108>1 2027-01-15T08:00:00.123Z node.example stead - file.write - {"seq":2,"reason":"ü"}`,
	} {
		if got := next(t, messages); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

func TestSyslogOverTLSBelievesItsCertificatesAlone(t *testing.T) {
	other := httptest.NewTLSServer(nil) // has a certificate, and its pool
	defer other.Close()
	address, messages, _ := collector(t, &tls.Config{Certificates: other.TLS.Certificates})
	trusted := other.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusted.ServerName = "127.0.0.1"
	trusting := NewSyslog(address, trusted)
	defer trusting.Close()
	if err := trusting.Send(t.Context(), of(audit.Allow, "{}")); err != nil {
		t.Fatal(err)
	}
	if got := next(t, messages); !strings.HasSuffix(got, "- {}") {
		t.Errorf("%s", got)
	}
	wary := NewSyslog(address, &tls.Config{ServerName: "127.0.0.1"})
	if err := wary.Send(t.Context(), of(audit.Allow, "{}")); err == nil {
		t.Error("an unknown certificate was believed")
	}
}

func TestSyslogSendsAgainWhatABrokenConnectionTook(t *testing.T) {
	address, messages, drop := collector(t, nil)
	s := NewSyslog(address, nil)
	defer s.Close()
	drop <- true
	if err := s.Send(t.Context(), of(audit.Allow, "{}")); err == nil {
		t.Fatal("a batch counts as taken by a receiver that closed the connection")
	}
	if err := s.Send(t.Context(), of(audit.Allow, "{}")); err != nil {
		t.Fatal(err)
	}
	next(t, messages)
}
