package egress

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// closed are addresses that no box may reach, one or two of each class that matters.
func closed() []netip.Addr {
	var out []netip.Addr
	for s := range strings.FieldsSeq("169.254.169.254 169.254.170.2 100.100.100.200 127.0.0.1 127.1.2.3 10.0.0.1 172.16.0.1 192.168.1.1 0.0.0.0") {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// numbers writes an IPv4 address the ways that inet_aton(3), browsers and parsers of URLs take: in other
// bases, with zeros in front, with octets that overflow, with fewer parts than four, and mixed.
func numbers(a netip.Addr) []string {
	b := a.As4()
	n := binary.BigEndian.Uint32(b[:])
	last3, last2 := n&0xffffff, n&0xffff
	octets := func(format string) string {
		return fmt.Sprintf(strings.Repeat("."+format, 4)[1:], b[0], b[1], b[2], b[3])
	}
	return []string{
		fmt.Sprint(n), fmt.Sprintf("%#x", n), fmt.Sprintf("%#X", n), fmt.Sprintf("%#o", n), fmt.Sprintf("0x%010x", n), fmt.Sprintf("00%#o", n), fmt.Sprint(uint64(n) + 1<<32),
		octets("%#x"), octets("%#X"), octets("%#04o"), octets("0000%o"), octets("0x00%x"), octets("%03d"), octets("%04d"),
		fmt.Sprintf("%d.%d.%d.%d", int(b[0])+256, int(b[1])+256, int(b[2])+256, int(b[3])+256),
		fmt.Sprintf("%d.%d", b[0], last3), fmt.Sprintf("%d.%d.%d", b[0], b[1], last2), fmt.Sprintf("%#x.%d", b[0], last3), fmt.Sprintf("%#x.%#o.%d", b[0], b[1], last2),
		fmt.Sprintf("%#x.%#o.%d.%d", b[0], b[1], b[2], b[3]), fmt.Sprintf("%d.%#o.%#x", b[0], b[1], last2),
		a.String() + ".", a.String() + "..", "." + a.String(), a.String() + ".0", a.String() + "/", a.String() + "%00", a.String() + "%eth0",
	}
}

// inIPv6 writes an IPv4 address inside IPv6 ones: mapped, compatible, translated, NAT64, 6to4, Teredo,
// ISATAP, with zones, with the IPv4 part dotted or not.
func inIPv6(a netip.Addr) []string {
	b := a.As4()
	hex := fmt.Sprintf("%02x%02x:%02x%02x", b[0], b[1], b[2], b[3])
	inverted := fmt.Sprintf("%02x%02x:%02x%02x", ^b[0], ^b[1], ^b[2], ^b[3])
	var out []string
	for _, s := range []string{
		"::ffff:" + a.String(), "::ffff:" + hex, "::FFFF:" + strings.ToUpper(hex), "0:0:0:0:0:ffff:" + hex, "0000:0000:0000:0000:0000:ffff:" + a.String(),
		"::" + a.String(), "::" + hex, "::ffff:0:" + a.String(), "::ffff:0:" + hex,
		"64:ff9b::" + a.String(), "64:ff9b::" + hex, "64:ff9b:1::" + hex, "64:ff9b:1:ffff::" + a.String(),
		"2002:" + hex + "::", "2002:" + hex + "::1", "2001::" + inverted, "2001:0:808:808:0:0:" + inverted,
		"fe80::5efe:" + a.String(), "2606:4700::5efe:" + hex, "2606:4700::200:5efe:" + hex,
	} {
		out = append(out, "["+s+"]", "["+s+"%25eth0]", "["+s+"%lo]", s)
	}
	return out
}

// inUnicode writes an address with the digits and stops of other scripts, which IDNA makes ASCII of.
func inUnicode(a netip.Addr) []string {
	var out []string
	plain := a.String()
	for _, zero := range []rune{'０', '𝟎', '𝟘', '𝟢', '𝟬', '𝟶', '٠', '۰', '०', '০'} {
		out = append(out, strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return zero + r - '0'
			}
			return r
		}, plain))
	}
	circled := strings.NewReplacer("0", "⓪", "1", "①", "2", "②", "3", "③", "4", "④", "5", "⑤", "6", "⑥", "7", "⑦", "8", "⑧", "9", "⑨")
	out = append(out, circled.Replace(plain), strings.ReplaceAll(plain, "1", "¹"))
	for _, stop := range []string{"。", "．", "｡", "%2e", "%2E", "%252e", "%E3%80%82", "․"} {
		out = append(out, strings.ReplaceAll(plain, ".", stop))
	}
	var encoded strings.Builder
	for i := range len(plain) {
		fmt.Fprintf(&encoded, "%%%02x", plain[i])
	}
	return append(out, encoded.String(), plain[:1]+"\u00ad"+plain[1:], plain[:1]+"\u200b"+plain[1:], "\ufeff"+plain)
}

// carriers put a spelling where parsers of authorities disagree: behind a user's name, before a second
// port, beside another host.
func carriers(s string) []string {
	return []string{
		s, s + ":80", s + ":80:80", s + ":0080", s + ":", "web.example@" + s, "web.example:80@" + s + ":80", s + "@web.example@" + s,
		"web.example#@" + s, "web.example\\@" + s, s + "\tweb.example", s + "%09web.example", s + "+&@web.example#+@web.example", "web.example+&@" + s + "#+@web.example",
	}
}

// TestOwnSpellings is what stands in for TestCorpus wherever the corpus is not: each address that no box
// may reach, in each spelling above, in requests of each kind, as a host and as a name that DNS answers
// for with that very address.
func TestOwnSpellings(t *testing.T) {
	w := newWorld(t)
	b := w.box(Policy{Access: AccessEnabled})
	total := 0
	const perBox = 10 // spellings: a box makes only so many connections a minute
	for _, a := range closed() {
		w.names["web.example"] = []netip.Addr{a} // the worst case
		for _, s := range append(append(numbers(a), inIPv6(a)...), inUnicode(a)...) {
			if total++; total%perBox == 0 {
				b = w.box(Policy{Access: AccessEnabled})
			}
			if h, err := parseHost(s); err == nil && h.addr.IsValid() && h.addr != a && newAddressTable().classify(h.addr) == classPublic {
				t.Errorf("%q is read as the public %s", s, h.addr)
			}
			if _, err := b.Check(t.Context(), s, 80); err == nil {
				t.Errorf("%q may be reached", s)
			}
			lines := []string{"GET http://" + s + "/ HTTP/1.1\r\nHost: web.example\r\n\r\n", "CONNECT " + s + ":443 HTTP/1.1\r\nHost: " + s + ":443\r\n\r\n"}
			if total%7 == 0 { // with others around it: the combinations are many, and each spelling meets some
				for _, c := range carriers(s) {
					lines = append(lines, "GET http://"+c+"/ HTTP/1.1\r\nHost: "+c+"\r\n\r\n", "CONNECT "+c+" HTTP/1.1\r\nHost: "+c+"\r\n\r\n")
				}
			}
			for _, raw := range lines {
				if res, body := b.say(raw); res == nil || res.StatusCode != 403 && res.StatusCode != 400 {
					t.Errorf("%q: %v %s", raw, res, body)
				}
			}
		}
	}
	if d := w.dialled(); len(d) != 0 {
		t.Errorf("dialled %v", d)
	}
	const least = 1000
	if total < least {
		t.Errorf("only %d spellings", total)
	}
}
