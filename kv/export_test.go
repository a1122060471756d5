package kv

import "reflect"

// RoundTripKey writes a key and reads it back.
func RoundTripKey[K any](k K) (raw []byte, back K, err error) {
	c, err := newKeyCodec(reflect.TypeFor[K]())
	if err != nil {
		return nil, back, err
	}
	raw = c.encode(nil, reflect.ValueOf(k))
	return raw, back, c.decode(raw, reflect.ValueOf(&back).Elem())
}

// ReadKey reads a key from any bytes.
func ReadKey[K any](raw []byte) (k K, err error) {
	c, err := newKeyCodec(reflect.TypeFor[K]())
	if err != nil {
		return k, err
	}
	return k, c.decode(raw, reflect.ValueOf(&k).Elem())
}
