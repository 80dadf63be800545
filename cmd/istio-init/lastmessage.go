package main

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"

	"istio-init/cmd/logging"
)

const (
	// terminationLog is the file whose text "kubectl describe pod" shows of a container that
	// has ended, unless its terminationMessagePath names another.
	terminationLog = "/dev/termination-log"
	// mostMessage is the longest text in bytes: a pod has 12 KiB for those of all its containers.
	mostMessage = 2048
)

// leaveLastMessage writes the last message, or logs at level debug why it could not be written.
func leaveLastMessage(log *logging.Logger, command, text string) {
	if err := writeLastMessage(command, text); err != nil {
		log.Debug("the error is not in the termination log", logging.Error(err))
	}
}

// writeLastMessage writes the error of an apply or a clean to the termination log, if this is
// process 1 of its PID namespace, as in an init container. A command that somebody runs in
// the container of another program is not, so it leaves the last message of that alone.
func writeLastMessage(command, text string) error {
	if os.Getpid() != 1 || !leavesLastMessage(command) {
		return nil
	}
	file, err := os.OpenFile(terminationLog, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	kind, err := file.Stat()
	if err != nil {
		return err
	}
	if !kind.Mode().IsRegular() {
		return errors.New(terminationLog + " is not a regular file")
	}
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err = file.WriteString(cutMessage(text))
	return err
}

// leavesLastMessage reports whether a command is one that a container is started for.
func leavesLastMessage(command string) bool {
	return command == applyCommand || command == cleanCommand
}

// cutMessage returns as many whole lines as fit, or the beginning of the first.
func cutMessage(text string) string {
	const gap = "..."
	if len(text) < mostMessage {
		return text + "\n"
	}
	end := mostMessage - len(gap) - 1
	if line := strings.LastIndexByte(text[:end+1], '\n'); line > 0 {
		return text[:line+1] + gap + "\n"
	}
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + gap + "\n"
}
