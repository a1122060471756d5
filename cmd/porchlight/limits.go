package main

import "porchlight/server"

// limitFlags bound what others take of the machine.
type limitFlags struct {
	MaxConnections int   `help:"HTTP and HTTPS connections at once; 0 is 1,024." default:"0" placeholder:"N"`
	MaxPerAddress  int   `name:"max-connections-per-address" help:"Connections, and requests, of one address or IPv6 /64 at once; 0 is 128. This machine itself and the proxy of --trust-proxy are not counted." default:"0" placeholder:"N"`
	MaxBodies      int64 `name:"max-body-memory" help:"Bytes of request bodies in memory at once; 0 is 32 MiB." default:"0" placeholder:"BYTES"`
	MaxAnswers     int64 `name:"max-answer-memory" help:"Bytes of answers in memory at once; 0 is 48 MiB." default:"0" placeholder:"BYTES"`
	MinFree        int64 `name:"min-free" help:"Bytes of the disk that are kept for the owner, calls, and what gives room back; 0 is 64 MiB, -1 is none." default:"0" placeholder:"BYTES"`
	MaxRoomState   int64 `help:"Bytes of state of a room; 0 is 8 MiB, -1 is any number." default:"0" placeholder:"BYTES"`
	MaxAccountData int64 `help:"Bytes of account data of a user; 0 is 8 MiB, -1 is any number." default:"0" placeholder:"BYTES"`
	MaxInbox       int64 `name:"max-to-device" help:"Bytes of to-device messages that wait for a device; 0 is 16 MiB, -1 is any number." default:"0" placeholder:"BYTES"`
	MaxKeyBackup   int64 `help:"Bytes of keys of a key backup; 0 is 16 MiB, -1 is any number." default:"0" placeholder:"BYTES"`
	MaxDevices     int   `help:"Devices of a user; 0 is 200." default:"0" placeholder:"N"`
}

func (l limitFlags) config() server.Limits {
	return server.Limits{
		RequestLimits: server.RequestLimits{Connections: l.MaxConnections, PerAddress: l.MaxPerAddress, Bodies: l.MaxBodies, Answers: l.MaxAnswers},
		Reserve:       l.MinFree, RoomState: l.MaxRoomState, AccountData: l.MaxAccountData, Inbox: l.MaxInbox,
		KeyBackup: l.MaxKeyBackup, Devices: l.MaxDevices,
	}
}
