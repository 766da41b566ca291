package certificate_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity/certificate"
	"github.com/stead-dev/stead/internal/identity/certificate/certificatetest"
)

const batch = "spiffe://acme.example/batch"

// chain is what a client shows.
func chain(tb testing.TB, c *tls.Certificate, between ...*certificatetest.Authority) []*x509.Certificate {
	tb.Helper()
	out := []*x509.Certificate{c.Leaf}
	for _, a := range between {
		out = append(out, a.Certificate)
	}
	return out
}

func trusting(of ...*certificatetest.Authority) *certificate.Authenticator {
	a := certificate.New(time.Now)
	a.Trust(certificatetest.Certificates(of...))
	return a
}

func codeOf(err error) string {
	e, _ := errors.AsType[*stead.Error](err)
	if e == nil {
		return ""
	}
	return e.Code
}

func TestWhoIsKnown(t *testing.T) {
	ca, stranger := certificatetest.New(t, "acme"), certificatetest.New(t, "acme")
	below := ca.Below(t, "acme below")
	a := trusting(ca)
	a.Replace([]certificate.Rule{
		{SPIFFE: batch, Project: "one", Kind: stead.PrincipalService, Role: "developer"},
		{SPIFFE: "spiffe://acme.example/box", Project: "two", Executor: true},
		{Subject: "CN=Ada,OU=Lab\\, 2,O=Acme", Project: "one", Kind: stead.PrincipalUser, ID: "ada", Role: "agent", Bound: true},
		{SPIFFE: "spiffe://acme.example/denied", Project: "one", Kind: stead.PrincipalService, Role: "owner"},
	}, []certificate.Denial{{SPIFFE: "spiffe://acme.example/denied"}, {Serial: "00:0A:bc"}, {Subject: "CN=Eve"}})
	issue := ca.Issue
	uri := func(ids ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.URIs = certificatetest.URIs(t, ids...) }
	}
	with := func(change func(*x509.Certificate)) func(*x509.Certificate) {
		return func(c *x509.Certificate) { uri(batch)(c); change(c) }
	}
	ada := pkix.Name{Organization: []string{"Acme"}, OrganizationalUnit: []string{"Lab, 2"}, CommonName: "Ada"}
	for what, c := range map[string]struct {
		shown []*x509.Certificate
		want  string // the principal, or the code
	}{
		"by its SPIFFE id":           {chain(t, issue(t, uri(batch))), "one service " + batch},
		"through an authority below": {chain(t, below.Issue(t, uri(batch)), below), "one service " + batch},
		"whose link is missing":      {chain(t, below.Issue(t, uri(batch))), certificate.CodeUnknown},
		"by its subject":             {chain(t, issue(t, func(c *x509.Certificate) { c.Subject = ada })), "one user ada"},
		"a subject with more": {chain(t, issue(t, func(c *x509.Certificate) {
			c.Subject = ada
			c.Subject.Country = []string{"CH"}
		})), certificate.CodeUnmapped},
		"the name alone": {chain(t, issue(t, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "Ada"} })), certificate.CodeUnmapped},
		"a SPIFFE id as subject": {chain(t, issue(t, func(c *x509.Certificate) {
			c.Subject = pkix.Name{CommonName: batch}
		})), certificate.CodeUnmapped},
		"a DNS name like it": {chain(t, issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"batch"} })), certificate.CodeName},
		"a URI beside a subject": {chain(t, issue(t, func(c *x509.Certificate) {
			uri("spiffe://acme.example/else")(c)
			c.Subject = ada
		})), certificate.CodeUnmapped},
		"an executor":                       {chain(t, issue(t, uri("spiffe://acme.example/box"))), "two executor"},
		"nobody":                            {nil, certificate.CodeMissing},
		"two URIs":                          {chain(t, issue(t, uri(batch, "spiffe://acme.example/box"))), certificate.CodeName},
		"one URI twice":                     {chain(t, issue(t, uri(batch, batch))), certificate.CodeName},
		"another URI":                       {chain(t, issue(t, uri("https://acme.example/batch"))), certificate.CodeName},
		"a deeper path":                     {chain(t, issue(t, uri(batch+"/more"))), certificate.CodeUnmapped},
		"another domain":                    {chain(t, issue(t, uri("spiffe://acme.example.evil/batch"))), certificate.CodeUnmapped},
		"upper case":                        {chain(t, issue(t, uri("spiffe://Acme.example/batch"))), certificate.CodeName},
		"dots":                              {chain(t, issue(t, uri("spiffe://acme.example/x/../batch"))), certificate.CodeName},
		"a query":                           {chain(t, issue(t, uri(batch+"?x"))), certificate.CodeName},
		"a domain alone":                    {chain(t, issue(t, uri("spiffe://acme.example"))), certificate.CodeName},
		"expired":                           {chain(t, issue(t, with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }))), certificate.CodeTime},
		"not valid yet":                     {chain(t, issue(t, with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }))), certificate.CodeTime},
		"for servers":                       {chain(t, issue(t, with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))), certificate.CodeUse},
		"with no use named":                 {chain(t, issue(t, with(func(c *x509.Certificate) { c.ExtKeyUsage = nil }))), "one service " + batch},
		"an authority":                      {chain(t, issue(t, with(func(c *x509.Certificate) { c.IsCA = true }))), certificate.CodeUse},
		"another authority":                 {chain(t, stranger.Issue(t, uri(batch))), certificate.CodeUnknown},
		"denied by its id":                  {chain(t, issue(t, uri("spiffe://acme.example/denied"))), certificate.CodeDenied},
		"denied by its subject, with an id": {chain(t, issue(t, with(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "Eve"} }))), certificate.CodeDenied},
		"an id without a subject":           {chain(t, issue(t, with(func(c *x509.Certificate) { c.Subject = pkix.Name{} }))), "one service " + batch},
		"neither":                           {chain(t, issue(t, func(c *x509.Certificate) { c.Subject = pkix.Name{} })), certificate.CodeName},
		"denied by number":                  {chain(t, issue(t, with(func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0xabc) }))), certificate.CodeDenied},
		"denied by subject":                 {chain(t, issue(t, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "Eve"} })), certificate.CodeDenied},
		"too many":                          {chain(t, issue(t, uri(batch)), ca, ca, ca, ca, ca, ca, ca, ca), certificate.CodeInvalid},
	} {
		who, err := a.Authenticate(c.shown, "")
		got := codeOf(err)
		switch {
		case err == nil && who.Executor:
			got = string(who.Project) + " executor"
		case err == nil:
			got = string(who.Project) + " " + string(who.Kind) + " " + who.ID
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q (%v)", what, got, c.want, err)
		}
		if err == nil && (!strings.HasPrefix(who.Shown.ID, certificate.IDPrefix) || who.Shown.Until.IsZero() || who.Shown.Until.After(c.shown[0].NotAfter)) {
			t.Errorf("%s: %+v", what, who)
		}
	}
	good := chain(t, issue(t, uri(batch)))
	if _, err := a.Authenticate(good, "two"); codeOf(err) != certificate.CodeNoProject {
		t.Errorf("in another project: %v", err)
	}
	if _, err := a.Authenticate(good, "one"); err != nil {
		t.Errorf("in its own, by name: %v", err)
	}
}

