package directory

import "encoding/binary"

// The form of a POSIX access control list as Linux keeps it (linux/posix_acl_xattr.h): a version, and entries of a tag, permissions and an id.
const (
	listVersion = 2
	listHead    = 4
	listEntry   = 8

	tagOwner  = 0x01
	tagUser   = 0x02
	tagOwning = 0x04 // the group that owns it
	tagGroup  = 0x08
	tagMask   = 0x10
	tagOthers = 0x20
)

// parseList reads one. ok is false for what is none: who may is not known then.
func parseList(uid, gid uint32, data []byte) (grants []grant, ok bool) {
	if len(data) < listHead || (len(data)-listHead)%listEntry != 0 || binary.LittleEndian.Uint32(data) != listVersion {
		return nil, false
	}
	mask, seen := uint16(7), map[uint16]bool{}
	for at := listHead; at < len(data); at += listEntry {
		tag, bits, id := binary.LittleEndian.Uint16(data[at:]), binary.LittleEndian.Uint16(data[at+2:]), binary.LittleEndian.Uint32(data[at+4:])
		seen[tag] = true
		switch tag {
		case tagOwner:
			grants = append(grants, grant{ofOwner, uid, bits})
		case tagUser:
			grants = append(grants, grant{ofUser, id, bits})
		case tagOwning:
			grants = append(grants, grant{ofGroup, gid, bits})
		case tagGroup:
			grants = append(grants, grant{ofGroup, id, bits})
		case tagOthers:
			grants = append(grants, grant{ofOthers, 0, bits})
		case tagMask:
			mask = bits
		default:
			return nil, false
		}
	}
	for i := range grants {
		if c := grants[i].class; c == ofUser || c == ofGroup {
			grants[i].bits &= mask
		}
	}
	return grants, seen[tagOwner] && seen[tagOwning] && seen[tagOthers]
}
