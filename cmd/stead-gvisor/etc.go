package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// hostName is what the inside is called.
const hostName = "stead"

// etcFiles are the made-up files of /etc.
func etcFiles() map[string]string {
	return map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/sh\n" +
			fmt.Sprintf("agent:x:%d:%d:agent:%s:/bin/sh\n", commandUID, commandUID, wire.WorkspaceDir) +
			"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"group":         fmt.Sprintf("root:x:0:\nagent:x:%d:\nnogroup:x:65534:\n", commandUID),
		"hosts":         "127.0.0.1\tlocalhost " + hostName + "\n::1\tlocalhost\n",
		"hostname":      hostName + "\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
		"resolv.conf":   "# There is no name service inside: the proxy looks names up.\n",
		"shells":        "/bin/sh\n/bin/bash\n",
	}
}

// etcShown are names of the host's /etc that hold nothing of the host's own, and that programs in its
// /usr need: the table of libraries, the targets of links in /usr/bin, public certificates.
func etcShown() []string {
	return []string{"alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "os-release", "protocols", "services", "ssl/certs", "ssl/openssl.cnf"}
}

// makeEtc makes the /etc of an inside without an image. What is shown of the host's is bound, or
// copied where an overlay will stand on it, which does not see mounts below.
func (l layout) makeEtc(b wire.Boot) error {
	if b.Image != "" {
		return nil
	}
	for name, text := range etcFiles() {
		if err := os.WriteFile(path.Join(l.etc, name), []byte(text), fileMode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path.Join(l.etc, "ssl"), dirMode); err != nil {
		return err
	}
	put := show
	if len(b.Layers) > 0 || b.Upper != "" {
		put = copyTo
	}
	for _, name := range etcShown() {
		err := put(path.Join("/etc", name), path.Join(l.etc, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("show /etc/%s: %w", name, err)
		}
	}
	return nil
}

func copyTo(source, target string) error {
	info, err := os.Lstat(source)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return os.CopyFS(target, os.DirFS(source))
	case info.Mode().IsRegular():
		data, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, fileMode)
	}
	return show(source, target)
}
