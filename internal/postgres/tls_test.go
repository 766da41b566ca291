package postgres_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity/certificate/certificatetest"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// The line between a node and its database is PostgreSQL's own TLS, which its address asks for: verify-full, and a certificate of
// the node. A server in between is not believed, and who shows no certificate is not let in.
func TestTheDatabaseIsReachedByTLS(t *testing.T) {
	server := pgtest.New(t)
	ca, other := certificatetest.New(t, "databases"), certificatetest.New(t, "others")
	file := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cert, key := certificatetest.Write(t, ca.Server(t), t.TempDir())
	server.Secure(t, file(cert), file(key), certificatetest.PEM(ca))
	db := server.Database(t)
	roots, strange := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "ca.pem")
	certificatetest.Replace(t, roots, certificatetest.PEM(ca))
	certificatetest.Replace(t, strange, certificatetest.PEM(other))
	node := func(by *certificatetest.Authority, user string) (cert, key string) {
		return certificatetest.Write(t, by.Issue(t, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: user} }), t.TempDir())
	}
	cert, key = node(ca, "postgres")
	eve, eves := node(ca, "eve")
	forged, forgeds := node(other, "postgres")
	for what, c := range map[string]struct {
		url string
		ok  bool
	}{
		"with a certificate":     {server.Verified(db, roots, cert, key), true},
		"without one":            {server.Verified(db, roots, "", ""), false},
		"with another user's":    {server.Verified(db, roots, eve, eves), false},
		"of another authority":   {server.Verified(db, roots, forged, forgeds), false},
		"a server of another":    {server.Verified(db, strange, cert, key), false},
		"in the clear, over TCP": {server.TCP(db), false},
	} {
		s, err := postgres.Open(t.Context(), c.url, postgres.Options{})
		if err != nil {
			if c.ok {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if !c.ok {
			t.Errorf("%s: it is let in", what)
		} else if _, err := s.Heads(t.Context(), stead.DefaultProject, journal.Query{Limit: 1}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
