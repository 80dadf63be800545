package iptables

import (
	"slices"

	"istio-init/netutil/inet"
)

// addGaps adds what the dump does not tell; of gives the family of each part.
func (d *Dump) addGaps(r *dumpReader, of []inet.Family) {
	for _, f := range inet.Families {
		one := []inet.Family{f}
		if r.warned[f] > 0 {
			d.Gaps = append(d.Gaps, Gap{Kind: OtherVariant, Families: one, Line: r.warned[f]})
		}
		if !d.Has[f] {
			d.Gaps = append(d.Gaps, Gap{Kind: MissingFamily, Families: one})
			continue
		}
		var parts []dumpPart
		for i, p := range r.parts {
			if of[i] == f && len(p.Tables) > 0 {
				parts = append(parts, p)
			}
		}
		if len(parts) == 0 { // its program printed nothing
			continue
		}
		if missing := d.States[f].missingTables(); len(missing) > 0 {
			switch cut := isCut(parts); {
			case cut:
				d.Gaps = append(d.Gaps, Gap{Kind: CutSave, Families: one, Tables: missing})
			case !isWhole(parts):
				d.Gaps = append(d.Gaps, Gap{Kind: MissingTables, Families: one, Tables: missing})
			}
		}
		for _, p := range parts {
			if p.implied {
				d.Gaps = append(d.Gaps, Gap{Kind: RestoreInput, Families: one, Tables: p.TableNames(), Line: p.line})
			}
		}
	}
	for i, p := range r.parts {
		if len(p.Tables) > 0 && d.familyIsOpen(r.parts, of, i) {
			d.Gaps = append(d.Gaps, Gap{Kind: UnknownFamily, Families: inet.Families[:], Tables: p.TableNames(), Line: p.line})
		}
	}
	for _, o := range r.other {
		if o.program != "" {
			d.Gaps = append(d.Gaps, Gap{Kind: OtherOutput, Families: inet.Families[:], Line: o.Line, Program: o.program})
		}
	}
}

// missingTables are those that the kernel may have and the state has not. Almost nobody has
// the table security.
func (s Snapshot) missingTables() []string {
	return slices.DeleteFunc(slices.Clone(Tables), func(t string) bool {
		return t == Security || s.has(t) || slices.Contains(s.Unreadable, t)
	})
}

// isCut reports whether the comment above a save or the one below it is missing.
func isCut(parts []dumpPart) bool {
	begun, ended := false, false
	for _, p := range parts {
		if p.generated {
			begun, ended = true, false
		}
		ended = ended || p.completed
		if ended && !begun {
			return true
		}
	}
	return begun && !ended
}

// isWhole reports whether tables of a family are all that there are. A save prints each
// table that exists. One of a single table says that it has no others by the comments
// above and below it, or by the command.
func isWhole(parts []dumpPart) bool {
	printed := 0
	for _, p := range parts {
		if p.one || p.implied {
			continue
		}
		if p.whole || p.completed {
			return true
		}
		printed++
	}
	return printed > 1
}

// familyIsOpen reports whether a table without an address may be the last one of a save, or
// the first of the next, which is of the other family and has none of that name.
func (d *Dump) familyIsOpen(parts []dumpPart, of []inet.Family, i int) bool {
	if parts[i].known {
		return false
	}
	isKnown := func(p dumpPart) bool { return p.known }
	next := slices.IndexFunc(parts[i:], isKnown)
	if next < 0 || !slices.ContainsFunc(parts[:i], isKnown) {
		return false
	}
	other := parts[i+next]
	return !other.named && other.Family != of[i] && !slices.ContainsFunc(parts[i].TableNames(), d.States[other.Family].has)
}

// Compared returns the rules that can be compared with the dump: of the families and tables
// that are in it.
func (d Dump) Compared(want [len(inet.Families)]Ruleset) []Ruleset {
	var compared []Ruleset
	for _, rs := range want {
		if !d.Has[rs.Family] {
			continue
		}
		rs.Tables = slices.DeleteFunc(slices.Clone(rs.Tables), func(t Table) bool {
			return slices.ContainsFunc(d.Gaps, func(g Gap) bool {
				return (g.Kind == MissingTables || g.Kind == CutSave) && g.About(rs.Family) && slices.Contains(g.Tables, t.Name)
			})
		})
		compared = append(compared, rs)
	}
	return compared
}

// HasAnyOf reports whether some of the rules can be compared with the dump, or there are
// none.
func (d Dump) HasAnyOf(want [len(inet.Families)]Ruleset) bool {
	has := func(rs Ruleset) bool { return len(rs.Tables) > 0 }
	return !slices.ContainsFunc(want[:], has) || slices.ContainsFunc(d.Compared(want), has)
}
