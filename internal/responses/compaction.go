package responses

import (
	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// Compaction is a summary that stands for a conversation. Its content is opaque to clients.
type Compaction struct {
	ID      string `json:"id"`
	Type    string `json:"type"` // "compaction"
	Content string `json:"encrypted_content"`
}

// compaction refuses one that is still closed: doors open their own before items are read. What another server
// wrote nobody here can read, and without it the model would not know what the conversation is about.
func compaction(o param.Object) error {
	if _, err := param.Need(o.String("encrypted_content"))(o.Path("encrypted_content")); err != nil {
		return err
	}
	return stead.Invalid(o.Path("encrypted_content"), "%s is no summary that this server made", o.Path("encrypted_content"))
}
