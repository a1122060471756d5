package bench_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// figure is one line of the table.
type figure struct{ name, reached, target string }

// table is filled by the benchmarks and printed when all have run. A benchmark may run
// several times, each longer than the last: its latest figures count.
var table struct {
	mu   sync.Mutex
	rows []figure
}

func TestMain(m *testing.M) {
	code := m.Run()
	printTable(table.rows)
	os.Exit(code)
}

// set puts a figure into the table; target may be empty.
func set(name, target, format string, args ...any) {
	t := &table
	t.mu.Lock()
	defer t.mu.Unlock()
	row := figure{name, fmt.Sprintf(format, args...), target}
	if i := slices.IndexFunc(t.rows, func(f figure) bool { return f.name == name }); i >= 0 {
		t.rows[i] = row
		return
	}
	t.rows = append(t.rows, row)
}

func printTable(rows []figure) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\nfigure\treached\ttarget\n")
	for _, f := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.name, f.reached, f.target)
	}
	w.Flush()
}

// times are durations of the same thing, measured over and over.
type times []time.Duration

// at is the duration that the given share of all stay below: 0.5 is the median.
func (t times) at(share float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	return sorted[int(share*float64(len(sorted)-1))]
}

// since appends the time from start to now.
func (t *times) since(start time.Time) { *t = append(*t, time.Since(start)) }

// procNumber reads the number behind a name in a file of /proc.
func procNumber(tb testing.TB, file, name string) uint64 {
	tb.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		tb.Skip(err) // not Linux, or not allowed
	}
	for line := range bytes.Lines(raw) {
		fields := bytes.Fields(line)
		if len(fields) < 2 || string(fields[0]) != name+":" {
			continue
		}
		n, err := strconv.ParseUint(string(fields[1]), 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		return n
	}
	tb.Fatalf("%s has no %s", file, name)
	return 0
}
