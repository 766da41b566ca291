package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/environment/executor"
	"github.com/stead-dev/stead/internal/identity"
	clientcert "github.com/stead-dev/stead/internal/identity/certificate"
)

// Limits of tls.client_ca.
const (
	maxClientCABytes       = 4 << 20
	maxClientAuthorities   = 1024
	maxHandshakeErrorBytes = 4 << 10 // of one line that net/http says
)

// actHandshake stands for the request in records of handshakes that were refused: there was none yet.
const actHandshake = "TLS handshake"

// clientCertificates asks those who connect for certificates, and knows whose they are.
type clientCertificates struct {
	*clientcert.Authenticator
	file     string
	required bool
	own      *tls.Certificate // of this process, which calls itself where they are required
	log      *slog.Logger
	now      func() time.Time
	// turnedAway is told of handshakes that were refused; set before anybody connects.
	turnedAway func(c audit.Call, code, why, claimed string)

	mu     sync.Mutex
	seen   fileState
	looked time.Time
}

// fileState is what of a file tells that it was changed.
type fileState struct {
	at    time.Time
	bytes int64
}

func stateOf(file string) fileState {
	st, err := os.Stat(file)
	if err != nil {
		return fileState{}
	}
	return fileState{st.ModTime(), st.Size()}
}

// openClientCertificates reads the authorities and the rules; nil where no certificates are asked for. The error is KindInvalid.
func openClientCertificates(cfg *config.Config, log *slog.Logger, now func() time.Time) (*clientCertificates, error) {
	if cfg.TLS.ClientCA == "" {
		return nil, nil
	}
	c := &clientCertificates{
		Authenticator: clientcert.New(now), file: cfg.TLS.ClientCA, required: cfg.TLS.ClientAuth == config.ClientAuthRequired, log: log, now: now,
		turnedAway: func(audit.Call, string, string, string) {},
	}
	if err := c.read(); err != nil {
		return nil, err
	}
	if c.required {
		var err error
		if c.own, err = ownCertificate(now()); err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "this process can't make a certificate for itself")
		}
		c.Own(c.own.Certificate[0])
	}
	return c, c.replace(cfg)
}

// replace takes the rules of a configuration.
func (c *clientCertificates) replace(cfg *config.Config) error {
	allow, deny, err := certificateRules(cfg.ClientCertificates)
	if err == nil {
		c.Replace(allow, deny)
	}
	return err
}

// certificateRules checks what package config does not know about: roles, and the form of names.
func certificateRules(all config.ClientCertificates) (allow []clientcert.Rule, deny []clientcert.Denial, err error) {
	for n, r := range all.Allow {
		at := fmt.Sprintf("client_certificates.allow[%d]", n)
		if r.SPIFFE != "" && !clientcert.IsSPIFFE(r.SPIFFE) {
			e := stead.Invalid(at+".spiffe_id", "%s.spiffe_id is no SPIFFE id", at)
			e.Hint = "It is spiffe://TRUST-DOMAIN/PATH, the domain in lower case, without a port or wildcards."
			return nil, nil, e
		}
		if r.Kind != config.KindExecutor && !slices.Contains(identity.Roles(), r.Role) {
			e := stead.Invalid(at+".role", "%s.role is %q", at, r.Role)
			e.Hint = "The roles are " + strings.Join(identity.Roles(), ", ") + "."
			return nil, nil, e
		}
		kind := stead.PrincipalService
		if r.Kind == config.KindUser {
			kind = stead.PrincipalUser
		}
		allow = append(allow, clientcert.Rule{
			SPIFFE: r.SPIFFE, Subject: r.Subject, Project: stead.ProjectID(r.Project), Kind: kind, ID: r.ID, Role: stead.Role(r.Role), Bound: r.Bound,
			Executor: r.Kind == config.KindExecutor,
		})
	}
	for _, d := range all.Deny {
		deny = append(deny, clientcert.Denial{Serial: d.Serial, SPIFFE: d.SPIFFE, Subject: d.Subject})
	}
	return allow, deny, nil
}

