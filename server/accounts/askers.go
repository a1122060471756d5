package accounts

import (
	"net/netip"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Asker is who gives a password, or has one hashed: a session that is signed in, or an address.
// The zero value is the server's owner at the machine itself.
type Asker struct {
	User   matrix.UserID   // empty: nobody is signed in
	Device matrix.DeviceID // of User
	IP     string
}

// from is what counts as the same asker, whoever it is: a device, or a network.
func (a Asker) from() string {
	if a.User != "" {
		return string(a.User) + "\x00" + string(a.Device)
	}
	return Network(a.IP)
}

// Network is what one household is taken to have: an IPv4 address, an IPv6 network of 64 bits,
// and at home, where addresses change, a network of 24 bits.
func Network(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	bits := 64
	switch a = a.Unmap().WithZone(""); {
	case a.Is4() && a.IsPrivate():
		bits = 24
	case a.Is4():
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ip
	}
	return p.String()
}

// isKnown says whether the password of a user is asked for from where the user has logged in
// with a device that is still there.
func (k *Keeper) isKnown(r kv.Reader, user matrix.UserID, by Asker) bool {
	if by.User != "" {
		return by.User == user
	}
	at := Network(by.IP)
	for _, d := range k.devices.Scan(r, kv.Prefix(user)) {
		from := d.LoginIP
		if from == "" {
			from = d.SeenIP // of an earlier release
		}
		if from != "" && Network(from) == at {
			return true
		}
	}
	return false
}
