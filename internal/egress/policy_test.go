package egress

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

func TestPatterns(t *testing.T) {
	usual := portSet{80, 443}
	for _, tc := range []struct {
		pattern string
		yes, no []string // host:port
	}{
		{"example.com", []string{"example.com:443", "EXAMPLE.com:80", "example.com.:443"}, []string{"www.example.com:443", "notexample.com:443", "example.com.evil.org:443", "example.com:8443", "example.co:443"}},
		{"Example.COM.", []string{"example.com:443"}, []string{"a.example.com:443"}},
		{"*.example.com", []string{"a.example.com:443", "a.b.example.com:80"}, []string{"example.com:443", "aexample.com:443", "example.com.a:443"}},
		{".example.com", []string{"example.com:443", "a.b.example.com:80"}, []string{"notexample.com:443", "com:443"}},
		{"example.com:8443", []string{"example.com:8443"}, []string{"example.com:443"}},
		{"*.example.com:*", []string{"a.example.com:22", "a.example.com:443"}, []string{"example.com:22"}},
		{"xn--bcher-kva.example", []string{"XN--BCHER-KVA.example:443"}, nil},
		{"93.184.216.34", []string{"93.184.216.34:443"}, []string{"93.184.216.35:443", "93.184.216.34.example.com:80"}},
		{"[2001:db8::1]:8080", []string{"[2001:DB8:0::1]:8080"}, []string{"[2001:db8::1]:80"}},
	} {
		p, err := parsePattern(tc.pattern)
		if err != nil {
			t.Errorf("%s: %v", tc.pattern, err)
			continue
		}
		for i, target := range append(slices.Clone(tc.yes), tc.no...) {
			h, port, err := parseAuthority(target, 443)
			if err != nil {
				t.Errorf("%s: %v", target, err)
			}
			if got, want := p.matches(h, port, usual), i < len(tc.yes); got != want {
				t.Errorf("%s matches %s: %v", tc.pattern, target, got)
			}
		}
	}
}

