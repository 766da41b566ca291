package ballast

// reserve is what a ballast has of one of the two things that a disk runs out of: bytes, or files.
type reserve struct {
	size  int64 // of the whole; 0: there is none, since the journal is elsewhere, or the disk has no fixed number of these
	floor int64 // what only the journal takes of what is free
	held  int64 // of the whole that is there
	short bool  // the floor was reached, and twice of it not yet again
}

func (r *reserve) slice() int64 { return r.size / Slices }

// full reports whether new work has to wait, now that so much is free.
func (r *reserve) full(free int64, known bool) bool {
	if known {
		r.short = free < r.floor || r.short && free < 2*r.floor
	}
	return r.size > 0 && (r.short || r.held < r.size)
}

// plenty reports whether so much more than twice the floor is free, or there is no floor.
func (r *reserve) plenty(free, more int64) bool { return r.floor == 0 || free >= 2*r.floor+more }

// low reports whether what runs has to wait as well.
func (r *reserve) low() bool { return r.size > 0 && r.held < r.size/2 }

// makes reports whether what is missing is to be made: only where that leaves so much free that it is not given up again
// soon, and whoever was let go on is not stopped again.
func (r *reserve) makes(free int64, known bool) bool {
	missing := r.size - r.held
	return missing > 0 && known && free-missing >= 2*r.floor
}

func (r *reserve) level(free int64) Level {
	return Level{Free: free, Floor: r.floor, Ballast: r.held, Whole: r.size}
}
