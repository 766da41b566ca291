package stead_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

const someSession stead.SessionID = "sess_0193aabbccddeeff0011223344556677"

func TestDerivedIDsLeadBack(t *testing.T) {
	for _, index := range []int{-1, 0, 7} {
		id := stead.DerivedID("msg", someSession, 42, index)
		prefix, seq, i, ok := stead.ParseDerivedID(someSession, id)
		if !ok || prefix != "msg" || seq != 42 || i != index {
			t.Errorf("%s → %q %d %d %v", id, prefix, seq, i, ok)
		}
		if s, ok := stead.SessionOf(id); !ok || s != someSession {
			t.Errorf("%s belongs to %q, %v", id, s, ok)
		}
		if _, _, _, ok := stead.ParseDerivedID("sess_ff", id); ok {
			t.Errorf("%s was taken for another session's", id)
		}
	}
	for _, id := range []string{"", "msg", "msg_1", "msg__", "msg_x_0", "msg_x_-1", "msg_x_1_-1", "msg_x_1_2_3", "msg_x_y"} {
		if s, ok := stead.SessionOf(id); ok {
			t.Errorf("%q was taken for an id of %q", id, s)
		}
	}
}

func TestCursorText(t *testing.T) {
	c, err := stead.ParseCursor("12.3.40")
	if err != nil || c != (stead.Cursor{Seq: 12, Part: 3, Ahead: 40}) || c.String() != "12.3.40" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := stead.ParseCursor("7"); err != nil || c.Seq != 7 {
		t.Errorf("the short form: %+v, %v", c, err)
	}
	for _, s := range []string{"", "x", "1.2.3.4", "-1", "1..2", strings.Repeat("9", 30)} {
		if _, err := stead.ParseCursor(s); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestTextIsAStringOrABlob(t *testing.T) {
	for _, text := range []stead.Text{stead.NewText(""), stead.NewText(`quo"te`), stead.NewText("<a href='x'>&\u2028\n\\ é 🙂"), {Digest: strings.Repeat("a", 64), Bytes: 99}} {
		data, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var back stead.Text
		if err := json.Unmarshal(data, &back); err != nil || back != text {
			t.Errorf("%+v → %s → %+v, %v", text, data, back, err)
		}
	}
	if data, err := json.Marshal(stead.NewText("bad \xff byte")); err != nil || !json.Valid(data) {
		t.Errorf("invalid UTF-8 made %q, %v", data, err)
	}
	loaded := stead.Text{Inline: "text", Digest: strings.Repeat("a", 64), Bytes: 4}
	if data, _ := json.Marshal(loaded); strings.Contains(string(data), "text") {
		t.Errorf("a blob's text was written into the journal: %s", data)
	}
}

func TestErrorKinds(t *testing.T) {
	cause := io.ErrUnexpectedEOF
	err := stead.Wrap(stead.KindUnavailable, cause, "the disk is full")
	if stead.KindOf(err) != stead.KindUnavailable || !errors.Is(err, cause) || strings.Contains(err.Message, cause.Error()) {
		t.Errorf("%+v", err)
	}
	if stead.KindOf(cause) != stead.KindInternal || stead.KindOf(nil) != "" {
		t.Error("kinds of plain errors")
	}
}
