package egress

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// helloOf is the ClientHello that crypto/tls writes.
func helloOf(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	in, out := net.Pipe()
	defer in.Close()
	cfg.InsecureSkipVerify = true // nobody answers
	go func() { _ = tls.Client(out, cfg).Handshake(); _ = out.Close() }()
	must(t, in.SetDeadline(time.Now().Add(20*time.Second)))
	header := make([]byte, recordHeaderBytes)
	_, err := io.ReadFull(in, header)
	must(t, err)
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	_, err = io.ReadFull(in, body)
	must(t, err)
	return append(header, body...)
}

// fragment cuts the handshake message of one record into records of n bytes.
func fragment(record []byte, n int) []byte {
	var out []byte
	for rest := record[recordHeaderBytes:]; len(rest) > 0; {
		piece := rest[:min(n, len(rest))]
		out = append(out, record[0], record[1], record[2], byte(len(piece)>>8), byte(len(piece)))
		out = append(out, piece...)
		rest = rest[len(piece):]
	}
	return out
}

// handshake wraps a handshake message.
func handshake(kind byte, body []byte) []byte {
	m := append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	return append([]byte{22, 3, 1, byte(len(m) >> 8), byte(len(m))}, m...)
}

// madeHello is a ClientHello with exactly these extensions.
func madeHello(extensions ...[]byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0, 2, 0x13, 0x01, 1, 0)
	list := bytes.Join(extensions, nil)
	return handshake(1, append(append(body, byte(len(list)>>8), byte(len(list))), list...))
}

func extension(kind int, data []byte) []byte {
	return append([]byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}, data...)
}

func serverName(names ...string) []byte {
	var list []byte
	for _, n := range names {
		list = append(list, 0, byte(len(n)>>8), byte(len(n)))
		list = append(list, n...)
	}
	return extension(extensionName, append([]byte{byte(len(list) >> 8), byte(len(list))}, list...))
}

func TestHello(t *testing.T) {
	whole := helloOf(t, &tls.Config{ServerName: "web.example"})
	for _, n := range []int{1, 2, 3, 4, 5, 100, 1 << 14} {
		raw := fragment(whole, n)
		got, h, err := readHello(bytes.NewReader(append(bytes.Clone(raw), "what follows"...)))
		if err != nil || h.serverName != "web.example" || h.ech || !bytes.Equal(got, raw) {
			t.Errorf("cut into %d: %+v %v", n, h, err)
		}
	}
	ech := madeHello(serverName("public.example"), extension(extensionECH, []byte{0, 1, 2}))
	if _, h, err := readHello(bytes.NewReader(ech)); err != nil || h.serverName != "public.example" || !h.ech {
		t.Errorf("%+v %v", h, err)
	}
	if _, h, err := readHello(bytes.NewReader(madeHello())); err != nil || h.serverName != "" {
		t.Errorf("without a name: %+v %v", h, err)
	}
}

func TestBadHellos(t *testing.T) {
	good := madeHello(serverName("web.example"))
	for name, raw := range map[string][]byte{
		"nothing":              nil,
		"HTTP":                 []byte("GET / HTTP/1.1\r\n\r\n"),
		"SSLv2":                {0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10},
		"half a record":        good[:20],
		"an alert first":       append([]byte{21, 3, 1, 0, 2, 1, 0}, good...),
		"an alert in between":  append(append(bytes.Clone(fragment(good, 10)[:15]), 21, 3, 1, 0, 2, 1, 0), fragment(good, 10)[15:]...),
		"an empty record":      append([]byte{22, 3, 1, 0, 0}, good...),
		"a record too large":   {22, 3, 1, 0x40, 1},
		"a message too large":  {22, 3, 1, 0, 4, 1, 1, 0, 0},
		"a ServerHello":        handshake(2, good[9:]),
		"two messages":         handshake(1, append(good[9:len(good):len(good)], 0)),
		"a name twice":         madeHello(serverName("web.example"), serverName("other.example")),
		"two names":            madeHello(serverName("web.example", "other.example")),
		"an empty name":        madeHello(serverName("")),
		"another type of name": madeHello(extension(extensionName, append([]byte{0, 6, 1, 0, 3}, "abc"...))),
		"a name cut off":       madeHello(extension(extensionName, append([]byte{0, 6, 0, 0, 9}, "abc"...))),
		"a long list of names": madeHello(extension(extensionName, append([]byte{0, 9, 0, 0, 3}, "abc"...))),
		"an extension cut off": madeHello([]byte{0, 0, 0, 9, 1}),
		"a short hello":        handshake(1, []byte{3, 3, 0}),
		"an empty hello":       handshake(1, nil),
		"half an extension":    madeHello([]byte{0}),
	} {
		if _, h, err := readHello(bytes.NewReader(raw)); err == nil {
			t.Errorf("%s is read as %+v", name, h)
		}
	}
}

