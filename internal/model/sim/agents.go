package sim

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
)

// toldBySubagent begins what the runtime says before a subagent's answer.
const toldBySubagent = stead.NoticePrefix + "Message of subagent "

// withAgents puts what is known of subagents where a text asks for it: {agent 1} is the id of the first that was made in the conversation,
// {answer 1} the first answer that came. What is not known stays as it is.
func withAgents(text string, items []stead.Item) string {
	if !strings.Contains(text, "{agent ") && !strings.Contains(text, "{answer ") {
		return text
	}
	made, answers := 0, 0
	for i := range items {
		it := &items[i]
		var said struct {
			ID string `json:"agent_id"`
		}
		switch {
		case it.Type == stead.ItemFunctionCallOutput && madeSubagent(items, it.CallID):
			if len(it.Output) == 0 || json.Unmarshal([]byte(it.Output[0].Text.Inline), &said) != nil || said.ID == "" {
				continue
			}
			made++
			text = strings.ReplaceAll(text, fmt.Sprintf("{agent %d}", made), said.ID)
		case it.Type == stead.ItemMessage && len(it.Content) > 0 && strings.HasPrefix(it.Content[0].Text.Inline, toldBySubagent):
			answers++
			answer, _ := messageText(stead.Item{Content: it.Content[1:]})
			text = strings.ReplaceAll(text, fmt.Sprintf("{answer %d}", answers), answer)
		}
	}
	return text
}

// madeSubagent reports whether a call of an id was to make one.
func madeSubagent(items []stead.Item, callID string) bool {
	for i := range items {
		if items[i].Type.IsCall() && items[i].CallID == callID {
			return strings.HasSuffix(items[i].Name, "create_subagent")
		}
	}
	return false
}
