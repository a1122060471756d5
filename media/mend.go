package media

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"porchlight/kv"
)

// Salvage copies every chunk of contents that can be read from the files in the folder from
// into new ones in the folder into, and says what is lost.
func Salvage(ctx context.Context, into, from string) (lost []string, err error) {
	to, err := openVolumes(into, DefaultVolumeBytes) // makes the folder
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(from, "*"+volumeSuffix))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	take := func(_ string, key, value []byte) ([]byte, bool) { return value, len(key) == 12 }
	for _, file := range files {
		name := filepath.Base(file)
		n, err := strconv.ParseUint(strings.TrimSuffix(name, volumeSuffix), 10, 32)
		if err != nil || volumeName(uint32(n)) != name {
			continue
		}
		err = kv.SalvageFile(ctx, to.path(uint32(n)), file, []string{string(chunkBucket)}, take, func(d *kv.DamagedError) {
			lost = append(lost, d.Error())
		})
		if err != nil {
			return lost, fmt.Errorf("salvage %s: %w", file, err)
		}
	}
	return lost, syncFolder(into)
}

// Mend brings the rows in line with the contents after some were lost: uploads whose content
// cannot be read as what was uploaded are removed and named, and all is counted anew. It is
// for a database that nobody else uses.
func (k *Keeper) Mend(ctx context.Context) (lost []string, err error) {
	refs := map[[sha256.Size]byte]blobRow{}
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for sum, row := range k.refs.Scan(tx, kv.All()) {
			refs[sum] = row
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for sum, row := range refs {
		err := k.blobs.prove(ctx, row.place(), row.Size, sum)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil { // whatever it is, the content is not there
			delete(refs, sum)
		}
	}
	m := &mending{k: k, refs: refs, used: map[[sha256.Size]byte]uint64{}, usage: map[string]usageRow{everybody: {}}}
	err = k.DB.View(ctx, m.look)
	for at := 0; at < len(m.changes) && err == nil; at += mendBatch {
		err = k.DB.Update(ctx, func(tx *kv.WriteTx) error {
			for _, change := range m.changes[at:min(at+mendBatch, len(m.changes))] {
				change(tx)
			}
			return nil
		})
	}
	if err == nil {
		_, err = k.Repair(ctx)
	}
	return m.lost, err
}

// mendBatch is how many rows Mend changes in one commit.
const mendBatch = 500

// mending is what Mend finds and is about to do.
type mending struct {
	k       *Keeper
	refs    map[[sha256.Size]byte]blobRow // contents that are there
	used    map[[sha256.Size]byte]uint64
	usage   map[string]usageRow
	lost    []string
	changes []func(*kv.WriteTx)
}

func (m *mending) do(change func(*kv.WriteTx)) { m.changes = append(m.changes, change) }

// there counts a use of a content, if it is there.
func (m *mending) there(raw []byte, size int64, who ...string) bool {
	if len(raw) != sha256.Size {
		return false
	}
	sum := [sha256.Size]byte(raw)
	if row, ok := m.refs[sum]; !ok || row.Size != size {
		return false
	}
	m.used[sum]++
	for _, w := range who {
		row := m.usage[w]
		m.usage[w] = usageRow{row.Bytes + size, row.Items + 1}
	}
	return true
}

func (m *mending) look(tx *kv.ReadTx) error {
	k := m.k
	for key, row := range k.items.Scan(tx, kv.All()) {
		if len(row.SHA256) == 0 && row.Expires != 0 {
			p, ok := k.pendings.Get(tx, pendingKey{row.Uploader, key.ID})
			if !ok || p.Expires != row.Expires {
				m.do(func(tx *kv.WriteTx) { k.items.Delete(tx, key) })
			}
			continue
		}
		who := []string{string(row.Uploader), everybody}
		if row.Uploader == "" {
			who = []string{previewsUse}
		}
		if !m.there(row.SHA256, row.Size, who...) {
			m.lost = append(m.lost, fmt.Sprintf("upload mxc://%s/%s of %d bytes %s by %s", key.Server, key.ID, row.Size, row.Type, row.Uploader))
			m.do(func(tx *kv.WriteTx) { k.items.Delete(tx, key) })
		}
	}
	for key, row := range k.thumbs.Scan(tx, kv.All()) {
		if m.used[key.Source] == 0 || !m.there(row.SHA256, row.Size, thumbnailsUse) {
			m.do(func(tx *kv.WriteTx) { k.thumbs.Delete(tx, key) }) // it is made again
		}
	}
	for sum, row := range k.refs.Scan(tx, kv.All()) {
		switch n := m.used[sum]; {
		case n == 0:
			m.do(func(tx *kv.WriteTx) { k.refs.Delete(tx, sum) })
		case n != row.Refs:
			row.Refs = n
			m.do(func(tx *kv.WriteTx) { k.refs.Put(tx, sum, row) })
		}
	}
	for who, row := range k.usages.Scan(tx, kv.All()) {
		if m.usage[who] == (usageRow{}) && row != (usageRow{}) {
			m.usage[who] = usageRow{}
		}
	}
	for who, row := range m.usage {
		m.do(func(tx *kv.WriteTx) {
			if row == (usageRow{}) && who != everybody {
				k.usages.Delete(tx, who)
				return
			}
			k.usages.Put(tx, who, row)
		})
	}
	for key, row := range k.pendings.Scan(tx, kv.All()) {
		if item, ok := k.items.Get(tx, itemKey{k.Server, key.ID}); !ok || item.Expires != row.Expires || len(item.SHA256) > 0 {
			m.do(func(tx *kv.WriteTx) { k.pendings.Delete(tx, key) })
		}
	}
	return nil
}
