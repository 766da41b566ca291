package workspace

import (
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/volume"
)

const (
	// reserveShare: environments leave at most 1/reserveShare of a small file system.
	reserveShare = 10
	// filesAMillisecond is more than commands were seen to make on a disk, so that a Lookout that comes so late is not too late.
	filesAMillisecond = 200
	// lookAtLeast and lookAtMost bound the time between two Lookouts. One costs a few system calls while there is room.
	lookAtLeast = 10 * time.Millisecond
	lookAtMost  = 250 * time.Millisecond
	// restShare is how many times as long as it took a Lookout rests that had to count.
	restShare = 2
)

// short says what the file system of the workspace has less of than the server needs; nothing where nobody knows.
func (d *Dir) short() environment.Short {
	room, known := volume.Below(d.root)
	if !known {
		return environment.Short{}
	}
	return environment.Short{
		Bytes: room.Bytes < min(environment.DiskReserve, room.TotalBytes/reserveShare),
		Files: room.Files < fileReserve(room),
	}
}

// fileReserve is 0 for a file system without a fixed number of inodes.
func fileReserve(room volume.Room) int64 {
	return min(environment.FileReserve, room.TotalFiles/reserveShare)
}

// Lookout looks between two measurements whether the file system is short of inodes, and whether this workspace has
// more files than the last one found: a small one can lose all of its inodes while a workspace of many files is measured once. It also
// says how long the next look may wait. More files than before are not counted.
func (d *Dir) Lookout(before environment.Occupied) (grew bool, wait time.Duration) {
	wait, short := lookAgain(volume.Below(d.root))
	if !short {
		return false, wait
	}
	begin := time.Now()
	grew = d.grewBeyond(before.Files)
	return grew, max(restShare*time.Since(begin), lookAtLeast)
}

// lookAgain says whether a file system is short of inodes, or else how long that may go unseen.
func lookAgain(room volume.Room, known bool) (wait time.Duration, short bool) {
	spare := room.Files - fileReserve(room)
	switch {
	case !known || room.TotalFiles == 0:
		return lookAtMost, false
	case spare < 0:
		return 0, true
	}
	return min(max(time.Duration(spare/filesAMillisecond)*time.Millisecond, lookAtLeast), lookAtMost), false
}

// grewBeyond reports whether there are more files than a number, and counts no further.
func (d *Dir) grewBeyond(files int) bool {
	now, err := d.Measure(max(files, 1))
	return err == nil && now.Files > files
}

// nearlyFull is the error of a file that would take what the server needs of the disk; nil when it has that. Commands that
// write then are killed, and files can be removed as ever.
func (d *Dir) nearlyFull(path string) error {
	lack := ""
	switch s := d.short(); {
	case s.Bytes:
		lack = "is nearly full"
	case s.Files:
		lack = volume.NoFiles
	default:
		return nil
	}
	return &stead.Error{Kind: stead.KindUnavailable, Code: stead.CodeStorageFull, Param: "path",
		Message: sentence(path, "can't be written: the disk of the machine that the environment is on %s", lack),
		Hint:    "Remove what is not needed before you write more."}
}
