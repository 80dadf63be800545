// Command bare runs programs at the same time and waits for them, as little as a
// Go program can do:
//
//	bare FILE PROGRAM ARGUMENT... [, FILE PROGRAM ARGUMENT...]
//
// Each reads its file. What it prints is the largest resident memory of one of
// them, or of what they started, in KB.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(words []string) error {
	var running []*exec.Cmd
	for len(words) > 1 {
		end := slices.Index(words, ",")
		if end < 0 {
			end = len(words)
		}
		cmd := exec.Command(words[1], words[2:end]...)
		file, err := os.Open(words[0])
		if err != nil {
			return err
		}
		cmd.Stdin, cmd.Stderr = file, os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		running = append(running, cmd)
		words = words[min(end+1, len(words)):]
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%s: %w", cmd.Path, err)
		}
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &usage); err != nil {
		return err
	}
	_, err := fmt.Println(usage.Maxrss)
	return err
}
