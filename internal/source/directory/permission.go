package directory

import (
	"os"
	"reflect"
	"slices"
	"syscall"

	"github.com/stead-dev/stead/internal/vectorstore"
)

// Permissions say whom of Stead's the users and groups of a file system are. A document is for whoever may read its file there: who may get through
// every directory from the root on, and may read the file. Whom they do not name reads nothing by them.
//
// Whoever a file system denies something although the next ones have it (an owner without a right that the group has, a user whom an access control
// list takes it from) can't be told apart from these: then they do not have it either.
type Permissions struct {
	Users, Groups map[uint32][]string // by id: "user:ID", "service:ID" or "role:NAME"
	// Everyone says that what all others may read is for whoever may read the vector store; else all others are nobody.
	Everyone bool
}

// What is asked for of a file or a directory.
const (
	mayRead = 4
	mayPass = 1
)

// The classes of whom a right is of, in the order in which a file system asks them.
const (
	ofOwner = iota
	ofUser
	ofGroup
	ofOthers
)

// grant is what somebody has of a file.
type grant struct {
	class int
	id    uint32
	bits  uint16
}

// of are who have a right to a file that is open; of what can't be known, nobody.
func (p *Permissions) of(f *os.File, right uint16) vectorstore.Readers {
	info, err := f.Stat()
	if err != nil {
		return vectorstore.Nobody()
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return vectorstore.Nobody()
	}
	list, err := accessList(f)
	if err != nil {
		return vectorstore.Nobody()
	}
	grants, ok := grantsOf(st.Uid, st.Gid, uint16(info.Mode().Perm()), list)
	if !ok {
		return vectorstore.Nobody()
	}
	return p.who(grants, right)
}

// who are those to whom grants give a right.
func (p *Permissions) who(grants []grant, right uint16) vectorstore.Readers {
	var out vectorstore.Readers
	for class := ofOwner; class <= ofOthers; class++ {
		all := true
		for _, g := range grants {
			if g.class != class {
				continue
			}
			if g.bits&right == 0 {
				all = false
				continue
			}
			switch class {
			case ofOwner, ofUser:
				out.Name(p.Users[g.id])
			case ofGroup:
				out.Name(p.Groups[g.id])
			case ofOthers:
				if p.Everyone {
					return vectorstore.Readers{}
				}
			}
		}
		if !all {
			break
		}
	}
	if len(out.Principals)+len(out.Roles) == 0 {
		return vectorstore.Nobody() // no names let everybody
	}
	return out
}

// narrowed adds readers, each of which must let somebody, unless they are everybody or there already.
func narrowed(above []vectorstore.Readers, by vectorstore.Readers) []vectorstore.Readers {
	same := func(r vectorstore.Readers) bool { return reflect.DeepEqual(r, by) }
	if len(by.Principals)+len(by.Roles) == 0 || slices.ContainsFunc(above, same) {
		return above
	}
	return append(slices.Clip(above), by)
}

// grantsOf are those of a mode, or of an access control list, where there is one: the mode's bits of the group are then the most that it may give.
func grantsOf(uid, gid uint32, mode uint16, list []byte) ([]grant, bool) {
	if list == nil {
		return []grant{{ofOwner, uid, mode >> 6 & 7}, {ofGroup, gid, mode >> 3 & 7}, {ofOthers, 0, mode & 7}}, true
	}
	return parseList(uid, gid, list)
}
