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

// What an upstream tells above what calls reserve is reserved from then on, and forgotten slowly.
func TestReservationsLearn(t *testing.T) {
	var l learned
	if f := l.factor("m"); f != 1 {
		t.Errorf("at first %v", f)
	}
	l.told("m", 5, 10)
	if f := l.factor("m"); f != 1 || l.factors["m"] != 0 {
		t.Errorf("after less than was reserved %v", f)
	}
	l.told("m", 1000, 10)
	if f := l.factor("m"); f != 100 || scaled(10, f) != 1000 || scaled(1<<60, f) != model.MaxTokens {
		t.Errorf("after a hundred times as much %v", f)
	}
	l.told("m", 10, 10)
	if f := l.factor("m"); f != 90 {
		t.Errorf("after one that needed no more %v", f)
	}
	for range 100 {
		l.told("m", 10, 10)
	}
	if f := l.factor("m"); f != 1 {
		t.Errorf("after a hundred of them %v", f)
	}
	for i := range maxLearned + 1 {
		l.told(fmt.Sprint(i), 1000, 10)
	}
	if len(l.factors) > maxLearned {
		t.Errorf("%d models", len(l.factors))
	}
}
