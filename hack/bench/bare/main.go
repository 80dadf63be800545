// Command bare runs a program and prints the largest resident memory, in KB, of that
// program and of those it starts. The benchmarks start it in their place: Linux counts
// for a child what its parent had in memory, and this program has little.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func main() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage) // of the program and all that it waited for
	fmt.Println(usage.Maxrss)
}
