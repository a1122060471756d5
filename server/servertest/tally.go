package servertest

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// tally counts what the tests of this process have seen. It is the one variable of
// this package that changes: only TestMain, after the last test, can print it.
var tally = counts{seen: map[string]map[string]map[string]int{}}

// counts is test → operation → class → number of answers.
type counts struct {
	mu   sync.Mutex
	seen map[string]map[string]map[string]int
}

// classes are the columns of the Tally, in order.
var classes = []string{"success", "no token", "forbidden", "bad input", "too large", "not found", "other"}

// class tells answers apart.
func class(r *Response) string {
	switch {
	case r.Status < http.StatusBadRequest:
		return "success"
	case r.Status == http.StatusUnauthorized && strings.HasSuffix(r.Errcode(), "_TOKEN"):
		return "no token"
	case r.Status == http.StatusForbidden, r.Status == http.StatusUnauthorized:
		return "forbidden"
	case r.Status == http.StatusBadRequest:
		return "bad input"
	case r.Status == http.StatusRequestEntityTooLarge:
		return "too large"
	case r.Status == http.StatusNotFound:
		return "not found"
	default:
		return "other"
	}
}

func (c *counts) count(t testing.TB, op string, r *Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	test, _, _ := strings.Cut(t.Name(), "/")
	if c.seen[test] == nil {
		c.seen[test] = map[string]map[string]int{}
	}
	if c.seen[test][op] == nil {
		c.seen[test][op] = map[string]int{}
	}
	c.seen[test][op][class(r)]++
}

// Tally writes, for TestMain, how many of the operations were answered with success and
// with each class of error, and which never with success. The tests named are left out:
// those that make their requests up.
func Tally(w io.Writer, operations []string, without ...string) error {
	tally.mu.Lock()
	defer tally.mu.Unlock()
	sum := map[string]map[string]int{} // class → operation → answers
	for _, test := range slices.Sorted(maps.Keys(tally.seen)) {
		if slices.Contains(without, test) {
			continue
		}
		for op, answers := range tally.seen[test] {
			for class, n := range answers {
				if sum[class] == nil {
					sum[class] = map[string]int{}
				}
				sum[class][op] += n
			}
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "answers that tests asked for\toperations, of %d\trequests\n", len(operations))
	for _, class := range classes {
		ops, requests := 0, 0
		for _, op := range operations {
			if n := sum[class][op]; n > 0 {
				ops, requests = ops+1, requests+n
			}
		}
		fmt.Fprintf(table, "%s\t%d\t%d\n", class, ops, requests)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	var untested []string
	for _, op := range operations {
		if sum["success"][op] == 0 {
			untested = append(untested, op)
		}
	}
	_, err := fmt.Fprintf(w, "without success: %s\n", strings.Join(untested, " "))
	return err
}
