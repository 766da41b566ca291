package office

import (
	"strconv"
	"strings"
)

// notes are the footnotes and endnotes of a text document, by the name of their reference's element and their id.
type notes map[string]string

// notesOf reads those that a document has. Lines that part notes from the text are notes too, with a type.
func (p *pack) notesOf(main string) (notes, error) {
	links, err := p.links(main)
	if err != nil {
		return nil, err
	}
	all, size := notes{}, markdown{}
	for _, l := range links {
		kind, ok := "footnote", strings.HasSuffix(l.Type, "/footnotes")
		if !ok {
			kind, ok = "endnote", strings.HasSuffix(l.Type, "/endnotes")
		}
		if !ok || p.files[l.Target] == nil {
			continue
		}
		var at *word
		key := ""
		err := p.walk(l.Target, func(e element) error {
			switch {
			case e.name == kind && e.begins:
				at, key = &word{}, kind+"Reference "+e.attr("id")
				if t := e.attr("type"); t != "" && t != "normal" {
					key = ""
				}
			case e.name == kind && at != nil:
				if text := flat(at.out.String()); key != "" && text != "" {
					size.hold(len(text) + rowBytes)
					all[key] = text
				}
				at = nil
			case at != nil:
				at.tell(e)
				if err := at.out.err(); err != nil {
					return err
				}
			}
			return size.err()
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// refer writes a note's number where it is referred to; the note itself comes behind the paragraph, the first time.
func (w *word) refer(e element) {
	key := e.name + " " + e.attr("id")
	text, ok := w.notes[key]
	if !ok || len(w.open) == 0 || w.gone > 0 {
		return
	}
	number, told := w.numbers[key]
	if !told {
		number = len(w.numbers) + 1
		w.numbers[key] = number
	}
	mark := "[" + strconv.Itoa(number) + "]"
	w.write(mark)
	if !told {
		p := w.open[len(w.open)-1]
		w.out.hold(len(text) + len(mark) + 1)
		p.notes = append(p.notes, mark+" "+text)
	}
}
