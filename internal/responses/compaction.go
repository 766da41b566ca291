package responses

import (
	"encoding/base64"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// Compaction is a summary that stands for a conversation. Its content is opaque to clients; what is in
// it is theirs, so it is written plainly and not sealed.
type Compaction struct {
	ID      string `json:"id"`
	Type    string `json:"type"` // "compaction"
	Content string `json:"encrypted_content"`
}

// compacted begins the content of ours.
const compacted = "stead.summary:"

// summaryIntroduction is what a model reads before a summary.
const summaryIntroduction = stead.NoticePrefix + "the conversation before this message was summed up as follows.\n\n"

// NewCompaction writes a summary.
func NewCompaction(id, summary string) Compaction {
	return Compaction{id, "compaction", compacted + base64.StdEncoding.EncodeToString([]byte(summary))}
}

// compaction takes back what NewCompaction wrote. What another server wrote nobody here can read, and
// without it the model would not know what the conversation is about: it is refused.
func compaction(o param.Object) (stead.Item, error) {
	content, err := param.Need(o.String("encrypted_content"))(o.Path("encrypted_content"))
	if err != nil {
		return stead.Item{}, err
	}
	rest, ours := strings.CutPrefix(content, compacted)
	text, err := base64.StdEncoding.DecodeString(rest)
	if !ours || err != nil {
		return stead.Item{}, stead.Invalid(o.Path("encrypted_content"), "%s is no summary that this server made", o.Path("encrypted_content"))
	}
	return stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, summaryIntroduction+string(text))}, nil
}
