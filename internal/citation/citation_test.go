package citation

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// given are two passages, with their marks.
func given(t *testing.T) (Passages, string, string) {
	t.Helper()
	a, b, p := Mark("key", 0), Mark("key", 1), Passages{}
	p.Add(fmt.Sprintf(`{"results":[{"cite":%q,"file_id":"file-1","filename":"a.md","source":{"id":"src"},"passage":{"lines":[1,2]}},{"cite":%q,"file_id":"file-2","filename":"b.md"},
		{"cite":"[cite:short]","file_id":"file-3"},{"cite":%q}]}`, a, b, Mark("other", 0)))
	if len(p) != 2 || len(a) != markLen || a == b || a != Mark("key", 0) {
		t.Fatalf("passages are %v", p)
	}
	return p, a, b
}

// places are citations as "index file".
func places(cited []stead.Citation) string {
	var out []string
	for _, c := range cited {
		out = append(out, fmt.Sprint(c.Index, " ", c.FileID))
	}
	return strings.Join(out, ", ")
}

func TestMarksBecomeCitations(t *testing.T) {
	p, a, b := given(t)
	stranger := Mark("another conversation", 0)
	for in, want := range map[string][2]string{
		"Thirty days " + a + ".":                       {"Thirty days.", "11 file-1"},
		"Dreißig Tage – 🙂 " + a + " oder" + b:          {"Dreißig Tage – 🙂 oder", "16 file-1, 21 file-2"},
		a + " begins":                                  {" begins", "0 file-1"},
		"one " + a + " " + b + a + " two":              {"one two", "3 file-1, 3 file-2"},
		"two  spaces  " + a + "\n" + b:                 {"two  spaces \n", "12 file-1, 13 file-2"},
		"forged " + stranger + " stays":                {"forged " + stranger + " stays", ""},
		"[cite:] [cite:ABCDEFGH] [cite:abcdefghi]":     {"[cite:] [cite:ABCDEFGH] [cite:abcdefghi]", ""},
		"[[" + a[:len(a)-1] + "|x] " + a[:9] + a:       {"[[" + a[:len(a)-1] + "|x] " + a[:9], "29 file-1"},
		"a mark that is cut off " + a[:len(a)-1]:       {"a mark that is cut off " + a[:len(a)-1], ""},
		"nothing but spaces   ":                        {"nothing but spaces   ", ""},
		strings.ToUpper(a) + "[" + a[1:len(a)-2] + ")": {strings.ToUpper(a) + "[" + a[1:len(a)-2] + ")", ""},
	} {
		text, cited := Take(in, p)
		if text != want[0] || places(cited) != want[1] {
			t.Errorf("%q is %q with %q, want %q with %q", in, text, places(cited), want[0], want[1])
		}
		// However the text is cut, what is shown is the same, and never a piece of a mark that is taken out later.
		for seed := range uint64(200) {
			cuts := rand.New(rand.NewPCG(seed, 1))
			r, shown := Reader{Passages: p}, ""
			for rest := in; rest != ""; {
				n := 1 + cuts.IntN(min(len(rest), 1+int(seed)%20))
				shown += r.Add(rest[:n])
				rest = rest[n:]
				if !strings.HasPrefix(text, shown) {
					t.Fatalf("%q, seed %d: shown is %q", in, seed, shown)
				}
			}
			if shown += r.End(); shown != text || !reflect.DeepEqual(r.Citations, cited) {
				t.Fatalf("%q, seed %d: shown is %q with %q", in, seed, shown, places(r.Citations))
			}
		}
		// What is put back is read as the same, but for a space where a mark had none in front.
		if again, marked := Take(Put(text, cited, p), p); again != text || places(marked) != places(cited) {
			t.Errorf("%q put back and taken is %q with %q", text, again, places(marked))
		}
		if len(cited) > 0 && strings.Contains(Put(text, cited, Passages{}), cited[0].Mark) {
			t.Errorf("%q: a mark of a passage that is not there any more is put back", in)
		}
	}
	if text, cited := Take("no passages "+a, nil); text != "no passages "+a || cited != nil {
		t.Errorf("without passages it is %q with %v", text, cited)
	}
}

func TestCitationsAreBounded(t *testing.T) {
	p, a, b := given(t)
	text, cited := Take(strings.Repeat("x"+a+b, MaxCitations), p)
	if len(cited) != MaxCitations || !strings.HasSuffix(text, "x"+a+b) || strings.HasPrefix(text, "x"+a) {
		t.Errorf("%d citations of %q", len(cited), text)
	}
}

// Citations stay with their words when what is around them is changed.
func TestCitationsMoveWithTheText(t *testing.T) {
	at := func(indexes ...int) (out []stead.Citation) {
		for _, i := range indexes {
			out = append(out, stead.Citation{Index: i, FileID: "f"})
		}
		return out
	}
	before := "Mail bob@example.com soon. Or ring."
	for after, want := range map[string]string{
		before:                             "4 f, 10 f, 26 f, 35 f",
		"Mail [redacted] soon. Or ring.":   "4 f, 15 f, 21 f, 30 f",
		"Mail bob@example.com soon. [red]": "4 f, 10 f, 26 f, 32 f",
		"":                                 "0 f, 0 f, 0 f, 0 f",
	} {
		if got := places(Moved(at(4, 10, 26, 35), before, after)); got != want {
			t.Errorf("in %q they are at %s, want %s", after, got, want)
		}
	}
}

func TestMarksAreFound(t *testing.T) {
	_, a, b := given(t)
	if got := Marks("x [cite:no] " + a + " [cite:" + b); !reflect.DeepEqual(got, []string{a, b}) {
		t.Errorf("marks are %q", got)
	}
}
