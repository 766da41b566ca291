//go:build linux

// Command probe runs inside of environments: it is what the suites of package environmenttest put
// there to see how a driver's border looks from within.
//
// Shape: probe NAME ARGUMENT… does one thing and says with its exit code whether it worked:
//
//	dial, udp, get     reach something; what answers is printed
//	eat, forks         use up memory, processes
//	try                a hostile probe: prints a line "blocked: why" or "succeeded: how"
//	rights             who it is and what it may, for the attack that compares
//	with-address       runs a command where an address is, for the control of attacks on it
//
// Units and limits: sizes are in MiB; each network step waits at most dialTime.
//
// Errors: a sentence on standard error and exit code 1; 2 for a wrong call.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// dialTime bounds each step of a connection: what leads nowhere must not look slow.
const dialTime = 2 * time.Second

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "probe: which?")
		os.Exit(2)
	}
	if err := run(os.Args[1], append(os.Args[2:], "", "", "")); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(name string, args []string) error {
	switch name {
	case "dial":
		return dial(args[0], args[1])
	case "udp":
		return udp(args[0])
	case "get":
		return get(args[0], args[1], args[2])
	case "eat":
		return eat(args[0], args[1])
	case "forks":
		return forks(args[0], args[1])
	case "try":
		return try(args)
	case "rights":
		fmt.Println(rights())
		return nil
	case "with-address":
		return withAddress(args)
	}
	return fmt.Errorf("no probe %q", name)
}

// dial connects and prints the answer to a small HTTP request.
func dial(network, address string) error {
	c, err := net.DialTimeout(network, address, dialTime)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(dialTime))
	if network != "unix" {
		_, err = io.Copy(os.Stdout, c)
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}}
	answer, err := client.Get("http://socket/")
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

// udp sends a datagram and waits for an answer, and for the message that nobody is there.
func udp(address string) error {
	c, err := net.DialTimeout("udp", address, dialTime)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(dialTime))
	if _, err := c.Write([]byte("anybody")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

// get fetches a URL as the proxy variables say. With a number of bytes it sends as many too, and says
// how many went either way; times repeats it.
func get(url, send, times string) error {
	n, _ := strconv.Atoi(send)
	repeat, _ := strconv.Atoi(times)
	for range max(repeat, 1) {
		answer, err := http.Post(url, "application/octet-stream", bytes.NewReader(make([]byte, n)))
		if err != nil {
			return err
		}
		var out io.Writer = os.Stdout
		if n > 0 {
			out = io.Discard
		}
		got, err := io.Copy(out, answer.Body)
		answer.Body.Close()
		if err != nil {
			return err
		}
		if n > 0 {
			fmt.Printf("sent %s, received %d\n", answer.Header.Get("Received"), got)
		}
	}
	return nil
}

// eat takes memory, touches every page of it, and holds it for a while.
func eat(size, hold string) error {
	mib, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	var all [][]byte
	for range mib {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		all = append(all, block)
	}
	time.Sleep(duration(hold))
	fmt.Println(len(all))
	return nil
}

// forks starts processes until none more can be had, prints after each how many there are, holds them
// for a while, and ends them.
func forks(most, hold string) error {
	n, err := strconv.Atoi(most)
	if err != nil {
		return err
	}
	var made []*exec.Cmd
	for range n {
		c := exec.Command("sleep", "60")
		if c.Start() != nil {
			break
		}
		made = append(made, c)
		fmt.Println(len(made))
	}
	time.Sleep(duration(hold))
	for _, c := range made {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	return nil
}

func duration(s string) time.Duration {
	d, _ := time.ParseDuration(s)
	return d
}
