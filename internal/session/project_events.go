package session

import "github.com/stead-dev/stead"

// The bodies of the wire's stream events (AgentSessionEvent of the Agents API).

type body interface{ head() *eventHead }

// streamed is a body that carries streamed text, of which a part may have been shown already.
type streamed interface {
	body
	text() *string
}

type eventHead struct {
	Type    string `json:"type"`
	EventID string `json:"event_id"`
}

func (h *eventHead) head() *eventHead { return h }

type place struct {
	ItemID      string          `json:"item_id"`
	OutputIndex int             `json:"output_index"`
	SessionID   stead.SessionID `json:"session_id"`
	TurnID      string          `json:"turn_id"`
}

type sessionEvent struct {
	eventHead
	Session Session `json:"session"`
}

// Actions are what the session waits for; they are this event's own.
func (e *sessionEvent) Actions() []RequiredAction { return e.Session.RequiredActions }

type turnEvent struct {
	eventHead
	SessionID stead.SessionID `json:"session_id"`
	Turn      Turn            `json:"turn"`
	TurnID    string          `json:"turn_id"`
}

type turnEndedEvent struct {
	eventHead
	SessionID stead.SessionID `json:"session_id"`
	Turn      Turn            `json:"turn"`
	TurnID    string          `json:"turn_id"`
	Usage     *TokenUsage     `json:"usage"`
}

type itemEvent struct {
	eventHead
	Item        Item            `json:"item"`
	OutputIndex *int            `json:"output_index"`
	SessionID   stead.SessionID `json:"session_id"`
	TurnID      string          `json:"turn_id"`
}

type partEvent struct {
	eventHead
	place
	ContentIndex int         `json:"content_index"`
	Part         WireContent `json:"part"`
}

type textDelta struct {
	eventHead
	place
	ContentIndex int    `json:"content_index"`
	Delta        string `json:"delta"`
}

type textDone struct {
	eventHead
	place
	ContentIndex int    `json:"content_index"`
	Text         string `json:"text"`
}

// refusalDone is the textDone of a refusal, whose deltas are those of a text but for their type.
type refusalDone struct {
	eventHead
	place
	ContentIndex int    `json:"content_index"`
	Refusal      string `json:"refusal"`
}

type summaryPartEvent struct {
	eventHead
	place
	SummaryIndex int         `json:"summary_index"`
	Part         SummaryText `json:"part"`
}

type summaryPartDone struct {
	eventHead
	place
	SummaryIndex int         `json:"summary_index"`
	Part         SummaryText `json:"part"`
	Status       *string     `json:"status"`
}

type summaryDelta struct {
	eventHead
	place
	SummaryIndex int    `json:"summary_index"`
	Delta        string `json:"delta"`
}

type summaryDone struct {
	eventHead
	place
	SummaryIndex int    `json:"summary_index"`
	Text         string `json:"text"`
}

func (d *textDelta) text() *string    { return &d.Delta }
func (d *summaryDelta) text() *string { return &d.Delta }

func saidPart(s string, refusal bool) WireContent {
	if refusal {
		return WireContent{Type: stead.ContentRefusal, Refusal: &s}
	}
	return WireContent{Type: stead.ContentOutputText, Text: &s}
}
