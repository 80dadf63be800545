package install

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"istio-init/test/kernel"
)

// TestEventsThatFollowEachOtherAreOnePass: and a stream of events without a pause does not
// hold a pass back for ever.
func TestEventsThatFollowEachOtherAreOnePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events := make(chan struct{})
		var passes []time.Duration
		begin := time.Now()
		go func() {
			time.Sleep(time.Second)
			for range 50 { // 5 s
				events <- struct{}{}
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(time.Second)
			cancel()
		}()
		pass := func(context.Context) (int, error) {
			passes = append(passes, time.Since(begin).Round(100*time.Millisecond))
			return 0, nil
		}
		if err := Watch(ctx, events, pass, lasting, t.FailNow); err != nil {
			t.Error(err)
		}
		if len(passes) < 3 || len(passes) > 4 || passes[0] != 0 || passes[1] != 3*time.Second {
			t.Errorf("passes after %v", passes)
		}
	})
}

func TestAWatchEndsWhereADirectoryCannotBeWritten(t *testing.T) {
	pass := func(context.Context) (int, error) { return 0, os.ErrPermission }
	if err := Watch(t.Context(), nil, pass, lasting, t.FailNow); !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v", err)
	}
}

// lines are what a log is given.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// TestAWatchRepairsWhatAnotherProgramChanges uses inotify. It waits for lines of the log.
func TestAWatchRepairsWhatAnotherProgramChanges(t *testing.T) {
	target := newTarget(t, nil)
	log := make(lines)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- runner{target: target, stderr: log}.watch(ctx, installing(Insert))
		close(log)
	}()
	path := filepath.Join(target.Dirs.Conf, "10-a.conflist")
	for _, line := range []string{ErrNoMain.Error(), "write " + path, "write " + path} {
		for l := range log {
			if strings.Contains(l, line) {
				break
			}
		}
		if err := os.WriteFile(path, []byte(twoPlugins), 0o640); err != nil { // as a main plugin does
			t.Fatal(err)
		}
	}
	for !hasEntry(path) {
		if _, more := <-log; !more {
			t.Fatal(<-ended)
		}
	}
	cancel()
	for range log { // until the end
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := loaded(t, target); !slices.Contains(got, pluginType) {
		t.Errorf("the end of the watch removed the entry: %v", got)
	}
}

// TestAWriteThatFailsIsNoEvent: a watch on a full disk would try it again at once.
func TestAWriteThatFailsIsNoEvent(t *testing.T) {
	kernel.Need(t)
	target := newTarget(t, texts(map[string]string{"10-a.conflist": twoPlugins}))
	if err := syscall.Mount("none", target.Dirs.Bin, "tmpfs", 0, "size=4k"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(target.Dirs.Bin, 0) })
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := errors.Join(w.Add(target.Dirs.Bin), w.Add(target.Dirs.Conf)); err != nil {
		t.Fatal(err)
	}
	large := Wanted{Entry: []byte(DefaultEntry), Binary: make([]byte, 1<<20), Method: Insert}
	_, err = target.Run(t.Context(), func(n Node) (Plan, error) { return PlanInstall(n, large) }, func(Step) {})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	end := filepath.Join(target.Dirs.Conf, "end")
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for e := range w.Events {
		if e.Name == end {
			break
		}
		if wakes(e, target.watched()) {
			t.Errorf("event %s", e)
		}
	}
}

// TestOnlyTheDirectoriesAreReadAgain: those above have files of others, such as logs.
func TestOnlyTheDirectoriesAreReadAgain(t *testing.T) {
	t.Parallel()
	dirs := Target{Dirs: Directories{Bin: "/opt/cni/bin/", Conf: "/etc/cni/net.d"}}.watched()
	for path, want := range map[string]bool{
		"/etc/cni/net.d": true, "/etc/cni/net.d/10-a.conflist": true, "/opt/cni/bin": true, "/opt/cni/bin/istio-cni": true,
		"/etc/cni/log": false, "/opt/cni/bin.old": false, "/etc/cni/net.d/.istio-cni-7.tmp": false,
	} {
		if got := wakes(fsnotify.Event{Name: path, Op: fsnotify.Create}, dirs); got != want {
			t.Errorf("%s: %t, want %t", path, got, want)
		}
	}
}

// TestADirectoryThatComesBackIsWatched: its own watch ends with it.
func TestADirectoryThatComesBackIsWatched(t *testing.T) {
	target := newTarget(t, nil)
	events, err := notify(t.Context(), target.watched)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func() error{
		func() error { return os.Remove(target.Dirs.Conf) },
		func() error { return os.Mkdir(target.Dirs.Conf, 0o755) },
		func() error { return os.WriteFile(filepath.Join(target.Dirs.Conf, "10-a.conflist"), nil, 0o600) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		<-events
	}
}

// TestAWatchEndsWhereItsMountIsOfADirectoryThatWasRemoved: a container that starts again has the
// new directory.
func TestAWatchEndsWhereItsMountIsOfADirectoryThatWasRemoved(t *testing.T) {
	kernel.Need(t)
	target := newTarget(t, nil)
	source := target.Dirs.Conf
	target.Dirs.Conf = t.TempDir()
	if err := syscall.Mount(source, target.Dirs.Conf, "", syscall.MS_BIND, ""); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(target.Dirs.Conf, 0) })
	if err := os.Remove(source); err != nil {
		t.Fatal(err)
	}
	err := runner{target: target, stderr: io.Discard}.watch(t.Context(), installing(Insert))
	if !errors.Is(err, ErrRemoved) || !strings.Contains(err.Error(), target.Dirs.Conf) {
		t.Errorf("%v", err)
	}
}

func hasEntry(path string) bool {
	text, err := os.ReadFile(path)
	l, bad := parseList(text)
	return err == nil && bad == nil && len(l.ours()) > 0
}

// TestARuntimeReadsItsConfigurationsAgainAfterADropInFile: containerd does after each event but
// those of new files and of modes, CRI-O after each but those of removed files. Both watch only
// the directory above.
func TestARuntimeReadsItsConfigurationsAgainAfterADropInFile(t *testing.T) {
	target := newTarget(t, texts(map[string]string{"10-a.conflist": twoPlugins}))
	if err := os.Mkdir(filepath.Join(target.Dirs.Conf, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(target.Dirs.Conf); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(target.Dirs.Conf, "net", dropInName)
	entry := []byte(DefaultEntry)
	for _, c := range []struct {
		step             Step
		containerd, crio fsnotify.Op // events after the change that they read after
	}{
		{WriteFile{Path: path, Content: entry, Mode: 0o600, UID: -1, Temp: target.Dirs.Conf}, fsnotify.Rename, fsnotify.Rename},
		{RemoveFile{Path: path, Temp: target.Dirs.Conf, Was: entry}, fsnotify.Remove, fsnotify.Create},
	} {
		if err := c.step.Do(); err != nil {
			t.Fatal(err)
		}
		end := filepath.Join(target.Dirs.Conf, "end")
		if err := os.WriteFile(end, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var seen fsnotify.Op
		for e := range w.Events {
			if e.Name == end {
				break
			}
			seen |= e.Op
		}
		if err := os.Remove(end); err != nil {
			t.Fatal(err)
		}
		for e := range w.Events {
			if e.Name == end && e.Has(fsnotify.Remove) {
				break
			}
		}
		if !seen.Has(c.containerd) || !seen.Has(c.crio) {
			t.Errorf("%s: events %s", c.step, seen)
		}
	}
}
