package config

import (
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// SourcePermissions say whom of Stead's the users and groups of a directory's file system are: names of this machine, or numbers.
type SourcePermissions struct {
	Users  map[string][]string `yaml:"users"` // "user:ID", "service:ID" or "role:NAME"
	Groups map[string][]string `yaml:"groups"`
	// Others are whom a file is for that all may read: "everyone" who may read the vector store, or "nobody", "" the same.
	Others string `yaml:"others"`
}

// The values of SourcePermissions.Others.
const (
	OthersEveryone = "everyone"
	OthersNobody   = "nobody"
)

// MaxSourceReaders is the most that one user or group may be.
const MaxSourceReaders = 256

func (p *SourcePermissions) check(at string) error {
	if p == nil {
		return nil
	}
	if runtime.GOOS != "linux" {
		return invalid(at, "Say by rules of sources who may read what.", "%s: permissions of files are read on Linux alone", at)
	}
	if err := checkOthers(at, p.Others); err != nil {
		return err
	}
	for _, list := range []struct {
		field string
		names map[string][]string
		id    func(string) (uint32, bool)
	}{{"users", p.Users, userID}, {"groups", p.Groups, groupID}} {
		seen := map[uint32]string{}
		for name, are := range list.names {
			field := at + "." + list.field + "." + name
			id, ok := list.id(name)
			if !ok {
				return invalid(field, "Give its number, as `ls -n` shows it, where this machine does not know the name.", "%s: this machine knows no %q of %s", field, name, list.field)
			}
			if other, twice := seen[id]; twice {
				return invalid(field, "Say it once.", "%s and %q are the same", field, other)
			}
			seen[id] = name
			if err := checkReaders(field, are); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOthers(at, others string) error {
	if !slices.Contains([]string{"", OthersEveryone, OthersNobody}, others) {
		return invalid(at+".others", "Say everyone or nobody.", "%s.others %.80q is neither %q nor %q", at, others, OthersEveryone, OthersNobody)
	}
	return nil
}

// checkReaders checks who somebody is.
func checkReaders(field string, are []string) error {
	if len(are) == 0 || len(are) > MaxSourceReaders {
		return invalid(field, "Leave out who is nobody.", "%s must name 1 to %d", field, MaxSourceReaders)
	}
	for _, who := range are {
		if kind, of, ok := strings.Cut(who, ":"); !ok || of == "" || !slices.Contains([]string{"user", "service", "role"}, kind) {
			return invalid(field, `Write "user:ID", "service:ID" or "role:NAME".`, "%s: %.80q is nobody", field, who)
		}
	}
	return nil
}

// IDs are the users and groups by their numbers. check has seen that they have some.
func (p *SourcePermissions) IDs() (users, groups map[uint32][]string) {
	by := func(names map[string][]string, id func(string) (uint32, bool)) map[uint32][]string {
		out := make(map[uint32][]string, len(names))
		for name, are := range names {
			if n, ok := id(name); ok {
				out[n] = are
			}
		}
		return out
	}
	return by(p.Users, userID), by(p.Groups, groupID)
}

func userID(name string) (uint32, bool) {
	if id, ok := number(name); ok {
		return id, true
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, false
	}
	return number(u.Uid)
}

func groupID(name string) (uint32, bool) {
	if id, ok := number(name); ok {
		return id, true
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	return number(g.Gid)
}

func number(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}
