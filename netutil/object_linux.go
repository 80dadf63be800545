package netutil

import (
	"encoding/binary"
	"iter"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// listed are the objects of a routing listing: of each its fixed part of that many
// bytes, and its attributes.
func listed(what, family, fixed int) ([]object, error) {
	req := nl.NewNetlinkRequest(what, unix.NLM_F_DUMP)
	head := make([]byte, fixed)
	head[0] = byte(family)
	req.AddRawData(head)
	answers, err := complete(func() ([][]byte, error) { return execute(req, unix.NETLINK_ROUTE) })
	if err != nil {
		return nil, err
	}
	var objects []object
	for _, a := range answers {
		if len(a) >= fixed {
			objects = append(objects, object{a[:fixed], a[fixed:]})
		}
	}
	return objects, nil
}

// An object is one of a listing.
type object struct{ fixed, attrs []byte }

// attr returns the value of an attribute; nil when it is not there.
func (o object) attr(kind int) []byte { return attribute(o.attrs, kind) }

// number returns the value of an attribute of 32 bits; 0 when it is not there.
func (o object) number(kind int) uint32 {
	if value := o.attr(kind); len(value) == 4 {
		return binary.NativeEndian.Uint32(value)
	}
	return 0
}

// attribute finds the value of an attribute among others; nil when it is not there.
func attribute(attrs []byte, kind int) []byte {
	for k, value := range attributes(attrs) {
		if k == kind {
			return value
		}
	}
	return nil
}

// attributes returns the attributes, up to one that is cut off: their kinds and values.
func attributes(attrs []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for len(attrs) >= unix.SizeofNlAttr {
			size := int(binary.NativeEndian.Uint16(attrs))
			if size < unix.SizeofNlAttr || size > len(attrs) {
				return
			}
			kind := binary.NativeEndian.Uint16(attrs[2:]) & nl.NLA_TYPE_MASK
			if !yield(int(kind), attrs[unix.SizeofNlAttr:size]) {
				return
			}
			attrs = attrs[min(len(attrs), (size+3)&^3):]
		}
	}
}

// cString is a value that is a C string.
func cString(value []byte) string {
	for len(value) > 0 && value[len(value)-1] == 0 {
		value = value[:len(value)-1]
	}
	return string(value)
}
