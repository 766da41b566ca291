package egress

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
	"slices"
	"sync"
	"time"

	"github.com/stead-dev/stead"
)

// Times of certificates.
const (
	authorityTime = 90 * 24 * time.Hour // longer than an environment is resident
	leafTime      = 24 * time.Hour
	leafRenewal   = time.Hour        // before its end a leaf is made anew
	clockSkew     = 10 * time.Minute // that the inside's clock may be behind
	maxLeaves     = 256              // kept; beyond, all are made anew
)

// authority signs for the hosts whose TLS is opened, and for no others: the names of the credentials
// are its critical name constraints. Its key lives in memory and ends with the proxy.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time

	mu     sync.Mutex
	leaf   *ecdsa.PrivateKey           // of all leaves
	leaves map[string]*tls.Certificate // name → certificate
}

func newAuthority(creds []*credential, now func() time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "make the environment's authority")
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "make the environment's authority")
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Stead egress of one environment"},
		NotBefore: now().Add(-clockSkew), NotAfter: now().Add(authorityTime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: constraints(creds),
		ExcludedIPRanges: everyAddress(), // names alone would leave addresses unconstrained
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "make the environment's authority")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "make the environment's authority")
	}
	return &authority{cert: cert, key: key, now: now, leaf: leaf, leaves: map[string]*tls.Certificate{}}, nil
}

// constraints are the credentials' names; a constraint always holds what is below it too (RFC 5280,
// section 4.2.1.10).
func constraints(creds []*credential) []string {
	var out []string
	for _, c := range creds {
		for _, p := range c.hosts {
			if !slices.Contains(out, p.host.name) {
				out = append(out, p.host.name)
			}
		}
	}
	return out
}

func everyAddress() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// certificate returns a leaf for a name that a credential names.
func (a *authority) certificate(name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if c := a.leaves[name]; c != nil && now.Add(leafRenewal).Before(c.Leaf.NotAfter) {
		return c, nil
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name[:min(len(name), 64)]}, DNSNames: []string{name},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(leafTime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.leaf.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if len(a.leaves) >= maxLeaves {
		clear(a.leaves)
	}
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.leaf, Leaf: parsed}
	a.leaves[name] = c
	return c, nil
}

// serial is a random number of 127 bits.
func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}
