package main

import (
	"errors"
	"os"
)

// A log takes what programs write to stderr: a pipe that is read at once, as a container runtime
// has it.
type log struct {
	stderr *os.File
	tail   chan []byte // the last of it, once stderr is closed
}

func openLog() (*log, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	l := &log{to, make(chan []byte, 1)}
	go func() {
		defer from.Close()
		const most = 2000
		var tail []byte
		for buffer := make([]byte, 1<<16); ; {
			n, err := from.Read(buffer)
			tail = append(tail, buffer[:n]...)
			tail = append([]byte(nil), tail[max(0, len(tail)-most):]...)
			if err != nil {
				l.tail <- tail
				return
			}
		}
	}()
	return l, nil
}

// last returns the last that was written, and begins anew. No program may run.
func (l *log) last() ([]byte, error) {
	err := l.stderr.Close()
	text := <-l.tail
	next, cannot := openLog()
	if cannot == nil {
		*l = *next
	}
	return text, errors.Join(err, cannot)
}
