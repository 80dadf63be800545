package netutil

import "errors"

// An Undo takes back what a function changed. It is nil when nothing was changed.
// A function that fails half-way returns one with its error.
type Undo func() error

// then returns the undo of what u undoes and of a later step, the later one first.
func (u Undo) then(later func() error) Undo {
	if u == nil {
		return later
	}
	return func() error { return errors.Join(later(), u()) }
}
