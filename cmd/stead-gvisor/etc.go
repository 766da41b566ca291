package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

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

// etcShown are names of the host's /etc, as patterns, that programs in its /usr need: none is about
// people, secrets, or the host's place in a network.
func etcShown() []string {
	return []string{
		"ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust", "crypto-policies", // public authorities
		"alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", // where links of /usr/bin and the linker lead
		"python3*", "perl", "java-*", "php", "lua", "R", "fonts", "ImageMagick-*", "magic", "magic.mime", "mime.types", // languages and libraries
		"protocols", "localtime", "timezone", "os-release", "debian_version", "redhat-release", "alpine-release",
		"services", "inputrc", "bash.bashrc", "profile", "profile.d", "terminfo", "skel", "login.defs",
	}
}

// etcPackages are those that a set-up's package manager needs besides.
func etcPackages() []string {
	return []string{
		"apt/sources.list", "apt/sources.list.d", "apt/trusted.gpg.d", "apt/apt.conf.d", "apt/preferences.d", "apt/keyrings",
		"dpkg", "debconf.conf", "deluser.conf", "adduser.conf", "apk/repositories", "apk/keys", "yum.repos.d", "dnf",
	}
}

// packageState is where Debian's package manager keeps what it knows.
const packageState = "var/lib/dpkg"

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
	put, patterns := show, etcShown()
	if len(b.Layers) > 0 || b.Upper != "" {
		put = copyTo
	}
	if b.Upper != "" {
		patterns = append(patterns, etcPackages()...)
	}
	for _, pattern := range patterns {
		names, err := filepath.Glob("/etc/" + pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			target := path.Join(l.etc, strings.TrimPrefix(name, "/etc/"))
			if err := os.MkdirAll(path.Dir(target), dirMode); err != nil {
				return err
			}
			if err := put(name, target); err != nil {
				return fmt.Errorf("show %s: %w", name, err)
			}
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
