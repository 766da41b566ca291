//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func networkAttacks() map[string]attack {
	return map[string]attack{
		"connect":   connect,
		"datagram":  datagram,
		"socket":    openSocket,
		"interface": changeInterface,
		"garbage":   garbage,
	}
}

// connect reaches any of the addresses, as NETWORK=ADDRESS.
func connect(args []string) (string, error) {
	return any1(args, func(target string) (string, error) {
		network, address, _ := strings.Cut(target, "=")
		c, err := net.DialTimeout(network, address, dialTime)
		if err != nil {
			return "", err
		}
		return "connected to " + target, c.Close()
	})
}

// datagram sends to an address and has an answer.
func datagram(args []string) (string, error) {
	if err := udp(args[0]); err != nil {
		return "", err
	}
	return "an answer from " + args[0], nil
}

// openSocket makes a socket of a family that leads out or deep into the kernel.
func openSocket(args []string) (string, error) {
	kinds := map[string][3]int{
		"raw":       {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		"raw6":      {unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6},
		"packet":    {unix.AF_PACKET, unix.SOCK_RAW, 0},
		"vsock":     {unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		"alg":       {unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
		"netfilter": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
		"audit":     {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
		"xfrm":      {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM},
		"generic":   {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC},
		"xdp":       {unix.AF_XDP, unix.SOCK_RAW, 0},
		"can":       {unix.AF_CAN, unix.SOCK_RAW, 1},
		"tipc":      {unix.AF_TIPC, unix.SOCK_RDM, 0},
		"sctp":      {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP},
		"smc":       {unix.AF_SMC, unix.SOCK_STREAM, 0},
	}
	k := kinds[args[0]]
	fd, err := unix.Socket(k[0], k[1], k[2])
	if err != nil {
		return "", err
	}
	return "a socket of kind " + args[0], unix.Close(fd)
}

// changeInterface gives the loopback interface an address.
func changeInterface(args []string) (string, error) {
	if err := setAddress("lo:7", [4]byte{10, 99, 99, 99}); err != nil {
		return "", err
	}
	return "the loopback interface has another address", nil
}

// setAddress gives an interface an address and takes it up.
func setAddress(name string, ip [4]byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var request struct {
		name    [unix.IFNAMSIZ]byte
		address unix.RawSockaddrInet4
		_       [8]byte
	}
	copy(request.name[:], name)
	request.address = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: ip}
	if _, _, err := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&request))); err != 0 {
		return err
	}
	return upInterface(fd, name)
}

func upInterface(fd int, name string) error {
	var request struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], name)
	request.flags = unix.IFF_UP
	_, _, err := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	return errnoOrNil(err)
}

// garbage sends what is no message to everything that listens, and leaves.
func garbage(args []string) (string, error) {
	return any1(args, func(target string) (string, error) {
		network, address, _ := strings.Cut(target, "=")
		c, err := net.DialTimeout(network, address, dialTime)
		if err != nil {
			return "", err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(dialTime))
		for range 64 {
			if _, err := c.Write(make([]byte, 64<<10)); err != nil {
				break
			}
		}
		return "sent garbage to " + target, nil
	})
}

// withAddress gives this network namespace, which has to be its own, an address on its loopback
// interface, listens there, and runs the rest as a command: the control of attacks on addresses that no
// test may touch outside.
func withAddress(args []string) error {
	ip := net.ParseIP(args[0]).To4()
	if err := setAddress("lo", [4]byte{127, 0, 0, 1}); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	if err := setAddress("lo:1", [4]byte(ip)); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(args[0], "80"))
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "host\n")
			c.Close()
		}
	}()
	c := exec.Command(args[1], strings.Fields(args[2])...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}
