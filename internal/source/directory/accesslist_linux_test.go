package directory

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/vectorstore"
)

// TestAListOfTheFileSystem: a list that was set on a real file takes from its group what the mode seems to give it.
func TestAListOfTheFileSystem(t *testing.T) {
	at := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(at, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	const none = 0xffffffff
	err := unix.Setxattr(at, accessAttribute, list([3]uint32{1, 6, none}, [3]uint32{2, 4, 4711}, [3]uint32{4, 0, none}, [3]uint32{16, 4, none}, [3]uint32{32, 0, none}), 0)
	if errors.Is(err, unix.EOPNOTSUPP) && os.Getenv("CI") == "" {
		t.Skip("this file system keeps no access control lists")
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := &Permissions{Users: map[uint32][]string{4711: {"user:bob"}}, Groups: map[uint32][]string{uint32(os.Getgid()): {"role:staff"}}, Everyone: true}
	if got, want := p.of(f, mayRead), (vectorstore.Readers{Principals: []string{"user:bob"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
