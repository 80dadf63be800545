package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"istio-init/test/kernel"
)

// attack is a foreign comment that clears a terminal and changes its title.
const attack = "\x1b[2J\x1b]0;title\x07\r\u009b8m\u202e"

// terminal returns both sides of a pseudoterminal.
func terminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err == nil {
		t.Cleanup(func() { _ = master.Close() })
		var number, locked uint32
		for request, value := range map[uintptr]*uint32{syscall.TIOCGPTN: &number, syscall.TIOCSPTLCK: &locked} {
			if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
				t.Fatal(errno)
			}
		}
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		if kernel.Required() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return master, tty
}

// shownOn runs the program with both outputs on a terminal and returns what the terminal gets.
func shownOn(t *testing.T, args ...string) string {
	t.Helper()
	master, tty := terminal(t)
	text := make(chan string)
	go func() {
		shown, _ := io.ReadAll(master) // EIO at the end
		text <- string(shown)
	}()
	execute(t.Context(), streams{args: args, stdin: strings.NewReader(""), stdout: tty, stderr: tty, env: func(string) (string, bool) { return "", false }})
	_ = tty.Close()
	return strings.ReplaceAll(<-text, "\r\n", "\n") // of the terminal
}

// TestForeignTextCannotChangeATerminal shows foreign rules by every command that shows any.
func TestForeignTextCannotChangeATerminal(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rules")
	rule := `-A OUTPUT -m comment --comment "` + attack + `" -j ACCEPT`
	dump := "*nat\n:OUTPUT ACCEPT [0:0]\n" + rule + "\nCOMMIT\n"
	if err := os.WriteFile(file, []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	escaped := strings.NewReplacer("\x1b", `\u001b`, "\x07", `\u0007`, "\r", `\u000d`, "\u009b", `\u009b`, "\u202e", `\u202e`).Replace(rule)
	for _, command := range []string{
		"explain --output save", "explain --output tree", "explain --output table", "explain --output json", "explain --output dot", "explain --output mermaid",
		"check", "check --output json", "check -i *", "trace --to 10.0.0.1:80", "trace --to 10.0.0.1:80 --output json",
	} {
		t.Run(strings.ReplaceAll(command, " ", "-"), func(t *testing.T) {
			t.Parallel()
			args := append([]string{programName}, strings.Fields(command)...)
			shown := shownOn(t, append(args, "--rules", file, "--ip-family", "ipv4", "-u", "1337")...)
			for _, bad := range []string{"\x1b[2J", "\x1b]", "\x07", "\r", "\u009b", "\u202e"} {
				if strings.Contains(shown, bad) {
					t.Errorf("the terminal gets %q:\n%q", bad, shown)
				}
			}
			if command == "explain --output save" && !strings.Contains(shown, escaped) {
				t.Errorf("want %q, got\n%q", escaped, shown)
			}
		})
	}
	var stdout strings.Builder
	code := execute(t.Context(), streams{
		args: []string{programName, "explain", "--output", "save", "--rules", file}, stdin: strings.NewReader(""),
		stdout: &stdout, stderr: &strings.Builder{}, env: func(string) (string, bool) { return "", false },
	})
	if code != 0 || !strings.Contains(stdout.String(), rule) {
		t.Errorf("no terminal: want the rule as it is, got exit code %d and\n%q", code, stdout.String())
	}
}

// TestTheLogIsSafe logs a value of a user in both forms of the log.
func TestTheLogIsSafe(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"--log_as_json=false", "--log_as_json"} {
		var stderr strings.Builder
		execute(t.Context(), streams{
			args: []string{programName, "check", "--rules", "-", form}, stdin: strings.NewReader("*nat\n" + attack + "\n"),
			stdout: &strings.Builder{}, stderr: &stderr, env: func(string) (string, bool) { return "", false },
		})
		if got := stderr.String(); !strings.Contains(got, "title") || strings.ContainsAny(got, attack[:1]+"\r\a\u009b\u202e") {
			t.Errorf("%s: %q", form, got)
		}
	}
}
