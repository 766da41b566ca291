package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// rawRecordBytes is the size of one record of the baseline: a 2 KB event, as in the targets.
const rawRecordBytes = 2 << 10

// rawQueue is how many records may wait for the writer; more than the most writers, so that a
// waiting writer never waits for the queue as well.
const rawQueue = 4096

// rawLimit measures what the disk gives at best: one file, one writing goroutine, and everything
// that arrived while the last fdatasync ran goes into the next one. It is the limit that every
// durable design on this disk has, and so the baseline of the table.
func rawLimit(dir string, writers int, window time.Duration) (rate, error) {
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("raw-%d", writers)), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return rate{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()

	queue := make(chan chan<- error, rawQueue)
	var committer sync.WaitGroup
	committer.Go(func() { rawCommit(f, queue) })
	r, err := drive(writers, window, func(int) error {
		done := make(chan error, 1)
		queue <- done
		return <-done
	})
	close(queue)
	committer.Wait()
	return r, err
}

// rawCommit writes what waits, syncs once, and answers everybody who waited.
func rawCommit(f *os.File, queue <-chan chan<- error) {
	record := make([]byte, rawRecordBytes)
	for i := range record {
		record[i] = byte(i * 131)
	}
	var waiting []chan<- error
	var buf []byte
	for first := range queue {
		waiting, buf = append(waiting[:0], first), append(buf[:0], record...)
		for len(queue) > 0 {
			next, ok := <-queue
			if !ok {
				break
			}
			waiting, buf = append(waiting, next), append(buf, record...)
		}
		_, err := f.Write(buf)
		if err == nil {
			err = unix.Fdatasync(int(f.Fd()))
		}
		for _, w := range waiting {
			w <- err
		}
	}
}
