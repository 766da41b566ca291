package session

// PieceKind says what a stream event is about, for doors that tell it in the words of another API.
type PieceKind int

// The kinds of piece, with the fields that they set beside Item or ItemID and Output.
const (
	PieceOther        PieceKind = iota // nothing that another API has a word for
	PieceItemAdded                     // Item; Output is -1 of input
	PieceItemDone                      // Item
	PieceTextAdded                     // ItemID, Refusal: the text of a message begins
	PieceText                          // ItemID, Refusal, Text
	PieceTextDone                      // ItemID, Refusal, Text: all of it
	PieceSummaryAdded                  // ItemID, Part
	PieceSummary                       // ItemID, Part, Text
	PieceSummaryDone                   // ItemID, Part, Text: all of it
	PieceTurnStarted                   // Turn
	PieceTurnEnded                     // Turn
	PieceWaits                         // somebody must act before the turn goes on
	PieceSessionFailed
)

// Piece is a stream event, taken apart.
type Piece struct {
	Kind   PieceKind
	Item   Item
	ItemID string
	TurnID string
	Output int // output index within the turn
	Part   int // of a reasoning summary
	Text   string
	// Refusal: the text is one.
	Refusal bool
	Turn    *Turn
}

// PieceOf takes an event apart.
func PieceOf(e StreamEvent) Piece {
	switch b := e.Body.(type) {
	case *itemEvent:
		p := Piece{Kind: PieceItemAdded, Item: b.Item, ItemID: b.Item.ItemID(), TurnID: b.TurnID, Output: -1}
		if b.OutputIndex != nil {
			p.Output = *b.OutputIndex
		}
		if e.Type == "agent.session.turn.item.done" {
			p.Kind = PieceItemDone
		}
		return p
	case *partEvent:
		if e.Type == "agent.session.turn.content_part.added" {
			return at(b.place, Piece{Kind: PieceTextAdded, Refusal: b.Part.Refusal != nil})
		}
	case *textDelta:
		return at(b.place, Piece{Kind: PieceText, Text: b.Delta, Refusal: e.Type == eventRefusalDelta})
	case *textDone:
		return at(b.place, Piece{Kind: PieceTextDone, Text: b.Text})
	case *refusalDone:
		return at(b.place, Piece{Kind: PieceTextDone, Text: b.Refusal, Refusal: true})
	case *summaryPartEvent:
		return at(b.place, Piece{Kind: PieceSummaryAdded, Part: b.SummaryIndex})
	case *summaryDelta:
		return at(b.place, Piece{Kind: PieceSummary, Part: b.SummaryIndex, Text: b.Delta})
	case *summaryDone:
		return at(b.place, Piece{Kind: PieceSummaryDone, Part: b.SummaryIndex, Text: b.Text})
	case *turnEvent:
		if e.Type == "agent.session.turn.in_progress" {
			return Piece{Kind: PieceTurnStarted, Turn: &b.Turn, TurnID: b.TurnID}
		}
	case *turnEndedEvent:
		return Piece{Kind: PieceTurnEnded, Turn: &b.Turn, TurnID: b.TurnID}
	case *sessionEvent:
		switch e.Type {
		case "agent.session.requires_action":
			return Piece{Kind: PieceWaits}
		case "agent.session.failed":
			return Piece{Kind: PieceSessionFailed}
		}
	}
	return Piece{}
}

func at(where place, p Piece) Piece {
	p.ItemID, p.TurnID, p.Output = where.ItemID, where.TurnID, where.OutputIndex
	return p
}
