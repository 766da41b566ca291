package seal_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/seal"
)

var label = seal.Label{Project: "p", Kind: "template", ID: "envtmpl_1"}

func key(b byte) []byte { return bytes.Repeat([]byte{b}, seal.KeyBytes) }

func keys(t *testing.T, first byte, older ...byte) *seal.Keys {
	t.Helper()
	var more [][]byte
	for _, b := range older {
		more = append(more, key(b))
	}
	k, err := seal.New(key(first), more...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhatIsSealedOpensAgain(t *testing.T) {
	k := keys(t, 1)
	for _, text := range []string{"", "a short text of some words", strings.Repeat("secret ", 10_000)} {
		sealed := k.Seal(label, []byte(text))
		if text != "" && bytes.Contains(sealed, []byte(text)) {
			t.Fatal("the sealed bytes show the text")
		}
		plain, err := k.Open(label, sealed)
		if err != nil || string(plain) != text {
			t.Fatalf("%d bytes: %d came back, %v", len(text), len(plain), err)
		}
	}
	if bytes.Equal(k.Seal(label, []byte("x")), k.Seal(label, []byte("x"))) {
		t.Fatal("two seals of one text are the same bytes")
	}
}

func TestNothingOpensElsewhere(t *testing.T) {
	k := keys(t, 1)
	sealed := k.Seal(label, []byte("a text"))
	for _, other := range []seal.Label{
		{Project: "q", Kind: "template", ID: "envtmpl_1"}, {Project: "p", Kind: "session", ID: "envtmpl_1"},
		{Project: "p", Kind: "template", ID: "envtmpl_2"}, {Project: "pt", Kind: "emplate", ID: "envtmpl_1"},
	} {
		if _, err := k.Open(other, sealed); stead.KindOf(err) != stead.KindInternal {
			t.Errorf("%+v: %v", other, err)
		}
	}
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 1
		if _, err := k.Open(label, damaged); err == nil {
			t.Errorf("with byte %d changed it opened", i)
		}
		if _, err := k.Open(label, sealed[:i]); err == nil {
			t.Errorf("%d of its bytes opened", i)
		}
	}
}

func TestAnotherKeyIsToldWithAHint(t *testing.T) {
	sealed := keys(t, 1).Seal(label, []byte("the text"))
	_, err := keys(t, 2).Open(label, sealed)
	e, ok := err.(*stead.Error)
	if !ok || e.Kind != stead.KindUnavailable || !strings.Contains(e.Hint, "STEAD_SEAL_KEY") {
		t.Fatalf("error %#v", err)
	}
	for _, secret := range []string{"the text", base64.StdEncoding.EncodeToString(key(1)), base64.StdEncoding.EncodeToString(key(2))} {
		if strings.Contains(err.Error()+e.Hint, secret) {
			t.Fatal("the error shows a secret")
		}
	}
}

func TestAKeyCanBeReplaced(t *testing.T) {
	old := keys(t, 1).Seal(label, []byte("text"))
	both := keys(t, 2, 1)
	if both.Current(old) || !both.Current(both.Seal(label, nil)) || both.Current(nil) {
		t.Error("what the first key sealed is not told from what others did")
	}
	if plain, err := both.Open(label, old); err != nil || string(plain) != "text" {
		t.Fatalf("the older key: %q, %v", plain, err)
	}
	if _, err := keys(t, 2).Open(label, both.Seal(label, []byte("text"))); err != nil {
		t.Fatalf("the first key does not seal: %v", err)
	}
}

// A key is replaced without a text being opened: what is sealed stays, and its data key is wrapped anew.
func TestDataKeysAreWrappedAnew(t *testing.T) {
	const text = "a text of some words"
	old := keys(t, 1).Seal(label, []byte(text))
	both := keys(t, 2, 1)
	moved, err := both.Rewrap(label, old)
	if err != nil {
		t.Fatal(err)
	}
	if !both.Current(moved) || len(moved) != len(old) || len(old) != len(text)+seal.Overhead {
		t.Fatalf("%d bytes became %d, current %v", len(old), len(moved), both.Current(moved))
	}
	if tail := len(text) + 28; !bytes.Equal(moved[len(moved)-tail:], old[len(old)-tail:]) {
		t.Error("the text was sealed anew")
	}
	if plain, err := keys(t, 2).Open(label, moved); err != nil || string(plain) != text {
		t.Fatalf("with the new key alone: %q, %v", plain, err)
	}
	if _, err := keys(t, 1).Open(label, moved); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("the old key opens it still: %v", err)
	}
	elsewhere := label
	elsewhere.ID = "envtmpl_2"
	if _, err := both.Rewrap(elsewhere, old); stead.KindOf(err) != stead.KindInternal {
		t.Errorf("wrapped anew for another place: %v", err)
	}
	if _, err := keys(t, 2).Rewrap(label, old); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("without the key that sealed it: %v", err)
	}
	for i := range old { // of a data key, and of a text's head
		bad := bytes.Clone(old)
		if bad[i] ^= 1; i < len(old)-len(text)-28 {
			if _, err := both.Rewrap(label, bad); err == nil {
				t.Errorf("with byte %d changed it was wrapped anew", i)
			}
		}
	}
}

