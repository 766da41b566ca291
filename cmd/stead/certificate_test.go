package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/config"
)

// issue writes a certificate of its own authority, and returns a pool that trusts it.
func issue(t *testing.T, files config.TLS, serial int64, until time.Time) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "stead"}, DNSNames: []string{"stead.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(certificate)
	for name, data := range map[string][]byte{files.Certificate: certificate, files.Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pool
}

func tlsFiles(t *testing.T) config.TLS {
	dir := t.TempDir()
	return config.TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
}

func TestANewCertificateIsTaken(t *testing.T) {
	files, now := tlsFiles(t), time.Now()
	var log bytes.Buffer
	issue(t, files, 1, now.Add(time.Hour))
	c, err := openCertificate(files, slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	shown := func() int64 { return c.current().Leaf.SerialNumber.Int64() }
	later := func(d time.Duration) { // the files were written then, whatever the file system's clock is good for
		for _, name := range []string{files.Certificate, files.Key} {
			if err := os.Chtimes(name, now, now.Add(d)); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(certificateEvery)
	}
	issue(t, files, 2, now.Add(time.Hour))
	later(time.Second)
	if got := shown(); got != 2 {
		t.Errorf("certificate %d is shown after a new one came", got)
	}
	if err := os.WriteFile(files.Key, []byte("half a k"), 0o600); err != nil {
		t.Fatal(err)
	}
	later(2 * time.Second)
	if got := shown(); got != 2 || strings.Count(log.String(), "level=ERROR") != 1 {
		t.Errorf("certificate %d is shown beside a broken key; log: %s", got, &log)
	}
	now = now.Add(certificateEvery)
	shown()
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("a broken key is named %d times", n)
	}
	issue(t, files, 3, now.Add(time.Hour))
	later(3 * time.Second)
	if got := shown(); got != 3 {
		t.Errorf("certificate %d is shown after the key was mended", got)
	}
	for until, want := range map[time.Duration]string{-time.Minute: verdictFail, 24 * time.Hour: verdictWarn, 90 * 24 * time.Hour: verdictOK} {
		issue(t, files, 4, time.Now().Add(until))
		if f := checkCertificate(files, time.Now()); f.Verdict != want {
			t.Errorf("doctor of one that is good for %s: %+v", until, f)
		}
	}
}

func TestTheServerSpeaksTLS(t *testing.T) {
	files := tlsFiles(t)
	pool := issue(t, files, 1, time.Now().Add(time.Hour))
	n := openConfigured(t, "providers: [{name: sim, api: sim}]\ntls: {certificate: "+files.Certificate+", key: "+files.Key+"}\n", io.Discard)
	get := func(url string, version uint16) (*http.Response, error) {
		tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "stead.example", MaxVersion: version}}
		defer tr.CloseIdleConnections()
		res, err := (&http.Client{Transport: tr}).Get(url)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		return res, err
	}
	res, err := get(n.base+"/v1/models", tls.VersionTLS13)
	if err != nil || res.StatusCode != 200 || res.ProtoMajor != 2 || res.Header.Get("Strict-Transport-Security") == "" {
		t.Fatalf("%+v, %v", res, err)
	}
	if _, err := get(n.base, tls.VersionTLS11); err == nil {
		t.Error("it speaks TLS 1.1")
	}
	if res, err := get(strings.Replace(n.base, "https", "http", 1), 0); err == nil && res.StatusCode != http.StatusBadRequest {
		t.Errorf("in the clear: %d", res.StatusCode)
	}
	c, err := client.New(n.base)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !n.asRoot(c).Alive(t.Context()) {
		t.Error("the process does not know its own server")
	}
	stranger, err := client.New(n.base)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	stranger.Trust(func() []byte { return []byte("another") })
	if stranger.Alive(t.Context()) {
		t.Error("any certificate is believed")
	}
}
