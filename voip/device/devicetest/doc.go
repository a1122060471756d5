// Package devicetest helps tests to look at what package device made. The
// program itself never decodes pictures.
package devicetest
