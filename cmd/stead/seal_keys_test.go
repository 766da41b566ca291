package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/identity/certificate/certificatetest"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/kms/kmstest"
)

// sealing is two key management services, and a configuration that knows both.
type sealing struct {
	t       *testing.T
	aws, hv *kmstest.Server
	yaml    string
}

func openSealing(t *testing.T) *sealing {
	t.Helper()
	const region, arn = "eu-central-1", "arn:aws:kms:eu-central-1:111122223333:key/1234abcd"
	creds := kmstest.Credentials{Key: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	s := &sealing{t: t, aws: kmstest.AWS(t, region, creds, arn), hv: kmstest.Vault(t, "hvs.token", "", "transit", "stead")}
	dir := t.TempDir()
	for name, ca := range map[string][]byte{"aws.pem": s.aws.CA(), "hv.pem": s.hv.CA()} {
		certificatetest.Replace(t, filepath.Join(dir, name), ca)
	}
	s.yaml = "environments: {driver: none}\nseal_kms:\n" +
		"  - {name: aws, api: aws, region: " + region + ", base_url: \"" + s.aws.URL + "\", key: \"" + arn + "\", access_key: " + creds.Key + ", secret_key: " + creds.Secret + ", ca_file: " + filepath.Join(dir, "aws.pem") + "}\n" +
		"  - {name: hv, api: vault, base_url: \"" + s.hv.URL + "\", key: stead, token: hvs.token, ca_file: " + filepath.Join(dir, "hv.pem") + "}\n"
	return s
}

// file is a configuration with a seal key.
func (s *sealing) file(key, more string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "stead.yaml")
	certificatetest.Replace(s.t, file, []byte(s.yaml+more+"seal_key: \""+key+"\"\n"))
	return file
}

// stead runs a command that must go well, and returns the line that it prints.
func (s *sealing) stead(args ...string) string {
	s.t.Helper()
	var out, failed bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &failed, env: func(string) (string, bool) { return "", false }}
	if code := a.main(s.t.Context(), args); code != 0 {
		s.t.Fatalf("%v: %d %s", args, code, &failed)
	}
	return strings.TrimSpace(out.String())
}

// A node's key moves from a file to a KMS, from there to another KMS, and is replaced by one that was never anywhere else, while
// nodes with the configurations before and after run side by side and use what was sealed.
func TestTheSealKeyMovesToAKMS(t *testing.T) {
	s, g := openSealing(t), openGuarded(t, firstToken)
	database := "database: \"" + pgtest.URL(t) + "\"\n"
	old := strings.Repeat("A", 43) + "="
	open := func(key string) *vaulted { return openVaulted(t, s.yaml+database+"seal_key: \""+key+"\"\n") }
	a := open(old)
	vault, _ := a.credential(g.URL, firstToken)
	// works has both nodes take sessions, whoever of them runs these.
	works := func(what string, nodes ...*vaulted) {
		t.Helper()
		for _, v := range nodes {
			for range 3 {
				if output, failure := v.lastCall(v.session(g.URL, `,"vault_ids":["`+vault+`"]`)); !strings.Contains(output, "you are Bearer [redacted]") {
					t.Fatalf("%s: %q %s", what, output, failure)
				}
			}
		}
	}
	works("at first", a)

	inAWS := s.stead("seal-keys", "wrap", "--kms", "aws", "--config", s.file(old, ""))
	if !strings.HasPrefix(inAWS, "kms:aws:") || strings.Contains(inAWS, "\n") {
		t.Fatalf("it prints %q", inAWS)
	}
	b := open(inAWS)
	works("from a file to AWS", a, b)
	a.n.stop()
	s.aws.Set(kmstest.Rules{Down: true})
	before := s.aws.Calls()
	works("while AWS is away", b)
	if s.aws.Calls() != before {
		t.Error("a node that runs asks the KMS")
	}
	s.aws.Set(kmstest.Rules{})

	inHV := s.stead("seal-keys", "wrap", "--kms", "hv", "--config", s.file(inAWS, ""))
	if list := s.stead("seal-keys", "list", "--config", s.file(inHV+","+old, "")); strings.Count(list, "\n") != 2 || strings.Count(list, strings.Fields(list)[2]) != 2 {
		t.Errorf("the same key in two forms is\n%s", list)
	}
	c := open(inHV)
	works("from AWS to a vault", b, c)
	b.n.stop()

	fresh := s.stead("seal-keys", "new", "--kms", "aws", "--config", s.file(inHV, ""))
	d := open(inHV + "," + fresh)
	works("with the next key behind", c, d)
	c.n.stop()
	e := open(fresh + ", " + inHV)
	works("with the next key before", d, e)
	var done struct{ Credentials, Resealed, Unreadable int }
	(&house{t: t, base: e.n.base}).get("", "POST", "/v1/vaults/rekey", "", &done)
	if done.Credentials != 1 || done.Resealed != 1 || done.Unreadable != 0 {
		t.Errorf("sealing anew: %+v", done)
	}
	works("when it was sealed anew", d, e)
	d.n.stop()
	e.n.stop()
	works("without the key before", open(fresh))
}

