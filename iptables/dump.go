package iptables

import (
	"fmt"
	"iter"
	"slices"

	"istio-init/netutil/inet"
)

// A Dump is what people paste of the rules of a network namespace. The zero Dump has
// nothing.
type Dump struct {
	States inet.PerFamily[Snapshot]
	Has    inet.PerFamily[bool] // the families that are in it; of others nothing is known
	Gaps   []Gap                // why it may not be the state of the namespace
	Edits  []Edit               // what was changed so that it could be read
}

// A Gap is why a dump may not be the state of its namespace.
type Gap struct {
	Kind     GapKind
	Families []inet.Family // that it is about
	Tables   []string      // that it is about
	Line     int           // where it was seen; 0: nowhere
	Program  string        // whose output is not read
}

// A GapKind is what is not known.
type GapKind uint8

// The kinds of gaps.
const (
	MissingFamily GapKind = iota + 1
	MissingTables         // the tables are not in the dump, which has not all
	CutSave               // the tables are not in the dump, of which an end is missing
	OtherVariant          // the legacy variant has rules too
	UnknownFamily         // of which family the table is
	RestoreInput          // the table is what iptables-restore was to add
	OtherOutput           // the output of the program is not read
)

// About reports whether a gap is about a family.
func (d Gap) About(f inet.Family) bool { return slices.Contains(d.Families, f) }

// ParseDump reads what iptables-save and ip6tables-save print, or iptables -S, as people
// paste it: one of them or several, in any order, with or without counters, indented or
// behind the prefix of a log, with the line ends of Windows, and with other text between
// the tables, such as a prompt or the fence of a code block. An error is a [*DumpError].
//
// Which family a table is of is said by the program that is named above it, or
// else by the addresses in its rules, or else by the other tables of the same
// save, which has each table once; where nothing tells, it is IPv4.
func ParseDump(text string) (Dump, error) {
	var d Dump
	for f := range d.States {
		d.States[f].Family = inet.Family(f)
	}
	r, edits, err := readDump(text)
	if err != nil {
		return d, err
	}
	if r.empty() {
		return d, r.nothing()
	}
	d.Edits, d.Has = edits, r.named
	of := make([]inet.Family, 0, len(r.parts)) // the family of each part
	for save := range saves(r.parts) {
		f := inet.IPv4
		if i := slices.IndexFunc(save, func(p dumpPart) bool { return p.known }); i >= 0 {
			f = save[i].Family
		}
		for _, p := range save {
			of = append(of, f)
			if err := d.add(f, p); err != nil {
				return d, err
			}
		}
	}
	d.addGaps(r, of)
	return d, nil
}

// add adds a part of the dump to the state of its family.
func (d *Dump) add(f inet.Family, p dumpPart) error {
	have := &d.States[f]
	for _, t := range p.Tables {
		if have.has(t.Name) {
			return &DumpError{p.line, "*" + t.Name, fmt.Sprintf("the %s table %s is there twice: give one variant or namespace at a time", f, t.Name)}
		}
		t.readRules(f)
		have.reword(t)
		have.Tables = append(have.Tables, t)
	}
	have.Unreadable = append(have.Unreadable, p.Unreadable...)
	have.Incomplete = append(have.Incomplete, p.Incomplete...)
	d.Has[f] = d.Has[f] || len(p.Tables)+len(p.Unreadable) > 0
	return nil
}

// empty reports whether there is no table.
func (r *dumpReader) empty() bool {
	return !slices.ContainsFunc(r.parts, func(p dumpPart) bool { return len(p.Tables)+len(p.Unreadable) > 0 })
}

// nothing says what a text is that has no table.
func (r *dumpReader) nothing() error {
	switch {
	case len(r.other) > 0:
		return &r.other[0].DumpError
	case r.prefixed != nil:
		return r.prefixed
	}
	return &DumpError{Reason: isNothing}
}

// saves parts the tables of a dump by the runs of a program that printed them: a
// table that is there again, or one of the other family, begins another.
func saves(parts []dumpPart) iter.Seq[[]dumpPart] {
	return func(yield func([]dumpPart) bool) {
		start, seen := 0, dumpPart{} // seen is what the current save has
		for i, p := range parts {
			again := slices.ContainsFunc(p.Tables, func(t LiveTable) bool { return seen.has(t.Name) })
			if again || p.known && seen.known && p.Family != seen.Family {
				if !yield(parts[start:i]) {
					return
				}
				start, seen = i, dumpPart{}
			}
			seen.Tables = append(seen.Tables, p.Tables...)
			if p.known {
				seen.Family, seen.known = p.Family, true
			}
		}
		yield(parts[start:])
	}
}
