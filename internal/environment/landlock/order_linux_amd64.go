package landlock

import "golang.org/x/sys/unix"

// opens are the calls that open files, with the argument that is their flags.
func opens() map[uint32]uint32 { return map[uint32]uint32{unix.SYS_OPEN: 1, unix.SYS_OPENAT: 2} }

// supervisedHere adds calls that other architectures don't have.
func supervisedHere(calls map[uint32]func(caller) (order, error)) {
	calls[unix.SYS_CHMOD] = func(c caller) (order, error) {
		o, err := c.plain(false)
		return c.mode(o, 1, err)
	}
	for call, link := range map[uint32]bool{unix.SYS_CHOWN: false, unix.SYS_LCHOWN: true} {
		calls[call] = func(c caller) (order, error) {
			o, err := c.plain(link)
			return c.owner(o, 1, err)
		}
	}
	calls[unix.SYS_UTIME] = func(c caller) (order, error) {
		o, err := c.plain(false)
		return c.oldTimes(o, 1, 0, err)
	}
	calls[unix.SYS_UTIMES] = func(c caller) (order, error) {
		o, err := c.plain(false)
		return c.oldTimes(o, 1, 1000, err)
	}
	calls[unix.SYS_FUTIMESAT] = func(c caller) (order, error) {
		if c.Args[1] == 0 {
			return c.oldTimes(order{dir: c.number(0), itself: true}, 2, 1000, nil)
		}
		o, err := c.at(0, 1, 0)
		return c.oldTimes(o, 2, 1000, err)
	}
}

// oldTimes takes two struct timeval, whose parts of a second are that many nanoseconds each, or struct
// utimbuf of two whole seconds if that is 0; or none for now.
func (c caller) oldTimes(o order, n int, part int64, err error) (order, error) {
	if err != nil {
		return o, err
	}
	var to []unix.Timespec
	switch {
	case c.Args[n] == 0:
	case part == 0:
		words, err := c.words(c.Args[n], 2)
		if err != nil {
			return o, err
		}
		to = []unix.Timespec{{Sec: words[0]}, {Sec: words[1]}}
	default:
		words, err := c.words(c.Args[n], 4)
		if err != nil {
			return o, err
		}
		for _, w := range []int64{words[1], words[3]} {
			if w < 0 || w >= 1_000_000 { // the marks for "now" and "leave it" are utimensat's alone
				return o, unix.EINVAL
			}
		}
		to = []unix.Timespec{{Sec: words[0], Nsec: part * words[1]}, {Sec: words[2], Nsec: part * words[3]}}
	}
	o.do = func(name string) (int, error) { return 0, unix.UtimesNanoAt(unix.AT_FDCWD, name, to, 0) }
	return o, nil
}
