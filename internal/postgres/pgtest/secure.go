package pgtest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// onlySecure lets who comes over TCP in with TLS and a certificate whose common name is the user's, and nobody else.
const onlySecure = `local all all trust
hostssl all all 127.0.0.1/32 cert
`

// Secure makes the server speak TLS over TCP, by PEM files' contents, and ask there for a client certificate of ca. It restarts.
func (s *Server) Secure(tb testing.TB, certificate, key, ca []byte) {
	tb.Helper()
	data := filepath.Join(s.dir, "data")
	var errs []error
	for name, content := range map[string][]byte{"server.crt": certificate, "server.key": key, "root.crt": ca, "pg_hba.conf": []byte(onlySecure)} {
		errs = append(errs, s.put(filepath.Join(data, name), content))
	}
	f, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprint(f, "ssl = on\nssl_ca_file = 'root.crt'\n")
		err = errors.Join(err, f.Close())
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		tb.Fatal(err)
	}
	s.Restart(tb)
}

// put writes a file that belongs to the server's user alone.
func (s *Server) put(name string, content []byte) error {
	const private = 0o600
	err := os.WriteFile(name, content, private)
	if err == nil && s.cred != nil {
		err = os.Chown(name, int(s.cred.Uid), int(s.cred.Gid))
	}
	return err
}

// Verified is the TCP address of a database, with TLS that is verified by files.
func (s *Server) Verified(address, ca, certificate, key string) string {
	plain := s.TCP(address)
	q := url.Values{"sslmode": {"verify-full"}, "sslrootcert": {ca}}
	if certificate != "" {
		q.Set("sslcert", certificate)
		q.Set("sslkey", key)
	}
	return plain[:strings.IndexByte(plain, '?')+1] + q.Encode()
}
