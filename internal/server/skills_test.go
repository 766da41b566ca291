package server

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/held"
)

// TestSkillsInMemoryAreBounded: what the uploads of a moment hold is counted as it comes, with what an
// archive may unpack to, and given back.
func TestSkillsInMemoryAreBounded(t *testing.T) {
	upload := func(budget *held.Budget, name, data string) error {
		t.Helper()
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("files", name)
		if err == nil {
			_, err = part.Write([]byte(data))
		}
		if err == nil {
			err = form.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/v1/skills", &body)
		r.Header.Set("Content-Type", form.FormDataContentType())
		lease := budget.Lease()
		defer lease.Release()
		_, err = readSkill(httptest.NewRecorder(), r, lease)
		return err
	}
	text := "---\nname: x\ndescription: y\n---\n" + strings.Repeat("x", 1000)
	small := held.New("skills that are uploaded", int64(len(text)))
	for range 2 {
		if err := upload(small, "SKILL.md", text); err != nil {
			t.Errorf("what fits: %v", err)
		}
	}
	if err := upload(small, "SKILL.md", text+"x"); stead.KindOf(err) != stead.KindLimited {
		t.Errorf("what does not: %v", err)
	}
	if err := upload(small, "x.zip", "PK\x03\x04"); stead.KindOf(err) != stead.KindLimited {
		t.Errorf("an archive, which may unpack to much: %v", err)
	}
	if small.Used() != 0 {
		t.Errorf("%d bytes are used by nobody", small.Used())
	}
}
