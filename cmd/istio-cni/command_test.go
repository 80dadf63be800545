package main

import "testing"

func TestHelpOfNoCommandIsAnError(t *testing.T) {
	for line, want := range map[string]int{"install": 0, "instal": 1, "": 0} {
		args := []string{"help"}
		if line != "" {
			args = append(args, line)
		}
		if got := runCommand(t.Context(), args); got != want {
			t.Errorf("help %s: exit code %d, want %d", line, got, want)
		}
	}
}
