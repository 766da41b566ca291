package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// named answers every name with the next of its lists: a server that rebinds.
type named struct{ answers [][]netip.Addr }

func (n *named) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	out := n.answers[0]
	if len(n.answers) > 1 {
		n.answers = n.answers[1:]
	}
	return out, nil
}

func TestAGuardReachesNothingButThePublic(t *testing.T) {
	g, err := NewGuard(nil, &named{[][]netip.Addr{{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("169.254.169.254")}}})
	if err != nil {
		t.Fatal(err)
	}
	spellings := []string{"name.example", "localhost", "a.localhost", "localhost."}
	for _, a := range closed() {
		spellings = append(append(append(spellings, a.String()), numbers(a)...), inIPv6(a)...)
		spellings = append(spellings, inUnicode(a)...)
	}
	for _, name := range spellings {
		addr := name + ":80"
		if strings.Contains(name, ":") && !strings.HasPrefix(name, "[") {
			addr = "[" + name + "]:80"
		}
		c, err := g.DialContext(t.Context(), "tcp", addr)
		if kind := stead.KindOf(err); kind != stead.KindForbidden && kind != stead.KindInvalid {
			t.Errorf("%s: %v", addr, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

func TestAGuardKnowsTheMetadataAddress(t *testing.T) {
	g, err := NewGuard([]string{"10.0.0.0/8"}, &named{[][]netip.Addr{{netip.MustParseAddr("169.254.169.254")}}}) // whoever takes it for a name gets the address
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, line := range corpus(t) {
		req, err := http.NewRequest(http.MethodGet, line, nil)
		if err != nil || req.URL.Host == "" {
			continue // no URL that a client of ours could be given
		}
		tried++
		res, err := (&http.Client{Transport: &http.Transport{DialContext: g.DialContext}}).Do(req)
		if err == nil {
			_ = res.Body.Close()
			t.Errorf("%s was reached", line)
		}
	}
	if tried < 100 {
		t.Errorf("only %d were tried", tried)
	}
}

func TestAGuardDialsWhatItChecked(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	local := netip.MustParseAddr("127.0.0.1")
	for name, c := range map[string]struct {
		private []string
		answers [][]netip.Addr
		host    string
		ok      bool
	}{
		"opened by address":                 {[]string{"127.0.0.1/32"}, nil, "127.0.0.1", true},
		"opened by network, under any name": {[]string{"127.0.0.0/8"}, [][]netip.Addr{{local}}, "tools.example", true},
		"localhost, opened":                 {[]string{"127.0.0.0/8"}, [][]netip.Addr{{local}}, "localhost", true},
		"a name opens no loopback":          {[]string{"tools.example"}, [][]netip.Addr{{local}}, "tools.example", false},
		"another network":                   {[]string{"10.0.0.0/8"}, nil, "127.0.0.1", false},
		"of a mixed answer what may be":     {[]string{"127.0.0.0/8"}, [][]netip.Addr{{netip.MustParseAddr("10.0.0.1"), local}}, "tools.example", true},
		"rebinding":                         {nil, [][]netip.Addr{{local}, {local}}, "tools.example", false},
	} {
		g, err := NewGuard(c.private, &named{c.answers})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := g.DialContext(t.Context(), "tcp", c.host+":"+port)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = conn.Close()
		} else if e, ok := errors.AsType[*stead.Error](err); !ok || strings.Contains(e.Message, "127.0.0.1") && c.host != "127.0.0.1" {
			t.Errorf("%s: the error tells the address: %v", name, err)
		}
	}
}
