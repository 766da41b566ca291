package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/coder/websocket"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/guest"
)

// An exec's WebSocket carries binary messages whose first byte is a channel (KEP-3396); v5 adds a
// message that closes one (KEP-4006), which older servers take for nothing.
const (
	channelStdin  = 0
	channelStdout = 1
	channelStderr = 2
	channelError  = 3 // a status object, once, at the end
	channelClose  = 255
)

// maxMessage is the largest message that is read; servers send 32 KiB at most.
const maxMessage = 1 << 20

// maxStderr is how much of standard error is kept: the guest's last words.
const maxStderr = 4 << 10

// exec starts the guest in a pod and returns its standard streams.
func (a *api) exec(ctx context.Context, pod string) (*process, error) {
	q := url.Values{"command": {GuestPath}, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"}}
	if a.opts.Container != "" {
		q.Set("container", a.opts.Container)
	}
	u := a.opts.Server + "/api/v1/namespaces/" + url.PathEscape(a.opts.Namespace) + "/pods/" + url.PathEscape(pod) + "/exec?" + q.Encode()
	header := http.Header{}
	if err := a.authorize(header); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, u, &websocket.DialOptions{
		HTTPClient: a.http, HTTPHeader: header, Subprotocols: []string{"v5.channel.k8s.io", "v4.channel.k8s.io"}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		if res != nil && res.StatusCode >= 400 && res.Body != nil {
			body, _ := io.ReadAll(io.LimitReader(res.Body, MaxAnswerBytes)) // what there is of it
			return nil, statusError(res.StatusCode, body)
		}
		return nil, stead.Wrap(stead.KindUnavailable, err, "the cluster opens no exec in the pod")
	}
	if conn.Subprotocol() == "" {
		conn.CloseNow()
		return nil, stead.Errorf(stead.KindUnavailable, "the cluster speaks no protocol for exec that this driver knows")
	}
	conn.SetReadLimit(maxMessage)
	p := &process{conn: conn, v5: conn.Subprotocol() == "v5.channel.k8s.io"}
	p.life, p.end = context.WithCancel(context.Background())
	return p, nil
}

// process is a program in a pod: writing is its standard input, reading its standard output. One
// goroutine reads; many may write.
type process struct {
	conn *websocket.Conn
	v5   bool
	life context.Context
	end  context.CancelFunc
	rest []byte // of the message under way

	mu   sync.Mutex
	errs []byte // the last maxStderr bytes of standard error and of the status
	once sync.Once
}

// Read implements io.Reader for standard output. io.EOF: the program has ended.
func (p *process) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		kind, message, err := p.conn.Read(p.life)
		if err != nil {
			if websocket.CloseStatus(err) == websocket.StatusNormalClosure || errors.Is(err, io.EOF) {
				return 0, io.EOF
			}
			return 0, err
		}
		if kind != websocket.MessageBinary || len(message) == 0 {
			continue
		}
		switch channel, data := message[0], message[1:]; channel {
		case channelStdout:
			p.rest = data
		case channelStderr:
			p.say(data)
		case channelError:
			return 0, p.ended(data)
		case channelClose, channelStdin: // nothing that we wait for
		default:
			return 0, stead.Errorf(stead.KindUnavailable, "the cluster's exec has a message of channel %d", channel)
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// ended reads the status at the end.
func (p *process) ended(data []byte) error {
	var s status
	if json.Unmarshal(data, &s) == nil && s.Status == "Success" {
		return io.EOF
	}
	p.say([]byte(s.Message))
	return stead.Wrap(stead.KindUnavailable, errors.New(p.words()), "the guest in the pod has ended")
}

func (p *process) say(data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, data...)
	p.errs = p.errs[max(len(p.errs)-maxStderr, 0):]
}

func (p *process) words() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.errs)
}

// Write implements io.Writer for standard input.
func (p *process) Write(b []byte) (int, error) {
	total := 0
	for len(b) > 0 {
		n := min(len(b), guest.MaxDataBytes)
		message := make([]byte, n+1)
		message[0] = channelStdin
		copy(message[1:], b[:n])
		if err := p.conn.Write(p.life, websocket.MessageBinary, message); err != nil {
			return total, err
		}
		total += n
		b = b[n:]
	}
	return total, nil
}

// Close ends the connection, and with it the program. It may be called more than once.
func (p *process) Close() error {
	p.once.Do(func() {
		if p.v5 { // the kind way, for servers that know it; the end of the connection says the same
			ctx, cancel := context.WithTimeout(p.life, closeTime)
			_ = p.conn.Write(ctx, websocket.MessageBinary, []byte{channelClose, channelStdin})
			cancel()
		}
		p.end()
		p.conn.CloseNow()
	})
	return nil
}
