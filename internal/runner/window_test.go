package runner_test

import "testing"

// TestUpstreamWindowSmallerThanTheCatalogs: an upstream with a smaller window than the catalog tells of: the conversation is summarized all
// the same.
func TestUpstreamWindowSmallerThanTheCatalogs(t *testing.T) {
	m := script(reply("ok"), reply("ok"), reply("ok"), fails(tooLong), reply("at last"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create(long(1)).ID
		n.idle(id)
		n.talk(id, 2, 4)
		if got := n.items(id); got[len(got)-1] != "assistant completed: at last" {
			t.Errorf("the last item is %.40q; %+v", got[len(got)-1], n.turns(id)[3].Error)
		}
	}, withModel(m)) // 128,000 tokens
}
