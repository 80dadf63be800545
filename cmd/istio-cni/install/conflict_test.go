package install

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestAConflictHasBoundedWrites runs a watch in two minutes of a fake clock beside a program that
// restores its file every 100 ms.
func TestAConflictHasBoundedWrites(t *testing.T) {
	target := newTarget(t, texts(map[string]string{"05-cilium.conflist": string(mainConfigs(t)["05-cilium.conflist"])}))
	path := filepath.Join(target.Dirs.Conf, "05-cilium.conflist")
	theirs, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const length = 2 * time.Minute
	writes, conflicts := 0, 0
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		events := make(chan struct{}, 1)
		var writer sync.WaitGroup
		defer writer.Wait()
		writer.Go(func() {
			for ctx.Err() == nil {
				if err := os.WriteFile(path, theirs, 0o640); err != nil {
					t.Error(err)
				}
				select {
				case events <- struct{}{}:
				default:
				}
				time.Sleep(100 * time.Millisecond) // of the fake clock
			}
		})
		pass := func(ctx context.Context) (int, error) {
			p, err := target.Run(ctx, installing(Insert), func(Step) {})
			if len(p.Steps) > 0 {
				writes++
			}
			return len(p.Steps), err
		}
		err = Watch(ctx, events, pass, lasting, func() { conflicts++ })
	})
	if most := conflictWrites + int(length/conflictPause); err != nil || writes > most || writes < conflictWrites || conflicts != 1 {
		t.Errorf("%d writes in %s, %d conflicts, %v; want at most %d writes, 1 conflict", writes, length, conflicts, err, most)
	}
	if got := target.conflictText(); !strings.Contains(got, "cni.exclusive") {
		t.Errorf("no hint for Cilium: %s", got)
	}
}

func TestAfterAConflictWritesAreQuickAgain(t *testing.T) {
	var l limiter
	now := time.Unix(0, 0)
	for range conflictWrites {
		l.wrote(now)
	}
	if got := l.next(); got != now.Add(conflictPause) {
		t.Errorf("next write at %s", got)
	}
	now = now.Add(conflictOver)
	if l.wrote(now); !l.next().IsZero() {
		t.Errorf("next write at %s", l.next())
	}
}
