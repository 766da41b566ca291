package layer

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Record writes a line for each path below root: the path, quoted, and the hash of its attributes.
func Record(root *os.Root, w io.Writer) error {
	out := bufio.NewWriter(w)
	paths := 0
	err := walk(root, func(name string, info fs.FileInfo) error {
		if paths++; paths > MaxPaths {
			return stead.Errorf(stead.KindTooLarge, "the root has more than %d paths", MaxPaths)
		}
		_, err := fmt.Fprintf(out, "%q %x\n", name, mark(info))
		return err
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

// recorded reads a record: path → mark.
func recorded(r io.Reader) (map[string]uint64, error) {
	before := map[string]uint64{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<10) // a path of 4 KiB, quoted
	for lines.Scan() {
		line := lines.Text()
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, fmt.Errorf("the record has a line without a path: %w", err)
		}
		name, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		sum, err := strconv.ParseUint(strings.TrimSpace(line[len(quoted):]), 16, 64)
		if err != nil {
			return nil, err
		}
		if before[name] = sum; len(before) > MaxPaths {
			return nil, stead.Errorf(stead.KindTooLarge, "the record has more than %d paths", MaxPaths)
		}
	}
	return before, lines.Err()
}

// mark is the hash of what changes whenever the thing does. Numbers of inodes and devices are not in it:
// overlays give a directory another one each time that they forget it.
func mark(info fs.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	h := fnv.New64a()
	for _, n := range []int64{int64(st.Mode), int64(st.Uid), int64(st.Gid), st.Mtim.Nano(), st.Ctim.Nano()} {
		_ = binary.Write(h, binary.LittleEndian, n) // a hash takes everything
	}
	if !info.IsDir() { // a directory's size is a matter of its file system
		_ = binary.Write(h, binary.LittleEndian, st.Size)
	}
	return h.Sum64()
}

// walk visits everything below root, parents first and in the order of names, without following a link
// and without what is mounted or scratch. What vanishes meanwhile is left out.
func walk(root *os.Root, visit func(name string, info fs.FileInfo) error) error {
	skip, err := outside(root)
	if err != nil {
		return err
	}
	return environment.Walk(root, func(name string, d fs.DirEntry, err error) error {
		if name == "." {
			return err
		}
		if skip[name] {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err != nil {
			return gone(err)
		}
		info, err := root.Lstat(name)
		if err != nil {
			return gone(err)
		}
		return visit(name, info)
	})
}

// gone lets what vanished pass.
func gone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// outside names what is no part of a root: scratch, and where something is mounted.
func outside(root *os.Root) (map[string]bool, error) {
	skip := map[string]bool{}
	for _, name := range Scratch() {
		skip[name] = true
	}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	base := path.Clean(root.Name())
	for line := range strings.Lines(string(data)) {
		// The fifth field is the mount point, with a few characters in octal: see proc(5).
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := octal().Replace(fields[4])
		if rel, ok := strings.CutPrefix(point, strings.TrimSuffix(base, "/")+"/"); ok && rel != "" {
			skip[rel] = true
		}
	}
	return skip, nil
}

func octal() *strings.Replacer {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
}