// read takes the authorities in the file.
func (c *clientCertificates) read() error {
	all, _, err := readAuthorities(c.file)
	if err == nil {
		c.Trust(all)
	}
	return err
}

// readAuthorities reads a file of authorities, and until when the first of them lasts. Everything in it must be one.
func readAuthorities(file string) (all []*x509.Certificate, first time.Time, _ error) {
	wrong := func(cause error, format string, args ...any) error {
		e := stead.Wrap(stead.KindInvalid, cause, "tls.client_ca can't be used: "+format, args...)
		e.Param, e.Hint = "tls.client_ca", "It is a PEM file of the authorities' certificates, and of nothing else."
		return e
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, first, wrong(err, "it can't be read")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxClientCABytes+1))
	if err != nil || len(data) > maxClientCABytes {
		return nil, first, wrong(err, "it can't be read, or is larger than %d bytes", maxClientCABytes)
	}
	n := 0
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if n++; n > maxClientAuthorities {
			return nil, first, wrong(nil, "it has more than %d authorities", maxClientAuthorities)
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil || !ca.IsCA || !ca.BasicConstraintsValid {
			return nil, first, wrong(err, "its part %d is not the certificate of an authority", n)
		}
		if first.IsZero() || ca.NotAfter.Before(first) {
			first = ca.NotAfter
		}
		all = append(all, ca)
	}
	if n == 0 || strings.Contains(string(data), "-----BEGIN") { // half of one at the end: it is being written
		return nil, first, wrong(nil, "it has no authority, or is cut off")
	}
	return all, first, nil
}

// look reads the authorities again if their file has changed. Ones that can't be used change nothing: those before count on.
func (c *clientCertificates) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.looked) < certificateEvery {
		return
	}
	c.looked = now
	seen := stateOf(c.file)
	if seen == c.seen {
		return
	}
	c.seen = seen // a broken one is named once
	if err := c.read(); err != nil {
		c.log.Error("the new authorities of client certificates can't be used: those before count on", "err", err)
		return
	}
	c.log.Info("the authorities of client certificates were read again")
}

// ask makes a listener's configuration ask for certificates. They are verified here and not by crypto/tls, so that a refusal is
// known together with where it came from; a session that is resumed is looked at as well.
func (c *clientCertificates) ask(base *tls.Config) {
	each := base.Clone()
	each.NextProtos = []string{"h2", "http/1.1"}
	each.ClientAuth = tls.RequestClientCert
	if c.required {
		each.ClientAuth = tls.RequireAnyClientCert
	}
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c.look()
		one := each.Clone()
		one.ClientCAs = c.Authorities()
		from := hello.Conn.RemoteAddr().String()
		one.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 && !c.required {
				return nil
			}
			shown, err := c.Verify(s.PeerCertificates)
			if e, ok := err.(*stead.Error); ok {
				c.refused(from, e.Code, e.Message, shown.ID)
			}
			return err
		}
		return one, nil
	}
}

func (c *clientCertificates) refused(from, code, why, claimed string) {
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	c.turnedAway(audit.Call{Act: actHandshake, From: from}, code, why, claimed)
}

// The ends of what net/http says of a handshake, of which crypto/tls tells nobody else.
var handshakeFailures = []struct{ said, code, why string }{
	{"didn't provide a certificate", clientcert.CodeMissing, "a client certificate is needed"},
	{"by the client certificate", clientcert.CodeInvalid, "the client does not have the key of the certificate that it showed"},
}

var handshakeError = regexp.MustCompile(`^http: TLS handshake error from (\S+): (.*)`)

// errors looks through what net/http logs for handshakes that failed for want of a certificate, or of its key.
func (c *clientCertificates) errors(line string) {
	found := handshakeError.FindStringSubmatch(line)
	if found == nil {
		return
	}
	for _, f := range handshakeFailures {
		if strings.Contains(found[2], f.said) {
			c.refused(found[1], f.code, f.why, "")
		}
	}
}

// heard is a log of net/http that errors reads along.
type heard struct {
	io.Writer
	errors func(line string)
}

