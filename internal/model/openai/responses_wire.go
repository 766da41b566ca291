package openai

import (
	"encoding/json"
	"hash/fnv"

	"github.com/stead-dev/stead/internal/model/upstream"
)

// responsesEvent has the members of all events that matter; each event sets some.
type responsesEvent struct {
	Type     string `json:"type"`
	Sequence *int64 `json:"sequence_number"`

	OutputIndex  *int            `json:"output_index"`
	ItemID       string          `json:"item_id"`
	SummaryIndex int             `json:"summary_index"`
	ContentIndex int             `json:"content_index"`
	Delta        json.RawMessage `json:"delta"`
	Name         string          `json:"name"`
	Arguments    string          `json:"arguments"`
	Item         *responsesItem  `json:"item"`
	Response     *response       `json:"response"`

	Error   *upstream.Fault `json:"error"` // as some servers nest it
	Code    json.RawMessage `json:"code"`
	Message string          `json:"message"`
}

type response struct {
	Status     string          `json:"status"`
	Model      string          `json:"model"`
	Tier       string          `json:"service_tier"`
	Output     []responsesItem `json:"output"`
	Error      *upstream.Fault `json:"error"`
	Incomplete *struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
	Usage *struct {
		Input        int64 `json:"input_tokens"`
		Output       int64 `json:"output_tokens"`
		InputDetails struct {
			Cached  int64 `json:"cached_tokens"`
			Written int64 `json:"cache_write_tokens"`
		} `json:"input_tokens_details"`
		OutputDetails struct {
			Reasoning int64 `json:"reasoning_tokens"`
		} `json:"output_tokens_details"`
	} `json:"usage"`
}

type responsesItem struct {
	Type      string          `json:"type"`
	ID        string          `json:"id"`
	Status    string          `json:"status"`
	Phase     string          `json:"phase"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Encrypted string          `json:"encrypted_content"`
	Summary   []responsesPart `json:"summary"`
	Content   []responsesPart `json:"content"`
}

type responsesPart struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Refusal string `json:"refusal"`
}

// sequences finds events that came twice: with the same number and the same bytes. A server that
// gives one number to different events does not count, and is not trusted again.
type sequences struct {
	hashes  map[int64]uint64 // sequence number → hash of the event
	useless bool
}

func (q *sequences) repeated(n int64, data []byte) bool {
	if q.useless {
		return false
	}
	h := fnv.New64a()
	_, _ = h.Write(data) // never fails
	sum := h.Sum64()
	if q.hashes == nil {
		q.hashes = map[int64]uint64{}
	}
	old, ok := q.hashes[n]
	if ok && old != sum {
		q.useless = true
		return false
	}
	q.hashes[n] = sum
	return ok
}
