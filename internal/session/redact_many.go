package session

import (
	"bytes"

	"github.com/stead-dev/stead"
)

// RedactAll is an event without what any of several items said, each shown it behind the one before. It is read once, however many they are;
// changed is told of each that had something in it, with the data before and behind.
func RedactAll(e stead.Event, items []*Redactor, changed func(item int, was, is []byte)) (stead.Event, error) {
	p, err := opened(e)
	if err != nil {
		return e, err
	}
	for i, r := range items {
		had := r.look(e, p)
		if r.err != nil {
			return e, r.err
		}
		if !had {
			continue
		}
		next, err := p.event(e)
		if err != nil {
			return e, err
		}
		if !bytes.Equal(next.Data, e.Data) {
			changed(i, e.Data, next.Data)
			e = next
		}
	}
	return e, nil
}

// payload is what an event says, decoded.
type payload interface {
	says() any // a pointer to it
	event(of stead.Event) (stead.Event, error)
}

type payloadOf[T any] struct{ p T }

func (o *payloadOf[T]) says() any { return &o.p }

// event is one that says it as it is now.
func (o *payloadOf[T]) event(of stead.Event) (stead.Event, error) {
	out, err := NewEvent(of.At, of.Kind, o.p)
	out.Seq, out.Thread = of.Seq, of.Thread
	return out, err
}

func open[T any](e stead.Event) (payload, error) {
	p, err := Decode[T](e)
	if err != nil {
		return nil, err
	}
	return &payloadOf[T]{p}, nil
}

// opened decodes an event of a kind that may hold what an item said; nil: it is of another kind.
func opened(e stead.Event) (payload, error) {
	switch e.Kind {
	case KindInputMessage:
		return open[Message](e)
	case KindInputItems:
		return open[ItemsInput](e)
	case KindModelStreamed:
		return open[ModelStreamed](e)
	case KindModelReplied:
		return open[ModelReplied](e)
	case KindModelFailed:
		return open[ModelFailed](e)
	case KindContextCompacted:
		return open[ContextCompacted](e)
	case KindMemoryRecalled:
		return open[MemoryRecalled](e)
	case KindMemoryExtracted:
		return open[MemoryExtracted](e)
	case KindToolsListed:
		return open[ToolsListed](e)
	case KindSubagentCreated:
		return open[SubagentCreated](e)
	case KindSubagentInput:
		return open[SubagentInput](e)
	case KindSubagentAnswered:
		return open[SubagentAnswered](e)
	case KindTurnFailed:
		return open[TurnEnded](e)
	case KindEnvironmentConnected:
		return open[EnvironmentConnected](e)
	case KindEnvironmentCheckpointed:
		return open[EnvironmentCheckpointed](e)
	}
	return openedCall(e)
}

// openedCall does so with what becomes of calls.
func openedCall(e stead.Event) (payload, error) {
	switch e.Kind {
	case KindToolRequested:
		return open[ToolRequested](e)
	case KindInputEdit:
		return open[ApprovalEdit](e)
	case KindInputApproval:
		return open[ApprovalResult](e)
	case KindInputDelegate:
		return open[ApprovalDelegated](e)
	case KindEffectHeld:
		return open[EffectHeld](e)
	case KindInputEffect:
		return open[EffectResult](e)
	case KindToolHeld:
		return open[ToolHeld](e)
	case KindToolRequired:
		return open[ToolRequired](e)
	case KindToolCalled:
		return open[ToolCalled](e)
	case KindInputToolResult:
		return open[ToolResult](e)
	case KindInputOutcome:
		return open[OutcomeResult](e)
	case KindToolReturned:
		return open[ToolReturned](e)
	case KindToolLost:
		return open[ToolLost](e)
	case KindToolStreamed:
		return open[ToolStreamed](e)
	}
	return nil, nil
}

// change is edit for what may have nothing to change.
func change[T any](e stead.Event, do func(*T) bool) (stead.Event, error) {
	changed := false
	out, err := edit(e, func(p *T) { changed = do(p) })
	if err != nil || !changed {
		return e, err
	}
	return out, nil
}
