package main

import (
	"time"

	"porchlight/server"
)

// pushFlags are about how people are told of what they miss.
type pushFlags struct {
	Topics      string        `name:"push-topics" help:"Who may listen to the house's own topics, by which the ntfy app wakes phones without the internet: devices with a secret (got on the house's page), open for whoever knows a topic's name, or off." enum:"secret,open,off" default:"secret"`
	Gateways    []string      `name:"push-gateway" help:"Push gateway in a private network that clients may have the house ask, as a host or HOST:PORT; may be given several times. Gateways on the internet, and the house's own, need not be named." placeholder:"HOST"`
	ActiveDelay time.Duration `name:"push-active-delay" help:"How long a push waits to be read by somebody who is plainly active on another device; a negative time: not at all. Calls never wait." default:"5s"`
	MailAfter   time.Duration `name:"push-mail-after" help:"How long something is unread before an e-mail tells of it, where people ask for that." default:"10m"`
	MailEvery   time.Duration `name:"push-mail-every" help:"The least time between two such e-mails." default:"1h"`
}

func (p pushFlags) config() server.PushConfig {
	return server.PushConfig{Topics: p.Topics, Gateways: p.Gateways, ActiveDelay: p.ActiveDelay, MailAfter: p.MailAfter, MailEvery: p.MailEvery}
}
