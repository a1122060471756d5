package server

import (
	"net"
	"os"
	"path/filepath"
	"slices"
)

// sysNet is where Linux tells of network interfaces; one that is a device has a link of
// that name in its folder.
const sysNet = "/sys/class/net"

// networkUp says whether the machine has its network: an interface with a carrier and an
// address that others can reach. Interfaces that only exist in software (bridges, tunnels)
// do not count where there are real ones, since they stay up when the cable is pulled.
func networkUp() bool {
	all, err := net.Interfaces()
	if err != nil {
		return true // nothing is known, so nothing is alarming
	}
	var links []link
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			_, err := os.Stat(filepath.Join(sysNet, i.Name, "device"))
			links = append(links, link{err == nil, linked(i)})
		}
	}
	return anyLink(links)
}

// link is what matters of an interface.
type link struct{ real, up bool }

// anyLink says whether one that counts is up.
func anyLink(links []link) bool {
	isReal := slices.ContainsFunc(links, func(l link) bool { return l.real })
	return slices.ContainsFunc(links, func(l link) bool { return l.up && l.real == isReal })
}

// linked says whether an interface has a carrier and an address to be reached at.
func linked(i net.Interface) bool {
	if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
		return false
	}
	addresses, err := i.Addrs()
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return true
		}
	}
	return false
}
