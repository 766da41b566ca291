//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bombAttacks use up what others need. Each has a size, so that on the bare host a small one proves
// that no limit is there.
func bombAttacks() map[string]attack {
	return map[string]attack{
		"forks":       manyProcesses,
		"forkbomb":    forkBomb,
		"allocate":    manyBytes,
		"fill":        fillDisk,
		"inodes":      manyFiles,
		"descriptors": manyDescriptors,
		"deep":        deepDirectories,
		"output":      manyLines,
		"exchange":    exchange,
	}
}

func number(args []string, i int) int {
	n, _ := strconv.Atoi(args[i])
	return n
}

func manyProcesses(args []string) (string, error) {
	var made []*exec.Cmd
	defer func() {
		for _, c := range made {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}()
	for range number(args, 0) {
		c := exec.Command("sleep", "60")
		if err := c.Start(); err != nil {
			return "", fmt.Errorf("after %d processes: %w", len(made), err)
		}
		made = append(made, c)
	}
	return fmt.Sprintf("%d processes", len(made)), nil
}

// mostForks is how many processes forkBomb tries to have before it goes off: far more than the limits of
// the suites, and less than any machine can stand.
const mostForks = 500

// forkBomb is the one of the shell, and never comes back by itself. It does not go off where it finds no
// limit of processes: root's processes of the bare host have none, and the whole machine would be taken.
func forkBomb([]string) (string, error) {
	if how, err := manyProcesses([]string{strconv.Itoa(mostForks)}); err == nil {
		return how + ": nothing limits them, and no bomb is thrown", nil
	}
	for {
		_ = exec.Command("sh", "-c", "b() { b | b & b; }; b").Run() // it ends when it has no more to take
		_ = exec.Command("sh", "-c", "while :; do sleep 1000 & done").Run()
	}
}

func manyBytes(args []string) (string, error) {
	if err := eat(args[0], ""); err != nil {
		return "", err
	}
	return args[0] + " MiB of memory", nil
}

// fillDisk writes until it may not, a MiB at a time, and then stays for as many seconds as it is told: a machine may write faster than a driver looks.
func fillDisk(args []string) (string, error) {
	f, err := os.Create("filled")
	if err != nil {
		return "", err
	}
	defer f.Close()
	block := bytes.Repeat([]byte("x"), 1<<20)
	for i := range number(args, 0) {
		if _, err := f.Write(block); err != nil {
			return "", fmt.Errorf("after %d MiB: %w", i, err)
		}
	}
	if len(args) > 1 {
		time.Sleep(time.Duration(number(args, 1)) * time.Second)
	}
	return args[0] + " MiB in a file", nil
}

func manyFiles(args []string) (string, error) {
	if err := os.Mkdir("many", 0o755); err != nil {
		return "", err
	}
	for i := range number(args, 0) {
		if err := os.WriteFile(fmt.Sprintf("many/%d", i), nil, 0o644); err != nil {
			return "", fmt.Errorf("after %d files: %w", i, err)
		}
	}
	return args[0] + " files", nil
}

func manyDescriptors(args []string) (string, error) {
	for i := range number(args, 0) {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
			return "", fmt.Errorf("after %d: %w", i, err)
		}
	}
	return args[0] + " open files", nil
}

// deepDirectories makes a path that is longer than any that a system call takes.
func deepDirectories(args []string) (string, error) {
	name := strings.Repeat("d", 200)
	for i := range number(args, 0) {
		if err := unix.Mkdir(name, 0o755); err != nil {
			return "", fmt.Errorf("after %d: %w", i, err)
		}
		if err := unix.Chdir(name); err != nil {
			return "", err
		}
	}
	return args[0] + " directories in each other", os.WriteFile("bottom", []byte("x"), 0o644)
}

// manyLines prints as fast as it can, and comes back when nobody reads or all is printed.
func manyLines(args []string) (string, error) {
	block := bytes.Repeat([]byte("y\n"), 32<<10)
	for range number(args, 0) * 16 {
		if _, err := os.Stdout.Write(block); err != nil {
			return "", err
		}
	}
	return args[0] + " MiB of output", nil
}

// exchange swaps names with each other as fast as it can, for ever: what one is at the moment of a
// check it is no more at the moment of use.
func exchange(args []string) (string, error) {
	fmt.Println("exchanging")
	for {
		for i := 1; i < len(args) && args[i] != ""; i++ {
			_ = unix.Renameat2(unix.AT_FDCWD, args[0], unix.AT_FDCWD, args[i], unix.RENAME_EXCHANGE)
		}
	}
}
