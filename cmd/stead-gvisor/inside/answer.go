package inside

import (
	"bufio"
	"encoding/json"
	"fmt"
)

// ReadAnswer reads the answer to the order with an id, for the outside, which believes none of it: a
// line that is too long, no answer, or the answer to something else is an error, as is one that says so.
func ReadAnswer(r *bufio.Reader, id uint64) (Answer, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return Answer{}, fmt.Errorf("the first process inside does not answer: %w", err)
	}
	var a Answer
	if err := json.Unmarshal(line, &a); err != nil {
		return Answer{}, fmt.Errorf("the first process inside answers with something else: %w", err)
	}
	if a.ID != id {
		return Answer{}, fmt.Errorf("the first process inside answers order %d, not %d", a.ID, id)
	}
	if a.Error != "" {
		return Answer{}, fmt.Errorf("inside: %.500q", a.Error)
	}
	return a, nil
}
