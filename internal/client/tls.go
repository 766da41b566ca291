package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/stead-dev/stead"
)

// TLS says by which certificate a client is known, and whom it believes. The zero value is what Go does by itself.
type TLS struct {
	// Certificate and Key are PEM files, read at each handshake, so that certificates of short lives can be put in their place.
	Certificate, Key string
	// CA is a PEM file with the authorities that are believed in place of the machine's; it is read once.
	CA string
}

// Certified reports whether there is a certificate to show.
func (t TLS) Certified() bool { return t.Certificate != "" }

// Config reads the files. KindInvalid for those that can't be used.
func (t TLS) Config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if (t.Certificate == "") != (t.Key == "") {
		e := stead.Invalid("cert", "there is one of --cert and --key: a certificate takes both")
		e.Hint = "They may be one file: name it twice."
		return nil, e
	}
	if t.Certified() {
		read := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
			if err != nil {
				e := stead.Wrap(stead.KindInvalid, err, "the client certificate can't be used")
				e.Param, e.Hint = "cert", "Both are PEM files: the certificate first in its file, and the key that belongs to it."
				return nil, e
			}
			return &pair, nil
		}
		if _, err := read(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return read() }
	}
	if t.CA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		e := stead.Wrap(stead.KindInvalid, err, "the authorities can't be read")
		e.Param = "ca"
		return nil, e
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, stead.Invalid("ca", "%s has no certificate", t.CA)
	}
	return config, nil
}

// Secure makes every later call use TLS in this way. It is to be called before the first one, and before Trust and Present.
func (c *Client) Secure(t TLS) error {
	if t == (TLS{}) {
		return nil
	}
	if t.Certified() && c.base.Scheme != "https" {
		e := stead.Invalid("server", "a client certificate is shown over https alone, and the server is %s", c.Base())
		e.Hint = "Name the server with --server https://… or STEAD_SERVER."
		return e
	}
	config, err := t.Config()
	if err == nil {
		c.http.Transport.(*http.Transport).TLSClientConfig = config
	}
	return err
}

// tlsHint says what to do about a call over TLS that failed since one side did not believe the other's certificate, or may have; "": it
// failed otherwise.
func tlsHint(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "The server's certificate is not believed: name the authority that it is of with --ca or STEAD_CA, and the server as its certificate does."
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "What answers there speaks no TLS: name it with http://."
	}
	// With TLS 1.3 the handshake is over for us before the server looks at our certificate: what is written meanwhile may fail first. HTTP/2
	// then has an error of its own that it exports nowhere, and not the alert.
	op, ok := errors.AsType[*net.OpError](err)
	early := strings.Contains(err.Error(), "client conn could not be established")
	if ok && op.Op == "remote error" || early || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return "The server may have refused the client certificate (--cert, STEAD_CERT), or want one: it must be valid now, for clients, and of an authority that is trusted there. Why, the server's audit log says (authenticate)."
	}
	return ""
}

// Present makes every later call show a certificate. It is to be called before the first one.
func (c *Client) Present(certificate *tls.Certificate) {
	c.tls().GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
}

func (c *Client) tls() *tls.Config {
	t := c.http.Transport.(*http.Transport)
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return t.TLSClientConfig
}
