package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseDependencies(t *testing.T) {
	got := parseDependencies("kernel/a/vivid.ko.xz: kernel/b/videodev.ko.xz kernel/c/mc.ko.xz\nkernel/c/mc.ko.xz:\n\nkernel/d/snd-pcm.ko: kernel/d/snd.ko\nnonsense\n")
	want := map[string][]string{
		"vivid":   {"kernel/c/mc.ko.xz", "kernel/b/videodev.ko.xz", "kernel/a/vivid.ko.xz"},
		"mc":      {"kernel/c/mc.ko.xz"},
		"snd-pcm": {"kernel/d/snd.ko", "kernel/d/snd-pcm.ko"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// entry is a file of an archive.
type entry struct {
	name    string
	mode    int
	content string
}

// unpack reads an archive as the kernel does.
func unpack(t *testing.T, data []byte) (all []entry) {
	t.Helper()
	aligned := func(n int) int { return (n + 3) &^ 3 }
	for at := 0; ; {
		var field [13]int
		if at+110 > len(data) || string(data[at:at+6]) != "070701" {
			t.Fatalf("no header at %d", at)
		}
		for i := range field {
			if _, err := fmt.Sscanf(string(data[at+6+8*i:at+14+8*i]), "%x", &field[i]); err != nil {
				t.Fatal(err)
			}
		}
		mode, size, nameSize := field[1], field[6], field[11]
		name := string(data[at+110 : at+110+nameSize-1])
		at = aligned(at + 110 + nameSize)
		if name == "TRAILER!!!" {
			return all
		}
		all = append(all, entry{name, mode, string(data[at : at+size])})
		at = aligned(at + size)
	}
}

func TestArchive(t *testing.T) {
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "usr/bin/x"), []byte("seven b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("usr/bin", filepath.Join(folder, "bin")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := newCPIO(&out)
	c.device("dev/console", 5, 1)
	c.tree(folder)
	c.bytes("usr/bin/y", nil)
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{"dev", 0o40755, ""}, {"dev/console", 0o20600, ""}, {"bin", 0o120777, "usr/bin"}, {"usr", 0o40755, ""}, {"usr/bin", 0o40755, ""},
		{"usr/bin/x", 0o100755, "seven b"}, {"usr/bin/y", 0o100755, ""},
	}
	if got := unpack(t, out.Bytes()); !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	c = newCPIO(&out)
	c.copy("x", filepath.Join(folder, "none"))
	if err := c.close(); err == nil {
		t.Error("a file that is not there was packed")
	}
}

func TestModulesAreLoadedInOrder(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{"modules.dep": "d/a.ko: d/b.ko\nd/c.ko: d/b.ko\nd/b.ko:\n", "a.ko": "A", "b.ko": "B", "c.ko": "C"} {
		if name != "modules.dep" {
			name = "d/" + name
		}
		if err := os.MkdirAll(filepath.Join(folder, "d"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	c := newCPIO(&out)
	orders, err := c.modules(folder, []module{{"a", "x=1 y=2"}, {"c", ""}})
	if want := []string{"insmod /modules/b.ko", "insmod /modules/a.ko x=1 y=2", "insmod /modules/c.ko"}; err != nil || !slices.Equal(orders, want) {
		t.Errorf("orders %q, %v", orders, err)
	}
	if _, err := c.modules(folder, []module{{"z", ""}}); err == nil {
		t.Error("a module that is not there was packed")
	}
}

// A machine ends by the program's exit code, and in no other way without an error.
func TestHowAMachineEnds(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	log := filepath.Join(folder, "log")
	if err := os.WriteFile(log, []byte("Kernel panic"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		script string
		code   int
		want   string // of the error; empty: none
	}{
		{"exit 3", 0, ""},
		{"exit 5", 1, ""},
		{"exit 253", 125, ""},
		{"exit 1", 0, "exit status 1"}, // QEMU itself failed
		{"exit 0", 0, "Kernel panic"},
		{"exit 2", 0, "exit status 2"},
		{"kill -9 $$", 0, "killed"},
	} {
		if err := os.WriteFile(filepath.Join(folder, "qemu-system-x86_64"), []byte("#!/bin/sh\nprintf 'a\\r\\nb'\n"+tt.script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		code, err := boot(t.Context(), machine{log: log})
		if code != tt.code || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: code %d, %v", tt.script, code, err)
		}
	}
}

func TestCopyLines(t *testing.T) {
	var out bytes.Buffer
	if err := copyLines(&out, strings.NewReader("a\r\n\r\nb\rc\n\r\nend")); err != nil || out.String() != "a\n\nb\rc\n\nend" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
