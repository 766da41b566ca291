package ns

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// groupLimits are those of the control group, in which init is too: a thread that it can't have, because
// commands have used up everything, would end it.
func groupLimits(l environment.Limits) environment.Limits {
	l.Processes += 2 * initThreads
	return l
}

// sources says where everything of the box is. What only the server may open comes as a mount among
// the files, which the caller closes.
func (b *box) sources() (s setup, files []*os.File, err error) {
	l := b.spec.Limits
	s = setup{
		AsRoot: b.spec.AsRoot, Switch: !b.ids.all.own && !b.spec.AsRoot, Egress: b.spec.Egress && b.spec.Services != "",
		TmpBytes: l.TmpBytes(), ShmBytes: l.ShmBytes(), OpenFiles: l.OpenFiles, FileBytes: l.DiskBytes,
	}
	s.Processes = l.Processes + initThreads // init has the same user
	if s.Switch {
		s.Processes = l.Processes + 1 // its jailed thread alone has
	}
	if b.provider.groups.By(environment.ControlMemory) == "" {
		s.DataBytes = l.MemoryBytes
	}
	open := func(param, name string, owner ownership) source {
		if err != nil {
			return source{}
		}
		var src source
		src, err = b.source(&files, name, owner)
		if err != nil {
			err = notThere(err, param, name)
		}
		return src
	}
	if s.Workspace = open("workspace", b.spec.Workspace, ofAgent); err != nil {
		return s, files, err
	}
	if b.spec.Services != "" {
		src := open("services", b.spec.Services, ofServer)
		s.Services = &src
	}
	if b.spec.Root.Image != "" {
		src := open("root.image", b.spec.Root.Image, ofImage)
		s.Image = &src
	}
	if b.spec.Root.Upper != "" {
		src := open("root.upper", b.spec.Root.Upper, ofLayer)
		s.Upper = &src
		if s.Image == nil && !b.ids.all.own {
			s.Host = map[string]source{"usr": open("root", "/usr", ofImage)}
			if st, serr := os.Lstat("/" + packageState); serr == nil && st.IsDir() {
				s.Host[packageState] = open("root", "/"+packageState, ofImage)
			}
		}
	}
	for _, dir := range b.spec.Root.Layers {
		s.Layers = append(s.Layers, open("root.layers", dir, ofImageOrLayer))
	}
	for _, m := range b.spec.Mounts {
		file, serr := isFile(m.Source)
		if serr != nil && err == nil {
			err = notThere(serr, "mounts", m.Source)
		}
		s.Mounts = append(s.Mounts, mount{Source: open("mounts", m.Source, ofServer), Target: m.Target, File: file})
	}
	return s, files, err
}

func notThere(err error, param, name string) error {
	if _, ok := errors.AsType[*stead.Error](err); ok {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		e := stead.Wrap(stead.KindInvalid, err, "%.80q is not there", name)
		e.Param = param
		return e
	}
	return stead.Wrap(stead.KindUnavailable, err, "open %s of the environment", param)
}

// ownership says whose files a directory of the host has.
type ownership int

const (
	ofServer       ownership = iota // written by the server, read by the agent
	ofAgent                         // the workspace
	ofLayer                         // ids of a box, written down from diskID on
	ofImage                         // ids of a box, written down as they are
	ofImageOrLayer                  // the one or the other: its own owner tells
)

// source opens a directory or file. A server that has only one id leaves that to the box, which has
// the same.
func (b *box) source(files *[]*os.File, name string, o ownership) (source, error) {
	if b.ids.all.own {
		_, err := os.Stat(name)
		if err == nil && o == ofLayer && b.spec.Root.Upper == name {
			err = os.Chmod(name, dirMode) // commands that are not root must get in
		}
		return source{Path: name, FD: -1}, err
	}
	if o == ofAgent || o == ofLayer {
		if err := b.own(name, o); err != nil {
			return source{}, err
		}
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err == unix.EPERM || err == unix.ENOSYS {
		return source{}, denied(err)
	}
	if err != nil {
		return source{}, err
	}
	*files = append(*files, os.NewFile(uintptr(fd), name))
	err = b.ids.translate(b.provider, fd, b.translationOf(name, o))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) {
		err = b.withoutTranslation(name, o) // the file system can't
	}
	return source{FD: len(*files) - 1}, err
}

// agent is the id that commands have in the box.
func (b *box) agent() int {
	if b.spec.AsRoot {
		return 0
	}
	return agentID
}

func (b *box) translationOf(name string, o ownership) translation {
	if o == ofImageOrLayer {
		o = ofImage
		if st, err := os.Stat(name); err == nil && ownerOf(st) >= diskID {
			o = ofLayer
		}
	}
	switch o {
	case ofAgent:
		return translation{diskID + agentID, b.agent(), 1}
	case ofLayer:
		return translation{diskID, 0, idRange}
	case ofImage:
		return translation{0, 0, idRange}
	}
	return translation{os.Geteuid(), b.agent(), 1}
}

// own gives a directory to the ids on disk, with what is in it, unless it has them already.
func (b *box) own(name string, o ownership) error {
	owner := diskID
	if o == ofAgent {
		owner += agentID
	}
	return give(name, owner, func(uid int) bool { return uid < diskID || uid >= diskID+idRange })
}

// withoutTranslation gives a directory to the box's ids themselves, where mounts can't translate. Other
// directories are then read as anybody on the host may read them.
func (b *box) withoutTranslation(name string, o ownership) error {
	switch o {
	case ofAgent:
		return give(name, b.ids.base+b.agent(), func(uid int) bool { return uid != b.ids.base+b.agent() })
	case ofLayer:
		return give(name, b.ids.base, func(uid int) bool { return uid < b.ids.base || uid >= b.ids.base+idRange })
	}
	return nil
}

// give changes the owner of a tree where wrong says so; a root that is right is taken as a sign that
// the rest is. Links are changed themselves and followed nowhere.
func give(name string, owner int, wrong func(uid int) bool) error {
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return syscall.ENOTDIR
	}
	if !wrong(ownerOf(st)) {
		return nil
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return err
	}
	defer root.Close()
	err = environment.Walk(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." {
			return nil // last, so that a crash in between is mended by the next start
		}
		return root.Lchown(filepath.FromSlash(name), owner, owner)
	})
	if err != nil {
		return err
	}
	return root.Lchown(".", owner, owner)
}

func ownerOf(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Uid) }
