package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// machine is a virtual machine to be started.
type machine struct {
	kernel, initramfs string
	memory            int    // in MiB
	log               string // takes what the kernel writes
}

// exitBase is what QEMU exits with for a program's exit code of 0: init adds 1, so that a
// QEMU that could not start is no success, and QEMU doubles that and adds 1 again.
const exitBase = 3

// boot starts the machine, hands on what the program in it writes, and gives the
// program's exit code. A machine that ends in any other way is an error.
func boot(ctx context.Context, m machine) (int, error) {
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64",
		// No /dev/kvm, which is not everywhere and not always what it says.
		"-accel", "tcg", "-cpu", "max", "-m", strconv.Itoa(m.memory),
		// The machine's clock goes by the instructions that it has carried out, one in a
		// nanosecond, and jumps ahead when it is idle. So it is never too slow for its own
		// sound and pictures, however slow and busy the real machine is.
		"-icount", "shift=0,sleep=off", "-rtc", "clock=vm",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", m.kernel, "-initrd", m.initramfs,
		// A kernel that panics ends the machine at once.
		"-append", "console=ttyS0 panic=-1 quiet",
		// The kernel writes on the first line, the program on the second.
		"-serial", "file:"+m.log, "-serial", "stdio",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
	)
	// Whoever started us and lost patience kills us without a word. The kernel means the
	// thread that started the machine, so that one must live as long as we do.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	qemu.Stderr = os.Stderr
	out, err := qemu.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := qemu.Start(); err != nil {
		return 0, err
	}
	copyErr := copyLines(os.Stdout, out)
	err = qemu.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= exitBase && exit.ExitCode()%2 == exitBase%2 {
		return (exit.ExitCode() - exitBase) / 2, copyErr
	}
	if err == nil {
		err = errors.New("the machine ended before the program did")
	}
	log, logErr := os.ReadFile(m.log)
	return 0, errors.Join(err, copyErr, logErr, fmt.Errorf("the kernel wrote:\n%s", log))
}

// copyLines copies what comes over a serial line, which ends its lines with CR and LF.
func copyLines(to io.Writer, from io.Reader) error {
	in := bufio.NewReader(from)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			if trimmed, ok := strings.CutSuffix(line, "\r\n"); ok {
				line = trimmed + "\n"
			}
			if _, err := io.WriteString(to, line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
