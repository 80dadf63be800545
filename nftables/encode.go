package nftables

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// A buffer takes netlink attributes, in the order in which the kernel dumps them and without
// NLA_F_NESTED, so that what is read equals what was sent.
type buffer []byte

// bytes appends an attribute.
func (b *buffer) bytes(kind int, value []byte) {
	start := b.open(kind)
	*b = append(*b, value...)
	b.close(start)
}

// open begins an attribute with others in it; close ends it.
func (b *buffer) open(kind int) (start int) {
	start = len(*b)
	*b = binary.NativeEndian.AppendUint16(append(*b, 0, 0), uint16(kind))
	return start
}

func (b *buffer) close(start int) {
	binary.NativeEndian.PutUint16((*b)[start:], uint16(len(*b)-start))
	for len(*b)%unix.NLA_ALIGNTO != 0 {
		*b = append(*b, 0)
	}
}

// nest appends an attribute with others in it.
func (b *buffer) nest(kind int, fill func()) {
	start := b.open(kind)
	fill()
	b.close(start)
}

// number appends an attribute of 32 bits, which nf_tables has in network byte order.
func (b *buffer) number(kind int, v uint32) {
	start := b.open(kind)
	*b = binary.BigEndian.AppendUint32(*b, v)
	b.close(start)
}

// text appends a C string.
func (b *buffer) text(kind int, s string) { b.bytes(kind, append([]byte(s), 0)) }

// data appends a value to compare with or to load.
func (b *buffer) data(kind int, value []byte) {
	b.nest(kind, func() { b.bytes(unix.NFTA_DATA_VALUE, value) })
}

// An expression is one operation of a rule.
type expression struct {
	name string
	data string // attributes, without those that name the set
	set  *set   // of a lookup
}

// express returns an expression with numbers as attributes: kind, value and so on.
func express(name string, attrs ...uint32) expression {
	b := make(buffer, 0, 4*len(attrs))
	for i := 0; i < len(attrs); i += 2 {
		b.number(int(attrs[i]), attrs[i+1])
	}
	return expression{name: name, data: string(b)}
}

// with adds a value to an expression.
func (e expression) with(kind int, value []byte) expression {
	b := buffer(e.data)
	b.data(kind, value)
	e.data = string(b)
	return e
}

// append adds the expression to a rule. A set is named by its number in the batch.
func (e expression) append(b *buffer, set uint32) {
	b.nest(unix.NFTA_LIST_ELEM, func() {
		b.text(unix.NFTA_EXPR_NAME, e.name)
		b.nest(unix.NFTA_EXPR_DATA, func() {
			if e.set == nil {
				*b = append(*b, e.data...)
				return
			}
			b.text(unix.NFTA_LOOKUP_SET, anonymous)
			b.number(unix.NFTA_LOOKUP_SREG, reg1)
			b.number(unix.NFTA_LOOKUP_SET_ID, set)
			*b = append(*b, e.data...)
		})
	})
}

// anonymous is the name of a set that the kernel numbers.
const anonymous = "__set%d"

// Two registers are enough.
const (
	reg1 = unix.NFT_REG_1
	reg2 = unix.NFT_REG_2
)

// The expressions that the rules are made of (linux/netfilter/nf_tables.h).

func meta(key uint32) expression {
	return express("meta", unix.NFTA_META_KEY, key, unix.NFTA_META_DREG, reg1)
}

func setMark() expression {
	return express("meta", unix.NFTA_META_KEY, unix.NFT_META_MARK, unix.NFTA_META_SREG, reg1)
}

func conntrack(key uint32) expression {
	return express("ct", unix.NFTA_CT_DREG, reg1, unix.NFTA_CT_KEY, key)
}

func setConntrack(key uint32) expression {
	return express("ct", unix.NFTA_CT_SREG, reg1, unix.NFTA_CT_KEY, key)
}

// setOriginalZone sets the conntrack zone of the original direction.
func setOriginalZone() expression {
	b := buffer(setConntrack(unix.NFT_CT_ZONE).data)
	b.bytes(unix.NFTA_CT_DIRECTION, []byte{0})
	return expression{name: "ct", data: string(b)}
}

