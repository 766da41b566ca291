package kms_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/awsauth"
	"github.com/stead-dev/stead/internal/identity/certificate/certificatetest"
	"github.com/stead-dev/stead/internal/seal/kms"
	"github.com/stead-dev/stead/internal/seal/kms/kmstest"
)

const (
	region = "eu-central-1"
	arn    = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
)

func creds() kmstest.Credentials {
	return kmstest.Credentials{Key: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Token: "a session's token=="}
}

func newAWS(t *testing.T, s *kmstest.Server, change func(*kms.AWS)) kms.Service {
	t.Helper()
	a := kms.AWS{Region: region, BaseURL: s.URL, Key: arn, CA: s.CA(),
		Keys: awsauth.Keys{Access: creds().Key, Secret: creds().Secret, Session: creds().Token}}
	if change != nil {
		change(&a)
	}
	k, err := kms.NewAWS(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newVault(t *testing.T, s *kmstest.Server, change func(*kms.Vault)) kms.Service {
	t.Helper()
	v := kms.Vault{BaseURL: s.URL + "/", Mount: "keys/transit", Key: "stead", Token: "hvs.token", Namespace: "team", CA: s.CA()}
	if change != nil {
		change(&v)
	}
	k, err := kms.NewVault(v)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// patience is that of a ring whose service is away.
const patience = 900 * time.Millisecond

func ring(t *testing.T, services map[string]kms.Service) *kms.Ring {
	t.Helper()
	return kms.NewRing(services, 0, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func TestAKeyIsWrapped(t *testing.T) {
	aws, hv := kmstest.AWS(t, region, creds(), arn, "alias/other"), kmstest.Vault(t, "hvs.token", "team", "keys/transit", "stead", "other")
	r := ring(t, map[string]kms.Service{
		"aws": newAWS(t, aws, nil), "aws-other": newAWS(t, aws, func(a *kms.AWS) { a.Key = "alias/other" }),
		"hv": newVault(t, hv, nil), "hv-other": newVault(t, hv, func(v *kms.Vault) { v.Key = "other" }),
	})
	key := bytes.Repeat([]byte{7}, 32)
	for _, name := range []string{"aws", "hv"} {
		text, err := r.Wrap(t.Context(), name, key)
		if err != nil {
			t.Fatal(err)
		}
		of, wrapped, ok := kms.ParseEntry(text)
		if !ok || of != name || bytes.Contains(wrapped, key) || strings.Contains(text, ",") {
			t.Errorf("it stands as %q", text)
		}
		if got, err := r.Unwrap(t.Context(), name, wrapped); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
		_, err = r.Unwrap(t.Context(), name+"-other", wrapped)
		is(t, "another key there", err, stead.KindInvalid)
		wrapped[len(wrapped)-1] ^= 1
		_, err = r.Unwrap(t.Context(), name, wrapped)
		is(t, "what was changed", err, stead.KindInvalid)
	}
	_, err := r.Unwrap(t.Context(), "gone", []byte("x"))
	is(t, "a KMS that is not configured", err, stead.KindInvalid)
	for _, text := range []string{"", "kms:", "kms:aws", "kms:aws:", "kms:aws:!", "aws:AAAA", strings.Repeat("A", 43) + "=", kms.Entry("aws", make([]byte, kms.MaxWrappedBytes+1))} {
		if _, _, ok := kms.ParseEntry(text); ok {
			t.Errorf("%.60q is an entry", text)
		}
	}
}

func is(t *testing.T, what string, err error, want stead.Kind) {
	t.Helper()
	if stead.KindOf(err) != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

// Who is not let in is told so, by each way in which a signature or a token is not right, and is not tried again.
func TestAKMSDenies(t *testing.T) {
	aws, hv := kmstest.AWS(t, region, creds(), arn), kmstest.Vault(t, "hvs.token", "team", "keys/transit", "stead")
	for what, c := range map[string]struct {
		service kms.Service
		want    stead.Kind
	}{
		"another secret":    {newAWS(t, aws, func(a *kms.AWS) { a.Keys.Secret += "x" }), stead.KindForbidden},
		"another key":       {newAWS(t, aws, func(a *kms.AWS) { a.Keys.Access = "AKIDOTHER" }), stead.KindForbidden},
		"no session token":  {newAWS(t, aws, func(a *kms.AWS) { a.Keys.Session = "" }), stead.KindForbidden},
		"another region":    {newAWS(t, aws, func(a *kms.AWS) { a.Region = "us-east-1" }), stead.KindForbidden},
		"no such key":       {newAWS(t, aws, func(a *kms.AWS) { a.Key = "alias/nothing" }), stead.KindInvalid},
		"another token":     {newVault(t, hv, func(v *kms.Vault) { v.Token = "hvs.other" }), stead.KindForbidden},
		"another namespace": {newVault(t, hv, func(v *kms.Vault) { v.Namespace = "" }), stead.KindForbidden},
		"another mount":     {newVault(t, hv, func(v *kms.Vault) { v.Mount = "" }), stead.KindInvalid},
		"no such key there": {newVault(t, hv, func(v *kms.Vault) { v.Key = "nothing" }), stead.KindInvalid},
	} {
		before := aws.Calls() + hv.Calls()
		_, err := ring(t, map[string]kms.Service{"k": c.service}).Wrap(t.Context(), "k", make([]byte, 32))
		is(t, what, err, c.want)
		if err != nil && (!strings.Contains(err.Error(), "the KMS k does not wrap") || strings.Contains(err.Error(), creds().Secret) || strings.Contains(err.Error(), "hvs.")) {
			t.Errorf("%s: it says %v", what, err)
		}
		if n := aws.Calls() + hv.Calls() - before; n != 1 {
			t.Errorf("%s: %d calls", what, n)
		}
	}
	aws.Set(kmstest.Rules{Ahead: time.Hour})
	_, err := ring(t, map[string]kms.Service{"k": newAWS(t, aws, nil)}).Wrap(t.Context(), "k", make([]byte, 32))
	is(t, "a clock that is off", err, stead.KindForbidden)
	for what, c := range map[string]struct {
		server  *kmstest.Server
		service kms.Service
	}{"aws": {aws, newAWS(t, aws, nil)}, "vault": {hv, newVault(t, hv, nil)}} {
		for rules, want := range map[kmstest.Rules]stead.Kind{{Denied: true}: stead.KindForbidden, {Disabled: true}: stead.KindInvalid} {
			c.server.Set(rules)
			_, err := ring(t, map[string]kms.Service{"k": c.service}).Unwrap(t.Context(), "k", []byte("vault:v1:AAAA"))
			is(t, what, err, want)
		}
	}
}

// What passes is waited for; what does not is said after a while, or when the node is stopped.
func TestAKMSIsAway(t *testing.T) {
	aws, hv := kmstest.AWS(t, region, creds(), arn), kmstest.Vault(t, "hvs.token", "team", "keys/transit", "stead")
	strange := kmstest.Vault(t, "hvs.token", "team", "keys/transit", "stead")
	services := map[string]kms.Service{"aws": newAWS(t, aws, nil), "hv": newVault(t, hv, nil), "untrusted": newVault(t, strange, func(v *kms.Vault) { v.CA = ca(t) })}
	r, patient := kms.NewRing(services, patience, slog.New(slog.DiscardHandler)), ring(t, services)
	for name, s := range map[string]*kmstest.Server{"aws": aws, "hv": hv} {
		s.Set(kmstest.Rules{Busy: 2})
		before := s.Calls()
		if _, err := patient.Wrap(t.Context(), name, make([]byte, 32)); err != nil || s.Calls()-before != 3 {
			t.Errorf("%s: after %d calls: %v", name, s.Calls()-before, err)
		}
		s.Set(kmstest.Rules{Down: true})
		began := time.Now()
		_, err := r.Unwrap(t.Context(), name, []byte("x"))
		is(t, name+" is down", err, stead.KindUnavailable)
		if took := time.Since(began); took < patience/2 || took > 10*patience {
			t.Errorf("%s: it was given up after %s", name, took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = r.Unwrap(ctx, name, []byte("x"))
		is(t, name+" for who is stopped", err, stead.KindUnavailable)
	}
	_, err := r.Unwrap(t.Context(), "untrusted", []byte("x"))
	is(t, "a server that is not believed", err, stead.KindUnavailable)
	if strange.Calls() != 0 {
		t.Error("a server that is not believed was sent the token")
	}
	if _, err := kms.NewVault(kms.Vault{CA: []byte("nothing")}); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("authorities that are none: %v", err)
	}
}

// ca is an authority that has signed no server of these.
func ca(t *testing.T) []byte {
	t.Helper()
	return certificatetest.PEM(certificatetest.New(t, "others"))
}

// Without keys a node is whom its surroundings say: here a container's endpoint, as pods and tasks have it, which gives credentials for a while.
func TestTheMachinesCredentials(t *testing.T) {
	const token = "of the pod"
	served := make(chan struct{}, 100)
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != token {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		served <- struct{}{}
		_ = json.NewEncoder(w).Encode(map[string]string{"AccessKeyId": creds().Key, "SecretAccessKey": creds().Secret, "Token": creds().Token,
			"Expiration": time.Now().Add(-time.Second).UTC().Format(time.RFC3339)})
	}))
	t.Cleanup(pod.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONTAINER_CREDENTIALS_FULL_URI": pod.URL, "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
	} {
		t.Setenv(name, value)
	}
	aws := kmstest.AWS(t, region, creds(), arn)
	services := map[string]kms.Service{"aws": newAWS(t, aws, func(a *kms.AWS) { a.Keys = awsauth.Keys{} })}
	r := ring(t, services)
	for range 2 { // what has expired is asked for again
		if _, err := r.Wrap(t.Context(), "aws", make([]byte, 32)); err != nil {
			t.Fatal(err)
		}
	}
	if len(served) != 2 {
		t.Errorf("credentials were asked for %d times", len(served))
	}
	pod.Close()
	_, err := kms.NewRing(services, patience, slog.New(slog.DiscardHandler)).Wrap(t.Context(), "aws", make([]byte, 32))
	is(t, "no credentials", err, stead.KindUnavailable)
	if err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("it says %v", err)
	}
}
