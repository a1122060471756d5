package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// cpio writes an archive as the kernel unpacks it when it starts. The first error ends
// it, and close tells. spec: linux, Documentation/driver-api/early-userspace/buffer-format.rst
type cpio struct {
	out  *bufio.Writer
	made map[string]bool // folders
	ino  int
	size int64
	err  error
}

// The kinds of files, in a mode's upper bits.
const (
	modeFolder = 0o040000
	modeFile   = 0o100000
	modeLink   = 0o120000
	modeDevice = 0o020000
)

func newCPIO(w io.Writer) *cpio {
	return &cpio{out: bufio.NewWriterSize(w, 1<<20), made: map[string]bool{".": true}}
}

// header begins a file of so many bytes, after the folders it lies in.
func (c *cpio) header(name string, mode, size int, major, minor int) {
	if dir := path.Dir(name); !c.made[dir] {
		c.folder(dir)
	}
	c.ino++
	c.printf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.ino, mode, 0, 0, 1, 0, size, 0, 0, major, minor, len(name)+1, 0, name)
	c.pad()
}

func (c *cpio) printf(format string, args ...any) {
	if c.err != nil {
		return
	}
	n, err := fmt.Fprintf(c.out, format, args...)
	c.size, c.err = c.size+int64(n), err
}

// pad fills up to the next multiple of four bytes.
func (c *cpio) pad() {
	for c.size%4 != 0 && c.err == nil {
		c.printf("\x00")
	}
}

func (c *cpio) folder(name string) {
	if c.made[name] {
		return
	}
	c.header(name, modeFolder|0o755, 0, 0, 0)
	c.made[name] = true
}

func (c *cpio) device(name string, major, minor int) {
	c.header(name, modeDevice|0o600, 0, major, minor)
}

func (c *cpio) bytes(name string, data []byte) { c.write(name, modeFile|0o755, data) }

func (c *cpio) write(name string, mode int, data []byte) {
	c.header(name, mode, len(data), 0, 0)
	c.printf("%s", data)
	c.pad()
}

// copy puts a file of this machine into the archive; everybody may run it.
func (c *cpio) copy(name, from string) {
	data, err := os.ReadFile(from)
	if c.err == nil {
		c.err = err
	}
	c.bytes(name, data)
}

// tree puts all that is in a folder of this machine at the archive's root.
func (c *cpio) tree(from string) {
	err := filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || file == from {
			return err
		}
		name, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		switch name = filepath.ToSlash(name); entry.Type() {
		case fs.ModeDir:
			c.folder(name)
		case fs.ModeSymlink:
			to, err := os.Readlink(file)
			if err != nil {
				return err
			}
			c.write(name, modeLink|0o777, []byte(to))
		default:
			c.copy(name, file)
		}
		return c.err
	})
	if c.err == nil {
		c.err = err
	}
}

// close ends the archive.
func (c *cpio) close() error {
	c.header("TRAILER!!!", 0, 0, 0, 0)
	if c.err != nil {
		return c.err
	}
	return c.out.Flush()
}
