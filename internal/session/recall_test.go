package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// What is looked up is what somebody wrote, also where it begins like a notice of the runtime; a notice is none.
func TestWhatSomebodyWroteIsNoNotice(t *testing.T) {
	said := func(text string) stead.Item {
		return stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, text)}
	}
	var c Context
	c.given(3, []stead.Item{said(stead.NoticePrefix + "what is the refund window?")})
	c.notice(4, "the workspace is stored again.")
	if got := c.Unread(); len(got) != 1 || !strings.HasSuffix(string(got[0].Content[0].Text.Inline), "refund window?") {
		t.Errorf("looked up is %+v", got)
	}
}

// Where labels have no room, what was found comes first, and what stood around an entry that is left out goes with it.
func TestWhatWasFoundFitsBeforeWhatStandsAround(t *testing.T) {
	many := make([]string, stead.MaxLabels-1)
	for i := range many {
		many[i] = fmt.Sprint("label-", i)
	}
	p := MemoryRecalled{Entries: []Recalled{
		{ID: "1", Store: "a", ContextOf: "2", Place: -1, Labels: []string{"x", "y"}},
		{ID: "2", Store: "a", Labels: many},
		{ID: "3", Store: "a", ContextOf: "4", Place: -1},
		{ID: "4", Store: "a", Labels: []string{"x", "y"}},
		{ID: "5", Store: "a", ContextOf: "2", Place: 1, Labels: []string{"label-1"}},
	}}
	p.Fit(&View{})
	var left []string
	for _, r := range p.Entries {
		left = append(left, r.ID)
	}
	if got := strings.Join(left, " "); got != "2 5" || p.LeftOut != 2 {
		t.Errorf("there are %s, and %d are left out", got, p.LeftOut)
	}
	if line := p.Entries[1].line(); !strings.HasPrefix(line, "context · 5") {
		t.Errorf("the model reads %q", line)
	}
}
