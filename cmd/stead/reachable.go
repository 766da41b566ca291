package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/environment/host"
)

// Under landlock a workspace is at its real path, and with a server that runs as root its commands
// run as a user of their own: they must be able to get there.

// walksIn reports whether commands of the driver come to their workspaces as another user.
func walksIn(driver string) bool { return driver == config.DriverLandlock && os.Geteuid() == 0 }

// enterable lets other users pass through the data directory to the environments in it. They can list
// neither, and every file beside the environments is the server's alone.
func enterable(data string) error {
	for _, dir := range []string{data, filepath.Join(data, host.EnvironmentsDir)} {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if err := os.Chmod(dir, info.Mode().Perm()|0o011); err != nil {
			return err
		}
	}
	return nil
}

// closedAbove says which directory above the data directory other users can't pass; "" for none.
func closedAbove(data string) string {
	dir, err := filepath.Abs(data)
	if err != nil {
		return ""
	}
	for dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o001 == 0 {
			return fmt.Sprintf("its commands run as a user of their own, who can't pass %s: choose another data directory with --data, or chmod o+x it", dir)
		}
	}
	return ""
}