func payload(base, offset, length uint32) expression {
	return express("payload", unix.NFTA_PAYLOAD_DREG, reg1, unix.NFTA_PAYLOAD_BASE, base,
		unix.NFTA_PAYLOAD_OFFSET, offset, unix.NFTA_PAYLOAD_LEN, length)
}

func compare(op uint32, value []byte) expression {
	return express("cmp", unix.NFTA_CMP_SREG, reg1, unix.NFTA_CMP_OP, op).with(unix.NFTA_CMP_DATA, value)
}

func inRange(neg bool, lo, hi []byte) expression {
	op := uint32(unix.NFT_RANGE_EQ)
	if neg {
		op = unix.NFT_RANGE_NEQ
	}
	return express("range", unix.NFTA_RANGE_SREG, reg1, unix.NFTA_RANGE_OP, op).
		with(unix.NFTA_RANGE_FROM_DATA, lo).with(unix.NFTA_RANGE_TO_DATA, hi)
}

// mask keeps the bits of a mask.
func mask(bits []byte) expression {
	const attrOp = 6 // NFTA_BITWISE_OP, 0: mask and xor. Kernels before 5.6 do not know it, and no other operation
	return expression{name: "bitwise", data: bitwise(bits, attrOp, 0)}
}

// bitwise returns the attributes of an expression that keeps bits; op are more of them.
func bitwise(bits []byte, op ...uint32) string {
	attrs := []uint32{unix.NFTA_BITWISE_SREG, reg1, unix.NFTA_BITWISE_DREG, reg1, unix.NFTA_BITWISE_LEN, uint32(len(bits))}
	return express("", append(attrs, op...)...).with(unix.NFTA_BITWISE_MASK, bits).with(unix.NFTA_BITWISE_XOR, make([]byte, len(bits))).data
}

// networkOrder turns a number of 32 bits around, so that ranges of it can be compared.
func networkOrder() expression {
	return express("byteorder", unix.NFTA_BYTEORDER_SREG, reg1, unix.NFTA_BYTEORDER_DREG, reg1,
		unix.NFTA_BYTEORDER_OP, unix.NFT_BYTEORDER_HTON, unix.NFTA_BYTEORDER_LEN, 4, unix.NFTA_BYTEORDER_SIZE, 4)
}

func load(value []byte) expression {
	return express("immediate", unix.NFTA_IMMEDIATE_DREG, reg1).with(unix.NFTA_IMMEDIATE_DATA, value)
}

// lookup looks for the register in a set.
func lookup(neg bool, s *set) expression {
	flags := uint32(0)
	if neg {
		flags = 1 // NFT_LOOKUP_F_INV
	}
	e := express("lookup", unix.NFTA_LOOKUP_FLAGS, flags)
	e.set = s
	return e
}

// verdict ends a rule. The chain is that of a jump.
func verdict(code int32, chain string) expression {
	var b buffer
	b.number(unix.NFTA_IMMEDIATE_DREG, 0) // NFT_REG_VERDICT
	b.nest(unix.NFTA_IMMEDIATE_DATA, func() {
		b.nest(unix.NFTA_DATA_VERDICT, func() {
			b.number(unix.NFTA_VERDICT_CODE, uint32(code))
			if chain != "" {
				b.text(unix.NFTA_VERDICT_CHAIN, chain)
			}
		})
	})
	return expression{name: "immediate", data: string(b)}
}

func redirect() expression {
	const portGiven = 2 // NF_NAT_RANGE_PROTO_SPECIFIED
	return express("redir", unix.NFTA_REDIR_REG_PROTO_MIN, reg1, unix.NFTA_REDIR_REG_PROTO_MAX, reg1, unix.NFTA_REDIR_FLAGS, portGiven)
}

func tproxy(family uint8) expression {
	const attrFamily, attrPort = 1, 3 // NFTA_TPROXY_FAMILY, NFTA_TPROXY_REG_PORT
	return express("tproxy", attrFamily, uint32(family), attrPort, reg1)
}
