package inside

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// notFound is the exit code of a shell that does not find a program.
const notFound = 127

// execute becomes another program, with arguments and variables that are no text: gVisor's own way to
// start a command takes text alone.
func execute(args []string) error {
	var lists [2][]string
	i := 0
	for _, a := range args {
		if a == wire.ExecEnd {
			i++
			continue
		}
		data, err := base64.StdEncoding.DecodeString(a)
		if err != nil || i >= len(lists) {
			return errors.New("the arguments are not as the driver writes them")
		}
		lists[i] = append(lists[i], string(data))
	}
	if len(lists[0]) == 0 {
		return errors.New("there is no program among the arguments")
	}
	for _, v := range lists[1] {
		if p, ok := strings.CutPrefix(v, "PATH="); ok {
			if err := syscall.Setenv("PATH", p); err != nil {
				return err
			}
		}
	}
	path, err := exec.LookPath(lists[0][0])
	if err != nil {
		return err
	}
	return fmt.Errorf("start %s: %w", path, syscall.Exec(path, lists[0], lists[1]))
}
