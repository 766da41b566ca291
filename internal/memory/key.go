package memory

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/stead-dev/stead"
)

// part is the key of one entry of a request that has a key.
func part(key string, i int) string {
	if i == 0 {
		return key
	}
	return key + "\x1f" + strconv.Itoa(i)
}

// endingKey is the key of the change that ends what an entry supersedes.
func endingKey(key string) string {
	if key == "" {
		return ""
	}
	return key + "\x1fends"
}

// atEntry names the entry at fault, when there are several.
func atEntry(err error, i, n int) error {
	e, ok := errors.AsType[*stead.Error](err)
	if !ok || n == 1 || e.Param == "" {
		return err
	}
	named := *e
	named.Param = fmt.Sprintf("memories[%d].%s", i, e.Param)
	return &named
}
