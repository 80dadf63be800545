package install

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// The times of a watch.
const (
	quietTime      = 200 * time.Millisecond // without an event, before the files are read
	quietAtMost    = 2 * time.Second        // after the first event
	resyncTime     = 30 * time.Second       // without an event: inotify may lose some
	conflictWindow = time.Minute
	conflictWrites = 5                // in the window: another program undoes them
	conflictPause  = 30 * time.Second // between writes from then on
	conflictOver   = 5 * time.Minute  // without a write
)

// A Pass reads the node and makes it as it should be. It returns how many files it wrote.
type Pass func(context.Context) (steps int, err error)

// Watch calls pass at once, after each change that events announces, and from time to time,
// until ctx ends or pass returns an error that is fatal. Events that follow each other are
// one. Where another program undoes what pass writes, the writes become rare; conflict is
// called then.
func Watch(ctx context.Context, events <-chan struct{}, pass Pass, fatal func(error) bool, conflict func()) error {
	var l limiter
	var first time.Time // of the events that no pass has followed; zero: none
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
			now := time.Now()
			if first.IsZero() {
				first = now
			}
			at := now.Add(quietTime)
			if last := first.Add(quietAtMost); at.After(last) {
				at = last
			}
			if next := l.next(); at.Before(next) {
				at = next
			}
			wake.Reset(at.Sub(now))
		case <-wake.C:
			first = time.Time{}
			steps, err := pass(ctx)
			if err != nil && fatal(err) {
				return err
			}
			if steps > 0 && l.wrote(time.Now()) {
				conflict()
			}
			wake.Reset(resyncTime)
		}
	}
}

// A limiter decides when the next write may be. The zero limiter has seen no write.
type limiter struct {
	writes  []time.Time // of the last minute
	limited bool
}

// wrote notes a write. It reports whether it is the one that begins a conflict.
func (l *limiter) wrote(now time.Time) (begins bool) {
	if n := len(l.writes); n > 0 && now.Sub(l.writes[n-1]) >= conflictOver {
		*l = limiter{}
	}
	l.writes = append(l.writes, now)
	for now.Sub(l.writes[0]) > conflictWindow {
		l.writes = l.writes[1:]
	}
	begins = !l.limited && len(l.writes) >= conflictWrites
	l.limited = l.limited || begins
	return begins
}

// next returns the time before which nothing is written; zero: at once.
func (l *limiter) next() time.Time {
	if !l.limited {
		return time.Time{}
	}
	return l.writes[len(l.writes)-1].Add(conflictPause)
}

// wakes reports whether an event is one to read the files of directories after. Those of temporary
// files are not: a write that fails, as on a full disk, would be tried again at once and for ever.
func wakes(e fsnotify.Event, dirs []string) bool {
	theirs := slices.Contains(dirs, e.Name) || slices.Contains(dirs, filepath.Dir(e.Name))
	return theirs && !isTemp(e.Name)
}

// notify returns a channel that gets a value after changes in the directories, until ctx
// ends. The directories above tell of one that comes back after it was removed. Without inotify it
// never gets one; the error says why.
func notify(ctx context.Context, dirs func() []string) (<-chan struct{}, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	add := func() error {
		var errs []error
		for _, d := range dirs() {
			for _, path := range []string{d, filepath.Dir(d)} {
				if err := w.Add(path); err != nil {
					errs = append(errs, fmt.Errorf("inotify of %s: %w", path, err))
				}
			}
		}
		return errors.Join(errs...)
	}
	err = add()
	events := make(chan struct{}, 1)
	go func() {
		defer w.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-w.Events:
				if !wakes(e, dirs()) {
					continue
				}
			case _, ok := <-w.Errors: // some events were lost
				if !ok {
					return
				}
			}
			_ = add() // directories that are new; that it fails was said before
			select {
			case events <- struct{}{}:
			default: // one waits already
			}
		}
	}()
	return events, err
}
