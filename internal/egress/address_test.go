package egress

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestClasses(t *testing.T) {
	table := newAddressTable()
	for c, list := range map[class]string{
		classPublic:    "93.184.216.34 8.8.8.8 1.1.1.1 223.255.255.254 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 ::ffff:8.8.8.8 2606:4700::1111 2a00:1450::1 2001:4860::8888",
		classPrivate:   "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255 fc00::1 fdff::1 fec0::1 ::ffff:10.0.0.1",
		classLoopback:  "127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1",
		classLinkLocal: "169.254.0.1 169.254.255.255 fe80::1 febf::1 ::ffff:169.254.1.1",
		classMulticast: "224.0.0.1 239.255.255.255 ff02::1 ff0e::1",
		classMetadata:  "169.254.169.254 169.254.170.2 168.63.129.16 100.100.100.200 192.0.0.192 fd00:ec2::254 fd20:ce::254 ::ffff:169.254.169.254",
		classEmbedded:  "::8.8.8.8 ::169.254.169.254 64:ff9b::808:808 64:ff9b:1::1 2002:808:808::1 2001::1 ::ffff:0:808:808",
		classReserved:  "0.0.0.0 0.1.2.3 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 192.88.99.1 240.0.0.1 255.255.255.255 :: 2001:db8::1 3fff::1 2001:10::1 4000::1 100::1 5f00::1 fe00::1",
	} {
		for s := range strings.FieldsSeq(list) {
			if got := table.classify(netip.MustParseAddr(s)); got != c {
				t.Errorf("%s is %s, want %s", s, got, c)
			}
		}
	}
	if table.classify(netip.Addr{}) == classPublic || table.classify(netip.MustParseAddr("2606::1%eth0")) == classPublic {
		t.Error("no address, or one with a zone, is public")
	}
}

func TestOperatorsAddresses(t *testing.T) {
	none := func(netip.Addr) bool { return false }
	for _, tc := range []struct {
		private, host, addr string
		ok                  bool
	}{
		{"", "a.test", "8.8.8.8", true},
		{"", "a.test", "10.1.2.3", false},
		{"10.1.0.0/16", "a.test", "10.1.2.3", true},
		{"10.1.0.0/16", "a.test", "10.2.2.3", false},
		{"10.1.0.0/16", "a.test", "::ffff:10.1.2.3", true},
		{"git.corp.test", "git.corp.test", "10.1.2.3", true},
		{"git.corp.test", "git.corp.test", "fd00:1::1", true},
		{"git.corp.test", "x.corp.test", "10.1.2.3", false},
		{".corp.test", "x.corp.test", "192.168.1.1", true},
		{"git.corp.test", "git.corp.test", "127.0.0.1", false},       // a name opens no loopback
		{"git.corp.test", "git.corp.test", "169.254.169.254", false}, // and no metadata
		{"127.0.0.0/8", "a.test", "127.0.0.1", true},
		{"0.0.0.0/0", "a.test", "169.254.169.254", false}, // metadata only by its very address
		{"169.254.0.0/16", "a.test", "169.254.169.254", false},
		{"169.254.169.254/32", "a.test", "169.254.169.254", true},
		{"::/0", "a.test", "fd00:ec2::254", false},
		{"64:ff9b::/96", "a.test", "64:ff9b::808:808", true},
		{"64:ff9b::/96", "a.test", "64:ff9b::a00:1", false},     // 10.0.0.1 in it
		{"64:ff9b::/96", "a.test", "64:ff9b::a9fe:a9fe", false}, // the metadata address in it
		{"::/0", "a.test", "2002:7f00:1::1", false},
	} {
		p := allow(".test")
		p.Private = strings.Fields(tc.private)
		r, err := compile(p)
		must(t, err)
		if c, ok := r.mayReach(host{name: tc.host}, netip.MustParseAddr(tc.addr), none); ok != tc.ok {
			t.Errorf("%q: %s at %s (%s): %v", tc.private, tc.host, tc.addr, c, ok)
		}
	}
}

