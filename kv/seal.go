package kv

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A value ends with sealMark and the CRC-32C of its key and of what is before, so that
// each changed bit is noticed. Rows of format 1 have none; no value of CBOR can be taken
// for one with a seal, as CBOR says itself where it ends.
const (
	sealMark  = 0xf7
	sealBytes = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errSeal  = errors.New("the checksum is wrong")
	errShort = errors.New("the value ends early")
)

// seal appends the seal to a value.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return binary.BigEndian.AppendUint32(append(value, sealMark), sum)
}

// unseal returns the value before its seal, and whether it has one that is right.
func unseal(key, raw []byte) (value []byte, sealed bool) {
	n := len(raw) - sealBytes
	if n < 0 || raw[n] != sealMark {
		return raw, false
	}
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, raw[:n])
	if binary.BigEndian.Uint32(raw[n+1:]) != sum {
		return raw, false
	}
	return raw[:n], true
}

// decodeRow decodes a stored value, with a seal or without.
func decodeRow(key, raw []byte, v any) error {
	value, sealed := unseal(key, raw)
	err := decMode.Unmarshal(value, v)
	if err == nil || sealed {
		return err
	}
	if len(raw) == 0 {
		return errShort
	}
	if n := len(raw) - sealBytes; n > 0 && raw[n] == sealMark {
		return errSeal
	}
	return err
}

// checkSeal says whether a value is what was written, as far as can be said without
// knowing its table.
func checkSeal(key, raw []byte) error {
	if _, sealed := unseal(key, raw); sealed {
		return nil
	}
	if decMode.Wellformed(raw) == nil { // of format 1
		return nil
	}
	return errSeal
}
