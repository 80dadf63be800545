package main

import (
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	long := strings.Repeat("x", width)
	for _, tt := range []struct{ name, text, want string }{
		{"short", "a b\n", "a b\n"},
		{"as-wide-as-it-may-be", long + "\n", long + "\n"},
		{"one-long-word", long + "x\n", long + "x\n"},
		{"at-a-space", "a " + long[:50] + " " + long[:50] + "\n", "a " + long[:50] + " \\\n      " + long[:50] + "\n"},
		{"before-an-option", long[:50] + " -j " + long[:47] + "\n", long[:50] + " \\\n      -j " + long[:47] + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fold(tt.text); got != tt.want {
				t.Errorf("fold(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestAlign(t *testing.T) {
	rows := [][]string{{"A", "B"}, {"long", "", "x"}, {"", "b"}}
	const want = "A      B\nlong       x\n       b\n"
	if got := align(rows); got != want {
		t.Errorf("align(%q) = %q, want %q", rows, got, want)
	}
}
