//go:build linux

// Command init is the first process of the virtual machine that firmware/guest starts. It
// mounts what a program expects, loads the kernel's modules, runs the one program that it
// is told of, and ends the machine with that program's exit code.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"unsafe"
)

// failed is the exit code that says that the program could not be run.
const failed = 125

func main() {
	out := os.Stderr
	code := failed
	err := prepare()
	if err == nil {
		// The first serial line is the kernel's.
		if out, err = os.OpenFile("/dev/ttyS1", os.O_WRONLY, 0); err == nil {
			code, err = obey(out)
		}
	}
	if err != nil {
		fmt.Fprintln(out, "init:", err)
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	exit(out, code)
}

// prepare makes the file system what programs expect.
func prepare() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"},
	} {
		if err := syscall.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.at, err)
		}
	}
	if err := os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte("guest")); err != nil {
		return err
	}
	return loopbackUp()
}

// loopbackUp switches the network interface lo on.
func loopbackUp() error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP}
	copy(request.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("switching the network on: %w", errno)
	}
	return nil
}

// obey does what stands in /orders, and gives the program's exit code.
func obey(out *os.File) (int, error) {
	orders, err := os.Open("/orders")
	if err != nil {
		return failed, err
	}
	defer orders.Close()
	var command []string
	for lines := bufio.NewScanner(orders); lines.Scan(); {
		words := strings.SplitN(lines.Text(), " ", 3)
		switch {
		case command != nil:
			command = append(command, lines.Text())
		case words[0] == "run":
			command = []string{}
		default:
			if err := insert(append(words, "")...); err != nil {
				return failed, err
			}
		}
	}
	if len(command) == 0 {
		return failed, errors.New("there is no program to run")
	}
	// Configfs comes with a module.
	if err := syscall.Mount("configfs", "/sys/kernel/config", "configfs", 0, ""); err != nil {
		return failed, fmt.Errorf("mounting /sys/kernel/config: %w", err)
	}
	program := exec.Command(command[0], command[1:]...)
	program.Dir = "/tmp"
	program.Env = []string{"PATH=/usr/bin", "HOME=/tmp", "TMPDIR=/tmp"}
	program.Stdout, program.Stderr = out, out
	err = program.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	return program.ProcessState.ExitCode(), err
}

// insert loads a module: "insmod", its file, its parameters.
func insert(words ...string) error {
	if words[0] != "insmod" || len(words) < 3 {
		return fmt.Errorf("the order %q is not known", words)
	}
	image, err := os.ReadFile(words[1])
	if err != nil {
		return err
	}
	parameters, err := syscall.BytePtrFromString(words[2])
	if err != nil {
		return err
	}
	_, _, errno := syscall.Syscall(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&image[0])), uintptr(len(image)), uintptr(unsafe.Pointer(parameters)))
	if errno != 0 {
		return fmt.Errorf("loading %s %s: %w", words[1], words[2], errno)
	}
	return nil
}

// exit ends the machine with an exit code, by the port at which QEMU listens for it.
func exit(out *os.File, code int) {
	const (
		tcsbrk = 0x5409 // waits, with this argument, until all has been sent
		port   = 0xf4
	)
	_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, out.Fd(), tcsbrk, 1)
	ports, err := os.OpenFile("/dev/port", os.O_WRONLY, 0)
	if err == nil {
		_, err = ports.WriteAt([]byte{byte(code) + 1}, port) // see exitBase in firmware/guest
	}
	// Who is still here is in a machine of another kind, or in none.
	fmt.Fprintln(os.Stderr, "init: the machine could not be ended with a code:", err)
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
}
