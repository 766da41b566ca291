package environment

import "time"

// Occupied is what a workspace takes, as a watchdog measures it again and again.
type Occupied struct {
	Bytes int64 // on disk
	Files int   // files, directories and whatever else has a name
	Short Short // of what the file system that it is on has less left than the server needs
}

// Short says what a file system is short of.
type Short struct {
	Bytes bool // see DiskReserve
	Files bool // see FileReserve
}

// DiskReserve is what environments leave of the file system that their workspaces are on, in bytes, or a tenth of it where that
// is less: the journal is there as well, and without room for it nothing goes on, not even what would make room.
const DiskReserve = 512 << 20

// FileReserve is the same for inodes, where a file system has a fixed number of them: an environment of any size may make more
// files than a small disk has.
const FileReserve = 1 << 16

// Plus adds what is measured elsewhere and counts as well.
func (o Occupied) Plus(p Occupied) Occupied {
	return Occupied{o.Bytes + p.Bytes, o.Files + p.Files, Short{o.Short.Bytes || p.Short.Bytes, o.Short.Files || p.Short.Files}}
}

// countSlack is how many files are counted beyond twice the limit, in files: a limit of few is passed manifold between two
// measurements, and who is to make room then has to be told from who makes more. That takes half a second at most.
const countSlack = 1 << 14

// MostFiles is how many files a measurement counts: a workspace with more is far above its limit, and
// counting on would take longer than making them.
func (l Limits) MostFiles() int { return 2*l.Files + countSlack }

// Above says which limit a workspace is above; "": none.
func (l Limits) Above(now Occupied) Reason {
	switch {
	case now.Bytes > l.DiskBytes:
		return ReasonDisk
	case now.Files > l.Files:
		return ReasonFiles
	}
	return ""
}

// Outgrown is Above for a workspace that has grown since it was measured before: else nobody could remove
// anything any more, or use a workspace that came with more. One with more than MostFiles is taken to grow. before nil: nobody
// knows how it was, or what was made since then is not the doing of who runs now.
func (l Limits) Outgrown(now Occupied, before *Occupied) Reason {
	switch {
	case before == nil:
		return ""
	case now.Bytes > l.DiskBytes && now.Bytes > before.Bytes:
		return ReasonDisk
	case now.Short.Bytes && now.Bytes > before.Bytes:
		return ReasonNodeDisk
	case now.Short.Files && now.Files > before.Files:
		return ReasonNodeFiles
	case now.Files > l.Files && (now.Files > before.Files || now.Files > l.MostFiles()):
		return ReasonFiles
	}
	return ""
}

// A watchdog rests so many times as long as its measurement took: that bounds what it costs. Where there
// are more than half of the files that may be, they could outrun it, and it rests less.
const (
	restShare     = 10
	restShareNear = 2
	// fileLook is more than it takes to look at a file whose inode is in memory. What took longer waited for a disk or a
	// processor that others had: it cost them nothing, and a rest behind it would leave a writer alone for seconds.
	fileLook = 20 * time.Microsecond
)

// Rest is how long a watchdog rests behind a measurement.
func (l Limits) Rest(took time.Duration, now Occupied) time.Duration {
	took = min(took, time.Duration(now.Files+1)*fileLook)
	if now.Files > l.Files/2 {
		return restShareNear * took
	}
	return restShare * took
}
