// Package preview fetches web pages on somebody's word and reads what they say of
// themselves: OpenGraph, Twitter cards, oEmbed, or else their title and text.
//
// What is fetched may be hostile: time, bytes, redirects, tags and the length of every
// text are bounded, pages are read tag by tag without a tree, nothing that they name is
// fetched but one picture and one oEmbed description. Where connections may go, the dialer
// decides that New is given.
package preview

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

const (
	// MaxPage is how many bytes of a page are read; what stands behind is not looked at.
	MaxPage = 1 << 20
	// MaxPicture is the largest picture in bytes.
	MaxPicture = 8 << 20
	// Timeout is how long everything together may take.
	Timeout = 15 * time.Second
	// MaxURL is the longest address in bytes.
	MaxURL = 2048
	// maxRedirects is how often a page may point elsewhere.
	maxRedirects = 5
	// maxOEmbed is the largest oEmbed description in bytes.
	maxOEmbed = 64 << 10
	// headerTime is how long a server may take to begin its answer.
	headerTime = 8 * time.Second
	// maxHeader is the largest head of an answer in bytes.
	maxHeader = 32 << 10
	// agent is what pages see. Some give their descriptions only to what calls itself a bot.
	agent = "Mozilla/5.0 (compatible; Porchlight; preview bot)"
)

// The reasons for which there is no preview.
var (
	// ErrURL: that is no address of a web page.
	ErrURL = errors.New("that is no address of a web page")
	// ErrPage: the page cannot be fetched.
	ErrPage = errors.New("the page cannot be fetched")
)

// Fetcher fetches pages.
type Fetcher struct{ client *http.Client }

// New makes a Fetcher that connects by dial, which has to refuse the addresses that must
// not be reached.
func New(dial func(ctx context.Context, network, address string) (net.Conn, error)) *Fetcher {
	return &Fetcher{&http.Client{
		Transport: &http.Transport{
			DialContext: dial, TLSHandshakeTimeout: headerTime, ResponseHeaderTimeout: headerTime,
			MaxResponseHeaderBytes: maxHeader, DisableKeepAlives: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errors.New("too many redirects")
			}
			r.Header.Del("Referer")
			_, err := Parse(r.URL.String())
			return err
		},
	}}
}

// Parse checks an address: http or https, with a host, without a password. The fragment
// goes. The error is ErrURL.
func Parse(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > MaxURL || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return nil, ErrURL
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// Page is what a page says of itself.
type Page struct {
	// Properties are OpenGraph's: "og:title", … The picture is not among them.
	Properties map[string]string
	// Picture is the address of its picture; empty if there is none.
	Picture string

	oembed string
}

// Fetch reads a page. A picture, film or sound at that address makes a Page, too. The
// errors wrap ErrURL and ErrPage.
func (f *Fetcher) Fetch(ctx context.Context, raw string) (Page, error) {
	resp, err := f.get(ctx, raw, "text/html,application/xhtml+xml,*/*;q=0.8")
	if err != nil {
		return Page{}, err
	}
	defer resp.Body.Close()
	header := resp.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(header)
	if err != nil {
		kind = "text/html" // as browsers do
	}
	at := resp.Request.URL
	major, _, _ := strings.Cut(kind, "/")
	switch {
	case kind == "text/html" || kind == "application/xhtml+xml":
		body, err := io.ReadAll(io.LimitReader(resp.Body, MaxPage))
		if err != nil && len(body) == 0 {
			return Page{}, fmt.Errorf("%w: %w", ErrPage, err)
		}
		page := Read(decoded(body, header), at)
		f.complete(ctx, &page)
		return page, nil
	case major == "image":
		return Page{map[string]string{"og:type": "image", "og:title": fileName(at), "og:url": at.String()}, at.String(), ""}, nil
	case major == "video" || major == "audio":
		return Page{map[string]string{"og:type": major, "og:title": fileName(at), "og:url": at.String()}, "", ""}, nil
	}
	return Page{Properties: map[string]string{"og:title": fileName(at), "og:url": at.String()}}, nil
}

// fileName is what an address calls what is there.
func fileName(u *url.URL) string {
	if name := path.Base(u.Path); name != "/" && name != "." {
		return clip(name, maxTitle)
	}
	return u.Hostname()
}

func (f *Fetcher) get(ctx context.Context, raw, accept string) (*http.Response, error) {
	u, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	r.Header.Set("User-Agent", agent)
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Language", "en;q=0.9,*;q=0.5")
	resp, err := f.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPage, err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: the server answers %d", ErrPage, resp.StatusCode)
	}
	return resp, nil
}

// Picture opens a picture: its bytes, no more than MaxPicture and an error behind that.
// The type is what the server says, and begins with "image/". The errors wrap ErrURL and
// ErrPage.
func (f *Fetcher) Picture(ctx context.Context, raw string) (body io.ReadCloser, contentType, name string, err error) {
	resp, err := f.get(ctx, raw, "image/*")
	if err != nil {
		return nil, "", "", err
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "image/") || resp.ContentLength > MaxPicture {
		resp.Body.Close()
		return nil, "", "", fmt.Errorf("%w: no picture, or too large a one", ErrPage)
	}
	return http.MaxBytesReader(nil, resp.Body, MaxPicture), kind, fileName(resp.Request.URL), nil
}

// complete asks the oEmbed description that a page points to for what the page does not
// say itself.
func (f *Fetcher) complete(ctx context.Context, page *Page) {
	if page.oembed == "" || page.Properties["og:title"] != "" && page.Picture != "" {
		return
	}
	resp, err := f.get(ctx, page.oembed, "application/json")
	if err != nil {
		return // the page speaks for itself
	}
	defer resp.Body.Close()
	var said struct {
		Title     string `json:"title"`
		Author    string `json:"author_name"`
		Provider  string `json:"provider_name"`
		Thumbnail string `json:"thumbnail_url"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, maxOEmbed)).Decode(&said) != nil {
		return
	}
	page.add("og:title", said.Title, maxTitle)
	page.add("og:description", said.Author, maxText)
	page.add("og:site_name", said.Provider, maxTitle)
	if page.Picture == "" {
		page.Picture = resolve(resp.Request.URL, said.Thumbnail)
	}
}

// resolve makes an address that a page names absolute; empty if it is none.
func resolve(base *url.URL, raw string) string {
	if raw == "" || len(raw) > MaxURL {
		return ""
	}
	u, err := base.Parse(strings.TrimSpace(raw))
	if err != nil {
		return ""
	}
	if u, err = Parse(u.String()); err != nil {
		return ""
	}
	return u.String()
}