// TestOwnAddresses: a public address of this machine is not public for its boxes.
func TestOwnAddresses(t *testing.T) {
	r, err := compile(Policy{Access: AccessEnabled})
	must(t, err)
	a := netip.MustParseAddr("93.184.216.34")
	if c, ok := r.mayReach(host{name: "a.test"}, a, func(b netip.Addr) bool { return a == b }); ok || c != classOwn {
		t.Errorf("%s %v", c, ok)
	}
	own := &interfaces{}
	list, err := net.InterfaceAddrs()
	must(t, err)
	for _, n := range list {
		if p := netip.MustParsePrefix(n.String()); !own.has(p.Addr()) {
			t.Errorf("%s is not known to be ours", p.Addr())
		}
	}
	if own.has(a) {
		t.Error("a strange address is ours")
	}
}

// spellings are ways to write 169.254.169.254, 127.0.0.1 and the like that some resolver or parser
// takes for an address.
func spellings() []string {
	return []string{
		"2852039166", "0xa9fea9fe", "025177524776", "0251.0376.0251.0376", "0xa9.0xfe.0xa9.0xfe", "0xA9.0376.43518", "169.16689662", "169.254.43518",
		"425.510.425.510", "169.254.169.254.", "169.254.169.0254", "169.254.169.254..", "127.1", "127.0.1", "0", "0x", "0x0", "017700000001", "1", "127.0.0.1.",
		"169。254。169。254", "①⑥⑨.②⑤④.①⑥⑨.②⑤④", "169%2e254%2e169%2e254", "%31%36%39.254.169.254", "169.254.169.254%00.web.example",
		"[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[::1%25lo]", "[::1%lo]",
		"[0:0:0:0:0:ffff:7f00:1]", "[::ffff:0:127.0.0.1]", "[2001:0:0:0:0:0:5601:5601]", "[::1", "::1", "[127.0.0.1]", "[v1.x]", "[]",
	}
}

func TestSpellingsOfAddresses(t *testing.T) {
	for _, s := range spellings() {
		if h, err := parseHost(s); err == nil {
			t.Errorf("%q is read as %+v", s, h)
		}
	}
	w := newWorld(t)
	for _, p := range []Policy{{Access: AccessEnabled}, allow(".example", "web.example:*")} {
		b := w.box(p)
		for _, s := range append(spellings(), "169.254.169.254", "127.0.0.1", "[::1]", "[fd00:ec2::254]", "10.0.0.1", "0.0.0.0", "[::]") {
			for _, raw := range []string{
				"GET http://" + s + "/ HTTP/1.1\r\nHost: " + s + "\r\n\r\n",
				"GET http://" + s + ":80/ HTTP/1.1\r\nHost: " + s + ":80\r\n\r\n",
				"CONNECT " + s + ":443 HTTP/1.1\r\nHost: " + s + ":443\r\n\r\n",
			} {
				if res, body := b.say(raw); res == nil || res.StatusCode != 403 && res.StatusCode != 400 {
					t.Errorf("%q: %v %s", raw, res, body)
				}
			}
		}
	}
	if d := w.dialled(); len(d) != 0 {
		t.Errorf("dialled %v", d)
	}
}

// corpus is the 244 spellings of the metadata address of PayloadsAllTheThings (MIT: testdata/metadata_ip.LICENSE).
func corpus(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/metadata_ip.txt")
	must(t, err)
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func TestCorpus(t *testing.T) {
	w := newWorld(t)
	w.names["www.google.com"] = []netip.Addr{netip.MustParseAddr("169.254.169.254")} // the worst case
	b := w.box(Policy{Access: AccessEnabled})
	lines := corpus(t)
	for _, line := range lines {
		authority := strings.TrimSuffix(strings.TrimPrefix(line, "http://"), "/")
		hostOnly, _, _ := strings.Cut(authority, ":80")
		for _, raw := range []string{
			"GET " + line + " HTTP/1.1\r\nHost: www.google.com\r\n\r\n",
			"GET " + line + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n",
			"GET " + line + " HTTP/1.0\r\n\r\n",
			"CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n",
			"CONNECT " + hostOnly + ":80 HTTP/1.1\r\n\r\n",
			"CONNECT " + hostOnly + ":443 HTTP/1.1\r\n\r\n",
		} {
			if res, body := b.say(raw); res == nil || res.StatusCode != 403 && res.StatusCode != 400 {
				t.Errorf("%q: %v %s", raw, res, body)
			}
		}
		// As a name that DNS answers for.
		if _, err := b.Check(t.Context(), hostOnly, 80); err == nil {
			t.Errorf("%q may be reached", hostOnly)
		}
	}
	if d := w.dialled(); len(d) != 0 {
		t.Errorf("dialled %v", d)
	}
	t.Logf("%d spellings", len(lines))
}
