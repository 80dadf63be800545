package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"istio-init/cmd/istio-init/report"
)

// An output is stdout, stderr or the file of the log. It may be a pipe: a write to it waits
// until somebody reads, and fails when the reader has gone.
type output struct {
	name  string
	to    io.Writer
	done  <-chan struct{} // ends the wait for a reader
	begun atomic.Bool     // a write
	stuck bool            // a write did not end
	err   error           // of the first write that failed
}

// lastWrite is for how long a write waits for its reader once the run has ended: what a
// rollback logs is still written.
const lastWrite = time.Second

var (
	errNotRead = errors.New("nobody reads it")
	// errReaderGone ends a run without a message: it is the usual end of "istio-init ... | head".
	errReaderGone = errors.New("its reader has gone")
)

func (o *output) Write(text []byte) (int, error) {
	o.begun.Store(true)
	if o.stuck {
		return 0, o.err
	}
	done := o.writeNow(text)
	if done == len(text) {
		return done, nil
	}
	written := make(chan error, 1)
	go func(text []byte) {
		_, err := o.to.Write(text)
		written <- err
	}(bytes.Clone(text[done:])) // its owner may reuse it after a write that did not end
	err := o.wait(written)
	if errors.Is(err, syscall.EPIPE) {
		err = errReaderGone
	}
	if err == nil {
		return len(text), nil
	}
	err = fmt.Errorf("write %s: %w", o.name, err)
	if o.err == nil {
		o.err = err
	}
	return 0, err
}

// writeNow writes as much as a file takes without waiting, and returns how much that is. No thread
// is woken for it, as for a write that may wait. Terminals, and pipes before Linux 6.4, take nothing.
func (o *output) writeNow(text []byte) (n int) {
	file, is := o.to.(*os.File)
	if !is {
		return 0
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return 0
	}
	const here = -1 // at the offset of the file
	err = conn.Control(func(fd uintptr) { n, _ = unix.Pwritev2(int(fd), [][]byte{text}, here, unix.RWF_NOWAIT) })
	if err != nil {
		return 0
	}
	return max(n, 0)
}

func (o *output) wait(written <-chan error) error {
	select {
	case err := <-written:
		return err
	case <-o.done:
	}
	select {
	case err := <-written:
		return err
	case <-time.After(lastWrite):
		o.stuck = true
		return errNotRead
	}
}

// A plainOutput is an output for text that may hold foreign rules, whose characters could
// change a terminal.
type plainOutput struct{ to io.Writer }

func (o plainOutput) Write(text []byte) (int, error) {
	if _, err := io.WriteString(o.to, report.Escape(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}
