package preview

import (
	"io"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

const (
	// maxTags is how many tags and texts of a page are looked at.
	maxTags = 50_000
	// maxToken is the longest tag or text in bytes.
	maxToken = 64 << 10
	// maxProperties is how many properties are kept.
	maxProperties = 40
	// maxTitle and maxText are the longest titles and descriptions in bytes.
	maxTitle = 300
	maxText  = 1000
	// maxTeaser is how much of the page's own text stands in for a description.
	maxTeaser = 300
)

// reader gathers what a page says.
type reader struct {
	page    Page
	base    *url.URL
	title   strings.Builder
	text    strings.Builder
	second  map[string]string // what counts if OpenGraph says nothing
	inTitle bool
	silent  atom.Atom // inside of this tag, no text counts
}

// Read reads a page's own words, in UTF-8. base is where it is. It reads until r ends or
// fails, or there is too much.
func Read(r io.Reader, base *url.URL) Page {
	p := &reader{page: Page{Properties: map[string]string{}}, base: base, second: map[string]string{}}
	z := html.NewTokenizer(r)
	z.SetMaxBuf(maxToken)
	for range maxTags {
		switch z.Next() {
		case html.ErrorToken:
			return p.finish()
		case html.TextToken:
			p.words(z.Text())
		case html.StartTagToken, html.SelfClosingTagToken:
			p.open(z.Token())
		case html.EndTagToken:
			name, _ := z.TagName()
			tag := atom.Lookup(name)
			if tag == atom.Title {
				p.inTitle = false
			}
			if tag == p.silent {
				p.silent = 0
			}
		}
	}
	return p.finish()
}

func (p *reader) words(raw []byte) {
	switch {
	case p.inTitle && p.title.Len() < maxTitle:
		p.title.Write(raw)
	case p.silent == 0 && !p.inTitle && p.text.Len() < 4*maxTeaser:
		p.text.WriteByte(' ')
		p.text.Write(raw[:min(len(raw), 4*maxTeaser)])
	}
}

func (p *reader) open(t html.Token) {
	switch t.DataAtom {
	case atom.Title:
		// Pictures inside of a page have titles, too.
		p.inTitle = p.silent == 0 && p.title.Len() == 0
	case atom.Script, atom.Style, atom.Noscript, atom.Template, atom.Svg, atom.Nav, atom.Header, atom.Footer, atom.Aside, atom.Iframe, atom.Textarea, atom.Select, atom.Button:
		if p.silent == 0 && t.Type == html.StartTagToken {
			p.silent = t.DataAtom
		}
	case atom.Base:
		if at := resolve(p.base, attr(t, "href")); at != "" {
			if u, err := url.Parse(at); err == nil {
				p.base = u
			}
		}
	case atom.Meta:
		name := attr(t, "property")
		if name == "" {
			name = attr(t, "name")
		}
		p.meta(strings.ToLower(strings.TrimSpace(name)), attr(t, "content"))
	case atom.Link:
		p.link(t)
	}
}

func attr(t html.Token, name string) string {
	for _, a := range t.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// meta: what OpenGraph says counts first, then what Twitter's cards do, then the rest.
func (p *reader) meta(name, content string) {
	switch name {
	case "og:image", "og:image:url", "og:image:secure_url":
		if p.page.Picture == "" {
			p.page.Picture = resolve(p.base, content)
		}
	case "twitter:image", "twitter:image:src":
		p.instead("picture", resolve(p.base, content))
	case "twitter:title":
		p.instead("og:title", content)
	case "twitter:description":
		p.instead("og:description", content)
	case "twitter:site":
		p.instead("og:site_name", content)
	case "description":
		p.instead("plain", content)
	case "og:description":
		p.page.add(name, content, maxText)
	case "og:url":
		p.page.add(name, resolve(p.base, content), MaxURL)
	default:
		if strings.HasPrefix(name, "og:") && len(name) < 64 && !strings.HasPrefix(name, "og:image") {
			p.page.add(name, content, maxTitle)
		}
	}
}

func (p *reader) instead(name, value string) {
	if p.second[name] == "" {
		p.second[name] = value
	}
}

func (p *reader) link(t html.Token) {
	href := attr(t, "href")
	for rel := range strings.FieldsSeq(strings.ToLower(attr(t, "rel"))) {
		switch {
		case rel == "alternate" && strings.EqualFold(attr(t, "type"), "application/json+oembed") && p.page.oembed == "":
			p.page.oembed = resolve(p.base, href)
		case rel == "image_src":
			p.instead("picture", resolve(p.base, href))
		case rel == "apple-touch-icon" || rel == "icon":
			p.instead(rel, resolve(p.base, href))
		}
	}
}

// add sets a property that is not set yet.
func (p *Page) add(name, value string, most int) {
	value = clip(value, most)
	if value == "" || p.Properties[name] != "" || len(p.Properties) >= maxProperties {
		return
	}
	p.Properties[name] = value
}

func (p *reader) finish() Page {
	for _, name := range []string{"og:title", "og:description", "og:site_name"} {
		p.page.add(name, p.second[name], maxText)
	}
	p.page.add("og:title", p.title.String(), maxTitle)
	p.page.add("og:description", p.second["plain"], maxText)
	p.page.add("og:description", p.text.String(), maxTeaser)
	for _, name := range []string{"picture", "apple-touch-icon", "icon"} {
		if p.page.Picture == "" {
			p.page.Picture = p.second[name]
		}
	}
	return p.page
}

// clip makes one line of a text, without what is no text, and not longer than most bytes.
func clip(s string, most int) string {
	if len(s) > 8*most {
		s = s[:8*most]
	}
	s = strings.Join(strings.Fields(html.UnescapeString(strings.ToValidUTF8(s, ""))), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	if len(s) <= most {
		return s
	}
	cut := most - len("…")
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
