package pod

import (
	"context"
	"fmt"
	"time"

	"istio-init/netutil"
)

// Options say how the engine works. The zero Options are for a run inside the pod.
type Options struct {
	NetNS   string // file or name of the network namespace; "": the current one
	Outside bool   // the run is on the node, whose lock file and name services are not used
	Force   Name   // the backend to use; "": the one that fits
	// OnlyListed leaves the legacy variant unread if its tables may not be listed: to read one by
	// name makes it (net/ipv4/netfilter/ip_tables.c, xt_find_table_lock), empty.
	OnlyListed bool
	Programs
}

// Programs say how the programs of iptables are run.
type Programs struct {
	Path     string           // where they are looked for before the system's directories, as PATH has it
	Env      []string         // variables they get besides those that are always the same
	LockFile string           // the lock of iptables-legacy, where Env names one
	Now      func() time.Time // the clock, by which the wait for that lock is bounded; nil: 20 seconds
}

// An Engine surveys a pod and plans its changes. It is a value; call it from one goroutine.
type Engine struct {
	Options
	Report func(Event)
}

// Locked calls change in the network namespace, alone among the runs of this program, with
// what the namespace has, and then calls after; nil: nothing. It calls change again, with what
// the namespace has then, where others have changed rules meanwhile.
func (e Engine) Locked(ctx context.Context, change func(context.Context, *Survey) error, after func(context.Context) error) error {
	return netutil.InNetNS(netutil.NetNSPath(e.NetNS), func() error {
		return e.amongFiles(func() error {
			lock, err := netutil.LockNetNS(ctx)
			if err != nil {
				return err
			}
			defer lock.Close()
			if err := e.settle(ctx, lock, change); err != nil || after == nil {
				return err
			}
			return after(ctx)
		})
	})
}

// amongFiles calls fn; on the node where the programs that it starts look users and groups
// up in files alone.
func (e Engine) amongFiles(fn func() error) error {
	if !e.Outside {
		return fn()
	}
	return netutil.WithoutNameServices(func(why error) error {
		if why != nil {
			e.Report(NameServices{why})
		}
		return fn()
	})
}

// A HostError says why a network namespace seems to be that of a machine.
type HostError struct{ Why string }

func (e *HostError) Error() string {
	return "this seems to be the network namespace of a machine and not of a pod: " + e.Why
}

// RefuseHost returns a [HostError] where the current network namespace seems to be that of
// a machine.
func RefuseHost() error {
	why, err := netutil.LooksLikeHost()
	switch {
	case err != nil:
		return fmt.Errorf("find out whether this is a pod: %w", err)
	case why != "":
		return &HostError{why}
	}
	return nil
}
