package preview

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

func mustParse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestWhatPagesSay(t *testing.T) {
	for _, c := range []struct {
		name, page string
		want       map[string]string
		picture    string
	}{
		{
			"OpenGraph", `<html><head><meta property="og:title" content="A &amp; B"><meta property="og:description" content="What
			it is"><meta property="og:site_name" content="Site"><meta property="og:type" content="article"><meta property="og:url" content="/canonical">
			<meta property="og:image" content="/a.png"><meta property="og:image:width" content="99999"><title>No</title></head>`,
			map[string]string{"og:title": "A & B", "og:description": "What it is", "og:site_name": "Site", "og:type": "article", "og:url": "https://example.org/canonical"}, "https://example.org/a.png",
		},
		{
			"Twitter's cards", `<meta name="twitter:title" content="T"><meta name="twitter:description" content="D"><meta name="twitter:image" content="b.png"><meta name=description content=plain>`,
			map[string]string{"og:title": "T", "og:description": "D"}, "https://example.org/dir/b.png",
		},
		{
			"OpenGraph wins wherever it stands", `<meta name="twitter:title" content="T"><title>X</title><meta property="og:title" content="O">`,
			map[string]string{"og:title": "O"}, "",
		},
		{
			"plain HTML", `<title>The <b>title</b></title><script>var x = "<p>no</p>"</script><style>p{}</style><nav>Menu</nav><body><p>First   words.</p><p>More</p><link rel="shortcut icon" href="//cdn.example.org/i.ico">`,
			map[string]string{"og:title": "The <b>title</b>", "og:description": "First words. More"}, "https://cdn.example.org/i.ico",
		},
		{"the title of a drawing", `<svg><title>Icon</title></svg><title>Page</title>`, map[string]string{"og:title": "Page"}, ""},
		{"base", `<base href="https://other.example.org/x/"><meta property=og:image content=y.png>`, map[string]string{}, "https://other.example.org/x/y.png"},
		{"addresses that are none", `<meta property=og:image content="file:///etc/passwd"><meta property=og:image content="javascript:x"><meta property=og:image content="http://u:p@h/"><meta property="og:url" content="data:x">`, map[string]string{}, ""},
		{"nothing", ``, map[string]string{}, ""},
		{"control characters", "<title>a\x00b\x07c\xffd</title>", map[string]string{"og:title": "a\ufffdbcd"}, ""},
		{"inside of what is silent", `<noscript><title>no</title></noscript><title>yes</title>`, map[string]string{"og:title": "yes"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Read(strings.NewReader(c.page), mustParse(t, "https://example.org/dir/page"))
			if !maps.Equal(got.Properties, c.want) || got.Picture != c.picture {
				t.Errorf("%q %q", got.Properties, got.Picture)
			}
		})
	}
}

func TestGiantPages(t *testing.T) {
	base := mustParse(t, "https://example.org/")
	for name, page := range map[string]string{
		"deep":       strings.Repeat("<div><svg><b>", 300_000),
		"long title": "<title>" + strings.Repeat("ä", 1<<20),
		"long tag":   "<meta property=og:title content='" + strings.Repeat("x", 1<<20) + "'><title>y</title>",
		"attributes": "<meta " + strings.Repeat("a=b ", 20_000) + ">",
		"properties": strings.Repeat("<meta property=og:a%d content=x>", 1000),
		"entities":   "<title>" + strings.Repeat("&amp;", 100_000) + "</title>",
	} {
		for i := range 200 {
			page = strings.Replace(page, "%d", fmt.Sprint(i), 1)
		}
		p := Read(strings.NewReader(page), base)
		total := 0
		for key, value := range p.Properties {
			total += len(key) + len(value)
			if !utf8.ValidString(value) {
				t.Errorf("%s: %q", name, value)
			}
		}
		if len(p.Properties) > maxProperties || total > 20_000 {
			t.Errorf("%s: %d properties, %d bytes", name, len(p.Properties), total)
		}
	}
}