// TestTunnelHoldsItsName: the server name must be the host of the CONNECT, and what is not TLS does
// not pass. The server is connected to and gets not a byte.
func TestTunnelHoldsItsName(t *testing.T) {
	w := newWorld(t)
	got := make(chan []byte, 100)
	serve := func(c net.Conn) { b, _ := io.ReadAll(c); got <- b }
	w.raw(443, serve, "web.example")
	w.raw(8443, serve, "alt.example")
	b := w.box(Policy{Access: AccessRestricted, Allowed: []string{"web.example", "alt.example:8443"}, Limits: Limits{PerMinute: 10000}})
	for name, tc := range map[string]struct {
		target string
		bytes  []byte
	}{
		"another name":        {"web.example:443", helloOf(t, &tls.Config{ServerName: "other.example"})},
		"another allowed one": {"web.example:443", helloOf(t, &tls.Config{ServerName: "alt.example"})},
		"another, cut up":     {"web.example:443", fragment(helloOf(t, &tls.Config{ServerName: "other.example"}), 1)},
		"a name below":        {"web.example:443", helloOf(t, &tls.Config{ServerName: "x.web.example"})},
		"no name":             {"web.example:443", helloOf(t, &tls.Config{})},
		"a trailing dot":      {"web.example:443", madeHello(serverName("web.example."))},
		"a NUL":               {"web.example:443", madeHello(serverName("web.example\x00.other.example"))},
		"two names":           {"web.example:443", madeHello(serverName("web.example"), serverName("other.example"))},
		"an outer ECH name":   {"web.example:443", madeHello(serverName("public.example"), extension(extensionECH, []byte{0}))},
		"SSH":                 {"web.example:443", []byte("SSH-2.0-x\r\n")},
		"HTTP":                {"web.example:443", []byte("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n")},
		"another port":        {"alt.example:8443", helloOf(t, &tls.Config{ServerName: "web.example"})},
		"HTTP, another host":  {"alt.example:8443", []byte("GET / HTTP/1.1\r\nHost: web.example:8443\r\n\r\n")},
		"SSH elsewhere":       {"alt.example:8443", []byte("SSH-2.0-x\r\n\r\n")},
		"SOCKS":               {"alt.example:8443", []byte{5, 1, 0, '\r', '\n', '\r', '\n'}},
	} {
		c := b.conn()
		_, _ = io.WriteString(c, "CONNECT "+tc.target+" HTTP/1.1\r\nHost: "+tc.target+"\r\n\r\n")
		_, _ = c.Write(tc.bytes)
		answer, _ := io.ReadAll(c)
		_ = c.Close()
		if s, ok := strings.CutPrefix(string(answer), "HTTP/1.1 200 Connection established\r\n\r\n"); !ok || strings.HasPrefix(s, "HTTP/1.1 200") {
			t.Errorf("%s: %q", name, answer)
		}
		select {
		case sent := <-got:
			if len(sent) > 0 {
				t.Errorf("%s: the server got %q", name, sent)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: the server's connection stays open", name)
		}
	}
	b.await("a record that names the rule", func(r Record) bool { return r.Phase == PhaseEnded && r.Rule == RuleName })
	if b.Usage().Refused < 12 || b.Usage().UpBytes != 0 {
		t.Errorf("usage %+v", b.Usage())
	}
}

// TestOpaquePorts carry anything where the operator says so, in both directions and half closed.
func TestOpaquePorts(t *testing.T) {
	w := newWorld(t)
	w.raw(22, func(c net.Conn) {
		_, _ = io.WriteString(c, "SSH-2.0-server\r\n") // speaks first
		all, _ := io.ReadAll(c)
		_, _ = c.Write(all)
	}, "git.example")
	b := w.box(Policy{Access: AccessRestricted, Allowed: []string{"git.example:22"}, OpaquePorts: []uint16{22}})
	c := b.conn()
	_, _ = io.WriteString(c, "CONNECT git.example:22 HTTP/1.1\r\n\r\nSSH-2.0-client\r\n")
	must(t, c.(*net.UnixConn).CloseWrite())
	all, err := io.ReadAll(c)
	if want := "HTTP/1.1 200 Connection established\r\n\r\nSSH-2.0-server\r\nSSH-2.0-client\r\n"; err != nil || string(all) != want {
		t.Errorf("%q %v", all, err)
	}
}

func FuzzHello(f *testing.F) {
	f.Add(helloOf(f, &tls.Config{ServerName: "web.example"}))
	f.Add(fragment(madeHello(serverName("web.example")), 7))
	f.Add(madeHello(serverName("a"), extension(extensionECH, nil)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, h, err := readHello(bytes.NewReader(raw))
		if !bytes.HasPrefix(raw, got) {
			t.Fatal("what is passed on is not what was read")
		}
		if err != nil {
			return
		}
		if len(got) > 6*MaxHelloBytes+recordHeaderBytes {
			t.Fatalf("%d bytes are kept", len(got))
		}
		// crypto/tls must see the same name, when it sees one at all.
		var seen string
		in, out := net.Pipe()
		go func() { _, _ = in.Write(got); _, _ = io.Copy(io.Discard, in); _ = in.Close() }()
		stop := errors.New("seen")
		_ = out.SetDeadline(time.Now().Add(100 * time.Millisecond))
		err = tls.Server(out, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) { seen = i.ServerName; return nil, stop }}).Handshake()
		_ = out.Close()
		_ = in.Close()
		if errors.Is(err, stop) && seen != h.serverName {
			t.Fatalf("the server sees %q, the proxy %q", seen, h.serverName)
		}
	})
}
