package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
)

const (
	// SettleFor is how long a connection must stay whole behind a batch until that counts as taken.
	SettleFor = 250 * time.Millisecond
	// maxMessageID is the longest MSGID of RFC 5424.
	maxMessageID = 32
)

// Priorities: facility 13 (log audit) × 8 + severity.
const (
	facilityAudit    = 13
	severityWarning  = 4
	severityInformed = 6
)

// Syslog sends each record as a message of RFC 5424 over TCP or TLS, framed by its length (RFC 6587, 3.4.1).
//
// The protocol acknowledges nothing. A batch counts as taken when all of it was written and the connection
// stayed whole for SettleFor: a receiver that dies later with messages in its buffers loses those.
type Syslog struct {
	address string
	tls     *tls.Config // nil: TCP
	host    string
	conn    net.Conn
	lost    chan struct{} // closed when the receiver has closed conn
}

var _ Receiver = (*Syslog)(nil)

// NewSyslog makes one that sends to HOST:PORT, over TLS unless config is nil. It connects when there is
// something to send.
func NewSyslog(address string, config *tls.Config) *Syslog {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	return &Syslog{address: address, tls: config, host: host}
}

// Send implements Receiver.
func (s *Syslog) Send(ctx context.Context, b Batch) error {
	err := s.send(ctx, b)
	if err != nil {
		_ = s.Close() // the next batch has a connection of its own
		return stead.Wrap(stead.KindUnavailable, err, "the receiver %s did not take what was sent", s.address)
	}
	return nil
}

func (s *Syslog) send(ctx context.Context, b Batch) error {
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := s.conn.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	var text strings.Builder
	for i, line := range b.Lines {
		m := s.message(b.Records[i], line)
		fmt.Fprintf(&text, "%d %s", len(m), m)
	}
	if _, err := io.WriteString(s.conn, text.String()); err != nil {
		return err
	}
	select {
	case <-s.lost:
		return errors.New("the receiver closed the connection")
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(SettleFor):
		return nil
	}
}

func (s *Syslog) connect(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	if s.tls != nil {
		secure := tls.Client(conn, s.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return errors.Join(err, conn.Close())
		}
		conn = secure
	}
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		_, _ = io.Copy(io.Discard, conn) // receivers say nothing: it ends when they close, or we do
	}()
	s.conn, s.lost = conn, lost
	return nil
}

// message is a record as RFC 5424 has it.
func (s *Syslog) message(r audit.Record, line []byte) string {
	severity := severityInformed
	if r.Decision != audit.Allow {
		severity = severityWarning
	}
	at := time.UnixMilli(r.At).UTC().Format("2006-01-02T15:04:05.000Z")
	return fmt.Sprintf("<%d>1 %s %s stead - %s - %s", facilityAudit*8+severity, at, s.host, messageID(r.Action), line)
}

// messageID is an action in the characters that a MSGID may have.
func messageID(action string) string {
	id := strings.Map(func(c rune) rune {
		if c <= ' ' || c > '~' {
			return -1
		}
		return c
	}, action)
	if id == "" {
		return "-"
	}
	return id[:min(len(id), maxMessageID)]
}

// Close implements Receiver.
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	<-s.lost
	s.conn, s.lost = nil, nil
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
