// Package executable writes the programs that tests start.
package executable

import (
	"os"
	"syscall"
)

// Write writes a program that can be started at once, also while other tests of the process start
// programs: no process inherits the file while it is open for writing, for which the kernel
// refuses to execute it (ETXTBSY, execve(2)).
func Write(path string, content []byte) error {
	const everybody = 0o755
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, everybody)
}
