package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestALastMessageIsCutAtALine(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("x", 99) + "\n"
	for _, tt := range []struct{ name, text, want string }{
		{"short", "a\nb", "a\nb\n"},
		{"full", strings.Repeat("x", mostMessage-1), strings.Repeat("x", mostMessage-1) + "\n"},
		{"lines", strings.Repeat(line, 30), strings.Repeat(line, 20) + "...\n"},
		{"one-line", strings.Repeat("x", mostMessage), strings.Repeat("x", mostMessage-4) + "...\n"},
		{"runes", strings.Repeat("é", mostMessage), strings.Repeat("é", (mostMessage-4)/2) + "...\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := cutMessage(tt.text)
			if got != tt.want || len(got) > mostMessage || !utf8.ValidString(got) {
				t.Errorf("%d bytes, want %d:\n%s", len(got), len(tt.want), got)
			}
		})
	}
}
