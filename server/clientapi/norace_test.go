//go:build !race

package clientapi_test

// raceDetector makes everything several times slower.
const raceDetector = false
