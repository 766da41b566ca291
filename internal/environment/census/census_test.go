//go:build unix

package census

import (
	"reflect"
	"testing"
)

func TestWhoBelongsToACommand(t *testing.T) {
	all := []Process{
		{10, 0, 10}, // a command that runs
		{11, 10, 10},
		{12, 11, 12}, // left its session, and has its parents
		{13, 1, 10},  // lost its parents, and is in its session
		{14, 1, 14},  // lost both
		{15, 14, 15},
		{20, 0, 20}, // another command
	}
	got := ByCommand(all, map[int]uint32{10: 7, 20: 8})
	want := map[uint32][]int{7: {10, 11, 12, 13}, 8: {20}, Rest: {14, 15}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

func TestLinesOfProc(t *testing.T) {
	for line, want := range map[string]Process{
		"7 (sh) S 3 7 5 0 0":          {0, 3, 5},
		"7 (a) Z 9 (b) R 3 7 5 0":     {0, 3, 5}, // a name that looks like a line
		"7 (sh) Z 3 7 5 0":            {},
		"7 (sh) S 3 7":                {},
		"":                            {},
		"7 (sh) S three seven five 0": {},
	} {
		got, alive := parse([]byte(line))
		if alive != (want != Process{}) || alive && got != want {
			t.Errorf("%q: %v, %v", line, got, alive)
		}
	}
}

// TestKillEnds: who forks faster than he is killed keeps nobody forever.
func TestKillEnds(t *testing.T) {
	if n := Kill(func() []int { return []int{1 << 30} }); n != maxRounds { // no process has that id
		t.Errorf("%d rounds", n)
	}
}
