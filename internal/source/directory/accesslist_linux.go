package directory

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// accessAttribute holds a file's access control list; maxListBytes is more than the kernel lets one be.
const (
	accessAttribute = "system.posix_acl_access"
	maxListBytes    = 64 << 10
)

// accessList is a file's access control list; nil: it has none but its mode.
func accessList(f *os.File) ([]byte, error) {
	data := make([]byte, 256) // of 31 entries, which is many
	n, err := unix.Fgetxattr(int(f.Fd()), accessAttribute, data)
	if errors.Is(err, unix.ERANGE) {
		data = make([]byte, maxListBytes)
		n, err = unix.Fgetxattr(int(f.Fd()), accessAttribute, data)
	}
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return data[:n:n], nil
}
