// Command bare runs a program and prints the maximum resident memory, in KB, of that program
// and its children. Benchmarks use it because Linux counts the memory of the parent at
// fork for a child, and this program uses little.
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
