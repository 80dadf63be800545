package options

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// Mistakes returns what is wrong with the arguments of a command besides the values of its
// flags: flags that do not exist or have no value, and arguments that are no flags. The flags
// that exist have their values afterwards, so that Parse returns what is wrong with these.
func (f *Flags) Mistakes(args []string) []error {
	args, wrong := f.twoDashes(args)
	for range args {
		for _, v := range f.values {
			v.reset()
		}
		err := f.set.Parse(args)
		unknown, is := errors.AsType[*pflag.NotExistError](err)
		if !is {
			wrong = append(wrong, f.refusal(err)...)
			break
		}
		name, short := unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames()
		text, like := f.unknown(name, short)
		wrong = append(wrong, errors.New(text))
		if short != "" && short[0] >= utf8.RuneSelf { // pflag cannot define it
			break
		}
		f.ignore(args, name, short != "", like != nil && !like.boolean)
	}
	if stray := f.set.Args(); len(stray) > 0 {
		before := f.before(args, stray[0])
		if before == nil || before.option.set != nil || before.option.group == groupRemoved { // else the value of an unknown flag
			wrong = append(wrong, fmt.Errorf("unexpected argument %s: %s", quote(stray[0]), f.place(before, stray[0])))
		}
	}
	return wrong
}

