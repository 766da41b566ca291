package environment

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Walk visits everything below a directory, itself first, in the order of names. Unlike fs.WalkDir
// over Root.FS it takes names of any bytes: agents unpack archives whose names are not UTF-8. visit gets
// the directory again, with an error, when it can't be read; links are not followed.
func Walk(root *os.Root, visit fs.WalkDirFunc) error {
	info, err := root.Lstat(".")
	if err != nil {
		return visit(".", nil, err)
	}
	err = walk(root, ".", fs.FileInfoToDirEntry(info), visit)
	if err == fs.SkipDir || err == fs.SkipAll {
		return nil
	}
	return err
}

func walk(root *os.Root, name string, d fs.DirEntry, visit fs.WalkDirFunc) error {
	if err := visit(name, d, nil); err != nil || !d.IsDir() {
		if err == fs.SkipDir && d.IsDir() {
			return nil
		}
		return err
	}
	entries, err := list(root, name)
	if err != nil {
		if err = visit(name, d, err); err != nil {
			if err == fs.SkipDir {
				return nil
			}
			return err
		}
	}
	for _, e := range entries {
		if err := walk(root, filepath.Join(name, e.Name()), e, visit); err != nil {
			if err == fs.SkipDir {
				break
			}
			return err
		}
	}
	return nil
}

func list(root *os.Root, name string) ([]fs.DirEntry, error) {
	dir, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}