const sealedDirectly = "0162a99fb895175f574a3780aa3dfb6f33e28a70a015fe8b069fd0d57c1442876fc453653b6f2ad19a"

// What the seal key itself sealed, before there were data keys: "text" under label, by key 1.
func TestTextsWithoutDataKeysOpen(t *testing.T) {
	old, err := hex.DecodeString(sealedDirectly)
	if err != nil {
		t.Fatal(err)
	}
	k := keys(t, 2, 1)
	if plain, err := k.Open(label, old); err != nil || string(plain) != "text" {
		t.Fatalf("%q, %v", plain, err)
	}
	if keys(t, 1).Current(old) {
		t.Error("it counts as sealed as texts are now")
	}
	moved, err := k.Rewrap(label, old)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := keys(t, 2).Open(label, moved); err != nil || string(plain) != "text" {
		t.Fatalf("as an envelope: %q, %v", plain, err)
	}
}

func TestTheFirstUseMakesTheFile(t *testing.T) {
	dir := t.TempDir()
	all := make([]*seal.Keys, 8)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = seal.Load(t.Context(), dir, "", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	sealed := all[0].Seal(label, []byte("text"))
	for _, k := range all {
		if _, err := k.Open(label, sealed); err != nil {
			t.Fatalf("starts at one time made different keys: %v", err)
		}
	}
	files, _ := os.ReadDir(dir)
	info, err := os.Stat(filepath.Join(dir, seal.KeyFile))
	if err != nil || info.Mode().Perm() != 0o600 || len(files) != 1 {
		t.Fatalf("%d files, %v, %v", len(files), info, err)
	}
}

func TestKeysThatAreNone(t *testing.T) {
	for _, text := range []string{"x", base64.StdEncoding.EncodeToString(make([]byte, 31)), base64.StdEncoding.EncodeToString(key(1)) + ",x"} {
		if _, err := seal.Load(t.Context(), "", text, nil); stead.KindOf(err) != stead.KindInvalid || strings.Contains(err.Error(), text) && text != "x" {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := seal.Load(t.Context(), "", base64.StdEncoding.EncodeToString(key(1))+", "+base64.StdEncoding.EncodeToString(key(2)), nil); err != nil {
		t.Errorf("two keys: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, seal.KeyFile), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Load(t.Context(), dir, "", nil); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("a broken file: %v", err)
	}
}

// TestAFileWhoseKeyTheKMSRefuses: what the KMS says is told, and not that the file holds no key.
func TestAFileWhoseKeyTheKMSRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, seal.KeyFile), []byte("kms:there:AAAA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	disabled := stead.Errorf(stead.KindInvalid, "the key is disabled")
	_, err := seal.Read(t.Context(), dir, "", func(context.Context, string) ([]byte, error) { return nil, disabled })
	if !errors.Is(err, disabled) {
		t.Errorf("%v", err)
	}
	_, err = seal.Read(t.Context(), dir, "", nil)
	if stead.KindOf(err) != stead.KindUnavailable || !strings.Contains(err.Error(), "holds no key") {
		t.Errorf("without a KMS: %v", err)
	}
}
