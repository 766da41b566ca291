package certificate

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
)

// spiffeScheme begins SPIFFE ids, and no subject.
const spiffeScheme = "spiffe://"

// prove checks a chain by everything that it says itself.
func prove(pool *x509.CertPool, shown []*x509.Certificate, now time.Time) (Shown, error) {
	leaf, between := shown[0], x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return Shown{}, wrong(err, leaf, now)
	}
	if leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return Shown{}, refused(CodeUse, "the client certificate is an authority's, which signs others and is nobody's own")
	}
	s := Shown{ID: IDOf(leaf), Until: until(chains)}
	for _, chain := range chains {
		if id := authorityID(chain[len(chain)-1]); !slices.Contains(s.Authorities, id) {
			s.Authorities = append(s.Authorities, id)
		}
	}
	if s.Name, s.Subject, err = nameOf(leaf); err != nil {
		return Shown{}, err
	}
	return s, nil
}

// until is the end of the chain that lasts longest: each ends with the first of its certificates that does.
func until(chains [][]*x509.Certificate) (last time.Time) {
	for _, chain := range chains {
		ends := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(ends) {
				ends = c.NotAfter
			}
		}
		if ends.After(last) {
			last = ends
		}
	}
	return last
}

// wrong says what is the matter, in words that do not repeat what a stranger wrote into a certificate.
func wrong(err error, leaf *x509.Certificate, now time.Time) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return refused(CodeUnknown, "the client certificate is of an authority that is not trusted here")
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case ok && invalid.Reason == x509.Expired && now.Before(leaf.NotBefore):
		return refused(CodeTime, "the client certificate is not valid yet")
	case ok && invalid.Reason == x509.Expired && now.After(leaf.NotAfter):
		return refused(CodeTime, "the client certificate has expired")
	case ok && invalid.Reason == x509.Expired:
		return refused(CodeTime, "an authority of the client certificate has expired, or is not valid yet")
	case ok && invalid.Reason == x509.IncompatibleUsage:
		return refused(CodeUse, "the client certificate is not for clients: its extended key usage says other things")
	}
	return refused(CodeInvalid, "the client certificate can't be verified")
}

// nameOf is the one name by which a certificate is known, and its subject.
func nameOf(leaf *x509.Certificate) (name, subject string, err error) {
	subject, err = subjectOf(leaf)
	switch {
	case err != nil:
		return "", "", err
	case len(leaf.URIs) == 0 && subject == "":
		return "", "", refused(CodeName, "the client certificate has neither a SPIFFE id nor a subject")
	case len(leaf.URIs) == 0:
		return subject, subject, nil
	case len(leaf.URIs) == 1:
		name = leaf.URIs[0].String()
		if !IsSPIFFE(name) {
			return "", "", refused(CodeName, "the client certificate has a URI that is no SPIFFE id")
		}
		return name, subject, nil
	}
	return "", "", refused(CodeName, "the client certificate has %d URIs: who has several names is nobody's", len(leaf.URIs))
}

// subjectOf is a certificate's whole subject, in the order and with the parts that are signed; "": it has none.
func subjectOf(c *x509.Certificate) (string, error) {
	var rdn pkix.RDNSequence
	rest, err := asn1.Unmarshal(c.RawSubject, &rdn)
	name := rdn.String()
	switch {
	case err != nil || len(rest) > 0:
		return "", refused(CodeName, "the subject of the client certificate can't be read")
	case len(name) > MaxNameBytes:
		return "", refused(CodeName, "the subject of the client certificate is longer than %d bytes", MaxNameBytes)
	}
	return name, nil
}

// IsSPIFFE reports whether a text is a SPIFFE id of a workload, in its only spelling.
func IsSPIFFE(text string) bool {
	u, err := url.Parse(text)
	if err != nil || len(text) > MaxNameBytes || u.Scheme != "spiffe" || u.User != nil || u.Port() != "" || strings.ContainsAny(text, "?#%") {
		return false
	}
	rest, ok := strings.CutPrefix(text, spiffeScheme)
	domain, path, deeper := strings.Cut(rest, "/")
	if !ok || !deeper || !only(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-_") {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." || !only(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") {
			return false
		}
	}
	return true
}

// only reports whether a text is not empty, and has no other characters.
func only(text, characters string) bool { return text != "" && strings.Trim(text, characters) == "" }