// Write implements io.Writer: one line at a time, as package log has it.
func (h heard) Write(b []byte) (int, error) {
	h.errors(string(b[:min(len(b), maxHandshakeErrorBytes)]))
	return h.Writer.Write(b)
}

// caller is who came with the certificate of a request's connection, by nothing else.
func (c *clientCertificates) caller(r *http.Request) (identity.Caller, error) {
	b, err := c.Authenticate(r.TLS.PeerCertificates, stead.ProjectID(r.Header.Get(projectHeader)))
	if err == nil && b.Executor {
		err = stead.Errorf(stead.KindForbidden, "the client certificate is an executor's, which runs what sessions say and calls nothing itself")
	}
	if err != nil {
		return identity.Caller{}, err
	}
	return identity.Caller{Principal: b.Principal, Key: b.Shown.ID, Until: b.Shown.Until, Certificate: identity.Certificate{
		Name: b.Shown.Name, Subject: b.Shown.Subject, Authorities: b.Shown.Authorities,
	}}, nil
}

// shown is what the certificate of a request's connection proves, if there is one, or has to be: at each request, since
// connections last longer than what they began with.
func (c *clientCertificates) shown(r *http.Request) (s clientcert.Shown, ok bool, err error) {
	if c == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 && !c.required {
		return s, false, nil
	}
	c.look()
	s, err = c.Verify(r.TLS.PeerCertificates)
	return s, err == nil, err
}

// stands says whether a certificate that somebody came with still counts; nil where none does.
func (c *clientCertificates) stands() func(id string, was identity.Certificate, as stead.Principal) bool {
	if c == nil {
		return nil
	}
	return func(id string, was identity.Certificate, as stead.Principal) bool {
		c.look() // no connection may have been made since the file changed
		return c.Stands(clientcert.Shown{ID: id, Name: was.Name, Subject: was.Subject, Authorities: was.Authorities}, as)
	}
}

// ofExecutor is what the hub of executors is told of a connection's certificate.
func (c *clientCertificates) ofExecutor(r *http.Request) (by executor.Certificate, err error) {
	s, ok, err := c.shown(r)
	if err != nil || !ok {
		return by, err
	}
	by = executor.Certificate{ID: s.ID, Name: s.Name, Until: s.Until}
	if b, err := c.Authenticate(r.TLS.PeerCertificates, ""); err == nil && b.Executor {
		by.Project = b.Project
	}
	return by, nil
}

// ownCertificate is one that this process knows itself by.
func ownCertificate(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	const lasts = 100 * 365 * 24 * time.Hour // it is in no file, and goes with the process
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stead"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lasts)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// checkClientCA says what is wrong with the authorities, or how long they are good for.
func checkClientCA(cfg *config.Config, now time.Time) finding {
	f := finding{Check: "client certificates", Verdict: verdictOK}
	_, first, err := readAuthorities(cfg.TLS.ClientCA)
	if err == nil {
		_, _, err = certificateRules(cfg.ClientCertificates)
	}
	const soon = 14 * 24 * time.Hour
	switch {
	case err != nil:
		f.Verdict, f.Detail, f.Remedy = verdictFail, oneLine(err.Error(), 300), "Mend tls.client_ca and client_certificates: the server does not start with them."
	default:
		f.Detail = fmt.Sprintf("%s, %d rules, %d denied; the first authority lasts until %s", cfg.TLS.ClientAuth, len(cfg.ClientCertificates.Allow), len(cfg.ClientCertificates.Deny), first.UTC().Format(time.DateOnly))
		if first.Sub(now) < soon {
			f.Verdict, f.Remedy = verdictWarn, "Put the next authority into the file beside it in time: a running server takes it by itself."
		}
	}
	return f
}

// tlsOf is what the command line and the environment say of TLS.
func (a *app) tlsOf() client.TLS {
	or := func(flag, name string) string {
		if flag != "" {
			return flag
		}
		if v, ok := a.env(name); ok {
			return v
		}
		return ""
	}
	return client.TLS{Certificate: or(a.cert, envCertFile), Key: or(a.key, envKeyFile), CA: or(a.ca, envCAFile)}
}
