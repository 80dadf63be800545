package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// A Target is the node that is changed.
type Target struct {
	Dirs     Directories
	Runtimes []string // programs of container runtimes, where they can be read
}

// Run reads the node, plans, and makes the steps of the plan; done is called after each. A
// plan that another program's writes made stale is made anew, five times at most. Of several
// runs for one directory the others wait.
func (t Target) Run(ctx context.Context, plan func(Node) (Plan, error), done func(Step)) (Plan, error) {
	unlock, err := lock(ctx, t.Dirs.Conf, syscall.LOCK_EX)
	if err != nil {
		return Plan{}, err
	}
	defer unlock()
	const attempts = 5
	var p Plan
	for range attempts {
		node, err := ReadNode(t.Dirs, t.Runtimes)
		if err != nil {
			return p, err
		}
		if p, err = plan(node); err != nil {
			return p, err
		}
		if err = makeSteps(ctx, p.Steps, done); !errors.Is(err, ErrChanged) {
			return p, err
		}
	}
	return p, fmt.Errorf("%d attempts: %w", attempts, ErrChanged)
}

func makeSteps(ctx context.Context, steps []Step, done func(Step)) error {
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("before the step %q: %w", s, err)
		}
		if err := s.Do(); err != nil {
			return err
		}
		done(s)
	}
	return nil
}

// Read reads the node as it is between runs.
func (t Target) Read(ctx context.Context) (Node, error) {
	unlock, err := lock(ctx, t.Dirs.Conf, syscall.LOCK_SH)
	if err != nil {
		return Node{}, err
	}
	defer unlock()
	return ReadNode(t.Dirs, t.Runtimes)
}

// lock waits until no other run changes a directory, or ctx ends; how is LOCK_EX or LOCK_SH of
// flock(2). The kernel releases the lock of a process that ends.
func lock(ctx context.Context, path string, how int) (unlock func(), err error) {
	d, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("directory of configurations: %w; --platform or --cni-conf-dir names another", err)
	case err != nil:
		return nil, fmt.Errorf("directory of configurations: %w", err)
	}
	locked := make(chan error)
	go func() {
		err := error(syscall.EINTR)
		for errors.Is(err, syscall.EINTR) {
			err = syscall.Flock(int(d.Fd()), how)
		}
		select {
		case locked <- err:
		case <-ctx.Done(): // nobody waits any more
			d.Close()
		}
	}()
	select {
	case err = <-locked:
	case <-ctx.Done(): // the call goes on until the lock is free or the program ends
		return nil, fmt.Errorf("wait for another run in %s: %w", path, context.Cause(ctx))
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { d.Close() }, nil
}
