package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a number of bytes on the command line: "50M" and "52428800" are the same.
type byteSize int64

// units are factors of 1024, as of memory and of what file managers show; "K", "KB" and "KiB" are the same.
const units = "KMGT"

// UnmarshalText reads a number with or without a unit.
func (b *byteSize) UnmarshalText(text []byte) error {
	number := strings.ToUpper(strings.TrimSpace(string(text)))
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	shift := 0
	if n := len(number); n > 0 {
		if i := strings.IndexByte(units, number[n-1]); i >= 0 {
			number, shift = strings.TrimSpace(number[:n-1]), 10*(i+1)
		}
	}
	value, err := strconv.ParseInt(number, 10, 64)
	if err != nil || value > math.MaxInt64>>shift || value < math.MinInt64>>shift {
		return fmt.Errorf("%q is not a size: write a number of bytes, or one with a unit such as 50M or 2G", text)
	}
	*b = byteSize(value << shift)
	return nil
}
