package inside

import (
	"bufio"
	"strings"
	"testing"
)

func read(line string, id uint64) error {
	_, err := ReadAnswer(bufio.NewReaderSize(strings.NewReader(line), MaxLine), id)
	return err
}

func TestAnswers(t *testing.T) {
	if err := read("{\"id\":7}\n", 7); err != nil {
		t.Error(err)
	}
	for name, line := range map[string]string{
		"an error":        "{\"id\":7,\"error\":\"no\"}\n",
		"another order's": "{\"id\":8}\n",
		"nothing":         "",
		"no end":          "{\"id\":7}",
		"no JSON":         "ok\n",
		"too long":        "{\"id\":7,\"error\":\"" + strings.Repeat("x", MaxLine) + "\"}\n",
	} {
		if read(line, 7) == nil {
			t.Errorf("%s is taken for success", name)
		}
	}
}

// FuzzAnswer lets the inside say anything to the supervisor.
func FuzzAnswer(f *testing.F) {
	f.Add("{\"id\":7}\n")
	f.Add("{\"id\":7,\"error\":\"no\"}\n")
	f.Fuzz(func(t *testing.T, line string) {
		if err := read(line, 7); err != nil && len(err.Error()) > MaxLine {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
