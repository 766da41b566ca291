package ballast

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

func (b *Ballast) filesDir() string { return filepath.Join(b.dir, FilesName) }

// spareFiles are the names of the ballast's empty files, none where there are none.
func (b *Ballast) spareFiles() []string {
	f, err := os.Open(b.filesDir())
	if err != nil {
		return nil
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil
	}
	return names
}

// makeFiles makes those that are missing. The mutex is held.
func (b *Ballast) makeFiles() {
	err := os.Mkdir(b.filesDir(), 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	for n := int64(0); err == nil && n < b.files.size; n++ {
		err = touch(filepath.Join(b.filesDir(), fmt.Sprintf("%04d", n)))
	}
	if err != nil {
		b.log.Warn("the ballast of files can't be made: a disk without inodes will stop the journal", "dir", b.filesDir(), "err", err)
	}
	b.files.held = min(int64(len(b.spareFiles())), b.files.size)
}

// touch makes a file of its own inode: a second name of another would keep nothing.
func touch(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// giveFiles gives up a slice of the empty files. One becomes the file that could not be made: whoever takes every inode that
// is freed does not get it. The mutex is held.
func (b *Ballast) giveFiles(file string) bool {
	names := b.spareFiles()
	given := int64(0)
	for _, name := range names[:min(int64(len(names)), b.files.slice())] {
		spare := filepath.Join(b.filesDir(), name)
		if given == 0 && file != "" {
			_ = os.Link(spare, file) // where the file is there, what it lacks is not an inode of its own
		}
		if err := os.Remove(spare); err != nil {
			b.log.Error("the ballast of files can't be given up", "err", err)
			break
		}
		given++
	}
	b.files.held = min(int64(len(names))-given, b.files.size)
	if given > 0 {
		b.warn()
	}
	return given > 0
}
