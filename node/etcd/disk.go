package etcd

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// disk is what a node keeps beside etcd's own data: in which life it is, and whose.
//
//	<folder>/etcd/        etcd's data
//	<folder>/member.json  this
type disk struct {
	folder string
	state  diskState
}

type diskState struct {
	Name        string `json:"name"`
	Address     string `json:"address"`
	Fingerprint string `json:"secret_fingerprint"`
	Incarnation string `json:"incarnation"`
	// Token of the cluster that this life formed; empty if it joined one.
	Token string `json:"token,omitempty"`
	// Formed: a majority has been seen in this life, so the node is a member.
	Formed bool `json:"formed"`
	// Started: etcd was started in this life. Without a log afterwards, the log was lost.
	Started bool `json:"started"`
	// Unfinished counts the starts of etcd since the last that came to its end: the process died in them.
	Unfinished int    `json:"unfinished_starts,omitempty"`
	ClusterID  string `json:"cluster_id,omitempty"`
	MemberID   string `json:"member_id,omitempty"`
}

// ErrOtherCluster: the data folder belongs to another cluster, secret or node.
var ErrOtherCluster = errors.New("data folder of another cluster")

func (d *disk) data() string { return filepath.Join(d.folder, "etcd") }
func (d *disk) file() string { return filepath.Join(d.folder, "member.json") }

// openDisk reads the folder's state, and begins a new life when there is no log.
func openDisk(folder string, self Voter, fingerprint string) (*disk, error) {
	d := &disk{folder: folder}
	text, err := os.ReadFile(d.file())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read member state: %w", err)
	default:
		if err := json.Unmarshal(text, &d.state); err != nil {
			// A torn file of ours says nothing about etcd's data. With a log, etcd knows who it is;
			// without, a new life begins below.
			d.state = diskState{}
		}
	}
	if s := d.state; s.Fingerprint != "" && s.Fingerprint != fingerprint {
		return nil, fmt.Errorf("%w: %s was made with another secret (fingerprint %s, ours is %s): use that secret, or another --data folder",
			ErrOtherCluster, folder, s.Fingerprint, fingerprint)
	}
	if s := d.state; s.Address != "" && s.Address != self.Addr.String() {
		return nil, fmt.Errorf("%w: %s belongs to the node %s at %s, and --nodes now gives that name the address %s: use another --data folder",
			ErrOtherCluster, folder, s.Name, s.Address, self.Addr)
	}
	d.state.Name, d.state.Address, d.state.Fingerprint = self.Name, self.Addr.String(), fingerprint
	if d.hasLog() {
		return d, d.save()
	}
	if d.state.Incarnation == "" || d.state.Started {
		return d, d.begin()
	}
	// A token without a start was drawn, but nothing rests on it: the incarnations will give it again, or another.
	d.state.Token = ""
	return d, d.save()
}

// hasLog says whether there is a write-ahead log, which makes the node a member.
func (d *disk) hasLog() bool {
	names, err := filepath.Glob(filepath.Join(d.data(), "member", "wal", "*.wal"))
	return err == nil && len(names) > 0
}

// begin starts a new life: whatever is left of the former is removed or was moved aside.
func (d *disk) begin() error {
	if err := os.RemoveAll(d.data()); err != nil {
		return fmt.Errorf("clear etcd data: %w", err)
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("draw incarnation: %w", err)
	}
	s := d.state
	d.state = diskState{Name: s.Name, Address: s.Address, Fingerprint: s.Fingerprint, Incarnation: hex.EncodeToString(id[:])}
	return d.save()
}

// moveAside keeps data that will not open, or that the cluster has given up, for the operator, and begins anew.
func (d *disk) moveAside(now time.Time) (string, error) {
	aside := fmt.Sprintf("%s.broken-%s", d.folder, now.UTC().Format("20060102T150405.000"))
	if err := os.Rename(d.data(), aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("move data aside: %w", err)
	}
	return aside, d.begin()
}

// save replaces the state file as a whole and waits for the disk: others act on what it says.
func (d *disk) save() error {
	text, err := json.MarshalIndent(d.state, "", "  ")
	if err != nil {
		return fmt.Errorf("write member state: %w", err)
	}
	f, err := os.CreateTemp(d.folder, "member.json.*")
	if err != nil {
		return fmt.Errorf("write member state: %w", err)
	}
	defer os.Remove(f.Name()) // a no-op after the rename
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), d.file())
	}
	if err == nil {
		err = syncFolder(d.folder)
	}
	if err != nil {
		return fmt.Errorf("write member state: %w", err)
	}
	return nil
}

// syncFolder makes a rename in the folder durable.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
