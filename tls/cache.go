package tls

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	cacheHead = `{"tripod_certificates":1}`
	cacheLine = 1 << 20   // bytes of one item
	cacheMax  = 256 << 20 // bytes
	cacheWait = time.Second
)

// cacheItem is one line of the cache. The value is sealed, as in the storage.
type cacheItem struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// OpenCached takes what the cache file has, to serve from until Open. Without a file it does nothing. An
// error tells that some or all of the file could not be used, such as with ErrWrongKey when the secret was changed; what
// could be used is in use, and Open makes the file good again.
func (m *Manager) OpenCached() error {
	if m.cache == "" {
		return nil
	}
	file, err := os.Open(m.cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read certificate cache: %w", err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Size() > cacheMax {
		return fmt.Errorf("read certificate cache %s: more than %d MiB: delete it", m.cache, cacheMax>>20)
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(make([]byte, 0, 16<<10), cacheLine)
	if !lines.Scan() || lines.Text() != cacheHead {
		return fmt.Errorf("read certificate cache %s: it is something else: delete it", m.cache)
	}
	var items []Item
	var failed error
	for lines.Scan() {
		var item cacheItem
		if err := json.Unmarshal(lines.Bytes(), &item); err != nil {
			failed = err
			break
		}
		if _, err := m.sealer.Open(item.Key, item.Value); err != nil {
			failed = err
			continue
		}
		items = append(items, Item{Key: item.Key, Value: item.Value, Revision: cachedRevision})
	}
	m.applyItems(items)
	if failed == nil {
		failed = lines.Err()
	}
	if failed != nil {
		return fmt.Errorf("read certificate cache %s: %w", m.cache, failed)
	}
	return nil
}

// saveCache writes the cache soon after changes, and once more at the end.
func (m *Manager) saveCache() {
	wait := cacheWait
	for {
		select {
		case <-m.life.Done():
			select {
			case <-m.dirty:
				m.saveNow()
			default:
			}
			return
		case <-m.dirty:
		}
		// Many changes come together, and ten thousand certificates take a while to write: a tenth of the
		// time is enough.
		select {
		case <-m.life.Done():
			m.saveNow()
			return
		case <-time.After(wait):
		}
		start := time.Now()
		m.saveNow()
		wait = max(cacheWait, 10*time.Since(start))
	}
}

func (m *Manager) saveNow() {
	m.mu.Lock()
	items := make([]Item, 0, len(m.items))
	for _, item := range m.items {
		items = append(items, item)
	}
	m.mu.Unlock()
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.Key, b.Key) })
	var data bytes.Buffer
	data.WriteString(cacheHead + "\n")
	lines := json.NewEncoder(&data)
	for _, item := range items {
		if err := lines.Encode(cacheItem{Key: item.Key, Value: item.Value}); err != nil {
			m.log.Error("certificate cache not written", "file", m.cache, "error", err)
			return
		}
	}
	err := os.MkdirAll(filepath.Dir(m.cache), 0o700)
	if err == nil {
		err = writeFile(m.cache, data.Bytes())
	}
	if err != nil {
		m.log.Error("certificate cache not written: this node could not serve TLS after a restart without a quorum", "file", m.cache, "error", err)
	}
}
