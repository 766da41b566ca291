package session_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// resealed writes the counts and the checksum of a changed export anew, so that a fuzzer gets past
// them to the events.
func resealed(data []byte) []byte {
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines) < 2 || !bytes.HasSuffix(lines[0], []byte("\n")) {
		return data
	}
	var header map[string]any
	if json.Unmarshal(lines[0], &header) != nil {
		return data
	}
	var body []byte
	events, blobs := 0, 0
	for _, l := range lines[1:] {
		if bytes.HasPrefix(l, []byte(`{"end"`)) || !bytes.HasSuffix(l, []byte("\n")) {
			break
		}
		if bytes.HasPrefix(l, []byte(`{"event"`)) {
			events++
		} else {
			blobs++
		}
		body = append(body, l...)
	}
	header["events"] = events
	first, err := json.Marshal(header)
	if err != nil {
		return data
	}
	out := append(append(first, '\n'), body...)
	sum := sha256.Sum256(out)
	end, _ := json.Marshal(map[string]any{"end": map[string]any{"events": events, "blobs": blobs, "sha256": hex.EncodeToString(sum[:])}})
	return append(append(out, end...), '\n')
}