func TestBadPatterns(t *testing.T) {
	for _, s := range []string{
		"", ".", "*", "*.", "*.*.example.com", "a.*.example.com", "exa*mple.com", "*example.com", "..example.com", "example..com",
		"example.com:0", "example.com:65536", "example.com:80:*", "example.com:", "http://example.com", "example.com/x", "user@example.com",
		"exa mple.com", "exämple.com", "example.com..", "-a.example.com", "a-.example.com", "2852039166", "0x7f.1", "127.1", "1.2.3.4.5", "*.1.2.3.4",
		"::1", "[::1", "[::ffff:1.2.3.4]", "[fe80::1%25eth0]", "a\x00.example.com", "%65xample.com", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 130) + "com",
	} {
		_, err := New(Config{Policy: allow("ok.example", s), Recorder: (&box{}).recorder})
		var e *stead.Error
		if !errors.As(err, &e) || e.Kind != stead.KindInvalid || e.Param != "network.allowed_domains[1]" {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestDecisions(t *testing.T) {
	restricted := func(allowed, blocked string, mend ...func(*Policy)) Policy {
		p := Policy{Access: AccessRestricted, Allowed: strings.Fields(allowed), Blocked: strings.Fields(blocked)}
		for _, f := range mend {
			f(&p)
		}
		return p
	}
	for _, tc := range []struct {
		policy Policy
		target string
		rule   string // "": allowed
	}{
		{Policy{Access: AccessDisabled, Allowed: []string{"a.example"}}, "a.example:443", RuleAccess},
		{restricted("", ""), "a.example:443", RuleAccess},
		{Policy{Access: AccessEnabled}, "a.example:8443", ""},
		{Policy{Access: AccessEnabled}, "93.184.216.34:443", RuleLiteral},
		{Policy{Access: AccessEnabled, Private: []string{"93.184.216.34"}}, "93.184.216.34:443", ""},
		{Policy{Access: AccessEnabled, Ports: []uint16{443}}, "a.example:80", RulePorts},
		{restricted("a.example", ""), "a.example:443", ""},
		{restricted("a.example", ""), "a.example:22", RulePorts},
		{restricted("a.example", ""), "b.example:443", RuleAllowed},
		{restricted("a.example", ""), "93.184.216.34:443", RuleLiteral},
		{restricted("a.example 93.184.216.34", ""), "93.184.216.34:443", ""},
		{restricted("", "bad.example"), "good.example:8080", ""},
		{restricted("", "bad.example"), "bad.example:443", RuleBlocked},
		{restricted("", "bad.example"), "BAD.example.:443", RuleBlocked},
		{restricted("", "bad.example"), "deep.under.bad.example:9", RuleBlocked},
		{restricted("", "bad.example"), "notbad.example:443", ""},
		{restricted("", "bad.example"), "bad.example.com:443", ""},
		{restricted("", "bad.example:25"), "bad.example:443", ""},
		{restricted(".a.example", "x.a.example"), "x.a.example:443", RuleBlocked},
		{restricted(".a.example", "x.a.example"), "y.a.example:443", ""},
	} {
		r, err := compile(tc.policy)
		must(t, err)
		h, port, err := parseAuthority(tc.target, 443)
		must(t, err)
		got := ""
		if no := r.decide(h, port); no != nil {
			got = no.rule
		}
		if got != tc.rule {
			t.Errorf("%+v, %s: %q, want %q", tc.policy, tc.target, got, tc.rule)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		policy Policy
		param  string // "": valid
	}{
		{Policy{Access: AccessEnabled}, ""},
		{Policy{Access: AccessDisabled}, ""},
		{allow("a.example", "*.b.example"), ""},
		{Policy{Access: AccessRestricted, Blocked: []string{"a.example"}}, ""},
		{Policy{}, RuleAccess},
		{Policy{Access: "full"}, RuleAccess},
		{Policy{Access: AccessEnabled, Blocked: []string{"a.example"}}, RuleBlocked},
		{Policy{Access: AccessDisabled, Blocked: []string{"a.example"}}, RuleBlocked},
		{Policy{Access: AccessEnabled, Allowed: []string{"a.example"}}, RuleAllowed},
		{Policy{Access: AccessRestricted, Allowed: []string{"a.example"}, Blocked: []string{"b.example"}}, RuleBlocked},
		{Policy{Access: AccessRestricted, Blocked: []string{"b.example", "*.c.example"}}, "network.blocked_domains[1]"},
		{Policy{Access: AccessRestricted, Allowed: make([]string, MaxPatterns+1)}, RuleAllowed},
		{Policy{Access: AccessEnabled, OpaquePorts: []uint16{443}}, RuleOpaque},
		{Policy{Access: AccessEnabled, Private: []string{"10.0.0.1/8"}}, "network.private[0]"},
		{Policy{Access: AccessEnabled, Private: []string{"a.example:80"}}, "network.private[0]"},
		{Policy{Access: AccessEnabled, Limits: Limits{PerMinute: -1}}, "network.limits.per_minute"},
	} {
		err := tc.policy.Validate()
		if got := paramOf(err); got != tc.param {
			t.Errorf("%.200v: %v (%s), want %q", tc.policy, err, got, tc.param)
		}
	}
}

func paramOf(err error) string {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e.Param
	}
	return ""
}

func TestNarrow(t *testing.T) {
	enabled, disabled := Policy{Access: AccessEnabled}, Policy{Access: AccessDisabled}
	blocked := func(names ...string) Policy { return Policy{Access: AccessRestricted, Blocked: names} }
	ports := func(p Policy, ports ...uint16) Policy { p.Ports = ports; return p }
	for _, tc := range []struct {
		name          string
		parent, child Policy
		param         string   // "": it works
		yes, no       []string // of the result
	}{
		{"left out", allow("a.example"), Policy{}, "", []string{"a.example:443"}, []string{"b.example:443"}},
		{"enabled to restricted", enabled, allow("a.example"), "", []string{"a.example:443"}, []string{"b.example:443"}},
		{"enabled to disabled", enabled, disabled, "", nil, []string{"a.example:443"}},
		{"enabled to blocked", enabled, blocked("a.example"), "", []string{"b.example:443"}, []string{"x.a.example:443"}},
		{"restricted to enabled", allow("a.example"), enabled, RuleAccess, nil, nil},
		{"blocked to enabled", blocked("a.example"), enabled, RuleAccess, nil, nil},
		{"disabled to anything", disabled, allow("a.example"), RuleAccess, nil, nil},
		{"nothing to something", Policy{Access: AccessRestricted}, blocked("a.example"), RuleAccess, nil, nil},
		{"something to nothing", blocked("a.example"), Policy{Access: AccessRestricted}, "", nil, []string{"a.example:443", "b.example:443"}},
		{"subset", allow("a.example", ".b.example"), allow("x.b.example", "*.y.b.example", ".b.example"), "", []string{"x.b.example:443", "b.example:80"}, []string{"a.example:443"}},
		{"more", allow("a.example", ".b.example"), allow("a.example", "x.b.example", "c.example"), "network.allowed_domains[2]", nil, nil},
		{"wider suffix", allow("*.b.example"), allow(".b.example"), "network.allowed_domains[0]", nil, nil},
		{"suffix of an exact name", allow("b.example"), allow("*.b.example"), "network.allowed_domains[0]", nil, nil},
		{"look-alike", allow(".b.example"), allow("notb.example"), "network.allowed_domains[0]", nil, nil},
		{"other port", allow("a.example"), allow("a.example:22"), "network.allowed_domains[0]", nil, nil},
		{"every port", allow("a.example:*"), allow("a.example:22"), "", []string{"a.example:22"}, []string{"a.example:443"}},
		{"every port from one", allow("a.example:22"), allow("a.example:*"), "network.allowed_domains[0]", nil, nil},
		{"blocked on top of allowed", allow(".a.example"), blocked("x.a.example"), "", []string{"y.a.example:443"}, []string{"x.a.example:443", "b.example:443"}},
		{"blocked on top of blocked", blocked("a.example"), blocked("b.example"), "", []string{"c.example:443"}, []string{"a.example:443", "b.example:443"}},
		{"allowed below blocked", blocked("x.a.example"), allow(".a.example"), "", []string{"y.a.example:443"}, []string{"x.a.example:443", "b.example:443"}},
		{"an address below all names", enabled, allow("a.example", "93.184.216.34"), "network.allowed_domains[1]", nil, nil},
		{"an address below blocked names", blocked("a.example"), allow("93.184.216.34:443"), "network.allowed_domains[0]", nil, nil},
		{"an address that is allowed", allow("93.184.216.34:*"), allow("93.184.216.34"), "", []string{"93.184.216.34:443"}, []string{"93.184.216.34:22", "93.184.216.35:443"}},
		{"ports", ports(enabled, 443, 8443), allow("a.example:8443"), "", []string{"a.example:8443"}, []string{"a.example:443"}},
		{"ports more", ports(enabled, 443), allow("a.example:8443"), "network.allowed_domains[0]", nil, nil},
		{"ports inherited", ports(enabled, 443), allow("a.example"), "", []string{"a.example:443"}, []string{"a.example:80"}},
		{"more ports", allow("a.example"), Policy{Access: AccessRestricted, Blocked: []string{"b.example"}, Ports: []uint16{22}}, "network.ports[0]", nil, nil},
		{"private", enabled, Policy{Access: AccessEnabled, Private: []string{"10.0.0.0/8"}}, "network.private[0]", nil, nil},
		{"opaque", enabled, Policy{Access: AccessEnabled, OpaquePorts: []uint16{22}}, "network.opaque_ports[0]", nil, nil},
		{"lists without access", enabled, Policy{Allowed: []string{"a.example"}}, RuleAccess, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Narrow(tc.parent, tc.child)
			if paramOf(err) != tc.param || (err == nil) != (tc.param == "") {
				t.Fatalf("%v (%s), want %q", err, paramOf(err), tc.param)
			}
			if err == nil {
				expectReach(t, got, tc.yes, tc.no)
			}
		})
	}
}

func expectReach(t *testing.T, p Policy, yes, no []string) {
	t.Helper()
	r, err := compile(p)
	must(t, err)
	for i, target := range append(slices.Clone(yes), no...) {
		h, port, err := parseAuthority(target, 443)
		must(t, err)
		if allowed := r.decide(h, port) == nil; allowed != (i < len(yes)) {
			t.Errorf("%+v: %s is allowed: %v", p, target, allowed)
		}
	}
}

// TestNarrowNeverBroadens: whatever a child says, what it may reach its parent may reach.
func TestNarrowNeverBroadens(t *testing.T) {
	accesses := []Access{"", AccessDisabled, AccessRestricted, AccessEnabled}
	alloweds := [][]string{nil, {"a.test"}, {".a.test"}, {"*.a.test"}, {"x.a.test:8443"}, {"a.test:*", "b.test"}, {"93.184.216.34", "a.test"}}
	blockeds := [][]string{nil, {"a.test"}, {"x.a.test:443"}}
	portss := [][]uint16{nil, {443}, {443, 8443}}
	var policies []Policy
	for _, a := range accesses {
		for _, al := range alloweds {
			for _, bl := range blockeds {
				for _, po := range portss {
					policies = append(policies, Policy{Access: a, Allowed: al, Blocked: bl, Ports: po})
				}
			}
		}
	}
	var targets []host
	for _, name := range []string{"a.test", "x.a.test", "y.x.a.test", "b.test", "c.test"} {
		targets = append(targets, host{name: name})
	}
	targets = append(targets, host{addr: netip.MustParseAddr("93.184.216.34")})
	narrowed := 0
	for _, parent := range policies {
		above, err := compile(parent)
		if err != nil {
			continue
		}
		for _, child := range policies {
			got, err := Narrow(parent, child)
			if err != nil {
				continue
			}
			narrowed++
			below, err := compile(got)
			must(t, err)
			own := below
			if child.Access != "" {
				own, err = compile(child)
				must(t, err)
			}
			for _, h := range targets {
				for _, port := range []uint16{22, 80, 443, 8443} {
					allowed := below.decide(h, port) == nil
					if allowed && above.decide(h, port) != nil {
						t.Fatalf("%+v under %+v reaches %v:%d", child, parent, h, port)
					}
					// Ports and lists that the child leaves out are the parent's: they may be more than it said.
					if allowed && len(child.Ports) > 0 && len(child.Allowed) > 0 && own.decide(h, port) != nil {
						t.Fatalf("%+v under %+v reaches %v:%d, which it did not ask for", child, parent, h, port)
					}
				}
			}
		}
	}
	if narrowed < 1000 {
		t.Errorf("only %d pairs could be narrowed: the test says little", narrowed)
	}
}

func TestLimitsNarrow(t *testing.T) {
	got, err := Narrow(Policy{Access: AccessEnabled, Limits: Limits{UpBytes: 100, Connections: 5}}, Policy{Access: AccessEnabled, Limits: Limits{UpBytes: 200, Connections: 2}})
	must(t, err)
	if got.Limits.UpBytes != 100 || got.Limits.Connections != 2 || got.Limits.DownBytes != DefaultDownBytes {
		t.Errorf("%+v", got.Limits)
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"example.com", "*.example.com", ".example.com:8443", "[::1]:*", "1.2.3.4"} {
		f.Add(s, "www.example.com", uint16(443))
	}
	f.Fuzz(func(t *testing.T, s, name string, port uint16) {
		p, err := parsePattern(s)
		h, herr := parseHost(name)
		if err != nil || herr != nil || port == 0 {
			return
		}
		usual := portSet{80, 443}
		if !p.covers(p, usual, usual) {
			t.Errorf("%q does not cover itself", s)
		}
		exact := pattern{host: h, self: true, ports: portSet{port}}
		if p.matches(h, port, usual) != p.covers(exact, usual, usual) {
			t.Errorf("%q matches and covers %q:%d differently", s, name, port)
		}
		if p.matches(h, port, usual) && h.name != "" && h.name != p.host.name && !strings.HasSuffix(h.name, "."+p.host.name) {
			t.Errorf("%q matches %q", s, name)
		}
		again, err := parseHost(h.authority(port, port))
		if err != nil || again != h {
			t.Errorf("%q reads back as %v, %v", h, again, err)
		}
	})
}