// site is a web server that the tests' fetcher may reach.
func site(t *testing.T, pages map[string]http.HandlerFunc) (*Fetcher, string) {
	t.Helper()
	mux := http.NewServeMux()
	for path, page := range pages {
		mux.HandleFunc(path, page)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return New(new(net.Dialer).DialContext), s.URL
}

func says(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

func redirects(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func TestFetching(t *testing.T) {
	var squeezed bytes.Buffer
	zip := gzip.NewWriter(&squeezed)
	_, _ = zip.Write(append([]byte("<title>bomb</title>"), make([]byte, 64<<20)...))
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	f, at := site(t, map[string]http.HandlerFunc{
		"/latin": says("text/html; charset=iso-8859-1", "<title>K\xe4se</title>"),
		"/meta":  says("text/html", "<meta charset=shift_jis><title>\x93\xfa\x96\x7b</title>"),
		"/utf8":  says("text/html", "\xef\xbb\xbf<title>日本</title>"),
		"/untyped": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			_, _ = io.WriteString(w, "<title>x</title>")
		},
		"/empty":    says("text/html", ""),
		"/picture":  says("image/png", "\x89PNG"),
		"/film":     says("video/mp4", "x"),
		"/file":     says("application/zip", "x"),
		"/gone":     http.NotFound,
		"/loop":     redirects("/loop"),
		"/once":     redirects("/latin"),
		"/file-url": redirects("file:///etc/passwd"),
		"/bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(squeezed.Bytes())
		},
		"/embed":       says("text/html", `<link rel=alternate type=application/json+oembed href=/oembed.json>`),
		"/oembed.json": says("application/json", `{"title":"Film","author_name":"Someone","provider_name":"Site","thumbnail_url":"/t.png"}`),
		"/embed-page":  says("text/html", `<link rel=alternate type=application/json+oembed href=/embed-page><title>me</title>`),
	})
	for path, want := range map[string]string{
		"/latin": "Käse", "/meta": "日本", "/utf8": "日本", "/untyped": "x", "/empty": "", "/picture": "picture", "/film": "film", "/file": "file",
		"/once": "Käse", "/bomb": "bomb", "/embed": "Film", "/embed-page": "me", "/latin#part": "Käse",
	} {
		page, err := f.Fetch(t.Context(), at+path)
		if err != nil || page.Properties["og:title"] != want {
			t.Errorf("%s: %q %v", path, page.Properties, err)
		}
		if path == "/embed" && (page.Picture != at+"/t.png" || page.Properties["og:description"] != "Someone") {
			t.Errorf("%+v", page)
		}
	}
	for _, path := range []string{"/gone", "/loop", "/file-url"} {
		if _, err := f.Fetch(t.Context(), at+path); !errors.Is(err, ErrPage) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, raw := range []string{"", "x", "ftp://h/", "file:///etc/passwd", "http://", "http:///x", "https://user:secret@h/", "http:h", "javascript:x", "http://h/" + strings.Repeat("x", MaxURL), "http://[::1%25lo]:x/"} {
		if _, err := f.Fetch(t.Context(), raw); !errors.Is(err, ErrURL) {
			t.Errorf("%.40q: %v", raw, err)
		}
	}
}

func TestPictures(t *testing.T) {
	f, at := site(t, map[string]http.HandlerFunc{
		"/a.png": says("image/png", "png"),
		"/page":  says("text/html", "<title>x"),
		"/large": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			for range MaxPicture/1024 + 2 {
				_, _ = w.Write(make([]byte, 1024))
			}
		},
	})
	body, kind, name, err := f.Picture(t.Context(), at+"/a.png")
	if err != nil || kind != "image/png" || name != "a.png" {
		t.Fatal(kind, name, err)
	}
	if got, err := io.ReadAll(body); string(got) != "png" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	body.Close()
	if _, _, _, err := f.Picture(t.Context(), at+"/page"); !errors.Is(err, ErrPage) {
		t.Errorf("a page: %v", err)
	}
	body, _, _, err = f.Picture(t.Context(), at+"/large")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.Copy(io.Discard, body); err == nil {
		t.Error("too large a picture was read to its end")
	}
}

func TestTheDialerDecides(t *testing.T) {
	_, at := site(t, map[string]http.HandlerFunc{"/": says("text/html", "<title>secret")})
	errWall := errors.New("not there")
	f := New(func(context.Context, string, string) (net.Conn, error) { return nil, errWall })
	if _, err := f.Fetch(t.Context(), at); !errors.Is(err, errWall) || !errors.Is(err, ErrPage) {
		t.Errorf("%v", err)
	}
	if _, _, _, err := f.Picture(t.Context(), at); !errors.Is(err, errWall) {
		t.Errorf("%v", err)
	}
}

func TestSlowServers(t *testing.T) {
	stop := make(chan struct{})
	f, at := site(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<title>slow</title>")
		w.(http.Flusher).Flush()
		<-stop
	}})
	defer close(stop)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	page, err := f.Fetch(ctx, at) // what came in time counts
	if err == nil && page.Properties["og:title"] != "slow" {
		t.Errorf("%v %v", page, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`<meta property="og:title" content="x"><base href="//y/"><link rel=icon href=z>`)
	f.Add(`<title>&#x10FFFF;&#0;</title><svg><script>`)
	f.Add("<!--<title>\xff\xfe")
	f.Fuzz(func(t *testing.T, page string) {
		p := Read(strings.NewReader(page), &url.URL{Scheme: "https", Host: "example.org", Path: "/"})
		for key, value := range p.Properties {
			if value == "" || len(value) > MaxURL || !utf8.ValidString(value) || strings.ContainsAny(value, "\x00\r\n") {
				t.Errorf("%s: %q", key, value)
			}
		}
		if p.Picture != "" {
			if _, err := Parse(p.Picture); err != nil {
				t.Errorf("%q: %v", p.Picture, err)
			}
		}
	})
}

