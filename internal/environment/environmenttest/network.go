package environmenttest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
)

func testNetwork(t *testing.T, r *rig) {
	r.run(t, "without egress nothing answers", func(t *testing.T) {
		b := r.open(t)
		b.putProbe(t)
		host := listen(t, "tcp", "127.0.0.1:0")
		port := environment.EgressPort
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			t.Cleanup(func() { l.Close() }) // the host's own port of that number must not be met either
		}
		for _, address := range append(r.foreign(), host, fmt.Sprintf("127.0.0.1:%d", port), "[::1]:"+strconv.Itoa(port)) {
			if res := b.args(t, "./probe", "dial", "tcp", address); res.Code == 0 {
				t.Errorf("%s is reached: %v", address, res)
			}
		}
		if out := b.sh(t, `echo "$http_proxy$https_proxy$HTTP_PROXY$HTTPS_PROXY"`); out != "\n" {
			t.Errorf("a proxy is named where none is: %q", out)
		}
	})
	r.run(t, "the egress proxy and nothing else is reached", func(t *testing.T) {
		if !r.report().Egress {
			t.Error("the report says that there is no way out: nobody would be given one")
		}
		testEgress(t, r)
	})
	r.run(t, "the bridge carries much, and many", func(t *testing.T) { testBridge(t, r) })
	r.run(t, "the tools socket is reached", func(t *testing.T) {
		b := r.open(t)
		serve(t, filepath.Join(b.spec.Services, environment.ToolsSocket), "tools")
		b.putProbe(t)
		res := b.args(t, "./probe", "dial", "unix", b.services()+"/"+environment.ToolsSocket)
		if res.Code != 0 || res.out != "tools: /\n" {
			t.Errorf("%v", res)
		}
		b.fails(t, `rm -f "$1"; test ! -e "$1"`, b.services()+"/"+environment.ToolsSocket)
		b.fails(t, `mv "$1" "$1.old"`, b.services()+"/"+environment.ToolsSocket)
	})
}

// foreign are addresses of the world. A driver that says itself that it isolates nothing is not made to
// connect to them.
func (r *rig) foreign() []string {
	if r.report().Isolation == environment.IsolationNone {
		return nil
	}
	return []string{"169.254.169.254:80", "192.0.2.1:443", "[2001:db8::1]:443"}
}

// listen opens a listener of the host that the inside must not reach; it greets who comes.
func listen(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "host\n")
			c.Close()
		}
	}()
	return l.Addr().String()
}

// serve answers HTTP on a unix socket of the services directory, as the egress proxy and the tools
// do: anyone who can reach the directory may connect.
func serve(t *testing.T, socket, name string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Received", strconv.FormatInt(n, 10))
		if want, err := strconv.Atoi(r.URL.Query().Get("bytes")); err == nil {
			_, _ = io.CopyN(w, zeros{}, int64(want))
			return
		}
		fmt.Fprintf(w, "%s: %s\n", name, r.RequestURI)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func withEgress(s *environment.Spec) { s.Egress = true }

func testEgress(t *testing.T, r *rig) {
	s := r.spec(t)
	withEgress(&s)
	serve(t, filepath.Join(s.Services, environment.EgressSocket), "proxy")
	if err := os.WriteFile(filepath.Join(s.Services, environment.CAFile), []byte("authorities\n"), 0o644); err != nil { //nolint:gosec // everybody inside reads it
		t.Fatal(err)
	}
	b := r.openSpec(t, s)
	b.putProbe(t)
	for _, v := range environment.TrustVariables() {
		if out := b.sh(t, `cat "$`+v+`"`); out != "authorities\n" {
			t.Errorf("%s: %q", v, out)
		}
	}
	proxy := fmt.Sprintf("127.0.0.1:%d", environment.EgressPort)
	for _, v := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
		if out := b.sh(t, "echo $"+v); strings.TrimSuffix(strings.TrimSpace(out), "/") != "http://"+proxy {
			t.Errorf("%s is %q", v, out)
		}
	}
	if out := b.sh(t, `echo "$no_proxy,$NO_PROXY"`); !strings.Contains(out, "localhost") || !strings.Contains(out, "127.0.0.1") {
		t.Errorf("no_proxy is %q: what listens inside is not for the proxy", out)
	}
	if res := b.args(t, "./probe", "get", "http://example.invalid/path?q"); res.out != "proxy: http://example.invalid/path?q\n" {
		t.Errorf("through the proxy: %v", res)
	}
	for _, address := range append(r.foreign(), listen(t, "tcp", "127.0.0.1:0")) {
		if res := b.args(t, "./probe", "dial", "tcp", address); res.Code == 0 {
			t.Errorf("%s is reached past the proxy: %v", address, res)
		}
	}
	for _, address := range []string{"127.0.0.53:53", "127.0.0.1:53"} {
		if res := b.args(t, "./probe", "udp", address); res.Code == 0 {
			t.Errorf("a datagram to %s has an answer or a way: %v", address, res)
		}
	}
}

func testBridge(t *testing.T, r *rig) {
	s := r.spec(t)
	withEgress(&s)
	serve(t, filepath.Join(s.Services, environment.EgressSocket), "proxy")
	b := r.openSpec(t, s)
	b.putProbe(t)
	const much = 8 << 20
	res := b.args(t, "./probe", "get", fmt.Sprintf("http://example.invalid/?bytes=%d", much), strconv.Itoa(much))
	if out := bufio.NewReader(strings.NewReader(res.out)); res.Code != 0 {
		t.Errorf("%v", res)
	} else if line, _ := out.ReadString('\n'); line != fmt.Sprintf("sent %d, received %d\n", much, much) {
		t.Errorf("%d bytes both ways: %q", much, line)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			res, err := b.try(environment.Command{Args: []string{"./probe", "get", "http://example.invalid/many", "", "25"}})
			if err != nil || res.Code != 0 || res.out != strings.Repeat("proxy: http://example.invalid/many\n", 25) {
				t.Errorf("25 requests: %v, %v", res, err)
			}
		})
	}
	group.Wait()
}
