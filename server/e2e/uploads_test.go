//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// uploadsPerKill is how many uploads are acknowledged before the server is killed.
	uploadsPerKill = 15
	// largeUpload is what the memory is measured with.
	largeUpload = 100 << 20
	// mostMemory is by how much moving it may raise the memory, in bytes.
	mostMemory = 16 << 20
)

// noise is bytes that no other seed gives.
func noise(seed string, size int) io.Reader {
	return io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte(seed))), int64(size))
}

// move sends or takes content; the answer's body is the caller's.
func (c *client) move(method, path string, body io.Reader, size int64) (*http.Response, error) {
	r, err := http.NewRequest(method, c.porch.url+path, body)
	if err != nil {
		return nil, err
	}
	r.ContentLength = size
	r.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(r)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return resp, err
}

func (c *client) upload(body io.Reader, size int) (uri string, err error) {
	resp, err := c.move("POST", "/_matrix/media/v3/upload", body, int64(size))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct {
		URI string `json:"content_uri"`
	}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	return answer.URI, err
}

func (c *client) download(uri string) (*http.Response, error) {
	return c.move("GET", "/_matrix/client/v1/media/download/"+strings.TrimPrefix(uri, "mxc://"), nil, 0)
}

// TestKillAmidUploads kills the server in the middle of uploads. Every one that was
// acknowledged must be there in full, and the check must find nothing but space to free.
func TestKillAmidUploads(t *testing.T) {
	p := newPorch(t)
	alice := p.logIn(owner)
	sums := map[string][sha256.Size]byte{} // by URI
	var mu sync.Mutex
	for round := range 3 {
		var all sync.WaitGroup
		enough, once, acked := make(chan struct{}), sync.Once{}, 0
		for sender := range 4 {
			all.Go(func() {
				for n := 0; ; n++ {
					size := 1 << (10 + (n*4+sender)%14) // 1 KiB to 8 MiB
					content, err := io.ReadAll(noise(fmt.Sprint(round, sender, n), size))
					if err != nil {
						t.Error(err)
					}
					uri, err := alice.upload(bytes.NewReader(content), size)
					mu.Lock()
					if err == nil {
						sums[uri] = sha256.Sum256(content)
						acked++
					}
					if err != nil || acked >= uploadsPerKill {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		<-enough
		p.kill()
		all.Wait()
		if acked < uploadsPerKill {
			t.Fatalf("round %d: uploading failed after %d, before the server was killed", round, acked)
		}
		p.start()
		for uri, want := range sums {
			resp, err := alice.download(uri)
			if err != nil {
				t.Error(err)
				continue
			}
			hash := sha256.New()
			_, err = io.Copy(hash, resp.Body)
			resp.Body.Close()
			if err != nil || [sha256.Size]byte(hash.Sum(nil)) != want {
				t.Errorf("%s came back otherwise: %v", uri, err)
			}
		}
		t.Logf("round %d: %d uploads acknowledged so far, all there", round, len(sums))
	}
	p.stop()
	t.Log(p.porchlight("check", "--repair"))
	if again := p.porchlight("check", "--repair"); !strings.Contains(again, "removed 0 contents") {
		t.Errorf("the second repair says %s", again)
	}
}

// status reads a number of bytes from the server's status file.
func (p *porch) status(name string) int64 {
	p.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var kib int64
	_, rest, _ := strings.Cut(string(raw), name+":")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		p.t.Fatal(err)
	}
	return kib << 10
}

// TestMemoryOfUploads uploads and downloads 100 MB and looks at the real server's memory.
func TestMemoryOfUploads(t *testing.T) {
	p := newPorch(t)
	p.stop()
	p.flags = append(p.flags, "--max-upload", fmt.Sprint(largeUpload))
	p.start()
	alice := p.logIn(owner)
	if _, err := alice.upload(noise("first", 5<<20), 5<<20); err != nil { // so that all is in use
		t.Fatal(err)
	}
	measure := func(what string, do func()) {
		time.Sleep(time.Second)
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0); err != nil {
			t.Skip("the peak cannot be set back: ", err)
		}
		before, begun := p.status("VmRSS"), time.Now()
		do()
		extra := max(0, p.status("VmHWM")-before)
		t.Logf("%s of %d MB: %.1f MB before, %.1f MB more at the peak, %.0f MB/s", what, largeUpload>>20,
			float64(before)/(1<<20), float64(extra)/(1<<20), largeUpload/(1<<20)/time.Since(begun).Seconds())
		if extra > mostMemory {
			t.Errorf("%s: %d bytes more, %d are allowed", what, extra, mostMemory)
		}
	}
	var uri string
	measure("upload", func() {
		var err error
		if uri, err = alice.upload(noise("large", largeUpload), largeUpload); err != nil {
			t.Fatal(err)
		}
	})
	measure("download", func() {
		resp, err := alice.download(uri)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); n != largeUpload || err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	})
}
