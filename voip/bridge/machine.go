package bridge

import (
	"net"

	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
)

// machineNet is the machine's network as it is now. Pion's own remembers the interfaces that
// there were when a call began, so that it would go on telling the peer of addresses that
// are gone, by TCP.
type machineNet struct {
	*stdnet.Net
	list func() ([]*transport.Interface, error)
}

func newMachineNet() (machineNet, error) {
	n, err := stdnet.NewNet()
	return machineNet{n, interfacesNow}, err
}

// Interfaces is that of transport.Net.
func (n machineNet) Interfaces() ([]*transport.Interface, error) { return n.list() }

// interfacesNow lists the interfaces with their addresses.
func interfacesNow() ([]*transport.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var list []*transport.Interface
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		one := transport.NewInterface(i)
		for _, a := range addrs {
			one.AddAddress(a)
		}
		list = append(list, one)
	}
	return list, nil
}
