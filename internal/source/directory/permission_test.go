package directory

import (
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/stead-dev/stead/internal/vectorstore"
)

// list is an access control list as Linux keeps it, of triples of tag, permissions and id.
func list(entries ...[3]uint32) []byte {
	out := binary.LittleEndian.AppendUint32(nil, listVersion)
	for _, e := range entries {
		out = binary.LittleEndian.AppendUint16(out, uint16(e[0]))
		out = binary.LittleEndian.AppendUint16(out, uint16(e[1]))
		out = binary.LittleEndian.AppendUint32(out, e[2])
	}
	return out
}

func TestWhoMayReadAFile(t *testing.T) {
	const uid, gid, none = 10, 20, 0xffffffff
	p := &Permissions{Users: map[uint32][]string{uid: {"user:ada"}, 11: {"user:bob", "service:ci"}}, Groups: map[uint32][]string{gid: {"role:staff"}, 21: {"role:board", "user:ada"}}}
	some := func(roles []string, principals ...string) vectorstore.Readers {
		return vectorstore.Readers{Principals: principals, Roles: roles}
	}
	nobody, everyone := vectorstore.Nobody(), vectorstore.Readers{}
	for name, c := range map[string]struct {
		uid, gid uint32
		mode     uint16
		list     []byte
		want     vectorstore.Readers
		open     vectorstore.Readers // where others are everyone
	}{
		"its owner":                       {uid, gid, 0o600, nil, some(nil, "user:ada"), some(nil, "user:ada")},
		"its group":                       {uid, gid, 0o640, nil, some([]string{"staff"}, "user:ada"), some([]string{"staff"}, "user:ada")},
		"all":                             {uid, gid, 0o644, nil, some([]string{"staff"}, "user:ada"), everyone},
		"nobody":                          {uid, gid, 0o000, nil, nobody, nobody},
		"write is not read":               {uid, gid, 0o222, nil, nobody, nobody},
		"all but the group":               {uid, gid, 0o604, nil, some(nil, "user:ada"), some(nil, "user:ada")},
		"all but the owner":               {uid, gid, 0o044, nil, nobody, nobody},
		"whom nobody knows":               {99, 99, 0o660, nil, nobody, nobody},
		"all, whoever owns it":            {99, 99, 0o444, nil, nobody, everyone},
		"a list that adds":                {uid, gid, 0o640, list([3]uint32{1, 6, none}, [3]uint32{2, 4, 11}, [3]uint32{4, 4, none}, [3]uint32{8, 4, 21}, [3]uint32{16, 4, none}, [3]uint32{32, 0, none}), some([]string{"board", "staff"}, "service:ci", "user:ada", "user:bob"), some([]string{"board", "staff"}, "service:ci", "user:ada", "user:bob")},
		"a list whose mask takes":         {uid, gid, 0o600, list([3]uint32{1, 6, none}, [3]uint32{2, 4, 11}, [3]uint32{4, 4, none}, [3]uint32{16, 0, none}, [3]uint32{32, 0, none}), some(nil, "user:ada"), some(nil, "user:ada")},
		"a mode that is the mask":         {uid, gid, 0o640, list([3]uint32{1, 6, none}, [3]uint32{2, 4, 11}, [3]uint32{4, 0, none}, [3]uint32{16, 4, none}, [3]uint32{32, 0, none}), some(nil, "service:ci", "user:ada", "user:bob"), some(nil, "service:ci", "user:ada", "user:bob")},
		"a list that takes from somebody": {uid, gid, 0o644, list([3]uint32{1, 6, none}, [3]uint32{2, 0, 12}, [3]uint32{2, 4, 11}, [3]uint32{4, 4, none}, [3]uint32{16, 4, none}, [3]uint32{32, 4, none}), some(nil, "service:ci", "user:ada", "user:bob"), some(nil, "service:ci", "user:ada", "user:bob")},
		"no list":                         {uid, gid, 0o644, []byte{1, 2, 3}, nobody, nobody},
		"a list without its group":        {uid, gid, 0o644, list([3]uint32{1, 4, none}, [3]uint32{32, 4, none}), nobody, nobody},
		"a list of another form":          {uid, gid, 0o644, list([3]uint32{1, 4, none}, [3]uint32{4, 4, none}, [3]uint32{32, 4, none}, [3]uint32{64, 4, none}), nobody, nobody},
	} {
		for _, p.Everyone = range []bool{false, true} {
			want := c.want
			if p.Everyone {
				want = c.open
			}
			got := nobody
			if grants, ok := grantsOf(c.uid, c.gid, c.mode, c.list); ok {
				got = p.who(grants, mayRead)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, others everyone %t: %+v, want %+v", name, p.Everyone, got, want)
			}
		}
	}
}
