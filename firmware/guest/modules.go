package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// module is a part of the kernel that is loaded when it is needed.
type module struct{ name, parameters string }

// modules puts the modules and what they need into the archive, and gives the orders that
// load them.
func (c *cpio) modules(folder string, wanted []module) (orders []string, err error) {
	list, err := os.ReadFile(filepath.Join(folder, "modules.dep"))
	if err != nil {
		return nil, err
	}
	needs := parseDependencies(string(list))
	var packed []string
	for _, m := range wanted {
		files, ok := needs[m.name]
		if !ok {
			return nil, fmt.Errorf("this kernel has no module %s", m.name)
		}
		for i, file := range files {
			if slices.Contains(packed, file) {
				continue
			}
			packed = append(packed, file)
			data, err := readModule(filepath.Join(folder, file))
			if err != nil {
				return nil, err
			}
			name := "modules/" + moduleName(file) + ".ko"
			c.bytes(name, data)
			order := "insmod /" + name
			if i == len(files)-1 {
				order = strings.TrimSpace(order + " " + m.parameters)
			}
			orders = append(orders, order)
		}
	}
	return orders, nil
}

// parseDependencies reads depmod's modules.dep: for each module the files to load, in the
// order in which they have to be loaded, its own last.
func parseDependencies(text string) map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(text) {
		file, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		// What is named last is needed by what is named before.
		files := append([]string{file}, strings.Fields(rest)...)
		slices.Reverse(files)
		all[moduleName(file)] = files
	}
	return all
}

// moduleName is a module's file's name without its folder and endings.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return name
}

// readModule reads a module, unpacked.
func readModule(file string) ([]byte, error) {
	if !strings.HasSuffix(file, ".xz") {
		return os.ReadFile(file)
	}
	var failure bytes.Buffer
	xz := exec.Command("xz", "--decompress", "--stdout", file)
	xz.Stderr = &failure
	data, err := xz.Output()
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w: %s", file, err, failure.Bytes())
	}
	return data, nil
}
