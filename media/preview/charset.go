package preview

import (
	"bytes"
	"io"
	"mime"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
)

// fallbackCharset is what a page is taken for that neither says what it is nor is UTF-8 (WHATWG HTML, determining the
// character encoding, step 9).
const fallbackCharset = "windows-1252"

var (
	byteOrderMarks = []struct{ mark, name string }{{"\xef\xbb\xbf", "utf-8"}, {"\xff\xfe", "utf-16le"}, {"\xfe\xff", "utf-16be"}}
	metaCharset    = regexp.MustCompile(`(?i)<meta[^>]{1,500}?charset\s*=\s*["']?\s*([a-z0-9_:.-]+)`)
	xmlEncoding    = regexp.MustCompile(`(?i)^\s*<\?xml[^>]{1,200}?encoding\s*=\s*["']([a-z0-9_:.-]+)["']`)
)

// decoded is a page's text in UTF-8. Browsers look for a declaration in the first KiB only, since they show a page while it
// loads; a preview has all of it, so a late declaration counts, and text that is UTF-8 throughout is taken for that.
func decoded(body []byte, contentType string) io.Reader {
	return bytes.NewReader(toUTF8(body, contentType))
}

func toUTF8(body []byte, contentType string) []byte {
	e := charsetOf(body, contentType)
	if e == nil {
		return body
	}
	text, err := e.NewDecoder().Bytes(body)
	if err != nil {
		return body // no decoder of these fails: what does not fit becomes U+FFFD
	}
	return text
}

// charsetOf finds a page's encoding; nil if it is UTF-8.
func charsetOf(body []byte, contentType string) encoding.Encoding {
	for _, bom := range byteOrderMarks {
		if bytes.HasPrefix(body, []byte(bom.mark)) {
			return named(bom.name)
		}
	}
	if _, params, err := mime.ParseMediaType(contentType); err == nil {
		if e := named(strings.Trim(params["charset"], "\"' ")); e != nil {
			return e
		}
	}
	for _, declaration := range []*regexp.Regexp{xmlEncoding, metaCharset} {
		if found := declaration.FindSubmatch(body); found != nil {
			name := strings.ToLower(string(found[1]))
			if strings.HasPrefix(name, "utf-16") {
				name = "utf-8" // it could not have been read otherwise (WHATWG HTML, prescan)
			}
			if e := named(name); e != nil {
				return e
			}
		}
	}
	if utf8.Valid(whole(body)) {
		return nil
	}
	return named(fallbackCharset)
}

// named is an encoding by its label; nil if there is none of that name.
func named(label string) encoding.Encoding {
	e, _ := charset.Lookup(label)
	return e
}

// whole is a text without the beginning of a last character that was cut off at MaxPage.
func whole(body []byte) []byte {
	for cut := 1; cut < utf8.UTFMax && cut <= len(body); cut++ {
		if last := body[len(body)-cut:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return body[:len(body)-cut]
			}
			break
		}
	}
	return body
}
