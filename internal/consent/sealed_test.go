package consent_test

import (
	"bytes"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/reseal"
)

// A user who was shown the page before the node's key was replaced, and all was sealed anew, says yes behind it; when the old key is gone,
// the links of then are.
func TestAConsentOutlivesTheNodesKey(t *testing.T) {
	d := openDesk(t, documenttest.NewMemory())
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, seal.KeyBytes) }
	take := func(first byte, older ...byte) {
		t.Helper()
		var more [][]byte
		for _, o := range older {
			more = append(more, key(o))
		}
		next, err := seal.New(key(first), more...)
		if err != nil {
			t.Fatal(err)
		}
		d.cfg.Keys.Replace(next)
	}
	link := d.ticket(d.ask(ada, "sess_1"))
	take(8, 7)
	s := reseal.New(reseal.Config{Documents: d.documents, Keys: d.cfg.Keys, Policy: d, Places: consent.Sealed()})
	if got, err := s.Rekey(t.Context(), ada, reseal.Request{}); err != nil || got.Resealed != 2 || got.Others != 2 { // with the client that was registered
		t.Fatalf("%+v, %v", got, err)
	}
	way, err := d.nodes[0].Begin(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := d.finish(1, d.back(way)); err != nil || shown.Status != consent.Given {
		t.Errorf("%+v, %v", shown, err)
	}
	take(8)
	if _, err := d.nodes[0].Show(t.Context(), link); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("the old link, without the old key: %v", err)
	}
}