// TestCharsets reads pages whose declarations are late, odd, missing or wrong, in the header, a meta element or XML.
func TestCharsets(t *testing.T) {
	const latin, russian = "caf\xe9", "\xcf\xf0\xe8\xe2\xe5\xf2" // windows-1252 and windows-1251
	late := "<!--" + strings.Repeat("x", 3000) + "-->"
	for name, c := range map[string]struct{ header, body, want string }{
		"UTF-8, a late meta":             {"text/html", late + `<meta charset="utf-8"><title>日本</title>`, "日本"},
		"UTF-8, nothing, ASCII before":   {"text/html", late + "<title>日本</title>", "日本"},
		"UTF-8, nothing at once":         {"text/html", "<title>日本</title>", "日本"},
		"windows-1251, a late meta":      {"text/html", late + `<meta charset=windows-1251><title>` + russian + "</title>", "Привет"},
		"windows-1251, http-equiv":       {"text/html", `<meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><title>` + russian + "</title>", "Привет"},
		"windows-1251, XML":              {"application/xhtml+xml", `<?xml version="1.0" encoding="windows-1251"?><html><title>` + russian + "</title></html>", "Привет"},
		"quotes in the header":           {"text/html; charset='utf-8'", late + "<title>日本</title>", "日本"},
		"double quotes in the header":    {`text/html; charset="windows-1251"`, "<title>" + russian + "</title>", "Привет"},
		"an unknown one in the header":   {"text/html; charset=foo", "<title>日本</title>", "日本"},
		"an empty one in the header":     {"text/html; charset=", "<title>日本</title>", "日本"},
		"an unknown one in the meta":     {"text/html", `<meta charset=foo><title>日本</title>`, "日本"},
		"UTF-16 in the meta":             {"text/html", `<meta charset=utf-16><title>日本</title>`, "日本"},
		"the header before the meta":     {"text/html; charset=windows-1251", `<meta charset=utf-8><title>` + russian + "</title>", "Привет"},
		"a BOM before the header":        {"text/html; charset=windows-1251", "\xef\xbb\xbf<title>日本</title>", "日本"},
		"UTF-16 by its BOM":              {"text/html", "\xff\xfe" + utf16le("<title>日本</title>"), "日本"},
		"neither declared nor UTF-8":     {"text/html", "<title>" + latin + "</title>", "café"},
		"no type, UTF-8 behind a KiB":    {"", late + "<title>日本</title>", "日本"},
		"koi8-r":                         {"text/html; charset=koi8-r", "<title>\xf0\xd2\xc9\xd7\xc5\xd4</title>", "Привет"},
		"euc-jp":                         {"text/html", `<meta charset="euc-jp"><title>` + "\xc6\xfc\xcb\xdc</title>", "日本"},
		"a character cut off at the end": {"text/html", "<title>日本</title>\xe6\x97", "日本"},
	} {
		t.Run(name, func(t *testing.T) {
			base, err := url.Parse("http://site.test/")
			if err != nil {
				t.Fatal(err)
			}
			if got := Read(decoded([]byte(c.body), c.header), base).Properties["og:title"]; got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// utf16le is a text in UTF-16, little end first.
func utf16le(text string) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return string(out)
}

// FuzzCharset: whatever a page and its header say, there is text, in UTF-8 where it was, and nothing takes long.
func FuzzCharset(f *testing.F) {
	f.Add([]byte("<meta charset=shift_jis><title>\x93\xfa</title>"), "text/html")
	f.Add([]byte("\xff\xfe<\x00"), "text/html; charset=utf-8")
	f.Add([]byte(`<?xml encoding="x"?>`), "application/xhtml+xml; charset='")
	f.Fuzz(func(t *testing.T, body []byte, header string) {
		text := toUTF8(body, header)
		if len(text) > 4*len(body)+8 {
			t.Errorf("%d bytes became %d", len(body), len(text))
		}
	})
}