// twoDashes finds long flags with one dash, which pflag takes for several short ones, and
// returns the arguments with two.
func (f *Flags) twoDashes(args []string) (corrected []string, wrong []error) {
	corrected = slices.Clone(args)
	for i, arg := range args {
		if arg == "--" {
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && len(name) > 1 && f.set.Lookup(name) != nil {
			wrong = append(wrong, fmt.Errorf("-%s: a long flag has two dashes: --%[1]s", name))
			corrected[i] = "-" + arg
		}
	}
	return corrected, wrong
}

// ignore defines a flag that does not exist, so that the arguments behind it can be parsed. The
// next one is its value if it takes one.
func (f *Flags) ignore(args []string, name string, short, takesValue bool) {
	if i := slices.Index(args, "--"+name) + 1; i == 0 || i == len(args) || strings.HasPrefix(args[i], "-") {
		takesValue = false
	}
	value := &flagValue{option: &option{}}
	var flag *pflag.Flag
	if short {
		flag = f.set.VarPF(value, "-"+name, name, "")
	} else {
		flag = f.set.VarPF(value, name, "", "")
	}
	if flag.Hidden = true; !takesValue {
		flag.NoOptDefVal = "true"
	}
}

// refusal returns what else pflag refuses: a value that is missing, or the syntax.
func (f *Flags) refusal(err error) []error {
	missing, is := errors.AsType[*pflag.ValueRequiredError](err)
	switch {
	case err == nil:
		return nil
	case !is:
		return []error{errors.New(plain(err.Error()))}
	}
	value, is := missing.GetFlag().Value.(*flagValue)
	if !is || value.option.set == nil {
		return []error{err}
	}
	name := value.option.name(origin{kind: byFlag})
	text := name + ": its value is missing: want " + value.option.form.text
	if !value.option.refusesEmpty() {
		text += "; write an empty one as ''"
	}
	return []error{errors.New(text)}
}

// unknown returns the error of a flag that does not exist, and the option that may be meant. A
// short one has the letters that it was found in.
func (f *Flags) unknown(name, letters string) (text string, like *option) {
	text = "unknown flag --" + plain(name)
	if letters != "" {
		text = "unknown flag -" + plain(name)
		switch {
		case letters[0] >= utf8.RuneSelf:
			text = "unknown flag -" + plain(letters)
		case letters != name:
			text += " in -" + plain(letters)
		}
		name = letters
	}
	var own []*option
	for _, v := range f.values {
		if v.option.long != "" && v.option.group != groupRemoved {
			own = append(own, v.option)
		}
	}
	if like = nearest(name, own); like != nil {
		return text + " (did you mean --" + like.long + "?)", like
	}
	if slices.Contains([]string{"version", "v", "V"}, name) {
		return text + ": istio-init version prints the version, --log_output_level debug logs more", nil
	}
	var of []string
	for _, c := range commands {
		if i := slices.IndexFunc(c.own, func(o *option) bool { return o.long == name }); i >= 0 {
			of, like = append(of, c.name), c.own[i]
		}
	}
	if len(of) > 0 {
		return text + ": it is a flag of " + strings.Join(of, ", "), like
	}
	return text + ": see --help", nil
}

// place says of an argument that is no flag, and stands behind one, how it is given.
func (f *Flags) place(before *flagValue, stray string) string {
	isCommand := slices.ContainsFunc(commands, func(c Command) bool { return c.name == stray })
	number := stray != "" && strings.Trim(stray, "0123456789") == ""
	stray = plain(stray)
	on := map[string]string{"true": "true", "yes": "true", "on": "true", "1": "true", "false": "false", "no": "false", "off": "false", "0": "false"}[strings.ToLower(stray)]
	has := func(name string) bool { return f.set.Lookup(name) != nil }
	for _, v := range f.values {
		if strings.HasPrefix(v.value, "-") {
			return fmt.Sprintf("--%s has the value %s; is its own value missing? Write an empty one as ''", v.option.long, quote(v.value))
		}
	}
	switch {
	case strings.HasPrefix(stray, "–") || strings.HasPrefix(stray, "—"):
		return "it begins with a typographic dash: want - or --"
	case isCommand:
		return "the command is the first argument, as in istio-init " + stray + " -i '*'"
	case before != nil && before.option.boolean && on != "":
		return "write the value of a boolean flag with =, as in --" + before.option.long + "=" + on
	case before != nil && before.option.boolean && before.option.group != groupRemoved:
		return before.option.flag() + " is --" + before.option.long + ", which takes no value"
	case before != nil && before.option.long == "print-config" && slices.Contains(printNames[:], stray):
		return "write the format with =, as in --print-config=" + stray
	case before != nil && before.option.form.all:
		return fmt.Sprintf("write a list as one word, as in %s %s,%s, and * in quotes, as in %[1]s '*'", before.option.flag(), plain(strings.TrimRight(before.value, ",")), stray)
	case before != nil && before.option.form.list:
		return "write a list as one word, as in " + before.option.flag() + " " + plain(strings.TrimRight(before.value, ",")) + "," + stray
	case has("to") && isEndpoint(stray):
		return "the destination of the connection is --to, as in --to " + stray
	case has("rules") && number:
		return "the pod of a process is --network-namespace, as in --network-namespace /proc/" + stray + "/ns/net"
	case has("rules"):
		return "rules in a file are --rules, as in --rules " + stray
	case strings.HasSuffix(stray, ".yaml") || strings.HasSuffix(stray, ".yml") || strings.HasSuffix(stray, ".json"):
		return "a configuration file is --config, as in --config " + stray
	}
	return "want flags only; see --help"
}

// before returns the flag that an argument stands behind, perhaps with the value of the flag in
// between; nil if none.
func (f *Flags) before(args []string, stray string) *flagValue {
	i := len(args) - 1
	for i >= 0 && args[i] != stray {
		i--
	}
	for _, at := range []int{i - 1, i - 2} {
		if at < 0 || !strings.HasPrefix(args[at], "-") || len(args[at]) < 2 {
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(args[at], "-"), "=")
		flag := f.set.Lookup(name)
		if flag == nil && name != "" && !strings.HasPrefix(args[at], "--") {
			flag = f.set.ShorthandLookup(name[:1])
		}
		if flag == nil {
			return nil
		}
		value, _ := flag.Value.(*flagValue)
		if value == nil || hasValue || at == i-2 && flag.NoOptDefVal != "" {
			return nil
		}
		return value
	}
	return nil
}

// isEndpoint reports whether a word is a destination.
func isEndpoint(word string) bool {
	host, port, found := strings.Cut(word, ":")
	if _, err := netip.ParseAddr(withoutBrackets(word)); err == nil {
		return true
	}
	if _, err := netip.ParseAddrPort(word); err == nil {
		return true
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return found && err == nil && !strings.Contains(host, "/")
}

// plain returns a word of a command line for a message: quoted if it is long or does not print.
func plain(v string) string {
	const most = 100
	if len(v) <= most && utf8.ValidString(v) && !strings.ContainsFunc(v, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return v
	}
	return quote(v)
}
