// Package certificatetest issues certificates for tests: real ones, of an authority that is made for the test.
package certificatetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// New makes an authority by a name. It lasts for an hour.
func New(tb testing.TB, name string) *Authority { return newAuthority(tb, name, nil) }

// Below makes an authority that this one has signed.
func (a *Authority) Below(tb testing.TB, name string) *Authority { return newAuthority(tb, name, a) }

func newAuthority(tb testing.TB, name string, by *Authority) *Authority {
	tb.Helper()
	about := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &Authority{key: newKey(tb)}
	parent, signer := about, a.key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, about, parent, a.key.Public(), signer)
	if err == nil {
		a.Certificate, err = x509.ParseCertificate(der)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	const bits = 120
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// Issue makes a certificate for a client, valid for half an hour, unless change says otherwise.
func (a *Authority) Issue(tb testing.TB, change func(*x509.Certificate)) *tls.Certificate {
	tb.Helper()
	about := &x509.Certificate{
		SerialNumber: serial(tb), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(30 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	change(about)
	key := newKey(tb)
	der, err := x509.CreateCertificate(rand.Reader, about, a.Certificate, key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	if c.Leaf, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	return c
}

// SPIFFE issues a client's certificate with SPIFFE ids.
func (a *Authority) SPIFFE(tb testing.TB, ids ...string) *tls.Certificate {
	tb.Helper()
	return a.Issue(tb, func(c *x509.Certificate) { c.URIs = URIs(tb, ids...) })
}

// Server issues the certificate of a server of this machine.
func (a *Authority) Server(tb testing.TB, names ...string) *tls.Certificate {
	tb.Helper()
	return a.Issue(tb, func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses, c.ExtKeyUsage = names, []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
}

// URIs parses them.
func URIs(tb testing.TB, texts ...string) (out []*url.URL) {
	tb.Helper()
	for _, s := range texts {
		u, err := url.Parse(s)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

// Pool holds authorities.
func Pool(of ...*Authority) *x509.CertPool {
	p := x509.NewCertPool()
	for _, a := range of {
		p.AddCert(a.Certificate)
	}
	return p
}

// Certificates are those of authorities.
func Certificates(of ...*Authority) (out []*x509.Certificate) {
	for _, a := range of {
		out = append(out, a.Certificate)
	}
	return out
}

// PEM is the certificates of authorities.
func PEM(of ...*Authority) (out []byte) {
	for _, a := range of {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})...)
	}
	return out
}

// Write puts a certificate and its key into files of a directory, whole or not at all.
func Write(tb testing.TB, c *tls.Certificate, dir string) (certificate, key string) {
	tb.Helper()
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	Replace(tb, certificate, chain)
	Replace(tb, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return certificate, key
}

// Replace writes a file by a rename.
func Replace(tb testing.TB, name string, data []byte) {
	tb.Helper()
	err := os.WriteFile(name+".new", data, 0o600)
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		tb.Fatal(err)
	}
}
