package seal

import "slices"

// Part takes a sealed text apart: the head is small, and what Rewrap changes; the rest stays as it is for ever, and opens by no key without a head.
// Of a text that has no head of its own (version 1) the head is all of it.
func Part(sealed []byte) (head, rest []byte) {
	if len(sealed) < Overhead || sealed[0] != envelope {
		return slices.Clone(sealed), nil
	}
	return slices.Clone(sealed[:headBytes+dataKey]), append([]byte{parted}, sealed[headBytes+dataKey:]...)
}

// Direct reports whether a text is of version 1: its head is all of it.
func Direct(sealed []byte) bool { return len(sealed) > 0 && sealed[0] == direct }

// Join puts a text together again: of its head, and of the rest or of the whole text, which has an older head then.
func Join(head, stored []byte) []byte {
	switch {
	case len(head) != headBytes+dataKey || head[0] != envelope: // it is all of the text
		return head
	case len(stored) > 0 && stored[0] == parted:
		return slices.Concat(head, stored[1:])
	case len(stored) >= Overhead && stored[0] == envelope:
		return slices.Concat(head, stored[headBytes+dataKey:])
	}
	return stored
}
