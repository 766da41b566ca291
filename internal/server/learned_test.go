package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/model"
)

// A picture counts as one, by link as within the request; its name in a text does not.
func TestPicturesAndFilesWeighWhatTheyDoInSessions(t *testing.T) {
	inline := "data:image/png;base64," + strings.Repeat("A", 300_000)
	for body, want := range map[string]int64{
		`{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://a.example/b.png"}}]}]}`:               model.ImageBytes,
		`{"messages":[{"content":[{"type": "image_url", "image_url" : {"url":"` + inline + `"}}]}]}`:                    model.ImageBytes,
		`{"input":[{"content":[{"type":"input_image","image_url":"https://a.example/b.png"}]}]}`:                        model.ImageBytes,
		`{"input":[{"content":[{"type":"input_image","file_id":"file_1"},{"type":"input_image","file_id":"file_2"}]}]}`: 2 * model.ImageBytes,
		`{"input":[{"content":[{"type":"input_file","file_url":"https://a.example/b.pdf"}]}]}`:                          model.FileBytes,
		`{"messages":[{"content":[{"type":"file","file":{"file_id":"file_1"}}]}]}`:                                      model.FileBytes,
		`{"messages":[{"content":"say \\"image_url\\": and \\"input_image\\""}]}`:                                       0,
	} {
		got := (&call{body: []byte(body)}).input()
		if least := want / bytesPerToken; got < least || got > least+60 {
			t.Errorf("%.80s: %d tokens, want about %d", body, got, least)
		}
	}
}

// What only looks like a picture is text, and what hides its name is one all the same.
func TestTextIsNoPictureAndAPictureIsNoText(t *testing.T) {
	prose := "data:image/ " + strings.Repeat("these are words and no picture ", 1000)
	words := int64(len(prose) / heldBytesPerToken)
	link := int64(model.ImageBytes / bytesPerToken)
	for body, least := range map[string]int64{
		`{"messages":[{"role":"user","content":"` + prose + `"}]}`:               words,
		`{"input":"` + prose + `"}`:                                              words,
		`{"input":["` + prose + `"]}`:                                            words,
		`{"input":[{"content":[{"type":"input_text","text":"` + prose + `"}]}]}`: words,
		`{"messages":[],"tools":[{"function":{"parameters":{"type":"image_url","image_url":{"url":"` + prose + `"}}}}]}`:                      words,
		`{"messages":[{"content":[{"type":"image_url","image\u005furl":{"url":"https://a.example/b.png"}}]}]}`:                                link,
		`{"messages":[{"content":[{"type":"im\u0061ge_url","image_url":{"url":"https://a.example/b.png"}}]}]}`:                                link,
		`{"input":[{"content":[{"type":"input\u005fimage","image\u005furl":"https://a.example/b.png"}]}]}`:                                    link,
		`{"messages":[{"content":[{"type":"image_url","image_url":{"url":"d\u0061ta:image/png;base64,AAAA"}}]}]}`:                             link,
		`{"messages":[{"content":[{"type":"text","text":"a \u003c b"},{"type":"image_url","image_url":{"url":"https://a.example/b.png"}}]}]}`: link,
		`{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},{"content":"` + prose + `"}]}`:      link + words,
	} {
		got := (&call{body: []byte(body)}).input()
		if got < least || got > least+100 {
			t.Errorf("%.100s: %d tokens, want about %d", body, got, least)
		}
	}
}

// What an upstream tells above what a project's calls reserve is reserved from then on, up to a bound, and forgotten within a
// few calls; another project's calls know nothing of it.
func TestReservationsLearn(t *testing.T) {
	var l learned
	mine, other := learnedKey{"p", "m"}, learnedKey{"q", "m"}
	if f := l.factor(mine); f != 1 {
		t.Errorf("at first %v", f)
	}
	l.told(mine, 5, 10)
	if f := l.factor(mine); f != 1 || l.factors[mine] != 0 {
		t.Errorf("after less than was reserved %v", f)
	}
	l.told(mine, 60, 10)
	if f := l.factor(mine); f != 6 || scaled(10, f) != 60 || scaled(1<<60, f) != model.MaxTokens {
		t.Errorf("after six times as much %v", f)
	}
	l.told(mine, 60_000, 10)
	if f := l.factor(mine); f != maxFactor {
		t.Errorf("after thousands of times as much %v", f)
	}
	if f := l.factor(other); f != 1 {
		t.Errorf("another project's calls %v", f)
	}
	for range 4 {
		l.told(mine, 10, 10)
	}
	if f := l.factor(mine); f != 1 {
		t.Errorf("after four usual ones %v", f)
	}
	for i := range maxLearned + 1 {
		l.told(learnedKey{"p", fmt.Sprint(i)}, 1000, 10)
	}
	if len(l.factors) > maxLearned {
		t.Errorf("%d models", len(l.factors))
	}
}
