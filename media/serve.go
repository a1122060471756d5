package media

import (
	"mime"
	"slices"
	"strings"
)

// ContentSecurityPolicy is what all content is served with (spec: content repository).
const ContentSecurityPolicy = "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';"

// inlineTypes may be shown in the browser (spec: serving inline content). In order.
var inlineTypes = []string{
	"application/json", "application/ld+json",
	"audio/aac", "audio/flac", "audio/mp4", "audio/mpeg", "audio/ogg", "audio/wav", "audio/wave",
	"audio/webm", "audio/x-flac", "audio/x-pn-wav", "audio/x-wav",
	"image/apng", "image/avif", "image/gif", "image/jpeg", "image/png", "image/webp",
	"text/css", "text/csv", "text/plain",
	"video/mp4", "video/ogg", "video/quicktime", "video/webm",
}

// Headers are the headers under which content of a type and name may be served: a type
// that a browser may show stays and is inline; everything else is for saving. name may be
// empty.
func Headers(contentType, name string) map[string]string {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.Contains(kind, "/") || strings.ContainsAny(contentType, "\r\n\x00") {
		contentType, kind = defaultType, defaultType
	}
	return map[string]string{
		"Content-Type":                 contentType,
		"Content-Disposition":          disposition(kind, name),
		"Content-Security-Policy":      ContentSecurityPolicy,
		"X-Content-Type-Options":       "nosniff",
		"Cross-Origin-Resource-Policy": "cross-origin",
		"Referrer-Policy":              "no-referrer",
	}
}

// disposition is the value of Content-Disposition.
func disposition(kind, name string) string {
	how := "attachment"
	if _, ok := slices.BinarySearch(inlineTypes, kind); ok {
		how = "inline"
	}
	if name == "" {
		return how
	}
	return mime.FormatMediaType(how, map[string]string{"filename": strings.ToValidUTF8(name, "\uFFFD")})
}
