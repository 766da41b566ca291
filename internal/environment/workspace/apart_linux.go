package workspace

import (
	"os"

	"golang.org/x/sys/unix"
)

// Apart tells the file system that the directories in hostDir have nothing to do with each other, so that each
// is put where there is most room instead of beside the others. It is a hint (chattr(1), attribute T), and only
// ext2 to ext4 take it: where there is none, or it can't be given, nothing is different.
//
// Workspaces come and go, and ext4 leaves the inodes of removed files alone for up to five minutes; until then
// each new file of the same block group looks at all of them first (recently_deleted of fs/ext4/ialloc.c in
// Linux). One workspace after the other in one group took ten to fifty times as long to make.
func Apart(hostDir string) {
	f, err := os.OpenFile(hostDir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil && flags&topOfHierarchies == 0 {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|topOfHierarchies) // a hint
	}
}

// topOfHierarchies is FS_TOPDIR_FL of linux/fs.h.
const topOfHierarchies = 0x20000