// What was believed once is not believed for longer than it is true.
func TestABeliefEnds(t *testing.T) {
	now := time.Now()
	ca, next := certificatetest.New(t, "one"), certificatetest.New(t, "two")
	below := ca.Below(t, "below") // it ends a little after the hour that ca has
	a := certificate.New(func() time.Time { return now })
	a.Trust(certificatetest.Certificates(ca))
	rule := certificate.Rule{SPIFFE: batch, Project: "one", Kind: stead.PrincipalService, Role: "agent"}
	a.Replace([]certificate.Rule{rule}, nil)
	long := chain(t, below.Issue(t, func(c *x509.Certificate) {
		c.URIs, c.Subject = certificatetest.URIs(t, batch), pkix.Name{CommonName: "batch-7"}
		c.NotAfter = time.Now().Add(24 * time.Hour)
	}), below)
	who, err := a.Authenticate(long, "")
	if err != nil || who.Shown.Until.After(ca.Certificate.NotAfter) {
		t.Fatalf("it outlives its authority: %+v, %v", who, err)
	}
	stands := func(want bool, what string) {
		t.Helper()
		if a.Stands(who.Shown, who.Principal) != want {
			t.Errorf("%s: it stands: %t", what, !want)
		}
	}
	stands(true, "at first")
	a.Replace([]certificate.Rule{rule}, []certificate.Denial{{Serial: strings.TrimPrefix(who.Shown.ID, certificate.IDPrefix)}})
	if _, err := a.Authenticate(long, ""); codeOf(err) != certificate.CodeDenied {
		t.Errorf("after it was denied: %v", err)
	}
	stands(false, "denied")
	a.Replace(nil, nil)
	if _, err := a.Authenticate(long, ""); codeOf(err) != certificate.CodeUnmapped {
		t.Errorf("after its rule went: %v", err)
	}
	stands(false, "without a rule")
	for what, change := range map[string]func(*certificate.Rule){
		"of another role":    func(r *certificate.Rule) { r.Role = "auditor" },
		"of another project": func(r *certificate.Rule) { r.Project = "two" },
		"of another id":      func(r *certificate.Rule) { r.ID = "somebody" },
		"of another kind":    func(r *certificate.Rule) { r.Kind = stead.PrincipalUser },
		"bound":              func(r *certificate.Rule) { r.Bound = true },
		"an executor's":      func(r *certificate.Rule) { r.Executor = true },
	} {
		other := rule
		change(&other)
		a.Replace([]certificate.Rule{other}, nil)
		stands(false, "by a rule "+what)
	}
	a.Replace([]certificate.Rule{rule}, []certificate.Denial{{Subject: who.Shown.Subject}})
	stands(false, "denied by its subject")
	a.Replace([]certificate.Rule{rule}, nil)
	stands(true, "by its rule again")
	a.Trust(certificatetest.Certificates(next))
	stands(false, "without its authority")
	if _, err := a.Authenticate(long, ""); codeOf(err) != certificate.CodeUnknown {
		t.Errorf("after its authority went: %v", err)
	}
	a.Trust(certificatetest.Certificates(ca, next))
	if _, err := a.Authenticate(long, ""); err != nil {
		t.Errorf("after it came back: %v", err)
	}
	stands(true, "after its authority came back")
	now = ca.Certificate.NotAfter.Add(time.Second)
	if _, err := a.Authenticate(long, ""); codeOf(err) != certificate.CodeTime {
		t.Errorf("after its authority's time: %v", err)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	ca := certificatetest.New(b, "acme")
	a := trusting(ca)
	a.Replace([]certificate.Rule{{SPIFFE: batch, Project: "one", Kind: stead.PrincipalService, Role: "agent"}}, nil)
	shown := chain(b, ca.SPIFFE(b, batch))
	for b.Loop() {
		if _, err := a.Authenticate(shown, ""); err != nil {
			b.Fatal(err)
		}
	}
}
