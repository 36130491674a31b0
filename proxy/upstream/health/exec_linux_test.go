package health

import (
	"path/filepath"
	"testing"
	"time"
)

// What a command leaves running in its process group is killed when it ends; or every check would leave some more.
func TestCommandsLeaveNothingBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "numbers")
	start := time.Now()
	for range 3 {
		v, err := run(t, patient, `(trap '' TERM; sleep 1000) & echo $! >>"$1"; sleep 1000 & echo $! >>"$1"; echo up 40%`, file)
		if err != nil || v.Percent != 40 {
			t.Errorf("%+v, %v", v, err)
		}
	}
	allGone(t, file, 6)
	// One that has left the group and holds the output open holds nobody up.
	if _, err := run(t, patient, `setsid sleep 2 & exit 0`); err != nil {
		t.Error(err)
	}
	if spent := time.Since(start); spent >= patient {
		t.Errorf("took %s", spent)
	}
}
