// Command guest runs a Linux program, such as a Go test binary, in a virtual machine
// with Debian's own kernel and its stand-ins for hardware: a camera (vivid), two sound
// cards that hear what they play (snd-aloop), pins (gpio-sim), a bad network (netem).
//
//	go test -exec "guest -kernel bin/guest" …
//
// The program is root in a file system in memory, which holds what .ci/kernel fetched,
// what -file names and nothing else. Its output is this command's output, and its exit
// code this command's. It must be for amd64 and statically linked.
//
// The machine is emulated: everything in it takes some ten times as long.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// modules are the kernel's modules that every guest loads, in this order, with their parameters.
func modules() []module {
	return []module{
		// One camera and no other of the many devices that vivid can be.
		{"vivid", "n_devs=1 node_types=0x1"},
		// The board hears with the one and speaks with the other.
		{"snd-aloop", "enable=1,1 index=0,1 id=Mic,Spk"},
		{"gpio-sim", ""},
		{"sch_netem", ""},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		code = 2
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) (code int, err error) {
	flags := flag.NewFlagSet("guest", flag.ContinueOnError)
	kernel := flags.String("kernel", "", "folder that .ci/kernel made")
	first := flags.String("init", "", "the guest's first process: porchlight/firmware/guest/init, statically linked")
	memory := flags.Int("memory", 512, "the machine's memory in MiB")
	var files []string
	flags.Func("file", "file to put into the guest's /usr/bin; may be given several times", func(path string) error {
		files = append(files, path)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return 0, err
	}
	if flags.NArg() == 0 || *kernel == "" || *first == "" {
		return 0, errors.New("usage: guest -kernel FOLDER -init FILE [-memory MIB] [-file FILE] PROGRAM [ARGUMENTS]")
	}
	temporary, err := os.MkdirTemp("", "guest")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(temporary)
	image := filepath.Join(temporary, "initramfs")
	g := guest{kernel: *kernel, first: *first, program: flags.Arg(0), files: files, args: flags.Args()[1:]}
	if err := g.write(image); err != nil {
		return 0, fmt.Errorf("making the guest's files: %w", err)
	}
	return boot(ctx, machine{
		kernel: filepath.Join(*kernel, "vmlinuz"), initramfs: image, memory: *memory,
		log: filepath.Join(temporary, "kernel.log"),
	})
}

// guest is what a virtual machine is to hold.
type guest struct {
	kernel, first string
	program       string
	args          []string
	files         []string
}

// programPath is where the program lies in the guest.
const programPath = "/usr/bin/program"

// write packs all files of the guest. The first process finds its orders in /orders: a
// line for each module, as "insmod FILE PARAMETERS", and the program's command, as "run"
// and a line for each word.
func (g guest) write(image string) (err error) {
	out, err := os.Create(image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	c := newCPIO(out)
	for _, folder := range []string{"dev", "proc", "sys", "tmp", "modules", "etc"} {
		c.folder(folder)
	}
	c.device("dev/console", 5, 1) // what the kernel gives the first process to write on
	c.tree(filepath.Join(g.kernel, "root"))
	c.copy("init", g.first)
	c.copy(programPath[1:], g.program)
	for _, path := range g.files {
		c.copy("usr/bin/"+filepath.Base(path), path)
	}
	orders, err := c.modules(filepath.Join(g.kernel, "modules"), modules())
	if err != nil {
		return err
	}
	orders = append(orders, "run", programPath)
	orders = append(orders, g.args...)
	for _, line := range orders {
		if strings.Contains(line, "\n") {
			return fmt.Errorf("the argument %q has more than one line", line)
		}
	}
	c.bytes("orders", []byte(strings.Join(orders, "\n")+"\n"))
	return c.close()
}