// The key that a data directory has is wrapped, and the file needed no longer.
func TestTheKeyOfADataDirectoryIsWrapped(t *testing.T) {
	s, g := openSealing(t), openGuarded(t, firstToken)
	const models = "limits: {drain_seconds: 1}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n"
	data := filepath.Join(t.TempDir(), "data")
	open := func(key string) *vaulted {
		said := &syncBuffer{}
		return &vaulted{t, openAt(t, s.file(key, models), data, said), said}
	}
	a := open("")
	vault, _ := a.credential(g.URL, firstToken)
	a.n.stop()
	wrapped := s.stead("seal-keys", "wrap", "--kms", "hv", "--config", s.file("", ""), "--data", data)
	if err := os.Remove(filepath.Join(data, seal.KeyFile)); err != nil {
		t.Fatal(err)
	}
	b := open(wrapped)
	if output, failure := b.lastCall(b.session(g.URL, `,"vault_ids":["`+vault+`"]`)); !strings.Contains(output, "you are Bearer [redacted]") {
		t.Errorf("%q %s", output, failure)
	}
	if _, err := os.Stat(filepath.Join(data, seal.KeyFile)); err == nil {
		t.Error("another key was made")
	}
	var failed bytes.Buffer
	app := &app{in: strings.NewReader(""), out: io.Discard, err: &failed, env: func(string) (string, bool) { return "", false }}
	if code := app.main(t.Context(), []string{"seal-keys", "wrap", "--kms", "hv", "--config", s.file("", ""), "--data", t.TempDir()}); code != exitFailed || !strings.Contains(failed.String(), "there is no key") {
		t.Errorf("of an empty directory: %d %s", code, &failed)
	}
}

// A node that can't have its key does not start, and says why; it waits for what passes.
func TestANodeWithoutItsKey(t *testing.T) {
	s := openSealing(t)
	wrapped := s.stead("seal-keys", "new", "--kms", "aws", "--config", s.file("", ""))
	load := func(key string) *config.Config {
		t.Helper()
		cfg, err := config.Load(config.Flags{Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), File: s.file(key, "")}, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	start := func(key string, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		n, err := openNode(ctx, load(key), slog.New(slog.NewTextHandler(t.Output(), nil)))
		if err == nil {
			n.stop()
		}
		return err
	}
	name, blob, _ := strings.Cut(strings.TrimPrefix(wrapped, "kms:"), ":")
	other := "kms:hv:" + blob // what another KMS has wrapped
	for what, c := range map[string]struct {
		rules kmstest.Rules
		key   string
		kind  stead.Kind
		says  string
	}{
		"denied":               {kmstest.Rules{Denied: true}, wrapped, stead.KindForbidden, "AccessDeniedException"},
		"disabled":             {kmstest.Rules{Disabled: true}, wrapped, stead.KindInvalid, "is disabled"},
		"away":                 {kmstest.Rules{Down: true}, wrapped, stead.KindUnavailable, "can't be reached"},
		"of another KMS":       {kmstest.Rules{}, other, stead.KindInvalid, "invalid ciphertext"},
		"busy for a while":     {kmstest.Rules{Busy: 2}, wrapped, "", ""},
		"denied the older one": {kmstest.Rules{Denied: true}, strings.Repeat("A", 43) + "=," + wrapped, stead.KindForbidden, "the KMS " + name + " does not unwrap"},
	} {
		s.aws.Set(c.rules)
		patience := 20 * time.Second
		if c.rules.Down {
			patience = 3 * time.Second // the database is opened in it
		}
		err := start(c.key, patience)
		if stead.KindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.aws.Set(kmstest.Rules{})
	if f := checkSealKeys(t.Context(), load(wrapped)); f.Verdict != verdictOK {
		t.Errorf("doctor: %+v", f)
	}
	s.aws.Set(kmstest.Rules{Denied: true})
	if f := checkSealKeys(t.Context(), load(wrapped)); f.Verdict != verdictFail || !strings.Contains(f.Detail, "denies") {
		t.Errorf("doctor of one that denies: %+v", f)
	}
}
